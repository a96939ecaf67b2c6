//! Echo packets on Ethernet (RFC 5881 section 4).
//!
//! An echo packet has the address of this end as source and as destination, and goes to the hardware address of the peer, who
//! sends it back as it does with all that is for others. No UDP socket sends such packets, and Linux takes none that claims to
//! come from itself: whole frames go both ways.

use std::net::IpAddr;

use pnet_packet::MutablePacket;
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::udp::{self, MutableUdpPacket};

use crate::config::{ECHO_PORT, SENT_TTL};
use crate::echo;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
/// Network control: what says whether paths work goes first.
const PRECEDENCE: u8 = 0x30;

/// A hardware address.
pub type Mac = [u8; 6];

/// Between whom echo packets of a session go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// The hardware address of this end.
    pub own: Mac,
    /// The hardware address of the peer.
    pub peer: Mac,
    /// The address of this end.
    pub address: IpAddr,
    /// The UDP port that they come from.
    pub port: u16,
}

/// A UDP packet in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard<'a> {
    /// The hardware address that it comes from.
    pub mac: Mac,
    /// Where it comes from.
    pub from: IpAddr,
    /// Where it goes.
    pub to: IpAddr,
    /// The port that it goes to.
    pub port: u16,
    /// The TTL or hop limit that it had left.
    pub ttl: u8,
    /// What is in it.
    pub payload: &'a [u8],
}

impl Loop {
    /// The frame with an echo packet.
    pub fn emit(&self, echo: &[u8; echo::LENGTH]) -> Vec<u8> {
        let (ether_type, header) = match self.address {
            IpAddr::V4(_) => (EtherTypes::Ipv4, IPV4),
            IpAddr::V6(_) => (EtherTypes::Ipv6, IPV6),
        };
        let mut frame = vec![0; ETHERNET + header + UDP + echo::LENGTH];
        let mut ethernet = MutableEthernetPacket::new(&mut frame).expect("it has room");
        ethernet.set_destination(self.peer.into());
        ethernet.set_source(self.own.into());
        ethernet.set_ethertype(ether_type);
        let (ip, body) = ethernet.payload_mut().split_at_mut(header);
        body[UDP..].copy_from_slice(echo);
        let length = u16::try_from(body.len()).expect("it is short");
        let mut datagram = MutableUdpPacket::new(body).expect("it has room");
        datagram.set_source(self.port);
        datagram.set_destination(ECHO_PORT);
        datagram.set_length(length);
        match self.address {
            IpAddr::V4(address) => {
                let sum = udp::ipv4_checksum(&datagram.to_immutable(), &address, &address);
                datagram.set_checksum(sum);
                let mut header = MutableIpv4Packet::new(ip).expect("it has room");
                header.set_version(4);
                header.set_header_length(5);
                header.set_dscp(PRECEDENCE);
                header.set_total_length(length + 20);
                header.set_ttl(SENT_TTL);
                header.set_next_level_protocol(IpNextHeaderProtocols::Udp);
                header.set_source(address);
                header.set_destination(address);
                let sum = ipv4::checksum(&header.to_immutable());
                header.set_checksum(sum);
            }
            IpAddr::V6(address) => {
                let sum = udp::ipv6_checksum(&datagram.to_immutable(), &address, &address);
                datagram.set_checksum(sum);
                let mut header = MutableIpv6Packet::new(ip).expect("it has room");
                header.set_version(6);
                header.set_traffic_class(PRECEDENCE << 2);
                header.set_payload_length(length);
                header.set_next_header(IpNextHeaderProtocols::Udp);
                header.set_hop_limit(SENT_TTL);
                header.set_source(address);
                header.set_destination(address);
            }
        }
        frame
    }
}

impl<'a> Heard<'a> {
    /// Reads a frame. `None`: there is no whole UDP packet in it.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
        let mac = *ethernet.get(6..)?.first_chunk()?;
        let (from, to, ttl, length, datagram) = match ethernet.get(12..)? {
            [0x08, 0x00] => ipv4(packet)?,
            [0x86, 0xdd] => ipv6(packet)?,
            _ => return None,
        };
        let (header, _) = datagram.split_first_chunk::<UDP>()?;
        let [_, _, port_high, port_low, length_high, length_low, ..] = *header;
        let said = usize::from(u16::from_be_bytes([length_high, length_low]));
        let payload = datagram.get(UDP..said.min(length))?;
        Some(Self { mac, from, to, port: u16::from_be_bytes([port_high, port_low]), ttl, payload })
    }
}

