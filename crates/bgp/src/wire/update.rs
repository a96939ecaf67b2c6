//! UPDATE: prefixes that come and go (RFC 4271 section 4.3, RFC 4760).

use std::net::{IpAddr, Ipv6Addr};

use objects::Family;

use crate::route::{Attributes, Prefix};
use crate::wire::attributes::{Context, Tenure, code, read, write, write_all};
use crate::wire::header::{HEADER, Kind, MOST, message};
use crate::wire::notification::Notification;
use crate::wire::{Octets, UNICAST, afi, family, nlri};

/// The two lengths that every UPDATE has.
const LENGTHS: usize = 4;
/// Flags, code and a length of two octets.
const LONG_ATTRIBUTE: usize = 4;

/// Announces as many of `prefixes` as fit into one message, all of one family, and returns those that do not.
///
/// IPv4 prefixes by an IPv4 address stand at the end, as they always did; all others in MP_REACH_NLRI, which comes first
/// (RFC 7606 section 5.1). An IPv6 next hop of IPv4 prefixes is for peers that know RFC 8950; an IPv4 next hop of IPv6
/// prefixes does not exist, and is written as an IPv4-mapped address.
pub fn announce<'a>(
    attributes: &Attributes,
    tenure: Tenure,
    next_hop: IpAddr,
    context: Context,
    prefixes: &'a [Prefix],
) -> (Vec<u8>, &'a [Prefix]) {
    let family = prefixes.first().map_or(Family::V4, |prefix| prefix.family());
    let mut others = Vec::new();
    match (family, next_hop) {
        (Family::V4, IpAddr::V4(next_hop)) => {
            write_all(&mut others, attributes, tenure, Some(next_hop), context);
            let (octets, rest) = nlri::fill(prefixes, MOST - HEADER - LENGTHS - others.len());
            (update(&[], &others, &octets), rest)
        }
        (family, next_hop) => {
            write_all(&mut others, attributes, tenure, None, context);
            let mut value = mp_head(family);
            value.push(16);
            value.extend(v6(next_hop).octets());
            value.push(0);
            let taken = HEADER + LENGTHS + LONG_ATTRIBUTE + value.len() + others.len();
            let (octets, rest) = nlri::fill(prefixes, MOST - taken);
            value.extend(octets);
            let mut all = Vec::new();
            write(&mut all, code::MP_REACH, &value);
            all.extend(others);
            (update(&[], &all, &[]), rest)
        }
    }
}

/// Withdraws as many of `prefixes` as fit into one message, all of one family, and returns those that do not.
pub fn withdraw(prefixes: &[Prefix]) -> (Vec<u8>, &[Prefix]) {
    match prefixes.first().map_or(Family::V4, |prefix| prefix.family()) {
        Family::V4 => {
            let (octets, rest) = nlri::fill(prefixes, MOST - HEADER - LENGTHS);
            (update(&octets, &[], &[]), rest)
        }
        Family::V6 => {
            let mut value = mp_head(Family::V6);
            let taken = HEADER + LENGTHS + LONG_ATTRIBUTE + value.len();
            let (octets, rest) = nlri::fill(prefixes, MOST - taken);
            value.extend(octets);
            (mp_unreach(&value), rest)
        }
    }
}

/// End-of-RIB: all that there is to announce in `family` has been (RFC 4724 section 2).
pub fn end_of_rib(family: Family) -> Vec<u8> {
    match family {
        Family::V4 => update(&[], &[], &[]),
        Family::V6 => mp_unreach(&mp_head(Family::V6)),
    }
}

fn mp_unreach(value: &[u8]) -> Vec<u8> {
    let mut attributes = Vec::new();
    write(&mut attributes, code::MP_UNREACH, value);
    update(&[], &attributes, &[])
}

fn mp_head(family: Family) -> Vec<u8> {
    let mut head = afi(family).to_be_bytes().to_vec();
    head.push(UNICAST);
    head
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn update(withdrawn: &[u8], attributes: &[u8], prefixes: &[u8]) -> Vec<u8> {
    let length = |octets: &[u8]| u16::try_from(octets.len()).expect("it fits into a message").to_be_bytes();
    message(Kind::Update, |out| {
        out.extend(length(withdrawn));
        out.extend(withdrawn);
        out.extend(length(attributes));
        out.extend(attributes);
        out.extend(prefixes);
    })
}

/// What was found in an UPDATE of the peer, whose routes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Prefixes, announced or withdrawn.
    Routes,
    /// That these were all.
    EndOfRib(Family),
    /// Attributes that make no sense, in a way that ends no session: whoever takes routes treats them as withdrawn (RFC 7606).
    TreatedAsWithdrawn,
}

