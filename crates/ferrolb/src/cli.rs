//! The command line. Every option can be given in the environment as well.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use coexistence::BesideMetalLb;
use controller::{LostEndpoints, SharingScope};
use kubekit::http::tls::{Tls, Version};
use kubekit::http::{self, SecureMetrics};
use kubekit::telemetry::LogLevel;
use kubekit::{Identity, open_files, telemetry};
use serde_json::{Map, Value};
use speaker::{ExcludeLabel, Failback, Handover, InterfacePatterns, Spread};

use crate::check;

/// All addresses of both families, on the port where whoever asks looks first.
const HTTP_BIND: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), introspection::DEFAULT_PORT);

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
    /// Id of that Pod, which then owns what the program makes
    #[arg(long, env = "FERROLB_POD_UID")]
    pod_uid: Option<String>,
    /// Serve only Services with this spec.loadBalancerClass; without it, Services that have none
    #[arg(long, env = "FERROLB_LB_CLASS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    lb_class: Option<String>,
    /// Go on while MetalLB runs in the same namespace and serves the same Services, instead of waiting until it
    /// is gone
    #[arg(long, env = "FERROLB_IGNORE_METALLB")]
    ignore_metallb: bool,
    /// How much to log: all, debug, info, warn, error or none
    #[arg(long, env = "FERROLB_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// Where /healthz and /readyz are served, and, in plain text and for everybody, /metrics unless --metrics-bind is given;
    /// [::] stands for all addresses of both families, or of IPv4 alone where there is no IPv6
    #[arg(long, env = "FERROLB_HTTP_BIND", default_value_t = HTTP_BIND)]
    http_bind: SocketAddr,
    /// Where /metrics is served by TLS, for those only to whom the API server allows it: it reviews the token of each
    /// request and whether its owner may get the URL /metrics
    #[arg(long, env = "FERROLB_METRICS_BIND")]
    metrics_bind: Option<SocketAddr>,
    /// Directory with tls.crt and tls.key for --metrics-bind, read again when they change; without them, a certificate is
    /// made that nobody has signed
    #[arg(long, env = "FERROLB_METRICS_CERT_DIR", requires = "metrics_bind")]
    metrics_cert_dir: Option<PathBuf>,
    /// The oldest version of TLS for --metrics-bind, VersionTLS12 or VersionTLS13 [default: VersionTLS13]
    #[arg(long, env = "FERROLB_TLS_MIN_VERSION", default_value = "", hide_default_value = true)]
    tls_min_version: Version,
    /// Cipher suites for TLS 1.2, by their IANA names, separated by commas [default: all that are served]
    #[arg(long, env = "FERROLB_TLS_CIPHER_SUITES", value_delimiter = ',')]
    tls_cipher_suites: Vec<String>,
    /// Key exchange groups by their numbers, such as 29 for X25519, separated by commas [default: all that are served]
    #[arg(long, env = "FERROLB_TLS_CURVE_PREFERENCES", value_delimiter = ',')]
    tls_curve_preferences: Vec<u16>,
}

impl Common {
    fn http(&self) -> http::Config {
        let tls = || Tls {
            directory: self.metrics_cert_dir.clone(),
            oldest: self.tls_min_version,
            cipher_suites: self.tls_cipher_suites.clone(),
            groups: self.tls_curve_preferences.clone(),
        };
        let secure_metrics = self.metrics_bind.map(|bind| SecureMetrics { bind, tls: tls() });
        http::Config { bind: self.http_bind, secure_metrics }
    }
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
    #[arg(long, env = "FERROLB_LEASE_NAME", default_value = introspection::DEFAULT_LEASE)]
    lease_name: String,
    /// Between which Services addresses may be shared: those of all namespaces whose sharing key is equal, or only those of
    /// one namespace
    #[arg(long, env = "FERROLB_ADDRESS_SHARING", value_enum, default_value_t = AddressSharing::Cluster)]
    address_sharing: AddressSharing,
    /// Withdraw the endpoints of a node as soon as its speaker is lost, instead of when Kubernetes notices.
    /// Listens to the gossip of the speakers, so it wants --gossip-bind as well
    #[arg(long, env = "FERROLB_RECOVER_ENDPOINTS", requires = "gossip_bind")]
    recover_endpoints: bool,
    /// Serve NodeAddressPools too, which give Services the addresses of nodes. With --gossip-bind, nodes that are lost are
    /// taken out as soon as the speakers know, instead of when Kubernetes notices
    #[arg(long, env = "FERROLB_NODE_ADDRESS_POOLS")]
    node_address_pools: bool,
    /// If there is no NodeAddressPool when this replica begins to lead, make one named nodes that says this: the spec as
    /// JSON, such as {"k3sLabels":true}
    #[arg(long, env = "FERROLB_DEFAULT_NODE_ADDRESS_POOL", value_parser = spec, value_name = "JSON")]
    default_node_address_pool: Option<Spec>,
    /// Where to listen to the gossip, ADDRESS:PORT: this Pod's address, and the port of the speakers
    #[arg(long, env = "FERROLB_GOSSIP_BIND", value_parser = gossip_address)]
    gossip_bind: Option<SocketAddr>,
    /// Files with the secrets that the gossip is sealed with, separated by commas, as for the speakers
    #[arg(long, env = "FERROLB_GOSSIP_KEY_FILE", value_delimiter = ',')]
    gossip_key_file: Vec<PathBuf>,
    /// A Secret of this namespace: if it holds no key for what the speakers tell each other, one is made
    #[arg(long, env = "FERROLB_GOSSIP_SECRET")]
    gossip_secret: Option<String>,
}

