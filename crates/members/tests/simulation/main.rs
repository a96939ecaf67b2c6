//! Members over a network in virtual time.

mod network;

use std::collections::BTreeSet;
use std::time::Duration;

use members::{Event, Preset};
use network::{Network, Weather, ms, name};

/// A network whose members all know each other.
fn joined(count: usize, preset: Preset, weather: Weather, seed: u64) -> Network {
    let mut network = Network::new(count, preset, weather, seed);
    let took = network.run_until(ms(5000), |network| {
        network.agrees() && network.running().into_iter().all(|number| network.members(number).settled())
    });
    assert!(took.is_some(), "they do not find each other");
    network.run(ms(1000));
    network.events.clear();
    network
}

#[test]
fn members_find_each_other() {
    for count in [1, 2, 3, 10, 50] {
        let mut network = Network::new(count, Preset::Default, Weather::FINE, 1);
        let took = network.run_until(ms(5000), |network| {
            network.agrees() && network.running().into_iter().all(|number| network.members(number).settled())
        });
        println!("{count}: {took:?}");
        assert!(took.is_some_and(|took| took < ms(100)), "{took:?}");
    }
}

#[test]
fn power_off() {
    for preset in [Preset::Relaxed, Preset::Default, Preset::Fast] {
        for (count, weather) in [
            (2, Weather::FINE),
            (3, Weather::FINE),
            (3, Weather::BAD),
            (10, Weather::BAD),
            (50, Weather::BAD),
        ] {
            let mut times = Vec::new();
            for seed in 0..20 {
                let mut network = joined(count, preset, weather, seed);
                network.run(ms(7 * seed));
                network.kill(0);
                times.push(network.run_until(ms(5000), Network::agrees).unwrap().as_millis());
                let by: BTreeSet<_> = network
                    .events
                    .iter()
                    .filter_map(|(_, _, event)| match event {
                        Event::Lost { node, confirmed_by } if *node == name(0) => Some(confirmed_by.clone()),
                        Event::Lost { .. } => panic!("{event:?}"),
                        _ => None,
                    })
                    .collect();
                assert!(!by.is_empty());
            }
            times.sort_unstable();
            println!(
                "{preset:?} {count} {weather:?}: min {} p50 {} max {}",
                times[0],
                times[times.len() / 2],
                times[times.len() - 1]
            );
        }
    }
}
