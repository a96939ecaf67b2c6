//! The commands: each looks at what it needs, and answers.

mod bgp;
pub(crate) mod completion;
mod convert;
mod explain;
mod foreign;
mod inspect;
pub(crate) mod ips;
mod manifests;
pub(crate) mod nodes;
mod peers;
pub(crate) mod pools;
mod quickstart;
pub(crate) mod services;
pub(crate) mod status;
mod trace;
mod validate;
mod version;
pub(crate) mod whatif;

use crate::answer::Answer;
use crate::cluster::Cluster;
use crate::options::{Cli, Command};
use crate::ui;

/// Does what the command line says.
pub(crate) async fn run(cli: &Cli) -> anyhow::Result<Answer> {
    match &cli.command {
        Command::Status { wait, timeout, watch: _ } => {
            status::run(&cli.connection, wait.then_some(*timeout)).await
        }
        Command::Services { problems, watch: _ } => {
            of_cluster(cli, async |it| services::run(it, scope(cli), *problems).await).await
        }
        Command::Quickstart(options) => {
            // It says itself where FerroLB does not run.
            let cluster = Cluster::open(&cli.connection).await?;
            quickstart::run(&cluster, cli.namespace.as_deref(), options).await
        }
        Command::Pools => of_cluster(cli, pools::run).await,
        Command::Ips { pool, watch: _ } => {
            of_cluster(cli, async |it| ips::run(it, pool.as_deref()).await).await
        }
        Command::Nodes { watch: _ } => of_cluster(cli, nodes::run).await,
        Command::Peers => of_cluster(cli, peers::run).await,
        Command::Bgp { what, watch: _ } => of_cluster(cli, async |it| bgp::run(it, *what).await).await,
        Command::Explain { service } => {
            of_cluster(cli, async |it| explain::run(it, cli.namespace.as_deref(), service).await).await
        }
        Command::Trace { ip } => of_cluster(cli, async |it| trace::run(it, *ip).await).await,
        Command::WhatIf(change) => of_cluster(cli, async |it| whatif::run(it, change).await).await,
        Command::Validate { filenames, server } => {
            let cluster = if *server { Some(Cluster::open(&cli.connection).await?) } else { None };
            validate::run(cluster.as_ref(), filenames).await
        }
        Command::Convert { filename } => convert::run(filename, cli.connection.system_namespace.as_deref()),
        Command::Ui { port, no_browser } => Box::pin(ui::run(&cli.connection, *port, *no_browser)).await,
        Command::Inspect { filename } => of_cluster(cli, async |it| inspect::run(it, filename).await).await,
        Command::Version { client } => {
            let cluster = if *client { None } else { Some(Cluster::open(&cli.connection).await) };
            Ok(version::run(cluster).await)
        }
        Command::Completion { shell } => Ok(completion::script(*shell)),
    }
}

/// What a command answers of a cluster; where FerroLB does not run in it, that is said too.
async fn of_cluster(
    cli: &Cli,
    command: impl AsyncFnOnce(&Cluster) -> anyhow::Result<Answer>,
) -> anyhow::Result<Answer> {
    let cluster = Cluster::open(&cli.connection).await?;
    Ok(command(&cluster).await?.absent(cluster.absent()))
}

/// Of which namespace Services are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Of(String),
    /// That of the context.
    Default,
}

fn scope(cli: &Cli) -> Scope {
    match (&cli.namespace, cli.all_namespaces) {
        (_, true) => Scope::All,
        (Some(namespace), false) => Scope::Of(namespace.clone()),
        (None, false) => Scope::Default,
    }
}
