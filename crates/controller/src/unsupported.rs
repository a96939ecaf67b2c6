//! Kinds of MetalLB's group that can be applied but that this version does not act on. Who uses one is told
//! so, once for each object.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use kubekit::Change;
use kubekit::events::Notice;
use serde::Deserialize;

/// A router to announce addresses to, of which only the name matters here.
#[derive(Resource, Debug, Clone, Deserialize)]
#[resource(inherit = "api::BGPPeer")]
pub(crate) struct BgpPeer {
    metadata: ObjectMeta,
}

/// How addresses are announced by BGP, of which only the name matters here.
#[derive(Resource, Debug, Clone, Deserialize)]
#[resource(inherit = "api::BGPAdvertisement")]
pub(crate) struct BgpAdvertisement {
    metadata: ObjectMeta,
}

/// Which objects there are, and whose authors are still to be told.
#[derive(Debug, Default)]
pub(crate) struct Unsupported {
    /// By kind and name.
    seen: BTreeMap<(String, String), Option<String>>,
    pending: Vec<ObjectReference>,
}

impl Unsupported {
    /// Takes in a change of one of the kinds.
    pub(crate) fn change<K: Resource<DynamicType = ()>>(&mut self, change: Change<K>) {
        let kind = K::kind(&()).into_owned();
        match change {
            Change::Reset(objects) => {
                let listed: BTreeSet<String> = objects.iter().map(ResourceExt::name_any).collect();
                self.seen.retain(|(of, name), _| *of != kind || listed.contains(name));
                objects.iter().for_each(|object| self.see(&kind, object));
            }
            Change::Apply(object) => self.see(&kind, &object),
            Change::Delete(object) => _ = self.seen.remove(&(kind, object.name_any())),
        }
    }

    /// Events that are due, and the objects that they are about.
    pub(crate) fn emit(&mut self) -> Vec<(ObjectReference, Notice)> {
        let notice = |about: ObjectReference| {
            let kind = about.kind.as_deref().unwrap_or_default();
            let message = format!(
                "FerroLB announces addresses by ARP and NDP; this version does not act on {kind} objects"
            );
            (about, Notice::warning("NotSupported", message))
        };
        std::mem::take(&mut self.pending).into_iter().map(notice).collect()
    }

    fn see<K: Resource<DynamicType = ()>>(&mut self, kind: &str, object: &K) {
        let known = self.seen.insert((kind.to_owned(), object.name_any()), object.uid());
        if known != Some(object.uid()) {
            self.pending.push(object.object_ref(&()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_object_is_mentioned_once() {
        let peer = |uid: &str| -> BgpPeer {
            serde_json::from_value(json!({"metadata": {"name": "peer", "uid": uid}})).unwrap()
        };
        let mut unsupported = Unsupported::default();
        unsupported.change(Change::Reset(vec![peer("1")]));
        let (about, notice) = unsupported.emit().remove(0);
        assert_eq!(about.name.as_deref(), Some("peer"));
        assert!(notice.message.ends_with("does not act on BGPPeer objects"), "{notice:?}");
        unsupported.change(Change::Apply(peer("1")));
        unsupported.change(Change::Reset(vec![peer("1")]));
        assert!(unsupported.emit().is_empty());
        unsupported.change(Change::Delete(peer("1")));
        unsupported.change(Change::Apply(peer("2")));
        assert_eq!(unsupported.emit().len(), 1);
        unsupported.change(Change::Reset(Vec::<BgpPeer>::new()));
        assert!(unsupported.seen.is_empty(), "what is gone is forgotten");
    }
}
