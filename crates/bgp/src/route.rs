//! What is announced: prefixes, each with attributes. The next hop of every route is the end of the session that announces it.

mod communities;
mod prefix;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

pub use communities::{Communities, Community, LargeCommunity, NoCommunity, TooMany};
pub use prefix::{NoPrefix, Prefix};

/// What is to be announced in one session. Routes with the same attributes best share them, and sessions with the same routes
/// these.
pub type Routes = BTreeMap<Prefix, Arc<Attributes>>;

/// What is told about a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// Which path is preferred within the AS. Only peers of the same AS get to know it.
    pub local_preference: LocalPreference,
    /// Standard communities.
    pub communities: Communities<Community>,
    /// Large communities.
    pub large_communities: Communities<LargeCommunity>,
    /// How often more than once the AS number of this end stands in the AS path, to make the path less attractive. Without
    /// effect on peers of the same AS, who are shown no AS path.
    pub prepend: Prepend,
    /// Which share of the traffic this end wants, compared with others that announce the prefix.
    pub link_bandwidth: Option<LinkBandwidth>,
}

/// LOCAL_PREF (RFC 4271 section 5.1.5): among several paths, the one with the greatest is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPreference(pub u32);

/// 100, as routers have it for paths that say nothing.
impl Default for LocalPreference {
    fn default() -> Self {
        Self(100)
    }
}

/// How often an AS number is added to the AS path: at most [`Prepend::MOST`] times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prepend(u8);

impl Prepend {
    /// As much as any router offers; some drop paths of more than a few dozen numbers.
    pub const MOST: u8 = 10;

    /// So many times. `None` when that is more than [`Prepend::MOST`].
    pub fn new(times: u8) -> Option<Self> {
        (times <= Self::MOST).then_some(Self(times))
    }

    /// How often.
    pub fn times(self) -> u8 {
        self.0
    }
}

/// The link bandwidth community (draft-ietf-idr-link-bandwidth-07): routers that have several equal paths split traffic by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkBandwidth(NonZeroU32);

impl LinkBandwidth {
    /// So many megabits a second.
    pub fn from_megabits(megabits: NonZeroU32) -> Self {
        Self(megabits)
    }

    /// In megabits a second.
    pub fn megabits(self) -> u32 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_as_number_is_prepended_a_few_times_at_most() {
        assert_eq!(Prepend::new(10).map(Prepend::times), Some(10));
        assert_eq!(Prepend::new(11), None);
        assert_eq!(Attributes::default().prepend.times(), 0);
    }

    #[test]
    fn a_route_says_nothing_unless_asked() {
        let Attributes { local_preference, communities, large_communities, prepend, link_bandwidth } =
            Attributes::default();
        assert_eq!((local_preference, prepend, link_bandwidth), (LocalPreference(100), Prepend(0), None));
        assert!(communities.is_empty() && large_communities.is_empty());
    }
}
