//! ARP for IPv4 over Ethernet (RFC 826), whole frames.

use std::net::Ipv4Addr;

use pnet_packet::Packet;
use pnet_packet::arp::{self, ArpHardwareTypes, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};

use crate::MacAddr;

/// The length of an ARP frame in bytes, without padding: Ethernet header and ARP packet.
pub(crate) const FRAME_LEN: usize = ETHERNET_LEN + ARP_LEN;

const ETHERNET_LEN: usize = EthernetPacket::minimum_packet_size();
const ARP_LEN: usize = ArpPacket::minimum_packet_size();

/// An Ethernet frame with an ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpFrame {
    /// Where the frame goes.
    pub destination: MacAddr,
    /// Where the frame comes from.
    pub source: MacAddr,
    /// What it is for.
    pub operation: ArpOperation,
    /// Who speaks.
    pub sender: Host,
    /// Who is asked for, or spoken to.
    pub target: Host,
}

/// A pair of addresses in an ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Hardware address (SHA or THA).
    pub mac: MacAddr,
    /// Protocol address (SPA or TPA).
    pub ip: Ipv4Addr,
}

/// What an ARP packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOperation {
    /// Asks for a hardware address.
    Request,
    /// Tells one.
    Reply,
}

/// Why bytes are no [`ArpFrame`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArpFrameError {
    /// The frame ends early.
    #[error("the frame has {0} bytes, ARP takes {FRAME_LEN}")]
    Truncated(usize),
    /// The frame carries something else.
    #[error("EtherType {0:#06x} is not ARP")]
    EtherType(u16),
    /// ARP for something else than IPv4 over Ethernet.
    #[error("hardware type {hardware} with protocol type {protocol:#06x} is not IPv4 over Ethernet")]
    Types {
        /// Hardware type.
        hardware: u16,
        /// Protocol type.
        protocol: u16,
    },
    /// The lengths of addresses are not those of IPv4 over Ethernet.
    #[error("addresses of {hardware} and {protocol} bytes are not those of IPv4 over Ethernet")]
    AddressLengths {
        /// Length of a hardware address in bytes.
        hardware: u8,
        /// Length of a protocol address in bytes.
        protocol: u8,
    },
    /// Neither a request nor a reply.
    #[error("operation {0} is neither request nor reply")]
    Operation(u16),
}

impl ArpFrame {
    /// The unasked request of a takeover: sender and target are both `vip`, at `mac`.
    pub fn gratuitous_request(mac: MacAddr, vip: Ipv4Addr) -> Self {
        Self {
            destination: MacAddr::BROADCAST,
            source: mac,
            operation: ArpOperation::Request,
            sender: Host { mac, ip: vip },
            target: Host { mac: MacAddr::ZERO, ip: vip },
        }
    }

    /// The unasked reply of a takeover. Its two hardware addresses are the same (RFC 5944 section 4.6):
    /// Linux holds other replies off for a second after the last update of an entry.
    pub fn gratuitous_reply(mac: MacAddr, vip: Ipv4Addr) -> Self {
        Self {
            destination: MacAddr::BROADCAST,
            source: mac,
            operation: ArpOperation::Reply,
            sender: Host { mac, ip: vip },
            target: Host { mac, ip: vip },
        }
    }

    /// Asks whether anybody has `vip` (RFC 5227 section 2.1.1). Who hears it learns nothing from it.
    pub fn probe(mac: MacAddr, vip: Ipv4Addr) -> Self {
        Self {
            destination: MacAddr::BROADCAST,
            source: mac,
            operation: ArpOperation::Request,
            sender: Host { mac, ip: Ipv4Addr::UNSPECIFIED },
            target: Host { mac: MacAddr::ZERO, ip: vip },
        }
    }

    /// Tells `asker` that `vip` is at `mac`.
    pub fn reply(mac: MacAddr, vip: Ipv4Addr, asker: Host) -> Self {
        Self {
            destination: asker.mac,
            source: mac,
            operation: ArpOperation::Reply,
            sender: Host { mac, ip: vip },
            target: asker,
        }
    }

