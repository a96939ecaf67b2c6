//! Services of which not all events are compared, and what a story has done to them that explains it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use crate::outcome::{Outcome, Served};
use crate::step::{Id, Kind, Object, Step};

/// What is known of the Services of a story.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Excused {
    /// They went different ways for a while.
    parted: BTreeSet<String>,
    /// Somebody wrote a list of addresses into their status that is not of their families.
    misfit: BTreeSet<String>,
    /// They have, or had, an annotation with the deprecated prefix.
    deprecated: BTreeSet<String>,
    /// What they were last applied as.
    stacks: BTreeMap<String, Stack>,
}

/// Families and policy of a Service, as it is written.
type Stack = [Value; 2];

const FAILED: &str = "AllocationFailed";
const CLEARED: &str = "ClearAssignment";
const UNREADABLE: &str = "LoadBalancerFailed";
const MENTIONED: &str = "deprecatedAnnotation";
/// What tells of the way to an outcome, which is another one for Services that went different ways.
const OF_THE_WAY: [&str; 4] = ["IPAllocated", "AdditionalAssignFailed", FAILED, CLEARED];

impl Excused {
    /// Takes in a step. `before` is what FerroLB had made of it before.
    pub(crate) fn take(&mut self, step: &Step, before: &Outcome) {
        match step {
            Step::Apply(Object { id, manifest, .. }) if id.kind == Kind::Service => {
                let annotations = manifest["metadata"]["annotations"].as_object();
                let mut keys = annotations.into_iter().flat_map(|all| all.keys());
                if keys.any(|key| key.starts_with("metallb.universe.tf/")) {
                    self.deprecated.insert(id.key());
                }
                self.stacks.extend(stack(manifest).map(|stack| (id.key(), stack)));
            }
            Step::Status { service, ingress } => {
                if self.stacks.get(&service.key()).is_some_and(|stack| is_misfit(stack, ingress)) {
                    self.misfit.insert(service.key());
                }
            }
            Step::AtOnce(steps) => {
                // Whether a controller sees that a pool is away depends on the moment.
                let away: Vec<&Id> = step.deleted();
                let concerned = before.services.iter().filter(|(_, service)| {
                    service.ingress.is_empty()
                        || away.iter().any(|pool| service.pool.as_ref() == Some(&pool.name))
                });
                self.parted.extend(concerned.map(|(name, _)| name.clone()));
                steps.iter().for_each(|step| self.take(step, before));
            }
            Step::Restart { meanwhile } => meanwhile.iter().for_each(|step| self.take(step, before)),
            Step::Apply(_) | Step::Delete(_) | Step::Release(_) | Step::Replace { .. } => {}
        }
    }

    /// The Service that a step changes while its families stay, if that is all that the step does: whatever else is
    /// changed about a Service, it means.
    pub(crate) fn edited(&self, step: &Step) -> Option<String> {
        let Step::Apply(Object { id, manifest, .. }) = step else { return None };
        let before = self.stacks.get(&id.key());
        let same = stack(manifest).is_none_or(|stack| Some(&stack) == before);
        (id.kind == Kind::Service && same).then(|| id.key())
    }

    /// These went different ways.
    pub(crate) fn part(&mut self, services: impl Iterator<Item = String>) {
        self.parted.extend(services);
    }

    /// The Service is gone; one of the same name is another.
    pub(crate) fn forget(&mut self, name: &str) {
        self.parted.remove(name);
        self.misfit.remove(name);
        self.deprecated.remove(name);
        self.stacks.remove(name);
    }

