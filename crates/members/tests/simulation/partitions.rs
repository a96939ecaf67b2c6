//! Partitions, cables, stalls: who was thought dead but is alive comes back soon, and says so.

use members::{Absence, Event, LinkState, Members, Preset};

use crate::joined;
use crate::network::{Network, Part, Weather, ms, name};

fn count(network: &Network, wanted: impl Fn(usize, &Event) -> bool) -> usize {
    network.events.iter().filter(|(_, number, event)| wanted(*number, event)).count()
}

fn deaths(network: &Network) -> usize {
    count(network, |_, event| matches!(event, Event::Lost { .. }))
}

#[test]
fn a_partition_heals_within_a_second() {
    for (number, weather) in [(2, Weather::FINE), (3, Weather::FINE), (10, Weather::BAD), (20, Weather::FINE)]
    {
        for seed in 0..2 {
            let mut network = joined(number, Preset::Default, weather, seed);
            network.move_to(0..number / 2, 1);
            network.run(ms(3000));
            let half = number / 2;
            assert_eq!(network.members(0).members().len(), half, "each side sees itself");
            assert_eq!(network.members(half).members().len(), number - half);
            network.events.clear();
            network.move_to(0..half, 0);
            let took = network.run_until(ms(3000), Network::agrees);
            assert!(took.is_some_and(|took| took < ms(1000)), "{number} nodes, seed {seed}: {took:?}");
            network.run(ms(2000));
            assert!(network.agrees());
            assert_eq!(deaths(&network), 0, "{:?}", network.events);
            let returned = count(&network, |_, event| matches!(event, Event::Returned(_)));
            assert_eq!(returned, 2 * half * (number - half));
        }
    }
}

#[test]
fn two_who_take_part_while_they_cannot_hear_each_other_find_each_other_afterwards() {
    for apart in [100, 1000, 5000, 20_000] {
        let mut network = Network::empty(2, Preset::Default, Weather::FINE, 1);
        for number in [0, 1] {
            network.nodes[number].part = Part::Beginner;
            network.boot(number);
        }
        network.run(ms(1000));
        network.move_to([0], 1);
        for number in [0, 1] {
            network.nodes[number].part = Part::Speaker;
        }
        network.run(ms(apart));
        assert_eq!([0, 1].map(|number| network.members(number).members().len()), [1, 1]);
        network.move_to([0], 0);
        let took = network.run_until(ms(3000), Network::agrees);
        assert!(took.is_some_and(|took| took < ms(1000)), "after {apart} ms: {took:?}");
    }
}

#[test]
fn who_is_cut_off_is_missed_and_comes_back() {
    for seed in 0..4 {
        let mut network = joined(5, Preset::Default, Weather::BAD, seed);
        network.move_to([0], 1);
        let took = network.run_until(ms(2000), |network| network.members(1).members().len() == 4);
        assert!(took.is_some_and(|took| took < ms(800)), "{took:?}");
        network.run(ms(3000));
        network.events.clear();
        network.move_to([0], 0);
        let took = network.run_until(ms(2000), Network::agrees);
        assert!(took.is_some_and(|took| took < ms(1000)), "{took:?}");
        let returned = count(&network, |number, event| number == 1 && *event == Event::Returned(name(0)));
        assert_eq!(returned, 1);
        let presumed = count(&network, |number, event| number == 0 && *event == Event::PresumedDead);
        assert_eq!(presumed, 1);
    }
}

#[test]
fn who_began_alone_returns_when_it_is_met() {
    for seed in 0..4 {
        let mut network = Network::empty(5, Preset::Default, Weather::FINE, seed);
        network.move_to([0], 1);
        (0..5).for_each(|number| network.boot(number));
        network.run(ms(4000));
        assert_eq!(*network.members(0).members(), [name(0)].into());
        let returned = |network: &Network, who: usize, by: usize| {
            count(network, |number, event| number == by && *event == Event::Returned(name(who)))
        };
        let before = (1..5).flat_map(|who| (1..5).map(move |by| (who, by)));
        assert_eq!(
            before.map(|(who, by)| returned(&network, who, by)).sum::<usize>(),
            0,
            "they began together"
        );
        network.move_to([0], 0);
        let took = network.run_until(ms(2000), Network::agrees);
        assert!(took.is_some_and(|took| took < ms(1000)), "{took:?}");
        network.run(ms(500));
        for other in 1..5 {
            assert_eq!((returned(&network, 0, other), returned(&network, other, 0)), (1, 1));
        }
    }
}

