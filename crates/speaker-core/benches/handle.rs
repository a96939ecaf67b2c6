//! How long it takes a speaker to decide what follows from one event in a large cluster, from the input to the last output.

#[path = "../tests/memory/fixture.rs"]
mod fixture;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fixture::{endpoints, list, service, surroundings};
use layer2::MacAddr;
use members::{Event, News, Profile, View};
use placement::{Abilities, Ability, ByProtocol, ExcludeLabel, Failback, NodeName, NodeProfile, Spread};
use speaker_core::{Changes, Config, Core, Input};

const SERVICES: u32 = 5_000;
const NODES: u32 = 100;

/// The cluster as the speaker of the first node is told of it.
struct Cluster {
    core: Core,
    now: Instant,
    /// How many nodes there are.
    nodes: u32,
}

fn name(number: u32) -> NodeName {
    format!("node-{number:03}").into()
}

fn mac(number: u32) -> MacAddr {
    let [_, _, high, low] = number.to_be_bytes();
    MacAddr([2, 0, 0, 0, high, low])
}

fn profile(number: u32) -> Profile {
    let able = ByProtocol { arp: Ability::Able, ndp: Ability::Able };
    let abilities = (0..4).map(|number| (format!("eth{number}").into(), able)).collect();
    let profile = NodeProfile {
        macs: [mac(number).0].into(),
        abilities: Abilities::Known(abilities),
        ..NodeProfile::default()
    };
    Profile::new(profile.encode(Profile::MAX)).expect("it fits")
}

impl Cluster {
    fn of(nodes: u32) -> Self {
        let now = Instant::now();
        let config = Config {
            node: name(0),
            exclude_label: ExcludeLabel::Honoured,
            ignore_conflicts: false,
            spread: Spread::ByHash,
            failback: Failback::Always,
        };
        let mut this = Self { core: Core::new(config, now), now, nodes };
        this.core.handle(Input::Services(list((0..SERVICES).map(service))), now);
        let on = |number| endpoints(number, name(number % nodes));
        this.core.handle(Input::Endpoints(list((0..SERVICES).map(on))), now);
        surroundings(mac(0), (0..nodes).map(name)).into_iter().for_each(|input| this.core.handle(input, now));
        this.without(None);
        this
    }

    fn handle(&mut self, input: Input) {
        self.core.handle(input, self.now);
        while let Some(output) = self.core.poll_output() {
            black_box(output);
        }
    }

    /// All are members but this one, if it is one.
    fn without(&mut self, gone: Option<u32>) {
        let events = gone.map(|gone| Event::Lost { node: name(gone), confirmed_by: [].into() });
        let view = View {
            members: (0..self.nodes).filter(|number| Some(*number) != gone).map(name).collect(),
            settled: true,
            profiles: (1..self.nodes).map(|number| (name(number), profile(number))).collect(),
            ..View::default()
        };
        self.handle(Input::Members(News { events: events.into_iter().collect(), view: Arc::new(view) }));
    }
}

/// Measures `change` and what follows from it; what `back` does is not counted.
fn measure(
    c: &mut Criterion,
    (nodes, name): (u32, &str),
    change: impl Fn(&mut Cluster),
    back: impl Fn(&mut Cluster),
) {
    let mut cluster = Cluster::of(nodes);
    let mut group = c.benchmark_group(format!("{SERVICES} Services on {nodes} nodes"));
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let mut total = Duration::ZERO;
            for _ in 0..times {
                let start = Instant::now();
                change(&mut cluster);
                total += start.elapsed();
                back(&mut cluster);
            }
            total
        });
    });
}

fn events(c: &mut Criterion) {
    let lost = |it: &mut Cluster| it.without(Some(1));
    let back = |it: &mut Cluster| it.without(None);
    measure(c, (NODES, "a node is lost"), lost, back);
    measure(c, (NODES, "a node joins"), back, lost);
    let moves = |on| {
        move |it: &mut Cluster| {
            it.handle(Input::Endpoints(Changes { complete: false, ..list([endpoints(7, name(on))]) }));
        }
    };
    measure(c, (NODES, "an endpoint moves"), moves(8), moves(7));
    measure(c, (2, "a node is lost, and all its addresses come here"), lost, back);
    let delete = |it: &mut Cluster| {
        it.handle(Input::Services(Changes { each: vec![(service(7).0, None)], complete: false }));
    };
    let create = |it: &mut Cluster| {
        it.handle(Input::Services(Changes { each: vec![service(7)], complete: false }));
    };
    measure(c, (1, "a Service that is announced here is deleted"), delete, create);
}

criterion_group!(benches, events);
criterion_main!(benches);
