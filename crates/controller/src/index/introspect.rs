//! What the [`Index`] tells whoever asks for `/status`.

use introspection::{ControllerStatus, PoolState, Usage, Waiting};
use ipam::{Family, ServiceKey};

use crate::entry::Entry;
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
            unwritten: self.unwritten(),
            writes_queued: self.queued(),
            ..ControllerStatus::default()
        }
    }

    /// Those whose status the API server does not take.
    fn unwritten(&self) -> introspection::Capped<Waiting> {
        let of = |(key, entry): (&ServiceKey, &Entry)| {
            let unwritten = entry.unwritten.as_ref().filter(|_| entry.is_off())?;
            let (namespace, name) = (key.namespace.to_string(), key.name.to_string());
            Some(Waiting { namespace, name, reason: unwritten.said.clone() })
        };
        self.services.iter().filter_map(of).collect()
    }

    fn pool_state(&self, name: &ipam::PoolName, object: &crate::pool_objects::PoolObject) -> PoolState {
        let usage = |family| {
            let usage = self.allocator.usage(name, family);
            let count = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
            let reserved = self.allocator.unused_reserved(name, family) as u64;
            Usage { in_use: count(usage.in_use), available: count(usage.available), reserved }
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
        let waiting = |(_, key, reason): (_, &ServiceKey, &String)| Waiting {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            reason: reason.clone(),
        };
        refused.into_iter().map(waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::tests::{Cluster, pool};

    #[test]
    fn what_waits_and_how_full_the_pools_are_is_told_by_who_decides() {
        let ours = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:02Z"}});
        let older = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:01Z"}});
        let other = json!({"spec": {"type": "NodePort"}});
        let mut cluster = Cluster::start(
            &[pool("a", "10.0.0.0/32"), pool("b", "10.0.0.0/31")],
            &[("late", ours.clone()), ("later", ours), ("first", older), ("other", other)],
        );
        cluster.write_all();
        let status = cluster.index.status();
        assert!(status.leads && status.decides);
        assert_eq!((status.services, status.writes_queued), (3, 0));
        let waiting: Vec<&str> = status.waiting.items.iter().map(|it| &*it.name).collect();
        assert_eq!(waiting, ["late", "later"]);
        let reason = &status.waiting.items[0].reason;
        assert!(reason.contains("pool a: exhausted (1 of 1)"), "{reason}");
        let [a, b] = &status.pools.items[..] else { panic!("{status:?}") };
        assert_eq!((a.v4, a.rejected), (Usage { in_use: 1, ..Usage::default() }, false));
        assert!(b.rejected && b.message.contains("overlaps"), "{b:?}");
        assert_eq!(b.contested, [("10.0.0.0".parse().unwrap(), "10.0.0.1".parse().unwrap())]);
    }

    #[test]
    fn a_replica_that_only_follows_says_so() {
        let mut cluster = Cluster::start(&[pool("a", "10.0.0.0/32")], &[("one", json!({}))]);
        cluster.index.set_role(Role::Follower, std::time::Instant::now());
        let status = cluster.index.status();
        assert!(!status.leads && !status.decides);
    }
}