/// The spec of an object.
#[derive(Debug, Clone)]
struct Spec(Map<String, Value>);

fn spec(text: &str) -> Result<Spec, String> {
    serde_json::from_str(text).map(Spec).map_err(|error| error.to_string())
}

/// Between whom addresses are shared.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AddressSharing {
    /// Services of all namespaces
    Cluster,
    /// Services of one namespace
    Namespace,
}

impl From<AddressSharing> for SharingScope {
    fn from(sharing: AddressSharing) -> Self {
        match sharing {
            AddressSharing::Cluster => Self::Cluster,
            AddressSharing::Namespace => Self::Namespace,
        }
    }
}

/// What a speaker takes besides.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is another option")]
struct Speaker {
    #[command(flatten)]
    common: Common,
    /// Name of the node that this program runs on
    #[arg(long, env = "FERROLB_NODE_NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    node_name: String,
    /// Never announce on interfaces whose name matches one of these regular expressions, separated by
    /// commas; a comma within {}, [] or () separates nothing. May be given several times; empty, it excludes
    /// none [default: what container runtimes and network plugins commonly make]
    #[arg(long, env = "FERROLB_EXCLUDE_INTERFACES", value_name = "REGEX,...", action = ArgAction::Append)]
    exclude_interfaces: Option<Vec<InterfacePatterns>>,
    /// Make interfaces promiscuous whose name matches one of these regular expressions, written as above, while they are
    /// announced on: wireless ones that do not hear ARP and NDP requests otherwise
    #[arg(long, env = "FERROLB_PROMISCUOUS_INTERFACES", value_name = "REGEX,...", action = ArgAction::Append)]
    promiscuous_interfaces: Vec<InterfacePatterns>,
    /// Announce each address again as often as that, in seconds, while nothing changes, lest switches
    /// forget it; 0 for never
    #[arg(long, env = "FERROLB_REFRESH_INTERVAL", default_value_t = 30)]
    refresh_interval: u32,
    /// Where fellow speakers gossip, ADDRESS:PORT; the same port on all nodes [default: the Pod's address,
    /// or without a Pod the node's InternalIP, and 7946]
    #[arg(long, env = "FERROLB_GOSSIP_BIND", value_parser = gossip_address)]
    gossip_bind: Option<SocketAddr>,
    /// Files with the secrets that the gossip is sealed with, separated by commas: the first one seals, each
    /// of them opens; read again when they change. Without it, the gossip is not sealed
    #[arg(long, env = "FERROLB_GOSSIP_KEY_FILE", value_delimiter = ',')]
    gossip_key_file: Vec<PathBuf>,
    /// How fast a dead speaker is found: faster ones send more and bear shorter stalls
    #[arg(long, env = "FERROLB_FAILOVER", value_enum, default_value_t)]
    failover: Failover,
    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers too
    #[arg(long, env = "FERROLB_IGNORE_EXCLUDE_LB")]
    ignore_exclude_lb: bool,
    /// Spread the addresses evenly over the nodes that may announce them, instead of by hash as MetalLB does; the same for all
    /// speakers, and addresses move when it changes
    #[arg(long, env = "FERROLB_SPREAD")]
    spread: bool,
    /// Leave addresses with the node that took them over when the one before is there again; the same for all speakers. At
    /// most 256 addresses for each node
    #[arg(long, env = "FERROLB_NO_FAILBACK")]
    no_failback: bool,
    /// Announce addresses also where other hosts answer for them, as a router does that answers for all addresses (proxy
    /// ARP)
    #[arg(long, env = "FERROLB_IGNORE_ADDRESS_CONFLICTS")]
    ignore_address_conflicts: bool,
    /// Answer for the names of Services on the LAN by Multicast DNS, where their addresses are announced: NAME.NAMESPACE.local,
    /// and the one that the annotation ferrolb.io/mdns-name asks for
    #[arg(long, env = "FERROLB_MDNS")]
    mdns: bool,
    /// Wait for the end of the speaker that runs on this node already, and go on with its BGP and BFD sessions, so that no router
    /// notices: for a DaemonSet whose maxSurge is not 0. Both speakers need it, and a key of --gossip-key-file
    #[arg(long, env = "FERROLB_HAND_OVER")]
    hand_over: bool,
    /// Report which ports programs on the node listen on, in the ConfigurationState of this speaker: Services with the
    /// addresses of nodes (NodeAddressPool) do not get those
    #[arg(long, env = "FERROLB_REPORT_LISTENING_PORTS")]
    report_listening_ports: bool,
}