#[test]
fn who_knows_that_its_cable_is_out_judges_nobody() {
    let mut network = joined(5, Preset::Default, Weather::FINE, 1);
    network.move_to([0], 1);
    network.set_link(0, LinkState::Down);
    network.run(ms(10_000));
    assert_eq!(network.members(0).members().len(), 5);
    assert_eq!(network.members(1).members().len(), 4);
    network.move_to([0], 0);
    network.set_link(0, LinkState::Up);
    assert!(!network.members(0).settled(), "what it knows is old");
    let took = network.run_until(ms(2000), |network| network.agrees() && network.members(0).settled());
    assert!(took.is_some_and(|took| took < ms(100)), "{took:?}");
    assert_eq!(count(&network, |number, event| number == 0 && matches!(event, Event::Lost { .. })), 0);
}

#[test]
fn a_short_break_of_the_network_kills_nobody() {
    // Just long enough for the one that is cut off to believe that all others are dead.
    for length in (300..800).step_by(20) {
        let mut network = joined(5, Preset::Default, Weather::FINE, length);
        network.move_to([0], 1);
        network.run(ms(length));
        network.move_to([0], 0);
        network.run(ms(2000));
        assert!(network.agrees());
        let wrongly = |number, event: &Event| {
            number != 0 && matches!(event, Event::Lost { node, .. } if *node != name(0))
        };
        assert_eq!(count(&network, wrongly), 0, "{length} ms: {:?}", network.events);
    }
}

#[test]
fn a_stall_that_is_tolerated_has_no_consequences() {
    for (preset, stall) in [(Preset::Relaxed, 1500), (Preset::Default, 300), (Preset::Fast, 80)] {
        for number in [3, 10] {
            for seed in 0..4 {
                let mut network = joined(number, preset, Weather::BAD, seed);
                network.run(ms(13 * seed));
                network.stall(0, ms(stall));
                network.run(ms(stall + 2000));
                assert_eq!(network.events, [], "{preset:?}, {number} nodes, seed {seed}");
            }
        }
    }
}

#[test]
fn after_a_long_stall_all_agree_within_a_second() {
    for stall in [1000, 10_000] {
        for seed in 0..2 {
            let mut network = joined(10, Preset::Default, Weather::BAD, seed);
            network.stall(0, ms(stall));
            network.run(ms(stall));
            let took = network.run_until(ms(2000), Network::agrees);
            assert!(took.is_some_and(|took| took < ms(1000)), "{stall} ms: {took:?}");
            network.run(ms(2000));
            assert!(network.agrees());
            let own = network.events.iter().filter(|(_, number, _)| *number == 0).map(|(_, _, event)| event);
            let own: Vec<_> = own.collect();
            assert!(matches!(own[..], [Event::Stalled(_), Event::PresumedDead]), "{own:?}");
            assert_eq!(count(&network, |_, event| *event == Event::Returned(name(0))), 9);
            assert_eq!(deaths(&network), 9, "{:?}", network.events);
        }
    }
}

/// Not only the three that it watches over: of the others nobody tells it any more.
#[test]
fn who_was_isolated_finds_out_who_left_or_died_meanwhile() {
    for (leaves, number) in [false, true].into_iter().flat_map(|leaves| (1..10).map(move |it| (leaves, it))) {
        let mut network = joined(10, Preset::Default, Weather::BAD, 1);
        network.stall(0, ms(10_000));
        network.run(ms(1000));
        if leaves {
            network.with(number, |members: &mut Members, now| members.leave(Absence::Brief, now));
            network.run(ms(500));
        }
        network.kill(number);
        network.run(ms(if leaves { 0 } else { 500 }));
        network.run(ms(8500));
        let took = network.run_until(ms(20_000), Network::agrees);
        assert!(took.is_some_and(|took| took < ms(1000)), "{number}: {took:?}");
        network.run(ms(2000));
        assert!(network.agrees());
    }
}

