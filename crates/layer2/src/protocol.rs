//! What ARP and NDP have in common, so that one [`Port`](crate::Port) can do either.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    ArpFrame, ArpFrameError, ArpOperation, Cause, Host, Known, MacAddr, NdpFrame, NdpFrameError, NdpMessage,
    solicited_node,
};

/// A protocol that finds the stations of a LAN by their addresses, as one station speaks it.
pub trait Protocol: Debug {
    /// The addresses that it finds stations by.
    type Ip: Copy + Ord + Debug + Into<IpAddr>;

    /// The address if it is one of this protocol's family.
    fn own(vip: IpAddr) -> Option<Self::Ip>;
    /// The multicast group that those who ask for `vip` speak to, if they do not broadcast.
    fn group(vip: Self::Ip) -> Option<Ipv6Addr>;

    /// The address of this station.
    fn mac(&self) -> MacAddr;
    /// What a received frame says, if it concerns this station.
    fn hear(&self, frame: &[u8]) -> Result<Heard<Self::Ip>, Ignored>;
    /// A frame that tells the station `to`, which asked, that its target is here.
    fn answer(&self, to: MacAddr, question: Question<Self::Ip>) -> Vec<u8>;
    /// A frame that asks whether anybody has `vip`, and tells nothing.
    fn probe(&self, vip: Self::Ip) -> Vec<u8>;
    /// A frame that asks whoever has `vip` to tell this station alone: an answer to all would change what they know.
    fn ask(&self, vip: Self::Ip) -> Vec<u8>;
    /// The frames that tell all stations that `vip` is here now.
    fn announcements(&self, vip: Self::Ip) -> Vec<Vec<u8>>;
    /// The frame that keeps switches and stations from forgetting where `vip` is.
    fn refresh(&self, vip: Self::Ip) -> Vec<u8>;
}

/// What a frame says: something that the speaker claims, something that it asks, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard<Ip> {
    /// The station that speaks.
    pub by: MacAddr,
    /// The address that it says it has.
    pub claims: Option<Ip>,
    /// Whether it says so because somebody asked, as a router does that answers for others.
    pub answers: bool,
    /// What it asks.
    pub asks: Option<Question<Ip>>,
}

/// "Who has `target`?"
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<Ip> {
    /// The address that is looked for.
    pub target: Ip,
    /// The address to answer to. One who has none asks whether the target is free to be taken: a probe.
    pub asker: Option<Ip>,
}

/// Why nothing follows from a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It is no ARP frame, or not a well-formed one.
    #[error("ARP: {0}")]
    Arp(#[from] ArpFrameError),
    /// It is no neighbour solicitation or advertisement, or none that may be acted on.
    #[error("NDP: {0}")]
    Ndp(#[from] NdpFrameError),
    /// It is addressed to another station or to another group.
    #[error("not addressed to us")]
    NotForUs,
    /// There is no station that could have sent it, or that an answer could go to.
    #[error("sender hardware address {0} is no station")]
    BadSender(MacAddr),
    /// It asks for an address that is not announced here, or not yet.
    #[error("asks for an address that is not announced here")]
    NotAnnounced,
    /// It asks for an address that is announced here, but did so long ago.
    #[error("asked too long ago")]
    Stale,
    /// It asks for an address that was announced here, and it is not known at present whether it still is.
    #[error("asks while it is not known who announces the address")]
    Muted,
    /// It tells where an address is that is none of ours.
    #[error("tells of an address that is not ours")]
    NotOurs,
    /// It claims an address of ours, but comes from this node or a peer.
    #[error("said by a peer")]
    Peer,
    /// It claims an address of ours, and claims of foreign hosts count for nothing.
    #[error("said by a foreign host, which is overruled")]
    Overruled,
}

/// ARP, as the station with this address speaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arp {
    /// The address of the station.
    pub mac: MacAddr,
}

impl Protocol for Arp {
    type Ip = Ipv4Addr;

    fn own(vip: IpAddr) -> Option<Ipv4Addr> {
        match vip {
            IpAddr::V4(vip) => Some(vip),
            IpAddr::V6(_) => None,
        }
    }

