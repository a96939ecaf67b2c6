//! The whole way back: when a node is lost, its endpoints are withdrawn as soon as its addresses move.
//!
//! Moving an address is half of a recovery: kube-proxy goes on choosing endpoints on the dead node until the
//! node lifecycle controller gives it up, 40 s later by default. The controllers therefore listen to the gossip
//! of the speakers. When a node is lost for certain, the leader says of its Pods behind LoadBalancer Services
//! what the lifecycle controller would say much later: that they are not ready. The EndpointSlice controller
//! and kube-proxy do the rest. A kubelet that is alive after all says otherwise within seconds.
//!
//! Where Services have the addresses of nodes, the Index is told which nodes are lost, so that it lists them no more.
//!
//! Every replica listens and judges. The leader may be lost with the node, and until another one leads, seconds pass. So
//! the others act as well, a moment later, on what is left to do then: nothing, unless the leader is gone. Two that say
//! the same of a Pod do no harm.

mod judge;
mod lost;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use judge::{Judge, Verdict};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use kubekit::events::{Notice, Publisher};
use kubekit::lease::Leads;
use kubekit::speakers::{self, Speakers};
use kubekit::write::{Answer, Intent, Object, Writes};
use kubekit::{Change, Mirror, REQUEST_TIMEOUT, due};
pub(crate) use lost::Lost;
use lost::LostNodes;
use objects::NodeName;
use serde_json::{Value, json};
use slim::{Node, Pod, Service, is_true};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

/// How an operator has it take part in the gossip.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// Where to listen: the address of this Pod, and the port that the speakers use.
    pub gossip_bind: SocketAddr,
    /// What the gossip is sealed with, see [`gossip::Config::key_files`].
    pub gossip_key_files: Vec<PathBuf>,
    /// What to do about the endpoints of lost nodes.
    pub endpoints: LostEndpoints,
}

/// What to do about the endpoints of lost nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostEndpoints {
    /// Withdraw them.
    Withdraw,
    /// Leave them to Kubernetes.
    Leave,
}

/// Why the Pods of a lost node are not ready, as their condition says.
const REASON: &str = "FerroLBNodeLost";
/// Pods that are written at once: the API server should not be busy with more on behalf of one node.
const AT_ONCE: usize = 8;
/// Those who do not lead act so much later, which is ample for the leader to have acted.
const DEFERENCE: Duration = Duration::from_millis(300);
/// Until then an attempt is repeated; much later the lifecycle controller has seen it itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for a key.
const KEY_RETRY: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(200);

/// Takes part in the gossip, from when there is a key: at first there is none, because this very program makes it.
pub(crate) fn start(
    recovery: &Recovery,
    metrics: gossip::Metrics,
    client: Client,
    namespace: String,
    leads: Leads,
    publisher: Publisher,
    writes: Writes,
) -> Lost {
    let (told, lost) = watch::channel(BTreeSet::new());
    let endpoints = recovery.endpoints;
    let bind = recovery.gossip_bind;
    let config = gossip::Config {
        name: speakers::controller_name(bind),
        bind,
        preset: gossip::Preset::Default,
        key_files: recovery.gossip_key_files.clone(),
        profile: gossip::Profile::default(),
    };
    tokio::spawn(async move {
        let (gossip, happened) = loop {
            match gossip::start(config.clone(), metrics.clone()) {
                Ok(started) => break started,
                Err(error) => warn!(error = format!("{error:#}"), "not listening to the speakers yet"),
            }
            tokio::time::sleep(KEY_RETRY).await;
        };
        let cluster = Cluster { client, writes, publisher };
        run(cluster, &namespace, bind.port(), leads, gossip, happened, (endpoints, told)).await;
    });
    Lost::told(lost)
}

/// Where what is done about lost nodes goes.
#[derive(Clone)]
struct Cluster {
    client: Client,
    writes: Writes,
    publisher: Publisher,
}

