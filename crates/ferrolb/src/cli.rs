//! The command line. Every option can be given in the environment as well.

use std::{net::SocketAddr, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand};
use kubekit::{Identity, telemetry, telemetry::LogLevel};
use speaker::{ExcludeInterfaces, ExcludeLabel};

use crate::check;

/// A bare-metal load balancer for Kubernetes.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Gives Services of type LoadBalancer an address
    Controller(Controller),
    /// Announces such addresses on the LAN, if this node is the one to do so
    Speaker(Speaker),
    /// Succeeds when a Service that selects this Pod gets an address that leads here; `helm test` runs it
    Check(Check),
}

/// What both roles take.
#[derive(Debug, Args)]
struct Common {
    /// Namespace of the configuration and of the fellow programs [default: that of the service account,
    /// else metallb-system]
    #[arg(long, env = "FERROLB_NAMESPACE")]
    namespace: Option<String>,
    /// Name of the Pod that this program runs in, if it does
    #[arg(long, env = "FERROLB_POD_NAME")]
    pod_name: Option<String>,
    /// Serve only Services with this spec.loadBalancerClass; without it, Services that have none
    #[arg(long, env = "FERROLB_LB_CLASS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    lb_class: Option<String>,
    /// How much to log: all, debug, info, warn, error or none
    #[arg(long, env = "FERROLB_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, env = "FERROLB_HTTP_BIND", default_value = "0.0.0.0:7472")]
    http_bind: SocketAddr,
}

/// What a controller takes besides.
#[derive(Debug, Args)]
struct Controller {
    #[command(flatten)]
    common: Common,
    /// Elect a leader among the replicas; without it, there must be one only
    #[arg(long, env = "FERROLB_LEADER_ELECT", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    leader_elect: bool,
    /// The Lease that they elect it by
    #[arg(long, env = "FERROLB_LEASE_NAME", default_value = "ferrolb-controller")]
    lease_name: String,
    /// A Secret of this namespace: if it holds no key for what the speakers tell each other, one is made
    #[arg(long, env = "FERROLB_GOSSIP_SECRET")]
    gossip_secret: Option<String>,
}

/// What a speaker takes besides.
#[derive(Debug, Args)]
struct Speaker {
    #[command(flatten)]
    common: Common,
    /// Name of the node that this program runs on
    #[arg(long, env = "FERROLB_NODE_NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    node_name: String,
    /// Never announce on interfaces whose name matches one of these regular expressions, separated by
    /// commas [default: what container runtimes and network plugins commonly make]
    #[arg(long, env = "FERROLB_EXCLUDE_INTERFACES")]
    exclude_interfaces: Option<ExcludeInterfaces>,
    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers too
    #[arg(long, env = "FERROLB_IGNORE_EXCLUDE_LB")]
    ignore_exclude_lb: bool,
}

/// What a check takes.
#[derive(Debug, Args)]
struct Check {
    /// Namespace of the Service
    #[arg(long, env = "FERROLB_NAMESPACE")]
    namespace: Option<String>,
    /// Name of the Service
    #[arg(long)]
    service: String,
    /// Where to answer
    #[arg(long, default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Seconds after which it has failed
    #[arg(long, default_value_t = 60)]
    patience: u64,
}

/// Does what the command line says, until the program is asked to stop.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.role {
        Role::Controller(Controller { common, leader_elect, lease_name, gossip_secret }) => {
            telemetry::start(common.log_level);
            runtime()?.block_on(controller::run(controller::Config {
                identity: Identity::new(common.namespace, common.pod_name),
                lb_class: common.lb_class,
                http_bind: common.http_bind,
                lease: leader_elect.then_some(lease_name),
                gossip_secret: gossip_secret.filter(|name| !name.is_empty()),
            }))
        }
        Role::Check(Check { namespace, service, listen, patience }) => {
            let (namespace, patience) =
                (Identity::new(namespace, None).namespace, Duration::from_secs(patience));
            runtime()?.block_on(check::run(check::Check { namespace, service, listen, patience }))
        }
        Role::Speaker(Speaker { common, node_name, exclude_interfaces, ignore_exclude_lb }) => {
            telemetry::start(common.log_level);
            speaker::lan::claim_packet_sockets()?;
            runtime()?.block_on(speaker::run(speaker::Config {
                node_name: node_name.into(),
                identity: Identity::new(common.namespace, common.pod_name),
                lb_class: common.lb_class,
                http_bind: common.http_bind,
                exclude_interfaces: exclude_interfaces.unwrap_or_default(),
                exclude_label: if ignore_exclude_lb { ExcludeLabel::Ignored } else { ExcludeLabel::Honoured },
            }))
        }
    }
}

/// Both roles wait nearly all of their time: one thread serves them best.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
