//! What else there is on a LAN: hosts that have an address of ours, routers with proxy ARP, and switches that track who
//! is where.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use layer2::{ArpFrame, ArpOperation, Host as Party, MacAddr, NdpFrame, NdpMessage, solicited_node};

use crate::lan::StationId;

/// A router waits that long before it answers for another, at most (Linux: `proxy_delay`).
const PROXY_DELAY: Duration = Duration::from_millis(800);
/// How often a switch asks each host that it knows of, one after the other.
pub(crate) const TRACKING: Duration = Duration::from_millis(700);

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) mac: MacAddr,
    pub(crate) station: StationId,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Has this address, if any, since then.
    Squatter(Option<(IpAddr, Duration)>),
    /// Answers for every address by ARP.
    Proxy,
    /// Remembers who has which address, and asks each whether it is still there: by unicast, as nobody.
    Tracker { known: BTreeMap<Ipv4Addr, MacAddr>, last: Option<Ipv4Addr> },
}

impl Host {
    /// What it says to that, and how long that takes at most.
    pub(crate) fn hear(&mut self, frame: &[u8]) -> Option<(Duration, Vec<u8>)> {
        let arp = ArpFrame::parse(frame).ok();
        match &mut self.kind {
            Kind::Squatter(None) => None,
            Kind::Squatter(Some((IpAddr::V4(own), _))) => {
                let answer = arp.filter(|arp| arp.target.ip == *own).and_then(|arp| reply(self.mac, &arp));
                Some((Duration::ZERO, answer?))
            }
            Kind::Squatter(Some((IpAddr::V6(own), _))) => {
                let ndp = NdpFrame::parse(frame).ok().filter(|ndp| ndp.target == *own)?;
                let NdpMessage::Solicitation { source } = ndp.message else { return None };
                let asker = (!ndp.from.is_unspecified()).then_some(ndp.from);
                let to = source.unwrap_or(ndp.source);
                Some((Duration::ZERO, NdpFrame::answer(self.mac, *own, *own, asker, to).emit()))
            }
            Kind::Proxy => Some((PROXY_DELAY, reply(self.mac, &arp?)?)),
            Kind::Tracker { known, .. } => {
                let ArpFrame { sender, .. } = arp?;
                if !sender.ip.is_unspecified() {
                    known.insert(sender.ip, sender.mac);
                }
                None
            }
        }
    }

    /// What it asks now, if it tracks hosts.
    pub(crate) fn track(&mut self) -> Option<Vec<u8>> {
        let Kind::Tracker { known, last } = &mut self.kind else { return None };
        let next = last.and_then(|last| known.range(last..).find(|(ip, _)| **ip != last));
        let (ip, mac) = next.or_else(|| known.iter().next())?;
        *last = Some(*ip);
        let probe = ArpFrame { destination: *mac, ..ArpFrame::probe(self.mac, *ip) };
        Some(probe.emit().into())
    }

    /// What tells everybody that it has its address.
    pub(crate) fn announcements(&self) -> Vec<Vec<u8>> {
        match self.kind {
            Kind::Squatter(Some((IpAddr::V4(own), _))) => {
                vec![ArpFrame::gratuitous_request(self.mac, own).emit().into()]
            }
            Kind::Squatter(Some((IpAddr::V6(own), _))) => {
                vec![NdpFrame::unsolicited(self.mac, own, own).emit()]
            }
            Kind::Squatter(None) | Kind::Proxy | Kind::Tracker { .. } => vec![],
        }
    }

    /// Whether its interface lets a frame for `destination` in.
    pub(crate) fn receives(&self, destination: MacAddr) -> bool {
        let group = match self.kind {
            Kind::Squatter(Some((IpAddr::V6(own), _))) => Some(MacAddr::of_group(solicited_node(own))),
            Kind::Squatter(_) | Kind::Proxy | Kind::Tracker { .. } => None,
        };
        destination == self.mac || destination == MacAddr::BROADCAST || Some(destination) == group
    }
}

/// Says that what is asked for is at `mac`.
fn reply(mac: MacAddr, asked: &ArpFrame) -> Option<Vec<u8>> {
    let ArpFrame { operation, sender, target, .. } = *asked;
    let asks = operation == ArpOperation::Request && sender.ip != target.ip && sender.mac != mac;
    asks.then(|| ArpFrame::reply(mac, target.ip, Party { mac: sender.mac, ip: sender.ip }).emit().into())
}
