//! What a further address of a speaker takes: in the core, and in the port that announces it.

use std::alloc::System;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use layer2::{Arp, Effect, MacAddr, Port};
use members::{News, View};
use placement::{
    Advertisement, Endpoints, ExcludeLabel, Network, Node, Service, ServiceKey, Sharing, SliceKey,
    TrafficPolicy,
};
use pools::PoolSpec;
use speaker_core::{Changes, Config, Core, Input, Link, Output, Purpose, Unfit};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The most that each further address may take. What the shell keeps of it comes on top: see the test of `kubekit`.
const LIMIT: usize = 1_300;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn service(number: u32) -> (ServiceKey, Option<Service>) {
    let key = ServiceKey::new("default", format!("service-{number:04}"));
    let service = Service {
        key: key.clone(),
        labels: BTreeMap::new(),
        vips: vec![IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))],
        created: Some(number.into()),
        recorded_pool: Some("pool".into()),
        traffic_policy: TrafficPolicy::Cluster,
        sharing: Sharing::Sole,
    };
    (key, Some(service))
}

fn endpoints(number: u32) -> (SliceKey, Option<(ServiceKey, Endpoints)>) {
    let service = ServiceKey::new("default", format!("service-{number:04}"));
    let slice = SliceKey::new("default", format!("{}-abcde", service.name));
    (slice, Some((service, Endpoints::from_iter([Some("node".into())]))))
}

fn list<K, V>(each: impl IntoIterator<Item = (K, Option<V>)>) -> Changes<K, V> {
    Changes { each: each.into_iter().collect(), complete: true }
}

/// A speaker alone in its cluster, with an interface.
struct Speaker {
    core: Core,
    port: Port<Arp>,
    now: Instant,
}

impl Speaker {
    fn start() -> Self {
        let now = Instant::now();
        let config =
            Config { node: "node".into(), exclude_label: ExcludeLabel::Honoured, ignore_conflicts: false };
        let port = Port::new(Arp { mac: MAC }, None, 7, now);
        let mut this = Self { core: Core::new(config, now), port, now };
        let link = Link {
            name: "eth0".into(),
            purpose: Purpose::Lan,
            mac: Some(MAC),
            arp: Ok(Arp { mac: MAC }),
            ndp: Err(Unfit::NoLinkLocal),
        };
        let node = Node { name: "node".into(), labels: BTreeMap::new(), network: Network::Available };
        let advertisement = (Advertisement::new("all"), vec![]);
        let view = View { members: ["node".into()].into(), settled: true, ..View::default() };
        this.handle(Input::Interfaces([(1, link)].into()));
        this.handle(Input::Services(list([])));
        this.handle(Input::Endpoints(list([])));
        this.handle(Input::Nodes(list([("node".into(), Some(node))])));
        this.handle(Input::Pools(list([("pool".into(), Some(PoolSpec::new("pool", &["10.0.0.0/16"])))])));
        this.handle(Input::Advertisements(list([("all".into(), Some(advertisement))])));
        this.handle(Input::Peers(BTreeMap::new()));
        this.handle(Input::Members(News { events: vec![], view: Arc::new(view) }));
        this
    }

    fn handle(&mut self, input: Input) {
        self.core.handle(input, self.now);
        while let Some(output) = self.core.poll_output() {
            if let Output::Ports(ports) = output {
                ports.values().for_each(|orders| orders.give(&mut self.port, self.now));
            }
        }
    }

    /// Services come one after the other, and all is done for each that is to be done.
    fn announce(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.handle(Input::Services(Changes { each: vec![service(number)], complete: false }));
            self.handle(Input::Endpoints(Changes { each: vec![endpoints(number)], complete: false }));
        }
        while let Some(due) = self.port.poll_timeout() {
            self.now = self.now.max(due);
            match self.port.poll(self.now) {
                Some(Effect::Report(report)) => self.handle(Input::Port("eth0".into(), report)),
                Some(Effect::Send(_) | Effect::Join(_) | Effect::Leave(_)) | None => {}
            }
        }
    }
}

#[test]
fn a_further_address_takes_little() {
    const BEFORE: u32 = 500;
    const MORE: u32 = 1_000;
    let mut speaker = Speaker::start();
    speaker.announce(0..BEFORE);
    let region = Region::new(ALLOCATOR);
    speaker.announce(BEFORE..BEFORE + MORE);
    let change = region.change();
    let announced =
        (BEFORE..BEFORE + MORE).all(|number| speaker.port.answers(Ipv4Addr::from_bits(0x0a00_0000 + number)));
    assert!(announced);
    let bytes =
        isize::try_from(change.bytes_allocated).unwrap() - isize::try_from(change.bytes_deallocated).unwrap();
    let each = usize::try_from(bytes).unwrap() / usize::try_from(MORE).unwrap();
    assert!(each <= LIMIT, "{each} bytes for each further address");
    assert!(each > LIMIT / 2, "{each} bytes for each further address: lower the limit");
}
