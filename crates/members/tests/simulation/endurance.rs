//! Nobody dies who lives, for as long as one likes to look.

use std::time::Duration;

use members::{Event, Preset};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::network::{Network, Weather, ms};
use crate::{is_settled, joined};

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

/// The figures of the table in the crate's documentation.
#[test]
#[ignore = "prints figures, and takes a minute in a release build"]
fn figures_of_the_presets() {
    for preset in [Preset::Relaxed, Preset::Default, Preset::Fast] {
        let mut network = joined(10, preset, Weather::FINE, 1);
        let before: u64 = network.nodes.iter().map(|node| node.sent).sum();
        network.run(ms(60_000));
        let after: u64 = network.nodes.iter().map(|node| node.sent).sum();
        let rate = (after - before) / 10 / 60;

        let mut times: Vec<_> = (0..200).map(|seed| detection(10, preset, Weather::BAD, seed)).collect();
        times.sort_unstable();

        let harmless = |stall: &u64| (0..50).all(|seed| !stall_kills(*stall, preset, seed));
        let stall = (1..200).map(|step| step * 20).take_while(harmless).last();
        println!(
            "{preset:?}: {rate} packets/s, found after {:?} (median) {:?} (99 %), stall {stall:?} ms",
            times[100], times[197]
        );
        for loss in [5.0, 10.0, 20.0, 30.0] {
            let mut network = joined(10, preset, Weather { loss_percent: loss, ..Weather::BAD }, 1);
            network.run(ms(600_000));
            println!("{preset:?}: with {loss} % lost, {} false deaths in ten minutes", lost(&network));
        }
    }
}

#[test]
#[ignore = "prints figures, and takes a minute in a release build"]
fn figures_of_a_large_group() {
    for count in [50, 100, 200] {
        let mut network = Network::new(count, Preset::Default, Weather::BAD, 1);
        let joining = network.run_until(ms(10_000), is_settled);
        network.run(ms(10_000));
        let dead: Vec<_> = (0..5).map(|seed| detection(count, Preset::Default, Weather::BAD, seed)).collect();
        network.move_to(0..count / 2, 1);
        network.run(ms(10_000));
        network.events.clear();
        network.move_to(0..count / 2, 0);
        let healing = network.run_until(ms(10_000), Network::agrees);
        network.run(ms(5_000));
        println!(
            "{count}: joined in {joining:?}, deaths found in {dead:?}, healed in {healing:?}, {} lost",
            lost(&network)
        );
    }
}

fn detection(count: usize, preset: Preset, weather: Weather, seed: u64) -> Duration {
    let mut network = joined(count, preset, weather, seed);
    network.run(ms(7 * seed));
    network.kill(0);
    network.run_until(ms(5000), Network::agrees).expect("they find out")
}

fn stall_kills(stall: u64, preset: Preset, seed: u64) -> bool {
    let mut network = joined(10, preset, Weather::BAD, seed);
    network.run(ms(7 * seed));
    network.stall(0, ms(stall));
    network.run(ms(stall + 500));
    lost(&network) > 0
}

fn lost(network: &Network) -> usize {
    network.events.iter().filter(|(_, _, event)| matches!(event, Event::Lost { .. })).count()
}
