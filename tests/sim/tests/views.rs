//! Speakers that are cut off from the API server, and hear each other well: whatever changes meanwhile, one answers, and one
//! that may; and where nothing changes that concerns an address, nothing becomes of it.

use std::net::IpAddr;
use std::time::Duration;

use placement::TrafficPolicy;
use sim::{Edit, Fault, Setup, World};

const SEEDS: u64 = 12;
/// It takes as long as a failover, and a second and a half more to find out who is to yield.
const SETTLED: Duration = Duration::from_millis(2400);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn settled(setup: &Setup, seed: u64) -> World {
    let mut world = World::new(setup.clone(), seed);
    world.advance(ms(8000 + 37 * seed));
    world
}

fn one(world: &World, vip: IpAddr) -> usize {
    let [one] = world.answerers(vip)[..] else {
        panic!("{:?} answer for {vip}\n{}", world.answerers(vip), world.trace());
    };
    one
}

fn change(world: &mut World, edit: Edit) {
    world.happen(Fault::Change(edit));
}

/// The one that answers for the address when an edit is made that nobody misses.
fn heir(setup: &Setup, seed: u64, edit: impl Fn(usize) -> Edit) -> (usize, usize) {
    let mut world = settled(setup, seed);
    let vip = world.vips()[0];
    let announcer = one(&world, vip);
    change(&mut world, edit(announcer));
    world.advance(ms(3000));
    (announcer, one(&world, vip))
}

#[test]
fn an_announcer_that_misses_that_the_endpoints_have_moved_gives_way() {
    for seed in 0..SEEDS {
        let mut world = settled(&Setup::default(), seed);
        let vip = world.vips()[0];
        let announcer = one(&world, vip);
        let other = (announcer + 1) % 5;
        change(&mut world, Edit::Endpoints(0, [announcer].into()));
        change(&mut world, Edit::Policy(0, TrafficPolicy::Local));
        world.advance(ms(8000));
        assert_eq!(one(&world, vip), announcer);
        world.happen(Fault::CutApi(announcer));
        world.advance(ms(10_000));
        change(&mut world, Edit::Endpoints(0, [other].into()));
        world.advance(SETTLED);
        for _ in 0..120 {
            assert_eq!(one(&world, vip), other, "{}", world.trace());
            world.advance(ms(500));
        }
        let changes = world.changes(vip);
        world.happen(Fault::HealApi(announcer));
        world.advance(ms(10_000));
        assert_eq!((one(&world, vip), world.changes(vip)), (other, changes), "{}", world.trace());
    }
}

#[test]
fn where_the_next_in_rank_misses_that_it_is_its_turn_another_takes_over_until_it_is_back() {
    let setup = Setup::default();
    for seed in 0..SEEDS {
        let (announcer, next) = heir(&setup, seed, Edit::ToggleExclusion);
        let mut world = settled(&setup, seed);
        let vip = world.vips()[0];
        world.happen(Fault::CutApi(next));
        world.advance(ms(10_000));
        change(&mut world, Edit::ToggleExclusion(announcer));
        world.advance(SETTLED);
        let other = one(&world, vip);
        assert!(other != announcer && other != next, "{}", world.trace());
        for _ in 0..120 {
            assert_eq!(one(&world, vip), other, "{}", world.trace());
            world.advance(ms(500));
        }
        world.happen(Fault::HealApi(next));
        world.advance(ms(4000));
        assert_eq!(one(&world, vip), next, "{}", world.trace());
    }
}

#[test]
fn where_the_next_two_in_rank_miss_that_it_is_their_turn_another_takes_over() {
    let setup = Setup::default();
    for seed in 0..SEEDS {
        let (announcer, next) = heir(&setup, seed, Edit::ToggleExclusion);
        let mut world = settled(&setup, seed);
        let vip = world.vips()[0];
        change(&mut world, Edit::ToggleExclusion(announcer));
        world.advance(ms(5000));
        change(&mut world, Edit::ToggleExclusion(next));
        world.advance(ms(5000));
        let second = one(&world, vip);
        change(&mut world, Edit::ToggleExclusion(next));
        change(&mut world, Edit::ToggleExclusion(announcer));
        world.advance(ms(8000));
        assert_eq!(one(&world, vip), announcer);
        [next, second].into_iter().for_each(|node| world.happen(Fault::CutApi(node)));
        change(&mut world, Edit::ToggleExclusion(announcer));
        // The first of them is found out, then the second.
        world.advance(2 * SETTLED);
        let other = one(&world, vip);
        assert!(![announcer, next, second].contains(&other), "{}", world.trace());
    }
}

#[test]
fn a_new_address_is_announced_though_the_first_in_rank_knows_nothing_of_it() {
    let setup = Setup { services: 3, ..Setup::default() };
    for (seed, cut) in (0..SEEDS).zip((0..5).cycle()) {
        let mut world = settled(&setup, seed);
        world.happen(Fault::CutApi(cut));
        for service in 0..3 {
            change(&mut world, Edit::Readdress(service));
        }
        world.advance(SETTLED);
        for vip in world.vips() {
            assert_ne!(one(&world, vip), cut, "{}", world.trace());
        }
        world.advance(ms(60_000));
        for vip in world.vips() {
            assert_ne!(one(&world, vip), cut, "{}", world.trace());
        }
    }
}

