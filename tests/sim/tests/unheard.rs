//! Speakers that never heard each other, or do so late: what the LAN says is all that each of them has.

use std::time::Duration;

use members::Preset;
use sim::{Direction, Fault, LanId, Setup, Wiring, World};

const SEEDS: u64 = 8;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn expect_one_on(world: &World, lan: LanId) {
    for vip in world.vips() {
        let there = world.answerers_on(lan, vip);
        assert_eq!(there.len(), 1, "{there:?} answer for {vip}\n{}", world.trace());
    }
}

/// Of these nodes, none of which hears any other.
fn mute(setup: Setup, seed: u64) -> World {
    let nodes = setup.nodes;
    let mut world = World::new(setup, seed);
    let block = |node| (Duration::ZERO, Fault::Block(node, Direction::Both));
    world.plan((0..nodes).map(block));
    world
}

/// Each answers as a router would, whose answers count for nothing; but no router announces.
#[test]
fn where_routers_are_overruled_an_address_does_not_go_round_among_peers_that_were_never_heard() {
    for proxy in [true, false] {
        let setup = Setup { services: 2, proxy, ignore_conflicts: true, ..Setup::default() };
        for seed in 0..SEEDS {
            let mut world = mute(setup.clone(), seed);
            world.advance(ms(15_000));
            let before: Vec<_> = world.vips().into_iter().map(|vip| (vip, world.changes(vip))).collect();
            world.advance(ms(60_000));
            expect_one_on(&world, LanId::First);
            for (vip, changes) in before {
                assert_eq!(world.changes(vip), changes, "seed {seed}\n{}", world.trace());
            }
        }
    }
}

#[test]
fn of_three_that_meet_and_hear_no_gossip_one_goes_on_by_the_next_refresh() {
    let setup = Setup { nodes: 3, wiring: Wiring::TwoLans, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = mute(setup.clone(), seed);
        world.plan((0..3).map(|node| (Duration::ZERO, Fault::Isolate(node, 1))));
        world.advance(ms(15_000));
        (0..3).for_each(|node| world.happen(Fault::Rejoin(node, 1)));
        world.advance(ms(40_000));
        expect_one_on(&world, LanId::Second);
    }
}

/// They know of each other by what others say. That each then says once more what it announces is no takeover.
#[test]
fn two_that_hear_each_other_late_move_nothing() {
    let setup = Setup { services: 6, ..Setup::default() };
    for (seed, (from, to)) in (0..SEEDS).zip([(3, 1), (1, 3), (0, 4), (2, 0)].into_iter().cycle()) {
        let mut world = World::new(setup.clone(), seed);
        world.plan([(Duration::ZERO, Fault::Lose(from, to)), (Duration::ZERO, Fault::OtherKey(to))]);
        world.advance(ms(8000));
        world.happen(Fault::SameKey(to));
        world.advance(ms(15_000));
        let before: Vec<_> = world.vips().into_iter().map(|vip| world.answerers(vip)).collect();
        world.happen(Fault::Deliver(from, to));
        world.advance(ms(8000));
        let after: Vec<_> = world.vips().into_iter().map(|vip| world.answerers(vip)).collect();
        assert_eq!(after, before, "seed {seed}\n{}", world.trace());
        expect_one_on(&world, LanId::First);
    }
}

/// What one speaker says does not reach another, which knows of its restart by what the rest says: that it was unsteady
/// before means nothing any more.
#[test]
fn a_process_that_another_knows_by_hearsay_keeps_what_it_answers_for() {
    let setup = Setup { wiring: Wiring::TwoLans, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.advance(ms(8000));
        let vip = world.vips()[0];
        let restarted = world.answerers(vip)[0];
        for _ in 0..12 {
            world.happen(Fault::Unplug(restarted, 1));
            world.advance(ms(700));
            world.happen(Fault::Plug(restarted, 1));
            world.advance(ms(700));
        }
        world.advance(ms(8000));
        let other = world.answerers(vip)[0];
        assert_ne!(other, restarted, "{}", world.trace());
        let third = (0..5).find(|node| ![other, restarted].contains(node)).expect("there are five");
        world.happen(Fault::Isolate(other, 0));
        world.happen(Fault::Unplug(other, 1));
        world.advance(ms(100));
        world.happen(Fault::Lose(restarted, other));
        world.happen(Fault::Lose(third, other));
        world.happen(Fault::Kill(restarted, ms(50)));
        world.advance(ms(5000));
        expect_one_on(&world, LanId::Second);
        world.happen(Fault::Plug(other, 1));
        world.happen(Fault::Rejoin(other, 0));
        world.advance(ms(12_000));
        expect_one_on(&world, LanId::Second);
    }
}