    /// Makes FerroLB's and MetalLB's Service of this name alike in what is known not to be.
    pub(crate) fn level(&self, name: &str, ours: &mut Served, theirs: &mut Served) {
        if ours.has_sound_record() {
            theirs.previous.clone_from(&ours.previous);
        }
        // MetalLB drops the record of the pool with the family that is lost, though it leaves the other one.
        let keeps_one =
            !ours.previous.is_empty() && !ours.ingress.is_empty() && ours.ingress == theirs.ingress;
        if keeps_one && theirs.pool.is_none() {
            theirs.pool.clone_from(&ours.pool);
        }
        let twice = [FAILED, UNREADABLE].iter().all(|reason| theirs.reasons.contains(*reason));
        if twice && ours.reasons.contains(FAILED) && !ours.reasons.contains(UNREADABLE) {
            theirs.reasons.remove(UNREADABLE);
        }
        if self.parted.contains(name) {
            for reason in OF_THE_WAY {
                ours.reasons.remove(reason);
                theirs.reasons.remove(reason);
            }
        }
        if self.misfit.contains(name) && !theirs.reasons.contains(CLEARED) {
            ours.reasons.remove(CLEARED);
        }
        let waits = ours.ingress.is_empty() && theirs.ingress.is_empty();
        if self.deprecated.contains(name) {
            if waits || !theirs.reasons.contains(MENTIONED) {
                ours.reasons.remove(MENTIONED);
            }
            if waits {
                theirs.reasons.remove(MENTIONED);
            }
        }
    }
}

/// None where that is left to another field manager.
fn stack(manifest: &Value) -> Option<Stack> {
    let stack = ["ipFamilies", "ipFamilyPolicy"].map(|field| manifest["spec"][field].clone());
    (!stack[0].is_null()).then_some(stack)
}

