//! What of a pool is not in force, in words for its author.

use std::fmt;

use objects::PoolName;
use objects::text::quoted;

use crate::pool::Unreadable;
use crate::{ParseRangeError, Range};

/// Something in an `IPAddressPool` that is not in force, and why. Everything else in the object is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no address in it.
    #[error(
        "spec.addresses is empty: write a range like 192.168.1.10-192.168.1.20 or a CIDR like 192.168.1.0/28"
    )]
    NoAddresses,
    /// An entry is neither a CIDR nor a range.
    #[error("spec.addresses[{index}] {text}: {why}", text = quoted(.text))]
    Entry {
        /// Which entry, from 0.
        index: usize,
        /// As it was written.
        text: String,
        /// What is wrong with it.
        why: ParseRangeError,
    },
    /// Some other field cannot be read.
    #[error("{}: {}", .0.field, .0.why)]
    Field(Unreadable),
    /// Addresses of an entry are listed by an earlier one of the same pool, which counts.
    #[error(
        "spec.addresses[{index}] {text} overlaps spec.addresses[{earlier}] at {range}: remove or shorten one of them", text = quoted(.text)
    )]
    Repeated {
        /// Which entry, from 0.
        index: usize,
        /// As it was written.
        text: String,
        /// The first entry that lists them.
        earlier: usize,
        /// The first of the addresses that both list.
        range: Range,
    },
    /// Addresses of an entry are listed by an older pool, so nothing is given out from it.
    #[error(
        "spec.addresses[{index}] {text} overlaps {others}: remove it from one of the pools; until then nothing is given out from this entry, and Services keep what they have from it", text = quoted(.text)
    )]
    Overlap {
        /// Which entry, from 0.
        index: usize,
        /// As it was written.
        text: String,
        /// Whose addresses they are.
        others: Others,
    },
}

impl Fault {
    /// One word in camel case, for the reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoAddresses | Self::Entry { .. } | Self::Field(_) => "Invalid",
            Self::Repeated { .. } | Self::Overlap { .. } => "Overlap",
        }
    }
}

/// The pools that an entry overlaps, and where: the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// In ascending order of the addresses.
    pub overlaps: Vec<(PoolName, Range)>,
    /// Whether there are more.
    pub more: bool,
}

impl Others {
    /// As many as a person would read.
    pub(crate) const MOST: usize = 4;
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (pool, range)) in self.overlaps.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{range} of IPAddressPool {pool}")?;
        }
        if self.more { f.write_str(" and others") } else { Ok(()) }
    }
}
