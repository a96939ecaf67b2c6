//! What keeps clients from a Service that is announced, and what runs beside FerroLB.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::site::{Answers, document, leader, program, service, site, site_of, speaker};
use super::{account, advertise, answered, create, endpoints, node, own_address, plugin, plugin_soon, pod};
use crate::fixture::{Cluster, run};

#[test]
fn ports_that_nobody_serves_and_services_of_another_class_are_told() {
    run(async {
        let cluster = site().await;
        let status = plugin(&cluster, "status").await;
        assert!(status.code == 0 && !status.stdout.contains("Others"), "{status:?}");
        cluster.service("other", json!({"loadBalancerClass": "example.com/other"})).await;
        let told = "default/other is for another load balancer: of class example.com/other";
        let status = plugin(&cluster, "status").await;
        assert!(status.code == 0 && status.stdout.contains(told), "{status:?}");
        assert!(plugin(&cluster, "services").await.stdout.contains(told));

        let slices: Api<EndpointSlice> = Api::default_namespaced(cluster.client.clone());
        let renamed = Patch::Merge(json!({"ports": [{"name": "elsewhere", "port": 1, "protocol": "TCP"}]}));
        slices.patch("a-1", &PatchParams::default(), &renamed).await.unwrap();
        for command in ["status", "services --problems", "explain a"] {
            let said = plugin(&cluster, command).await;
            assert!(said.code == 1 && said.stdout.contains("refused"), "{command}: {said:?}");
        }
        // Of one that has no port at all, as where targetPort is the name of none.
        let none = Patch::Merge(json!({"ports": null}));
        slices.patch("a-1", &PatchParams::default(), &none).await.unwrap();
        let status = answered(&plugin(&cluster, "services -o json").await);
        assert!(status["items"][0]["unserved"]["reason"].as_str().unwrap().contains("refused"), "{status}");
    });
}

#[test]
fn an_address_off_the_lan_of_its_node_is_a_warning_with_the_remedy() {
    run(async {
        let Answers::With(mut status, trace) = speaker("n1") else { panic!("it answers") };
        status["interfaces"]["items"][0]["prefixes"] = json!(["192.168.7.2/24"]);
        let cluster = site_of(leader(), [Answers::With(status, trace), speaker("n2")]).await;
        for command in ["status", "services --problems", "explain a"] {
            let said = plugin(&cluster, command).await;
            assert_eq!(said.code, 0, "a router may have a route: {command}: {said:?}");
            assert!(said.stdout.contains("in no network of n1"), "{command}: {said:?}");
        }
    });
}

#[test]
fn what_answers_for_the_same_addresses_beside_ferrolb_is_told() {
    run(async {
        let cluster = site().await;
        let configuration = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
            "data": {"config.conf": "mode: ipvs\nipvs:\n  strictARP: false\n"},
        });
        create(&cluster, ("", "v1", "ConfigMap", "configmaps"), configuration).await;
        account(&cluster, "default", "default").await;
        let metallb = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "speaker", "namespace": "default", "labels": {"app": "metallb", "component": "speaker"}},
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{"name": "speaker", "image": "metallb", "args": ["--port=7472"]}],
            },
        });
        create(&cluster, ("", "v1", "Pod", "pods"), metallb).await;
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle.json");
        plugin(&cluster, &format!("inspect -f {}", bundle.display())).await;
        let bundle: serde_json::Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
        assert_eq!(bundle["beside"].as_array().map(Vec::len), Some(2), "{}", bundle["beside"]);
        for command in ["status", "explain a"] {
            let said = plugin(&cluster, command).await;
            assert_eq!(said.code, 0, "{command}: {said:?}");
            let said = said.stdout;
            for part in ["without strictARP", "MetalLB runs in namespace default"] {
                assert!(said.contains(part), "{command}: {part}: {said}");
            }
        }
    });
}

