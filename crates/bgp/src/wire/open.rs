//! OPEN: who this is, and what it is capable of (RFC 4271 section 4.2, RFC 5492).

use std::net::Ipv4Addr;

use objects::Family;

use crate::config::{Asn, Families, HoldTime, RestartTime, RouterId};
use crate::wire::header::{Kind, message};
use crate::wire::notification::Notification;
use crate::wire::{Octets, UNICAST, afi, family};

/// The content of an OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The AS number.
    pub asn: Asn,
    /// The proposed hold time.
    pub hold: HoldTime,
    /// The BGP identifier.
    pub router_id: RouterId,
    /// What the sender can do.
    pub capabilities: Capabilities,
}

/// What a speaker can do, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The families whose unicast routes it exchanges (RFC 4760). Who says nothing of that exchanges IPv4.
    pub multiprotocol: Multiprotocol,
    /// It sends everything again when asked to (RFC 2918).
    pub route_refresh: bool,
    /// It takes IPv6 next hops for IPv4 prefixes (RFC 8950).
    pub extended_next_hop: bool,
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_asn: bool,
    /// It restarts gracefully, or helps others to (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
}

/// What a speaker says of families.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Multiprotocol {
    /// Nothing.
    #[default]
    Unsaid,
    /// These; `None` for others than are known here.
    Said(Option<Families>),
}

impl Multiprotocol {
    /// The families that it exchanges.
    pub fn families(self) -> Option<Families> {
        match self {
            Self::Unsaid => Some(Families::Only(Family::V4)),
            Self::Said(families) => families,
        }
    }
}

/// What a speaker says of restarts (RFC 4724 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GracefulRestart {
    /// It has restarted just now: whoever waits for its routes need not wait for those of others.
    pub restarting: bool,
    /// How long to keep its routes when the session is lost.
    pub time: RestartTime,
    /// The families whose routes are to be kept. `None`: it only helps others.
    pub families: Option<Families>,
    /// It has gone on forwarding since its last session. If not, routes that were kept are gone at once.
    pub has_forwarded: bool,
}

mod code {
    pub(super) const MULTIPROTOCOL: u8 = 1;
    pub(super) const ROUTE_REFRESH: u8 = 2;
    pub(super) const EXTENDED_NEXT_HOP: u8 = 5;
    pub(super) const GRACEFUL_RESTART: u8 = 64;
    pub(super) const FOUR_OCTET_ASN: u8 = 65;
}

const VERSION: u8 = 4;
/// The optional parameter that holds capabilities.
const CAPABILITIES: u8 = 2;
/// The Forwarding State bit of a family (RFC 4724 section 3).
const FORWARDING: u8 = 0x80;
/// In place of both the length and the type of the first parameter: lengths have two octets (RFC 9072).
const EXTENDED: u8 = 255;

impl Open {
    /// The whole message.
    pub fn emit(&self) -> Vec<u8> {
        let capabilities = self.capabilities(self.asn);
        let length = |octets: usize| u8::try_from(octets).expect("there are few capabilities");
        message(Kind::Open, |out| {
            out.push(VERSION);
            out.extend(self.asn.two_octets().to_be_bytes());
            out.extend(self.hold.seconds().to_be_bytes());
            out.extend(self.router_id.octets());
            out.extend([length(capabilities.len() + 2), CAPABILITIES, length(capabilities.len())]);
            out.extend(capabilities);
        })
    }

    fn capabilities(&self, asn: Asn) -> Vec<u8> {
        let Capabilities {
            multiprotocol,
            route_refresh,
            extended_next_hop,
            four_octet_asn,
            graceful_restart,
        } = &self.capabilities;
        let mut out = multiprotocol_capabilities(*multiprotocol);
        if *route_refresh {
            out.extend([code::ROUTE_REFRESH, 0]);
        }
        if *extended_next_hop {
            out.extend([code::EXTENDED_NEXT_HOP, 6]);
            out.extend([afi(Family::V4), u16::from(UNICAST), afi(Family::V6)].map(u16::to_be_bytes).concat());
        }
        if *four_octet_asn {
            out.extend([code::FOUR_OCTET_ASN, 4]);
            out.extend(asn.number().to_be_bytes());
        }
        if let Some(GracefulRestart { restarting, time, families, has_forwarded }) = *graceful_restart {
            let of_family = if has_forwarded { FORWARDING } else { 0 };
            let families: Vec<u8> = families
                .into_iter()
                .flat_map(Families::iter)
                .flat_map(|family| [0, afi(family).to_be_bytes()[1], UNICAST, of_family])
                .collect();
            let length = u8::try_from(2 + families.len()).expect("there are two families");
            let flags = u16::from(restarting) << 15;
            out.extend([code::GRACEFUL_RESTART, length]);
            out.extend((flags | time.seconds()).to_be_bytes());
            out.extend(families);
        }
        out
    }

