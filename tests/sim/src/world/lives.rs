//! Speakers start, learn, stand still, and go.

use members::{BootId, Profile};
use rand::RngExt;

use super::World;
use super::queue::Event;
use crate::cluster::Episode;
use crate::faults::Fault;
use crate::node::{AfterDeparture, Nic};
use crate::speaker::{Input, Interface, Socket, Speaker, Start};

/// The wall clock at the beginning, in milliseconds since 1970.
const EPOCH: u64 = 1_790_000_000_000;

impl World {
    pub(super) fn boot(&mut self, number: usize) {
        let (seed, boot_id) = (self.random.random(), BootId(self.random.random()));
        let node = &mut self.nodes[number];
        if !node.power || node.speaker.is_some() {
            return;
        }
        node.boots += 1;
        (node.seen, node.missed_peers) = (0, false);
        node.gossip_fault.address_gone = false;
        for nic in &mut node.nics {
            nic.was_up = false;
            nic.tell();
        }
        let uptime = u64::try_from(self.now.as_millis()).expect("no world is that old");
        let members = members::Config {
            name: node.name.clone(),
            address: node.gossip,
            boot: boot_id,
            generation: (EPOCH + uptime).saturating_add_signed(node.clock.ahead),
            preset: self.setup.preset,
            keys: node.keys(self.setup.sealed),
            profile: Profile::default(),
        };
        let interface = |nic: &Nic| Interface {
            name: nic.name.clone(),
            arp: nic.arp(),
            ndp: nic.ndp(),
            carrier: nic.told,
            prefixes: nic.prefixes(self.setup.prefixes),
        };
        let start = Start {
            members,
            interfaces: node.nics.iter().map(interface).collect(),
            socket: if node.gossip_fault.has_no_socket() { Socket::Refused } else { Socket::Bound },
            ignore_conflicts: self.setup.ignore_conflicts,
            spread: self.setup.spread,
            failback: self.setup.failback,
            seed,
        };
        node.speaker = Some(Speaker::new(start, node.clock.at(self.start, self.now)));
        let (name, boot) = (node.name.clone(), node.boots);
        self.note(name, "its speaker starts");
        self.judge.started(number, self.now);
        self.feed(number, Input::Timer);
        let (peers, changes) = (self.up_to(100), self.up_to(200));
        self.after(peers, Event::Peers { node: number, boot });
        self.after(changes, Event::Changes { node: number, boot, upto: None });
    }

    /// Tells a speaker the history of the cluster, up to some moment or to the present one. A speaker that
    /// has just started begins with the present.
    pub(super) fn tell(&mut self, number: usize, boot: u64, upto: Option<usize>) {
        let node = &mut self.nodes[number];
        if node.boots != boot || node.api_cut || (node.seen == 0 && upto.is_some()) {
            return;
        }
        let upto = upto.unwrap_or(self.cluster.log.len());
        if node.seen < upto {
            let episode = Episode { before: node.seen, changes: self.cluster.log[node.seen..upto].to_vec() };
            node.seen = upto;
            self.changed = true;
            self.feed(number, Input::Changes(episode));
        }
    }

    pub(super) fn tell_links(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let news = node.nics.iter().any(|nic| nic.told != nic.carrier());
        if node.speaker.is_some() && news {
            for nic in &mut node.nics {
                nic.tell();
            }
            let carriers = node.nics.iter().map(|nic| nic.told).collect();
            self.feed(number, Input::Carriers(carriers));
        }
    }

    pub(super) fn tell_socket(&mut self, number: usize) {
        let refused = self.nodes[number].gossip_fault.has_no_socket();
        self.feed(number, Input::Socket(if refused { Socket::Refused } else { Socket::Bound }));
    }

    pub(super) fn resume(&mut self, number: usize, boot: u64) {
        let node = &mut self.nodes[number];
        if node.boots != boot {
            return;
        }
        let Some(inbox) = node.stalled.take() else { return };
        node.wake = None;
        let name = node.name.clone();
        self.note(name, "goes on");
        self.judge.disturbed(Some(number), self.now);
        for input in inbox {
            self.feed(number, input);
        }
        self.feed(number, Input::Timer);
    }

    pub(super) fn exit(&mut self, number: usize, boot: u64) {
        let node = &mut self.nodes[number];
        if node.boots != boot || node.speaker.is_none() {
            return;
        }
        node.kill();
        let (name, after) = (node.name.clone(), node.after_departure);
        self.note(name, "its speaker has gone");
        self.judge.moved(Some(number), self.now);
        match after {
            AfterDeparture::StartAnother(pause) => self.after(pause, Event::Boot(number)),
            AfterDeparture::PowerOff => self.happen_now(&Fault::PowerOff(number)),
        }
    }
}