/// Listens, and acts on what is lost.
async fn run(
    cluster: Cluster,
    namespace: &str,
    port: u16,
    leads: Leads,
    gossip: gossip::Handle,
    mut happened: mpsc::Receiver<gossip::News>,
    (endpoints, told): (LostEndpoints, watch::Sender<BTreeSet<NodeName>>),
) {
    let mut view = gossip.view();
    let mut judge = Judge::default();
    let mut lost = LostNodes::default();
    let mut known = Speakers::default();
    let mut changes = pin!(kubekit::watch(speakers::source(&cluster.client, namespace)));
    let mut nodes = Mirror::<NodeName>::default();
    let mut node_changes = pin!(kubekit::watch(Api::<Node>::all(cluster.client.clone())));
    let (mut pods_listed, mut nodes_listed) = (false, false);
    loop {
        tokio::select! {
            Some(change) = changes.next() => {
                pods_listed |= matches!(change, Change::Reset(_));
                known.update(change);
                gossip.set_peers(known.listening_on(port));
                if pods_listed && nodes_listed {
                    gossip.set_addresses(known.addresses(port));
                }
            }
            Some(change) = node_changes.next() => {
                nodes_listed |= matches!(change, Change::Reset(_));
                for (name, node) in nodes.update(change, |node| node.name_any().into()) {
                    known.update_node(name, node.as_ref());
                }
                if pods_listed && nodes_listed {
                    gossip.set_addresses(known.addresses(port));
                }
            }
            Some(news) = happened.recv() => {
                news.events.into_iter().for_each(|event| judge.observe(event, Instant::now()));
                // Those who are lost together are judged together.
                while let Some(Some(news)) = happened.recv().now_or_never() {
                    news.events.into_iter().for_each(|event| judge.observe(event, Instant::now()));
                }
            }
            Ok(()) = view.changed() => {}
            () = due(lost.next_expiry()) => {}
        }
        let latest = view.borrow_and_update().clone();
        let verdicts = judge.verdicts(&latest, Instant::now());
        if let Some(nodes) = lost.update(&verdicts, &latest, Instant::now()) {
            told.send_replace(nodes);
        }
        for verdict in verdicts.into_iter().filter(|_| endpoints == LostEndpoints::Withdraw) {
            tokio::spawn(act(cluster.clone(), leads.clone(), verdict));
        }
    }
}

async fn act(cluster: Cluster, leads: Leads, verdict: Verdict) {
    if !leads.leads(Instant::now()) {
        tokio::time::sleep(DEFERENCE).await;
    }
    let (node, notice) = match verdict {
        Verdict::Withdraw(node) => {
            let Some(count @ 1..) = withdraw(&cluster, &node).await else { return };
            info!(%node, pods = count, "node is lost, its Pods behind load balancers are marked not ready");
            let message = format!("node is lost, {count} Pods behind LoadBalancer Services marked not ready");
            (node, Notice::warning(REASON, message))
        }
        Verdict::TooMany(node) => {
            warn!(%node, "node is lost, but too many are at once to withdraw its endpoints");
            if !leads.leads(Instant::now()) {
                return;
            }
            let message = "node is lost, but its Pods are left alone: more than a third of the nodes are lost \
                           within a minute, which looks like a broken network";
            (node, Notice::warning(REASON, message))
        }
    };
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(node.as_str().to_owned()),
        // What `kubectl describe node` looks for.
        uid: Some(node.as_str().to_owned()),
        ..ObjectReference::default()
    };
    cluster.publisher.publish(about, notice);
}

/// Marks the Pods of `node` that back LoadBalancer Services as not ready; how many there were, nothing if not even
/// that is known.
async fn withdraw(cluster: &Cluster, node: &NodeName) -> Option<usize> {
    let until = Instant::now() + PATIENCE;
    let mut marked = None;
    while Instant::now() < until {
        match tokio::time::timeout_at(until.into(), mark_pods(cluster, node)).await {
            Ok(Ok(marks)) => {
                *marked.get_or_insert(0) += marks.iter().filter(|mark| **mark == Mark::Set).count();
                if !marks.contains(&Mark::Again) {
                    return marked;
                }
            }
            Ok(Err(error)) => warn!(%node, %error, "cannot read the Pods of a lost node, trying again"),
            Err(_) => break,
        }
        tokio::time::sleep(RETRY).await;
    }
    warn!(%node, "cannot mark all Pods of a lost node, giving up");
    marked
}

