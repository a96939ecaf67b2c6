//! Nobody dies who lives, for as long as one likes to look.

use std::time::Duration;

use members::{Event, Preset};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::joined;
use crate::network::{Weather, ms};

/// Lets any one process stand still for 300 ms once a minute, in bad weather; how many were thought dead.
fn false_deaths(count: usize, minutes: u64, seed: u64) -> usize {
    let mut network = joined(count, Preset::Default, Weather::BAD, seed);
    let mut random = StdRng::seed_from_u64(seed);
    let mut deaths = 0;
    for minute in 0..minutes {
        let before = random.random_range(0..59_000);
        network.run(ms(before));
        network.stall(random.random_range(0..count), ms(300));
        network.run(ms(60_000 - before));
        for (at, number, event) in network.events.drain(..) {
            println!("{count} nodes, seed {seed}, minute {minute}, {at:?}, node {number}: {event:?}");
            deaths += usize::from(matches!(event, Event::Lost { .. }));
        }
    }
    let counters = network.running().into_iter().map(|number| network.members(number).counters());
    let doubts: u64 = counters.map(|counters| counters.doubted).sum();
    println!("{count} nodes, {minutes} minutes: {deaths} false deaths, {doubts} doubts");
    deaths
}

#[test]
fn nobody_dies_who_lives() {
    for count in [3, 10] {
        assert_eq!(false_deaths(count, 10, 1), 0);
    }
}

/// Takes a while, in a release build. `FERROLB_SIM_NODES` picks one size, `FERROLB_SIM_HOURS` another time.
#[test]
#[ignore = "24 simulated hours for each of 3, 10, 50 and 200 nodes"]
fn nobody_dies_who_lives_in_24_hours() {
    let given = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let hours = given("FERROLB_SIM_HOURS").unwrap_or(24);
    let sizes = given("FERROLB_SIM_NODES").map_or(vec![3, 10, 50, 200], |count| vec![count]);
    for count in sizes {
        let start = std::time::Instant::now();
        assert_eq!(false_deaths(usize::try_from(count).unwrap(), hours * 60, count), 0);
        println!("{hours} hours of {count} nodes took {:?}", Duration::from_secs(start.elapsed().as_secs()));
    }
}
