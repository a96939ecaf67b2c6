//! One fault at a time: never two that answer for longer than a second, no client's entry changes more than once for a
//! fault and once for its mending, and in the end one answers that may.

use std::net::IpAddr;
use std::time::Duration;

use sim::{Direction, Fault, LanId, Setup, Wiring, World};

const SEEDS: u64 = 8;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets a fault happen to whoever announces the address, and be mended, with each of some seeds. The invariants hold all
/// the while; after each, exactly one node answers on every LAN, and no client's entry has changed more than once.
fn expect_one_answer(
    setup: &Setup,
    fault: impl Fn(usize) -> Fault,
    cure: impl Fn(usize) -> Option<Fault>,
    check: impl Fn(&World, usize),
) {
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.advance(ms(8000 + 37 * seed));
        let vip = world.vips()[0];
        let announcer = one(&world, LanId::First, vip, seed);
        let fault = fault(announcer);
        // A stall is both: it begins and ends.
        let begins = if matches!(fault, Fault::Stall(..)) { 2 } else { 1 };
        // Where the announcers of two parts meet again, their announcements may cross.
        let ends = if matches!(fault, Fault::Isolate(..)) { 3 } else { 1 };
        for (event, at_most) in [(Some(fault), begins), (cure(announcer), ends)] {
            let Some(event) = event else { continue };
            let before = world.changes(vip);
            world.happen(event);
            world.advance(ms(12_000));
            one(&world, LanId::First, vip, seed);
            if setup.wiring == Wiring::TwoLans {
                one(&world, LanId::Second, vip, seed);
            }
            let changes = world.changes(vip) - before;
            assert!(changes <= at_most, "seed {seed}: {changes} changes\n{}", world.trace());
            check(&world, announcer);
        }
    }
}

fn one(world: &World, lan: LanId, vip: IpAddr, seed: u64) -> usize {
    let [one] = world.answerers_on(lan, vip)[..] else {
        let there = world.answerers_on(lan, vip);
        panic!("seed {seed}: {there:?} answer for {vip}\n{}", world.trace());
    };
    one
}

fn anything(_: &World, _: usize) {}

/// B2
#[test]
fn gossip_that_a_firewall_drops_moves_no_address_twice() {
    for direction in [Direction::In, Direction::Out, Direction::Both] {
        let block = |node| Fault::Block(node, direction);
        let unblock = |node| Some(Fault::Unblock(node, direction));
        expect_one_answer(&Setup::default(), block, unblock, anything);
        // Also that of one who announces nothing.
        let other = |node: usize| Fault::Block((node + 1) % 5, direction);
        let cure = |node: usize| Some(Fault::Unblock((node + 1) % 5, direction));
        expect_one_answer(&Setup::default(), other, cure, anything);
    }
}

/// B2
#[test]
fn a_node_whose_gossip_was_blocked_from_the_start_answers_for_nothing_that_another_does() {
    for direction in [Direction::In, Direction::Out, Direction::Both] {
        for (seed, node) in (0..SEEDS).zip((0..5).cycle()) {
            let mut world = World::new(Setup { services: 4, ..Setup::default() }, seed);
            world.plan([(Duration::ZERO, Fault::Block(node, direction))]);
            for fault in
                [None, Some(Fault::Kill((node + 1) % 5, ms(60_000))), Some(Fault::Unblock(node, direction))]
            {
                fault.into_iter().for_each(|fault| world.happen(fault));
                world.advance(ms(12_000));
                world.vips().into_iter().for_each(|vip| _ = one(&world, LanId::First, vip, seed));
            }
        }
    }
}

/// B1
#[test]
fn a_node_whose_port_is_taken_says_so_and_takes_nothing_over() {
    let taken = |node| Fault::TakePort(node, ms(700));
    let freed = |node| Some(Fault::FreePort(node));
    for seed in 0..SEEDS {
        let mut world = World::new(Setup::default(), seed);
        world.advance(ms(8000));
        world.happen(taken(0));
        world.advance(ms(12_000));
        assert!(!world.is_ready(0) && world.answerers(world.vips()[0]) != [0], "{}", world.trace());
    }
    expect_one_answer(&Setup::default(), taken, freed, anything);
}

/// B3
#[test]
fn a_node_with_another_key_takes_nothing_over() {
    for sealed in [true, false] {
        let setup = Setup { sealed, ..Setup::default() };
        expect_one_answer(&setup, Fault::OtherKey, |node| Some(Fault::SameKey(node)), anything);
        let other = |node: usize| Fault::OtherKey((node + 1) % 5);
        expect_one_answer(&setup, other, |node| Some(Fault::SameKey((node + 1) % 5)), anything);
    }
}

/// B4
#[test]
fn a_node_follows_when_it_gets_another_address() {
    let ready = |world: &World, node| assert!(world.is_ready(node), "{}", world.trace());
    expect_one_answer(&Setup::default(), |node| Fault::Renumber(node, ms(1500)), |_| None, ready);
}

/// B5
#[test]
fn where_the_gossip_goes_through_a_lan_that_fails_the_other_lan_keeps_its_announcer() {
    let setup = Setup { wiring: Wiring::TwoLans, ..Setup::default() };
    expect_one_answer(&setup, |node| Fault::Isolate(node, 0), |node| Some(Fault::Rejoin(node, 0)), anything);
    expect_one_answer(&setup, |node| Fault::Unplug(node, 0), |node| Some(Fault::Plug(node, 0)), anything);
}