/// What became of a Pod that was to be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// It is not ready now.
    Set,
    /// There is no need: it is gone.
    Needless,
    /// Not yet, or it is another Pod by now: look again.
    Again,
    /// The API server refuses it, and the log says why.
    Refused,
}

async fn mark_pods(cluster: &Cluster, node: &NodeName) -> kube::Result<Vec<Mark>> {
    let client = &cluster.client;
    let (pods, services) = (Api::<Pod>::all(client.clone()), Api::<Service>::all(client.clone()));
    // What the API server's cache has is good enough, and there at once.
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}")).match_any();
    let balanced = ListParams::default().fields("spec.type=LoadBalancer").match_any();
    let (pods, services) = tokio::try_join!(pods.list(&on_node), services.list(&balanced))?;
    let mut marks = Vec::new();
    for pod in pods {
        let serves = is_true(&pod.status.conditions, "Ready");
        if serves && services.iter().any(|service| backs(&pod, service)) {
            marks.push(mark(cluster.clone(), pod));
        }
    }
    Ok(stream::iter(marks).buffer_unordered(AT_ONCE).collect().await)
}

/// Whether `service` sends traffic to `pod`. One without a selector has its endpoints from somewhere else.
fn backs(pod: &Pod, service: &Service) -> bool {
    let selector = &service.spec.selector;
    !selector.is_empty()
        && pod.namespace() == service.namespace()
        && selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
}

/// Says of a Pod what the node lifecycle controller would say.
async fn mark(cluster: Cluster, pod: Pod) -> Mark {
    let object = Object::new("Pod", pod.namespace().unwrap_or_default(), pod.name_any());
    let api: Api<Pod> = Api::namespaced(cluster.client, &object.namespace);
    let (parameters, patch) = (PatchParams::default(), Patch::Strategic(not_ready(&pod, Timestamp::now())));
    let request = api.patch_status(&object.name, &parameters, &patch);
    match cluster.writes.perform(&object, Intent::Change, REQUEST_TIMEOUT, request).await {
        Answer::Done(_) => Mark::Set,
        Answer::Gone => Mark::Needless,
        Answer::Conflict | Answer::Unavailable(_) => Mark::Again,
        Answer::Refused(_) => Mark::Refused,
    }
}

/// The patch carries the uid: one of a StatefulSet may have been made again under the same name meanwhile, elsewhere,
/// and that one is ready.
fn not_ready(pod: &Pod, now: Timestamp) -> Value {
    let condition = json!({
        "type": "Ready", "status": "False", "reason": REASON,
        "message": "the node of this Pod is lost", "lastTransitionTime": now,
    });
    json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_for_one_pod_and_not_for_the_next_of_its_name() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "db-0", "uid": "7"}})).unwrap();
        let patch = not_ready(&pod, Timestamp::UNIX_EPOCH);
        assert_eq!(patch["metadata"], json!({"uid": "7"}));
        assert_eq!(patch["status"]["conditions"][0]["status"], "False");
    }

    #[test]
    fn a_pod_backs_a_service_whose_selector_it_matches() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "prod", "labels": {"app": "web", "tier": "front"}},
        }))
        .unwrap();
        let service = |namespace: &str, selector: Value| -> Service {
            let service = json!({
                "metadata": {"name": "web", "namespace": namespace}, "spec": {"selector": selector},
            });
            serde_json::from_value(service).unwrap()
        };
        assert!(backs(&pod, &service("prod", json!({"app": "web"}))));
        assert!(!backs(&pod, &service("prod", json!({"app": "web", "tier": "back"}))));
        assert!(!backs(&pod, &service("test", json!({"app": "web"}))));
        assert!(!backs(&pod, &service("prod", json!({}))), "endpoints of its own");
    }
}
