//! How many addresses of a pool each namespace holds, where that is limited.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use pools::{Pool, Quota, QuotaReached};

use crate::{PoolName, ServiceKey};

/// Counts for the pools that have a quota; of the others nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Tally(HashMap<PoolName, ByNamespace>);

/// The addresses that the services of a namespace hold, and how many of them hold each.
type ByNamespace = HashMap<Arc<str>, BTreeMap<IpAddr, usize>>;

impl Tally {
    /// A service holds these addresses of the pool from now on.
    pub(crate) fn add(&mut self, pool: &Pool, key: &ServiceKey, ips: &[IpAddr]) {
        if pool.quota == Quota::Unlimited {
            return;
        }
        let namespaces = self.0.entry(pool.name.clone()).or_default();
        let held = namespaces.entry(key.namespace.clone()).or_default();
        for ip in ips {
            *held.entry(*ip).or_default() += 1;
        }
    }

    /// A service for which they were added holds these addresses no more.
    pub(crate) fn remove(&mut self, pool: &PoolName, key: &ServiceKey, ips: &[IpAddr]) {
        let Some(namespaces) = self.0.get_mut(pool) else { return };
        let Some(held) = namespaces.get_mut(&key.namespace) else { return };
        for ip in ips {
            if let Some(services) = held.get_mut(ip) {
                *services -= 1;
                if *services == 0 {
                    held.remove(ip);
                }
            }
        }
        if held.is_empty() {
            namespaces.remove(&key.namespace);
        }
        if namespaces.is_empty() {
            self.0.remove(pool);
        }
    }

    /// Whether a service that holds nothing may come to hold all of these addresses of the pool.
    pub(crate) fn admits<'a>(
        &self,
        pool: &Pool,
        key: &ServiceKey,
        ips: impl IntoIterator<Item = &'a IpAddr>,
    ) -> Result<(), QuotaReached> {
        if pool.quota == Quota::Unlimited {
            return Ok(());
        }
        let held = self.0.get(&pool.name).and_then(|namespaces| namespaces.get(&key.namespace));
        let in_use = held.map_or(0, BTreeMap::len);
        let more = ips.into_iter().filter(|ip| held.is_none_or(|held| !held.contains_key(ip))).count();
        if more == 0 || pool.quota.allows(in_use + more) {
            return Ok(());
        }
        Err(QuotaReached { quota: pool.quota, namespace: key.namespace.to_string(), in_use })
    }
}
