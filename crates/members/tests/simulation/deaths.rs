//! Power-off: found soon, by everybody, for sure; and nobody else is thought dead.

use std::time::Duration;

use members::{Event, Preset};

use crate::joined;
use crate::network::{Network, Part, Weather, ms, name};

/// How long it takes until everybody knows of the deaths of the first `dead` of `count`, over some seeds; sorted.
fn detection(count: usize, dead: usize, preset: Preset, weather: Weather, seeds: u64) -> Vec<Duration> {
    let mut times = Vec::new();
    for seed in 0..seeds {
        let mut network = joined(count, preset, weather, seed);
        network.run(ms(7 * seed));
        (0..dead).for_each(|number| network.kill(number));
        let limit = 3 * preset.timing().verdict();
        times.push(network.run_until(limit, Network::agrees).expect("they find out"));
        let wrongly = |event: &Event| matches!(event, Event::Lost { node, .. } if (dead..count).any(|number| *node == name(number)));
        assert!(!network.events.iter().any(|(_, _, event)| wrongly(event)), "{:?}", network.events);
    }
    times.sort_unstable();
    println!(
        "{dead} of {count}, {preset:?}: {:?} {:?} {:?}",
        times[0],
        times[times.len() / 2],
        times[times.len() - 1]
    );
    times
}

#[test]
fn each_preset_finds_the_dead_in_its_time() {
    for (preset, median, longest) in
        [(Preset::Relaxed, 2100, 2300), (Preset::Default, 600, 800), (Preset::Fast, 270, 300)]
    {
        for count in [2, 3, 10] {
            let times = detection(count, 1, preset, Weather::FINE, 6);
            assert!(
                times[3] <= ms(median) && times[5] <= ms(longest),
                "{preset:?}, {count} nodes: {times:?}"
            );
        }
    }
}

#[test]
fn the_dead_are_found_in_bad_weather() {
    let times = detection(20, 1, Preset::Default, Weather::BAD, 5);
    assert!(times[2] <= ms(600) && times[4] <= ms(800), "{times:?}");
}

#[test]
fn two_who_die_together_are_found_as_fast() {
    for count in [3, 10] {
        let times = detection(count, 2, Preset::Default, Weather::BAD, 6);
        assert!(times[3] <= ms(600) && times[5] <= ms(800), "{count} nodes: {times:?}");
    }
}

#[test]
fn half_of_all_may_die_together() {
    let times = detection(20, 10, Preset::Default, Weather::FINE, 2);
    assert!(times[1] <= ms(2000), "{times:?}");
}

#[test]
fn an_observer_hears_of_a_death_from_two_who_found_it() {
    for count in [3, 10] {
        for seed in 0..5 {
            let mut network = Network::new(count, Preset::Default, Weather::BAD, seed);
            let observer = network.add(Part::Controller);
            network.boot(observer);
            network.run(ms(3000));
            network.kill(0);
            network.run(ms(800));
            let confirmed = network.events.iter().rev().find_map(|(_, number, event)| match event {
                Event::Lost { node, confirmed_by } | Event::Confirmed { node, confirmed_by }
                    if *number == observer =>
                {
                    Some((node.clone(), confirmed_by.len()))
                }
                _ => None,
            });
            let (node, monitors) = confirmed.expect("it is told");
            assert_eq!(node, name(0));
            assert!(monitors >= 2, "{count} nodes, seed {seed}: {monitors}");
        }
    }
}

#[test]
fn of_two_the_one_that_is_left_tells_the_observer() {
    let mut network = Network::new(2, Preset::Default, Weather::FINE, 1);
    let observer = network.add(Part::Controller);
    network.boot(observer);
    network.run(ms(3000));
    network.kill(0);
    network.run(ms(800));
    let lost = Event::Lost { node: name(0), confirmed_by: [name(1)].into() };
    assert!(network.events.iter().any(|(_, number, event)| *number == observer && *event == lost));
}
