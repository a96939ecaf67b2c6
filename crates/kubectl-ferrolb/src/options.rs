//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use pools::Range;

use crate::output::Format;

/// Why an address is where it is, why there is none, and what would happen if.
///
/// Exit status: 0 all is well, 1 there is a problem, 2 something could not be looked at.
#[derive(Debug, Parser)]
#[command(name = "kubectl-ferrolb", bin_name = "kubectl ferrolb", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Namespace of the Services [default: that of the context]
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// Services of all namespaces
    #[arg(short = 'A', long, global = true)]
    pub(crate) all_namespaces: bool,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster, and where FerroLB is in it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// The kubeconfig [default: as kubectl has it]
    #[arg(long, global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: the current one]
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Namespace that FerroLB runs in [default: where its Pods are, else metallb-system]
    #[arg(long, env = "FERROLB_NAMESPACE", global = true)]
    pub(crate) system_namespace: Option<String>,
    /// Seconds to wait for the answer of each Pod of FerroLB; 0 to ask none and go by the objects alone
    #[arg(long, default_value_t = 6, global = true)]
    pub(crate) pod_timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One screen: the programs, the pools, the Services, and every problem
    Status {
        /// Until all is well, or --timeout has passed
        #[arg(long, conflicts_with = "watch")]
        wait: bool,
        /// Seconds to wait
        #[arg(long, default_value_t = 120)]
        timeout: u64,
        #[command(flatten)]
        watch: Watch,
    },
    /// The Services of type LoadBalancer: their addresses, and who announces them
    Services {
        /// Only those that have a problem
        #[arg(long)]
        problems: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// From Services that wait to addresses that answer: proposes a pool, shows why, and asks
    Quickstart(Quickstart),
    /// The pools, and how full they are
    Pools,
    /// The addresses of the pools, one by one
    Ips {
        /// Only this pool
        pool: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// The nodes: what each announces, and why not
    Nodes {
        #[command(flatten)]
        watch: Watch,
    },
    /// The speakers: how each hears the others
    Peers,
    /// Routers: the BGP sessions of each node, or what is announced in them
    Bgp {
        /// What of it
        #[arg(default_value = "sessions")]
        what: BgpView,
        #[command(flatten)]
        watch: Watch,
    },
    /// A Service's way from the pool to the wire, each step with its reason
    Explain {
        /// NAME, or NAMESPACE/NAME
        service: String,
    },
    /// Asks the LAN, from every node, who answers for an address
    Trace {
        /// The address
        ip: IpAddr,
    },
    /// What would move, what would lose its address or its announcer
    ///
    /// Exit status 1: a Service would lose its address or its last announcer, or have another address; a new one would have
    /// no address, or one that nobody announces; a router would be told of a prefix by no node any more; or an object would
    /// not be in force that is now, or that is applied. What only moves to another node is no problem: 0.
    #[command(subcommand, name = "whatif")]
    WhatIf(WhatIf),
    /// Checks manifests: what is wrong in one object, and what shows beside others
    Validate {
        /// A file or a directory of YAML or JSON; `-` for the standard input
        #[arg(short, long = "filename", required = true)]
        filenames: Vec<PathBuf>,
        /// Beside the objects of the cluster, whose API server is asked about each object too
        #[arg(long)]
        server: bool,
    },
    /// MetalLB's old ConfigMap, as the objects that took its place
    Convert {
        /// The ConfigMap, or what it has under `config`; `-` for the standard input
        #[arg(short, long = "filename")]
        filename: PathBuf,
    },
    /// A page in the browser that shows all of it, and goes on showing it
    Ui {
        /// The port on this machine [default: a free one]
        #[arg(long)]
        port: Option<u16>,
        /// Only say where the page is
        #[arg(long)]
        no_browser: bool,
    },
    /// A bundle for a bug report, without secrets
    Inspect {
        /// The file to write; `-` for the standard output
        #[arg(short = 'f', long = "filename", default_value = "ferrolb-inspect.json")]
        filename: PathBuf,
    },
    /// The versions of this program and of those in the cluster
    Version {
        /// Of this program only
        #[arg(long)]
        client: bool,
    },
    /// A script that completes commands in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// What pool to make.
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// The addresses, FIRST-LAST or PREFIX/LENGTH, that nobody else gives out [default: the largest part that nobody has
    /// at the end of the LAN, where Docker gives out the addresses of the nodes, as with KIND, or no DHCP server answers]
    #[arg(long)]
    pub(crate) range: Option<Range>,
    /// The name of the pool
    #[arg(long, default_value = "lan")]
    pub(crate) pool: String,
    /// Writes what means the same as the configuration of another load balancer in this cluster, with what cannot be
    /// carried over; refuses to apply it while that one serves
    #[arg(long, conflicts_with_all = ["range", "pool"])]
    pub(crate) from: Option<Source>,
    #[command(flatten)]
    pub(crate) demo: Demo,
    /// Make it without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only show the manifests
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

/// What is made to see whether it answers.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Also makes a web server behind a Service of type LoadBalancer (ferrolb-demo, in the namespace of -n), waits until it
    /// answers, and says what was seen on the way or what is in the way
    #[arg(id = "demo", long = "demo", conflicts_with = "from")]
    pub(crate) wanted: bool,
    /// The web server's image; one that is not called http-echo is to serve HTTP on port 8080 and not to need root
    #[arg(
        long = "demo-image",
        value_name = "IMAGE",
        default_value = "hashicorp/http-echo:1.0",
        requires = "demo"
    )]
    pub(crate) image: String,
    /// Seconds to wait for the web server's Pod
    #[arg(
        id = "demo-timeout",
        long = "demo-timeout",
        value_name = "SECONDS",
        default_value_t = 120,
        requires = "demo"
    )]
    pub(crate) timeout: u64,
    /// Removes what --demo has made in the namespace of -n, and nothing else
    #[arg(long = "demo-delete", conflicts_with_all = ["demo", "range", "pool", "from", "yes", "dry_run"])]
    pub(crate) delete: bool,
}

