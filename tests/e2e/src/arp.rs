//! ARP as it is on the wire (RFC 826), by plain offsets: the tests must not read with the reader that they test.

use std::fmt;
use std::net::Ipv4Addr;

use lab::Host;

/// The length of an ARP frame without padding.
pub const LEN: usize = 42;

/// What follows the Ethernet addresses up to the operation: EtherType, hardware and protocol type, address lengths.
const FIXED: [u8; 8] = [0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4];

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

/// An ARP frame for IPv4 over Ethernet, all of its fields but the fixed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Where the frame goes.
    pub destination: Mac,
    /// Where it comes from.
    pub source: Mac,
    /// 1 for a request, 2 for a reply.
    pub operation: u16,
    /// SHA and SPA.
    pub sender: (Mac, Ipv4Addr),
    /// THA and TPA.
    pub target: (Mac, Ipv4Addr),
}

impl Mac {
    /// Everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// Nobody.
    pub const ZERO: Self = Self([0; 6]);

    /// That of a host's network card.
    pub fn of(host: Host) -> Self {
        let text = host.mac();
        let mut bytes = [0; 6];
        for (byte, digits) in bytes.iter_mut().zip(text.split(':')) {
            *byte = u8::from_str_radix(digits, 16).expect("the lab writes its hardware addresses well");
        }
        Self(bytes)
    }
}

impl Arp {
    /// What a host asks that wants to reach `address`.
    pub fn question(from: Host, address: Ipv4Addr) -> Self {
        let mac = Mac::of(from);
        Self {
            destination: Mac::BROADCAST,
            source: mac,
            operation: 1,
            sender: (mac, from.ipv4()),
            target: (Mac::ZERO, address),
        }
    }

    /// Reads a frame; `None` if it is anything else.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let frame: &[u8; LEN] = frame.first_chunk()?;
        let mac = |at: usize| Mac(frame[at..at + 6].try_into().expect("six bytes"));
        let address = |at: usize| Ipv4Addr::from_octets(frame[at..at + 4].try_into().expect("four bytes"));
        (frame[12..20] == FIXED).then(|| Self {
            destination: mac(0),
            source: mac(6),
            operation: u16::from_be_bytes([frame[20], frame[21]]),
            sender: (mac(22), address(28)),
            target: (mac(32), address(38)),
        })
    }

    /// The frame's bytes.
    pub fn write(&self) -> Vec<u8> {
        let Self { destination, source, operation, sender, target } = self;
        [
            &destination.0[..],
            &source.0,
            &FIXED,
            &operation.to_be_bytes(),
            &sender.0.0,
            &sender.1.octets(),
            &target.0.0,
            &target.1.octets(),
        ]
        .concat()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl fmt::Display for Arp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, source, operation, sender, target } = self;
        write!(
            f,
            "{source} > {destination} op {operation} sender {} {} target {} {}",
            sender.0, sender.1, target.0, target.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_written_as_the_standard_has_it() {
        let question = Arp::question(Host::Client, Ipv4Addr::new(172, 16, 211, 200));
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  2, 0, 0xac, 0x10, 0xd3, 0x64,  0x08, 0x06,
            0, 1,  0x08, 0,  6,  4,  0, 1,
            2, 0, 0xac, 0x10, 0xd3, 0x64,  172, 16, 211, 100,
            0, 0, 0, 0, 0, 0,  172, 16, 211, 200,
        ];
        assert_eq!(question.write(), expected);
        assert_eq!(Arp::read(&expected), Some(question));
        assert_eq!(Arp::read(&expected[..41]), None);
    }
}
