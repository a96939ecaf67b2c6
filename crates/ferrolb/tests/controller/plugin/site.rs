//! A cluster in which all is well, of programs that say what they are told to.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use introspection::{API_VERSION, TRACE_PATH};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{SYSTEM, account, advertise, endpoints, node, own_address, pod};
use crate::fixture::Cluster;

/// The address of the Service `default/a`, which node n1 announces.
pub(super) const IP: &str = "10.9.0.0";

/// How a program answers.
#[derive(Debug, Clone)]
pub(super) enum Answers {
    /// With these documents: what it knows, and who answers for an address.
    With(Value, Value),
    /// As one that is of a version without them.
    OlderVersion,
    /// Not at all: nobody listens.
    Never,
}

/// Two nodes with a speaker each, a controller that leads, a pool, and a Service with an address of it that n1 announces.
pub(super) async fn site() -> Cluster {
    site_of(leader(), [speaker("n1"), speaker("n2")]).await
}

/// The same of programs that answer so.
pub(super) async fn site_of(controller: Answers, speakers: [Answers; 2]) -> Cluster {
    let cluster = Cluster::start().await;
    account(&cluster, SYSTEM, "ferrolb").await;
    for name in ["n1", "n2"] {
        node(&cluster, name, json!({}), "10.0.0.1").await;
    }
    program(&cluster, "c-1", "controller", "n1", controller).await;
    let [first, second] = speakers;
    program(&cluster, "s-1", "speaker", "n1", first).await;
    program(&cluster, "s-2", "speaker", "n2", second).await;
    cluster.pool("lan", &["10.9.0.0/31"]).await;
    advertise(&cluster, json!({})).await;
    service(&cluster).await;
    cluster
}

/// The Service `default/a` with its address, and endpoints on both nodes.
pub(super) async fn service(cluster: &Cluster) {
    cluster.service("a", json!({})).await;
    let from = json!({"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "lan"}}});
    cluster.patch("a", from).await;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": IP}]}}});
    cluster.services().patch_status("a", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    endpoints(cluster, "a", &["n1", "n2"]).await;
}

/// A controller that leads.
pub(super) fn leader() -> Answers {
    Answers::With(document("ControllerStatus", json!({"leads": true, "decides": true})), Value::Null)
}

/// The speaker of a node, which hears that of the other.
pub(super) fn speaker(node: &str) -> Answers {
    let (mac, other) = (mac_of(node), if node == "n1" { "n2" } else { "n1" });
    let interface = json!({"name": "eth0", "mac": mac, "arp": "Used", "ndp": "Used"});
    let address = json!({"ip": IP, "services": ["default/a"], "state": "Announced", "interfaces": ["eth0"]});
    let addresses: &[Value] = if node == "n1" { &[address] } else { &[] };
    let peer = json!({"node": other, "state": "Heard", "macs": [mac_of(other)], "interfaces": [interface]});
    let status = json!({
        "node": node, "gossip": {"settled": true, "members": 2}, "peers": {"items": [peer]},
        "interfaces": {"items": [interface]}, "addresses": {"items": addresses},
    });
    let place = json!({
        "interface": "eth0", "mac": mac, "asked": true, "here": node == "n1",
        "answers": if node == "n1" { vec![] } else { vec![mac_of("n1")] },
    });
    let trace = json!({"node": node, "ip": IP, "places": [place]});
    Answers::With(document("SpeakerStatus", status), document("Trace", trace))
}

fn mac_of(node: &str) -> String {
    format!("02:00:00:00:00:0{}", &node[1..])
}

/// A document of a kind with these fields.
pub(super) fn document(kind: &str, fields: Value) -> Value {
    let mut document = json!({"apiVersion": API_VERSION, "kind": kind, "version": env!("CARGO_PKG_VERSION")});
    document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    document
}

/// The Pod of a program that answers so, for as long as the test's runtime is there.
pub(super) async fn program(cluster: &Cluster, name: &str, component: &str, node: &str, answers: Answers) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let of_status = |State(answers): State<Answers>| async move { answer(answers, |it, _| it) };
    let of_trace = |State(answers): State<Answers>| async move { answer(answers, |_, it| it) };
    if !matches!(answers, Answers::Never) {
        let router = Router::new().route("/status", get(of_status)).route(TRACE_PATH, get(of_trace));
        tokio::spawn(axum::serve(listener, router.with_state(answers)).into_future());
    }
    let options = [format!("--http-bind=0.0.0.0:{port}")];
    pod(cluster, name, component, node, own_address(), &options).await;
}

fn answer(answers: Answers, which: impl FnOnce(Value, Value) -> Value) -> Response {
    match answers {
        Answers::With(status, trace) => axum::Json(which(status, trace)).into_response(),
        Answers::OlderVersion | Answers::Never => {
            (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics").into_response()
        }
    }
}
