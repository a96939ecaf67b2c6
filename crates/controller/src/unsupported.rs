//! Kinds of MetalLB's group that can be applied but that this version does not act on. Who uses one is told
//! so, once for each object.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use kubekit::Change;
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
    seen: BTreeSet<String>,
    untold: Vec<ObjectReference>,
}

impl Unsupported {
    /// Takes in a change of one of the kinds.
    pub(crate) fn change<K: Resource<DynamicType = ()>>(&mut self, change: Change<K>) {
        match change {
            Change::Reset(objects) => objects.iter().for_each(|object| self.see(object)),
            Change::Apply(object) => self.see(&object),
            Change::Delete(object) => {
                self.seen.remove(&object.uid().unwrap_or_default());
            }
        }
    }

    /// Objects whose authors are to be told.
    pub(crate) fn take_untold(&mut self) -> Vec<(ObjectReference, String)> {
        let tell = |about: ObjectReference| {
            let kind = about.kind.as_deref().unwrap_or_default();
            let message =
                format!("FerroLB announces addresses by ARP; this version does not act on {kind} objects");
            (about, message)
        };
        std::mem::take(&mut self.untold).into_iter().map(tell).collect()
    }

    fn see<K: Resource<DynamicType = ()>>(&mut self, object: &K) {
        if self.seen.insert(object.uid().unwrap_or_default()) {
            self.untold.push(object.object_ref(&()));
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
        let (about, message) = unsupported.take_untold().remove(0);
        assert_eq!(about.name.as_deref(), Some("peer"));
        assert!(message.ends_with("does not act on BGPPeer objects"), "{message}");
        unsupported.change(Change::Apply(peer("1")));
        unsupported.change(Change::Reset(vec![peer("1")]));
        assert!(unsupported.take_untold().is_empty());
        unsupported.change(Change::Delete(peer("1")));
        unsupported.change(Change::Apply(peer("2")));
        assert_eq!(unsupported.take_untold().len(), 1);
    }
}
