//! What the [`Index`] tells whoever asks for `/status`.

use introspection::{ControllerStatus, PoolState, Usage, Waiting};
use ipam::Family;

use crate::index::{Index, Role};

impl Index {
    /// What it knows by now. The class and the sharing are for the caller to add.
    pub(crate) fn status(&self) -> ControllerStatus {
        ControllerStatus {
            leads: self.role == Role::Leader,
            decides: self.decides(),
            pools: self.pools.iter().map(|(name, object)| self.pool_state(name, object)).collect(),
            services: self.services.values().filter(|entry| entry.is_ours()).count(),
            waiting: self.told_to_wait(),
            writes_queued: self.queued(),
            ..ControllerStatus::default()
        }
    }

    fn pool_state(&self, name: &ipam::PoolName, object: &crate::pool_objects::PoolObject) -> PoolState {
        let usage = |family| {
            let usage = self.allocator.usage(name, family);
            let count = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
            Usage { in_use: count(usage.in_use), available: count(usage.available) }
        };
        let contested = self.pools.in_force().get(name).into_iter().flat_map(pools::Pool::contested);
        PoolState {
            name: name.to_string(),
            v4: usage(Family::V4),
            v6: usage(Family::V6),
            contested: contested.map(|range| (range.first(), range.last())).collect(),
            message: object.assessment.message(),
            rejected: object.assessment.is_rejected(),
        }
    }

    /// Those that were refused something, the oldest first.
    fn told_to_wait(&self) -> introspection::Capped<Waiting> {
        let refused = self.services.iter().filter(|(_, entry)| entry.is_ours());
        let mut refused: Vec<_> =
            refused.filter_map(|(key, entry)| Some((entry.created, key, entry.refusal.as_ref()?))).collect();
        refused.sort();
        let waiting = |(_, key, reason): (_, &ipam::ServiceKey, &String)| Waiting {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            reason: reason.clone(),
        };
        refused.into_iter().map(waiting).collect()
    }
}
