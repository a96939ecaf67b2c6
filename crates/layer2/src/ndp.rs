//! Neighbour solicitations and advertisements for IPv6 over Ethernet (RFC 4861), whole frames.
//!
//! What a node must check before it acts on one (sections 7.1.1 and 7.1.2) is part of reading it: a frame
//! that fails is no [`NdpFrame`].

use std::net::Ipv6Addr;

use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    Icmpv6Codes, MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOptionType, NdpOptionTypes,
    NeighborAdvertFlags, NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Packet, Icmpv6Types, MutableIcmpv6Packet};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet_packet::util::ipv6_checksum;

use crate::MacAddr;

/// The group of all nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ETHERNET_LEN: usize = EthernetPacket::minimum_packet_size();
const IPV6_LEN: usize = Ipv6Packet::minimum_packet_size();
/// A solicitation or an advertisement without options; their fixed fields are laid out alike.
const MESSAGE_LEN: usize = NeighborSolicitPacket::minimum_packet_size();
const OPTION_LEN: usize = 8;
/// What no router lets through, for routers count down.
const HOP_LIMIT: u8 = 255;

/// The group that is asked for `address` (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let [b, c] = [u16::from(b), u16::from(c)];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), b << 8 | c)
}

/// An Ethernet frame with a neighbour solicitation or advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NdpFrame {
    /// The station that the frame goes to.
    pub destination: MacAddr,
    /// The station that it comes from.
    pub source: MacAddr,
    /// The IPv6 address that it goes to.
    pub to: Ipv6Addr,
    /// The IPv6 address that it comes from.
    pub from: Ipv6Addr,
    /// The address that is asked for, or told of.
    pub target: Ipv6Addr,
    /// Which of the two.
    pub message: NdpMessage,
}

/// What is said of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NdpMessage {
    /// Asks where it is.
    Solicitation {
        /// Where the answer is to go.
        source: Option<MacAddr>,
    },
    /// Tells where it is.
    Advertisement {
        /// Where it is.
        target: Option<MacAddr>,
        /// Whether it was asked for.
        cause: Cause,
        /// What becomes of what the hearer knows already.
        known: Known,
    },
}

/// Flag S of an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It answers a solicitation.
    Solicited,
    /// It was sent unasked.
    Unsolicited,
}

/// Flag O of an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Another address that the hearer has for the target stays.
    Stays,
    /// It is replaced.
    Overridden,
}

/// Why bytes are no [`NdpFrame`] that a node may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NdpFrameError {
    /// The frame or the packet in it ends early, or the message is shorter than 24 bytes.
    #[error("cut short")]
    Truncated,
    /// The frame carries something else.
    #[error("neither a neighbour solicitation nor an advertisement")]
    Other,
    /// It may have come from beyond the link.
    #[error("hop limit {0} is not 255")]
    HopLimit(u8),
    /// Damaged on the way.
    #[error("wrong checksum")]
    Checksum,
    /// Not defined.
    #[error("code {0} is not 0")]
    Code(u8),
    /// Groups have no neighbours.
    #[error("target {0} is a group")]
    TargetIsGroup(Ipv6Addr),
    /// Groups do not speak.
    #[error("source {0} is a group")]
    SourceIsGroup(Ipv6Addr),
    /// An option is empty, longer than what is left, or does not fit an Ethernet address.
    #[error("malformed option")]
    Option,
    /// A solicitation from nobody goes elsewhere than to the solicited-node group of its target.
    #[error("from no address to {0}")]
    ProbeTo(Ipv6Addr),
    /// A solicitation from nobody tells where to answer.
    #[error("from no address, with a link-layer address")]
    ProbeFromSomewhere,
    /// Who sends an answer to all was not asked.
    #[error("a solicited advertisement to a group")]
    SolicitedToGroup,
}

impl NdpFrame {
    /// The unasked advertisement of a takeover: `vip` is at `mac`, whatever was known before.
    pub fn unsolicited(mac: MacAddr, from: Ipv6Addr, vip: Ipv6Addr) -> Self {
        let (cause, known) = (Cause::Unsolicited, Known::Overridden);
        Self {
            destination: MacAddr::of_group(ALL_NODES),
            source: mac,
            to: ALL_NODES,
            from,
            target: vip,
            message: NdpMessage::Advertisement { target: Some(mac), cause, known },
        }
    }

