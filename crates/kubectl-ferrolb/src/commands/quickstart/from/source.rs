//! What there is of another load balancer in a cluster: its configuration, and who announces by it.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::carried::{Carried, list, text};
use super::{cilium, kube_vip, metallb, purelb};
use crate::client::{self, Failure, Why};
use crate::cluster::{Cluster, METALLB};
use crate::commands::{convert, quickstart::rivals};
use crate::options::Source;
use crate::surroundings;

const KUBE_SYSTEM: &str = "kube-system";
/// The kinds of MetalLB's configuration, with their version and plural.
const METALLB_KINDS: [(&str, &str, &str); 6] = [
    ("IPAddressPool", "v1beta1", "ipaddresspools"),
    ("L2Advertisement", "v1beta1", "l2advertisements"),
    ("BGPAdvertisement", "v1beta1", "bgpadvertisements"),
    ("BGPPeer", "v1beta2", "bgppeers"),
    ("BFDProfile", "v1beta1", "bfdprofiles"),
    ("Community", "v1beta1", "communities"),
];

/// What there is of it.
pub(super) struct There {
    pub(super) carried: Carried,
    /// Who gives out or announces addresses by it, if anybody does.
    pub(super) announcing: Option<String>,
    /// What is read as it is, and what comes of it.
    pub(super) stays: Vec<String>,
}

/// Why it is not known.
pub(super) enum NotRead {
    Unseen(Failure),
    /// It is there, and cannot be understood.
    Unreadable(anyhow::Error),
}

impl From<Failure> for NotRead {
    fn from(failure: Failure) -> Self {
        Self::Unseen(failure)
    }
}

impl There {
    /// Reads what there is.
    pub(super) async fn of(source: Source, cluster: &Cluster) -> Result<Self, NotRead> {
        match source {
            Source::Metallb => of_metallb(cluster).await,
            Source::KubeVip => {
                let map = config_map(cluster, KUBE_SYSTEM, "kubevip").await?;
                let carried = map.and_then(|map| map.data).map(|data| kube_vip::convert(&data));
                let announcing = announcer(cluster, kube_vip::announces).await?;
                Ok(Self { carried: carried.unwrap_or_default(), announcing, stays: vec![] })
            }
            Source::Purelb => {
                let groups =
                    objects(cluster, "purelb.io", &["v2", "v1"], "ServiceGroup", "servicegroups").await?;
                let announcing = announcer(cluster, purelb::announces).await?;
                Ok(Self { carried: purelb::convert(&groups), announcing, stays: vec![] })
            }
            Source::Cilium => {
                let (kind, plural) = ("CiliumLoadBalancerIPPool", "ciliumloadbalancerippools");
                let pools = objects(cluster, "cilium.io", &["v2", "v2alpha1"], kind, plural).await?;
                let (kind, plural) = ("CiliumL2AnnouncementPolicy", "ciliuml2announcementpolicies");
                let policies = objects(cluster, "cilium.io", &["v2", "v2alpha1"], kind, plural).await?;
                let config = config_map(cluster, KUBE_SYSTEM, "cilium-config").await?;
                let config = config.and_then(|map| map.data?.remove("enable-l2-announcements"));
                let announcing = cilium::announces(config.as_deref(), &pools, &policies);
                Ok(Self { carried: cilium::convert(&pools, &policies), announcing, stays: vec![] })
            }
            Source::Servicelb => {
                let (nodes, daemon_sets) = futures::join!(cluster.all::<Node>(), cluster.all::<DaemonSet>());
                let announcing = rivals::found(&nodes?, &daemon_sets?).map(|(what, _)| what);
                let object = json!({
                    "apiVersion": "ferrolb.io/v1alpha1", "kind": "NodeAddressPool",
                    "metadata": {"name": "nodes"}, "spec": {"k3sLabels": true},
                });
                Ok(Self {
                    carried: Carried { objects: vec![object], lost: vec![] },
                    announcing,
                    stays: vec![],
                })
            }
        }
    }
}

async fn of_metallb(cluster: &Cluster) -> Result<There, NotRead> {
    let mut pods: Vec<Pod> = Vec::new();
    for labels in METALLB {
        pods.extend(client::list::<Pod>(&cluster.client, None, Some(labels)).await?);
    }
    let class = cluster.rules().class;
    let pod = pods.iter().find(|pod| surroundings::serves(pod, class.as_deref()));
    let announcing = pod.map(title);
    let mut all = Vec::new();
    for (kind, version, plural) in METALLB_KINDS {
        for mut object in objects(cluster, "metallb.io", &[version], kind, plural).await? {
            object["kind"] = kind.into();
            all.push(object);
        }
    }
    if !all.is_empty() {
        let stays = metallb::about_bgp(&all, &cluster.system);
        return Ok(There { carried: metallb::convert(&all, &cluster.system), announcing, stays });
    }
    // Before version 0.13 it had no objects.
    let namespaces: BTreeSet<String> = pods.iter().filter_map(ResourceExt::namespace).collect();
    let namespaces = namespaces.into_iter().chain(["metallb-system".to_owned()]);
    for namespace in namespaces {
        let map = config_map(cluster, &namespace, "config").await?;
        if let Some(config) = map.and_then(|map| map.data?.remove("config")) {
            let converted = convert::convert(&config, Some(&cluster.system)).map_err(NotRead::Unreadable)?;
            let mut elsewhere = converted;
            elsewhere
                .iter_mut()
                .for_each(|it| it["metadata"]["namespace"] = format!("ConfigMap of {namespace}").into());
            return Ok(There {
                carried: metallb::convert(&elsewhere, &cluster.system),
                announcing,
                stays: vec![],
            });
        }
    }
    Ok(There { carried: Carried::default(), announcing, stays: vec![] })
}

async fn config_map(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<ConfigMap>, Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    client::get(&maps, namespace, name).await
}

/// All objects of a kind, of the first of these versions that is served; none where none is.
async fn objects(
    cluster: &Cluster,
    group: &str,
    versions: &[&str],
    kind: &str,
    plural: &str,
) -> Result<Vec<Value>, Failure> {
    for version in versions {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
        match api.list(&ListParams::default()).await {
            Ok(found) => {
                return Ok(found.items.iter().filter_map(|it| serde_json::to_value(it).ok()).collect());
            }
            Err(error) => match Why::of(&error) {
                Why::NotFound => {}
                why => {
                    let resource = format!("{plural}.{group}");
                    return Err(Failure { verb: "list", resource, namespace: None, why });
                }
            },
        }
    }
    Ok(vec![])
}

/// A Pod that runs and announces.
async fn announcer(cluster: &Cluster, announces: fn(&Value) -> bool) -> Result<Option<String>, Failure> {
    let pods: Vec<Pod> = cluster.all().await?;
    let runs = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    };
    let found = pods.iter().filter(runs).find(|pod| serde_json::to_value(pod).is_ok_and(|it| announces(&it)));
    Ok(found.map(title))
}

fn title(pod: &Pod) -> String {
    format!("Pod {} in namespace {}", pod.name_any(), pod.namespace().unwrap_or_default())
}

/// The last part of the name of a container's image.
pub(super) fn image_of(container: &Value) -> &str {
    let name = text(container, "/image").rsplit('/').next().unwrap_or_default();
    name.split(['@', ':']).next().unwrap_or_default()
}

/// The containers of a Pod.
pub(super) fn containers(pod: &Value) -> &[Value] {
    list(pod, "/spec/containers")
}
