//! How long it takes to follow a change in a large cluster: 5 000 Services on 100 nodes.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use objects::Labels;
use placement::{
    Abilities, Ability, Advertisement, ByProtocol, EXCLUDE_LABEL, Endpoints, ExcludeLabel, Interfaces,
    Network, Node, NodeName, Placement, Pools, Service, ServiceKey, Sharing, SliceKey, TrafficPolicy,
};
use pools::PoolSpec;

const SERVICES: u32 = 5_000;
const NODES: u32 = 100;

fn name(number: u32) -> NodeName {
    format!("node-{number:03}").into()
}

fn node(number: u32, labels: Labels) -> Node {
    Node { name: name(number), labels, network: Network::Available }
}

fn members(without: Option<u32>) -> BTreeSet<NodeName> {
    (0..NODES).filter(|number| Some(*number) != without).map(name).collect()
}

fn abilities(arp: Ability) -> Abilities {
    let interface = |number| (format!("eth{number}").into(), ByProtocol { arp, ndp: Ability::Able });
    Abilities::Known((0..4).map(interface).collect())
}

fn advertisement(interfaces: Interfaces) -> Advertisement {
    Advertisement { interfaces, ..Advertisement::new("all") }
}

fn service(number: u32) -> Service {
    Service {
        key: ServiceKey::new("default", format!("service-{number:04}")),
        labels: Labels::new(),
        vips: vec![IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))],
        created: Some(number.into()),
        recorded_pool: Some("pool".into()),
        traffic_policy: TrafficPolicy::Cluster,
        sharing: Sharing::Sole,
    }
}

fn endpoints(placement: &mut Placement, number: u32, on: u32) {
    let key = service(number).key;
    let slice = SliceKey::new("default", format!("{}-abcde", key.name));
    placement.set_endpoints(&slice, &key, Endpoints::from_iter([Some(name(on))]));
}

fn cluster() -> Placement {
    let mut placement = Placement::new(name(0), ExcludeLabel::Honoured);
    placement.set_pools(Pools::new([PoolSpec::new("pool", &["10.0.0.0/16"])]));
    placement.set_advertisement(advertisement(Interfaces::All));
    placement.set_members(members(None));
    for number in 0..NODES {
        placement.set_node(node(number, Labels::new()));
        placement.set_abilities(name(number), abilities(Ability::Able));
    }
    for number in 0..SERVICES {
        placement.set_service(service(number));
        endpoints(&mut placement, number, number % NODES);
    }
    placement.settle();
    placement
}

/// Measures `change` and what follows from it; what `back` does is not counted.
fn measure(c: &mut Criterion, name: &str, change: impl Fn(&mut Placement), back: impl Fn(&mut Placement)) {
    let mut placement = cluster();
    let mut group = c.benchmark_group("5000 Services on 100 nodes");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let mut total = Duration::ZERO;
            for _ in 0..times {
                let start = Instant::now();
                change(&mut placement);
                black_box(placement.settle());
                total += start.elapsed();
                back(&mut placement);
                placement.settle();
            }
            total
        });
    });
}

fn changes(c: &mut Criterion) {
    let all = || members(None);
    let others = || members(Some(7));
    let excluded = || Labels::from([(EXCLUDE_LABEL.to_owned(), String::new())]);
    measure(c, "a node is lost", |it| it.set_members(others()), |it| it.set_members(all()));
    measure(c, "a node joins", |it| it.set_members(all()), |it| it.set_members(others()));
    measure(
        c,
        "a node is away for a moment",
        |it| {
            it.set_members(others());
            it.set_away([name(7)].into());
        },
        |it| {
            it.set_members(all());
            it.set_away([].into());
        },
    );
    measure(
        c,
        "a node's cables go",
        |it| it.set_abilities(name(7), abilities(Ability::Lost)),
        |it| it.set_abilities(name(7), abilities(Ability::Able)),
    );
    measure(
        c,
        "a node is excluded",
        |it| it.set_node(node(7, excluded())),
        |it| it.set_node(node(7, Labels::new())),
    );
    measure(c, "an endpoint moves", |it| endpoints(it, 7, 8), |it| endpoints(it, 7, 7));
    measure(
        c,
        "the advertisement changes",
        |it| it.set_advertisement(advertisement(Interfaces::only(["eth1".into()]))),
        |it| it.set_advertisement(advertisement(Interfaces::All)),
    );
}

criterion_group!(benches, changes);
criterion_main!(benches);
