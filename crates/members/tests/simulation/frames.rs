//! Frames that are not what they seem, and keys that change.

use members::{Absence, Event, Key, Preset, Refusal};
use proptest::prelude::*;

use crate::joined;
use crate::network::{Network, Weather, ms, name};

fn refused(network: &Network, number: usize, reason: &str) -> u64 {
    network.nodes[number].refused.get(reason).copied().unwrap_or_default()
}

/// All frames that node 0 sent to node 1 within a second.
fn recorded(network: &mut Network) -> Vec<Vec<u8>> {
    let to = network.nodes[1].address;
    network.record = Some(Vec::new());
    network.run(ms(1000));
    let record = network.record.take().unwrap_or_default();
    let frames: Vec<_> = record
        .into_iter()
        .filter(|(from, at, _)| (*from, *at) == (0, to))
        .map(|(_, _, frame)| frame)
        .collect();
    assert!(!frames.is_empty());
    frames
}

fn replay(network: &mut Network, to: usize, frames: Vec<Vec<u8>>) {
    let (from, to) = (network.nodes[0].address, network.nodes[to].address);
    frames.into_iter().for_each(|frame| network.transmit(0, from, to, frame));
}

#[test]
fn frames_that_are_sent_again_are_refused() {
    let mut network = joined(3, Preset::Default, Weather::FINE, 1);
    let frames = recorded(&mut network);
    let count = frames.len() as u64;
    network.run(ms(100));
    replay(&mut network, 1, frames);
    network.run(ms(100));
    assert_eq!(refused(&network, 1, "replay"), count);
}

#[test]
fn the_dead_do_not_live_on_by_their_frames() {
    let mut network = joined(3, Preset::Default, Weather::FINE, 1);
    let frames = recorded(&mut network);
    network.kill(0);
    for _ in 0..10 {
        replay(&mut network, 1, frames.clone());
        network.run(ms(100));
    }
    assert!(network.agrees());
}

#[test]
fn frames_for_one_are_of_no_use_with_another() {
    let mut network = joined(3, Preset::Default, Weather::FINE, 1);
    let frames = recorded(&mut network);
    let count = frames.len() as u64;
    replay(&mut network, 2, frames);
    network.run(ms(100));
    assert_eq!(refused(&network, 2, "badSeal"), count);
}

#[test]
fn frames_of_an_earlier_life_are_refused_by_who_has_forgotten_it() {
    let mut network = joined(3, Preset::Default, Weather::FINE, 1);
    let frames = recorded(&mut network);
    network.kill(0);
    network.kill(1);
    network.run(ms(30_000));
    network.boot(1);
    network.run(ms(1000));
    let before = refused(&network, 1, "unproven");
    let count = frames.len() as u64;
    replay(&mut network, 1, frames);
    network.run(ms(1000));
    assert_eq!(refused(&network, 1, "unproven") - before, count);
    assert!(network.agrees());
}

#[test]
fn keys_are_changed_while_everything_runs() {
    let [old, new] = [b"the old secret..", b"the new secret.."].map(|secret| Key::new(secret).unwrap());
    let mut network = Network::empty(5, Preset::Default, Weather::BAD, 1);
    network.keys = vec![old.clone()];
    (0..5).for_each(|number| network.boot(number));
    network.run(ms(3000));
    assert!(network.agrees());
    network.events.clear();
    // First all open both, then all seal with the new one, then the old one is withdrawn; each at its own time.
    for keys in [vec![old.clone(), new.clone()], vec![new.clone(), old], vec![new]] {
        for number in 0..5 {
            network.with(number, |members, _| members.set_keys(keys.clone()));
            network.run(ms(500));
        }
        network.run(ms(2000));
    }
    assert_eq!(network.events, [], "nobody noticed");
    assert!(network.agrees());
}

#[test]
fn who_has_another_key_is_no_member() {
    let mut network = joined(3, Preset::Default, Weather::FINE, 1);
    let other = Key::new(b"another secret..").unwrap();
    network.with(0, |members, _| members.set_keys(vec![other]));
    network.run(ms(1000));
    assert!(refused(&network, 1, "unknownKey") > 0);
    assert!(!network.members(1).members().contains(&name(0)));
}

#[test]
fn without_keys_frames_are_not_sealed() {
    let mut network = Network::empty(3, Preset::Default, Weather::FINE, 1);
    network.keys.clear();
    (0..3).for_each(|number| network.boot(number));
    network.run(ms(1000));
    assert!(network.agrees());
    network.kill(0);
    network.run(ms(1000));
    assert!(network.agrees());
    assert!(network.events.iter().any(|(_, _, event)| matches!(event, Event::Lost { .. })));
}

/// Three members without keys, so that whatever is made up gets past the seal; and frames of one to another.
fn unsealed() -> (Network, Vec<Vec<u8>>) {
    let mut network = Network::empty(3, Preset::Default, Weather::FINE, 1);
    network.keys.clear();
    network.record = Some(Vec::new());
    (0..3).for_each(|number| network.boot(number));
    network.run(ms(1000));
    network.with(0, |members, now| members.leave(Absence::Open, now));
    network.run(ms(100));
    let to = network.nodes[1].address;
    let record = network.record.take().unwrap_or_default();
    let frames = record.into_iter().filter(|(_, at, _)| *at == to).map(|(_, _, frame)| frame).collect();
    (network, frames)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_frame_panics_or_stops_a_member(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..200)
    ) {
        let (mut network, frames) = unsealed();
        let from = network.nodes[2].address;
        for (which, at, to) in changes {
            let mut frame = which.get(&frames).clone();
            // The counter is in the last of the first 30 octets: a new one, so that it is no copy.
            frame[23] = 1;
            let at = at.index(frame.len());
            frame[at] = to;
            network.with(1, |members, now| members.handle(from, &frame, now));
            network.run(ms(7));
        }
        network.run(ms(3000));
        prop_assert!(network.members(1).poll_timeout().is_some());
    }

    #[test]
    fn arbitrary_bytes_are_refused(frame: Vec<u8>) {
        let (mut network, _) = unsealed();
        let from = network.nodes[2].address;
        let result = network.with(1, |members, now| members.handle(from, &frame, now));
        prop_assert!(matches!(result, Some(Err(Refusal::Malformed | Refusal::Version | Refusal::UnknownKey))));
    }
}
