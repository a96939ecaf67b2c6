//! ROUTE-REFRESH: the peer wants to hear everything once more (RFC 2918).

use objects::Family;

use crate::wire::{Octets, UNICAST, family};

/// The family that is wanted again. `None` where there is nothing to do: for a family that is not spoken, and for the
/// messages by which RFC 7313 marks the beginning and the end of what is sent again.
pub fn parse(body: &[u8]) -> Option<Family> {
    let mut octets = Octets(body);
    let (afi, subtype, safi) = (octets.u16()?, octets.u8()?, octets.u8()?);
    family(afi).filter(|_| (subtype, safi) == (0, UNICAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_for_unicast_routes_asks_for_anything() {
        for (body, wanted) in [
            (&[0, 1, 0, 1][..], Some(Family::V4)),
            (&[0, 2, 0, 1], Some(Family::V6)),
            (&[0, 2, 0, 1, 1, 2, 3], Some(Family::V6)),
            (&[0, 1, 0, 2], None),
            (&[0, 3, 0, 1], None),
            (&[0, 1, 1, 1], None),
            (&[0, 1, 0], None),
        ] {
            assert_eq!(parse(body), wanted, "{body:?}");
        }
    }
}
