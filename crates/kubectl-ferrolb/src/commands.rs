//! The commands: each looks at what it needs, and answers.

pub(crate) mod completion;
mod convert;
mod explain;
mod inspect;
pub(crate) mod ips;
mod manifests;
pub(crate) mod nodes;
mod peers;
pub(crate) mod pools;
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
    let cluster = async || Cluster::open(&cli.connection).await;
    match &cli.command {
        Command::Status { wait, timeout, watch: _ } => {
            status::run(&cli.connection, wait.then_some(*timeout)).await
        }
        Command::Services { problems, watch: _ } => {
            services::run(&cluster().await?, scope(cli), *problems).await
        }
        Command::Pools => pools::run(&cluster().await?).await,
        Command::Ips { pool, watch: _ } => ips::run(&cluster().await?, pool.as_deref()).await,
        Command::Nodes { watch: _ } => nodes::run(&cluster().await?).await,
        Command::Peers => peers::run(&cluster().await?).await,
        Command::Explain { service } => {
            explain::run(&cluster().await?, cli.namespace.as_deref(), service).await
        }
        Command::Trace { ip } => trace::run(&cluster().await?, *ip).await,
        Command::WhatIf(change) => whatif::run(&cluster().await?, change).await,
        Command::Validate { filenames, server } => {
            let cluster = if *server { Some(cluster().await?) } else { None };
            validate::run(cluster.as_ref(), filenames).await
        }
        Command::Convert { filename } => convert::run(filename, cli.connection.system_namespace.as_deref()),
        Command::Ui { port, no_browser } => ui::run(&cli.connection, *port, *no_browser).await,
        Command::Inspect { filename } => inspect::run(&cluster().await?, filename).await,
        Command::Version { client } => {
            let cluster = if *client { None } else { Some(cluster().await) };
            Ok(version::run(cluster).await)
        }
        Command::Completion { shell } => Ok(completion::script(*shell)),
    }
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
