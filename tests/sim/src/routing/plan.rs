//! Worlds drawn at random, and what happens in them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::objects::{AdvertisementSetup, Edit, OWN, RouterSetup, ServiceSetup, Setup};
use super::world::Fault;

/// For how long faults happen.
const TROUBLE: u64 = 40_000;

/// What happens in a world.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) setup: Setup,
    /// By when, in order.
    pub(super) trouble: Vec<(Duration, Incident)>,
    /// Changes of objects while all is well, and whether each is one of attributes alone.
    pub(super) edits: Vec<(Edit, Touches)>,
}

#[derive(Debug, Clone)]
pub(super) enum Incident {
    Fault(Fault),
    Edit(Edit),
}

/// What a change may do to routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touches {
    Prefixes,
    /// No prefix comes or goes.
    Attributes,
}

impl Plan {
    pub(super) fn draw(random: &mut StdRng) -> Self {
        let setup = setup(random);
        let trouble = trouble(random, &setup);
        let edits = edits(random, &setup, &trouble);
        Self { setup, trouble, edits }
    }
}

fn setup(random: &mut StdRng) -> Setup {
    let nodes = random.random_range(1..=4);
    let routers = (0..random.random_range(1..=3)).map(|_| RouterSetup {
        asn: if random.random_bool(0.3) { OWN } else { 64_513 },
        dual_stack: random.random_bool(0.5),
        graceful_restart: random.random_bool(0.5),
        bfd: random.random_bool(0.5),
        half: random.random_bool(0.2).then(|| random.random_range(0..2)),
    });
    let routers: Vec<RouterSetup> = routers.collect();
    let services = (0..random.random_range(1..=6)).map(|number| (number, service(random, nodes))).collect();
    let advertisements = (0..random.random_range(1..=3))
        .map(|number| (number, advertisement(random, routers.len())))
        .collect();
    Setup { nodes, routers, hold: random.random_range(3..=9), services, advertisements }
}

fn service(random: &mut StdRng, nodes: usize) -> ServiceSetup {
    ServiceSetup {
        local: random.random(),
        endpoints: (0..nodes).filter(|_| random.random_bool(0.6)).collect(),
        dual_stack: random.random_bool(0.4),
    }
}

fn advertisement(random: &mut StdRng, routers: usize) -> AdvertisementSetup {
    let all = random.random_bool(0.7);
    AdvertisementSetup {
        routers: (0..routers).filter(|_| !all && random.random_bool(0.5)).collect(),
        half: random.random_bool(0.2).then(|| random.random_range(0..2)),
        length: if random.random_bool(0.7) { 32 } else { random.random_range(28..=31) },
        communities: communities(random),
    }
}

fn communities(random: &mut StdRng) -> BTreeSet<u16> {
    (0..random.random_range(0..4)).map(|_| random.random_range(1..9)).collect()
}

fn trouble(random: &mut StdRng, setup: &Setup) -> Vec<(Duration, Incident)> {
    let mut trouble = Vec::new();
    for _ in 0..random.random_range(2..14) {
        let at = random.random_range(0..TROUBLE);
        let node = random.random_range(0..setup.nodes);
        let router = random.random_range(0..setup.routers.len());
        let pause = Duration::from_millis(random.random_range(100..6_000));
        // What ends by itself, does so before all is mended.
        let later = at + random.random_range(50..15_000);
        let (first, second) = match random.random_range(0..8) {
            0 => (Fault::PowerOff(node), Some(Fault::PowerOn(node))),
            1 => (Fault::Kill(node, pause), None),
            2 => (Fault::Replace(node, pause), None),
            3 => (Fault::Leave(node), Some(Fault::Start(node))),
            4 | 5 => (Fault::Cut(node, router), Some(Fault::Mend(node, router))),
            6 => (Fault::Restart(router), None),
            _ => {
                trouble.push((Duration::from_millis(at), Incident::Edit(edit(random, setup).0)));
                continue;
            }
        };
        trouble.push((Duration::from_millis(at), Incident::Fault(first)));
        trouble.extend(second.map(|it| (Duration::from_millis(later), Incident::Fault(it))));
    }
    trouble.sort_by_key(|(at, _)| *at);
    trouble
}

fn edits(random: &mut StdRng, setup: &Setup, trouble: &[(Duration, Incident)]) -> Vec<(Edit, Touches)> {
    // As they are by then: a change of attributes is one of what there is.
    let mut advertisements = setup.advertisements.clone();
    let before = trouble.iter().filter_map(|(_, it)| match it {
        Incident::Edit(edit) => Some(edit),
        Incident::Fault(_) => None,
    });
    before.for_each(|it| apply(&mut advertisements, it));
    let mut edits = Vec::new();
    for _ in 0..random.random_range(3..8) {
        let same = advertisements.iter().nth(random.random_range(0..3)).filter(|_| random.random_bool(0.5));
        let (edit, touches) = match same.map(|(number, it)| (*number, it.clone())) {
            Some((number, before)) => {
                let after = AdvertisementSetup { communities: communities(random), ..before };
                (Edit::Advertisement(number, Some(after)), Touches::Attributes)
            }
            None => edit(random, setup),
        };
        // Another hold time makes another session.
        if matches!(edit, Edit::Hold(_)) {
            continue;
        }
        apply(&mut advertisements, &edit);
        edits.push((edit, touches));
    }
    edits
}

fn apply(advertisements: &mut BTreeMap<u16, AdvertisementSetup>, edit: &Edit) {
    match edit {
        Edit::Advertisement(number, Some(new)) => _ = advertisements.insert(*number, new.clone()),
        Edit::Advertisement(number, None) => _ = advertisements.remove(number),
        Edit::Service(..) | Edit::Exclude(_) | Edit::Hold(_) => {}
    }
}

fn edit(random: &mut StdRng, setup: &Setup) -> (Edit, Touches) {
    let edit = match random.random_range(0..10) {
        0..5 => {
            let new = random.random_bool(0.8).then(|| service(random, setup.nodes));
            Edit::Service(random.random_range(0..6), new)
        }
        5..8 => {
            let new = random.random_bool(0.8).then(|| advertisement(random, setup.routers.len()));
            Edit::Advertisement(random.random_range(0..3), new)
        }
        8 => Edit::Exclude(random.random_range(0..setup.nodes)),
        _ => Edit::Hold(random.random_range(3..=9)),
    };
    (edit, Touches::Prefixes)
}
