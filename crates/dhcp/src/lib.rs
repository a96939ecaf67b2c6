//! Which DHCP servers a LAN has, and what they would give out (RFC 2131): one question, and the offers that come. Nothing is
//! ever requested, so no address is leased; a server keeps what it offers for a moment, and always offers the same to the
//! same station.
//!
//! Whole Ethernet frames go out and come in, as the host may have no address on that interface. No input panics.

use std::net::Ipv4Addr;
use std::time::Duration;

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::MutableIpv4Packet;
use pnet_packet::udp::{self, MutableUdpPacket};
use thiserror::Error;

/// The port of clients.
pub const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
/// The fixed fields of a message, before its options (RFC 2131 section 2).
const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Some servers drop messages that are shorter (RFC 1542 section 2.1).
const LEAST: usize = 300;
/// Answers are to go to all: a station without an address may not hear others.
const BROADCAST: u16 = 0x8000;

const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const REQUESTED: u8 = 50;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const PARAMETERS: u8 = 55;
const CLIENT: u8 = 61;
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;

/// A question for servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The Ethernet address that asks.
    pub mac: [u8; 6],
    /// What answers are known by; to be chosen at random.
    pub xid: u32,
    /// The address to offer, if the server gives it out and nobody has it (RFC 2131 section 4.3.1, RFC 2132 section 9.1). A
    /// server that does not offers another one, or none.
    pub wanted: Option<Ipv4Addr>,
}

/// What a server would give out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// Who offers.
    pub server: Ipv4Addr,
    /// The address.
    pub address: Ipv4Addr,
    /// The length of its prefix, if that is said.
    pub prefix_length: Option<u8>,
    /// The router, if that is said.
    pub router: Option<Ipv4Addr>,
    /// How long it would be leased, if that is said.
    pub lease: Option<Duration>,
}

/// Why a frame is no offer to this question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoOffer {
    /// It is too short, or its lengths do not fit.
    #[error("it is cut short")]
    Truncated,
    /// It is something else.
    #[error("it is no message of a DHCP server")]
    Other,
    /// It answers somebody else.
    #[error("it is meant for somebody else")]
    NotForUs,
    /// It offers nothing: an address of no host, or of no server.
    #[error("it offers nothing that a host could have")]
    Nothing,
}

impl Question {
    /// The frame to send.
    pub fn frame(&self) -> Vec<u8> {
        let message = self.message();
        let mut frame = vec![0; ETHERNET + IPV4 + UDP];
        frame[..6].fill(0xff);
        frame[6..12].copy_from_slice(&self.mac);
        frame[12..14].copy_from_slice(&[8, 0]);
        frame.extend_from_slice(&message);
        let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        let length = |bytes: usize| u16::try_from(bytes).expect("a few hundred octets");
        let mut datagram = MutableUdpPacket::new(&mut frame[ETHERNET + IPV4..]).expect("there is room");
        datagram.set_source(CLIENT_PORT);
        datagram.set_destination(SERVER_PORT);
        datagram.set_length(length(UDP + message.len()));
        let checksum = udp::ipv4_checksum(&datagram.to_immutable(), &from, &to);
        datagram.set_checksum(checksum);
        let mut packet = MutableIpv4Packet::new(&mut frame[ETHERNET..]).expect("there is room");
        packet.set_version(4);
        packet.set_header_length(5);
        packet.set_total_length(length(IPV4 + UDP + message.len()));
        packet.set_ttl(64);
        packet.set_next_level_protocol(IpNextHeaderProtocols::Udp);
        packet.set_source(from);
        packet.set_destination(to);
        let checksum = pnet_packet::ipv4::checksum(&packet.to_immutable());
        packet.set_checksum(checksum);
        frame
    }

    fn message(&self) -> Vec<u8> {
        let mut message = vec![0; FIXED];
        // A request, of Ethernet, with addresses of six octets.
        message[..3].copy_from_slice(&[1, 1, 6]);
        message[4..8].copy_from_slice(&self.xid.to_be_bytes());
        message[10..12].copy_from_slice(&BROADCAST.to_be_bytes());
        message[28..34].copy_from_slice(&self.mac);
        message.extend(COOKIE);
        message.extend([MESSAGE_TYPE, 1, DISCOVER]);
        // Another client than the host itself, whose lease stays as it is; of no type of hardware (RFC 2132 section 9.14).
        // For each address another one, or a server would offer again what it has offered already.
        let wanted = self.wanted.map(|ip| ip.octets());
        let of_address = wanted.as_ref().map_or(&[][..], |octets| octets);
        let client = [&[0][..], b"ferrolb-", &self.mac, of_address].concat();
        message.extend([CLIENT, u8::try_from(client.len()).expect("nineteen octets at most")]);
        message.extend(client);
        if let Some(octets) = wanted {
            message.extend([REQUESTED, 4]);
            message.extend(octets);
        }
        message.extend([PARAMETERS, 3, SUBNET_MASK, ROUTER, LEASE_TIME]);
        message.push(255);
        message.resize(message.len().max(LEAST), 0);
        message
    }

