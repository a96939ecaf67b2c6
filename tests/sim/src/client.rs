//! A client on the LAN: sends requests to addresses, and finds these by ARP and NDP as Linux does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use layer2::{ArpFrame, ArpOperation, Cause, Host, Known, MacAddr, NdpFrame, NdpMessage, solicited_node};

use crate::lan::StationId;
use crate::neighbour::{Ask, Neighbour, Said};

/// Whether a client learns from its own traffic that a neighbour is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// TCP: answers confirm.
    Confirms,
    /// What a router forwards: nothing does.
    OneWay,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) mac: MacAddr,
    pub(crate) traffic: Traffic,
    pub(crate) station: StationId,
    ip: Ipv4Addr,
    ip6: Ipv6Addr,
    /// How long a confirmation lasts: Linux draws it between 15 and 45 s.
    reachable: Duration,
    cache: BTreeMap<IpAddr, Neighbour>,
    /// How often it believed an address to be at another station than before.
    changes: BTreeMap<IpAddr, Changes>,
}

/// Where an address was believed to be last, and how often that was another place.
#[derive(Debug, Clone, Copy)]
struct Changes {
    at: MacAddr,
    count: usize,
}

impl Client {
    pub(crate) fn new(number: u8, station: StationId, traffic: Traffic, reachable: Duration) -> Self {
        Self {
            mac: MacAddr([2, 0, 0, 1, 0, number]),
            traffic,
            station,
            ip: Ipv4Addr::new(192, 0, 2, 200 + number),
            ip6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number.into()),
            reachable,
            cache: BTreeMap::new(),
            changes: BTreeMap::new(),
        }
    }

    /// Where it believes `vip` to be.
    pub(crate) fn known(&self, vip: IpAddr) -> Option<MacAddr> {
        self.cache.get(&vip)?.mac()
    }

    /// How often `vip` was found at another station than before.
    pub(crate) fn changes(&self, vip: IpAddr) -> usize {
        self.changes.get(&vip).map_or(0, |changes| changes.count)
    }

    /// Where a request to `vip` goes now, if that is known; and a question to ask.
    pub(crate) fn request(&mut self, vip: IpAddr, now: Duration) -> (Option<MacAddr>, Option<Vec<u8>>) {
        let (mac, ask) = match self.cache.get_mut(&vip) {
            Some(neighbour) => {
                let ask = neighbour.used(now);
                (neighbour.mac(), ask)
            }
            None => {
                self.cache.insert(vip, Neighbour::new(self.reachable, now));
                (None, Some(Ask::Everybody))
            }
        };
        (mac, ask.map(|ask| self.question(vip, ask)))
    }

    /// A request to `vip` was answered.
    pub(crate) fn answered(&mut self, vip: IpAddr, now: Duration) {
        if self.traffic == Traffic::Confirms
            && let Some(neighbour) = self.cache.get_mut(&vip)
        {
            neighbour.confirmed(now);
        }
    }

    /// Questions to ask now.
    pub(crate) fn poll(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let asks: Vec<_> =
            self.cache.iter_mut().filter_map(|(vip, it)| Some((*vip, it.poll(now)?))).collect();
        asks.into_iter().map(|(vip, ask)| self.question(vip, ask)).collect()
    }

    /// Learns from a frame what there is to learn; the address that is now believed to be elsewhere, if one is.
    pub(crate) fn hear(&mut self, frame: &[u8], now: Duration) -> Option<IpAddr> {
        let news = match ArpFrame::parse(frame) {
            Ok(arp) => self.arp(&arp),
            Err(_) => NdpFrame::parse(frame).ok().and_then(|ndp| self.ndp(&ndp)),
        };
        let (ip, mac, said) = news?;
        let neighbour = self.cache.get_mut(&ip)?;
        let before = neighbour.mac();
        neighbour.heard(mac, said, now);
        let at = neighbour.mac().filter(|at| Some(*at) != before)?;
        let changes = self.changes.entry(ip).or_insert(Changes { at, count: 0 });
        changes.count += usize::from(std::mem::replace(&mut changes.at, at) != at);
        Some(ip)
    }

    /// What follows from an ARP frame: see Linux, `arp_process`.
    fn arp(&self, frame: &ArpFrame) -> Option<(IpAddr, MacAddr, Said)> {
        let ArpFrame { destination, source: _, operation, sender, target } = *frame;
        if destination != self.mac && destination != MacAddr::BROADCAST {
            return None;
        }
        let same = sender.ip == target.ip;
        let said = match operation {
            ArpOperation::Request if same || target.ip == self.ip => Said::Announcement,
            ArpOperation::Reply if same && sender.mac == target.mac => Said::Announcement,
            ArpOperation::Reply if destination == self.mac => Said::Answer,
            // Nobody else's business, and held off for a second by Linux: nobody here sends such.
            ArpOperation::Request | ArpOperation::Reply => return None,
        };
        Some((sender.ip.into(), sender.mac, said))
    }

    /// What follows from an NDP frame: see Linux, `ndisc_recv_na`.
    fn ndp(&self, frame: &NdpFrame) -> Option<(IpAddr, MacAddr, Said)> {
        let NdpMessage::Advertisement { target: Some(mac), cause, known } = frame.message else {
            return None;
        };
        if !frame.to.is_multicast() && frame.destination != self.mac {
            return None;
        }
        let said = match (cause, known) {
            (Cause::Solicited, Known::Stays) => Said::Soft,
            (Cause::Unsolicited, Known::Overridden) => Said::Announcement,
            // The first nobody here sends. By the second somebody learns nothing who does not ask for himself.
            (Cause::Solicited, Known::Overridden) | (Cause::Unsolicited, Known::Stays) => return None,
        };
        Some((frame.target.into(), mac, said))
    }

    fn question(&self, vip: IpAddr, ask: Ask) -> Vec<u8> {
        match vip {
            IpAddr::V4(ip) => {
                let destination = match ask {
                    Ask::Everybody => MacAddr::BROADCAST,
                    Ask::Only(mac) => mac,
                };
                let sender = Host { mac: self.mac, ip: self.ip };
                let target = Host { mac: MacAddr::ZERO, ip };
                let operation = ArpOperation::Request;
                ArpFrame { destination, source: self.mac, operation, sender, target }.emit().into()
            }
            IpAddr::V6(target) => {
                let (to, destination) = match ask {
                    Ask::Everybody => {
                        let group = solicited_node(target);
                        (group, MacAddr::of_group(group))
                    }
                    Ask::Only(mac) => (target, mac),
                };
                let message = NdpMessage::Solicitation { source: Some(self.mac) };
                NdpFrame { destination, source: self.mac, to, from: self.ip6, target, message }.emit()
            }
        }
    }
}
