//! What is to be said of pools and of the whole: the part of the [`Index`] that statuses and metrics are made of.

use api::{BGPAdvertisementStatus, BGPPeerStatus, IPAddressPoolStatus, L2AdvertisementStatus};
use ipam::{Family, PoolName, Usage};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

use crate::index::Index;

impl Index {
    /// How full each pool is.
    pub(crate) fn usage(&self) -> impl Iterator<Item = (&PoolName, [Usage; 2])> {
        self.allocator.pools().iter().map(|pool| {
            (&pool.name, [Family::V4, Family::V6].map(|family| self.allocator.usage(&pool.name, family)))
        })
    }

    /// Pools whose status does not say what it should, and what that is.
    pub(crate) fn outdated_pool_statuses(
        &self,
        now: Timestamp,
    ) -> Vec<(ObjectReference, IPAddressPoolStatus)> {
        if !self.decides() {
            return Vec::new();
        }
        let outdated = self.pools.iter().filter_map(|(name, object)| {
            let [v4, v6] = [Family::V4, Family::V6].map(|family| self.allocator.usage(name, family));
            let (condition, _) = object.acceptance.condition(&object.assessment, now);
            let status = IPAddressPoolStatus {
                assigned_ipv4: count(v4.in_use),
                assigned_ipv6: count(v6.in_use),
                available_ipv4: available(v4),
                available_ipv6: available(v6),
                conditions: vec![condition],
            };
            (object.status.as_ref() != Some(&status)).then(|| (object.acceptance.reference.clone(), status))
        });
        outdated.collect()
    }

    /// Advertisements whose status does not say what it should, and what that is.
    pub(crate) fn outdated_advertisement_statuses(
        &self,
        now: Timestamp,
    ) -> Vec<(ObjectReference, L2AdvertisementStatus)> {
        if self.decides() { self.advertisements.outdated(now) } else { Vec::new() }
    }

    /// `BGPPeer`s whose status does not say what it should, and what that is.
    pub(crate) fn outdated_bgp_peer_statuses(&self, now: Timestamp) -> Vec<(ObjectReference, BGPPeerStatus)> {
        if self.decides() { self.bgp.outdated_peers(now) } else { Vec::new() }
    }

    /// The same of `BGPAdvertisement`s.
    pub(crate) fn outdated_bgp_advertisement_statuses(
        &self,
        now: Timestamp,
    ) -> Vec<(ObjectReference, BGPAdvertisementStatus)> {
        if self.decides() { self.bgp.outdated_advertisements(now) } else { Vec::new() }
    }

    /// What is wrong with the pools, object by object.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.pools.problems()
    }

    /// Whether some pool is not in force as it stands.
    pub(crate) fn is_stale(&self) -> bool {
        self.pools.is_stale()
    }

    /// How many Services want an address and have none.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How often somebody else wrote over the status of a Service.
    pub(crate) fn overwrites(&self) -> u64 {
        self.overwrites
    }
}

/// As the API has numbers.
fn count(n: u128) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// How many addresses are left, in a pool that has no more of them than there are numbers: upstream says so of
/// a large one too, and both counters together always make the whole.
fn available(usage: Usage) -> i64 {
    count(usage.in_use.saturating_add(usage.available)) - count(usage.in_use)
}
