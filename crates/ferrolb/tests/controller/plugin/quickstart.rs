//! `quickstart`: what it proposes by what speakers and nodes tell, what it refuses, and what it makes.

use api::{IPAddressPool, L2Advertisement};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use introspection::TRACE_PATH;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::site::{document, leader, program};
use super::{SYSTEM, account, answered, create, node, own_address, plugin, plugin_as, pod, viewer};
use crate::fixture::{Cluster, run};

/// What speakers hear on their LAN.
#[derive(Clone, Copy)]
struct Lan {
    /// A host answers for these addresses.
    taken: &'static [&'static str],
    /// A DHCP server gives out these, and offers the first unless another is asked for; not of speakers that cannot ask, as of
    /// an earlier version.
    offers: Option<&'static [&'static str]>,
}

/// Two nodes on one LAN.
async fn cluster(prefix_length: u8, provider: &str, lan: Lan) -> Cluster {
    let cluster = Cluster::start().await;
    account(&cluster, SYSTEM, "ferrolb").await;
    program(&cluster, "c-1", "controller", "n1", leader()).await;
    for (index, name) in ["n1", "n2"].into_iter().enumerate() {
        let ip = format!("172.18.0.{}", index + 2);
        node(&cluster, name, json!({}), &ip).await;
        if !provider.is_empty() {
            let nodes: Api<Node> = Api::all(cluster.client.clone());
            let known = Patch::Merge(json!({"spec": {"providerID": format!("{provider}{name}")}}));
            nodes.patch(name, &PatchParams::default(), &known).await.unwrap();
        }
        let interface = json!({
            "name": "eth0", "mac": "02:00:00:00:00:01", "arp": "Used", "ndp": "Used",
            "prefixes": [format!("{ip}/{prefix_length}")],
        });
        speaker(&cluster, name, interface, lan).await;
    }
    cluster
}

/// A speaker with this interface.
async fn speaker(cluster: &Cluster, node: &'static str, interface: Value, Lan { taken, offers }: Lan) {
    let status = document("SpeakerStatus", json!({"node": node, "interfaces": {"items": [interface]}}));
    let of_status = |State(status): State<Value>| async move { axum::Json(status) };
    let of_trace = move |RawQuery(query): RawQuery| async move {
        let query = query.unwrap_or_default();
        let Some(ip) = query.strip_prefix("ip=") else {
            let Some(offers) = offers else {
                return (StatusCode::BAD_REQUEST, "say which address: ?ip=ADDRESS\n").into_response();
            };
            let wanted = query.strip_prefix("dhcp=").and_then(|ip| offers.iter().find(|offer| **offer == ip));
            assert!(query.starts_with("dhcp"), "{query}");
            let offer = |ip: &&str| json!({"server": "172.18.0.1", "address": ip, "router": "172.18.0.99"});
            let offers: Vec<_> = wanted.or(offers.first()).into_iter().map(offer).collect();
            let place = json!({"interface": "eth0", "asked": true, "offers": offers});
            return axum::Json(document("DhcpServers", json!({"node": node, "places": [place]})))
                .into_response();
        };
        let answers: &[&str] = if taken.contains(&ip) { &["02:00:00:00:00:99"] } else { &[] };
        let place = json!({"interface": "eth0", "asked": true, "here": false, "answers": answers});
        axum::Json(document("Trace", json!({"node": node, "ip": ip, "places": [place]}))).into_response()
    };
    let router = Router::new().route("/status", get(of_status)).route(TRACE_PATH, get(of_trace));
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let options = [format!("--http-bind=0.0.0.0:{}", listener.local_addr().unwrap().port())];
    tokio::spawn(axum::serve(listener, router.with_state(status)).into_future());
    pod(cluster, &format!("s-{node}"), "speaker", node, own_address(), &options).await;
}

async fn pools(cluster: &Cluster) -> Vec<String> {
    let pools: Api<IPAddressPool> = Api::namespaced(cluster.client.clone(), SYSTEM);
    let pools = pools.list(&ListParams::default()).await.unwrap();
    pools.iter().flat_map(|pool| pool.spec.addresses.iter().map(|entry| entry.0.clone())).collect()
}

#[test]
fn in_a_cluster_of_kind_the_free_end_of_dockers_network_becomes_a_pool() {
    run(async {
        let cluster = cluster(26, "kind://docker/kind/", Lan { taken: &["172.18.0.57"], offers: None }).await;
        let shown = plugin(&cluster, "quickstart --dry-run -o yaml").await;
        assert_eq!(shown.code, 0, "{shown:?}");
        assert!(shown.stdout.contains("172.18.0.58-172.18.0.62"), "{shown:?}");
        assert!(pools(&cluster).await.is_empty(), "it was only shown");
        let unasked = plugin(&cluster, "quickstart").await;
        assert!(unasked.code == 1 && unasked.stdout.contains("Nothing was applied"), "{unasked:?}");
        assert!(pools(&cluster).await.is_empty(), "nobody said yes");

        let made = plugin(&cluster, "quickstart --yes").await;
        assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{made:?}");
        for part in ["2 nodes of KIND", "172.18.0.0/26", "172.18.0.57 is that of 02:00:00:00:00:99", "eth0"] {
            assert!(made.stdout.contains(part), "{part}: {made:?}");
        }
        assert_eq!(pools(&cluster).await, ["172.18.0.58-172.18.0.62"]);
        let advertisements: Api<L2Advertisement> = Api::namespaced(cluster.client.clone(), SYSTEM);
        let advertisements = advertisements.list(&ListParams::default()).await.unwrap().items;
        let names: Vec<_> = advertisements.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["lan"]);

        let again = plugin(&cluster, "quickstart --yes").await;
        assert!(again.code == 0 && again.stdout.contains("Nothing to do"), "{again:?}");
        let second = plugin(&cluster, "quickstart --range 172.18.0.50-172.18.0.58 --pool b --yes").await;
        assert!(second.code == 1 && second.stdout.contains("in IPAddressPool lan"), "{second:?}");
        let same = plugin(&cluster, "quickstart --range 172.18.0.40-172.18.0.42 --yes").await;
        assert!(same.code == 1 && same.stdout.contains("there is an IPAddressPool lan already"), "{same:?}");
    });
}

