//! What somebody can do who has the secret: each is a real member with a false name, a false address, a false clock or a
//! broken ear, and whatever it says reaches its victims.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use members::{BootId, Config, Event, Members, Preset, Profile, Refusal, Transmit};
use objects::NodeName;

use crate::joined;
use crate::network::{Network, Node, Weather, ms, name};

/// Where the attacker is, unless it is a node itself. Nothing is delivered there by the network.
fn elsewhere() -> SocketAddr {
    SocketAddr::from(([10, 0, 99, 99], 7946))
}

/// Three members that know from where each of them may speak.
fn listed(count: usize) -> Network {
    let mut network = joined(count, Preset::Default, Weather::FINE, 1);
    list(&mut network);
    network.run(ms(100));
    network.events.clear();
    network
}

fn places(network: &Network) -> BTreeMap<NodeName, BTreeSet<IpAddr>> {
    let nodes = network.nodes.iter().enumerate();
    nodes.map(|(number, node)| (name(number), [node.address.ip()].into())).collect()
}

fn list(network: &mut Network) {
    let places = places(network);
    for number in 0..network.nodes.len() {
        network.with(number, |members, now| members.set_addresses(places.clone(), now));
    }
}

/// One that has the secret, and is driven by hand.
struct Attacker {
    members: Members,
    from: SocketAddr,
}

impl Attacker {
    fn new(network: &Network, who: NodeName, from: SocketAddr, generation: u64) -> Self {
        let config = Config {
            name: who,
            address: from,
            boot: BootId(4711),
            generation,
            preset: Preset::Default,
            keys: network.keys.clone(),
            profile: Profile::new(*b"lies").expect("short"),
        };
        let mut members = Members::new(config, [9; 32], network.time());
        let peers = network.nodes.iter().enumerate().map(|(number, node)| (name(number), node.address));
        members.set_peers(peers.collect(), network.time());
        members.take_part(network.time());
        Self { members, from }
    }

    fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.members.poll_transmit()).collect()
    }

    /// Talks to all for `time`, over a network that brings every answer if it `hears`. What was refused of it.
    fn talk(&mut self, network: &mut Network, time: u64, hears: bool) -> BTreeSet<&'static str> {
        let mut refused = BTreeSet::new();
        for _ in 0..time / 5 {
            network.record = Some(Vec::new());
            for transmit in self.sent() {
                let at = |node: &Node| node.address == transmit.to;
                let Some(to) = network.nodes.iter().position(at) else { continue };
                let result = network.with(to, |members, now| members.handle(self.from, &transmit.frame, now));
                if let Some(Err(refusal)) = result {
                    refused.insert(refusal.as_str());
                }
            }
            network.run(ms(5));
            for (by, whom, frame) in network.record.take().unwrap_or_default() {
                if hears && whom == self.from {
                    let from = network.nodes[by].address;
                    _ = self.members.handle(from, &frame, network.time());
                }
            }
            if self.members.poll_timeout().is_some_and(|due| due <= network.time()) {
                self.members.poll(network.time());
            }
        }
        refused
    }
}

fn no_one_was_missed(network: &Network) -> bool {
    !network.events.iter().any(|(.., event)| matches!(event, Event::Lost { .. } | Event::Replaced(_)))
}

#[test]
fn nobody_speaks_in_the_name_of_another_from_elsewhere() {
    let mut network = listed(3);
    let mut attacker = Attacker::new(&network, name(0), elsewhere(), 5000);
    assert_eq!(attacker.talk(&mut network, 3000, true), ["wrongAddress"].into());
    assert!(network.agrees() && no_one_was_missed(&network));
    let told = |event: &Event| *event == Event::WrongAddress { node: name(0), from: elsewhere().ip() };
    let complaints = network.events.iter().filter(|(_, by, event)| *by == 1 && told(event)).count();
    assert_eq!(complaints, 1, "with pauses");
}

#[test]
fn nobody_keeps_up_the_name_of_the_dead_or_takes_it_over() {
    let mut network = listed(3);
    network.kill(0);
    let mut attacker = Attacker::new(&network, name(0), elsewhere(), 5000);
    assert_eq!(attacker.talk(&mut network, 3000, true), ["wrongAddress"].into());
    assert!(network.agrees());
    // When the cluster does not list it any more, it is still where it was.
    let mut places = places(&network);
    places.remove(&name(0));
    network.with(1, |members, now| members.set_addresses(places, now));
    assert_eq!(attacker.talk(&mut network, 1000, true), ["wrongAddress"].into());
    network.boot(0);
    network.run(ms(1000));
    assert!(network.agrees());
}

