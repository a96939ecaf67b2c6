//! Worlds drawn at random: see the documentation of the crate.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

/// The seeds that are tried if nobody says otherwise.
const SEEDS: Range<u64> = 0..400;

#[test]
fn invariants_hold_whatever_happens() {
    if let Ok(seed) = env::var("SIM_SEED") {
        let seed = number(&seed);
        match sim::simulate(seed) {
            Ok(story) => return println!("{story}"),
            Err(failure) => panic!("\n{failure}"),
        }
    }
    let seeds = env::var("SIM_SEEDS").map_or(SEEDS, |range| seeds(&range));
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return failures;
            }
            failures.extend(sim::simulate(seed).err());
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
fn seeds(range: &str) -> Range<u64> {
    let (start, end) = range.split_once("..").unwrap_or(("0", range));
    number(start)..number(end)
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}
