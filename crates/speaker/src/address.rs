//! Where this speaker listens to the gossip, if nobody says.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::{Api, Client, Resource};
use kubekit::{Change, Identity, Source, slim};
use nix::ifaddrs::getifaddrs;
use placement::NodeName;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::fellows;

/// How long a Pod or a node may take to tell its address, once the API server answers.
const ADDRESSED_WITHIN: Duration = Duration::from_secs(3);

/// The address that the other speakers look for this one at: that of its Pod. Without a Pod, or when this host has no
/// such address (any more), it is the one that the cluster knows the node by. A node that has none is taken to have
/// all of them: then it is the unspecified one.
pub(crate) async fn of_gossip(client: &Client, identity: &Identity, node: &NodeName) -> IpAddr {
    let pod_ip = match &identity.pod_name {
        Some(pod) => {
            let pods = Api::namespaced(client.clone(), &identity.namespace);
            first(Source::named(pods, pod), |pod: slim::Pod| parse(pod.status.pod_ip.as_deref())).await
        }
        None => None,
    };
    if let Some(ip) = pod_ip.filter(|ip| is_ours(*ip)) {
        return ip;
    }
    let nodes = Api::all(client.clone());
    let internal_ip =
        first(Source::named(nodes, node), |node: slim::Node| parse(node.status.internal_ip())).await;
    internal_ip.unwrap_or_else(|| {
        warn!(%node, "the node has no InternalIP, so the gossip listens on all addresses (see --gossip-bind)");
        Ipv6Addr::UNSPECIFIED.into()
    })
}

fn parse(text: Option<&str>) -> Option<IpAddr> {
    text?.parse().ok()
}

fn is_ours(ip: IpAddr) -> bool {
    getifaddrs()
        .is_ok_and(|mut interfaces| interfaces.any(|interface| fellows::address(&interface) == Some(ip)))
}

/// The address that the one object of `source` has, as soon as it has one.
async fn first<K>(source: Source<K>, read: impl Fn(K) -> Option<IpAddr>) -> Option<IpAddr>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut changes = pin!(kubekit::watch(source));
    let read = |change| match change {
        Change::Reset(objects) => objects.into_iter().next().and_then(&read),
        Change::Apply(object) => read(object),
        Change::Delete(_) => None,
    };
    // It is waited for as long as the API server is away.
    if let Some(ip) = changes.next().await.and_then(&read) {
        return Some(ip);
    }
    let later = async {
        while let Some(change) = changes.next().await {
            if let Some(ip) = read(change) {
                return Some(ip);
            }
        }
        None
    };
    tokio::time::timeout(ADDRESSED_WITHIN, later).await.ok().flatten()
}
