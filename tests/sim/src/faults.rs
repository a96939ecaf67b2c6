//! What can go wrong, and what else happens, composed at random.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use members::Preset;
use placement::{EXCLUDE_LABEL, Network, Node, Service, TrafficPolicy};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use crate::cluster::{v4, v6};
use crate::lan::Weather;

/// Something that happens to the world. What makes no sense at the moment does nothing: to switch a node off
/// that is off.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A node loses its power.
    PowerOff(usize),
    /// A node boots: its speaker starts.
    PowerOn(usize),
    /// A speaker is killed, and started again by its node after this time.
    Kill(usize, Duration),
    /// A speaker is asked to stop, and the next one started this long after it has gone.
    Restart(usize, Duration),
    /// The same, and it says that it will be back; others only stand in for it meanwhile.
    Replace(usize, Duration),
    /// A node is drained and switched off as soon as its speaker has gone.
    Drain(usize),
    /// A speaker stands still for this long.
    Stall(usize, Duration),
    /// The cable of a node is pulled.
    Unplug(usize),
    /// The cable of a node is put back.
    Plug(usize),
    /// The cable of a client is pulled.
    UnplugClient(usize),
    /// The cable of a client is put back.
    PlugClient(usize),
    /// A switch is cut off from the others.
    Cut(usize),
    /// A switch is joined with the others again.
    Mend(usize),
    /// A switch forgets what it has learned.
    Forget(usize),
    /// The wall clock of a node is set forth or back by so many milliseconds.
    StepClock(usize, i64),
    /// The weather changes.
    Weather(Weather),
    /// Something in the cluster changes.
    Change(Edit),
}

/// A change of an object in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A Service is deleted, or created if there is none.
    ToggleService(u16),
    /// A Service is given another address.
    Readdress(u16),
    /// A Service has endpoints on these nodes and nowhere else.
    Endpoints(u16, BTreeSet<usize>),
    /// A Service is given another traffic policy.
    Policy(u16, TrafficPolicy),
    /// A node is excluded by its label, or is no longer.
    ToggleExclusion(usize),
    /// A node's network becomes unavailable, or available.
    ToggleNetwork(usize),
    /// A label of a node changes that nobody asks for.
    IrrelevantLabel(usize, u32),
    /// A label of a Service changes that nobody asks for.
    IrrelevantServiceLabel(u16, u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Fault {
    /// Whether addresses may move by it, with a preset that tolerates stalls of some length.
    pub(crate) fn moves_addresses(&self, preset: Preset) -> bool {
        match self {
            Self::Stall(_, time) => *time > tolerated_stall(preset),
            Self::UnplugClient(_)
            | Self::PlugClient(_)
            | Self::Forget(_)
            | Self::StepClock(..)
            | Self::Weather(_)
            | Self::Change(Edit::IrrelevantLabel(..) | Edit::IrrelevantServiceLabel(..)) => false,
            Self::PowerOff(_)
            | Self::PowerOn(_)
            | Self::Kill(..)
            | Self::Restart(..)
            | Self::Replace(..)
            | Self::Drain(_)
            | Self::Unplug(_)
            | Self::Plug(_)
            | Self::Cut(_)
            | Self::Mend(_)
            | Self::Change(_) => true,
        }
    }
}

impl Edit {
    /// What it makes of a Service, if it is about one.
    pub(crate) fn of_service(&self, mut service: Service) -> Service {
        match self {
            Self::Readdress(number) => {
                let other = if service.vips[0] == v4(*number) { number + 1000 } else { *number };
                service.vips =
                    if service.vips.len() > 1 { vec![v4(other), v6(other)] } else { vec![v4(other)] };
            }
            Self::Policy(_, policy) => service.traffic_policy = *policy,
            Self::IrrelevantServiceLabel(_, value) => {
                service.labels.insert("irrelevant".into(), value.to_string());
            }
            Self::ToggleService(_)
            | Self::Endpoints(..)
            | Self::ToggleExclusion(_)
            | Self::ToggleNetwork(_)
            | Self::IrrelevantLabel(..) => {}
        }
        service
    }

    /// What it makes of a node, if it is about one.
    pub(crate) fn of_node(&self, mut node: Node) -> Node {
        match self {
            Self::ToggleExclusion(_) => {
                if node.labels.remove(EXCLUDE_LABEL).is_none() {
                    node.labels.insert(EXCLUDE_LABEL.into(), String::new());
                }
            }
            Self::ToggleNetwork(_) => {
                node.network = match node.network {
                    Network::Available => Network::Unavailable,
                    Network::Unavailable => Network::Available,
                }
            }
            Self::IrrelevantLabel(_, value) => {
                node.labels.insert("irrelevant".into(), value.to_string());
            }
            Self::ToggleService(_)
            | Self::Readdress(_)
            | Self::Endpoints(..)
            | Self::Policy(..)
            | Self::IrrelevantServiceLabel(..) => {}
        }
        node
    }
}

/// For so long may a speaker stand still without being held dead.
pub(crate) fn tolerated_stall(preset: Preset) -> Duration {
    match preset {
        Preset::Relaxed => Duration::from_millis(1500),
        Preset::Default => Duration::from_millis(300),
        Preset::Fast => Duration::from_millis(100),
    }
}

/// How much there is in a world for things to happen to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) clients: usize,
    pub(crate) switches: usize,
    pub(crate) services: u16,
}

