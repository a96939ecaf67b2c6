//! Path attributes: those of our routes, written, and those of others, checked (RFC 4271 sections 4.3 and 5, RFC 7606).

use std::net::Ipv4Addr;

use crate::config::{Asn, SessionKind};
use crate::route::{Attributes, Community, LinkBandwidth};
use crate::wire::Octets;

/// What attributes depend on beside what is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Who sees them.
    pub kind: SessionKind,
    /// The AS number that this end shows.
    pub asn: Asn,
    /// How wide AS numbers are.
    pub asn_width: AsnWidth,
}

/// How wide AS numbers are in an AS path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsnWidth {
    /// Two octets: the peer knows no others, and hears of larger ones by AS4_PATH (RFC 6793 section 4.2.2).
    Two,
    /// Four octets.
    Four,
}

/// Whether routes are about to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// They are here to stay.
    Lasting,
    /// Others are to be taken while there is time (RFC 8326).
    Leaving,
}

pub(crate) mod code {
    pub(crate) const ORIGIN: u8 = 1;
    pub(crate) const AS_PATH: u8 = 2;
    pub(crate) const NEXT_HOP: u8 = 3;
    pub(crate) const LOCAL_PREF: u8 = 5;
    pub(crate) const COMMUNITIES: u8 = 8;
    pub(crate) const MP_REACH: u8 = 14;
    pub(crate) const MP_UNREACH: u8 = 15;
    pub(crate) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(crate) const AS4_PATH: u8 = 17;
    pub(crate) const LARGE_COMMUNITIES: u8 = 32;
}

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

/// Writes one attribute: the flags follow from what it is.
pub(crate) fn write(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    let flags = match code {
        code::MP_REACH | code::MP_UNREACH => OPTIONAL,
        code::COMMUNITIES | code::EXTENDED_COMMUNITIES | code::AS4_PATH | code::LARGE_COMMUNITIES => {
            OPTIONAL | TRANSITIVE
        }
        _ => TRANSITIVE,
    };
    if let Ok(length) = u8::try_from(value.len()) {
        out.extend([flags, code, length]);
    } else {
        let length = u16::try_from(value.len()).expect("an attribute fits into a message");
        out.extend([flags | EXTENDED_LENGTH, code]);
        out.extend(length.to_be_bytes());
    }
    out.extend(value);
}

/// All attributes but those that hold prefixes, in the order of their codes.
pub(crate) fn write_all(
    out: &mut Vec<u8>,
    attributes: &Attributes,
    tenure: Tenure,
    next_hop: Option<Ipv4Addr>,
    context: Context,
) {
    let Attributes { local_preference, communities, large_communities, prepend, link_bandwidth } = attributes;
    write(out, code::ORIGIN, &[0]);
    let path = match context.kind {
        SessionKind::Internal => 0,
        SessionKind::External => 1 + prepend.times(),
    };
    write(out, code::AS_PATH, &as_path(context.asn, path, context.asn_width));
    if let Some(next_hop) = next_hop {
        write(out, code::NEXT_HOP, &next_hop.octets());
    }
    if context.kind == SessionKind::Internal {
        let preference = match tenure {
            Tenure::Lasting => local_preference.0,
            Tenure::Leaving => 0,
        };
        write(out, code::LOCAL_PREF, &preference.to_be_bytes());
    }
    let mut values: Vec<u32> = communities.iter().map(Community::value).collect();
    if let (Tenure::Leaving, Err(at)) = (tenure, values.binary_search(&Community::GRACEFUL_SHUTDOWN.value()))
    {
        values.insert(at, Community::GRACEFUL_SHUTDOWN.value());
    }
    if !values.is_empty() {
        write(out, code::COMMUNITIES, &octets(values));
    }
    if let Some(bandwidth) = link_bandwidth {
        write(out, code::EXTENDED_COMMUNITIES, &link_bandwidth_community(context.asn, *bandwidth));
    }
    let hidden = context.asn_width == AsnWidth::Two && u16::try_from(context.asn.number()).is_err();
    if hidden && path > 0 {
        write(out, code::AS4_PATH, &as_path(context.asn, path, AsnWidth::Four));
    }
    if !large_communities.is_empty() {
        let parts = large_communities.iter().flat_map(|it| [it.global, it.local_1, it.local_2]);
        write(out, code::LARGE_COMMUNITIES, &octets(parts));
    }
}

/// One AS_SEQUENCE of `asn`, so many times, or the empty path.
fn as_path(asn: Asn, times: u8, width: AsnWidth) -> Vec<u8> {
    const AS_SEQUENCE: u8 = 2;
    if times == 0 {
        return Vec::new();
    }
    let asn = match width {
        AsnWidth::Two => asn.two_octets().to_be_bytes().to_vec(),
        AsnWidth::Four => asn.number().to_be_bytes().to_vec(),
    };
    [vec![AS_SEQUENCE, times], asn.repeat(times.into())].concat()
}

