//! Faults composed at random.

use std::time::Duration;

use members::Preset;
use placement::{Failback, Spread, TrafficPolicy};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use crate::faults::{Direction, Edit, Fault, LanId, tolerated_stall};
use crate::lan::Weather;
use crate::world::{Setup, Wiring};

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
    Vlan,
    Firewall,
    Path,
    Port,
    Key,
    Address,
    Squatter,
    ClientCable,
    Partition,
    Switch,
    Clock,
    Weather,
    Objects,
    Irrelevant,
    Api,
}

const KINDS: [Kind; 23] = [
    Kind::Power,
    Kind::Process,
    Kind::Orderly,
    Kind::Replaced,
    Kind::Drain,
    Kind::ShortStall,
    Kind::LongStall,
    Kind::Cable,
    Kind::Vlan,
    Kind::Firewall,
    Kind::Path,
    Kind::Port,
    Kind::Key,
    Kind::Address,
    Kind::Squatter,
    Kind::ClientCable,
    Kind::Partition,
    Kind::Switch,
    Kind::Clock,
    Kind::Weather,
    Kind::Objects,
    Kind::Irrelevant,
    Kind::Api,
];

/// What happens from `start` to `end`, and when; some of it is so from the beginning of the world. Most of what is broken
/// is mended again, and most of that before `end`.
pub(crate) fn plan(
    random: &mut StdRng,
    setup: &Setup,
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
        let (fault, cure) = draw(random, kind, setup);
        let lasts = kind.may_last() && random.random_bool(0.2);
        if let Some(cure) = cure.filter(|_| !lasts) {
            let after = span(random, 0.05, 8.0);
            plan.push((at + after, cure));
        }
        let from_the_beginning = kind.may_last() && random.random_bool(0.2);
        plan.push((if from_the_beginning { Duration::ZERO } else { at }, fault));
        at += Duration::from_secs_f64(pace * random.random_range(0.1..3.0));
    }
    plan
}

impl Kind {
    /// Whether it may be there from the beginning, or for ever: what is wrong with a node as it is set up.
    fn may_last(self) -> bool {
        matches!(self, Self::Firewall | Self::Path | Self::Port | Self::Key | Self::Vlan)
    }
}