#[test]
fn elsewhere_somebody_has_to_say_which_addresses_nobody_gives_out_and_they_are_asked_for() {
    run(async {
        let cluster = cluster(
            24,
            "",
            Lan { taken: &["172.18.0.101"], offers: Some(&["172.18.0.120", "172.18.0.140"]) },
        )
        .await;
        let refused = plugin(&cluster, "quickstart --yes").await;
        assert!(
            refused.code == 1 && refused.stdout.contains("the DHCP server 172.18.0.1 may give out"),
            "{refused:?}"
        );
        for (range, part) in [
            ("172.18.0.100-172.18.0.102", "172.18.0.101 is that of 02:00:00:00:00:99"),
            ("172.18.0.3/32", "172.18.0.3 is that of node n2"),
            ("172.18.0.118-172.18.0.122", "the DHCP server 172.18.0.1 gives out 172.18.0.120"),
            // It offers this one to who asks for it.
            ("172.18.0.138-172.18.0.142", "the DHCP server 172.18.0.1 gives out 172.18.0.140"),
            ("172.18.0.97-172.18.0.99", "172.18.0.99 is that of the router that 172.18.0.1 tells of"),
            ("192.168.7.0/28", "not within 172.18.0.0/24"),
        ] {
            let refused = plugin(&cluster, &format!("quickstart --yes --range {range}")).await;
            assert!(refused.code == 1 && refused.stdout.contains(part), "{range}: {refused:?}");
        }
        let unread = plugin(&cluster, "quickstart --range 172.18.0.9").await;
        assert!(unread.code == 2 && unread.stderr.contains("write 172.18.0.9/32"), "{unread:?}");
        assert!(pools(&cluster).await.is_empty());
        let read = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]);
        let (_folder, kubeconfig) = viewer(&cluster, "viewer", read).await;
        let line = "quickstart --yes --range 172.18.0.102-172.18.0.105 -o json";
        let forbidden = plugin_as(&kubeconfig, line).await;
        let right = "missing right: you may not create ipaddresspools.metallb.io in namespace metallb-system";
        assert!(forbidden.code == 2 && forbidden.stderr.contains(right), "{forbidden:?}");
        let made = plugin(&cluster, line).await;
        let asked = "asked for 172.18.0.102, 172.18.0.103, 172.18.0.105, no server offers it";
        assert!(made.stdout.contains(asked) && made.stdout.contains("asleep would not answer"), "{made:?}");
        assert!(made.code == 0 && answered(&made)["applied"] == true, "{made:?}");
        assert_eq!(pools(&cluster).await, ["172.18.0.102-172.18.0.105"]);
        let single = plugin(&cluster, "quickstart --yes --pool one --range 172.18.0.110/32").await;
        assert!(
            single.code == 0 && single.stdout.contains("IPAddressPool one: 172.18.0.110/32"),
            "{single:?}"
        );
    });
}

#[test]
fn elsewhere_the_end_of_a_lan_is_proposed_that_has_no_dhcp_server() {
    run(async {
        let site = cluster(26, "", Lan { taken: &["172.18.0.49"], offers: Some(&[]) }).await;
        let made = plugin(&site, "quickstart --yes").await;
        assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{made:?}");
        assert!(made.stdout.contains("no server answered"), "{made:?}");
        assert_eq!(pools(&site).await, ["172.18.0.50-172.18.0.62"]);
        let older = cluster(26, "", Lan { taken: &[], offers: None }).await;
        let refused = plugin(&older, "quickstart --yes").await;
        assert!(refused.code == 1 && refused.stdout.contains("a DHCP server may give out"), "{refused:?}");
        assert!(refused.stdout.contains("not known"), "{refused:?}");
    });
}

#[test]
fn where_it_would_not_be_safe_or_cannot_be_seen_nothing_is_proposed() {
    run(async {
        let cluster = cluster(26, "kind://docker/kind/", Lan { taken: &[], offers: Some(&[]) }).await;
        // A node whose speaker says nothing.
        node(&cluster, "n3", json!({}), "172.18.0.4").await;
        let unseen = plugin(&cluster, "quickstart --yes").await;
        assert!(unseen.code == 2 && unseen.stderr.contains("the speaker of n3"), "{unseen:?}");
        let service_lb = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {
                "name": "svclb-web-1", "namespace": "kube-system",
                "labels": {"svccontroller.k3s.cattle.io/svcname": "web"},
            },
            "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {"containers": [{"name": "a", "image": "a"}]},
                },
            },
        });
        create(&cluster, ("apps", "v1", "DaemonSet", "daemonsets"), service_lb).await;
        let refused = plugin(&cluster, "quickstart --yes").await;
        assert!(refused.code == 1 && refused.stdout.contains("--disable servicelb"), "{refused:?}");
        assert!(pools(&cluster).await.is_empty());
        let empty = Cluster::start().await;
        let absent = plugin(&empty, "quickstart --yes").await;
        assert!(absent.code == 1 && absent.stdout.contains("no Pod of FerroLB"), "{absent:?}");
    });
}
