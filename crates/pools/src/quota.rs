//! How many addresses of a pool the Services of one namespace may hold.

use std::fmt;
use std::num::ParseIntError;

/// How many addresses of a pool, of both families together, the Services of one namespace may hold. An address that
/// they share counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quota {
    /// As many as there are.
    #[default]
    Unlimited,
    /// So many.
    AtMost(u32),
    /// Something that cannot be read. Services keep what they have, and nobody gets more: what is given out cannot be
    /// taken back when the mistake is found.
    Unreadable,
}

impl Quota {
    /// Reads a whole number.
    ///
    /// # Errors
    /// If it is none, or more than 32 bits hold.
    pub fn parse(text: &str) -> Result<Self, ParseIntError> {
        text.trim().parse().map(Self::AtMost)
    }

    /// Why a namespace may not come to hold so many, if it may not.
    pub fn exceeded_by(self, addresses: usize) -> Option<Limit> {
        match self {
            Self::Unlimited => None,
            Self::AtMost(most) if u32::try_from(addresses).is_ok_and(|addresses| addresses <= most) => None,
            Self::AtMost(most) => Some(Limit::AtMost(most)),
            Self::Unreadable => Some(Limit::Unreadable),
        }
    }
}

/// A quota that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many addresses.
    AtMost(u32),
    /// Something that cannot be read.
    Unreadable,
}

/// What a namespace has of its quota, for a Service that would exceed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaReached {
    /// What it says.
    pub limit: Limit,
    /// The namespace of the Service.
    pub namespace: String,
    /// How many addresses its Services hold.
    pub in_use: usize,
}

impl fmt::Display for QuotaReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, namespace, in_use } = self;
        match limit {
            Limit::AtMost(most) => write!(
                f,
                "quota of namespace {namespace} reached ({in_use} in use, at most {most} for each namespace)"
            ),
            Limit::Unreadable => {
                f.write_str("its quota for each namespace cannot be read, see its condition Accepted")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_whole_number() {
        for (text, read) in
            [("5", Some(5)), (" 5\n", Some(5)), ("0", Some(0)), ("4294967295", Some(u32::MAX))]
        {
            assert_eq!(Quota::parse(text).ok(), read.map(Quota::AtMost), "{text:?}");
        }
        for text in ["", "-1", "5.0", "five", "4294967296"] {
            assert!(Quota::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn as_many_are_allowed_as_it_says() {
        assert_eq!(Quota::AtMost(2).exceeded_by(2), None);
        assert_eq!(Quota::AtMost(2).exceeded_by(3), Some(Limit::AtMost(2)));
        assert_eq!(Quota::Unlimited.exceeded_by(usize::MAX), None);
        assert_eq!(Quota::Unreadable.exceeded_by(1), Some(Limit::Unreadable));
    }
}
