//! A node: a machine with power and a cable, and the speaker that runs there.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use layer2::{Arp, MacAddr, Ndp};
use members::LinkState;
use objects::NodeName;

use crate::speaker::{Input, Speaker};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) mac: MacAddr,
    pub(crate) gossip: SocketAddr,
    pub(crate) power: bool,
    pub(crate) cable: bool,
    pub(crate) speaker: Option<Speaker>,
    /// How many speakers have been started here; tells what concerns a former one.
    pub(crate) boots: u64,
    /// What its wall clock is ahead, in milliseconds.
    pub(crate) clock: i64,
    /// What has arrived for a speaker that stands still.
    pub(crate) stalled: Option<Vec<Input>>,
    /// How much its speaker has seen of the cluster's history.
    pub(crate) seen: usize,
    /// Whether its speaker was told that there is a carrier.
    pub(crate) link: LinkState,
    pub(crate) after_departure: AfterDeparture,
    /// When its speaker is to be called, as far as that is planned.
    pub(crate) wake: Option<Duration>,
}

/// What comes when the speaker has gone as it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterDeparture {
    StartAnother(Duration),
    PowerOff,
}

impl Node {
    /// A node with power and a cable, and without a speaker as yet.
    pub(crate) fn new(number: u8) -> Self {
        Self {
            name: format!("node-{number}").into(),
            mac: MacAddr([2, 0, 0, 0, 0, number]),
            gossip: SocketAddr::from(([192, 0, 2, number], 7946)),
            power: true,
            cable: true,
            speaker: None,
            boots: 0,
            clock: 0,
            stalled: None,
            seen: 0,
            link: LinkState::Up,
            after_departure: AfterDeparture::PowerOff,
            wake: None,
        }
    }

    pub(crate) fn arp(&self) -> Arp {
        Arp { mac: self.mac }
    }

    pub(crate) fn ndp(&self) -> Ndp {
        let MacAddr([.., last]) = self.mac;
        Ndp { mac: self.mac, link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()) }
    }

    /// Its speaker, if it is not standing still.
    pub(crate) fn awake(&self) -> Option<&Speaker> {
        self.speaker.as_ref().filter(|_| self.stalled.is_none())
    }

    /// Nothing is left of its speaker.
    pub(crate) fn kill(&mut self) {
        (self.speaker, self.stalled, self.wake) = (None, None, None);
    }
}
