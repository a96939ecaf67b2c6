//! Speakers start, learn, stand still, and go.

use members::{BootId, Key, LinkState, Profile};
use rand::RngExt;

use super::World;
use super::queue::Event;
use crate::faults::Fault;
use crate::node::AfterDeparture;
use crate::speaker::{Input, Speaker, Start};

/// The wall clock at the beginning, in milliseconds since 1970.
const EPOCH: u64 = 1_790_000_000_000;

impl World {
    pub(super) fn boot(&mut self, number: usize) {
        let (seed, boot_id) = (self.random.random(), BootId(self.random.random()));
        let keys =
            if self.setup.sealed { vec![Key::new(b"known to the speakers").expect("long")] } else { vec![] };
        let node = &mut self.nodes[number];
        if !node.power || node.speaker.is_some() {
            return;
        }
        node.boots += 1;
        node.seen = 0;
        node.link = if node.cable { LinkState::Up } else { LinkState::Down };
        let uptime = u64::try_from(self.now.as_millis()).expect("no world is that old");
        let members = members::Config {
            name: node.name.clone(),
            address: node.gossip,
            boot: boot_id,
            generation: (EPOCH + uptime).saturating_add_signed(node.clock),
            preset: self.setup.preset,
            keys,
            profile: Profile::default(),
        };
        let start = Start { members, arp: node.arp(), ndp: node.ndp(), link: node.link, seed };
        node.speaker = Some(Speaker::new(start, self.start + self.now));
        let (name, boot) = (node.name.clone(), node.boots);
        self.note(name, "its speaker starts");
        self.judge.moved(self.now);
        self.feed(number, Input::Timer);
        let (peers, changes) = (self.up_to(100), self.up_to(200));
        self.after(peers, Event::Peers { node: number, boot });
        self.after(changes, Event::Changes { node: number, boot, upto: None });
    }

    /// Tells a speaker the history of the cluster, up to some moment or to the present one. A speaker that
    /// has just started begins with the present.
    pub(super) fn tell(&mut self, number: usize, boot: u64, upto: Option<usize>) {
        let node = &mut self.nodes[number];
        if node.boots != boot || (node.seen == 0 && upto.is_some()) {
            return;
        }
        let upto = upto.unwrap_or(self.cluster.log.len());
        if node.seen < upto {
            let changes = self.cluster.log[node.seen..upto].to_vec();
            node.seen = upto;
            self.feed(number, Input::Changes(changes));
        }
    }

    pub(super) fn tell_link(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let state = if node.cable { LinkState::Up } else { LinkState::Down };
        if node.speaker.is_some() && node.link != state {
            node.link = state;
            self.feed(number, Input::Link(state));
        }
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
        self.judge.disturbed(self.now);
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
        self.judge.moved(self.now);
        match after {
            AfterDeparture::StartAnother(pause) => self.after(pause, Event::Boot(number)),
            AfterDeparture::PowerOff => self.happen_now(&Fault::PowerOff(number)),
        }
    }
}