/// draft-ietf-idr-link-bandwidth-07: bytes a second as a floating-point number. It goes no farther than the peer.
fn link_bandwidth_community(asn: Asn, bandwidth: LinkBandwidth) -> Vec<u8> {
    const NON_TRANSITIVE: [u8; 2] = [0x40, 0x04];
    #[expect(clippy::cast_precision_loss, reason = "only ratios count, and those of small numbers are exact")]
    let bytes = bandwidth.megabits() as f32 * 125_000.0;
    [&NON_TRANSITIVE[..], &asn.two_octets().to_be_bytes(), &bytes.to_be_bytes()].concat()
}

fn octets(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// An attribute as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    pub(crate) code: u8,
    pub(crate) value: &'a [u8],
}

/// The attributes in `octets`, one after the other; the last is `None` if the octets end within one.
pub(crate) fn read(octets: &[u8]) -> impl Iterator<Item = Option<Received<'_>>> {
    let mut octets = Octets(octets);
    std::iter::from_fn(move || {
        if octets.is_empty() {
            return None;
        }
        let attribute = read_one(&mut octets);
        if attribute.is_none() {
            octets = Octets(&[]);
        }
        Some(attribute)
    })
}

fn read_one<'a>(octets: &mut Octets<'a>) -> Option<Received<'a>> {
    let (flags, code) = (octets.u8()?, octets.u8()?);
    let length = if flags & EXTENDED_LENGTH == 0 { octets.u8()?.into() } else { octets.u16()?.into() };
    Some(Received { code, value: octets.take(length)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Communities, Prepend};

    fn written(attributes: &Attributes, tenure: Tenure, context: Context) -> Vec<(u8, Vec<u8>)> {
        let mut out = Vec::new();
        write_all(&mut out, attributes, tenure, None, context);
        read(&out).map(|it| it.map(|it| (it.code, it.value.to_vec())).unwrap()).collect()
    }

    fn context(kind: SessionKind, asn: u32, asn_width: AsnWidth) -> Context {
        Context { kind, asn: asn.try_into().unwrap(), asn_width }
    }

    #[test]
    fn a_peer_of_another_as_sees_the_path_and_no_local_preference() {
        let attributes = Attributes { prepend: Prepend::new(2).unwrap(), ..Attributes::default() };
        let found =
            written(&attributes, Tenure::Lasting, context(SessionKind::External, 64_512, AsnWidth::Four));
        let path = [&[2, 3][..], &[0, 0, 0xfc, 0].repeat(3)].concat();
        assert_eq!(found, [(code::ORIGIN, vec![0]), (code::AS_PATH, path)]);
    }

    #[test]
    fn a_peer_of_the_same_as_sees_the_local_preference_and_no_path() {
        let found = written(
            &Attributes::default(),
            Tenure::Lasting,
            context(SessionKind::Internal, 64_512, AsnWidth::Four),
        );
        assert_eq!(
            found,
            [(code::ORIGIN, vec![0]), (code::AS_PATH, vec![]), (code::LOCAL_PREF, vec![0, 0, 0, 100])]
        );
    }

    #[test]
    fn who_knows_two_octets_only_hears_of_large_numbers_in_an_attribute_of_their_own() {
        let found = |asn| {
            written(
                &Attributes::default(),
                Tenure::Lasting,
                context(SessionKind::External, asn, AsnWidth::Two),
            )
        };
        assert_eq!(found(64_512)[1..], [(code::AS_PATH, vec![2, 1, 0xfc, 0])]);
        let [path, path_of_four] =
            [(code::AS_PATH, vec![2, 1, 0x5b, 0xa0]), (code::AS4_PATH, vec![2, 1, 0, 1, 0, 0])];
        assert_eq!(found(65_536)[1..], [path, path_of_four]);
    }

    #[test]
    fn routes_that_are_about_to_go_are_the_least_preferred() {
        let attributes = Attributes {
            communities: Communities::new([1, u32::MAX].map(Community::from)).unwrap(),
            ..Attributes::default()
        };
        let context = context(SessionKind::Internal, 1, AsnWidth::Four);
        let found = written(&attributes, Tenure::Leaving, context);
        let communities = [[0, 0, 0, 1], [0xff, 0xff, 0, 0], [0xff; 4]].concat();
        assert_eq!(found[2..], [(code::LOCAL_PREF, vec![0; 4]), (code::COMMUNITIES, communities)]);
    }

    #[test]
    fn the_bandwidth_is_a_floating_point_number_of_bytes() {
        let attributes = Attributes {
            link_bandwidth: Some(LinkBandwidth::from_megabits(3.try_into().unwrap())),
            ..Attributes::default()
        };
        let found =
            written(&attributes, Tenure::Lasting, context(SessionKind::External, 64_512, AsnWidth::Four));
        let value = [&[0x40, 4, 0xfc, 0][..], &375_000_f32.to_be_bytes()].concat();
        assert_eq!(found[2..], [(code::EXTENDED_COMMUNITIES, value)]);
    }

    #[test]
    fn attributes_that_end_too_early_are_noticed() {
        for octets in [&[0x40][..], &[0x40, 1], &[0x40, 1, 1], &[0x50, 1, 0], &[0x50, 1, 1, 0, 9]] {
            assert_eq!(read(octets).collect::<Vec<_>>(), [None], "{octets:?}");
        }
        assert_eq!(read(&[]).count(), 0);
    }
}
