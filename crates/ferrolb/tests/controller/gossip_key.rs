//! The key of the speakers' gossip, which the controllers write into an empty Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, run, wait};

const OPTIONS: [&str; 1] = ["--gossip-secret=ferrolb-gossip"];

fn empty() -> Secret {
    serde_json::from_value(json!({"metadata": {"name": "ferrolb-gossip"}})).unwrap()
}

async fn key(secrets: &Api<Secret>) -> Option<Vec<u8>> {
    let secret = secrets.get("ferrolb-gossip").await.unwrap();
    secret.data.and_then(|data| data.get("secretkey").map(|key| key.0.clone()))
}

#[test]
fn it_is_made_once_by_whichever_replica_is_first_and_survives_an_upgrade() {
    run(async {
        let cluster = Cluster::start().await;
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "metallb-system");
        let (_a, _b) = (cluster.controller("a", &OPTIONS), cluster.controller("b", &OPTIONS));
        secrets.create(&PostParams::default(), &empty()).await.unwrap();
        let first = wait("a key", async || key(&secrets).await).await;
        assert_eq!(first.len(), 64, "32 bytes as text");

        // What an upgrade applies, and what an operator does to rotate keys.
        let applied = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ferrolb-gossip"}});
        let parameters = PatchParams::apply("helm").force();
        secrets.patch("ferrolb-gossip", &parameters, &Patch::Apply(applied)).await.unwrap();
        assert_eq!(key(&secrets).await, Some(first.clone()));
        let patch = |data: Value| Patch::Merge(json!({"stringData": data}));
        let rotated = patch(json!({"secretkey": "a key of the operator's", "previous": "the former key"}));
        secrets.patch("ferrolb-gossip", &PatchParams::default(), &rotated).await.unwrap();

        assert_eq!(key(&secrets).await.as_deref(), Some(&b"a key of the operator's"[..]));

        // They have seen all that, and would have changed it by the time that they make another.
        let gone = Patch::Merge(json!({"data": {"secretkey": null}}));
        secrets.patch("ferrolb-gossip", &PatchParams::default(), &gone).await.unwrap();
        let second = wait("another key", async || key(&secrets).await).await;
        assert_eq!(second.len(), 64);
        assert_ne!(second, first);
    });
}
