//! A node: a machine with power, interfaces, a firewall and a clock, and the speaker that runs there.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use layer2::{Arp, MacAddr, Ndp};
use members::{Key, LinkState};
use objects::{InterfaceName, NodeName};
use placement::{Ability, Prefix};

use crate::cluster::{Carriers, prefixes};
use crate::faults::Direction;
use crate::lan::StationId;
use crate::speaker::{Input, Speaker};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    /// The gossip goes through the first.
    pub(crate) nics: Vec<Nic>,
    /// Its address, which its peers look for it at.
    pub(crate) gossip: SocketAddr,
    pub(crate) power: bool,
    pub(crate) speaker: Option<Speaker>,
    /// How many speakers have been started here; tells what concerns a former one.
    pub(crate) boots: u64,
    pub(crate) clock: Clock,
    /// What has arrived for a speaker that stands still.
    pub(crate) stalled: Option<Vec<Input>>,
    /// How much its speaker has seen of the cluster's history.
    pub(crate) seen: usize,
    /// Whether it is cut off from the API server, and has missed that a peer has another address.
    pub(crate) api_cut: bool,
    pub(crate) missed_peers: bool,
    pub(crate) gossip_fault: GossipFault,
    pub(crate) after_departure: AfterDeparture,
    /// When its speaker is to be called, as far as that is planned.
    pub(crate) wake: Option<Duration>,
}

/// An interface.
#[derive(Debug)]
pub(crate) struct Nic {
    pub(crate) name: InterfaceName,
    pub(crate) mac: MacAddr,
    pub(crate) station: StationId,
    pub(crate) cable: bool,
    /// Whether its speaker was told that there is a carrier.
    pub(crate) told: LinkState,
    /// Whether that ever was so.
    pub(crate) was_up: bool,
}

/// What keeps a node from gossiping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is another fault, and all may come together")]
pub(crate) struct GossipFault {
    /// Its firewall drops what comes for the port.
    pub(crate) inbound_blocked: bool,
    /// Its firewall drops what goes to the port.
    pub(crate) outbound_blocked: bool,
    /// Another program has the port.
    pub(crate) port_taken: bool,
    /// Its address has changed since its speaker started.
    pub(crate) address_gone: bool,
    /// It has another key than the others.
    pub(crate) other_key: bool,
}

/// A wall clock that is ahead, and a clock that goes fast or slow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// What the wall clock is ahead, in milliseconds.
    pub(crate) ahead: i64,
    /// How much faster the clock goes than time, in millionths.
    pub(crate) drift: i32,
}

/// What comes when the speaker has gone as it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterDeparture {
    StartAnother(Duration),
    PowerOff,
}

impl Node {
    /// A node with power, and without interfaces and a speaker as yet.
    pub(crate) fn new(number: u8) -> Self {
        Self {
            name: format!("node-{number}").into(),
            nics: Vec::new(),
            gossip: SocketAddr::from(([192, 0, 2, number], 7946)),
            power: true,
            speaker: None,
            boots: 0,
            clock: Clock::default(),
            stalled: None,
            seen: 0,
            api_cut: false,
            missed_peers: false,
            gossip_fault: GossipFault::default(),
            after_departure: AfterDeparture::PowerOff,
            wake: None,
        }
    }

    /// Its speaker, if it is not standing still.
    pub(crate) fn awake(&self) -> Option<&Speaker> {
        self.speaker.as_ref().filter(|_| self.stalled.is_none())
    }

    /// Whether it is cut off from the API server and has missed something by that, where there have been so many changes.
    pub(crate) fn is_outdated(&self, changes: usize) -> bool {
        self.speaker.is_some() && self.api_cut && (self.seen < changes || self.missed_peers)
    }

    /// Nothing is left of its speaker.
    pub(crate) fn kill(&mut self) {
        (self.speaker, self.stalled, self.wake) = (None, None, None);
    }

    /// Whether what it says to its peers, or they to it, can be lost for a reason of its own.
    pub(crate) fn is_shaky(&self) -> bool {
        self.gossip_fault != GossipFault::default()
    }

