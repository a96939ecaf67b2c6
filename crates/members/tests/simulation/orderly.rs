//! Orderly stops and starts.

use std::collections::BTreeSet;
use std::time::Instant;

use members::{Absence, Event, Members, Preset};

use crate::network::{Network, Part, Weather, ms, name};
use crate::{is_settled, joined};

fn departed(network: &Network, number: usize) -> Option<BTreeSet<objects::NodeName>> {
    network.events.iter().find_map(|(_, by, event)| match event {
        Event::Departed { unconfirmed } if *by == number => Some(unconfirmed.clone()),
        _ => None,
    })
}

fn leave(members: &mut Members, now: Instant) {
    members.leave(Absence::Open, now);
}

fn leaving(number: usize) -> Event {
    Event::Leaving { node: name(number), absence: Absence::Open }
}

#[test]
fn a_goodbye_is_heard_at_once_and_confirmed_by_all() {
    for number in [1, 2, 10] {
        for seed in 0..3 {
            let mut network = joined(number, Preset::Default, Weather::BAD, seed);
            network.with(0, leave);
            let took = network.run_until(ms(5000), |network| departed(network, 0).is_some());
            assert!(took.is_some_and(|took| took < ms(500)), "{took:?}");
            assert_eq!(departed(&network, 0), Some([].into()));
            network.run(ms(5000));
            assert!(network.agrees());
            let leaving = network.events.iter().filter(|(_, _, event)| *event == leaving(0));
            assert_eq!(leaving.count(), number - 1);
            assert_eq!(network.events.len(), number, "{:?}", network.events);
        }
    }
}

#[test]
fn who_leaves_waits_for_those_who_take_over() {
    let mut network = joined(4, Preset::Default, Weather::BAD, 1);
    network.confirm_after = Some(ms(1000));
    network.with(0, leave);
    network.run(ms(500));
    assert_eq!(network.members(1).members().len(), 3, "it is counted no more");
    assert_eq!(network.members(0).members().len(), 4, "but answers");
    network.run(ms(450));
    assert_eq!(departed(&network, 0), None);
    network.run(ms(500));
    assert_eq!(departed(&network, 0), Some([].into()));
}

#[test]
fn who_leaves_does_not_wait_for_the_dead_nor_for_ever() {
    let mut network = joined(4, Preset::Default, Weather::BAD, 1);
    network.kill(1);
    network.with(0, leave);
    network.run(ms(1000));
    assert_eq!(departed(&network, 0), Some([].into()));

    let mut network = joined(4, Preset::Default, Weather::BAD, 1);
    network.confirm_after = None;
    network.with(0, leave);
    network.run(ms(4900));
    assert_eq!(departed(&network, 0), None);
    network.run(ms(200));
    assert_eq!(departed(&network, 0), Some([1, 2, 3].map(name).into()));
}

#[test]
fn all_may_leave_together() {
    let mut network = joined(5, Preset::Default, Weather::BAD, 1);
    (0..5).for_each(|number| {
        network.with(number, leave);
    });
    network.run(ms(2000));
    assert_eq!(network.running(), []);
}

#[test]
fn nothing_falls_to_who_only_observes_and_nobody_waits_for_it() {
    let mut network = joined(4, Preset::Default, Weather::BAD, 1);
    network.kill(3);
    network.nodes[3].part = Part::Beginner;
    network.boot(3);
    let took = network.run_until(ms(2000), Network::agrees);
    assert!(took.is_some(), "{:?}", network.members(0).members());
    network.run(ms(10_000));
    assert!(network.agrees());
    let of_it = |event: &Event, wanted: fn(objects::NodeName) -> Event| *event == wanted(name(3));
    assert!(!network.events.iter().any(|(.., event)| of_it(event, Event::Joined)));
    let replaced = network.events.iter().filter(|(.., event)| of_it(event, Event::Replaced));
    assert_eq!(replaced.count(), 3, "nobody has missed the one before");

    network.confirm_after = None;
    network.with(0, leave);
    network.run(ms(500));
    for number in [1, 2] {
        network.with(number, |members, _| members.confirm_leave(&name(0)));
    }
    network.run(ms(100));
    assert_eq!(departed(&network, 0), Some([].into()), "who takes over nothing is not waited for");

    network.nodes[3].part = Part::Speaker;
    network.with(3, Members::take_part);
    let took = network.run_until(ms(500), Network::agrees);
    assert!(took.is_some_and(|took| took < ms(200)), "{took:?}");
    network.run(ms(5000));
    assert_eq!(network.events.iter().filter(|(.., event)| of_it(event, Event::Joined)).count(), 2);
    assert_eq!(network.events.iter().filter(|(.., event)| of_it(event, Event::Returned)).count(), 0);
}

#[test]
fn who_left_joins_again_as_a_new_process() {
    let mut network = joined(5, Preset::Default, Weather::BAD, 1);
    network.with(0, leave);
    network.run(ms(500));
    network.events.clear();
    network.boot(0);
    let took = network.run_until(ms(3000), is_settled);
    assert!(took.is_some_and(|took| took < ms(600)), "{took:?}");
    network.run(ms(5000));
    assert!(network.agrees());
    let joined = network.events.iter().filter(|(_, _, event)| *event == Event::Joined(name(0)));
    assert_eq!(joined.count(), 4);
    let lost = |event: &Event| matches!(event, Event::Lost { .. } | Event::Leaving { .. });
    assert!(!network.events.iter().any(|(_, _, event)| lost(event)), "{:?}", network.events);
}