    /// What a frame offers, if it answers this question.
    pub fn offer(&self, frame: &[u8]) -> Result<Offer, NoOffer> {
        let message = payload(frame)?;
        // A reply, of Ethernet, with addresses of six octets.
        if message.get(..3) != Some(&[2, 1, 6]) || message.get(FIXED..FIXED + 4) != Some(&COOKIE) {
            return Err(NoOffer::Other);
        }
        if message[4..8] != self.xid.to_be_bytes() || message[28..34] != self.mac {
            return Err(NoOffer::NotForUs);
        }
        let options = &message[FIXED + 4..];
        if option(options, MESSAGE_TYPE) != Some(&[OFFER]) {
            return Err(NoOffer::Other);
        }
        let (address, server) = (ip(&message[16..20]), option(options, SERVER).and_then(ip));
        let (Some(address), Some(server)) = (address, server) else { return Err(NoOffer::Nothing) };
        if !is_of_a_host(address) || !is_of_a_host(server) {
            return Err(NoOffer::Nothing);
        }
        let lease = option(options, LEASE_TIME).and_then(|octets| octets.try_into().ok());
        Ok(Offer {
            server,
            address,
            prefix_length: option(options, SUBNET_MASK).and_then(ip).and_then(prefix_length),
            router: option(options, ROUTER).and_then(|routers| ip(routers.get(..4)?)),
            lease: lease.map(|octets| Duration::from_secs(u32::from_be_bytes(octets).into())),
        })
    }
}

/// What is in a frame that a server sends.
fn payload(frame: &[u8]) -> Result<&[u8], NoOffer> {
    let half = |at: usize| frame.get(at..at + 2).map(|it| u16::from_be_bytes([it[0], it[1]]));
    if half(12).ok_or(NoOffer::Truncated)? != 0x0800 {
        return Err(NoOffer::Other);
    }
    let first = *frame.get(ETHERNET).ok_or(NoOffer::Truncated)?;
    let header = usize::from(first & 0x0f) * 4;
    let protocol = *frame.get(ETHERNET + 9).ok_or(NoOffer::Truncated)?;
    let is_fragment = half(ETHERNET + 6).ok_or(NoOffer::Truncated)? & 0x3fff != 0;
    if first >> 4 != 4 || header < IPV4 || protocol != IpNextHeaderProtocols::Udp.0 || is_fragment {
        return Err(NoOffer::Other);
    }
    let datagram = ETHERNET + header;
    let (from, to) = (half(datagram), half(datagram + 2));
    if (from, to) != (Some(SERVER_PORT), Some(CLIENT_PORT)) {
        return Err(NoOffer::Other);
    }
    let length = usize::from(half(datagram + 4).ok_or(NoOffer::Truncated)?);
    frame.get(datagram + UDP..datagram + length).ok_or(NoOffer::Truncated)
}

/// The value of the first option of a kind.
fn option(mut options: &[u8], kind: u8) -> Option<&[u8]> {
    loop {
        match *options {
            // A filler.
            [0, ref rest @ ..] => options = rest,
            // The end, or a kind without a length.
            [] | [255, ..] | [_] => return None,
            [this, length, ref rest @ ..] => {
                let (value, after) = rest.split_at_checked(usize::from(length))?;
                if this == kind {
                    return Some(value);
                }
                options = after;
            }
        }
    }
}

fn ip(octets: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from)
}

fn prefix_length(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (bits.checked_shl(ones).unwrap_or(0) == 0).then(|| u8::try_from(ones).ok()).flatten()
}