    /// What it can do with each of its interfaces.
    pub(crate) fn carriers(&self) -> Carriers {
        let told = |nic| self.speaker.as_ref().map(|speaker| speaker.ability(nic));
        let ability = |(number, nic): (usize, &Nic)| match (nic.carrier(), told(number)) {
            (LinkState::Up, Some(Ability::Unsteady)) => Ability::Unsteady,
            (LinkState::Up, _) => Ability::Able,
            // Nothing is lost with an interface while another one is on its LAN.
            (LinkState::Down, told) if nic.was_up && told != Some(Ability::Unable) => Ability::Lost,
            (LinkState::Down, _) => Ability::Unable,
        };
        self.nics.iter().enumerate().map(ability).collect()
    }

    pub(crate) fn keys(&self, sealed: bool) -> Vec<Key> {
        let key = |secret: &[u8]| vec![Key::new(secret).expect("long enough")];
        match (self.gossip_fault.other_key, sealed) {
            (true, _) => key(b"known to one speaker alone"),
            (false, true) => key(b"known to the speakers"),
            (false, false) => vec![],
        }
    }
}

impl Nic {
    pub(crate) fn new(node: u8, number: u8, station: StationId) -> Self {
        Self {
            name: format!("eth{number}").as_str().into(),
            mac: MacAddr([2, 0, 0, 0, number, node]),
            station,
            cable: true,
            told: LinkState::Up,
            was_up: false,
        }
    }

    pub(crate) fn arp(&self) -> Arp {
        Arp { mac: self.mac }
    }

    pub(crate) fn ndp(&self) -> Ndp {
        let MacAddr([.., number, node]) = self.mac;
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, number.into(), node.into());
        Ndp { mac: self.mac, link_local }
    }

    /// Those of its addresses, if interfaces have any.
    pub(crate) fn prefixes(&self, any: bool) -> BTreeSet<Prefix> {
        let MacAddr([.., number, _]) = self.mac;
        if any { prefixes(number) } else { BTreeSet::new() }
    }

    /// Its speaker is told of the carrier.
    pub(crate) fn tell(&mut self) {
        self.told = self.carrier();
        self.was_up |= self.told == LinkState::Up;
    }

    pub(crate) fn carrier(&self) -> LinkState {
        if self.cable { LinkState::Up } else { LinkState::Down }
    }
}

impl GossipFault {
    pub(crate) fn has_no_socket(self) -> bool {
        self.port_taken || self.address_gone
    }

    pub(crate) fn set(&mut self, direction: Direction, blocked: bool) {
        match direction {
            Direction::In => self.inbound_blocked = blocked,
            Direction::Out => self.outbound_blocked = blocked,
            Direction::Both => (self.inbound_blocked, self.outbound_blocked) = (blocked, blocked),
        }
    }
}

impl Clock {
    /// What it shows, as time since the start of the world, when `now` has passed since then.
    pub(crate) fn at(self, start: Instant, now: Duration) -> Instant {
        let off = now.mul_f64(f64::from(self.drift.unsigned_abs()) / 1e6);
        start + if self.drift < 0 { now.saturating_sub(off) } else { now + off }
    }

    /// How much has passed since the start of the world when it shows that; a little more rather than less.
    pub(crate) fn when(self, start: Instant, shown: Instant) -> Duration {
        let shown = shown.saturating_duration_since(start);
        if self.drift == 0 {
            return shown;
        }
        shown.div_f64(1.0 + f64::from(self.drift) / 1e6) + Duration::from_nanos(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_at_least_what_was_waited_for() {
        let start = Instant::now();
        for drift in [-5000, -1, 0, 1, 5000] {
            let clock = Clock { drift, ..Clock::default() };
            for shown in (1..5000).map(|n| start + n * Duration::from_micros(7919)) {
                let now = clock.when(start, shown);
                let late = clock.at(start, now).checked_duration_since(shown);
                assert!(late.is_some_and(|late| late < Duration::from_micros(1)), "{drift} {late:?}");
            }
        }
    }
}
