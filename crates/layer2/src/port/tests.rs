mod announcements;
mod answers;
mod claims;
mod inquiries;
mod pacing;
mod peers;
mod questions;
mod stalls;
mod watches;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::protocol::Ignored;
use crate::{Arp, ArpFrame, ArpOperation, Host, Ndp, NdpFrame, NdpFrameError, NdpMessage, solicited_node};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const OTHER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
/// In the same solicited-node group as [`V6`].
const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0x12, 0x3456);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

const ARP: Arp = Arp { mac: OURS };
const NDP: Ndp = Ndp { mac: OURS, link_local: LINK_LOCAL };

/// With one station that is known.
fn known_macs(mac: MacAddr, contact: Contact) -> KnownMacs {
    KnownMacs { contacts: [(mac, contact)].into(), ..KnownMacs::default() }
}

fn known(mac: MacAddr) -> KnownMacs {
    known_macs(mac, Contact::Heard)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A port and what it did, in milliseconds since its start.
struct Bench<P: Protocol> {
    port: Port<P>,
    start: Instant,
    now: Instant,
    done: Vec<(u128, Effect)>,
}

impl<P: Protocol> Bench<P> {
    fn new(protocol: P) -> Self {
        let start = Instant::now();
        let mut port = Port::new(protocol, None, 400, start);
        port.set_known_macs(known(PEER), start);
        Self { port, start, now: start, done: Vec::new() }
    }

    fn announcing(protocol: P, vip: P::Ip) -> Self {
        let mut bench = Self::new(protocol);
        bench.order(&[(vip, 1, Begin::Announce)]);
        bench.advance(ms(10_000));
        bench.done.clear();
        bench
    }

    fn probing(protocol: P, vip: P::Ip) -> Self {
        let mut bench = Self::new(protocol);
        bench.order(&[(vip, 1, Begin::Probe)]);
        bench
    }

    fn order(&mut self, orders: &[(P::Ip, u64, Begin)]) {
        let order = |(vip, takeover, begin): &(P::Ip, u64, Begin)| {
            (*vip, Order { takeover: *takeover, begin: *begin, stance: Stance::Alone })
        };
        self.port.set_orders(orders.iter().map(order).collect(), self.now);
        self.work();
    }

    fn hear(&mut self, frame: impl AsRef<[u8]>) -> Result<(), Ignored> {
        self.hear_late(frame, Duration::ZERO)
    }

    /// What came in some time ago.
    fn hear_late(&mut self, frame: impl AsRef<[u8]>, waited: Duration) -> Result<(), Ignored> {
        let heard = self.port.handle(frame.as_ref(), self.now.checked_sub(waited).unwrap(), self.now);
        self.work();
        heard
    }

    /// Lets `span` pass, calling the port whenever it wants to be called.
    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.port.poll_timeout().filter(|due| *due <= end) {
            assert!(due > self.now, "nothing was left undone");
            self.now = due;
            self.work();
        }
        self.now = end;
    }

    fn work(&mut self) {
        while let Some(effect) = self.port.poll(self.now) {
            self.done.push(((self.now - self.start).as_millis(), effect));
        }
    }

    fn sent(&self, purpose: Purpose) -> Vec<(u128, &[u8])> {
        self.done
            .iter()
            .filter_map(|(at, effect)| match effect {
                Effect::Send(sent) if sent.purpose == purpose => Some((*at, &sent.frame[..])),
                _ => None,
            })
            .collect()
    }

    fn times(&self, purpose: Purpose) -> Vec<u128> {
        self.sent(purpose).into_iter().map(|(at, _)| at).collect()
    }

    fn reports(&self) -> Vec<Report> {
        self.done
            .iter()
            .filter_map(|(_, effect)| if let Effect::Report(report) = effect { Some(*report) } else { None })
            .collect()
    }

    fn groups(&self) -> Vec<&Effect> {
        self.done
            .iter()
            .map(|(_, effect)| effect)
            .filter(|e| matches!(e, Effect::Join(_) | Effect::Leave(_)))
            .collect()
    }
}

fn arp_request(vip: Ipv4Addr) -> ArpFrame {
    ArpFrame {
        destination: MacAddr::BROADCAST,
        source: THEIRS,
        operation: ArpOperation::Request,
        sender: Host { mac: THEIRS, ip: CLIENT_V4 },
        target: Host { mac: MacAddr::ZERO, ip: vip },
    }
}

fn solicitation(vip: Ipv6Addr) -> NdpFrame {
    NdpFrame {
        destination: MacAddr::of_group(solicited_node(vip)),
        source: THEIRS,
        to: solicited_node(vip),
        from: CLIENT_V6,
        target: vip,
        message: NdpMessage::Solicitation { source: Some(THEIRS) },
    }
}