type Ip<'a> = (IpAddr, IpAddr, u8, usize, &'a [u8]);

fn ipv4(packet: &[u8]) -> Option<Ip<'_>> {
    let header = packet.first_chunk::<IPV4>()?;
    let [first, _, length_high, length_low, _, _, flags, offset, ttl, protocol, _, _, addresses @ ..] =
        *header;
    let begin = usize::from(first & 0xf) * 4;
    let whole = usize::from(u16::from_be_bytes([length_high, length_low]));
    let is_fragment = u16::from_be_bytes([flags, offset]) & 0x3fff != 0;
    if first >> 4 != 4 || begin < IPV4 || is_fragment || protocol != IpNextHeaderProtocols::Udp.0 {
        return None;
    }
    let [from @ .., _, _, _, _] = addresses;
    let [_, _, _, _, to @ ..] = addresses;
    let from: [u8; 4] = from;
    let to: [u8; 4] = to;
    Some((from.into(), to.into(), ttl, whole.checked_sub(begin)?, packet.get(begin..)?))
}

fn ipv6(packet: &[u8]) -> Option<Ip<'_>> {
    let (header, datagram) = packet.split_first_chunk::<IPV6>()?;
    let [first, _, _, _, length_high, length_low, next, ttl, addresses @ ..] = header;
    if first >> 4 != 6 || *next != IpNextHeaderProtocols::Udp.0 {
        return None;
    }
    let from: &[u8; 16] = addresses.first_chunk()?;
    let to: &[u8; 16] = addresses.last_chunk()?;
    let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
    Some(((*from).into(), (*to).into(), *ttl, length, datagram))
}

#[cfg(test)]
mod tests {
    use pnet_packet::Packet;
    use pnet_packet::ipv4::Ipv4Packet;
    use pnet_packet::udp::UdpPacket;
    use proptest::prelude::*;

    use super::*;

    const ECHO: [u8; echo::LENGTH] = [7; echo::LENGTH];

    fn frame(address: &str) -> Vec<u8> {
        let address = address.parse().unwrap();
        Loop { own: [2, 0, 0, 0, 0, 1], peer: [2, 0, 0, 0, 0, 2], address, port: 50_000 }.emit(&ECHO)
    }

    #[test]
    fn the_same_bytes_are_written_and_read() {
        for address in ["192.0.2.1", "2001:db8::1"] {
            let frame = frame(address);
            assert_eq!(frame[..6], [2, 0, 0, 0, 0, 2]);
            let ip = address.parse().unwrap();
            let expected = Heard {
                mac: [2, 0, 0, 0, 0, 1],
                from: ip,
                to: ip,
                port: ECHO_PORT,
                ttl: 255,
                payload: &ECHO,
            };
            assert_eq!(Heard::parse(&frame), Some(expected));
            // What Ethernet adds to short frames is not part of it.
            assert_eq!(Heard::parse(&[&frame[..], &[0; 10]].concat()), Some(expected));
            for length in 0..frame.len() {
                assert_eq!(Heard::parse(&frame[..length]), None, "{length} octets");
            }
        }
    }

    #[test]
    fn routers_find_nothing_wrong_with_the_checksums() {
        let frame = frame("192.0.2.1");
        let header = Ipv4Packet::new(&frame[ETHERNET..]).unwrap();
        assert_eq!(ipv4::checksum(&header), header.get_checksum());
        let datagram = UdpPacket::new(header.payload()).unwrap();
        let sum = udp::ipv4_checksum(&datagram, &header.get_source(), &header.get_destination());
        assert_eq!(sum, datagram.get_checksum());
    }

    proptest! {
        #[test]
        fn any_frame_is_read_or_discarded(mut bytes in prop::collection::vec(any::<u8>(), 0..100), v6: bool) {
            if let Some(ether_type) = bytes.get_mut(12..15) {
                ether_type.copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[0x08, 0, 0x45] });
            }
            Heard::parse(&bytes);
        }
    }
}
