//! Worlds drawn at random: see the documentation of the crate.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

use sim::Failure;

#[test]
fn invariants_hold_whatever_happens() {
    hold("SIM", 0..400, sim::simulate);
}

#[test]
fn routers_know_what_follows_from_the_objects_and_nothing_of_who_is_gone() {
    hold("ROUTER", 0..100, sim::routing::simulate);
}

/// Tries these seeds, unless the variable with this prefix names others or one.
fn hold(prefix: &str, seeds: Range<u64>, simulate: fn(u64) -> Result<String, Failure>) {
    if let Ok(seed) = env::var(format!("{prefix}_SEED")) {
        match simulate(number(&seed)) {
            Ok(story) => return println!("{story}"),
            Err(failure) => panic!("\n{failure}"),
        }
    }
    let seeds = env::var(format!("{prefix}_SEEDS")).map_or(seeds, |range| range_of(&range));
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return failures;
            }
            failures.extend(simulate(seed).err());
        }
    };
    let failures: Vec<_> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught")).collect()
    });
    if let Some(first) = failures.iter().min_by_key(|failure| failure.seed) {
        let all: Vec<_> = failures.iter().map(|it| format!("{:>6}  {}", it.seed, it.what)).collect();
        panic!("\n{first}\n{} of {seeds:?} fail:\n{}", failures.len(), all.join("\n"));
    }
}

/// The first ones, so many; or those from one up to another.
fn range_of(seeds: &str) -> Range<u64> {
    let (start, end) = seeds.split_once("..").unwrap_or(("0", seeds));
    number(start)..number(end)
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}