#[test]
fn who_was_heard_from_elsewhere_before_there_was_a_list_is_missed_when_there_is_one() {
    let mut network = Network::empty(3, Preset::Default, Weather::FINE, 1);
    [1, 2].into_iter().for_each(|number| network.boot(number));
    let mut attacker = Attacker::new(&network, name(0), elsewhere(), 5000);
    attacker.talk(&mut network, 1000, true);
    assert!(network.members(1).members().contains(&name(0)), "nobody can tell yet");
    list(&mut network);
    assert_eq!(attacker.talk(&mut network, 3000, true), ["wrongAddress"].into());
    assert!(network.agrees());
}

#[test]
fn a_name_that_is_not_listed_is_answered_but_counts_for_nothing() {
    let mut network = listed(3);
    let stranger = NodeName::from("stranger");
    let mut attacker = Attacker::new(&network, stranger.clone(), elsewhere(), 5000);
    assert_eq!(attacker.talk(&mut network, 1000, true), ["unproven"].into(), "at first");
    assert!(attacker.members.members().contains(&name(1)), "it is answered");
    assert!(network.agrees() && network.members(1).profiles().all(|(who, _)| *who != stranger));
    // It says that the others are dead, for it does not hear them.
    assert!(attacker.talk(&mut network, 3000, false).contains("unlisted"));
    assert!(network.agrees() && no_one_was_missed(&network));

    // It counts when it is listed.
    let mut places = places(&network);
    places.insert(stranger.clone(), [elsewhere().ip()].into());
    network.with(1, |members, now| members.set_addresses(places, now));
    attacker.talk(&mut network, 1000, true);
    assert!(network.members(1).members().contains(&stranger));
    assert!(network.members(1).profiles().any(|(who, _)| *who == stranger));
}

#[test]
fn there_is_room_for_a_few_that_are_not_listed() {
    let mut network = listed(2);
    let mut full = 0;
    for number in 0..80 {
        let who = format!("stranger-{number}").into();
        let mut attacker = Attacker::new(&network, who, elsewhere(), 5000);
        full += usize::from(attacker.talk(&mut network, 120, true).contains("tooMany"));
    }
    assert!((10..=17).contains(&full), "{full}");
    assert!(network.agrees());
}

/// How much is refused because it comes from elsewhere, in three seconds.
fn misplaced(network: &mut Network, by: usize) -> u64 {
    let count =
        |network: &Network| network.nodes[by].refused.get("wrongAddress").copied().unwrap_or_default();
    let before = count(network);
    network.run(ms(3000));
    count(network) - before
}

#[test]
fn a_member_that_moves_is_heard_at_once_by_those_who_knew_it_and_by_others_when_it_is_listed() {
    let mut network = listed(3);
    let (old, new) = (places(&network), network.move_node(0));
    network.with(0, |members, now| members.set_address(new, now));
    network.run(ms(20));
    assert_eq!([1, 2].map(|by| misplaced(&mut network, by)), [0, 0]);
    assert!(no_one_was_missed(&network));

    // One that begins now knows it by what is listed alone.
    network.boot(2);
    let peers = old.iter().map(|(who, ips)| (who.clone(), SocketAddr::new(*ips.first().unwrap(), 7946)));
    let peers = peers.collect();
    network.with(2, |members, now| {
        members.set_peers(peers, now);
        members.set_addresses(old, now);
    });
    network.run(ms(500));
    assert!(misplaced(&mut network, 2) > 5);
    list(&mut network);
    network.run(ms(1500));
    assert_eq!(misplaced(&mut network, 2), 0);
    assert!(network.members(2).profiles().any(|(who, _)| *who == name(0)));
}

#[test]
fn a_member_that_moves_while_frames_are_lost_is_heard_all_the_same() {
    for seed in 0..20 {
        let mut network = joined(5, Preset::Default, Weather { loss_percent: 30.0, ..Weather::BAD }, seed);
        list(&mut network);
        network.run(ms(1000));
        let to = network.move_node(0);
        network.with(0, |members, now| members.set_address(to, now));
        network.run(ms(3000));
        assert_eq!([1, 2, 3, 4].map(|by| misplaced(&mut network, by)), [0; 4], "{seed}");
    }
}

#[test]
fn an_absurd_generation_takes_nobodys_name_for_good() {
    let mut network = listed(3);
    network.kill(0);
    network.run(ms(2000));
    // It has even the address.
    let from = network.nodes[0].address;
    let mut attacker = Attacker::new(&network, name(0), from, u64::MAX);
    assert_eq!(attacker.talk(&mut network, 500, true), ["farAhead"].into());
    network.boot(0);
    network.run(ms(1000));
    assert!(network.agrees());
}