/// `--failover`.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Failover {
    /// In about half a second
    #[default]
    Default,
    /// In about a quarter of a second, for quiet machines
    Fast,
    /// In about two seconds, for machines that may stand still for long
    Relaxed,
}

impl From<Failover> for speaker::Failover {
    fn from(failover: Failover) -> Self {
        match failover {
            Failover::Default => Self::Default,
            Failover::Fast => Self::Fast,
            Failover::Relaxed => Self::Relaxed,
        }
    }
}

/// Reads ADDRESS:PORT; an IPv6 address may come without brackets, as the downward API writes it.
fn gossip_address(text: &str) -> Result<SocketAddr, String> {
    let without_brackets = || {
        let (ip, port) = text.rsplit_once(':')?;
        Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
    };
    let address = text.parse().ok().or_else(without_brackets);
    address.ok_or_else(|| "expected an IP address and a port, such as 192.0.2.1:7946".to_owned())
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
        Role::Controller(Controller {
            common,
            leader_elect,
            lease_name,
            recover_endpoints,
            node_address_pools,
            default_node_address_pool,
            gossip_bind,
            gossip_key_file,
            gossip_secret,
            address_sharing,
        }) => {
            let recovery =
                gossip_bind.filter(|_| recover_endpoints || node_address_pools).map(|gossip_bind| {
                    controller::Recovery {
                        gossip_bind,
                        gossip_key_files: gossip_key_file,
                        endpoints: if recover_endpoints {
                            LostEndpoints::Withdraw
                        } else {
                            LostEndpoints::Leave
                        },
                    }
                });
            let _log = telemetry::start(common.log_level)?;
            open_files::raise_limit();
            runtime()?.block_on(controller::run(controller::Config {
                http: common.http(),
                identity: Identity::new(common.namespace, common.pod_name).in_pod(common.pod_uid),
                lb_class: common.lb_class,
                address_sharing: address_sharing.into(),
                lease: leader_elect.then_some(lease_name),
                recovery,
                beside_metallb: beside_metallb(common.ignore_metallb),
                gossip_secret: gossip_secret.filter(|name| !name.is_empty()),
                node_address_pools,
                default_node_address_pool: default_node_address_pool.map(|Spec(spec)| spec),
            }))
        }
        Role::Check(Check { namespace, service, listen, patience }) => {
            let (namespace, patience) =
                (Identity::new(namespace, None).namespace, Duration::from_secs(patience));
            runtime()?.block_on(check::run(check::Check { namespace, service, listen, patience }))
        }
        Role::Speaker(Speaker {
            common,
            node_name,
            exclude_interfaces,
            promiscuous_interfaces,
            refresh_interval,
            gossip_bind,
            gossip_key_file,
            failover,
            ignore_exclude_lb,
            spread,
            no_failback,
            ignore_address_conflicts,
            report_listening_ports,
            hand_over,
            mdns,
        }) => {
            let _log = telemetry::start(common.log_level)?;
            open_files::raise_limit();
            speaker::lan::claim_packet_sockets()?;
            runtime()?.block_on(speaker::run(speaker::Config {
                http: common.http(),
                node_name: node_name.into(),
                identity: Identity::new(common.namespace, common.pod_name).in_pod(common.pod_uid),
                lb_class: common.lb_class,
                exclude_interfaces: exclude_interfaces
                    .map_or_else(InterfacePatterns::usually_excluded, |lists| lists.into_iter().collect()),
                mdns: if mdns { speaker::mdns::Names::Answered } else { speaker::mdns::Names::Silent },
                promiscuous_interfaces: promiscuous_interfaces.into_iter().collect(),
                refresh_interval: (refresh_interval > 0)
                    .then(|| Duration::from_secs(refresh_interval.into())),
                gossip_bind,
                gossip_key_files: gossip_key_file,
                failover: failover.into(),
                beside_metallb: beside_metallb(common.ignore_metallb),
                ignore_conflicts: ignore_address_conflicts,
                report_listeners: report_listening_ports,
                handover: if hand_over { Handover::On } else { Handover::Off },
                exclude_label: if ignore_exclude_lb { ExcludeLabel::Ignored } else { ExcludeLabel::Honoured },
                spread: if spread { Spread::Evenly } else { Spread::ByHash },
                failback: if no_failback { Failback::Never } else { Failback::Always },
            }))
        }
    }
}

