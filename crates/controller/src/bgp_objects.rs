//! Objects about BGP, as far as the controller has to do with them: it tells their authors what is wrong. The speakers act on
//! them. What only a node can know, such as the password in a Secret, is in the `ConfigurationState` of its speaker.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    BFDProfile, BGPAdvertisement, BGPAdvertisementStatus, BGPPeer, BGPPeerStatus, Community,
    aliases_defined_twice, names,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};
use kubekit::events::Notice;
use kubekit::{Change, Mirror};
use pools::Pools;

use crate::acceptance::{Acceptance, Assessment};
use crate::bgp_sessions::BgpSessions;

/// All objects about BGP.
#[derive(Debug)]
pub(crate) struct BgpObjects {
    peers: Objects<BGPPeer>,
    advertisements: Objects<BGPAdvertisement>,
    communities: Objects<Community>,
    profiles: Objects<BFDProfile>,
    /// Kinds of which the list is not known yet: what names an object of them can't be judged.
    missing: BTreeSet<&'static str>,
    /// What they mean together.
    all: peering::Objects,
    /// How the sessions with the peers are doing.
    pub(crate) sessions: BgpSessions,
    /// Whether something is different since it was assessed.
    stale: bool,
}

/// A change of one of the kinds.
#[expect(clippy::large_enum_variant, reason = "one is alive at a time")]
#[derive(Debug)]
pub(crate) enum BgpChange {
    Peers(Change<BGPPeer>),
    Advertisements(Change<BGPAdvertisement>),
    Communities(Change<Community>),
    Profiles(Change<BFDProfile>),
}

impl Default for BgpObjects {
    fn default() -> Self {
        Self {
            peers: Objects::default(),
            advertisements: Objects::default(),
            communities: Objects::default(),
            profiles: Objects::default(),
            missing: ["BGPPeer", "BGPAdvertisement", "Community", "BFDProfile"].into(),
            all: peering::Objects::default(),
            sessions: BgpSessions::default(),
            stale: true,
        }
    }
}

impl BgpObjects {
    /// Takes in a change.
    pub(crate) fn change(&mut self, change: BgpChange) {
        self.stale = true;
        match change {
            BgpChange::Peers(change) => {
                self.listed("BGPPeer", &change);
                self.peers.change(change, |it| &it.status.conditions);
                let read = |(name, it): (&String, &Known<BGPPeer>)| (name.as_str().into(), it.object.read());
                self.all.peers = self.peers.objects.iter().map(read).collect();
            }
            BgpChange::Advertisements(change) => {
                self.listed("BGPAdvertisement", &change);
                self.advertisements.change(change, |it| &it.status.conditions);
                let read = |(name, it): (&String, &Known<BGPAdvertisement>)| {
                    (name.as_str().into(), it.object.read())
                };
                self.all.advertisements = self.advertisements.objects.iter().map(read).collect();
            }
            BgpChange::Communities(change) => {
                self.listed("Community", &change);
                self.communities.change(change, |_| &[]);
                let read = |(name, it): (&String, &Known<Community>)| (name.clone(), it.object.read());
                self.all.communities = self.communities.objects.iter().map(read).collect();
            }
            BgpChange::Profiles(change) => {
                self.listed("BFDProfile", &change);
                self.profiles.change(change, |_| &[]);
                let read =
                    |(name, it): (&String, &Known<BFDProfile>)| (name.as_str().into(), it.object.read());
                self.all.profiles = self.profiles.objects.iter().map(read).collect();
            }
        }
    }

    fn listed<K>(&mut self, kind: &str, change: &Change<K>) {
        if matches!(change, Change::Reset(_)) {
            self.missing.remove(kind);
        }
    }

    /// The pools are different.
    pub(crate) fn pools_changed(&mut self) {
        self.stale = true;
    }

    /// Events that are due, and the objects that they are about: one for each change of what there is to say.
    pub(crate) fn emit(&mut self, pools: &Pools) -> Vec<(ObjectReference, Notice)> {
        if !self.missing.is_empty() || !std::mem::take(&mut self.stale) {
            return Vec::new();
        }
        let (mut of_peers, mut of_advertisements) =
            (self.all.peer_faults(), self.all.advertisements(pools).1);
        let (mut of_profiles, mut of_names) = (self.all.peer_warnings(), self.all.advertisement_warnings());
        let mut twice = aliases_defined_twice(self.communities.objects.values().map(|known| &known.object));
        self.peers.assess(|name, peer| {
            let name = name.into();
            let doubts = [peer.warnings(), of_profiles.remove(&name).unwrap_or_default()].concat();
            assessment(of_peers.remove(&name).unwrap_or_default(), doubts)
        });
        self.advertisements.assess(|name, advertisement| {
            let name = name.into();
            let doubts = [advertisement.warnings(), of_names.remove(&name).unwrap_or_default()].concat();
            assessment(of_advertisements.remove(&name).unwrap_or_default(), doubts)
        });
        self.communities.assess(|name, community| {
            assessment(vec![], [community.warnings(), twice.remove(name).unwrap_or_default()].concat())
        });
        let notices = self.peers.emit().chain(self.advertisements.emit());
        notices.chain(self.communities.emit()).collect()
    }