/// A fault and what mends it.
fn draw(random: &mut StdRng, kind: Kind, setup: &Setup) -> (Fault, Option<Fault>) {
    let node = random.random_range(0..setup.nodes);
    let nic = random.random_range(0..setup.wiring.interfaces());
    let switch = random.random_range(0..setup.switches);
    let client = random.random_range(0..setup.clients);
    let pause = span(random, 0.01, 4.0);
    let tolerated = tolerated_stall(setup.preset);
    match kind {
        Kind::Power => (Fault::PowerOff(node), Some(Fault::PowerOn(node))),
        Kind::Process => (Fault::Kill(node, pause), None),
        Kind::Orderly => (Fault::Restart(node, pause), None),
        // Some come too late.
        Kind::Replaced => (Fault::Replace(node, 4 * pause), None),
        Kind::Drain => (Fault::Drain(node), Some(Fault::PowerOn(node))),
        Kind::ShortStall => (Fault::Stall(node, tolerated.mul_f64(random.random())), None),
        Kind::LongStall => (Fault::Stall(node, tolerated + span(random, 0.01, 5.0)), None),
        Kind::Cable => (Fault::Unplug(node, nic), Some(Fault::Plug(node, nic))),
        Kind::Vlan => (Fault::Isolate(node, nic), Some(Fault::Rejoin(node, nic))),
        Kind::Firewall => {
            let directions = [Direction::In, Direction::Out, Direction::Both];
            let direction = *directions.choose(random).expect("there are three");
            (Fault::Block(node, direction), Some(Fault::Unblock(node, direction)))
        }
        Kind::Path => {
            let to = (node + random.random_range(1..setup.nodes.max(2))) % setup.nodes;
            (Fault::Lose(node, to), Some(Fault::Deliver(node, to)))
        }
        Kind::Port => (Fault::TakePort(node, pause), Some(Fault::FreePort(node))),
        Kind::Key => (Fault::OtherKey(node), Some(Fault::SameKey(node))),
        Kind::Address => (Fault::Renumber(node, pause), None),
        Kind::Squatter => {
            let lan = match setup.wiring {
                Wiring::TwoLans if random.random() => LanId::Second,
                Wiring::TwoLans | Wiring::One | Wiring::TwiceOnOne => LanId::First,
            };
            (Fault::Squat(lan, random.random_range(0..setup.services)), Some(Fault::Vacate(lan)))
        }
        Kind::ClientCable => (Fault::UnplugClient(client), Some(Fault::PlugClient(client))),
        Kind::Partition => (Fault::Cut(switch), Some(Fault::Mend(switch))),
        Kind::Switch => (Fault::Forget(switch), None),
        Kind::Clock => (Fault::StepClock(node, random.random_range(-100_000..100_000)), None),
        Kind::Weather => {
            let weather = *[Weather::FINE, Weather::BAD].choose(random).expect("there are two");
            (Fault::Weather(weather), None)
        }
        Kind::Objects => (Fault::Change(edit(random, setup)), None),
        Kind::Api if random.random() => (Fault::Change(edit(random, setup)), None),
        Kind::Api => (Fault::CutApi(node), Some(Fault::HealApi(node))),
        Kind::Irrelevant => {
            let value = random.next_u32();
            let service = random.random_range(0..setup.services);
            let edit = if random.random() {
                Edit::IrrelevantLabel(node, value)
            } else {
                Edit::IrrelevantServiceLabel(service, value)
            };
            (Fault::Change(edit), None)
        }
    }
}

fn edit(random: &mut StdRng, setup: &Setup) -> Edit {
    let node = random.random_range(0..setup.nodes);
    let service = random.random_range(0..setup.services);
    match random.random_range(0..6) {
        0 => Edit::ToggleService(service),
        1 => Edit::Readdress(service),
        2 => Edit::Endpoints(service, (0..setup.nodes).filter(|_| random.random()).collect()),
        3 if random.random() => Edit::Policy(service, TrafficPolicy::Local),
        3 => Edit::Policy(service, TrafficPolicy::Cluster),
        4 => Edit::ToggleExclusion(node),
        _ => Edit::ToggleNetwork(node),
    }
}

/// What a world is like at first.
pub(crate) fn setup(random: &mut StdRng) -> Setup {
    let presets = [Preset::Default, Preset::Default, Preset::Fast, Preset::Relaxed];
    let wirings = [Wiring::One, Wiring::One, Wiring::TwoLans, Wiring::TwiceOnOne];
    let proxy = random.random_bool(0.1);
    let spread = if random.random_bool(0.3) { Spread::Evenly } else { Spread::ByHash };
    let failback = if random.random_bool(0.3) { Failback::Never } else { Failback::Always };
    Setup {
        nodes: random.random_range(1..=6),
        clients: random.random_range(1..=3),
        switches: random.random_range(1..=3),
        services: random.random_range(1..=6),
        preset: *presets.choose(random).expect("there are some"),
        weather: if random.random_bool(0.3) { Weather::BAD } else { Weather::FINE },
        sealed: random.random_bool(0.1),
        request_interval: Duration::from_millis(100),
        wiring: *wirings.choose(random).expect("there are some"),
        sharing: random.random_bool(0.3),
        // Otherwise nothing is announced where there is one.
        ignore_conflicts: proxy,
        spread,
        failback,
        proxy,
        tracking: random.random_bool(0.2),
        drift: random.random_bool(0.5),
        prefixes: random.random_bool(0.5),
    }
}

/// Short spans as often as long ones.
fn span(random: &mut StdRng, shortest: f64, longest: f64) -> Duration {
    Duration::from_secs_f64((random.random_range(shortest.ln()..longest.ln())).exp())
}
