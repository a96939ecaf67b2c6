//! The whole way back: when a node is lost, its endpoints are withdrawn as soon as its addresses move.
//!
//! Moving an address is half of a recovery: kube-proxy goes on choosing endpoints on the dead node until the
//! node lifecycle controller gives it up, 40 s later by default. The controllers therefore listen to the gossip
//! of the speakers. When a node is lost for certain, the leader says of its Pods behind LoadBalancer Services
//! what the lifecycle controller would say much later: that they are not ready. The EndpointSlice controller
//! and kube-proxy do the rest. A kubelet that is alive after all says otherwise within seconds.
//!
//! Every replica listens, so that a new leader knows what was lost while there was none.

mod judge;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{FutureExt, StreamExt, TryStreamExt, pin_mut, stream};
use gossip::{Handle, Preset};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use kubekit::{
    Change, Source,
    events::{Notice, Publisher},
    lease::Leads,
    slim::{Pod, Service, is_true},
};
use objects::NodeName;
use serde_json::json;
use tracing::{info, warn};

use judge::{Judge, Verdict};

/// How an operator has it take part in the gossip.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// Where to listen: the address of this Pod, and the port that the speakers use.
    pub gossip_bind: SocketAddr,
    /// What the gossip is sealed with, see [`gossip::Config::key_files`].
    pub gossip_key_files: Vec<PathBuf>,
}

/// Fellow speakers are the Pods with these labels in our namespace.
const SPEAKERS: &str = "app.kubernetes.io/name=ferrolb,app.kubernetes.io/component=speaker";
/// The reason that the Pods of a lost node are given for not being ready.
const REASON: &str = "FerroLBNodeLost";
/// Pods that are written at once: the API server should not be busy with more on behalf of one node.
const AT_ONCE: usize = 8;
/// After this, an attempt is given up: by then the lifecycle controller takes over.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(200);

/// Listens to the gossip and acts on what is lost, while this replica leads.
pub(crate) async fn run(
    client: Client,
    namespace: &str,
    leads: Leads,
    gossip: (Handle, tokio::sync::mpsc::Receiver<gossip::Event>),
    port: u16,
    publisher: Publisher,
) {
    let (gossip, mut happened) = gossip;
    let mut judge = Judge::default();
    let mut peers = BTreeMap::new();
    let source = Source {
        api: Api::<Pod>::namespaced(client.clone(), namespace),
        labels: Some(SPEAKERS.to_owned()),
        fields: None,
    };
    let speakers = kubekit::watch(source);
    pin_mut!(speakers);
    loop {
        tokio::select! {
            Some(change) = speakers.next() => {
                follow(&mut peers, change);
                let listening = peers.values().map(|(node, ip): &(NodeName, _)| (node.clone(), SocketAddr::new(*ip, port)));
                gossip.set_peers(listening.collect()).await;
            }
            Some(event) = happened.recv() => {
                judge.observe(event, Instant::now());
                // What has come along with it counts as well.
                while let Some(Some(event)) = happened.recv().now_or_never() {
                    judge.observe(event, Instant::now());
                }
            }
            else => return,
        }
        let now = Instant::now();
        if leads.leads(now) {
            let view = gossip.view().borrow().clone();
            for verdict in judge.verdicts(&view, now) {
                act(&client, verdict, &publisher).await;
            }
        }
    }
}
