//! Members over a network in virtual time: what is promised in the documentation of the crate, seen to hold.

mod deaths;
mod endurance;
mod forgery;
mod frames;
mod network;
mod orderly;
mod partitions;
mod relays;

use members::{Event, Preset};
use network::{Network, Part, Weather, ms};

/// A network whose members all know each other.
fn joined(count: usize, preset: Preset, weather: Weather, seed: u64) -> Network {
    let mut network = Network::new(count, preset, weather, seed);
    assert!(network.run_until(ms(3000), is_settled).is_some(), "they do not find each other");
    network.run(ms(300));
    network.events.clear();
    network
}

fn is_settled(network: &Network) -> bool {
    network.agrees() && network.running().into_iter().all(|number| network.members(number).settled())
}

#[test]
fn members_find_each_other_at_once() {
    for count in [1, 2, 3, 10, 50] {
        let mut network = Network::new(count, Preset::Default, Weather::FINE, 1);
        let took = network.run_until(ms(3000), is_settled);
        assert!(took.is_some_and(|took| took < ms(20)), "{count}: {took:?}");
    }
}

#[test]
fn members_find_each_other_in_bad_weather() {
    let mut network = Network::new(20, Preset::Default, Weather::BAD, 1);
    let took = network.run_until(ms(3000), is_settled);
    assert!(took.is_some_and(|took| took < ms(1000)), "{took:?}");
}

#[test]
fn everybody_learns_the_profiles_of_all() {
    let mut network = joined(10, Preset::Default, Weather::BAD, 1);
    let profile = members::Profile::new(*b"news").unwrap();
    network.with(3, |members, now| members.set_profile(profile.clone(), now));
    let everybody_knows = |network: &Network| {
        let known = |number| profile_of(network, 3, number) == Some(&profile);
        network.running().into_iter().filter(|number| *number != 3).all(known)
    };
    let took = network.run_until(ms(3000), everybody_knows);
    assert!(took.is_some_and(|took| took < ms(200)), "{took:?}");
    let other = profile_of(&network, 4, 5).map(members::Profile::as_bytes);
    assert_eq!(other, Some(&b"profile of 4"[..]));
}

#[test]
fn long_profiles_come_whole_whatever_is_lost() {
    let weather = Weather { loss_percent: 30.0, ..Weather::BAD };
    for seed in 0..5 {
        let mut network = joined(5, Preset::Default, weather, seed);
        for round in 1..4 {
            let profile = members::Profile::new([round; members::Profile::MAX]).unwrap();
            network.with(3, |members, now| members.set_profile(profile.clone(), now));
            let everybody_knows = |network: &Network| {
                [0, 1, 2, 4].iter().all(|by| profile_of(network, 3, *by) == Some(&profile))
            };
            let took = network.run_until(ms(10_000), everybody_knows);
            assert!(took.is_some_and(|took| took < ms(4000)), "{took:?}");
        }
    }
}

#[test]
fn a_long_profile_is_known_when_others_are_acted_upon() {
    let mut network = joined(5, Preset::Default, Weather::BAD, 1);
    let profile = members::Profile::new([7; members::Profile::MAX]).unwrap().with_brief([7]).unwrap();
    network.with(3, |members, now| members.set_profile(profile.clone(), now));
    network.run(ms(1000));
    network.boot(0);
    assert!(network.run_until(ms(3000), |network| network.members(0).settled()).is_some());
    let known = profile_of(&network, 3, 0).map(members::Profile::as_bytes);
    assert_eq!(known, Some(profile.as_bytes()));
    assert_eq!(profile_of(&network, 0, 3).map(members::Profile::as_bytes), Some(&b"profile of 0"[..]));
}

