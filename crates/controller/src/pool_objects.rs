//! `IPAddressPool` objects, what of them is in force, and what is to be said about each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::{IPAddressPool, IPAddressPoolStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;
use kubekit::events::Notice;
use kubekit::{Change, Mirror};
use objects::{NodeName, PoolName};
use pools::{Entry, PoolSpec, Pools, Presence};
use translation::pool_doubts;

use crate::acceptance::{Acceptance, Assessment};

/// For so long after its object was deleted does a pool count as being replaced (`kubectl replace --force`, GitOps
/// tools): nobody gets another address in the meantime. Longer than such tools take, and no longer than somebody waits
/// who wants the addresses to go.
const MADE_AGAIN_WITHIN: Duration = Duration::from_secs(2);

/// All `IPAddressPool` objects.
#[derive(Debug, Default)]
pub(crate) struct PoolObjects {
    mirror: Mirror<PoolName>,
    objects: BTreeMap<PoolName, PoolObject>,
    /// Pools whose objects were deleted a moment ago, and until when they count.
    deleted: BTreeMap<PoolName, (Instant, PoolSpec)>,
    /// Whether `in_force` is yet to be worked out.
    changed: bool,
    in_force: Pools,
    /// Addresses of nodes, which are told to the authors of the pools that list them.
    reserved: BTreeMap<IpAddr, NodeName>,
}

/// One object, for its status.
#[derive(Debug)]
pub(crate) struct PoolObject {
    pub(crate) acceptance: Acceptance,
    pub(crate) assessment: Assessment,
    /// What its status says now.
    pub(crate) status: Option<IPAddressPoolStatus>,
    spec: PoolSpec,
    /// What its author may not mean, by the object alone.
    doubts: Vec<String>,
}

impl PoolObjects {
    /// Takes in a change. What is in force is worked out by [`Self::work_out`], for pools come in great numbers.
    pub(crate) fn change(&mut self, change: Change<IPAddressPool>, now: Instant) {
        for (name, object) in self.mirror.update(change, |object| PoolName::new(object.name_any())) {
            self.changed |= match object {
                Some(object) => self.put(name, &object),
                None => self.remove(name, now),
            };
        }
    }

    /// Takes in which pools Services record at the start, each with the addresses that they have from it. Those that are
    /// not there may have been deleted a moment ago.
    pub(crate) fn recorded(&mut self, recorded: BTreeMap<PoolName, Vec<IpAddr>>, now: Instant) {
        for (name, ips) in recorded {
            if self.objects.contains_key(&name) || self.deleted.contains_key(&name) {
                continue;
            }
            let entries = ips.into_iter().map(Entry::from).collect();
            let spec = PoolSpec { entries, presence: Presence::Deleted, ..PoolSpec::new(name.clone(), &[]) };
            self.deleted.insert(name, (now + MADE_AGAIN_WITHIN, spec));
            self.changed = true;
        }
    }