fn beside_metallb(ignore: bool) -> BesideMetalLb {
    if ignore { BesideMetalLb::GoOn } else { BesideMetalLb::Wait }
}

/// Both roles wait nearly all of their time: one thread serves them best.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    #[cfg(target_env = "musl")]
    runtime.spawn(crate::memory::give_back());
    Ok(runtime)
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
    fn interfaces_to_exclude_are_given_in_one_list_or_in_several_and_a_wrong_one_is_named() {
        let speaker = ["ferrolb", "speaker", "--node-name=n1"];
        let read = |options: &[&str]| Cli::try_parse_from(speaker.iter().chain(options));
        for options in [
            &["--exclude-interfaces=^eth1$,^wg"][..],
            &["--exclude-interfaces", "^veth[0-9a-f]{4,8}$,^docker.*"],
            &["--exclude-interfaces=^veth[0-9a-f]{4,8}$", "--exclude-interfaces=^docker.*"],
            &["--exclude-interfaces="],
        ] {
            let Role::Speaker(speaker) = read(options).unwrap().role else { panic!("{options:?}") };
            let given = speaker.exclude_interfaces.unwrap().len();
            assert_eq!(given, options.iter().filter(|option| option.starts_with("--")).count());
        }
        let error = read(&["--exclude-interfaces=^eth1$,^a{2"]).unwrap_err().to_string();
        assert!(error.contains("`^a{2` is no regular expression"), "{error}");
    }

    #[test]
    fn metrics_are_plain_unless_they_have_a_place_of_their_own_and_take_metallbs_options() {
        let read =
            |options: &[&str]| match Cli::try_parse_from(["ferrolb", "controller"].iter().chain(options)) {
                Ok(Cli { role: Role::Controller(controller) }) => Ok(controller.common.http()),
                Ok(cli) => panic!("{cli:?}"),
                Err(error) => Err(error.to_string()),
            };
        assert!(read(&[]).unwrap().secure_metrics.is_none());
        let options = [
            "--metrics-bind=[::]:9120",
            "--metrics-cert-dir=/etc/metrics",
            "--tls-min-version=VersionTLS12",
            "--tls-cipher-suites=A,B",
            "--tls-curve-preferences=29,23",
        ];
        let tls = read(&options).unwrap().secure_metrics.unwrap().tls;
        assert_eq!((tls.oldest, tls.cipher_suites.len(), tls.groups), (Version::Tls12, 2, vec![29, 23]));
        assert!(
            read(&["--metrics-bind=[::]:9120", "--tls-min-version=1.2"])
                .unwrap_err()
                .contains("VersionTLS13")
        );
    }

    #[test]
    fn where_to_gossip_is_an_address_of_either_family_with_a_port() {
        let read = |text| gossip_address(text).map(|address| address.to_string());
        assert_eq!(read("192.0.2.1:7946").as_deref(), Ok("192.0.2.1:7946"));
        for v6 in ["[2001:db8::1]:7946", "2001:db8::1:7946"] {
            assert_eq!(read(v6).as_deref(), Ok("[2001:db8::1]:7946"), "{v6}");
        }
        for bad in ["192.0.2.1", ":7946", "node-1:7946", "192.0.2.1:x", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