    /// Tells `asker`, at `asker_mac`, that `vip` is at `mac`. One without an address asks whether the target
    /// is in use: that is told to all (RFC 4861 section 7.2.4).
    pub fn answer(
        mac: MacAddr,
        from: Ipv6Addr,
        vip: Ipv6Addr,
        asker: Option<Ipv6Addr>,
        asker_mac: MacAddr,
    ) -> Self {
        let (to, destination, cause, known) = match asker {
            Some(asker) => (asker, asker_mac, Cause::Solicited, Known::Stays),
            None => (ALL_NODES, MacAddr::of_group(ALL_NODES), Cause::Unsolicited, Known::Overridden),
        };
        let message = NdpMessage::Advertisement { target: Some(mac), cause, known };
        Self { destination, source: mac, to, from, target: vip, message }
    }

    /// Asks whether anybody has `vip` (RFC 4862 section 5.4.2). Who hears it learns nothing from it.
    pub fn probe(mac: MacAddr, vip: Ipv6Addr) -> Self {
        let to = solicited_node(vip);
        Self {
            destination: MacAddr::of_group(to),
            source: mac,
            to,
            from: Ipv6Addr::UNSPECIFIED,
            target: vip,
            message: NdpMessage::Solicitation { source: None },
        }
    }

    /// Asks where `vip` is (RFC 4861 section 7.2.2). The answer goes to `from` alone, while that to a [probe](Self::probe) goes
    /// to all, and overrides what they know.
    pub fn question(mac: MacAddr, from: Ipv6Addr, vip: Ipv6Addr) -> Self {
        Self { from, message: NdpMessage::Solicitation { source: Some(mac) }, ..Self::probe(mac, vip) }
    }

    /// Reads a frame. Bytes beyond the IPv6 packet are padding, whatever they are.
    pub fn parse(frame: &[u8]) -> Result<Self, NdpFrameError> {
        let ethernet = EthernetPacket::new(frame).ok_or(NdpFrameError::Truncated)?;
        if ethernet.get_ethertype() != EtherTypes::Ipv6 {
            return Err(NdpFrameError::Other);
        }
        let ipv6 = Ipv6Packet::new(&frame[ETHERNET_LEN..]).ok_or(NdpFrameError::Truncated)?;
        // An extension header before the message would have to be a fragment's or a hop's: no node makes
        // such messages (RFC 6980 section 5).
        if (ipv6.get_version(), ipv6.get_next_header()) != (6, IpNextHeaderProtocols::Icmpv6) {
            return Err(NdpFrameError::Other);
        }
        if ipv6.get_hop_limit() != HOP_LIMIT {
            return Err(NdpFrameError::HopLimit(ipv6.get_hop_limit()));
        }
        let body = frame[ETHERNET_LEN + IPV6_LEN..]
            .get(..ipv6.get_payload_length().into())
            .ok_or(NdpFrameError::Truncated)?;
        let icmp = Icmpv6Packet::new(body).ok_or(NdpFrameError::Truncated)?;
        let kind = icmp.get_icmpv6_type();
        if !matches!(kind, Icmpv6Types::NeighborSolicit | Icmpv6Types::NeighborAdvert) {
            return Err(NdpFrameError::Other);
        }
        let (from, to) = (ipv6.get_source(), ipv6.get_destination());
        if icmp.get_checksum() != checksum(body, from, to) {
            return Err(NdpFrameError::Checksum);
        }
        let Icmpv6Code(code) = icmp.get_icmpv6_code();
        if code != 0 {
            return Err(NdpFrameError::Code(code));
        }
        if from.is_multicast() {
            return Err(NdpFrameError::SourceIsGroup(from));
        }
        let (target, message) = match kind {
            Icmpv6Types::NeighborSolicit => solicitation(body, from, to),
            _ => advertisement(body, to),
        }?;
        if target.is_multicast() {
            return Err(NdpFrameError::TargetIsGroup(target));
        }
        Ok(Self {
            destination: ethernet.get_destination().into(),
            source: ethernet.get_source().into(),
            to,
            from,
            target,
            message,
        })
    }