    /// `BGPPeer`s whose status does not say what it should, and what that is.
    pub(crate) fn outdated_peers(&self, now: Timestamp) -> Vec<(ObjectReference, BGPPeerStatus)> {
        let outdated = |(name, known): (&String, &Known<BGPPeer>)| {
            let (accepted, _) = known.acceptance.condition(known.assessment.as_ref()?, now);
            let is = &known.object.status.conditions;
            let sessions = is.iter().find(|it| it.type_ == names::SESSIONS_ESTABLISHED);
            let sessions = self.sessions.condition(name, sessions, known.object.metadata.generation, now);
            let conditions: Vec<Condition> = [accepted].into_iter().chain(sessions).collect();
            (*is != conditions).then(|| (known.acceptance.reference.clone(), BGPPeerStatus { conditions }))
        };
        self.peers.objects.iter().filter_map(outdated).collect()
    }

    /// Whether there are peers that nodes can have sessions with.
    pub(crate) fn has_peers(&self) -> bool {
        !self.peers.objects.is_empty()
    }

    /// The same of `BGPAdvertisement`s.
    pub(crate) fn outdated_advertisements(
        &self,
        now: Timestamp,
    ) -> Vec<(ObjectReference, BGPAdvertisementStatus)> {
        let status = |(about, condition)| (about, BGPAdvertisementStatus { conditions: vec![condition] });
        self.advertisements.outdated(now).map(status).collect()
    }
}

fn assessment(faults: Vec<String>, doubts: Vec<String>) -> Assessment {
    Assessment::new((!faults.is_empty()).then_some("Invalid"), faults, doubts)
}

/// The objects of one kind.
#[derive(Debug)]
struct Objects<K> {
    mirror: Mirror<String>,
    objects: BTreeMap<String, Known<K>>,
}

#[derive(Debug)]
struct Known<K> {
    object: K,
    acceptance: Acceptance,
    /// What there is to say, once that is known.
    assessment: Option<Assessment>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self { mirror: Mirror::default(), objects: BTreeMap::new() }
    }
}

impl<K: Resource<DynamicType = ()>> Objects<K> {
    fn change(&mut self, change: Change<K>, conditions: impl Fn(&K) -> &[Condition]) {
        for (name, object) in self.mirror.update(change, ResourceExt::name_any) {
            let known = self.objects.remove(&name);
            let Some(object) = object else { continue };
            let newer = Acceptance::new(&object, conditions(&object));
            let known = match known {
                Some(mut known) => {
                    known.acceptance.update(newer);
                    Known { object, ..known }
                }
                None => Known { object, acceptance: newer, assessment: None },
            };
            self.objects.insert(name, known);
        }
    }

    fn assess(&mut self, mut assess: impl FnMut(&str, &K) -> Assessment) {
        for (name, known) in &mut self.objects {
            known.assessment = Some(assess(name, &known.object));
        }
    }

    fn emit(&mut self) -> impl Iterator<Item = (ObjectReference, Notice)> {
        self.objects.values_mut().filter_map(|known| {
            let notice = known.acceptance.emit(known.assessment.as_ref()?)?;
            Some((known.acceptance.reference.clone(), notice))
        })
    }

    fn outdated(&self, now: Timestamp) -> impl Iterator<Item = (ObjectReference, Condition)> {
        self.objects.values().filter_map(move |known| {
            let (condition, outdated) = known.acceptance.condition(known.assessment.as_ref()?, now);
            outdated.then(|| (known.acceptance.reference.clone(), condition))
        })
    }
}

#[cfg(test)]
mod tests {
    use pools::PoolSpec;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn object<K: DeserializeOwned>(name: &str, uid: &str, spec: Value) -> K {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": uid}, "spec": spec})).unwrap()
    }

    fn peer(uid: &str, extra: &Value) -> BGPPeer {
        let mut spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1"});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        object("peer", uid, spec)
    }

    fn community(name: &str) -> Community {
        object(name, name, json!({"communities": [{"name": "no-export", "value": "65535:65281"}]}))
    }

    /// Where all lists are known, and empty.
    fn listed() -> BgpObjects {
        let mut objects = BgpObjects::default();
        objects.change(BgpChange::Peers(Change::Reset(vec![])));
        objects.change(BgpChange::Advertisements(Change::Reset(vec![])));
        objects.change(BgpChange::Communities(Change::Reset(vec![])));
        objects.change(BgpChange::Profiles(Change::Reset(vec![])));
        objects
    }

    fn told_of(objects: &mut BgpObjects, pools: &Pools) -> Vec<String> {
        let line = |(about, it): (ObjectReference, Notice)| {
            format!("{} {}: {}", about.name.unwrap(), it.reason, it.message)
        };
        objects.emit(pools).into_iter().map(line).collect()
    }