    /// Reads the body of a message; what is wrong is to be told the peer. Capabilities that make no sense are as if they
    /// were not there.
    pub fn parse(body: &[u8]) -> Result<Self, Notification> {
        let malformed = || Notification::new(Notification::MALFORMED_OPEN);
        let mut octets = Octets(body);
        if octets.u8().ok_or_else(malformed)? != VERSION {
            let supported = u16::from(VERSION).to_be_bytes();
            return Err(Notification::new(Notification::UNSUPPORTED_VERSION).with(&supported));
        }
        let asn = u32::from(octets.u16().ok_or_else(malformed)?);
        let hold = octets.u16().ok_or_else(malformed)?;
        let router_id = octets.u32().ok_or_else(malformed)?;
        let (capabilities, told) = parse_parameters(octets)?;

        let asn = told.unwrap_or(asn);
        let asn = Asn::try_from(asn)
            .map_err(|_| Notification::new(Notification::BAD_PEER_AS).with(&asn.to_be_bytes()))?;
        let hold = HoldTime::from_seconds(hold).ok_or_else(|| {
            Notification::new(Notification::UNACCEPTABLE_HOLD_TIME).with(&hold.to_be_bytes())
        })?;
        let router_id = RouterId::try_from(Ipv4Addr::from_bits(router_id))
            .map_err(|_| Notification::new(Notification::BAD_IDENTIFIER))?;
        Ok(Self { asn, hold, router_id, capabilities })
    }
}

/// The capabilities that say this of families, as they are on the wire.
pub(crate) fn multiprotocol_capabilities(multiprotocol: Multiprotocol) -> Vec<u8> {
    let Multiprotocol::Said(families) = multiprotocol else { return Vec::new() };
    families
        .into_iter()
        .flat_map(Families::iter)
        .flat_map(|family| [code::MULTIPROTOCOL, 4, 0, afi(family).to_be_bytes()[1], 0, UNICAST])
        .collect()
}

/// The capabilities, and the AS number in four octets.
fn parse_parameters(mut octets: Octets<'_>) -> Result<(Capabilities, Option<u32>), Notification> {
    let malformed = || Notification::new(Notification::MALFORMED_OPEN);
    let length = octets.u8().ok_or_else(malformed)?;
    let extended = length != 0 && octets.0.first() == Some(&EXTENDED);
    let length = if extended {
        octets.u8();
        octets.u16().ok_or_else(malformed)?.into()
    } else {
        usize::from(length)
    };
    if octets.0.len() != length {
        return Err(malformed());
    }
    let mut found = (Capabilities::default(), None);
    while let Some(parameter) = octets.u8() {
        let length = if extended { octets.u16().map(usize::from) } else { octets.u8().map(usize::from) };
        let value = length.and_then(|length| octets.take(length)).ok_or_else(malformed)?;
        if parameter != CAPABILITIES {
            return Err(Notification::new(Notification::UNSUPPORTED_PARAMETER));
        }
        let mut capabilities = Octets(value);
        while let Some(code) = capabilities.u8() {
            let length = capabilities.u8().ok_or_else(malformed)?;
            let value = capabilities.take(length.into()).ok_or_else(malformed)?;
            parse_capability(code, Octets(value), &mut found);
        }
    }
    Ok(found)
}