    fn group(_: Ipv4Addr) -> Option<Ipv6Addr> {
        None
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn hear(&self, frame: &[u8]) -> Result<Heard<Ipv4Addr>, Ignored> {
        let ArpFrame { destination, operation, sender, target, source: _ } = ArpFrame::parse(frame)?;
        if destination != MacAddr::BROADCAST && destination != self.mac {
            return Err(Ignored::NotForUs);
        }
        let claims = (!sender.ip.is_unspecified()).then_some(sender.ip);
        let asks = match operation {
            // One that asks for its own address is an announcement (RFC 5227 section 1.1), not a question.
            ArpOperation::Request if sender.ip != target.ip => {
                Some(Question { target: target.ip, asker: claims })
            }
            ArpOperation::Request | ArpOperation::Reply => None,
        };
        let answers = operation == ArpOperation::Reply && sender.ip != target.ip;
        Ok(Heard { by: sender.mac, claims, answers, asks })
    }

    fn answer(&self, to: MacAddr, question: Question<Ipv4Addr>) -> Vec<u8> {
        let asker = Host { mac: to, ip: question.asker.unwrap_or(Ipv4Addr::UNSPECIFIED) };
        ArpFrame::reply(self.mac, question.target, asker).emit().into()
    }

    fn probe(&self, vip: Ipv4Addr) -> Vec<u8> {
        ArpFrame::probe(self.mac, vip).emit().into()
    }

    fn ask(&self, vip: Ipv4Addr) -> Vec<u8> {
        self.probe(vip)
    }

    fn announcements(&self, vip: Ipv4Addr) -> Vec<Vec<u8>> {
        // Some stations learn from requests only, some from replies only.
        [ArpFrame::gratuitous_request(self.mac, vip), ArpFrame::gratuitous_reply(self.mac, vip)]
            .map(|frame| frame.emit().into())
            .into()
    }

    fn refresh(&self, vip: Ipv4Addr) -> Vec<u8> {
        ArpFrame::gratuitous_request(self.mac, vip).emit().into()
    }
}

/// NDP, as the station with these addresses speaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ndp {
    /// The address of the station.
    pub mac: MacAddr,
    /// What advertisements come from.
    pub link_local: Ipv6Addr,
}

impl Protocol for Ndp {
    type Ip = Ipv6Addr;

    fn own(vip: IpAddr) -> Option<Ipv6Addr> {
        match vip {
            IpAddr::V4(_) => None,
            IpAddr::V6(vip) => Some(vip),
        }
    }

    fn group(vip: Ipv6Addr) -> Option<Ipv6Addr> {
        Some(solicited_node(vip))
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn hear(&self, frame: &[u8]) -> Result<Heard<Ipv6Addr>, Ignored> {
        let NdpFrame { destination, source, to, from, target, message } = NdpFrame::parse(frame)?;
        // Frames to a group reach us whichever way; where they are to go says the address in them.
        if !to.is_multicast() && destination != self.mac {
            return Err(Ignored::NotForUs);
        }
        match message {
            // RFC 4861 section 4.3: to the solicited-node group or to the target itself.
            NdpMessage::Solicitation { source: _ } if to != target && to != solicited_node(target) => {
                Err(Ignored::NotForUs)
            }
            NdpMessage::Solicitation { source: option } => {
                let by = option.unwrap_or(source);
                let asker = (!from.is_unspecified()).then_some(from);
                let asks = Some(Question { target, asker });
                Ok(Heard { by, claims: None, answers: false, asks })
            }
            NdpMessage::Advertisement { target: option, cause, known } => {
                let by = option.unwrap_or(source);
                // RFC 4861 section 7.2.8: who answers for others overrides nobody. To a probe it must say so to all.
                let answers = cause == Cause::Solicited || known == Known::Stays;
                Ok(Heard { by, claims: Some(target), answers, asks: None })
            }
        }
    }

    fn answer(&self, to: MacAddr, question: Question<Ipv6Addr>) -> Vec<u8> {
        NdpFrame::answer(self.mac, self.link_local, question.target, question.asker, to).emit()
    }

    fn probe(&self, vip: Ipv6Addr) -> Vec<u8> {
        NdpFrame::probe(self.mac, vip).emit()
    }

    fn ask(&self, vip: Ipv6Addr) -> Vec<u8> {
        NdpFrame::question(self.mac, self.link_local, vip).emit()
    }

    fn announcements(&self, vip: Ipv6Addr) -> Vec<Vec<u8>> {
        vec![self.refresh(vip)]
    }

    fn refresh(&self, vip: Ipv6Addr) -> Vec<u8> {
        NdpFrame::unsolicited(self.mac, self.link_local, vip).emit()
    }
}