#[test]
fn of_two_that_are_cut_off_at_different_times_neither_answers_for_what_has_moved_on() {
    for seed in 0..SEEDS {
        let mut world = settled(&Setup::default(), seed);
        let vip = world.vips()[0];
        let first = one(&world, vip);
        let [second, third] = [1, 2].map(|after| (first + after) % 5);
        change(&mut world, Edit::Policy(0, TrafficPolicy::Local));
        change(&mut world, Edit::Endpoints(0, [first].into()));
        world.advance(ms(8000));
        for (cut, next) in [(first, second), (second, third)] {
            world.happen(Fault::CutApi(cut));
            change(&mut world, Edit::Endpoints(0, [next].into()));
            world.advance(SETTLED);
            assert_eq!(one(&world, vip), next, "{}", world.trace());
        }
        for healed in [first, second] {
            world.happen(Fault::HealApi(healed));
            world.advance(ms(5000));
            assert_eq!(one(&world, vip), third, "{}", world.trace());
        }
    }
}

#[test]
fn who_has_missed_less_goes_before_who_has_missed_more_where_all_are_cut_off() {
    for seed in 0..SEEDS {
        let mut world = settled(&Setup::default(), seed);
        let vip = world.vips()[0];
        let first = one(&world, vip);
        let second = (first + 1) % 5;
        change(&mut world, Edit::Policy(0, TrafficPolicy::Local));
        change(&mut world, Edit::Endpoints(0, [first].into()));
        world.advance(ms(8000));
        world.happen(Fault::CutApi(first));
        change(&mut world, Edit::Endpoints(0, [second].into()));
        world.advance(ms(100));
        (0..5).filter(|node| *node != first).for_each(|node| world.happen(Fault::CutApi(node)));
        world.advance(SETTLED);
        assert_eq!(one(&world, vip), second, "{}", world.trace());
        world.advance(ms(60_000));
        assert_eq!(one(&world, vip), second, "{}", world.trace());
    }
}

#[test]
fn of_two_that_stand_in_for_one_that_is_away_the_one_that_has_missed_a_change_gives_way() {
    let setup = Setup::default();
    for seed in 0..SEEDS {
        let (announcer, next) = heir(&setup, seed, Edit::ToggleExclusion);
        let mut world = settled(&setup, seed);
        let vip = world.vips()[0];
        world.happen(Fault::CutApi(next));
        world.happen(Fault::Replace(announcer, ms(9000)));
        world.advance(ms(600));
        assert_eq!(one(&world, vip), next, "{}", world.trace());
        change(&mut world, Edit::ToggleExclusion(next));
        world.advance(SETTLED);
        assert!(![announcer, next].contains(&one(&world, vip)), "{}", world.trace());
    }
}

/// With changes that concern no address, so that each has seen another state.
#[test]
fn a_control_plane_that_is_down_for_an_hour_moves_nothing_and_delays_no_failover() {
    for cut in [1, 3] {
        let setup = Setup { nodes: 3, services: 4, request_interval: ms(2000), ..Setup::default() };
        let mut world = settled(&setup, 5);
        let before: Vec<_> = world.vips().into_iter().map(|vip| (vip, world.changes(vip))).collect();
        for node in 0..cut {
            world.happen(Fault::CutApi(node));
            change(&mut world, Edit::IrrelevantLabel(node, 7));
            world.advance(ms(3000));
        }
        for minute in 0..60 {
            change(&mut world, Edit::IrrelevantServiceLabel(0, minute));
            world.advance(ms(60_000));
        }
        for (vip, changes) in before {
            assert_eq!(world.changes(vip), changes, "{}", world.trace());
        }
        let announcer = one(&world, world.vips()[0]);
        world.happen(Fault::PowerOff(announcer));
        world.advance(ms(1000));
        for vip in world.vips() {
            assert_ne!(one(&world, vip), announcer, "{}", world.trace());
        }
    }
}

#[test]
fn a_watch_that_is_slow_moves_an_address_once() {
    for seed in 0..SEEDS {
        for excluded in [true, false] {
            let mut world = settled(&Setup::default(), seed);
            let vip = world.vips()[0];
            let announcer = one(&world, vip);
            let slow = if excluded { announcer } else { (announcer + 1) % 5 };
            let changes = world.changes(vip);
            world.happen(Fault::CutApi(slow));
            change(&mut world, Edit::ToggleExclusion(announcer));
            world.advance(ms(200));
            world.happen(Fault::HealApi(slow));
            world.advance(ms(20_000));
            assert!(world.changes(vip) <= changes + 1, "{}", world.trace());
        }
    }
}
