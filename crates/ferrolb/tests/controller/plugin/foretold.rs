//! What would happen if, and what is wrong with a manifest, from the objects in the API alone.

use std::path::Path;

use serde_json::{Value, json};

use super::{SYSTEM, account, advertise, answered, endpoints, node, own_address, plugin_soon, pod};
use crate::fixture::{Cluster, run, start, wait};

/// Three nodes with a speaker each that cannot be asked, a pool, and Services of which two have an address.
async fn site() -> (Cluster, lab::process::Running) {
    let cluster = Cluster::start().await;
    account(&cluster, SYSTEM, "ferrolb").await;
    for number in 1..=3 {
        let name = format!("n{number}");
        node(
            &cluster,
            &name,
            json!({"zone": if number == 3 { "b" } else { "a" }}),
            &format!("10.0.0.{number}"),
        )
        .await;
        // Nobody listens there.
        let port = lab::ports::free().unwrap();
        let options = [format!("--http-bind=0.0.0.0:{port}")];
        pod(&cluster, &format!("s-{number}"), "speaker", &name, own_address(), &options).await;
    }
    cluster.pool("lan", &["10.9.0.1-10.9.0.2"]).await;
    advertise(&cluster, json!({})).await;
    let controller = start(&cluster.kubeconfig(), "c-1", &["--http-bind=127.0.0.1:0"]);
    cluster.service("broad", json!({})).await;
    cluster.wait_for_addresses("broad", &["10.9.0.1"]).await;
    cluster.service("narrow", json!({"externalTrafficPolicy": "Local"})).await;
    cluster.wait_for_addresses("narrow", &["10.9.0.2"]).await;
    endpoints(&cluster, "broad", &["n1", "n2", "n3"]).await;
    endpoints(&cluster, "narrow", &["n2"]).await;
    (cluster, controller)
}

/// Writes a manifest, and returns its path.
fn manifest(folder: &Path, name: &str, objects: &Value) -> String {
    let path = folder.join(name);
    std::fs::write(&path, objects.to_string()).unwrap();
    path.display().to_string()
}

fn row<'a>(answer: &'a Value, service: &str) -> &'a Value {
    let rows = answer["items"].as_array().unwrap();
    rows.iter().find(|row| row["service"] == service).unwrap_or_else(|| panic!("{service}: {answer}"))
}

#[test]
fn what_follows_from_a_change_is_foretold_and_then_happens() {
    run(async {
        let (cluster, _controller) = site().await;
        let folder = tempfile::tempdir().unwrap();

        // A drain takes what is Local from its only node, and nothing from a Service with endpoints elsewhere.
        let said = plugin_soon(&cluster, "whatif drain n2 -o json").await;
        assert_eq!(said.code, 1, "{said:?}");
        let foretold = answered(&said);
        let narrow = row(&foretold, "default/narrow");
        assert_eq!(
            (&narrow["now"], &narrow["then"], &narrow["effect"]),
            (&json!("n2"), &json!("-"), &json!("loses"))
        );
        assert!(narrow["note"].as_str().unwrap().contains("only n2 has serving endpoints"), "{narrow}");
        let rows = foretold["items"].as_array().unwrap();
        assert!(
            rows.iter().all(|row| row["service"] != "default/broad" || row["effect"] == "moves"),
            "{foretold}"
        );
        assert_eq!(plugin_soon(&cluster, "whatif drain n9").await.code, 2, "there is no such node");

        // Each node that is out has its reason.
        let explained = plugin_soon(&cluster, "explain default/narrow").await.stdout;
        assert!(explained.contains("n2 for 10.9.0.2"), "{explained}");
        assert!(explained.contains("its speaker cannot be asked"), "{explained}");
        assert!(
            explained.contains("n1 is out") && explained.contains("no serving endpoint there"),
            "{explained}"
        );
        let explained = answered(&plugin_soon(&cluster, "explain default/broad -o json").await);
        let ranking = explained["addresses"][0]["ranking"].as_array().unwrap();
        assert_eq!(ranking.len(), 3, "{explained}");
        assert_eq!(ranking[0], explained["addresses"][0]["announcer"]);

        // A new node takes over what it ranks first for, and nothing else.
        let mut moves = 0;
        for number in 0..8 {
            let foretold = answered(
                &plugin_soon(&cluster, &format!("whatif add node zone=a --name m{number} -o json")).await,
            );
            for row in foretold["items"].as_array().unwrap() {
                assert_eq!((&row["service"], &row["effect"]), (&json!("default/broad"), &json!("moves")));
                assert!(row["then"].as_str().unwrap().ends_with(&format!("m{number}")), "{row}");
                moves += 1;
            }
        }
        assert!((1..8).contains(&moves), "{moves} of 8 new nodes rank first");

        // An advertisement that leaves n2 out silences the Service that only n2 can serve.
        let narrower = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
            "metadata": {"name": "all", "namespace": SYSTEM},
            "spec": {"nodeSelectors": [{"matchLabels": {"zone": "b"}}]},
        });
        let path = manifest(folder.path(), "ad.json", &narrower);
        let said = plugin_soon(&cluster, &format!("whatif apply -f {path} -o json")).await;
        assert_eq!(said.code, 1);
        let narrow = row(&answered(&said), "default/narrow").clone();
        assert!(narrow["note"].as_str().unwrap().starts_with("OUTAGE: all 3 nodes are out"), "{narrow}");

        // A pool takes the place of another: the Services get addresses from it, as foretold.
        cluster.write_pool("spare", json!({"addresses": ["10.7.0.1-10.7.0.1"]})).await.unwrap();
        let said = plugin_soon(&cluster, "whatif delete pool lan -o json").await;
        assert_eq!(said.code, 1);
        let foretold = answered(&said);
        let (broad, narrow) = (row(&foretold, "default/broad"), row(&foretold, "default/narrow"));
        assert_eq!(broad["ip"], "10.7.0.1", "{foretold}");
        assert_eq!(narrow["effect"], "loses", "{foretold}");
        assert!(narrow["note"].as_str().unwrap().contains("pool spare: exhausted (1 of 1)"), "{narrow}");
        assert_eq!(cluster.addresses("broad").await, ["10.9.0.1"], "nothing was changed");
        cluster.delete_pool("lan").await;
        cluster.wait_for_addresses("broad", &["10.7.0.1"]).await;
        cluster.wait_for_addresses("narrow", &[]).await;
    });
}