/// B12
#[test]
fn an_address_moves_when_its_announcer_loses_an_interface() {
    let setup = Setup { wiring: Wiring::TwoLans, ..Setup::default() };
    expect_one_answer(&setup, |node| Fault::Unplug(node, 1), |node| Some(Fault::Plug(node, 1)), anything);
}

#[test]
fn an_interface_of_another_lan_that_fails_moves_nothing() {
    let setup = Setup { wiring: Wiring::TwoLans, prefixes: true, services: 4, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.advance(ms(8000));
        // The last one is announced on the second LAN alone, and is to move.
        let of_pool = |pool: &str| {
            let vip = world.vips().into_iter().find(|vip| vip.to_string().starts_with(pool));
            vip.expect("each pool has addresses")
        };
        let (first, last) = (of_pool("198.18."), of_pool("198.19."));
        let announcer = one(&world, LanId::First, first, seed);
        let of_last = one(&world, LanId::Second, last, seed);
        for node in [announcer, of_last] {
            world.happen(Fault::Unplug(node, 1));
        }
        world.advance(ms(8000));
        assert_eq!(one(&world, LanId::First, first, seed), announcer, "{}", world.trace());
        assert_ne!(one(&world, LanId::Second, last, seed), of_last, "{}", world.trace());
    }
}

#[test]
fn a_cable_that_flaps_moves_an_address_a_few_times_and_never_for_good() {
    for nodes in [1, 5] {
        let setup = Setup { wiring: Wiring::TwoLans, nodes, ..Setup::default() };
        for seed in 0..SEEDS {
            let mut world = World::new(setup.clone(), seed);
            world.advance(ms(8000));
            let vip = world.vips()[0];
            let (node, before) = (one(&world, LanId::First, vip, seed), world.changes(vip));
            for _ in 0..12 {
                world.happen(Fault::Unplug(node, 1));
                world.advance(ms(700));
                world.happen(Fault::Plug(node, 1));
                world.advance(ms(700));
            }
            // Away, back, and away.
            let changes = world.changes(vip) - before;
            assert!(changes <= 3, "seed {seed}: {changes} changes\n{}", world.trace());
            world.advance(ms(8000));
            let other = one(&world, LanId::First, vip, seed);
            assert_eq!(other == node, nodes == 1, "{}", world.trace());
            // Whoever serves it now fails, and the cable is still not trusted.
            for rest in (0..nodes).filter(|rest| *rest != node) {
                world.happen(Fault::PowerOff(rest));
            }
            world.advance(ms(8000));
            assert_eq!(one(&world, LanId::First, vip, seed), node, "{}", world.trace());
        }
    }
}

/// B15
#[test]
fn of_two_interfaces_on_one_lan_one_answers() {
    let setup = Setup { wiring: Wiring::TwiceOnOne, ..Setup::default() };
    for nic in [0, 1] {
        let plug = |node| Some(Fault::Plug(node, nic));
        expect_one_answer(&setup, |node| Fault::Unplug(node, nic), plug, anything);
    }
}

/// B20
#[test]
fn a_speaker_that_stands_still_answers_nothing_before_it_has_heard_the_others() {
    for time in [ms(200), ms(700), ms(3000)] {
        expect_one_answer(&Setup::default(), |node| Fault::Stall(node, time), |_| None, anything);
    }
}

/// B6
#[test]
fn an_address_that_services_share_has_one_announcer() {
    let setup = Setup { services: 6, sharing: true, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.advance(ms(8000));
        for fault in [Fault::PowerOff(0), Fault::PowerOn(0)] {
            world.happen(fault);
            world.advance(ms(8000));
            world.vips().into_iter().for_each(|vip| _ = one(&world, LanId::First, vip, seed));
        }
    }
}

/// B7
#[test]
fn nobody_takes_over_an_address_that_a_foreign_host_has() {
    for seed in 0..SEEDS {
        let mut world = World::new(Setup::default(), seed);
        world.plan([(Duration::ZERO, Fault::Squat(LanId::First, 0))]);
        world.advance(ms(8000));
        let vip = world.vips()[0];
        for node in 0..5 {
            world.happen(Fault::Kill(node, ms(10)));
            world.advance(ms(4000));
            assert_eq!(world.answerers(vip), [], "{}", world.trace());
        }
        world.happen(Fault::Vacate(LanId::First));
        world.advance(ms(40_000));
        one(&world, LanId::First, vip, seed);
    }
}

/// B9
#[test]
fn switches_that_track_hosts_keep_nobody_from_taking_over() {
    let setup = Setup { tracking: true, ..Setup::default() };
    expect_one_answer(&setup, Fault::PowerOff, |node| Some(Fault::PowerOn(node)), anything);
}

/// B10
#[test]
fn a_router_with_proxy_arp_can_be_overruled() {
    let setup = Setup { proxy: true, ignore_conflicts: true, ..Setup::default() };
    for seed in 0..SEEDS {
        let mut world = World::new(setup.clone(), seed);
        world.advance(ms(8000));
        let announcer = one(&world, LanId::First, world.vips()[0], seed);
        world.happen(Fault::PowerOff(announcer));
        world.advance(ms(8000));
        one(&world, LanId::First, world.vips()[0], seed);
    }
}

#[test]
fn clocks_that_drift_apart_move_nothing() {
    for seed in 0..SEEDS {
        let mut world = World::new(Setup { drift: true, ..Setup::default() }, seed);
        world.advance(ms(120_000));
        assert!(world.changes(world.vips()[0]) <= 1, "{}", world.trace());
    }
}