/// Whether MetalLB drops this list for its families alone, and says nothing.
fn is_misfit([families, policy]: &Stack, ingress: &Value) -> bool {
    let ips = ingress.as_array().into_iter().flatten().filter_map(|entry| entry["ip"].as_str()?.parse().ok());
    let mut listed: Vec<&str> = ips.map(|ip: IpAddr| if ip.is_ipv4() { "IPv4" } else { "IPv6" }).collect();
    listed.sort_unstable();
    let mut wanted: Vec<&str> = families.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    wanted.sort_unstable();
    let one_will_do = policy == "PreferDualStack" && listed.len() == 1;
    listed != wanted && !one_will_do
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outcome::Ingress;

    fn service(policy: &str, families: &[&str]) -> Object {
        let id = Id { kind: Kind::Service, namespace: "a".to_owned(), name: "s".to_owned() };
        Object::new(id, json!({"spec": {"ipFamilies": families, "ipFamilyPolicy": policy}}))
    }

    fn applied(policy: &str, families: &[&str]) -> Excused {
        let mut excused = Excused::default();
        excused.take(&Step::Apply(service(policy, families)), &Outcome::default());
        excused
    }

    fn served(reasons: &[&str]) -> Served {
        Served { reasons: reasons.iter().map(|it| (*it).to_owned()).collect(), ..Served::default() }
    }

    /// What of their events is compared.
    fn levelled(excused: &Excused, ours: &[&str], theirs: &[&str]) -> [Vec<String>; 2] {
        let (mut ours, mut theirs) = (served(ours), served(theirs));
        excused.level("a/s", &mut ours, &mut theirs);
        [ours, theirs].map(|it| it.reasons.into_iter().collect())
    }

    #[test]
    fn who_went_another_way_is_still_compared_in_what_its_object_says() {
        let mut excused = applied("SingleStack", &["IPv4"]);
        let both = [&["IPAllocated", UNREADABLE][..], &["InternalError"]];
        assert_eq!(
            levelled(&excused, both[0], both[1]),
            [vec!["IPAllocated", UNREADABLE], vec!["InternalError"]]
        );
        excused.part(["a/s".to_owned()].into_iter());
        assert_eq!(levelled(&excused, both[0], both[1]), [vec![UNREADABLE], vec!["InternalError"]]);
        excused.forget("a/s");
        assert_eq!(levelled(&excused, &["IPAllocated"], &[]), [vec!["IPAllocated"], vec![]]);
    }

    #[test]
    fn an_address_is_taken_away_silently_only_from_a_list_of_other_families() {
        let single = || ("SingleStack", &["IPv4"][..]);
        let prefer = || ("PreferDualStack", &["IPv6", "IPv4"][..]);
        for ((policy, families), ips, misfit) in [
            (single(), &["10.0.0.1"][..], false),
            (single(), &["fd00::1"], true),
            (single(), &["10.0.0.1", "fd00::1"], true),
            (prefer(), &["10.0.0.1"], false),
            (prefer(), &["10.0.0.1", "fd00::1"], false),
            (prefer(), &["10.0.0.1", "10.0.0.2"], true),
            (("RequireDualStack", &["IPv4", "IPv6"]), &["10.0.0.1"], true),
        ] {
            let mut excused = applied(policy, families);
            let ips: Vec<String> = ips.iter().map(|ip| (*ip).to_owned()).collect();
            let status =
                Step::Status { service: service(policy, families).id, ingress: crate::side::ingress(&ips) };
            excused.take(&Step::Restart { meanwhile: vec![status] }, &Outcome::default());
            let kept = if misfit { vec![] } else { vec![CLEARED.to_owned()] };
            assert_eq!(levelled(&excused, &[CLEARED], &[]), [kept, vec![]], "{policy} {ips:?}");
        }
    }

    #[test]
    fn a_pool_that_is_made_again_excuses_those_who_have_an_address_from_it_or_none() {
        let pool = Id { kind: Kind::Pool, namespace: "x".to_owned(), name: "p".to_owned() };
        let served = |pool: Option<&str>| Served {
            ingress: pool.iter().map(|_| Ingress::Ip("10.0.0.1".parse().unwrap())).collect(),
            pool: pool.map(str::to_owned),
            ..Served::default()
        };
        let services = [("a/p", served(Some("p"))), ("a/q", served(Some("q"))), ("a/none", served(None))];
        let services = services.map(|(name, service)| (name.to_owned(), service)).into();
        let before = Outcome { services, ..Outcome::default() };
        let mut excused = Excused::default();
        excused.take(&Step::AtOnce(vec![Step::Delete(pool)]), &before);
        assert_eq!(excused.parted.into_iter().collect::<Vec<_>>(), ["a/none", "a/p"]);
    }

    #[test]
    fn what_is_said_twice_is_known_also_of_those_who_went_another_way() {
        let mut excused = applied("SingleStack", &["IPv4"]);
        excused.part(["a/s".to_owned()].into_iter());
        let none = || Vec::<String>::new();
        assert_eq!(levelled(&excused, &[FAILED], &[FAILED, UNREADABLE]), [none(), none()]);
        assert_eq!(levelled(&excused, &[], &[UNREADABLE]), [none(), vec![UNREADABLE.to_owned()]]);
    }

    #[test]
    fn the_pool_of_the_family_that_stays_is_recorded_by_ferrolb_alone() {
        let one = |pool: Option<&str>, previous: &[&str], ip: &str| Served {
            ingress: vec![Ingress::Ip(ip.parse().unwrap())],
            pool: pool.map(str::to_owned),
            previous: previous.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..Served::default()
        };
        for (lost, theirs, alike) in [
            (&["fd00::1"][..], one(None, &[], "10.0.0.1"), true),
            (&[], one(None, &[], "10.0.0.1"), false),
            (&["fd00::1"], one(Some("q"), &[], "10.0.0.1"), false),
            (&["fd00::1"], one(None, &[], "10.0.0.2"), false),
        ] {
            let (mut ours, mut theirs) = (one(Some("p"), lost, "10.0.0.1"), theirs);
            Excused::default().level("a/s", &mut ours, &mut theirs);
            assert_eq!(ours == theirs, alike, "{theirs:?}");
        }
    }

    #[test]
    fn an_edit_that_leaves_the_families_alone_is_told_apart() {
        let excused = applied("SingleStack", &["IPv4"]);
        let edit = |policy| Step::Apply(service(policy, &["IPv4"]));
        assert_eq!(excused.edited(&edit("SingleStack")).as_deref(), Some("a/s"));
        assert_eq!(excused.edited(&edit("PreferDualStack")), None);
        assert_eq!(excused.edited(&Step::Restart { meanwhile: vec![edit("SingleStack")] }), None);
    }
}