    /// Reads a frame. Bytes beyond the ARP packet are padding, whatever they are.
    pub fn parse(frame: &[u8]) -> Result<Self, ArpFrameError> {
        let truncated = ArpFrameError::Truncated(frame.len());
        let ethernet = EthernetPacket::new(frame).ok_or(truncated)?;
        if ethernet.get_ethertype() != EtherTypes::Arp {
            return Err(ArpFrameError::EtherType(ethernet.get_ethertype().0));
        }
        let arp = ArpPacket::new(ethernet.payload()).ok_or(truncated)?;
        let (hardware, protocol) = (arp.get_hardware_type(), arp.get_protocol_type());
        if (hardware, protocol) != (ArpHardwareTypes::Ethernet, EtherTypes::Ipv4) {
            return Err(ArpFrameError::Types { hardware: hardware.0, protocol: protocol.0 });
        }
        let lengths = (arp.get_hw_addr_len(), arp.get_proto_addr_len());
        if lengths != (6, 4) {
            return Err(ArpFrameError::AddressLengths { hardware: lengths.0, protocol: lengths.1 });
        }
        Ok(Self {
            destination: ethernet.get_destination().into(),
            source: ethernet.get_source().into(),
            operation: match arp.get_operation() {
                arp::ArpOperations::Request => ArpOperation::Request,
                arp::ArpOperations::Reply => ArpOperation::Reply,
                arp::ArpOperation(other) => return Err(ArpFrameError::Operation(other)),
            },
            sender: Host { mac: arp.get_sender_hw_addr().into(), ip: arp.get_sender_proto_addr() },
            target: Host { mac: arp.get_target_hw_addr().into(), ip: arp.get_target_proto_addr() },
        })
    }

    /// The bytes of the frame, without padding.
    pub fn emit(&self) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        let (header, body) = frame.split_at_mut(ETHERNET_LEN);

        let mut ethernet = MutableEthernetPacket::new(header).expect("the header has the right size");
        ethernet.set_destination(self.destination.into());
        ethernet.set_source(self.source.into());
        ethernet.set_ethertype(EtherTypes::Arp);

