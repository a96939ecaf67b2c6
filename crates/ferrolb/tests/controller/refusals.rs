//! What the API server refuses for good, and texts that are longer than their fields.

use std::time::Duration;

use api::IPAddressPool;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::fixture::{Cluster, run, start, wait};
use crate::proxy::{Mischief, Proxy};
use crate::told::{free_address, get};

#[test]
fn without_a_right_on_leases_it_is_not_ready_until_it_has_the_right() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let (proxy, bind) = (Proxy::start(&cluster).await, free_address());
        proxy.set(Mischief::Forbid("/leases"));
        let http = format!("--http-bind={bind}");
        let _controller = start(&proxy.kubeconfig(&cluster), "c", &[&http]);
        cluster.service("a", json!({})).await;
        wait("not to be ready", async || {
            get(&bind, "/readyz").await?.contains("permission on leases").then_some(())
        })
        .await;
        let before = proxy.refused();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let asked = proxy.refused() - before;
        assert!(asked <= 8, "{asked} requests in five seconds");
        assert!(get(&bind, "/metrics").await.unwrap().contains("ferrolb_controller_leader 0"));
        proxy.set(Mischief::None);
        cluster.wait_for_addresses("a", &["192.0.2.0"]).await;
        wait("to be ready", async || (get(&bind, "/readyz").await? == "ok\n").then_some(())).await;
    });
}

#[test]
fn a_status_that_may_not_be_written_is_tried_rarely_and_written_once_it_may() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let (proxy, bind) = (Proxy::start(&cluster).await, free_address());
        proxy.set(Mischief::Forbid("/services/a/status"));
        let http = format!("--http-bind={bind}");
        let _controller = start(&proxy.kubeconfig(&cluster), "c", &[&http, "--leader-elect=false"]);
        cluster.service("a", json!({})).await;
        cluster.service("b", json!({})).await;
        wait("the metric", async || {
            let metrics = get(&bind, "/metrics").await?;
            metrics.contains(r#"ferrolb_api_objects_refused{kind="Service"} 1"#).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(proxy.refused() <= 4, "{} requests", proxy.refused());
        cluster.wait_for_event("a", "StatusRefused: The API server does not let FerroLB give it IP").await;
        wait("the Service among those that are not written", async || {
            let status = get(&bind, "/status").await?;
            status.contains(r#""unwritten":{"items":[{"namespace":"default","name":"a""#).then_some(())
        })
        .await;
        wait("the other Service", async || (!cluster.addresses("b").await.is_empty()).then_some(())).await;
        proxy.set(Mischief::None);
        wait("its address", async || (!cluster.addresses("a").await.is_empty()).then_some(())).await;
        wait("the metric to go", async || {
            (!get(&bind, "/metrics").await?.contains("objects_refused{")).then_some(())
        })
        .await;
    });
}

#[test]
fn the_report_on_hundreds_of_pools_is_written_and_counts_what_it_does_not_name() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("a", &["192.0.2.0/24"]).await;
        let _controller = cluster.controller("c", &["--leader-elect=false"]);
        for number in 0..300 {
            let name = format!("{number:03}-{}", "long".repeat(60));
            cluster.pool(&name, &["192.0.2.0/24"]).await;
        }
        let summary = wait("a report on all of them", async || {
            let summary = cluster.report().await?["errorSummary"].as_str()?.to_owned();
            let (told, rest) = summary.rsplit_once("\n... and ")?;
            let rest: usize = rest.strip_suffix(" more")?.parse().ok()?;
            (told.lines().count() + rest == 300).then_some(summary)
        })
        .await;
        assert!(summary.len() <= 32_768, "{} bytes", summary.len());
    });
}

#[test]
fn whoever_keeps_rewriting_the_status_of_a_pool_is_corrected_ever_more_rarely() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let bind = free_address();
        let _controller = cluster.controller_at(&bind, "c");
        let pools: Api<IPAddressPool> = Api::namespaced(cluster.client.clone(), "metallb-system");
        let is_right = async || (cluster.pool_status("lan").await["availableIPv4"] == 256).then_some(());
        wait("the status of the pool", is_right).await;
        let (parameters, end) = (PatchParams::default(), std::time::Instant::now() + Duration::from_secs(15));
        let mut rewritten = 0;
        while std::time::Instant::now() < end {
            if cluster.pool_status("lan").await["availableIPv4"] != json!(7) {
                let status =
                    json!({"assignedIPv4": 0, "assignedIPv6": 0, "availableIPv4": 7, "availableIPv6": 0});
                let patch = Patch::Merge(json!({"status": status}));
                pools.patch_status("lan", &parameters, &patch).await.unwrap();
                rewritten += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!((3..12).contains(&rewritten), "rewritten {rewritten} times in 15 s");
        wait("it to be corrected at last", is_right).await;
        let metrics = get(&bind, "/metrics").await.unwrap();
        assert!(metrics.contains(r#"ferrolb_api_writes_undone_total{kind="IPAddressPool"}"#), "{metrics}");
    });
}