#[test]
fn a_counter_that_was_run_ahead_is_forgotten_when_its_owner_proves_to_be_alive() {
    let mut network = Network::empty(3, Preset::Default, Weather::FINE, 1);
    // So that the counter can be changed.
    network.keys.clear();
    (0..3).for_each(|number| network.boot(number));
    network.run(ms(1000));
    list(&mut network);
    network.record = Some(Vec::new());
    network.run(ms(500));
    let (from, to) = (network.nodes[0].address, network.nodes[1].address);
    let record = network.record.take().unwrap();
    let (.., mut frame) = record.into_iter().find(|(by, at, _)| (*by, *at) == (0, to)).unwrap();
    frame[22..30].copy_from_slice(&(u64::MAX - 1).to_be_bytes());
    assert!(network.with(1, |members, now| members.handle(from, &frame, now)).unwrap().is_ok());
    network.run(ms(1000));
    assert!(network.nodes[1].refused["replay"] > 0);
    network.run(ms(11_000));
    let before = network.nodes[1].refused["replay"];
    network.run(ms(3000));
    assert_eq!(network.nodes[1].refused["replay"], before);
    assert!(network.agrees());
}

#[test]
fn who_is_said_to_be_dead_again_and_again_comes_back_each_time() {
    let mut network = listed(4);
    network.kill(3);
    network.run(ms(1000));
    network.events.clear();
    let from = network.nodes[3].address;
    let mut attacker = Attacker::new(&network, name(3), from, 5000);
    for _ in 0..5 {
        assert!(attacker.talk(&mut network, 1500, true).is_subset(&["unproven"].into()));
        // It hears nobody, so it says that they are dead.
        attacker.talk(&mut network, 700, false);
    }
    let told =
        |who: usize| network.events.iter().filter(move |(_, by, _)| *by == who).map(|(.., event)| event);
    for who in 0..3 {
        assert!(told(who).any(|event| *event == Event::PresumedDead), "{who} was not said to be dead");
        let lost = |event: &Event| matches!(event, Event::Lost { node, .. } if *node != name(3));
        assert!(!told(who).any(lost), "{who} believes it, though it hears them");
        let others = (0..3).map(name).all(|other| network.members(who).members().contains(&other));
        assert!(others);
    }
}

#[test]
fn recordings_of_an_earlier_start_get_a_few_answers_a_second() {
    let mut network = listed(3);
    network.record = Some(Vec::new());
    network.run(ms(2000));
    let to = network.nodes[1].address;
    let record = network.record.take().unwrap();
    let frames: Vec<_> = record.into_iter().filter(|(by, at, _)| (*by, *at) == (0, to)).collect();
    network.kill(1);
    network.run(ms(1000));
    network.boot(1);
    list(&mut network);
    network.kill(0);
    network.run(ms(1000));
    let before = network.nodes[1].sent;
    let from = network.nodes[0].address;
    for (.., frame) in frames.iter().cycle().take(5000) {
        let result = network.with(1, |members, now| members.handle(from, frame, now));
        assert_eq!(result, Some(Err(Refusal::Unproven)));
    }
    assert!(network.nodes[1].sent - before <= 20, "{}", network.nodes[1].sent - before);
}

#[test]
fn members_that_somebody_makes_up_are_asked_and_are_none() {
    let mut network = listed(3);
    // Node 2 has met many that nobody else has.
    let now = network.time();
    let mut made_up: Vec<_> = (0..300u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let at = SocketAddr::from(([10, 9, high, low], 7946));
            let who = NodeName::from(format!("made-up-{number}"));
            (who.clone(), Attacker::new(&network, who, at, 5000))
        })
        .collect();
    network.kill(2);
    let at = network.nodes[2].address;
    let mut liar = Attacker::new(&network, name(2), at, 5000);
    let listed = made_up.iter().map(|(who, it)| (who.clone(), it.from)).collect();
    liar.members.set_peers(listed, now);
    for _ in 0..4 {
        for transmit in liar.sent() {
            let Some((_, it)) = made_up.iter_mut().find(|(_, it)| it.from == transmit.to) else { continue };
            _ = it.members.handle(at, &transmit.frame, now);
            for answer in it.sent().into_iter().filter(|answer| answer.to == at) {
                _ = liar.members.handle(it.from, &answer.frame, now);
            }
        }
        liar.members.poll(now);
    }
    assert!(liar.members.members().len() > 200, "{}", liar.members.members().len());
    let peers = network.nodes.iter().enumerate().map(|(number, node)| (name(number), node.address)).collect();
    liar.members.set_peers(peers, network.time());
    let before = network.nodes[1].sent;
    liar.talk(&mut network, 3000, true);
    let known = network.members(1).members().clone();
    assert!(known.iter().all(|who| [0, 1, 2].map(name).contains(who)), "{known:?}");
    let sent = network.nodes[1].sent - before;
    assert!(sent < 64 * 50, "{sent}");
}