/// Checks the body of a message as RFC 7606 asks. Only what leaves unclear where the prefixes are ends the session.
pub fn check(body: &[u8]) -> Result<Received, Notification> {
    let malformed = || Notification::new(Notification::MALFORMED_ATTRIBUTES);
    let invalid = || Notification::new(Notification::INVALID_PREFIX);
    let mut octets = Octets(body);
    let mut block = || {
        let length = octets.u16()?;
        octets.take(length.into())
    };
    let withdrawn = block().ok_or_else(malformed)?;
    let attributes = block().ok_or_else(malformed)?;
    nlri::count(withdrawn, Family::V4).ok_or_else(invalid)?;
    nlri::count(octets.0, Family::V4).ok_or_else(invalid)?;
    if body.len() == LENGTHS {
        return Ok(Received::EndOfRib(Family::V4));
    }

    let mut found = Received::Routes;
    let (mut reach, mut unreach, mut count) = (false, false, 0);
    for attribute in read(attributes) {
        // Section 4: the prefixes of IPv4 are found all the same.
        let Some(attribute) = attribute else { return Ok(Received::TreatedAsWithdrawn) };
        count += 1;
        let seen = match attribute.code {
            code::MP_REACH => &mut reach,
            code::MP_UNREACH => &mut unreach,
            _ => continue,
        };
        // Section 3 (g), and 5.3 for what is inside.
        if std::mem::replace(seen, true) {
            return Err(malformed());
        }
        let content = match attribute.code {
            code::MP_REACH => check_reach(attribute.value),
            _ => check_unreach(attribute.value),
        };
        if let Content::Nothing(family) = content.ok_or_else(malformed)?
            && withdrawn.is_empty()
            && octets.0.is_empty()
        {
            found = Received::EndOfRib(family);
        }
    }
    if count > 1 && found != Received::Routes { Ok(Received::Routes) } else { Ok(found) }
}

/// What is in MP_REACH_NLRI or MP_UNREACH_NLRI.
enum Content {
    Prefixes,
    /// None of this family.
    Nothing(Family),
}

/// `None` if it makes no sense.
fn check_reach(value: &[u8]) -> Option<Content> {
    let mut octets = Octets(value);
    let (number, safi, length) = (octets.u16()?, octets.u8()?, octets.u8()?);
    octets.take(length.into())?;
    let _reserved = octets.u8()?;
    if let (Some(family), UNICAST) = (family(number), safi) {
        nlri::count(octets.0, family)?;
    }
    Some(Content::Prefixes)
}

/// `None` if it makes no sense.
fn check_unreach(value: &[u8]) -> Option<Content> {
    let mut octets = Octets(value);
    let (number, safi) = (octets.u16()?, octets.u8()?);
    let (Some(family), UNICAST) = (family(number), safi) else { return Some(Content::Prefixes) };
    Some(if nlri::count(octets.0, family)? == 0 { Content::Nothing(family) } else { Content::Prefixes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(withdrawn: &[u8], attributes: &[u8], prefixes: &[u8]) -> Vec<u8> {
        update(withdrawn, attributes, prefixes)[HEADER..].to_vec()
    }

    #[test]
    fn an_end_of_rib_is_known_by_its_emptiness() {
        for family in [Family::V4, Family::V6] {
            assert_eq!(check(&end_of_rib(family)[HEADER..]), Ok(Received::EndOfRib(family)));
        }
        let v6: Prefix = "2001:db8::/32".parse().unwrap();
        assert_eq!(check(&withdraw(&[v6]).0[HEADER..]), Ok(Received::Routes));
    }

    #[test]
    fn only_what_hides_prefixes_ends_a_session() {
        let origin = [0x40, 1, 1, 0];
        let unreach = [0x80, 15, 3, 0, 2, 1];
        let twice = [unreach, unreach].concat();
        let malformed = Err(Notification::new(Notification::MALFORMED_ATTRIBUTES));
        let invalid = Err(Notification::new(Notification::INVALID_PREFIX));
        for (body, result) in [
            (body(&[], &origin, &[24, 192, 0, 2]), Ok(Received::Routes)),
            (body(&[], &origin[..3], &[24, 192, 0, 2]), Ok(Received::TreatedAsWithdrawn)),
            (body(&[], &origin, &[33, 192, 0, 2, 1, 0]), invalid.clone()),
            (body(&[24, 192], &[], &[]), invalid),
            (body(&[], &unreach, &[]), Ok(Received::EndOfRib(Family::V6))),
            (body(&[], &unreach, &[8, 10]), Ok(Received::Routes)),
            (body(&[], &[&origin[..], &unreach].concat(), &[]), Ok(Received::Routes)),
            (body(&[], &twice, &[]), malformed.clone()),
            (body(&[], &[0x80, 15, 4, 0, 2, 1, 129], &[]), malformed.clone()),
            (body(&[], &[0x80, 14, 3, 0, 2, 1], &[]), malformed.clone()),
            (body(&[], &[0x80, 14, 5, 0, 2, 1, 16, 0], &[]), malformed.clone()),
            (body(&[], &[0x80, 14, 6, 0, 99, 1, 0, 0, 200], &[]), Ok(Received::Routes)),
            (vec![0, 1, 0, 0], malformed.clone()),
            (vec![0, 0, 0, 1], malformed),
        ] {
            assert_eq!(check(&body), result, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..200), attribute: u8) {
            let _ = check(&octets);
            let mut attributes = Vec::new();
            write(&mut attributes, attribute, &octets);
            let _ = check(&body(&[], &attributes, &octets));
        }
    }
}
