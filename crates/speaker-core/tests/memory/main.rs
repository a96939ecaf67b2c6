//! What a further address of a speaker takes: in the core, and in the port that announces it.

mod fixture;
mod routes;

use std::alloc::System;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fixture::{endpoints, list, service, surroundings, vip};
use layer2::{Arp, Effect, MacAddr, Port};
use members::{News, View};
use placement::{ExcludeLabel, Failback, Spread};
use speaker_core::{Changes, Config, Core, Input, Output};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The most that each further address may take. What the shell keeps of it comes on top: see the test
/// `speaker_memory` of `ferrolb`.
const LIMIT: usize = 1_600;

/// After so long all that has grown is packed.
const CALM: Duration = Duration::from_secs(10);

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// A speaker alone in its cluster, with an interface.
struct Speaker {
    core: Core,
    port: Port<Arp>,
    now: Instant,
}

impl Speaker {
    fn start() -> Self {
        let now = Instant::now();
        let config = Config {
            node: "node".into(),
            exclude_label: ExcludeLabel::Honoured,
            ignore_conflicts: false,
            spread: Spread::ByHash,
            failback: Failback::Always,
        };
        let port = Port::new(Arp { mac: MAC }, None, 7, now);
        let mut this = Self { core: Core::new(config, now), port, now };
        let view = View { members: ["node".into()].into(), settled: true, ..View::default() };
        this.handle(Input::Services(list([])));
        this.handle(Input::Endpoints(list([])));
        surroundings(MAC, ["node".into()]).into_iter().for_each(|input| this.handle(input));
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
            self.handle(Input::Endpoints(Changes {
                each: vec![endpoints(number, "node".into())],
                complete: false,
            }));
        }
        loop {
            let deadlines = [self.port.poll_timeout(), self.core.poll_timeout()];
            let Some(due) = deadlines.into_iter().flatten().min() else { break };
            self.now = self.now.max(due);
            if self.core.poll_timeout().is_some_and(|at| at <= self.now) {
                self.handle(Input::Time);
            }
            match self.port.poll(self.now) {
                Some(Effect::Report(report)) => self.handle(Input::Port("eth0".into(), report)),
                Some(Effect::Send(_) | Effect::Join(_) | Effect::Leave(_) | Effect::Answered(_)) | None => {}
            }
        }
    }
}

/// What others allocate would be counted too.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many bytes more than before.
fn taken(stats: &Stats) -> usize {
    stats.bytes_allocated.checked_sub(stats.bytes_deallocated).expect("more is there than before")
}

#[test]
fn a_further_address_takes_little() {
    const BEFORE: u32 = 500;
    const MORE: u32 = 1_000;
    let _alone = alone();
    let mut speaker = Speaker::start();
    speaker.announce(0..BEFORE);
    let region = Region::new(ALLOCATOR);
    speaker.announce(BEFORE..BEFORE + MORE);
    let change = region.change();
    let announced = (BEFORE..BEFORE + MORE).all(|number| speaker.port.answers(vip(number)));
    assert!(announced);
    let each = taken(&change) / usize::try_from(MORE).unwrap();
    println!("{each} bytes for each further address");
    assert!(each <= LIMIT, "{each} bytes for each further address");
}