/// Without the proof that goes this way, what the other says counts for nothing, though it arrives: when that one is known
/// again, by the word of a third, may be long after all else.
#[test]
fn one_whose_frames_arrive_and_that_cannot_prove_to_be_alive_is_known_again_by_hearsay() {
    let setup = Setup { nodes: 3, services: 6, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.plan([(Duration::ZERO, Fault::Lose(0, 1))]);
        world.advance(ms(10_000));
        world.happen(Fault::Lose(2, 0));
        world.advance(ms(2500));
        world.happen(Fault::Deliver(2, 0));
        world.advance(ms(20_000));
        expect_one_on(&world, LanId::First);
    }
}

/// What the speaker before announced is put right by the next refresh, since it is gone and nobody knows of it.
#[test]
fn one_that_comes_back_does_not_know_what_a_speaker_announced_that_is_gone() {
    let setup = Setup { nodes: 2, services: 6, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.plan([(Duration::ZERO, Fault::Isolate(0, 0))]);
        world.advance(ms(8000));
        world.happen(Fault::Kill(1, ms(200)));
        world.advance(ms(900));
        world.happen(Fault::Rejoin(0, 0));
        world.advance(ms(8000));
        expect_one_on(&world, LanId::First);
        world.advance(ms(31_000));
        for vip in world.vips() {
            let there = world.answerers(vip);
            assert!(world.believed(vip).iter().all(|at| there == [*at]), "seed {seed}\n{}", world.trace());
        }
    }
}

/// Neither knows the Ethernet address of the other, and neither hears anybody else.
#[test]
fn of_two_that_never_heard_each_other_and_begin_at_the_same_time_one_goes_on_at_once() {
    let setup = Setup { nodes: 2, wiring: Wiring::TwoLans, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.plan([(Duration::ZERO, Fault::OtherKey(1)), (ms(3000), Fault::Isolate(1, 0))]);
        world.advance(ms(5000));
        let vip = world.vips()[0];
        let begun = world.run_until(ms(3000), |it| !it.answerers_on(LanId::Second, vip).is_empty());
        assert!(matches!(begun, Ok(Some(_))), "seed {seed}: {begun:?}\n{}", world.trace());
        for _ in 0..20 {
            world.advance(ms(100));
            let there = world.answerers_on(LanId::Second, vip);
            assert!(!there.is_empty(), "seed {seed}: nobody answers\n{}", world.trace());
        }
        expect_one_on(&world, LanId::Second);
    }
}

/// The LAN is all that one cut off from the gossip has, and who stands still does not answer there: whatever comes of that, one
/// answers in the end.
#[test]
fn one_that_hears_nobody_may_take_over_from_one_that_stands_still_for_a_moment() {
    let setup = Setup { nodes: 3, services: 6, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.advance(ms(3000));
        world.happen(Fault::Block(0, Direction::In));
        world.advance(ms(7000));
        for node in [1, 2].into_iter().cycle().take(12) {
            world.happen(Fault::Stall(node, ms(250)));
            world.advance(ms(3300 - 250));
        }
        world.advance(ms(8000));
        expect_one_on(&world, LanId::First);
    }
}

/// Where one path is lost, the third carries the word as long as it does not stand still itself.
#[test]
fn where_a_path_is_lost_and_the_only_helper_stands_still_nothing_moves_for_good() {
    let setup = Setup { nodes: 3, services: 6, preset: Preset::Relaxed, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.advance(ms(8000));
        world.happen(Fault::Lose(1, 2));
        world.advance(ms(8000));
        let before: Vec<_> = world.vips().into_iter().map(|vip| world.answerers(vip)).collect();
        for _ in 0..6 {
            world.happen(Fault::Stall(0, ms(1400)));
            world.advance(ms(2500));
        }
        world.advance(ms(8000));
        let after: Vec<_> = world.vips().into_iter().map(|vip| world.answerers(vip)).collect();
        assert_eq!(after, before, "seed {seed}\n{}", world.trace());
    }
}
