//! What sockets let through: classic BPF. A flood that is from nobody who is expected takes neither the room of a socket nor the
//! time of the thread.
//!
//! The discriminator of a session is random. Whoever does not see its packets cannot name it, so as long as a session is up,
//! nothing counts but what does: not even what comes in the name of the peer. A peer that has started anew names none; it is
//! heard as soon as it was missed for the detection time.
#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the C library, and offsets within programs that are short"
)]

use std::net::IpAddr;
use std::num::NonZeroU32;

use bfd::config::{ECHO_PORT, SENT_TTL, SINGLE_HOP_PORT};
use objects::Family;
use socket2::SockFilter;

use crate::packet_socket::{
    JUMP_AT_LEAST, JUMP_EQUAL, JUMP_SET, LOAD_BYTE, LOAD_HALF, LOAD_HALF_BEHIND, LOAD_HEADER_LENGTH,
    LOAD_WORD, LOAD_WORD_BEHIND, PACKET_TYPE, RETURN,
};

/// A session whose packets arrive at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expected {
    /// Who sends them.
    pub(super) peer: IpAddr,
    /// The smallest TTL that they arrive with.
    pub(super) least_ttl: u8,
    /// What they call the session,
    pub(super) discriminator: NonZeroU32,
    /// in any case; else they may also call it nothing.
    pub(super) knows_discriminator: bool,
}

/// The most instructions that a program may have, and the farthest that one may jump. With more sessions than fit, everything
/// is let through.
const LONGEST: usize = 4096;
const FARTHEST: usize = 255;

/// A socket of UDP sees packets from the UDP header on; what is before that is counted from here.
const NETWORK: u32 = libc::SKF_NET_OFF.cast_unsigned();
const ETHERNET: u32 = 14;
const IPV6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;
/// Where control packets have ours.
const DISCRIMINATOR: u32 = 8;

/// Of a socket that control packets arrive at.
pub(super) fn control(expected: &[Expected]) -> Vec<SockFilter> {
    any(expected.iter().map(|it| {
        let mut named = vec![it.discriminator.get()];
        named.extend((!it.knows_discriminator).then_some(0));
        let discriminator = [Step::Load(LOAD_WORD, UDP_HEADER + DISCRIMINATOR), Step::Is(named)];
        from(it.peer, it.least_ttl).into_iter().chain(discriminator).collect()
    }))
}

/// Of a socket that echo packets of peers arrive at, to be sent back.
pub(super) fn echo(expected: &[Expected]) -> Vec<SockFilter> {
    any(expected.iter().map(|it| from(it.peer, SENT_TTL)))
}

/// Of a socket that whole frames arrive at: control packets over one hop and echo packets that come back, if they name one of
/// these sessions.
pub(super) fn frames(family: Family, discriminators: &[NonZeroU32]) -> Vec<SockFilter> {
    const TO_THIS_HOST: u32 = libc::PACKET_HOST as u32;
    const UDP: u32 = libc::IPPROTO_UDP as u32;
    const FRAGMENT: u32 = 0x3fff;
    if discriminators.is_empty() {
        return any([]);
    }
    let named: Vec<u32> = discriminators.iter().map(|it| it.get()).collect();
    let of_port = |port: u16, at: u32| {
        let mut steps = vec![Step::Load(LOAD_WORD, PACKET_TYPE), Step::Is(vec![TO_THIS_HOST])];
        let (half, word, payload) = match family {
            Family::V4 => {
                steps.extend([Step::Load(LOAD_BYTE, ETHERNET + 9), Step::Is(vec![UDP])]);
                steps.extend([Step::Load(LOAD_HALF, ETHERNET + 6), Step::HasNone(FRAGMENT)]);
                steps.push(Step::Load(LOAD_HEADER_LENGTH, ETHERNET));
                (LOAD_HALF_BEHIND, LOAD_WORD_BEHIND, ETHERNET)
            }
            Family::V6 => {
                steps.extend([Step::Load(LOAD_BYTE, ETHERNET + 6), Step::Is(vec![UDP])]);
                (LOAD_HALF, LOAD_WORD, ETHERNET + IPV6_HEADER)
            }
        };
        steps.extend([Step::Load(half, payload + 2), Step::Is(vec![port.into()])]);
        steps.extend([Step::Load(word, payload + UDP_HEADER + at), Step::Is(named.clone())]);
        steps
    };
    any([of_port(SINGLE_HOP_PORT, DISCRIMINATOR), of_port(ECHO_PORT, 0)])
}

/// Part of a program.
enum Step {
    /// Loads something to look at.
    Load(u16, u32),
    /// It has to be one of these,
    Is(Vec<u32>),
    /// or not to be below this,
    AtLeast(u32),
    /// or to have none of these bits.
    HasNone(u32),
}

/// Checks of the source address and the TTL.
fn from(peer: IpAddr, least_ttl: u8) -> Vec<Step> {
    let (words, source, ttl) = match peer {
        IpAddr::V4(v4) => (vec![v4.to_bits()], 12, 8),
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let (words, _) = octets.as_chunks::<4>();
            (words.iter().map(|word| u32::from_be_bytes(*word)).collect(), 8, 7)
        }
    };
    let places = (NETWORK + source..).step_by(4);
    let compare = |(word, at)| [Step::Load(LOAD_WORD, at), Step::Is(vec![word])];
    let ttl = [Step::Load(LOAD_BYTE, NETWORK + ttl), Step::AtLeast(least_ttl.into())];
    words.into_iter().zip(places).flat_map(compare).chain(ttl).collect()
}

