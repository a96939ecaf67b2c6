//! Where this speaker listens to the gossip, if nobody says: at the start ([`of_gossip`]), and from then on as the node's
//! address changes ([`follow`]).
//!
//! The others look for it where the API server lists it, see [`kubekit::speakers`], so these addresses come first.

mod choice;
mod follower;

use std::fmt::Debug;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

pub(crate) use choice::{Choice, Listed};
pub(crate) use follower::follow;
use futures::StreamExt;
use kube::{Api, Client, Resource};
use kubekit::{Change, Identity, Source};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use placement::{InterfaceName, NodeName};
use serde::de::DeserializeOwned;
use tracing::warn;

/// How long a Pod or a node may take to tell its address, once the API server answers.
const ADDRESSED_WITHIN: Duration = Duration::from_secs(3);

/// The address that the other speakers look for this one at: that of its Pod. Without a Pod, or when this host has no
/// such address (any more), it is the one that the cluster knows the node by. A node that has none is taken to have
/// all of them: then it is the unspecified one.
pub(crate) async fn of_gossip(client: &Client, identity: &Identity, node: &NodeName) -> IpAddr {
    let pod_ip = match &identity.pod_name {
        Some(pod) => {
            let pods = Api::namespaced(client.clone(), &identity.namespace);
            first(Source::named(pods, pod), |pod: slim::Pod| pod.ip()).await
        }
        None => None,
    };
    if let Some(ip) = pod_ip.filter(|ip| is_ours(*ip)) {
        return ip;
    }
    let nodes = Api::all(client.clone());
    let internal_ip =
        first(Source::named(nodes, node), |node: slim::Node| node.status.internal_ip()?.parse().ok()).await;
    internal_ip.unwrap_or_else(|| {
        warn!(%node, "the node has no InternalIP, so the gossip listens on all addresses (see --gossip-bind)");
        Ipv6Addr::UNSPECIFIED.into()
    })
}

/// Where the gossip listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listening {
    /// The address, if this node has one for it.
    pub(crate) address: Option<SocketAddr>,
    /// The interface that has it. `None` also where that is not known.
    pub(crate) interface: Option<InterfaceName>,
}

fn is_ours(ip: IpAddr) -> bool {
    addresses().is_some_and(|ours| ours.iter().any(|(_, address)| *address == ip))
}

/// The addresses of this host, each with its interface. `None` where that is not to be found out.
fn addresses() -> Option<Vec<(InterfaceName, IpAddr)>> {
    let named =
        |interface: InterfaceAddress| Some((interface.interface_name.as_str().into(), address(&interface)?));
    Some(getifaddrs().ok()?.filter_map(named).collect())
}

fn address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
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

#[cfg(test)]
mod tests {
    use axum::extract::RawQuery;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    /// What a speaker in the Pod `ours`, if it is in one, listens to where the API server has these objects.
    async fn address(ours: Option<&str>, pod: Value, internal_ips: &[&str]) -> String {
        let addresses = internal_ips.iter().map(|ip| json!({"type": "InternalIP", "address": ip}));
        let host = json!({"type": "Hostname", "address": "n1"});
        let addresses: Vec<Value> = [host].into_iter().chain(addresses).collect();
        let node = json!({"metadata": {"name": "n1"}, "status": {"addresses": addresses}});
        let list = |item: Value| {
            get(async move |RawQuery(query): RawQuery| {
                if query.is_some_and(|query| query.contains("watch=")) {
                    return std::future::pending().await;
                }
                Json(json!({"metadata": {"resourceVersion": "1"}, "items": [item]}))
            })
        };
        let pod = json!({"metadata": {"name": "speaker", "namespace": "lb"}, "status": pod});
        let router =
            Router::new().route("/api/v1/namespaces/lb/pods", list(pod)).route("/api/v1/nodes", list(node));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        let identity = Identity::new(Some("lb".into()), ours.map(str::to_owned));
        of_gossip(&client, &identity, &"n1".into()).await.to_string()
    }

    #[tokio::test]
    async fn it_is_that_of_the_pod_which_the_others_look_for() {
        let pod = json!({"podIP": "127.0.0.1"});
        assert_eq!(address(Some("speaker"), pod, &["2001:db8::1", "192.0.2.1"]).await, "127.0.0.1");
    }

    #[tokio::test]
    async fn it_is_the_first_of_the_node_without_a_pod_or_when_the_pods_has_gone_from_this_host() {
        let gone = json!({"podIP": "192.0.2.9"});
        for ours in [Some("speaker"), None] {
            assert_eq!(address(ours, gone.clone(), &["2001:db8::1", "192.0.2.1"]).await, "2001:db8::1");
        }
        assert_eq!(address(None, gone, &["192.0.2.1", "2001:db8::1"]).await, "192.0.2.1");
    }

    #[tokio::test]
    async fn all_addresses_stand_in_for_one_that_nobody_knows() {
        assert_eq!(address(None, json!({}), &[]).await, "::");
    }
}