#[test]
fn when_all_stall_together_nobody_dies() {
    let mut network = joined(5, Preset::Default, Weather::FINE, 1);
    (0..5).for_each(|number| network.stall(number, ms(5000)));
    network.run(ms(8000));
    assert_eq!(deaths(&network), 0, "{:?}", network.events);
}

#[test]
fn who_has_no_link_knows_nothing_until_it_has_one_and_has_heard_the_others() {
    let mut network = joined(4, Preset::Default, Weather::BAD, 1);
    network.set_link(0, LinkState::Down);
    assert!(!network.members(0).settled());
    network.set_link(0, LinkState::Up);
    assert!(network.members(0).settled(), "nobody can have noticed");

    network.set_link(0, LinkState::Down);
    network.move_to([0], 1);
    network.run(ms(5000));
    assert!(!network.members(0).settled());
    network.set_link(0, LinkState::Up);
    network.run(ms(300));
    assert!(!network.members(0).settled(), "it has heard nobody");
    network.move_to([0], 0);
    let took = network.run_until(ms(2000), |network| network.members(0).settled());
    assert!(took.is_some_and(|took| took < ms(1000)), "{took:?}");
    network.run(ms(1000));
    assert!(network.agrees());
}

#[test]
fn who_starts_without_a_link_is_settled_only_when_it_has_met_the_others() {
    let mut network = joined(4, Preset::Default, Weather::FINE, 1);
    network.kill(0);
    network.move_to([0], 1);
    network.boot(0);
    network.set_link(0, LinkState::Down);
    network.run(ms(5000));
    assert_eq!(*network.members(0).members(), [].into(), "it takes no part");
    network.move_to([0], 0);
    network.set_link(0, LinkState::Up);
    assert!(!network.members(0).settled());
    let took = network.run_until(ms(2000), Network::agrees);
    assert!(took.is_some_and(|took| took < ms(200)), "{took:?}");
}

/// So it is with a kernel that has not found out yet where the others are.
#[test]
fn who_hears_the_others_but_is_not_heard_after_a_cut_is_not_settled() {
    let mut network = joined(4, Preset::Default, Weather::FINE, 1);
    network.set_link(0, LinkState::Down);
    network.move_to([0], 1);
    network.run(ms(3000));
    network.nodes[0].unheard = true;
    network.move_to([0], 0);
    network.set_link(0, LinkState::Up);
    network.run(ms(800));
    assert!(!network.members(0).settled());
    network.nodes[0].unheard = false;
    let took = network.run_until(ms(2000), |network| network.members(0).settled());
    assert!(took.is_some_and(|took| took < ms(500)), "{took:?}");
    network.run(ms(50));
    assert!(network.agrees(), "nor does it take long then");
}

#[test]
fn who_has_no_peers_needs_no_link() {
    let mut network = Network::empty(1, Preset::Default, Weather::FINE, 1);
    network.boot(0);
    network.set_link(0, LinkState::Down);
    network.run(ms(2000));
    assert!(network.members(0).settled() && network.agrees());
}

#[test]
fn nothing_is_sent_without_a_link_but_whoever_is_heard_all_the_same_has_one() {
    let mut network = joined(3, Preset::Default, Weather::FINE, 1);
    network.set_link(0, LinkState::Down);
    network.move_to([0], 1);
    network.run(ms(1000));
    let before = network.nodes[0].sent;
    network.run(ms(5000));
    assert_eq!(network.nodes[0].sent, before);
    network.move_to([0], 0);
    let took = network.run_until(ms(2000), Network::agrees);
    assert!(took.is_some_and(|took| took < ms(1000)), "{took:?}");
}