fn parse_capability(
    code: u8,
    mut value: Octets<'_>,
    (found, asn): &mut (Capabilities, Option<u32>),
) -> Option<()> {
    match code {
        code::MULTIPROTOCOL => {
            let (number, _reserved, safi) = (value.u16()?, value.u8()?, value.u8()?);
            let known = match found.multiprotocol {
                Multiprotocol::Unsaid => None,
                Multiprotocol::Said(families) => families,
            };
            let another = family(number).filter(|_| safi == UNICAST);
            let has = |family| known.is_some_and(|it| it.contain(family)) || another == Some(family);
            found.multiprotocol = Multiprotocol::Said(Families::of(has(Family::V4), has(Family::V6)));
        }
        code::ROUTE_REFRESH => found.route_refresh = true,
        code::EXTENDED_NEXT_HOP => {
            while !value.is_empty() {
                let triple = (family(value.u16()?), value.u16()?, family(value.u16()?));
                found.extended_next_hop |= triple == (Some(Family::V4), UNICAST.into(), Some(Family::V6));
            }
        }
        code::FOUR_OCTET_ASN => {
            *asn = Some(value.u32()?);
            found.four_octet_asn = true;
        }
        code::GRACEFUL_RESTART => {
            let word = value.u16()?;
            let (mut v4, mut v6, mut has_forwarded) = (false, false, false);
            while !value.is_empty() {
                let (family, safi, flags) = (family(value.u16()?), value.u8()?, value.u8()?);
                if let (Some(family), UNICAST) = (family, safi) {
                    v4 |= family == Family::V4;
                    v6 |= family == Family::V6;
                    has_forwarded |= flags & FORWARDING != 0;
                }
            }
            found.graceful_restart = Some(GracefulRestart {
                restarting: word & 0x8000 != 0,
                time: RestartTime::from_seconds(word & RestartTime::MOST)?,
                families: Families::of(v4, v6),
                has_forwarded,
            });
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn families() -> impl Strategy<Value = Option<Families>> {
        (any::<bool>(), any::<bool>()).prop_map(|(v4, v6)| Families::of(v4, v6))
    }

    prop_compose! {
        fn capabilities()(
            // A speaker that says it has no family known here says so by naming another, which this end never does.
            multiprotocol in families(),
            [route_refresh, extended_next_hop, four_octet_asn]: [bool; 3],
            graceful in prop::option::of((any::<[bool; 2]>(), 0..=RestartTime::MOST, families())),
        ) -> Capabilities {
            Capabilities {
                multiprotocol: multiprotocol
                    .map_or(Multiprotocol::Unsaid, |families| Multiprotocol::Said(Some(families))),
                route_refresh,
                extended_next_hop,
                four_octet_asn,
                graceful_restart: graceful.map(|([restarting, forwarded], seconds, families)| GracefulRestart {
                    restarting,
                    time: RestartTime::from_seconds(seconds).unwrap(),
                    families,
                    has_forwarded: forwarded && families.is_some(),
                }),
            }
        }
    }

    proptest! {
        #[test]
        fn an_open_is_read_as_it_was_written(
            asn in 1_u32..,
            hold in prop_oneof![Just(0_u16), 3_u16..],
            id in 1_u32..,
            capabilities in capabilities(),
        ) {
            let asn = if capabilities.four_octet_asn { asn } else { asn % 0xffff + 1 };
            let open = Open {
                asn: asn.try_into().unwrap(),
                hold: HoldTime::from_seconds(hold).unwrap(),
                router_id: Ipv4Addr::from_bits(id).try_into().unwrap(),
                capabilities,
            };
            prop_assert_eq!(Open::parse(&open.emit()[19..]), Ok(open));
        }

        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..100), parameters: bool) {
            let _ = Open::parse(&octets);
            if parameters {
                let length = u8::try_from(octets.len()).unwrap();
                let head = [4, 0, 1, 0, 90, 1, 1, 1, 1, length + 2, CAPABILITIES, length];
                let _ = Open::parse(&[&head, &octets[..]].concat());
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let plain = [4, 0xfc, 0, 0, 90, 192, 0, 2, 1, 0];
        assert!(Open::parse(&plain).is_ok());
        let with = |at: usize, octets: &[u8]| {
            let mut body = plain.to_vec();
            body.splice(at..at + octets.len(), octets.iter().copied());
            body
        };
        for (body, code, data) in [
            (with(0, &[3]), Notification::UNSUPPORTED_VERSION, &[0, 4][..]),
            (with(1, &[0, 0]), Notification::BAD_PEER_AS, &[0; 4]),
            (with(3, &[0, 2]), Notification::UNACCEPTABLE_HOLD_TIME, &[0, 2]),
            (with(5, &[0; 4]), Notification::BAD_IDENTIFIER, &[]),
            (with(9, &[1]), Notification::MALFORMED_OPEN, &[]),
            ([&with(9, &[2])[..], &[1, 0]].concat(), Notification::UNSUPPORTED_PARAMETER, &[]),
            ([&with(9, &[3])[..], &[2, 1, 65]].concat(), Notification::MALFORMED_OPEN, &[]),
        ] {
            assert_eq!(Open::parse(&body), Err(Notification::new(code).with(data)), "{body:?}");
        }
    }

    #[test]
    fn long_parameters_and_unknown_capabilities_are_read() {
        let capabilities = [200, 1, 9, 2, 0, 1, 4, 0, 25, 0, 65];
        let body =
            [&[4, 0xfc, 0, 0, 90, 192, 0, 2, 1, 255, 255, 0, 14, 2, 0, 11], &capabilities[..]].concat();
        let open = Open::parse(&body).unwrap();
        assert!(open.capabilities.route_refresh);
        assert_eq!(open.capabilities.multiprotocol.families(), None, "it speaks of other families only");
    }
}
