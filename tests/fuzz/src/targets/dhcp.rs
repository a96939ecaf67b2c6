//! What a host that says that it is a DHCP server may answer a question with.

use std::net::Ipv4Addr;

use dhcp::Question;

const QUESTION: Question = Question { mac: [2, 0, 0, 0, 0, 1], xid: 0x1234_5678, wanted: None };
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
/// Where options begin in a message: after the fixed fields and the cookie.
const OPTIONS: usize = 240;

/// A frame as it is; and an offer to this question, with these bytes as its addresses and options.
pub fn play(bytes: &[u8]) {
    check(bytes);
    let (addresses, options) = bytes.split_at(bytes.len().min(8));
    let mut frame = QUESTION.frame();
    let message = ETHERNET + IPV4 + UDP;
    frame.truncate(message + OPTIONS);
    frame.extend_from_slice(&options[..options.len().min(1200)]);
    frame[message] = 2;
    frame[message + 16..][..addresses.len()].copy_from_slice(addresses);
    let length = u16::try_from(frame.len() - ETHERNET - IPV4).unwrap().to_be_bytes();
    frame[ETHERNET + IPV4..][..6].copy_from_slice(&[0, 67, 0, 68, length[0], length[1]]);
    check(&frame);
}

fn check(frame: &[u8]) {
    let Ok(offer) = QUESTION.offer(frame) else { return };
    for ip in [offer.server, offer.address] {
        assert!(!ip.is_multicast() && !ip.is_loopback() && ip != Ipv4Addr::BROADCAST, "{ip} is no host");
    }
    assert!(offer.prefix_length.is_none_or(|length| length <= 32));
    // Nobody else's question is answered by it.
    let other = Question { xid: !QUESTION.xid, ..QUESTION };
    assert!(other.offer(frame).is_err());
}
