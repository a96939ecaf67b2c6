//! Profiles by way of others, where a path is lost.

use members::{Preset, Profile};

use crate::joined;
use crate::network::{Network, Weather, ms, name};

fn relayed(network: &Network, of: usize, by: usize) -> Option<&Profile> {
    let of = name(of);
    network.members(by).relayed().find(|(node, _)| **node == of).map(|(_, profile)| profile)
}

fn heard(network: &Network, of: usize, by: usize) -> Option<&Profile> {
    crate::profile_of(network, of, by)
}

#[test]
fn what_changes_reaches_those_by_others_who_do_not_hear_it() {
    for (count, weather) in [(3, Weather::FINE), (5, Weather::BAD), (30, Weather::BAD)] {
        let mut network = joined(count, Preset::Default, weather, 1);
        for from in [1, 2] {
            network.lost_path = Some((from, 0));
            let before = heard(&network, from, 0).cloned();
            for length in [5, Profile::MAX] {
                let profile = Profile::new(vec![u8::try_from(from).unwrap(); length]).unwrap();
                network.with(from, |members, now| members.set_profile(profile.clone(), now));
                let took = network.run_until(ms(3000), |network| relayed(network, from, 0) == Some(&profile));
                assert!(took.is_some_and(|took| took < ms(300)), "{count}, {length}: {took:?}");
                assert_eq!(heard(&network, from, 0), before.as_ref(), "that is its own word");
            }
            network.lost_path = None;
            let profile = Profile::new(vec![u8::try_from(from).unwrap(); Profile::MAX]).unwrap();
            let took = network.run_until(ms(20_000), |network| heard(network, from, 0) == Some(&profile));
            assert!(took.is_some() && relayed(&network, from, 0).is_none(), "{took:?}");
        }
    }
}

#[test]
fn one_that_was_never_heard_is_known_by_others() {
    let mut network = Network::empty(4, Preset::Default, Weather::FINE, 1);
    network.lost_path = Some((3, 0));
    (0..4).for_each(|number| network.boot(number));
    let know = |network: &Network| relayed(network, 3, 0).is_some();
    assert!(network.run_until(ms(4000), know).is_some());
    assert_eq!(relayed(&network, 3, 0).map(Profile::as_bytes), Some(&b"profile of 3"[..]));
    network.boot(3);
    let changed = Profile::new(*b"of the next process").unwrap();
    network.with(3, |members, now| members.set_profile(changed.clone(), now));
    assert!(network.run_until(ms(3000), |network| relayed(network, 3, 0) == Some(&changed)).is_some());
}

#[test]
fn what_changed_while_one_was_cut_off_is_asked_of_others() {
    let mut network = joined(4, Preset::Default, Weather::FINE, 1);
    network.move_to([0], 1);
    network.run(ms(200));
    let profile = Profile::new(*b"news").unwrap();
    network.with(3, |members, now| members.set_profile(profile.clone(), now));
    network.run(ms(3000));
    network.lost_path = Some((3, 0));
    network.move_to([0], 0);
    let took = network.run_until(ms(5000), |network| relayed(network, 3, 0) == Some(&profile));
    assert!(took.is_some(), "{:?}", heard(&network, 3, 0));
}

/// Who is heard speaks for itself, whatever others say of it.
#[test]
fn nobody_is_asked_about_one_that_is_heard() {
    let mut network = joined(5, Preset::Default, Weather::BAD, 1);
    network.run(ms(1000));
    for round in 0..50 {
        let profile = Profile::new([round; 3000]).unwrap();
        network.with(3, |members, now| members.set_profile(profile.clone(), now));
        network.run(ms(200));
        for by in [0, 1, 2, 4] {
            assert_eq!(relayed(&network, 3, by), None);
        }
    }
}