    /// The bytes of the frame.
    pub fn emit(&self) -> Vec<u8> {
        let option = match self.message {
            NdpMessage::Solicitation { source } => source.map(|mac| (NdpOptionTypes::SourceLLAddr, mac)),
            NdpMessage::Advertisement { target, .. } => target.map(|mac| (NdpOptionTypes::TargetLLAddr, mac)),
        };
        let length = MESSAGE_LEN + option.map_or(0, |_| OPTION_LEN);
        let mut frame = vec![0; ETHERNET_LEN + IPV6_LEN + length];
        let (headers, body) = frame.split_at_mut(ETHERNET_LEN + IPV6_LEN);

        let mut ethernet = MutableEthernetPacket::new(headers).expect("the frame has the right size");
        ethernet.set_destination(self.destination.into());
        ethernet.set_source(self.source.into());
        ethernet.set_ethertype(EtherTypes::Ipv6);

        let mut ipv6 = MutableIpv6Packet::new(&mut headers[ETHERNET_LEN..]).expect("here too");
        ipv6.set_version(6);
        ipv6.set_payload_length(u16::try_from(length).expect("a message is short"));
        ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ipv6.set_hop_limit(HOP_LIMIT);
        ipv6.set_source(self.from);
        ipv6.set_destination(self.to);

        match self.message {
            NdpMessage::Solicitation { .. } => {
                let mut message = MutableNeighborSolicitPacket::new(body).expect("and here");
                message.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
                message.set_icmpv6_code(Icmpv6Codes::NoCode);
                message.set_target_addr(self.target);
            }
            NdpMessage::Advertisement { cause, known, .. } => {
                let mut message = MutableNeighborAdvertPacket::new(body).expect("and here");
                message.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
                message.set_icmpv6_code(Icmpv6Codes::NoCode);
                message.set_target_addr(self.target);
                let solicited = match cause {
                    Cause::Solicited => NeighborAdvertFlags::Solicited,
                    Cause::Unsolicited => 0,
                };
                let overridden = match known {
                    Known::Overridden => NeighborAdvertFlags::Override,
                    Known::Stays => 0,
                };
                message.set_flags(solicited | overridden);
            }
        }
        if let Some((NdpOptionType(kind), MacAddr(mac))) = option {
            body[MESSAGE_LEN..MESSAGE_LEN + 2].copy_from_slice(&[kind, 1]);
            body[MESSAGE_LEN + 2..].copy_from_slice(&mac);
        }
        let sum = checksum(body, self.from, self.to);
        MutableIcmpv6Packet::new(body).expect("and here").set_checksum(sum);
        frame
    }
}

fn solicitation(body: &[u8], from: Ipv6Addr, to: Ipv6Addr) -> Result<(Ipv6Addr, NdpMessage), NdpFrameError> {
    let message = NeighborSolicitPacket::new(body).ok_or(NdpFrameError::Truncated)?;
    let target = message.get_target_addr();
    let source = link_layer_address(&body[MESSAGE_LEN..], NdpOptionTypes::SourceLLAddr)?;
    if from.is_unspecified() {
        if to != solicited_node(target) {
            return Err(NdpFrameError::ProbeTo(to));
        }
        if source.is_some() {
            return Err(NdpFrameError::ProbeFromSomewhere);
        }
    }
    Ok((target, NdpMessage::Solicitation { source }))
}

fn advertisement(body: &[u8], to: Ipv6Addr) -> Result<(Ipv6Addr, NdpMessage), NdpFrameError> {
    let message = NeighborAdvertPacket::new(body).ok_or(NdpFrameError::Truncated)?;
    let set = |flag| message.get_flags() & flag != 0;
    let cause = if set(NeighborAdvertFlags::Solicited) { Cause::Solicited } else { Cause::Unsolicited };
    let known = if set(NeighborAdvertFlags::Override) { Known::Overridden } else { Known::Stays };
    if to.is_multicast() && cause == Cause::Solicited {
        return Err(NdpFrameError::SolicitedToGroup);
    }
    let target = link_layer_address(&body[MESSAGE_LEN..], NdpOptionTypes::TargetLLAddr)?;
    Ok((message.get_target_addr(), NdpMessage::Advertisement { target, cause, known }))
}

/// Reads all options (RFC 4861 section 4.6); those that are not asked for may hold anything. The first of
/// the kind asked for counts.
fn link_layer_address(mut options: &[u8], wanted: NdpOptionType) -> Result<Option<MacAddr>, NdpFrameError> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * OPTION_LEN;
        let (option, rest) = options.split_at_checked(length).ok_or(NdpFrameError::Option)?;
        let value = option.get(2..).ok_or(NdpFrameError::Option)?;
        if NdpOptionType(kind) == wanted {
            found.get_or_insert(MacAddr(value.try_into().map_err(|_| NdpFrameError::Option)?));
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(NdpFrameError::Option) }
}

/// The checksum that belongs into `body` (RFC 4443 section 2.3), whatever stands there now.
fn checksum(body: &[u8], from: Ipv6Addr, to: Ipv6Addr) -> u16 {
    const CHECKSUM_WORD: usize = 1;
    ipv6_checksum(body, CHECKSUM_WORD, &[], &from, &to, IpNextHeaderProtocols::Icmpv6)
}

#[cfg(test)]
mod tests;