/// Kinds of faults: each seed has some of them, so that each is also seen alone.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Power,
    Process,
    Orderly,
    Replaced,
    Drain,
    ShortStall,
    LongStall,
    Cable,
    ClientCable,
    Partition,
    Switch,
    Clock,
    Weather,
    Objects,
    Irrelevant,
}

const KINDS: [Kind; 15] = [
    Kind::Power,
    Kind::Process,
    Kind::Orderly,
    Kind::Replaced,
    Kind::Drain,
    Kind::ShortStall,
    Kind::LongStall,
    Kind::Cable,
    Kind::ClientCable,
    Kind::Partition,
    Kind::Switch,
    Kind::Clock,
    Kind::Weather,
    Kind::Objects,
    Kind::Irrelevant,
];

/// What happens from `start` to `end`, and when. What is broken is mended again, most of it before `end`.
pub(crate) fn plan(
    random: &mut StdRng,
    size: Size,
    preset: Preset,
    start: Duration,
    end: Duration,
) -> Vec<(Duration, Fault)> {
    let count = random.random_range(1..=5);
    let kinds: Vec<Kind> = KINDS.sample(random, count).copied().collect();
    // Some seeds are hectic, in others each fault has time to settle.
    let pace = *[0.3, 1.0, 4.0].choose(random).expect("there are three");
    let mut plan = Vec::new();
    let mut at = start;
    while at < end {
        let kind = *kinds.choose(random).expect("there is one");
        let (fault, cure) = draw(random, kind, size, preset);
        if let Some(cure) = cure {
            let after = span(random, 0.05, 8.0);
            plan.push((at + after, cure));
        }
        plan.push((at, fault));
        at += Duration::from_secs_f64(pace * random.random_range(0.1..3.0));
    }
    plan
}

/// A fault and what mends it.
fn draw(random: &mut StdRng, kind: Kind, size: Size, preset: Preset) -> (Fault, Option<Fault>) {
    let node = random.random_range(0..size.nodes);
    let switch = random.random_range(0..size.switches);
    let client = random.random_range(0..size.clients);
    let pause = span(random, 0.01, 4.0);
    let tolerated = tolerated_stall(preset);
    match kind {
        Kind::Power => (Fault::PowerOff(node), Some(Fault::PowerOn(node))),
        Kind::Process => (Fault::Kill(node, pause), None),
        Kind::Orderly => (Fault::Restart(node, pause), None),
        // Some come too late.
        Kind::Replaced => (Fault::Replace(node, 4 * pause), None),
        Kind::Drain => (Fault::Drain(node), Some(Fault::PowerOn(node))),
        Kind::ShortStall => (Fault::Stall(node, tolerated.mul_f64(random.random())), None),
        Kind::LongStall => (Fault::Stall(node, tolerated + span(random, 0.01, 5.0)), None),
        Kind::Cable => (Fault::Unplug(node), Some(Fault::Plug(node))),
        Kind::ClientCable => (Fault::UnplugClient(client), Some(Fault::PlugClient(client))),
        Kind::Partition => (Fault::Cut(switch), Some(Fault::Mend(switch))),
        Kind::Switch => (Fault::Forget(switch), None),
        Kind::Clock => (Fault::StepClock(node, random.random_range(-100_000..100_000)), None),
        Kind::Weather => {
            let weather = *[Weather::FINE, Weather::BAD].choose(random).expect("there are two");
            (Fault::Weather(weather), None)
        }
        Kind::Objects => (Fault::Change(edit(random, size)), None),
        Kind::Irrelevant => {
            let value = random.next_u32();
            let service = random.random_range(0..size.services);
            let edit = if random.random() {
                Edit::IrrelevantLabel(node, value)
            } else {
                Edit::IrrelevantServiceLabel(service, value)
            };
            (Fault::Change(edit), None)
        }
    }
}

fn edit(random: &mut StdRng, size: Size) -> Edit {
    let node = random.random_range(0..size.nodes);
    let service = random.random_range(0..size.services);
    match random.random_range(0..6) {
        0 => Edit::ToggleService(service),
        1 => Edit::Readdress(service),
        2 => Edit::Endpoints(service, (0..size.nodes).filter(|_| random.random()).collect()),
        3 if random.random() => Edit::Policy(service, TrafficPolicy::Local),
        3 => Edit::Policy(service, TrafficPolicy::Cluster),
        4 => Edit::ToggleExclusion(node),
        _ => Edit::ToggleNetwork(node),
    }
}

/// Short spans as often as long ones.
fn span(random: &mut StdRng, shortest: f64, longest: f64) -> Duration {
    Duration::from_secs_f64((random.random_range(shortest.ln()..longest.ln())).exp())
}
