//! Router advertisements and solicitations as octets (RFC 4861 sections 4.1 and 4.2).

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::wire::Octets;

/// The type of router advertisements in ICMPv6.
pub const ADVERTISEMENT_TYPE: u8 = 134;
const SOLICITATION_TYPE: u8 = 133;
/// Messages are sent with this hop limit, and count with no other: no router has forwarded them.
pub const HOP_LIMIT: u8 = 255;

/// One that says nothing but who sends it: this is no default router, and hosts keep the parameters that they have.
pub(super) fn advertisement() -> Vec<u8> {
    let mut octets = vec![0; 16];
    octets[0] = ADVERTISEMENT_TYPE;
    octets
}

/// Asks routers to advertise themselves.
pub(super) fn solicitation() -> Vec<u8> {
    let mut octets = vec![0; 8];
    octets[0] = SOLICITATION_TYPE;
    octets
}

/// The router lifetime of an advertisement that is valid by RFC 4861 section 6.1.2.
pub(super) fn read(from: Ipv6Addr, hop_limit: u8, octets: &[u8]) -> Option<Duration> {
    let mut octets = Octets(octets);
    let (kind, code, _checksum) = (octets.u8()?, octets.u8()?, octets.u16()?);
    let (_hop_limit, _flags, lifetime) = (octets.u8()?, octets.u8()?, octets.u16()?);
    let (_reachable, _retransmit) = (octets.u32()?, octets.u32()?);
    while !octets.is_empty() {
        let (_kind, length) = (octets.u8()?, usize::from(octets.u8()?));
        octets.take((length * 8).checked_sub(2)?)?;
    }
    let is_valid = (kind, code, hop_limit) == (ADVERTISEMENT_TYPE, 0, HOP_LIMIT);
    (is_valid && from.is_unicast_link_local()).then(|| Duration::from_secs(lifetime.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(read(ROUTER, HOP_LIMIT, &advertisement()), Some(Duration::ZERO));
        assert_eq!(read(ROUTER, HOP_LIMIT, &solicitation()), None);
    }

    #[test]
    fn an_advertisement_is_read_past_its_options_and_refused_if_it_is_not_valid() {
        let options = [&[1, 1, 2, 0, 0, 0, 0, 1][..], &[25, 3], &[7; 22]].concat();
        let mut valid = advertisement();
        valid[6..8].copy_from_slice(&30_u16.to_be_bytes());
        valid.extend(options);
        assert_eq!(read(ROUTER, HOP_LIMIT, &valid), Some(Duration::from_secs(30)));
        for length in (0..valid.len()).filter(|length| ![16, 24].contains(length)) {
            assert_eq!(read(ROUTER, HOP_LIMIT, &valid[..length]), None, "{length} octets");
        }
        assert_eq!(read(ROUTER, HOP_LIMIT - 1, &valid), None, "a router has forwarded it");
        assert_eq!(read("2001:db8::1".parse().unwrap(), HOP_LIMIT, &valid), None, "no link-local address");
        let changed = |at: usize, to| {
            let mut octets = valid.clone();
            octets[at] = to;
            read(ROUTER, HOP_LIMIT, &octets)
        };
        assert_eq!(changed(0, 135), None, "another type");
        assert_eq!(changed(1, 1), None, "another code");
        assert_eq!(changed(17, 0), None, "an option without a length");
    }
}
