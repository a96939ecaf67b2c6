//! Objects about BGP, which can be applied but which this version does not act on. Their authors hear so once, and
//! also what of them is probably a slip: whoever prepares for BGP should know before it counts.

use std::collections::BTreeMap;

use api::{BGPAdvertisement, BGPPeer, Community, aliases_defined_twice, undefined_aliases};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use kubekit::events::Notice;
use kubekit::{Change, Mirror};

/// All `BGPPeer`, `BGPAdvertisement` and `Community` objects.
#[derive(Debug, Default)]
pub(crate) struct BgpObjects {
    peers: Objects<BGPPeer>,
    advertisements: Objects<BGPAdvertisement>,
    communities: Objects<Community>,
}

/// A change of one of the kinds.
#[expect(clippy::large_enum_variant, reason = "one is alive at a time")]
#[derive(Debug)]
pub(crate) enum BgpChange {
    Peers(Change<BGPPeer>),
    Advertisements(Change<BGPAdvertisement>),
    Communities(Change<Community>),
}

impl BgpObjects {
    /// Takes in a change.
    pub(crate) fn change(&mut self, change: BgpChange) {
        match change {
            BgpChange::Peers(change) => self.peers.change(change),
            BgpChange::Advertisements(change) => self.advertisements.change(change),
            BgpChange::Communities(change) => self.communities.change(change),
        }
    }

    /// Events that are due, and the objects that they are about: one for each change of what there is to say.
    pub(crate) fn emit(&mut self) -> Vec<(ObjectReference, Notice)> {
        let communities: Vec<&Community> = self.communities.all().collect();
        let mut twice = aliases_defined_twice(communities.iter().copied());
        let mut of_advertisements = BTreeMap::new();
        for advertisement in self.advertisements.all() {
            let undefined = undefined_aliases(advertisement, communities.iter().copied());
            of_advertisements
                .insert(advertisement.name_any(), [advertisement.warnings(), undefined].concat());
        }
        let mut notices = self.peers.emit(Acted::No, BGPPeer::warnings);
        notices.extend(self.advertisements.emit(Acted::No, |advertisement| {
            of_advertisements.remove(&advertisement.name_any()).unwrap_or_default()
        }));
        notices.extend(self.communities.emit(Acted::OnlyWithOthers, |community| {
            let shared = twice.remove(&community.name_any()).unwrap_or_default();
            [community.warnings(), shared].concat()
        }));
        notices
    }
}

/// Whether to say that an object has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acted {
    No,
    /// It has none by itself in any version.
    OnlyWithOthers,
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
    /// What has been emitted about it, once that was anything.
    emitted: Option<Vec<String>>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self { mirror: Mirror::default(), objects: BTreeMap::new() }
    }
}

impl<K: Resource<DynamicType = ()>> Objects<K> {
    fn change(&mut self, change: Change<K>) {
        for (name, object) in self.mirror.update(change, ResourceExt::name_any) {
            let known = self.objects.remove(&name);
            if let Some(object) = object {
                let same = known.filter(|known| known.object.uid() == object.uid());
                self.objects.insert(name, Known { object, emitted: same.and_then(|known| known.emitted) });
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &K> {
        self.objects.values().map(|known| &known.object)
    }

    fn emit(
        &mut self,
        acted: Acted,
        mut warnings: impl FnMut(&K) -> Vec<String>,
    ) -> Vec<(ObjectReference, Notice)> {
        let mut notices = Vec::new();
        for known in self.objects.values_mut() {
            let warnings = warnings(&known.object);
            let about = known.object.object_ref(&());
            if known.emitted.is_none() && acted == Acted::No {
                notices.push((about.clone(), Notice::warning("NotSupported", not_supported(&about))));
            }
            if !warnings.is_empty() && known.emitted.as_ref() != Some(&warnings) {
                notices.push((about, Notice::warning("ConfigurationWarning", warnings.join("; "))));
            }
            known.emitted = Some(warnings);
        }
        notices
    }
}

fn not_supported(about: &ObjectReference) -> String {
    let kind = about.kind.as_deref().unwrap_or_default();
    format!("FerroLB announces addresses by ARP and NDP; this version does not act on {kind} objects")
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn object<K: DeserializeOwned>(name: &str, uid: &str, spec: Value) -> K {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": uid}, "spec": spec})).unwrap()
    }

    fn reasons(objects: &mut BgpObjects) -> Vec<String> {
        objects
            .emit()
            .into_iter()
            .map(|(about, it)| format!("{} {}", about.name.unwrap(), it.reason))
            .collect()
    }

    #[test]
    fn each_object_is_mentioned_once_and_again_when_it_is_made_again() {
        let peer =
            |uid: &str| object("peer", uid, json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1"}));
        let mut objects = BgpObjects::default();
        objects.change(BgpChange::Peers(Change::Reset(vec![peer("1")])));
        assert_eq!(reasons(&mut objects), ["peer NotSupported"]);
        objects.change(BgpChange::Peers(Change::Apply(peer("1"))));
        assert!(reasons(&mut objects).is_empty());
        objects.change(BgpChange::Peers(Change::Apply(peer("2"))));
        assert_eq!(reasons(&mut objects), ["peer NotSupported"]);
        objects.change(BgpChange::Peers(Change::Reset(vec![])));
        assert!(objects.peers.objects.is_empty(), "what is gone is forgotten");
    }

    #[test]
    fn a_name_that_two_communities_define_is_pointed_out_on_both() {
        let community = |name| {
            object(name, name, json!({"communities": [{"name": "no-export", "value": "65535:65281"}]}))
        };
        let mut objects = BgpObjects::default();
        objects.change(BgpChange::Communities(Change::Apply(community("a"))));
        assert!(reasons(&mut objects).is_empty());
        objects.change(BgpChange::Communities(Change::Apply(community("b"))));
        assert_eq!(reasons(&mut objects), ["a ConfigurationWarning", "b ConfigurationWarning"]);
        objects.change(BgpChange::Communities(Change::Delete(community("b"))));
        assert!(reasons(&mut objects).is_empty());
    }

    #[test]
    fn a_community_that_nobody_defines_is_pointed_out_on_the_advertisement() {
        let mut objects = BgpObjects::default();
        let advertisement = object("ad", "1", json!({"communities": ["no-export"]}));
        objects.change(BgpChange::Advertisements(Change::Apply(advertisement)));
        assert_eq!(reasons(&mut objects), ["ad NotSupported", "ad ConfigurationWarning"]);
    }
}