#[test]
fn a_speaker_that_does_not_answer_is_a_problem_before_the_api_knows_that_its_node_is_lost() {
    run(async {
        let cluster = site_of(leader(), [speaker("n1"), Answers::Never]).await;
        let status = plugin_soon(&cluster, "status").await;
        assert_eq!(status.code, 2, "what it knows is not seen: {status:?}");
        assert!(status.stdout.contains("speaker of n2: no answer, though its Pod is ready"), "{status:?}");
        let remedy = "nothing listens there, so see whether it runs: kubectl get pod";
        assert!(status.stdout.contains(remedy), "the connection is refused: {status:?}");
        let json = answered(&plugin_soon(&cluster, "status -o json").await);
        assert_eq!(json["problems"][0]["about"], "speaker of n2", "{json}");
    });
}

#[test]
fn a_claim_that_is_long_past_is_a_warning_and_a_fresh_one_a_conflict() {
    run(async {
        for (seconds, code, part) in [(5, 1, "last heard 5 s ago"), (300, 0, "last heard 300 s ago")] {
            let Answers::With(mut status, trace) = speaker("n1") else { panic!("it answers") };
            let claim = json!({"mac": "02:00:00:00:00:99", "interface": "", "lastHeardSeconds": seconds});
            status["addresses"]["items"][0]["conflicts"] = json!([claim]);
            let cluster = site_of(leader(), [Answers::With(status, trace), speaker("n2")]).await;
            let said = plugin(&cluster, "status").await;
            assert!(said.code == code && said.stdout.contains(part), "{said:?}");
            let explained = plugin(&cluster, "explain a").await;
            assert!(explained.code == code && explained.stdout.contains(part), "{explained:?}");
        }
    });
}

#[test]
fn what_no_node_matches_names_the_advertisement_and_its_field() {
    run(async {
        let cluster = Cluster::start().await;
        account(&cluster, super::SYSTEM, "ferrolb").await;
        node(&cluster, "n1", json!({}), "10.0.0.1").await;
        program(&cluster, "c-1", "controller", "n1", leader()).await;
        let quiet = json!({
            "node": "n1", "gossip": {"settled": true, "members": 1},
            "interfaces": {"items": [{"name": "eth0", "arp": "Used", "ndp": "Used"}]},
        });
        let quiet = Answers::With(document("SpeakerStatus", quiet), json!(null));
        program(&cluster, "s-1", "speaker", "n1", quiet).await;
        cluster.pool("lan", &["10.9.0.0/31"]).await;
        advertise(
            &cluster,
            json!({"nodeSelectors": [{"matchLabels": {"zone": "x"}}], "interfaces": ["eth9"]}),
        )
        .await;
        service(&cluster).await;
        let said = plugin(&cluster, "status").await;
        assert!(said.stdout.contains("change spec.nodeSelectors of L2Advertisement all"), "{said:?}");
        let label = Patch::Merge(json!({"metadata": {"labels": {"zone": "x"}}}));
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.client.clone());
        nodes.patch("n1", &PatchParams::default(), &label).await.unwrap();
        for command in ["status", "explain a"] {
            let said = plugin(&cluster, command).await;
            assert!(
                said.stdout.contains("correct spec.interfaces of L2Advertisement all"),
                "{command}: {said:?}"
            );
        }
    });
}

#[test]
fn manifests_are_checked_against_the_addresses_of_nodes_and_empty_lists_say_what_that_means() {
    run(async {
        let cluster = Cluster::start().await;
        account(&cluster, super::SYSTEM, "ferrolb").await;
        node(&cluster, "n1", json!({}), "10.9.0.3").await;
        pod(&cluster, "c-1", "controller", "n1", own_address(), &[]).await;
        endpoints(&cluster, "nobody", &["n1"]).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pool.json");
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": "lan"},
            "spec": {"addresses": ["10.9.0.0/28"]},
        });
        std::fs::write(&file, pool.to_string()).unwrap();
        let said = plugin(&cluster, &format!("validate --server -f {}", file.display())).await;
        assert!(said.code == 0 && said.stdout.contains("10.9.0.3, an address of node n1"), "{said:?}");
        for (command, part) in [
            ("pools", "so no Service gets an address of one"),
            ("peers", "No speakers found in namespace metallb-system, so nobody announces"),
        ] {
            let said = plugin_soon(&cluster, command).await;
            assert!(said.stdout.contains(part), "{command}: {said:?}");
        }
    });
}