/// Lets through what passes all steps of one of these.
fn any(blocks: impl IntoIterator<Item = Vec<Step>>) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for steps in blocks {
        let length = |step: &Step| match step {
            Step::Is(values) => values.len(),
            Step::Load(..) | Step::AtLeast(_) | Step::HasNone(_) => 1,
        };
        let end = steps.iter().map(length).sum::<usize>();
        if end > FARTHEST || program.len() + end + 1 >= LONGEST {
            return vec![SockFilter::new(RETURN, 0, 0, u32::MAX)];
        }
        let begin = program.len();
        for step in steps {
            // From the next instruction to what follows the one that lets through.
            let past_end = |at: usize| (begin + end - at) as u8;
            let at = program.len();
            match step {
                Step::Load(code, place) => program.push(SockFilter::new(code, 0, 0, place)),
                Step::AtLeast(least) => program.push(SockFilter::new(JUMP_AT_LEAST, 0, past_end(at), least)),
                Step::HasNone(bits) => program.push(SockFilter::new(JUMP_SET, past_end(at), 0, bits)),
                Step::Is(values) => {
                    let after = at + values.len();
                    for value in values {
                        let at = program.len();
                        let is_last = at + 1 == after;
                        let found = (after - at - 1) as u8;
                        let other = if is_last { past_end(at) } else { 0 };
                        program.push(SockFilter::new(JUMP_EQUAL, found, other, value));
                    }
                }
            }
        }
        program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    }
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    use socket2::SockRef;

    use super::*;

    fn expected(peer: IpAddr, least_ttl: u8, discriminator: u32, knows_discriminator: bool) -> Expected {
        let discriminator = NonZeroU32::new(discriminator).unwrap();
        Expected { peer, least_ttl, discriminator, knows_discriminator }
    }

    /// Which of these packets get through, by TTL and discriminator.
    fn let_through(address: IpAddr, program: &[SockFilter], packets: &[(u32, u32)]) -> Vec<(u32, u32)> {
        let receiver = UdpSocket::bind((address, 0)).unwrap();
        let receiver_address = receiver.local_addr().unwrap();
        SockRef::from(&receiver).attach_filter(program).unwrap();
        let sender = UdpSocket::bind((address, 0)).unwrap();
        for &(ttl, discriminator) in packets {
            let mut packet = [0; 24];
            packet[4..8].copy_from_slice(&ttl.to_be_bytes());
            packet[8..12].copy_from_slice(&discriminator.to_be_bytes());
            match address {
                IpAddr::V4(_) => SockRef::from(&sender).set_ttl_v4(ttl).unwrap(),
                IpAddr::V6(_) => SockRef::from(&sender).set_unicast_hops_v6(ttl).unwrap(),
            }
            sender.send_to(&packet, receiver_address).unwrap();
            sender.send_to(&packet[..11], receiver_address).unwrap();
        }
        receiver.set_nonblocking(true).unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(length) = receiver.recv(&mut buffer) {
            assert_eq!(length, 24, "what is too short says nothing");
            let word = |at: usize| u32::from_be_bytes(buffer[at..at + 4].try_into().unwrap());
            got.push((word(4), word(8)));
        }
        got
    }

    const PACKETS: [(u32, u32); 6] = [(255, 7), (255, 0), (255, 8), (254, 7), (64, 0), (255, 9)];

    #[test]
    fn what_names_a_session_comes_from_its_peer_and_from_near_gets_through() {
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let through = |all: &[Expected]| let_through(address, &control(all), &PACKETS);
            let stranger = "192.0.2.1".parse().unwrap();
            assert!(through(&[]).is_empty());
            assert!(through(&[expected(stranger, 0, 7, false)]).is_empty());
            assert_eq!(through(&[expected(address, 255, 7, true)]), [(255, 7)]);
            assert_eq!(through(&[expected(address, 254, 7, true)]), [(255, 7), (254, 7)]);
            assert_eq!(through(&[expected(address, 255, 7, false)]), [(255, 7), (255, 0)]);
            let several = [
                expected(stranger, 255, 8, true),
                expected(address, 255, 9, true),
                expected(address, 0, 7, false),
            ];
            assert_eq!(through(&several), [(255, 7), (255, 0), (254, 7), (64, 0), (255, 9)]);
        }
    }

    #[test]
    fn with_more_sessions_than_a_program_can_check_everything_gets_through() {
        let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let many: Vec<Expected> = (1..400).map(|number| expected(address, 255, number, true)).collect();
        assert_eq!(control(&many).len(), 1);
        assert!(control(&many[..200]).len() > 1000);
        assert_eq!(let_through(address, &control(&many[..200]), &PACKETS), [(255, 7), (255, 8), (255, 9)]);
        let discriminators: Vec<NonZeroU32> = many.iter().map(|it| it.discriminator).collect();
        assert_eq!(frames(Family::V4, &discriminators).len(), 1);
    }
}
