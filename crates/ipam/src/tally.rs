//! How many addresses of a pool each namespace holds, where that is limited.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use pools::{Pool, Quota, QuotaReached};

use crate::PoolName;

/// Counts for the pools that have a quota; of the others nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Tally(HashMap<PoolName, ByNamespace>);

/// The addresses that a namespace has, and how many of its services and reservations have each.
type ByNamespace = HashMap<Arc<str>, BTreeMap<IpAddr, usize>>;

impl Tally {
    /// A service or reservation of the namespace has these addresses of the pool from now on.
    pub(crate) fn add(&mut self, pool: &Pool, namespace: &Arc<str>, ips: &[IpAddr]) {
        if pool.quota == Quota::Unlimited {
            return;
        }
        let namespaces = self.0.entry(pool.name.clone()).or_default();
        let held = namespaces.entry(Arc::clone(namespace)).or_default();
        for ip in ips {
            *held.entry(*ip).or_default() += 1;
        }
    }

    /// One for which they were added has these addresses no more.
    pub(crate) fn remove(&mut self, pool: &PoolName, namespace: &str, ips: &[IpAddr]) {
        let Some(namespaces) = self.0.get_mut(pool) else { return };
        let Some(held) = namespaces.get_mut(namespace) else { return };
        for ip in ips {
            if let Some(holders) = held.get_mut(ip) {
                *holders -= 1;
                if *holders == 0 {
                    held.remove(ip);
                }
            }
        }
        if held.is_empty() {
            namespaces.remove(namespace);
        }
        if namespaces.is_empty() {
            self.0.remove(pool);
        }
    }

    /// Whether the namespace may come to have all of these addresses of the pool besides what it has.
    pub(crate) fn admits<'a>(
        &self,
        pool: &Pool,
        namespace: &str,
        ips: impl IntoIterator<Item = &'a IpAddr>,
    ) -> Result<(), QuotaReached> {
        if pool.quota == Quota::Unlimited {
            return Ok(());
        }
        let held = self.0.get(&pool.name).and_then(|namespaces| namespaces.get(namespace));
        let in_use = held.map_or(0, BTreeMap::len);
        let more = ips.into_iter().filter(|ip| held.is_none_or(|held| !held.contains_key(ip))).count();
        if more == 0 {
            return Ok(());
        }
        match pool.quota.exceeded_by(in_use + more) {
            None => Ok(()),
            Some(limit) => Err(QuotaReached { limit, namespace: namespace.to_owned(), in_use }),
        }
    }
}
