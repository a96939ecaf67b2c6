//! The key of the speakers' gossip, which the controllers write into an empty Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
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
    });
}

#[test]
fn keys_that_a_replacement_of_the_secret_drops_are_put_back_by_whoever_knows_them() {
    run(async {
        let cluster = Cluster::start().await;
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "metallb-system");
        let knows = cluster.controller("knows", &OPTIONS);
        secrets.create(&PostParams::default(), &empty()).await.unwrap();
        let first = wait("a key", async || key(&secrets).await).await;
        let previous = json!({"stringData": {"previous": "another that is accepted"}});
        secrets.patch("ferrolb-gossip", &PatchParams::default(), &Patch::Merge(previous)).await.unwrap();
        let is_back = async || key(&secrets).await.filter(|key| *key == first);

        // As Helm and GitOps tools replace, or somebody empties it.
        for emptied in [
            Patch::Merge(json!({"data": null})),
            Patch::Merge(json!({"data": {"secretkey": null}})),
            Patch::Merge(json!({"data": {"secretkey": "", "previous": ""}})),
        ] {
            secrets.patch("ferrolb-gossip", &PatchParams::default(), &emptied).await.unwrap();
            wait("the key to be back", is_back).await;
        }
        secrets.replace("ferrolb-gossip", &PostParams::default(), &empty()).await.unwrap();
        wait("the key to be back", is_back).await;
        let data = secrets.get("ferrolb-gossip").await.unwrap().data.unwrap();
        assert_eq!(data["previous"].0, b"another that is accepted");

        // As `kubectl replace --force` does, beside a replica that knows nothing yet.
        let is_new = cluster.controller("new", &OPTIONS);
        for _ in 0..3 {
            secrets.delete("ferrolb-gossip", &DeleteParams::default()).await.unwrap();
            secrets.create(&PostParams::default(), &empty()).await.unwrap();
            wait("the key to be back", is_back).await;
        }

        // Nobody knows it any more.
        drop((knows, is_new));
        secrets.replace("ferrolb-gossip", &PostParams::default(), &empty()).await.unwrap();
        let _restarted = cluster.controller("restarted", &OPTIONS);
        let second = wait("another key", async || key(&secrets).await).await;
        assert_eq!(second.len(), 64);
        assert_ne!(second, first);
    });
}
