//! What it answers beside a controller that runs.

use serde_json::json;

use super::{SYSTEM, account, advertise, answered, node, own_address, plugin, pod};
use crate::fixture::{Cluster, run, start, wait};

#[test]
fn a_running_controller_is_asked_and_its_decisions_are_foretold_word_for_word() {
    run(async {
        let cluster = Cluster::start().await;
        account(&cluster, SYSTEM, "ferrolb").await;
        node(&cluster, "n1", json!({}), "10.9.0.1").await;
        let ip = own_address();
        let port = lab::ports::free().unwrap();
        let options = ["controller".to_owned(), format!("--http-bind={ip}:{port}")];
        pod(&cluster, "c-1", "controller", "n1", ip, &options).await;
        cluster.pool("lan", &["10.9.0.1-10.9.0.3"]).await;
        cluster.write_pool("kept", json!({"addresses": ["10.8.0.0/30"], "autoAssign": false})).await.unwrap();
        advertise(&cluster, json!({})).await;
        let _controller = start(&cluster.kubeconfig(), "c-1", &[&options[1]]);
        for name in ["a", "b"] {
            cluster.service(name, json!({})).await;
            cluster.wait_for_addresses(name, if name == "a" { &["10.9.0.2"] } else { &["10.9.0.3"] }).await;
        }
        cluster.service("late", json!({})).await;
        cluster.wait_for_event("late", "AllocationFailed").await;

        // The reason is what the event says.
        let said = plugin(&cluster, "services -A -o json").await;
        assert_eq!(said.code, 1, "{said:?}");
        let services = answered(&said);
        let late = services["items"].as_array().unwrap().iter().find(|it| it["name"] == "late").unwrap();
        assert_eq!(late["health"], "Waiting");
        let reason = late["reasons"][0].as_str().unwrap();
        let events = cluster.events("late").await;
        assert!(events.iter().any(|event| event.ends_with(reason)), "{reason}: {events:?}");
        assert!(
            reason.contains("lan: exhausted (2 of 3; the others are of nodes")
                && reason.contains("kept: autoAssign is off"),
            "{reason}"
        );
        let problems = plugin(&cluster, "services -A --problems").await.stdout;
        assert!(problems.contains("default/late") && problems.contains("default/a"), "{problems}");

        // The pools are as their status says, and each address has its state.
        let pools = answered(&plugin(&cluster, "pools -o json").await);
        let status = wait("the status of the pool", async || {
            let status = cluster.pool_status("lan").await;
            (status["assignedIPv4"] == 2).then_some(status)
        })
        .await;
        assert_eq!(pools["items"][1]["v4"], json!({"inUse": 2, "free": status["availableIPv4"]}), "{pools}");
        let ips = plugin(&cluster, "ips lan -o wide").await.stdout;
        let line = |ip: &str| ips.lines().find(|line| line.starts_with(ip)).unwrap_or_default().to_owned();
        assert!(line("10.9.0.1 ").contains("an address of node n1, never given"), "{ips}");
        assert!(line("10.9.0.2 ").contains("default/a"), "{ips}");

        // Status knows the leader by its own word, and what is the matter.
        let status = plugin(&cluster, "status").await;
        assert!(status.stdout.contains("1/1 ready, leader c-1 (n1)"), "{}", status.stdout);
        assert!(status.stdout.contains("lan 2/2 v4"), "{}", status.stdout);
        assert!(status.stdout.contains("PROBLEM"), "{}", status.stdout);
        let remedy = "make an EndpointSlice with the label kubernetes.io/service-name: a";
        assert!(status.stdout.contains(remedy), "{}", status.stdout);
        assert!(
            status.stdout.contains("no Pod of a speaker in namespace metallb-system"),
            "{}",
            status.stdout
        );
        assert_eq!(status.code, 1, "{status:?}");
        let version = plugin(&cluster, "version").await;
        let ours = concat!("c-1     ", env!("CARGO_PKG_VERSION"), "  ferrolb:test");
        assert!(version.code == 0 && version.stdout.contains(ours), "{version:?}");

        // A pending Service is explained pool by pool, and what to do.
        let explained = plugin(&cluster, "explain default/late").await;
        for part in [
            "No address",
            "pool kept",
            "autoAssign is off",
            "exhausted (2 of 3; the others are of nodes",
            "to do",
            "add addresses to pool lan",
        ] {
            assert!(explained.stdout.contains(part), "{part}: {}", explained.stdout);
        }
        let silent = plugin(&cluster, "explain default/a -o json").await;
        let reason = answered(&silent)["addresses"][0]["silent"].as_str().unwrap().to_owned();
        assert!(reason.contains("no EndpointSlice of it has a serving endpoint"), "{reason}");
    });
}

#[test]
fn a_secured_status_wants_a_token_that_is_made_for_it_and_nothing_else() {
    run(async {
        let cluster = Cluster::start().await;
        account(&cluster, SYSTEM, "ferrolb").await;
        let ip = own_address();
        let port = lab::ports::free().unwrap();
        let options = ["--http-bind=127.0.0.1:0".to_owned(), format!("--metrics-bind={ip}:{port}")];
        pod(&cluster, "c-1", "controller", "n1", ip, &options).await;
        let _controller = start(&cluster.kubeconfig(), "c-1", &[&options[0], &options[1]]);
        wait("the controller's answer", async || {
            let said = plugin(&cluster, "version").await;
            (said.code == 0).then_some(())
        })
        .await;
        // Who may do all but make such a token is told so.
        let rules = json!([
            {"apiGroups": [""], "resources": ["pods", "pods/proxy"], "verbs": ["get", "list"]},
        ]);
        let (_folder, kubeconfig) = super::user(&cluster, "reader", &[(SYSTEM, rules)]).await;
        let said = super::plugin_as(&kubeconfig, "--system-namespace metallb-system version").await;
        assert_eq!(said.code, 2);
        assert!(
            said.stderr.contains("you may not create serviceaccounts/token in namespace metallb-system"),
            "{said:?}"
        );
        // And who may make it, but not ask Pods.
        let rules = json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        ]);
        let (_folder, kubeconfig) = super::user(&cluster, "maker", &[(SYSTEM, rules)]).await;
        let said = super::plugin_as(&kubeconfig, "--system-namespace metallb-system version").await;
        assert!(
            said.code == 2 && said.stderr.contains("you may not get pods/proxy in namespace metallb-system"),
            "{said:?}"
        );
    });
}