    /// When [`Self::expire`] should be called next.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.deleted.values().map(|(until, _)| *until).min()
    }

    /// Lets go of pools that have not been made again in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        let before = self.deleted.len();
        self.deleted.retain(|_, (until, _)| *until > now);
        self.changed |= self.deleted.len() < before;
    }

    /// Whether something has come that may change what is in force: the echo of a status is no such thing.
    pub(crate) fn have_changed(&self) -> bool {
        self.changed
    }

    /// Works out what is in force now. Whether something had changed.
    pub(crate) fn work_out(&mut self) -> bool {
        let changed = std::mem::take(&mut self.changed);
        if changed {
            let present = self.objects.values().map(|object| &object.spec);
            let deleted = self.deleted.values().map(|(_, spec)| spec);
            self.in_force = Pools::new(present.chain(deleted).cloned());
            self.assess();
        }
        changed
    }

    /// Takes in the addresses of nodes.
    pub(crate) fn set_reserved(&mut self, reserved: BTreeMap<IpAddr, NodeName>) {
        self.reserved = reserved;
        self.assess();
    }

    /// What is in force.
    pub(crate) fn in_force(&self) -> &Pools {
        &self.in_force
    }

    /// All objects, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PoolName, &PoolObject)> {
        self.objects.iter()
    }

    /// Events that are due, and the objects that they are about.
    pub(crate) fn emit(&mut self) -> Vec<(ObjectReference, Notice)> {
        let emit = |object: &mut PoolObject| {
            let notice = object.acceptance.emit(&object.assessment)?;
            Some((object.acceptance.reference.clone(), notice))
        };
        self.objects.values_mut().filter_map(emit).collect()
    }

    /// What is not in force, object by object.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        let rejected = self.objects.iter().filter(|(_, object)| object.assessment.is_rejected());
        rejected.map(|(name, object)| format!("IPAddressPool {name}: {}", object.assessment.message()))
    }

    /// Whether some object is not in force as it stands.
    pub(crate) fn is_stale(&self) -> bool {
        self.objects.values().any(|object| object.assessment.is_rejected())
    }

    fn remove(&mut self, name: PoolName, now: Instant) -> bool {
        let Some(object) = self.objects.remove(&name) else { return false };
        let spec = PoolSpec { presence: Presence::Deleted, ..object.spec };
        self.deleted.insert(name, (now + MADE_AGAIN_WITHIN, spec));
        true
    }

    fn put(&mut self, name: PoolName, object: &IPAddressPool) -> bool {
        self.deleted.remove(&name);
        let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let acceptance = Acceptance::new(object, conditions);
        let (spec, status) = (PoolSpec::from(object), object.status.clone());
        match self.objects.get_mut(&name) {
            Some(known) => {
                known.acceptance.update(acceptance);
                known.status = status;
                // Who was first matters only where two want the same.
                let same = |spec: PoolSpec| PoolSpec { accepted: known.spec.accepted, ..spec };
                let changed = if self.in_force.are_disputed() {
                    known.spec != spec
                } else {
                    known.spec != same(spec.clone())
                };
                if changed {
                    known.doubts = object.warnings();
                }
                known.spec = spec;
                changed
            }
            None => {
                let (assessment, doubts) = (Assessment::Accepted, object.warnings());
                self.objects.insert(name, PoolObject { acceptance, assessment, status, spec, doubts });
                true
            }
        }
    }

    fn assess(&mut self) {
        let mut doubts = pool_doubts(&self.in_force, &self.reserved);
        for (name, object) in &mut self.objects {
            let faults = self.in_force.get(name).map_or(&[][..], |pool| &pool.faults);
            let reason = faults.first().map(pools::Fault::reason);
            let of_others = doubts.remove(name).unwrap_or_default();
            let doubts = object.doubts.iter().cloned().chain(of_others).collect();
            let faults = faults.iter().map(ToString::to_string).collect();
            object.assessment = Assessment::new(reason, faults, doubts);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, created: u8, addresses: &[&str]) -> IPAddressPool {
        let created = format!("2026-01-01T00:00:{created:02}Z");
        serde_json::from_value(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": name, "creationTimestamp": created}, "spec": {"addresses": addresses},
        }))
        .unwrap()
    }

    fn change(objects: &mut PoolObjects, change: Change<IPAddressPool>) -> bool {
        objects.change(change, Instant::now());
        objects.work_out()
    }

    fn emitted(objects: &mut PoolObjects) -> Vec<String> {
        objects
            .emit()
            .into_iter()
            .map(|(about, it)| format!("{}: {}", about.name.unwrap(), it.message))
            .collect()
    }

    #[test]
    fn a_bad_entry_is_told_once_and_the_rest_is_in_force() {
        let mut objects = PoolObjects::default();
        assert!(change(&mut objects, Change::Reset(vec![object("bad", 1, &["10.0.0.1", "10.0.1.0/30"])])));
        let [told] = &emitted(&mut objects)[..] else { panic!("one event") };
        assert!(told.starts_with("bad: spec.addresses[0]") && told.contains("write 10.0.0.1/32"), "{told}");
        assert!(objects.is_stale());
        assert!(
            !change(&mut objects, Change::Apply(object("bad", 1, &["10.0.0.1", "10.0.1.0/30"]))),
            "an echo"
        );
        assert!(emitted(&mut objects).is_empty());
        assert!(change(&mut objects, Change::Delete(object("bad", 1, &[]))));
        assert!(!objects.is_stale());
    }

    #[test]
    fn the_younger_of_two_that_overlap_is_told_until_the_other_makes_room() {
        let mut objects = PoolObjects::default();
        change(&mut objects, Change::Apply(object("b", 1, &["10.0.0.0/24"])));
        change(&mut objects, Change::Apply(object("a", 2, &["10.0.0.0/25"])));
        let [told, other] = &emitted(&mut objects)[..] else { panic!("one event for each") };
        assert!(other.starts_with("b: an entry of IPAddressPool a overlaps this pool"), "{other}");
        assert!(
            told.starts_with("a: ") && told.contains("overlaps 10.0.0.0-10.0.0.127 of IPAddressPool b"),
            "{told}"
        );
        assert_eq!(objects.problems().count(), 1);
        change(&mut objects, Change::Delete(object("b", 1, &[])));
        assert!(!objects.is_stale());
    }

    #[test]
    fn an_address_of_a_node_is_pointed_out_on_the_pool_that_has_it() {
        let mut objects = PoolObjects::default();
        change(
            &mut objects,
            Change::Reset(vec![object("a", 1, &["10.0.0.0/24"]), object("b", 2, &["10.0.1.0/24"])]),
        );
        objects.set_reserved(BTreeMap::from([("10.0.1.7".parse().unwrap(), NodeName::from("n1"))]));
        assert_eq!(
            emitted(&mut objects),
            ["b: spec.addresses contains 10.0.1.7, an address of node n1, which is never given"]
        );
        assert!(!objects.is_stale());
    }
}
