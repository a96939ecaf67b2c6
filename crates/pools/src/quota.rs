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

    /// Whether a namespace may come to hold so many.
    pub fn allows(self, addresses: usize) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(most) => u32::try_from(addresses).is_ok_and(|addresses| addresses <= most),
            Self::Unreadable => false,
        }
    }
}

/// What a namespace has of its quota, for a Service that would exceed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaReached {
    /// The quota, which is a limit.
    pub quota: Quota,
    /// The namespace of the Service.
    pub namespace: String,
    /// How many addresses its Services hold.
    pub in_use: usize,
}

impl fmt::Display for QuotaReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quota, namespace, in_use } = self;
        match quota {
            Quota::AtMost(most) => write!(
                f,
                "quota of namespace {namespace} reached ({in_use} in use, at most {most} for each namespace)"
            ),
            Quota::Unreadable | Quota::Unlimited => {
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
        assert!(Quota::AtMost(2).allows(2) && !Quota::AtMost(2).allows(3));
        assert!(Quota::Unlimited.allows(usize::MAX));
        assert!(!Quota::Unreadable.allows(1));
    }
}