/// What the second of five sees of the first, which leaves for a moment: whether it is a member, and away.
fn seen(network: &Network) -> (bool, bool) {
    let second = network.members(1);
    (second.members().contains(&name(0)), second.away().contains(&name(0)))
}

#[test]
fn who_leaves_for_a_moment_is_away_until_it_is_back() {
    for seed in 0..3 {
        let mut network = joined(5, Preset::Default, Weather::BAD, seed);
        network.with(0, |members, now| members.leave(Absence::Brief, now));
        network.run(ms(500));
        assert_eq!(departed(&network, 0), Some([].into()));
        assert_eq!(seen(&network), (false, true));
        network.run(ms(2000));
        assert_eq!(seen(&network), (false, true));
        network.nodes[0].part = Part::Beginner;
        network.boot(0);
        network.run(ms(2000));
        assert_eq!(seen(&network), (false, true), "it takes over nothing yet");
        network.nodes[0].part = Part::Speaker;
        network.with(0, Members::take_part);
        network.run(ms(500));
        assert_eq!(seen(&network), (true, false));
        network.run(ms(20_000));
        assert!(!network.events.iter().any(|(.., event)| matches!(event, Event::Overdue(_))));
    }
}

#[test]
fn who_is_not_back_in_time_is_not_away_any_more() {
    let mut network = joined(5, Preset::Default, Weather::BAD, 1);
    network.with(0, |members, now| members.leave(Absence::Brief, now));
    network.run(ms(9000));
    assert_eq!(seen(&network), (false, true));
    network.run(ms(2000));
    assert_eq!(seen(&network), (false, false));
    let overdue = network.events.iter().filter(|(.., event)| *event == Event::Overdue(name(0)));
    assert_eq!(overdue.count(), 4);
}

#[test]
fn nobody_is_away_any_more_when_another_is_lost_or_leaves_for_good() {
    for lost in [true, false] {
        let mut network = joined(5, Preset::Default, Weather::BAD, 1);
        network.with(0, |members, now| members.leave(Absence::Brief, now));
        network.run(ms(500));
        network.with(2, |members, now| members.leave(Absence::Brief, now));
        network.run(ms(500));
        assert_eq!(network.members(1).away(), [0, 2].map(name).into(), "two may be replaced at a time");
        if lost {
            network.kill(3);
        } else {
            network.with(3, leave);
        }
        network.run(ms(1000));
        assert_eq!(network.members(1).away(), [].into());
    }
}

#[test]
fn a_process_that_is_replaced_at_once_is_not_missed() {
    let mut network = joined(5, Preset::Default, Weather::FINE, 1);
    network.boot(0);
    assert!(!network.members(0).settled(), "it has heard of nobody");
    let took = network.run_until(ms(3000), is_settled);
    assert!(took.is_some_and(|took| took < ms(50)), "{took:?}");
    network.run(ms(5000));
    let seen: Vec<_> = network.events.iter().filter(|(_, number, _)| *number == 1).collect();
    assert!(matches!(seen[..], [(_, _, Event::Replaced(_)), (_, _, Event::Joined(_))]), "{seen:?}");
    assert!(network.agrees());
}

#[test]
fn a_process_that_starts_with_some_dead_settles_without_them() {
    let mut network = joined(5, Preset::Default, Weather::FINE, 1);
    network.kill(3);
    network.run(ms(5000));
    network.boot(0);
    let took = network.run_until(ms(3000), is_settled);
    assert!(took.is_some_and(|took| took < ms(500)), "{took:?}");
}

#[test]
fn who_finds_nobody_is_alone_in_the_end() {
    let mut network = Network::empty(3, Preset::Default, Weather::FINE, 1);
    network.boot(0);
    let took = network.run_until(ms(3000), is_settled);
    assert!(took.is_some_and(|took| took >= ms(1400) && took <= ms(1600)), "{took:?}");
}

#[test]
fn a_clock_that_was_set_back_before_a_start_is_no_matter() {
    let mut network = joined(4, Preset::Default, Weather::FINE, 1);
    network.nodes[0].set_boots(1000);
    network.boot(0);
    network.run(ms(1000));
    network.kill(0);
    network.run(ms(1000));
    network.nodes[0].set_boots(5);
    network.boot(0);
    let took = network.run_until(ms(3000), is_settled);
    assert!(took.is_some_and(|took| took < ms(1000)), "{took:?}");
    network.run(ms(5000));
    assert!(network.agrees());
}

#[test]
fn nor_is_it_to_those_who_have_only_heard_of_the_life_before() {
    let mut network = joined(3, Preset::Default, Weather::FINE, 1);
    network.nodes[0].set_boots(100_000);
    network.boot(0);
    network.run(ms(1000));
    network.kill(0);
    network.run(ms(1000));
    network.boot(1);
    network.run(ms(1000));
    network.kill(2);
    network.run(ms(1000));
    network.events.clear();
    network.nodes[0].set_boots(5);
    network.boot(0);
    network.run(ms(1000));
    assert!(network.agrees());
    let deaths = network.events.iter().filter(|(_, _, event)| *event == Event::PresumedDead).count();
    assert!(deaths <= 3, "held dead {deaths} times in a second");
}