        let mut arp = MutableArpPacket::new(body).expect("the body has the right size");
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(match self.operation {
            ArpOperation::Request => arp::ArpOperations::Request,
            ArpOperation::Reply => arp::ArpOperations::Reply,
        });
        arp.set_sender_hw_addr(self.sender.mac.into());
        arp.set_sender_proto_addr(self.sender.ip);
        arp.set_target_hw_addr(self.target.mac.into());
        arp.set_target_proto_addr(self.target.ip);
        frame
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    /// "Who has 192.0.2.10? Tell 192.0.2.1", by broadcast.
    #[rustfmt::skip]
    const REQUEST: [u8; FRAME_LEN] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  2, 0, 0, 0, 0, 2,  0x08, 0x06,
        0, 1,  0x08, 0,  6,  4,  0, 1,
        2, 0, 0, 0, 0, 2,  192, 0, 2, 1,
        0, 0, 0, 0, 0, 0,  192, 0, 2, 10,
    ];

    fn request() -> ArpFrame {
        ArpFrame {
            destination: MacAddr::BROADCAST,
            source: THEIRS,
            operation: ArpOperation::Request,
            sender: Host { mac: THEIRS, ip: CLIENT },
            target: Host { mac: MacAddr::ZERO, ip: VIP },
        }
    }

    #[test]
    fn the_same_bytes_are_read_and_written() {
        assert_eq!(ArpFrame::parse(&REQUEST), Ok(request()));
        assert_eq!(request().emit(), REQUEST);
    }

    #[test]
    #[rustfmt::skip]
    fn a_reply_goes_to_who_asked() {
        assert_eq!(ArpFrame::reply(OURS, VIP, request().sender).emit(), [
            2, 0, 0, 0, 0, 2,  2, 0, 0, 0, 0, 1,  0x08, 0x06,
            0, 1,  0x08, 0,  6,  4,  0, 2,
            2, 0, 0, 0, 0, 1,  192, 0, 2, 10,
            2, 0, 0, 0, 0, 2,  192, 0, 2, 1,
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn a_takeover_is_told_by_a_request_and_by_a_reply_to_oneself() {
        assert_eq!(ArpFrame::gratuitous_request(OURS, VIP).emit(), [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  2, 0, 0, 0, 0, 1,  0x08, 0x06,
            0, 1,  0x08, 0,  6,  4,  0, 1,
            2, 0, 0, 0, 0, 1,  192, 0, 2, 10,
            0, 0, 0, 0, 0, 0,  192, 0, 2, 10,
        ]);
        assert_eq!(ArpFrame::gratuitous_reply(OURS, VIP).emit(), [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  2, 0, 0, 0, 0, 1,  0x08, 0x06,
            0, 1,  0x08, 0,  6,  4,  0, 2,
            2, 0, 0, 0, 0, 1,  192, 0, 2, 10,
            2, 0, 0, 0, 0, 1,  192, 0, 2, 10,
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn a_probe_tells_nobody_anything() {
        assert_eq!(ArpFrame::probe(OURS, VIP).emit(), [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  2, 0, 0, 0, 0, 1,  0x08, 0x06,
            0, 1,  0x08, 0,  6,  4,  0, 1,
            2, 0, 0, 0, 0, 1,  0, 0, 0, 0,
            0, 0, 0, 0, 0, 0,  192, 0, 2, 10,
        ]);
    }

    #[test]
    fn what_is_not_arp_for_ipv4_over_ethernet_says_what_it_is() {
        let with = |at: usize, value: u8| {
            let mut frame = REQUEST;
            frame[at] = value;
            ArpFrame::parse(&frame).unwrap_err()
        };
        assert_eq!(with(12, 0x86), ArpFrameError::EtherType(0x8606));
        assert_eq!(with(15, 6), ArpFrameError::Types { hardware: 6, protocol: 0x0800 });
        assert_eq!(with(17, 1), ArpFrameError::Types { hardware: 1, protocol: 0x0801 });
        assert_eq!(with(18, 8), ArpFrameError::AddressLengths { hardware: 8, protocol: 4 });
        assert_eq!(with(19, 16), ArpFrameError::AddressLengths { hardware: 6, protocol: 16 });
        assert_eq!(with(21, 3), ArpFrameError::Operation(3));
    }

    #[test]
    fn every_truncation_is_refused_and_padding_is_ignored() {
        for length in 0..FRAME_LEN {
            assert_eq!(ArpFrame::parse(&REQUEST[..length]), Err(ArpFrameError::Truncated(length)));
        }
        let padded = [&REQUEST[..], &[0xaa; 18]].concat();
        assert_eq!(ArpFrame::parse(&padded), Ok(request()));
    }

    fn frames() -> impl Strategy<Value = ArpFrame> {
        let host =
            || (any::<[u8; 6]>(), any::<Ipv4Addr>()).prop_map(|(mac, ip)| Host { mac: MacAddr(mac), ip });
        let operation = prop_oneof![Just(ArpOperation::Request), Just(ArpOperation::Reply)];
        (any::<[u8; 6]>(), any::<[u8; 6]>(), operation, host(), host()).prop_map(
            |(destination, source, operation, sender, target)| ArpFrame {
                destination: MacAddr(destination),
                source: MacAddr(source),
                operation,
                sender,
                target,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(frame in frames()) {
            prop_assert_eq!(ArpFrame::parse(&frame.emit()), Ok(frame));
        }

        #[test]
        fn what_is_read_can_be_written(mut bytes in proptest::array::uniform::<_, FRAME_LEN>(any::<u8>())) {
            // The fixed fields are put right, or hardly any of the inputs would be ARP.
            bytes[12..21].copy_from_slice(&REQUEST[12..21]);
            if let Ok(frame) = ArpFrame::parse(&bytes) {
                prop_assert_eq!(frame.emit(), bytes);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = ArpFrame::parse(&bytes);
        }

        #[test]
        fn no_damage_to_a_good_frame_panics(at in 0..FRAME_LEN, value: u8, length in 0..=FRAME_LEN) {
            let mut bytes = REQUEST;
            bytes[at] = value;
            let _ = ArpFrame::parse(&bytes[..length]);
        }
    }
}
