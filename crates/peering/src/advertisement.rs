//! What is announced, and with which attributes, as a `BGPAdvertisement` says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bgp::route::{Attributes, LocalPreference, Prefix, Prepend};
use objects::{BgpPeerName, Family};
use placement::AdvertisementName;
use pools::{Pool, Range};

/// What a `BGPAdvertisement` says. Its communities may be names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// Its name, and which pools, Services and nodes it is for.
    pub scope: placement::Advertisement,
    /// When it was created, in seconds of the API server's clock: of two that exclude each other, the older counts.
    pub created: Option<i64>,
    /// The peers it is for; all when empty.
    pub peers: BTreeSet<BgpPeerName>,
    /// How long the prefixes are.
    pub aggregation: Aggregation,
    /// Which path is preferred within the AS.
    pub local_preference: LocalPreference,
    /// Communities, as they are written.
    pub communities: Vec<String>,
    /// How often more than once the AS number stands in the AS path.
    pub prepend: Prepend,
    /// What routers are told of the share of the traffic that a node wants.
    pub share: Share,
}

/// What routers are told of the share of the traffic that a node wants, by the link bandwidth community.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Share {
    /// Nothing: all nodes get the same.
    #[default]
    Untold,
    /// How many endpoints serve on the node, where these alone get what arrives there (policy Local).
    ByEndpoints,
}

impl Advertisement {
    /// One of which nothing else is said: each address by itself, of every pool, to every peer.
    pub fn new(name: impl Into<AdvertisementName>) -> Self {
        Self {
            scope: placement::Advertisement::new(name),
            created: None,
            peers: BTreeSet::new(),
            aggregation: Aggregation::default(),
            local_preference: LocalPreference::default(),
            communities: vec![],
            prepend: Prepend::default(),
            share: Share::default(),
        }
    }
}

/// How long prefixes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregation {
    v4: u8,
    v6: u8,
}

impl Aggregation {
    /// Of so many bits. `None` when that is more than addresses have.
    pub fn new(v4: u8, v6: u8) -> Option<Self> {
        (v4 <= 32 && v6 <= 128).then_some(Self { v4, v6 })
    }

    /// Of prefixes of this family, in bits.
    pub fn length(self, family: Family) -> u8 {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// Each address by itself.
impl Default for Aggregation {
    fn default() -> Self {
        Self { v4: 32, v6: 128 }
    }
}

/// An advertisement that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcing {
    /// Which pools, Services and nodes it is for.
    pub scope: placement::Advertisement,
    /// When it was created.
    pub created: Option<i64>,
    /// The peers it is for; all when empty.
    pub peers: BTreeSet<BgpPeerName>,
    /// How long the prefixes are.
    pub aggregation: Aggregation,
    /// What is told about each prefix,
    pub attributes: Attributes,
    /// and of the share of the traffic that a node wants.
    pub share: Share,
}

impl Announcing {
    /// The prefix that `vip` is announced with.
    pub fn prefix(&self, vip: IpAddr) -> Prefix {
        let length = self.aggregation.length(Family::of(vip));
        Prefix::containing(vip, length).unwrap_or_else(|_| Prefix::host(vip))
    }

    /// Whether it is for this peer.
    pub fn is_for_peer(&self, peer: &BgpPeerName) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }

    /// Orders advertisements by age, the oldest first.
    pub fn age(&self) -> (Option<i64>, &AdvertisementName) {
        (self.created, &self.scope.name)
    }

    /// Whether it asks for another local preference than `older`. A prefix has one for each peer: that of the oldest.
    pub fn is_overruled_by(&self, older: &Self) -> bool {
        self.attributes.local_preference != older.attributes.local_preference
    }

    /// Whether it is overruled for all that both announce, whichever Services there are: they have a pool, nodes and peers in
    /// common, and prefixes of one length. `covered` are the pools that both are for.
    pub(crate) fn is_always_overruled_by<'a>(
        &self,
        older: &Self,
        mut covered: impl Iterator<Item = &'a Pool>,
    ) -> bool {
        let selects = |it: &Self| !it.scope.service_selectors.is_empty();
        let (nodes, of_older) = (&self.scope.node_selectors, &older.scope.node_selectors);
        let same_length = |range: &Range| {
            self.aggregation.length(range.family()) == older.aggregation.length(range.family())
        };
        self.is_overruled_by(older)
            && !selects(self)
            && !selects(older)
            && (self.peers.is_empty() || older.peers.is_empty() || !self.peers.is_disjoint(&older.peers))
            && (nodes.is_empty() || of_older.is_empty() || nodes == of_older)
            && covered.any(|pool| pool.ranges.iter().any(same_length))
    }

    /// What the author of one that is overruled by this one is told.
    pub fn overrules(&self) -> String {
        format!(
            "spec.localPref: BGPAdvertisement {}, which is older, announces the same prefixes to the same peers with {}, and so they stay without this one: write the same, or choose other pools, Services, nodes or peers",
            self.scope.name, self.attributes.local_preference.0
        )
    }

    /// Whether it is for the addresses of `pool`. It is not where its prefixes would reach beyond what the pool has: see
    /// [`Self::exceeds`].
    pub fn covers(&self, pool: &Pool) -> bool {
        self.scope.covers(pool) && self.exceeds(pool).is_none()
    }

    /// A range of `pool` that has no addresses for a whole prefix of the length that is asked for.
    pub fn exceeds(&self, pool: &Pool) -> Option<Range> {
        pool.ranges
            .iter()
            .copied()
            .find(|range| self.aggregation.length(range.family()) < range.shortest_prefix())
    }
}
