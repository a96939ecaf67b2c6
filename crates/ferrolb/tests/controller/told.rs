//! What operators and users are told: events, metrics, reports.

use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Cluster, run, wait};
use crate::space::in_space;

#[test]
fn a_service_in_vain_hears_the_reason_of_every_pool_in_one_sentence_and_only_once() {
    in_space(async |space| {
        space.pool("a", json!({"addresses": ["10.N.0.0/24"], "autoAssign": false})).await;
        space.pool("b", json!({"addresses": ["10.N.1.0/32"]})).await;
        space
            .pool("c", json!({"addresses": ["10.N.2.0/24"], "serviceAllocation": {"namespaces": ["prod"]}}))
            .await;
        space.gets("first", json!({}), &["10.N.1.0"]).await;
        space.service("second", json!({})).await;
        space
            .hears(
                "second",
                "pool NS-a: autoAssign is off; pool NS-b: exhausted (1 of 1); pool NS-c: namespace NS is not selected",
            )
            .await;
        for touch in ["1", "2", "3"] {
            space.annotate("second", "example.com/touched", json!(touch)).await;
            space.annotate("first", "example.com/touched", json!(touch)).await;
        }
        space.hears_times("first", "IPAllocated", 1).await;
        // Pools of other tests come and go, which changes the sentence. No sentence comes twice.
        let mut events = space.events("second").await;
        events.sort();
        assert!(events.windows(2).all(|pair| pair[0] != pair[1]), "{events:#?}");
        space.pool("b", json!({"addresses": ["10.N.1.0/31"]})).await;
        space.has("second", &["10.N.1.1"]).await;
        space.hears_times("second", "IPAllocated: Assigned IP [\"", 1).await;
    });
}

#[test]
fn an_object_about_bgp_that_is_not_in_force_says_so_in_an_event_and_its_condition() {
    in_space(async |space| {
        let spec = |kind: &str| match kind {
            "BGPPeer" => {
                let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.9", "bfdProfile": "fast"});
                ("v1beta2", "bgppeers", spec)
            }
            _ => ("v1beta1", "bgpadvertisements", json!({"communities": ["no-export"]})),
        };
        for kind in ["BGPPeer", "BGPAdvertisement"] {
            let (version, plural, spec) = spec(kind);
            let gvk = GroupVersionKind::gvk("metallb.io", version, kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
            let api: Api<DynamicObject> =
                Api::namespaced_with(space.cluster.client.clone(), "metallb-system", &resource);
            let name = format!("{}-{}", space.namespace, kind.to_lowercase());
            let object: DynamicObject = serde_json::from_value(json!({
                "apiVersion": format!("metallb.io/{version}"), "kind": kind,
                "metadata": {"name": name}, "spec": spec,
            }))
            .unwrap();
            api.create(&PostParams::default(), &object).await.unwrap();
            let told = match kind {
                "BGPPeer" => "ConfigurationError: spec.bfdProfile: there is no BFDProfile fast",
                _ => {
                    "ConfigurationError: spec.communities[0] \"no-export\": no Community object defines this"
                }
            };
            space.cluster.wait_for_event(&name, told).await;
            assert_eq!(space.cluster.events(&name).await.len(), 1);
            wait("the condition", async || {
                let object = api.get(&name).await.unwrap();
                let condition = &object.data["status"]["conditions"][0];
                (condition["type"] == "Accepted" && condition["status"] == "False").then_some(())
            })
            .await;
            api.delete(&name, &DeleteParams::default()).await.unwrap();
        }
    });
}

#[test]
fn metrics_have_the_names_that_dashboards_know() {
    run(async {
        let cluster = Cluster::start().await;
        let bind = free_address();
        let _controller = cluster.controller_at(&bind, "metrics");
        cluster.pool("p", &["10.0.0.0/30", "fd00::/126"]).await;
        cluster.service("a", json!({"ipFamilyPolicy": "RequireDualStack"})).await;
        cluster.wait_for_addresses("a", &["10.0.0.0", "fd00::"]).await;
        for line in [
            "metallb_allocator_addresses_in_use_total{pool=\"p\"} 2",
            "metallb_allocator_addresses_total{pool=\"p\"} 8",
            "metallb_allocator_ipv4_addresses_in_use_total{pool=\"p\"} 1",
            "metallb_allocator_ipv4_addresses_total{pool=\"p\"} 4",
            "metallb_allocator_ipv6_addresses_in_use_total{pool=\"p\"} 1",
            "metallb_allocator_ipv6_addresses_total{pool=\"p\"} 4",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 0",
            "ferrolb_controller_leader 1",
        ] {
            wait_for_line(&bind, line).await;
        }
        let metrics = get(&bind, "/metrics").await.unwrap();
        for name in ["metallb_k8s_client_updates_total", "metallb_k8s_client_update_errors_total"] {
            assert!(metrics.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}:\n{metrics}");
        }
        // A pool in error is seen at once, and no longer when it is gone.
        cluster.pool("overlapping", &["10.0.0.0/24"]).await;
        wait_for_line(&bind, "metallb_k8s_client_config_stale_bool 1").await;
        assert_eq!(report(&cluster, "Invalid").await["conditions"][0]["reason"], "ConfigurationError");
        cluster.delete_pool("overlapping").await;
        wait_for_line(&bind, "metallb_k8s_client_config_stale_bool 0").await;
        assert_eq!(report(&cluster, "Valid").await["conditions"][0]["type"], "poolReconcilerValid");
        cluster.delete_pool("p").await;
        wait("the pool to vanish from the metrics", async || {
            (!get(&bind, "/metrics").await?.contains("pool=\"p\"")).then_some(())
        })
        .await;
        assert_eq!(get(&bind, "/readyz").await.unwrap(), "ok\n");
    });
}

async fn report(cluster: &Cluster, result: &str) -> Value {
    wait(&format!("the report to be {result}"), async || {
        cluster.report().await.filter(|report| report["result"] == result)
    })
    .await
}

async fn wait_for_line(bind: &str, line: &str) {
    wait(&format!("the metric {line}"), async || {
        get(bind, "/metrics").await?.lines().any(|is| is == line).then_some(())
    })
    .await;
}

/// Where nobody listens.
pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", lab::ports::free().unwrap())
}

/// The body of an answer; nothing while nobody listens.
pub(crate) async fn get(bind: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(bind).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {bind}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}
