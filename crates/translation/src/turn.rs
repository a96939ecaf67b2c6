//! Who is decided before whom.

use ipam::ServiceKey;
use jiff::Timestamp;

/// The order in which Services are served: the older one first.
pub type Turn = (Option<Timestamp>, ServiceKey);

/// Who comes before whom, whatever their age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It has an address.
    Holder,
    /// It has lost one that may be free.
    Former,
    /// All others.
    Newcomer,
}

impl Rank {
    /// The rank of a Service that holds or records an address, or has lost one.
    pub fn of(has: bool, has_lost: bool) -> Self {
        match (has, has_lost) {
            (true, _) => Self::Holder,
            (false, true) => Self::Former,
            (false, false) => Self::Newcomer,
        }
    }
}