#[test]
fn the_profile_of_the_next_process_replaces_that_of_the_one_before() {
    for seed in 0..5 {
        let mut network = joined(5, Preset::Default, Weather { loss_percent: 20.0, ..Weather::FINE }, seed);
        for round in 1..4 {
            // The next one starts while parts of that are still missing, or when all have come.
            let profile = members::Profile::new([round; members::Profile::MAX]).unwrap();
            network.with(3, |members, now| members.set_profile(profile, now));
            network.run(ms(if round == 1 { 5 } else { 2000 }));
            network.boot(3);
            let next = members::Profile::new([10 + round; members::Profile::MAX]).unwrap();
            if round != 2 {
                network.with(3, |members, now| members.set_profile(next.clone(), now));
            }
            let next = if round == 2 { members::Profile::new(*b"profile of 3").unwrap() } else { next };
            let everybody_knows = |network: &Network| {
                [0, 1, 2, 4].into_iter().all(|by| profile_of(network, 3, by) == Some(&next))
            };
            let took = network.run_until(ms(5000), everybody_knows);
            assert!(took.is_some(), "seed {seed}, round {round}");
        }
    }
}

/// Its words do not reach us, but others have them.
#[test]
fn what_a_process_told_counts_no_more_when_others_tell_of_the_next() {
    let mut network = joined(4, Preset::Default, Weather::FINE, 1);
    network.lost_path = Some((3, 0));
    network.boot(3);
    network.run(ms(1000));
    assert!(network.members(0).members().contains(&network::name(3)));
    assert_eq!(profile_of(&network, 3, 0), None);
    assert!(profile_of(&network, 3, 1).is_some());
    network.lost_path = None;
    network.run(ms(1000));
    assert_eq!(profile_of(&network, 3, 0).map(members::Profile::as_bytes), Some(&b"profile of 3"[..]));
}

#[test]
fn a_profile_is_sent_once_to_each_and_then_no_more() {
    let mut network = joined(5, Preset::Default, Weather::FINE, 1);
    network.run(ms(5000));
    network.record = Some(Vec::new());
    let profile = members::Profile::new([7; members::Profile::MAX]).unwrap();
    network.with(3, |members, now| members.set_profile(profile, now));
    network.run(ms(5000));
    let long = network.record.take().unwrap().into_iter().filter(|(_, _, frame)| frame.len() > 1024);
    assert_eq!(long.count(), 4 * 8);
}

#[test]
fn the_profile_of_one_that_is_about_to_take_part_is_known_before() {
    let mut network = joined(2, Preset::Default, Weather::FINE, 1);
    let beginner = network.add(Part::Beginner);
    network.boot(beginner);
    network.run(ms(100));
    assert_eq!(network.members(0).members().len(), 2);
    assert_eq!(profile_of(&network, beginner, 0).map(members::Profile::as_bytes), Some(&b"profile of 2"[..]));
}

/// What the member at the node `by` knows of the one at the node `of`.
fn profile_of(network: &Network, of: usize, by: usize) -> Option<&members::Profile> {
    let name = network::name(of);
    network.members(by).profiles().find(|(node, _)| **node == name).map(|(_, profile)| profile)
}

#[test]
fn the_cost_for_each_does_not_grow_with_their_number() {
    let per_second = |count| {
        let mut network = joined(count, Preset::Default, Weather::FINE, 1);
        // Gossip goes on for a while about those who joined.
        network.run(ms(10_000));
        let before: Vec<_> = network.nodes.iter().map(|node| node.sent).collect();
        network.run(ms(10_000));
        let sent = network.nodes.iter().zip(before).map(|(node, before)| node.sent - before);
        let sent: Vec<u64> = sent.collect();
        (sent.iter().sum::<u64>() / count as u64 / 10, sent.iter().max().expect("some") / 10)
    };
    let figures = [3, 10, 100].map(per_second);
    println!("packets per second and node, mean and greatest: {figures:?}");
    assert!(figures.iter().all(|(mean, greatest)| *mean < 36 && *greatest < 42), "{figures:?}");
}

#[test]
fn an_observer_sees_all_and_is_counted_by_nobody() {
    let mut network = joined(5, Preset::Default, Weather::FINE, 1);
    let observer = network.add(Part::Controller);
    network.boot(observer);
    assert!(network.run_until(ms(3000), is_settled).is_some());
    network.run(ms(1000));
    let others = network.events.iter().filter(|(_, number, _)| *number != observer);
    assert_eq!(others.filter(|(.., event)| !matches!(event, Event::Profile(_))).count(), 0);
    assert_eq!(network.members(observer).members().len(), 5);
}
