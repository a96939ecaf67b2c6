//! Strangers attack the web server of a speaker, and of the controller that leads: what that costs those who gossip,
//! answer questions and lead, beside a quiet run.
//!
//! Attackers, programs and whoever measures share one machine here, so a part of what an attack costs is the attackers'
//! own time on its processors. How much shows in a run in which they attack a program on the same node that is none of
//! FerroLB's, and throws away what they send.

mod bystander;
mod flood;
mod measure;
mod report;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use k8s_openapi::api::coordination::v1::Lease;
use kubekit::open_files;
use lab::{Host, Lab, NodeId, chart};

use self::flood::Kind;
use self::measure::{Figures, Stage};
use crate::product::Product;
use crate::site::Site;

/// Where probes and metrics are, both for everybody: rendering metrics is the most that a stranger can ask for.
const PORT: u16 = 7472;
const PLAIN: [&str; 2] = ["prometheus.secure=false", "prometheus.metricsPort=7472"];
const LEASE: &str = "ferrolb-controller";
const ADDRESSES: usize = 10;
/// How long attackers have before it counts, and how long the programs have after an attack.
const WARM_UP: Duration = Duration::from_secs(2);
const REST: Duration = Duration::from_secs(8);

/// Who is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A program that is none of FerroLB's, on the node of the speaker that is looked at.
    Bystander,
    /// That speaker, from the LAN.
    Speaker,
    /// The controller that leads, from its node.
    Leader,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Bystander => "a bystander",
            Self::Speaker => "the speaker",
            Self::Leader => "the leader",
        }
    }
}

/// The controller that leads.
#[derive(Debug, Clone)]
struct Leader {
    node: NodeId,
    address: IpAddr,
}

/// Measures quiet first, then under each attack, for so long each.
pub(crate) fn run(product: Product, time: Duration) -> Result<String> {
    open_files::raise_limit();
    let mut site = Site::start(product)?;
    chart::set(&site.lab, PLAIN)?;
    site.serve(ADDRESSES)?;
    let mut runs = vec![("quiet".to_owned(), measured(&site, None, time)?)];
    for target in [Target::Bystander, Target::Speaker, Target::Leader] {
        for kind in [Kind::Pipelined, Kind::HalfOpen] {
            let name = format!("{}: {kind}", target.name());
            thread::sleep(REST);
            site.wait_until_announced()?;
            let figures = measured(&site, Some((target, kind)), time).with_context(|| name.clone())?;
            eprintln!("{name}: measured");
            runs.push((name, figures));
        }
    }
    Ok(report::table(&runs))
}

fn measured(site: &Site, attack: Option<(Target, Kind)>, time: Duration) -> Result<Figures> {
    let leader = leader(&site.lab)?;
    let stage = Stage {
        site,
        speaker: SocketAddr::new(Host::Node(site.victim()).ipv4().into(), PORT),
        leader: (leader.node, SocketAddr::new(leader.address, PORT)),
        lease: LEASE,
    };
    let Some((target, kind)) = attack else { return stage.measure(time) };
    let bystander = SocketAddr::new(stage.speaker.ip(), bystander::PORT);
    let (from, at) = match target {
        Target::Bystander => (Host::Client, bystander),
        Target::Speaker => (Host::Client, stage.speaker),
        Target::Leader => (Host::Node(leader.node), stage.leader.1),
    };
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let bystands = scope.spawn(|| match target {
            Target::Bystander => {
                site.lab.in_network(Host::Node(site.victim()), || bystander::serve(bystander, &ends))
            }
            Target::Speaker | Target::Leader => Ok(()),
        });
        let attacks = scope.spawn(|| site.lab.in_network(from, || flood::flood(kind, at, &ends)));
        let figures = {
            let _end = SetOnDrop(&ends);
            thread::sleep(WARM_UP);
            stage.measure(time)
        };
        for thread in [bystands, attacks] {
            thread.join().map_err(|_| anyhow!("an attacker panicked"))??;
        }
        figures
    })
}

/// Who leads, and where its Pod is.
fn leader(lab: &Lab) -> Result<Leader> {
    let lease = lab.kubectl_json(["get", "lease", LEASE, "-n", chart::NAMESPACE])?;
    let lease: Lease = serde_json::from_value(lease).context("reading the Lease")?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity).context("nobody leads")?;
    let pod = lab.kubectl_json(["get", "pod", &holder, "-n", chart::NAMESPACE])?;
    let node = pod["spec"]["nodeName"].as_str().context("the leader's Pod is on no node")?;
    let address = pod["status"]["podIP"].as_str().context("the leader's Pod has no address")?;
    Ok(Leader { node: node.parse()?, address: address.parse()? })
}

/// Also when measuring fails, or the scope would wait for ever.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
