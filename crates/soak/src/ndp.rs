//! Neighbour discovery as it is on the wire (RFC 4861), by plain offsets: what is checked must not be read with the
//! reader that it has itself.

use std::net::Ipv6Addr;

use e2e::arp::Mac;

/// ETH_P_IPV6
pub(crate) const ETHER_TYPE: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: [u8; 2] = [1, 1];
const TARGET_LINK_LAYER: [u8; 2] = [2, 1];
/// Of a message with one option.
const LENGTH: usize = 32;
const ETHERNET: usize = 14;
const IP: usize = 40;

/// What a host with this network card asks that wants to reach `target`.
pub(crate) fn question(from: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    // RFC 4291 section 2.7.1, and RFC 2464 section 7.
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message =
        [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), &SOURCE_LINK_LAYER, &from.0].concat();
    let sum = checksum(source, group, &message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let ethernet = [&[0x33, 0x33, 0xff, a, b, c][..], &from.0, &ETHER_TYPE.to_be_bytes()].concat();
    let length = u16::try_from(message.len()).expect("a message is short").to_be_bytes();
    let ip = [&[0x60, 0, 0, 0][..], &length, &[ICMPV6, 255], &source.octets(), &group.octets()].concat();
    [ethernet, ip, message].concat()
}

/// Of an answer to `to`: for which address, and whose network card has it. None if the frame is anything else.
pub(crate) fn answer(frame: &[u8], to: Mac) -> Option<(Ipv6Addr, Mac)> {
    let (ethernet, rest) = frame.split_at_checked(ETHERNET)?;
    let (ip, message) = rest.split_at_checked(IP)?;
    let message: &[u8; LENGTH] = message.first_chunk()?;
    let is_answer = ethernet[..6] == to.0
        && ethernet[12..] == ETHER_TYPE.to_be_bytes()
        && ip[6] == ICMPV6
        && message[0] == ADVERTISEMENT
        && message[24..26] == TARGET_LINK_LAYER;
    let address = Ipv6Addr::from_octets(message[8..24].try_into().ok()?);
    is_answer.then_some((address, Mac(message[26..].try_into().ok()?)))
}

/// RFC 4443 section 2.3, and RFC 8200 section 8.1.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).expect("a message is short");
    let all = [
        &source.octets()[..],
        &destination.octets(),
        &length.to_be_bytes(),
        &u32::from(ICMPV6).to_be_bytes(),
        message,
    ]
    .concat();
    let words =
        all.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Mac = Mac([2, 0, 0, 0, 0, 0x97]);
    const OWNER: Mac = Mac([2, 0, 0xac, 0x10, 0xd3, 0x0b]);

    #[test]
    fn a_question_goes_to_the_group_of_the_address_with_a_good_checksum() {
        let (source, target) = ("fe80::97".parse().unwrap(), "fd00:172:16:211::203".parse().unwrap());
        let frame = question(ASKER, source, target);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0, 0x02, 0x03]);
        assert_eq!(frame.len(), ETHERNET + IP + LENGTH);
        let group = Ipv6Addr::from_octets(frame[38..54].try_into().unwrap());
        assert_eq!(group, "ff02::1:ff00:203".parse::<Ipv6Addr>().unwrap());
        // The sum over a message with its checksum is nothing.
        assert_eq!(checksum(source, group, &frame[ETHERNET + IP..]), 0);
    }

    #[test]
    fn an_answer_names_the_address_and_its_card() {
        let target: Ipv6Addr = "fd00:172:16:211::203".parse().unwrap();
        let message =
            [&[ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0][..], &target.octets(), &TARGET_LINK_LAYER, &OWNER.0]
                .concat();
        let ip = [&[0x60, 0, 0, 0, 0, 32, ICMPV6, 255][..], &[0; 32]].concat();
        let ethernet = [&ASKER.0[..], &OWNER.0, &ETHER_TYPE.to_be_bytes()].concat();
        let frame = [ethernet, ip, message].concat();
        assert_eq!(answer(&frame, ASKER), Some((target, OWNER)));
        assert_eq!(answer(&frame, OWNER), None, "it is for somebody else");
        for length in 0..frame.len() {
            assert_eq!(answer(&frame[..length], ASKER), None);
        }
        assert_eq!(answer(&question(ASKER, "fe80::97".parse().unwrap(), target), ASKER), None);
    }
}
