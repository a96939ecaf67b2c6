//! Services of other types are none of FerroLB's business.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, SOON, objects};
use lab::{Host, wait_until};
use serde_json::json;

use crate::{serve, with_cluster};

const NAMES: [&str; 4] = ["cluster-ip", "headless", "node-port", "external-name"];

fn versions(cluster: &Cluster) -> Result<Vec<String>> {
    let version = |name| {
        let service = cluster.kubectl_json(["get", "service", name])?;
        ensure!(
            service["status"] == json!({"loadBalancer": {}}),
            "{name} has a status: {}",
            service["status"]
        );
        Ok(service["metadata"]["resourceVersion"].as_str().context("it has a version")?.to_owned())
    };
    NAMES.into_iter().map(version).collect()
}

#[test]
fn services_of_other_types_work_and_are_never_written_to() {
    with_cluster(|cluster| {
        cluster.apply([
            &objects::service("cluster-ip", &json!({})),
            &objects::service("headless", &json!({"clusterIP": "None"})),
            &objects::service(
                "node-port",
                &json!({
                    "type": "NodePort",
                    "ports": [{"port": 80, "targetPort": objects::TARGET_PORT, "nodePort": 31000}],
                }),
            ),
            &objects::service(
                "external-name",
                &json!({
                    "type": "ExternalName",
                    "externalName": "cluster-ip.e2e.svc.cluster.local",
                    "selector": null,
                    "ports": null,
                }),
            ),
        ])?;
        let before = versions(cluster)?;
        // Events come in order: once this one is served, the others have been seen.
        serve(cluster, "balanced", &["172.16.211.215/32"])?;

        for url in [
            "http://cluster-ip/".to_owned(),
            format!("http://headless:{}/", objects::TARGET_PORT),
            "http://node-port/".to_owned(),
            "http://external-name/".to_owned(),
        ] {
            let answer = cluster.wait_for_answer_to_pod(&url)?;
            ensure!(answer.ends_with("web\n"), "{url}: {answer}");
        }
        for node in cluster.lab.nodes() {
            let url = format!("http://{}:31000/", Host::Node(node).ipv4());
            wait_until(&format!("{url} answers"), SOON, || {
                cluster.lab.run(Host::Client, ["curl", "-sS", "--fail", "--max-time", "2", &url])
            })?;
        }
        assert_eq!(versions(cluster)?, before);
        Ok(())
    });
}