fn is_of_a_host(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUESTION: Question = Question { mac: [2, 0, 0, 0, 0, 1], xid: 0x1234_5678, wanted: None };

    /// A server's answer to our question, with these options, from the question itself.
    fn answer(options: &[u8]) -> Vec<u8> {
        let mut frame = QUESTION.frame();
        let message = ETHERNET + IPV4 + UDP;
        frame.truncate(message + FIXED + 4);
        frame.extend_from_slice(options);
        frame.push(255);
        let length = u16::try_from(frame.len() - ETHERNET - IPV4).unwrap();
        let datagram = ETHERNET + IPV4;
        frame[datagram..datagram + 6].copy_from_slice(&[
            0,
            67,
            0,
            68,
            length.to_be_bytes()[0],
            length.to_be_bytes()[1],
        ]);
        frame[message] = 2;
        frame[message + 16..message + 20].copy_from_slice(&[192, 0, 2, 57]);
        frame
    }

    const OFFERED: [u8; 9] = [MESSAGE_TYPE, 1, OFFER, SERVER, 4, 192, 0, 2, 1];

    #[test]
    fn a_question_is_a_broadcast_that_asks_for_no_lease() {
        let frame = QUESTION.frame();
        assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(frame.len(), ETHERNET + IPV4 + UDP + LEAST);
        let message = &frame[ETHERNET + IPV4 + UDP..];
        assert_eq!(message[..12], [1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0]);
        let options = &message[FIXED + 4..];
        assert_eq!(option(options, MESSAGE_TYPE), Some(&[DISCOVER][..]));
        assert_eq!(option(options, CLIENT).map(|client| client[0]), Some(0), "another client than the host");
        assert_eq!(option(options, REQUESTED), None);
        // One's complement sums of what a header says of itself come to nothing.
        let sum = frame[ETHERNET..ETHERNET + IPV4]
            .chunks(2)
            .fold(0_u32, |sum, half| sum + u32::from(u16::from_be_bytes([half[0], half[1]])));
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn each_address_that_is_asked_for_is_asked_for_by_a_client_of_its_own() {
        let of = |last: u8| {
            let frame = Question { wanted: Some([192, 0, 2, last].into()), ..QUESTION }.frame();
            assert_eq!(frame.len(), QUESTION.frame().len());
            let options = &frame[ETHERNET + IPV4 + UDP + FIXED + 4..];
            assert_eq!(option(options, MESSAGE_TYPE), Some(&[DISCOVER][..]));
            assert_eq!(option(options, REQUESTED), Some(&[192, 0, 2, last][..]));
            option(options, CLIENT).unwrap().to_vec()
        };
        assert_ne!(of(7), of(8));
        assert_eq!(of(7), of(7));
    }

    #[test]
    fn an_offer_is_read() {
        let options = [
            &OFFERED[..],
            &[SUBNET_MASK, 4, 255, 255, 255, 0, ROUTER, 4, 192, 0, 2, 254, 0, LEASE_TIME, 4, 0, 0, 14, 16],
        ];
        let offer = QUESTION.offer(&answer(&options.concat())).unwrap();
        let expected = Offer {
            server: [192, 0, 2, 1].into(),
            address: [192, 0, 2, 57].into(),
            prefix_length: Some(24),
            router: Some([192, 0, 2, 254].into()),
            lease: Some(Duration::from_hours(1)),
        };
        assert_eq!(offer, expected);
        let bare = QUESTION.offer(&answer(&OFFERED)).unwrap();
        assert_eq!((bare.prefix_length, bare.router, bare.lease), (None, None, None));
    }

    #[test]
    fn what_is_no_offer_to_us_says_why() {
        let good = answer(&OFFERED);
        let message = ETHERNET + IPV4 + UDP;
        let with = |at: usize, byte: u8| {
            let mut frame = good.clone();
            frame[at] = byte;
            QUESTION.offer(&frame)
        };
        assert!(QUESTION.offer(&good).is_ok());
        assert_eq!(with(message + 4, 0), Err(NoOffer::NotForUs));
        assert_eq!(with(message + 28, 4), Err(NoOffer::NotForUs));
        assert_eq!(with(message, 1), Err(NoOffer::Other), "a request");
        assert_eq!(with(message + FIXED + 4 + 2, 5), Err(NoOffer::Other), "an acknowledgement");
        assert_eq!(
            with(message + 16, 0),
            Ok(Offer { address: [0, 0, 2, 57].into(), ..QUESTION.offer(&good).unwrap() })
        );
        assert_eq!(with(message + 16, 224), Err(NoOffer::Nothing));
        assert_eq!(with(ETHERNET + IPV4 + 3, 67), Err(NoOffer::Other), "another port");
        assert_eq!(with(ETHERNET + IPV4 + 5, 255), Err(NoOffer::Truncated), "a length that is too long");
        assert_eq!(QUESTION.offer(&answer(&OFFERED[..3])), Err(NoOffer::Nothing), "no server");
        assert_eq!(QUESTION.offer(&QUESTION.frame()), Err(NoOffer::Other), "our own");
    }

    proptest! {
        #[test]
        fn no_frame_panics(at in 0..400_usize, bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..400_usize) {
            let mut frame = answer(&OFFERED);
            for (offset, byte) in bytes.into_iter().enumerate() {
                match frame.get_mut(at + offset) {
                    Some(other) => *other = byte,
                    None => frame.push(byte),
                }
            }
            _ = QUESTION.offer(&frame);
            frame.truncate(cut);
            _ = QUESTION.offer(&frame);
        }
    }
}