#[test]
fn without_speakers_to_ask_the_objects_tell_who_should_announce() {
    run(async {
        let (cluster, _controller) = site().await;
        let said = plugin_soon(&cluster, "services -A -o json").await;
        assert_eq!(said.code, 2, "nobody can be asked whether it is announced: {said:?}");
        assert!(
            said.stderr.contains("metallb-system/s-1") && said.stderr.contains("cannot be asked: "),
            "{said:?}"
        );
        let services = answered(&said);
        let broad = services["items"].as_array().unwrap().iter().find(|it| it["name"] == "broad").unwrap();
        assert_eq!(broad["health"], "Unknown");
        assert!(
            broad["reasons"][0].as_str().unwrap().contains("should announce it by the objects in the API"),
            "{broad}"
        );
        // A report of the speaker that should is as good as its word.
        let node = broad["addresses"][0]["node"].as_str().unwrap().to_owned();
        let report = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "ServiceL2Status", "metadata": {"name": "r"},
            "status": {"node": node, "serviceName": "broad", "serviceNamespace": "default", "interfaces": [{"name": "eth0"}]},
        });
        let kind = ("metallb.io", "v1beta1", "ServiceL2Status", "servicel2statuses");
        super::create(&cluster, kind, report.clone()).await;
        let reports: kube::Api<api::ServiceL2Status> = kube::Api::namespaced(cluster.client.clone(), SYSTEM);
        let status = kube::api::Patch::Merge(json!({"status": report["status"]}));
        reports.patch_status("r", &kube::api::PatchParams::default(), &status).await.unwrap();
        let table = plugin_soon(&cluster, "services -A").await.stdout;
        let line = table.lines().find(|line| line.starts_with("default/broad")).unwrap();
        assert!(line.contains("announced") && line.contains(&format!("{node}/eth0")), "{line}");
        let whatif = plugin_soon(&cluster, "whatif drain n2").await.stdout;
        assert!(whatif.contains("no speaker can be asked"), "{whatif}");
    });
}

#[test]
fn a_manifest_is_judged_beside_the_objects_of_the_cluster_and_by_its_rules() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/28"]).await;
        let folder = tempfile::tempdir().unwrap();
        let pool = |name: &str, spec: Value| json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": name}, "spec": spec});
        let good =
            manifest(folder.path(), "good.json", &pool("other", json!({"addresses": ["10.8.0.0/28"]})));
        wait("the API server to judge", async || {
            (plugin_soon(&cluster, &format!("validate -f {good} --server")).await.code == 0).then_some(())
        })
        .await;
        let overlapping = manifest(
            folder.path(),
            "overlapping.json",
            &pool("other", json!({"addresses": ["10.9.0.8/30"]})),
        );
        assert_eq!(
            plugin_soon(&cluster, &format!("validate -f {overlapping}")).await.code,
            0,
            "alone it is well"
        );
        let said = plugin_soon(&cluster, &format!("validate -f {overlapping} --server")).await;
        assert_eq!(said.code, 1);
        assert!(said.stdout.contains("overlaps 10.9.0.8-10.9.0.11 of IPAddressPool lan"), "{said:?}");
        // The same pool again is no overlap with itself.
        let same = manifest(folder.path(), "same.json", &pool("lan", json!({"addresses": ["10.9.0.0/28"]})));
        assert_eq!(plugin_soon(&cluster, &format!("validate -f {same} --server")).await.code, 0);
        let twice = manifest(
            folder.path(),
            "twice.json",
            &pool("p", json!({"addresses": ["10.1.0.0/30", "10.1.0.0/30"]})),
        );
        let said = plugin_soon(&cluster, &format!("validate -f {twice} --server")).await;
        assert!(said.code == 1 && said.stdout.contains("ERROR"), "{said:?}");
        assert_eq!(cluster.pool_names().await, ["lan"], "nothing was stored");
    });
}
