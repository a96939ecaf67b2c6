//! Whom to answer.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::{ArpFrame, ArpFrameError, ArpOperation, MacAddr};

/// Answers ARP requests for the addresses announced on one interface.
#[derive(Debug)]
pub struct Responder {
    mac: MacAddr,
    vips: BTreeSet<Ipv4Addr>,
}

/// What to send back, and for which address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The address that was asked for.
    pub vip: Ipv4Addr,
    /// The reply.
    pub frame: ArpFrame,
}

/// Why a frame gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It is no well-formed ARP frame.
    #[error("malformed: {0}")]
    Malformed(#[from] ArpFrameError),
    /// It asks nothing.
    #[error("a reply")]
    Reply,
    /// It is addressed to another station or to a group.
    #[error("not addressed to us")]
    NotForUs,
    /// It claims the address it asks for: an announcement (RFC 5227 section 1.1), not a question.
    #[error("an announcement")]
    Announcement,
    /// There is no station that an answer could go to.
    #[error("sender hardware address {0} is no station")]
    BadSender(MacAddr),
    /// The address is not announced here.
    #[error("not announced here")]
    NotAnnounced,
}

impl Responder {
    /// Answers for no address yet; those to come are at `mac`.
    pub fn new(mac: MacAddr) -> Self {
        Self { mac, vips: BTreeSet::new() }
    }

    /// Answers for `vip` from now on.
    pub fn add(&mut self, vip: Ipv4Addr) {
        self.vips.insert(vip);
    }

    /// Answers for `vip` no longer.
    pub fn remove(&mut self, vip: Ipv4Addr) {
        self.vips.remove(&vip);
    }

    /// What to reply to a received frame. Requests are answered that come by broadcast or to our own
    /// address, including the probes of those who look for a conflict (RFC 5227 section 2.1.1).
    pub fn handle(&self, frame: &[u8]) -> Result<Answer, Ignored> {
        let request = ArpFrame::parse(frame)?;
        if request.operation == ArpOperation::Reply {
            return Err(Ignored::Reply);
        }
        if request.destination != MacAddr::BROADCAST && request.destination != self.mac {
            return Err(Ignored::NotForUs);
        }
        let vip = request.target.ip;
        if !self.vips.contains(&vip) {
            return Err(Ignored::NotAnnounced);
        }
        if request.sender.ip == vip {
            return Err(Ignored::Announcement);
        }
        if !request.sender.mac.is_station() {
            return Err(Ignored::BadSender(request.sender.mac));
        }
        Ok(Answer { vip, frame: request.reply(self.mac) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Host;

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn responder() -> Responder {
        let mut responder = Responder::new(OURS);
        responder.add(VIP);
        responder
    }

    fn request() -> ArpFrame {
        ArpFrame {
            destination: MacAddr::BROADCAST,
            source: THEIRS,
            operation: ArpOperation::Request,
            sender: Host { mac: THEIRS, ip: CLIENT },
            target: Host { mac: MacAddr::ZERO, ip: VIP },
        }
    }

    fn ask(frame: ArpFrame) -> Result<ArpFrame, Ignored> {
        responder().handle(&frame.emit()).map(|answer| answer.frame)
    }

    #[test]
    fn requests_by_broadcast_by_unicast_and_probes_are_answered() {
        let unicast = ArpFrame { destination: OURS, ..request() };
        let probe = ArpFrame { sender: Host { mac: THEIRS, ip: Ipv4Addr::UNSPECIFIED }, ..request() };
        for request in [request(), unicast, probe] {
            let expected = ArpFrame {
                destination: THEIRS,
                source: OURS,
                operation: ArpOperation::Reply,
                sender: Host { mac: OURS, ip: VIP },
                target: request.sender,
            };
            assert_eq!(ask(request), Ok(expected));
        }
    }

    #[test]
    fn everything_else_is_ignored_for_a_reason() {
        let group = MacAddr([1, 0, 0x5e, 0, 0, 1]);
        let reply = ArpFrame { operation: ArpOperation::Reply, ..request() };
        assert_eq!(ask(reply), Err(Ignored::Reply));
        for destination in [THEIRS, group, MacAddr::ZERO] {
            assert_eq!(ask(ArpFrame { destination, ..request() }), Err(Ignored::NotForUs));
        }
        let other = ArpFrame { target: Host { mac: MacAddr::ZERO, ip: CLIENT }, ..request() };
        assert_eq!(ask(other), Err(Ignored::NotAnnounced));
        assert_eq!(ask(ArpFrame::gratuitous_request(THEIRS, VIP)), Err(Ignored::Announcement));
        for mac in [group, MacAddr::ZERO, MacAddr::BROADCAST] {
            let from = ArpFrame { sender: Host { mac, ip: CLIENT }, ..request() };
            assert_eq!(ask(from), Err(Ignored::BadSender(mac)));
        }
        assert_eq!(responder().handle(&[]), Err(Ignored::Malformed(ArpFrameError::Truncated(0))));
    }

    #[test]
    fn an_address_is_answered_for_while_it_is_announced() {
        let mut responder = Responder::new(OURS);
        let frame = request().emit();
        assert_eq!(responder.handle(&frame), Err(Ignored::NotAnnounced));
        responder.add(VIP);
        assert!(responder.handle(&frame).is_ok());
        responder.remove(VIP);
        assert_eq!(responder.handle(&frame), Err(Ignored::NotAnnounced));
    }

    proptest! {
        #[test]
        fn no_bytes_get_more_than_a_reply_to_the_sender(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            well_formed: bool,
        ) {
            let mut bytes = bytes;
            if well_formed && bytes.len() >= crate::FRAME_LEN {
                bytes[..6].copy_from_slice(&OURS.0);
                bytes[12..22].copy_from_slice(&request().emit()[12..22]);
                bytes[38..42].copy_from_slice(&VIP.octets());
            }
            if let Ok(answer) = responder().handle(&bytes) {
                prop_assert_eq!(&answer.frame.destination.0[..], &bytes[22..28]);
                prop_assert_eq!(answer.frame.sender, Host { mac: OURS, ip: VIP });
            }
        }
    }
}
