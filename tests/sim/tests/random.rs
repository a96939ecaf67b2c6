//! Worlds drawn at random: see the documentation of the crate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

/// How many seeds are tried if nobody says otherwise.
const SEEDS: u64 = 400;

#[test]
fn invariants_hold_whatever_happens() {
    if let Some(seed) = number("SIM_SEED") {
        match sim::simulate(seed) {
            Ok(story) => return println!("{story}"),
            Err(failure) => panic!("\n{failure}"),
        }
    }
    let (next, end) = (AtomicU64::new(0), number("SIM_SEEDS").unwrap_or(SEEDS));
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
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
        panic!("\n{first}\n{} of {end} seeds fail:\n{}", failures.len(), all.join("\n"));
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().expect("a number"))
}
