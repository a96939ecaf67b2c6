//! BGP messages as octets. What is sent is written here in full; of what is received only as much is read as somebody who
//! takes no routes needs.
//!
//! | module | message | source |
//! |---|---|---|
//! | [`header`] | what every message begins with | RFC 4271 section 4.1 |
//! | [`open`] | OPEN and its capabilities | RFC 4271 section 4.2, RFC 5492 |
//! | [`update`] | UPDATE: written whole, received ones checked | RFC 4271 section 4.3, RFC 4760, RFC 7606 |
//! | [`notification`] | NOTIFICATION | RFC 4271 sections 4.5 and 6, RFC 9003 |
//! | [`refresh`] | ROUTE-REFRESH | RFC 2918 |
//!
//! No octets that come in make anything here panic.

pub mod attributes;
pub mod header;
pub mod nlri;
pub mod notification;
pub mod open;
pub mod refresh;
pub mod update;

use objects::Family;

/// The number of a family (AFI) with which all messages go.
pub(crate) fn afi(family: Family) -> u16 {
    match family {
        Family::V4 => 1,
        Family::V6 => 2,
    }
}

/// The family of an AFI.
pub(crate) fn family(afi: u16) -> Option<Family> {
    match afi {
        1 => Some(Family::V4),
        2 => Some(Family::V6),
        _ => None,
    }
}

/// Prefixes for unicast forwarding (RFC 4760 section 6), the only ones here.
pub(crate) const UNICAST: u8 = 1;

/// Octets that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl<'a> Octets<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}