    fn told(objects: &mut BgpObjects) -> Vec<String> {
        told_of(objects, &Pools::default())
    }

    fn is(told: &[String], beginnings: &[&str]) -> bool {
        told.len() == beginnings.len()
            && told.iter().zip(beginnings).all(|(told, beginning)| told.starts_with(beginning))
    }

    #[test]
    fn what_is_wrong_is_told_once_and_stays_in_the_condition() {
        let mut objects = listed();
        let bad = || peer("1", &json!({"myASN": 0}));
        objects.change(BgpChange::Peers(Change::Apply(bad())));
        let first = told(&mut objects);
        assert!(is(&first, &["peer ConfigurationError: spec.myASN: 0 is not an AS number"]), "{first:?}");
        objects.change(BgpChange::Peers(Change::Apply(bad())));
        assert!(told(&mut objects).is_empty());
        let status = |objects: &BgpObjects| {
            let (_, status) = objects.outdated_peers(Timestamp::UNIX_EPOCH).remove(0);
            status.conditions[0].status.clone()
        };
        assert_eq!(status(&objects), "False");
        objects.change(BgpChange::Peers(Change::Apply(peer("1", &json!({})))));
        assert!(told(&mut objects).is_empty());
        assert_eq!(status(&objects), "True");
        objects.change(BgpChange::Peers(Change::Apply(bad())));
        assert_eq!(told(&mut objects).len(), 1, "it is wrong again");
    }

    #[test]
    fn nothing_is_said_before_all_lists_are_known() {
        let mut objects = BgpObjects::default();
        objects.change(BgpChange::Peers(Change::Reset(vec![peer("1", &json!({"bfdProfile": "fast"}))])));
        assert!(told(&mut objects).is_empty() && objects.outdated_peers(Timestamp::UNIX_EPOCH).is_empty());
    }

    #[test]
    fn a_bfd_profile_must_be_there_and_make_sense() {
        let mut objects = listed();
        objects.change(BgpChange::Peers(Change::Apply(peer("1", &json!({"bfdProfile": "fast"})))));
        let first = told(&mut objects);
        assert!(
            is(&first, &["peer ConfigurationError: spec.bfdProfile: there is no BFDProfile fast"]),
            "{first:?}"
        );
        let fast = object("fast", "1", json!({"receiveInterval": 0}));
        objects.change(BgpChange::Profiles(Change::Apply(fast)));
        let then = told(&mut objects);
        let expected = "peer ConfigurationError: spec.bfdProfile: BFDProfile fast: spec.receiveInterval: 0";
        assert!(is(&then, &[expected]), "{then:?}");
        objects.change(BgpChange::Profiles(Change::Apply(object("fast", "2", json!({})))));
        assert!(objects.all.peer_faults().is_empty());
        assert!(told(&mut objects).is_empty());
        // The sessions go on, and the author of the peer is told what they lack.
        objects.change(BgpChange::Profiles(Change::Delete(object("fast", "2", json!({})))));
        let last = told(&mut objects);
        assert!(
            is(&last, &["peer ConfigurationError: spec.bfdProfile: there is no BFDProfile fast"]),
            "{last:?}"
        );
        assert!(last[0].ends_with("until then sessions go on without BFD"), "{last:?}");
    }

    #[test]
    fn a_name_that_two_communities_define_is_pointed_out_on_both() {
        let mut objects = listed();
        objects.change(BgpChange::Communities(Change::Apply(community("a"))));
        assert!(told(&mut objects).is_empty());
        objects.change(BgpChange::Communities(Change::Apply(community("b"))));
        assert!(is(&told(&mut objects), &["a ConfigurationWarning", "b ConfigurationWarning"]));
        objects.change(BgpChange::Communities(Change::Delete(community("b"))));
        assert!(told(&mut objects).is_empty());
    }

    #[test]
    fn an_advertisement_that_lacks_a_community_or_exceeds_a_pool_is_not_in_force() {
        let mut objects = listed();
        let ad = |spec| BgpChange::Advertisements(Change::Apply(object("ad", "1", spec)));
        objects.change(ad(json!({"communities": ["no-export"]})));
        let first = told(&mut objects);
        assert!(is(&first, &["ad ConfigurationError: spec.communities[0] \"no-export\": no Community"]));
        objects.change(BgpChange::Communities(Change::Apply(community("a"))));
        assert!(told(&mut objects).is_empty());
        objects.change(ad(json!({"aggregationLength": 24})));
        assert!(told(&mut objects).is_empty());
        let pools = Pools::new([PoolSpec::new("lan", &["192.0.2.0/25"])]);
        assert!(told_of(&mut objects, &pools).is_empty(), "they are not known to be different");
        objects.pools_changed();
        let then = told_of(&mut objects, &pools);
        assert!(
            is(&then, &["ad ConfigurationError: spec.aggregationLength: prefixes of length 24"]),
            "{then:?}"
        );
    }
}