/// What of BGP to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BgpView {
    /// The sessions of each node, and how they are doing
    Sessions,
    /// The prefixes, who is told of them, and with which attributes
    Routes,
}

/// Another load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// MetalLB: its objects in another namespace, or its old ConfigMap
    Metallb,
    /// kube-vip: the ConfigMap of its cloud provider
    KubeVip,
    /// PureLB: its ServiceGroups
    Purelb,
    /// Cilium: its pools and its policies of L2 announcements
    Cilium,
    /// ServiceLB of K3s, as a `NodeAddressPool`
    Servicelb,
}

/// Whether to look again and again.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Watch {
    /// Look again and again, until interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,
}

impl Command {
    /// Whether to look again and again.
    pub(crate) fn watches(&self) -> bool {
        match self {
            Self::Status { watch, .. }
            | Self::Services { watch, .. }
            | Self::Ips { watch, .. }
            | Self::Bgp { watch, .. }
            | Self::Nodes { watch } => watch.watch,
            Self::Quickstart(_)
            | Self::Pools
            | Self::Peers
            | Self::Explain { .. }
            | Self::Trace { .. }
            | Self::WhatIf(_)
            | Self::Validate { .. }
            | Self::Convert { .. }
            | Self::Ui { .. }
            | Self::Inspect { .. }
            | Self::Version { .. }
            | Self::Completion { .. } => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum WhatIf {
    /// A node is drained, then switched off
    Drain {
        /// The node
        node: String,
    },
    /// Something is deleted
    #[command(subcommand)]
    Delete(Delete),
    /// Manifests are applied
    Apply {
        /// A file or a directory of YAML or JSON; `-` for the standard input
        #[arg(short, long = "filename", required = true)]
        filenames: Vec<PathBuf>,
    },
    /// Something is added
    #[command(subcommand)]
    Add(Add),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Delete {
    /// A pool
    Pool {
        /// Its name
        pool: String,
    },
    /// An advertisement on the LAN
    #[command(name = "l2advertisement")]
    L2Advertisement {
        /// Its name
        name: String,
    },
    /// An advertisement to routers
    #[command(name = "bgpadvertisement")]
    BgpAdvertisement {
        /// Its name
        name: String,
    },
    /// A router
    #[command(name = "bgppeer")]
    BgpPeer {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Add {
    /// A node
    Node {
        /// Its labels: KEY=VALUE,...
        #[arg(default_value = "")]
        labels: String,
        /// Its name, which nodes are ranked by
        #[arg(long, default_value = "new-node")]
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_where_kubectl_has_them() {
        for line in [
            "kubectl-ferrolb services -A --problems -o wide",
            "kubectl-ferrolb -n prod services --context other",
            "kubectl-ferrolb explain prod/web -o yaml --kubeconfig /tmp/k",
            "kubectl-ferrolb whatif delete pool lan",
            "kubectl-ferrolb whatif add node zone=a,disk=ssd --name n9",
            "kubectl-ferrolb whatif add node",
            "kubectl-ferrolb validate -f a.yaml -f b --server",
            "kubectl-ferrolb trace 2001:db8::1 -o json",
            "kubectl-ferrolb quickstart --demo --demo-image web:1 --demo-timeout 5 -n shop --dry-run",
            "kubectl-ferrolb quickstart --demo-delete -n shop",
        ] {
            assert!(!Cli::try_parse_from(line.split(' ')).unwrap().command.watches(), "{line}");
        }
        for line in ["status -w", "services -A --watch", "ips lan -w", "nodes -w -o yaml"] {
            let words = ["kubectl-ferrolb"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).unwrap().command.watches(), "{line}");
        }
        assert!(Cli::try_parse_from(["kubectl-ferrolb", "status", "--wait", "--watch"]).is_err());
        assert!(Cli::try_parse_from(["kubectl-ferrolb", "validate"]).is_err());
        for line in
            ["--demo --demo-delete", "--demo-image web:1", "--demo --from metallb", "--demo-delete --dry-run"]
        {
            let words = ["kubectl-ferrolb", "quickstart"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
