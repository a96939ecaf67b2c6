//! The definition of `BGPPeer` where others have put theirs before, with a conversion webhook or without.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::fixture::{empty, message};

const NAME: &str = "bgppeers.metallb.io";

/// What the API server has said of the definition, and what it is now.
struct Peers(Api<CustomResourceDefinition>);

impl Peers {
    fn new(client: Client) -> Self {
        Self(Api::all(client))
    }

    async fn patch(&self, parameters: PatchParams, patch: &Value) -> Result<Value, String> {
        let parameters = parameters.validation_strict();
        let written = if parameters.field_manager.as_deref() == Some("certifier") {
            self.0.patch(NAME, &parameters, &Patch::Merge(patch)).await
        } else {
            self.0.patch(NAME, &parameters, &Patch::Apply(patch)).await
        };
        let written = written.map_err(message)?;
        Ok(serde_json::to_value(written.spec.conversion).unwrap())
    }

    async fn apply(&self, manager: &str, definition: &Value) -> Result<Value, String> {
        self.patch(PatchParams::apply(manager), definition).await
    }

    async fn force(&self, manager: &str, definition: &Value) -> Result<Value, String> {
        self.patch(PatchParams::apply(manager).force(), definition).await
    }
}

/// The definition as it is written to `crds/`.
fn ours() -> Value {
    let text = include_str!("../../../../crds/metallb.io_bgppeers.yaml");
    serde_saphyr::from_str(text).unwrap()
}

/// The definition with the webhook that MetalLB's has.
fn metallbs() -> Value {
    let mut definition = ours();
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {"service": {"name": "webhook-service", "namespace": "metallb-system", "path": "/convert"}},
        "conversionReviewVersions": ["v1beta1", "v1beta2"],
    }});
    definition
}

#[test]
fn no_definition_has_a_null() {
    fn has_null(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.iter().any(has_null),
            Value::Object(fields) => fields.values().any(has_null),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    for folder in ["../../crds", "../../charts/ferrolb/files/crds"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(definition["kind"], "CustomResourceDefinition");
            assert!(!has_null(&definition), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn one_field_manager_after_the_other_may_apply_it() {
    let (_server, client) = empty().await;
    let peers = Peers::new(client);
    for manager in ["kubectl", "helm", "argocd-controller", "kubectl", "helm"] {
        assert_eq!(peers.apply(manager, &ours()).await.unwrap(), json!({"strategy": "None"}), "{manager}");
    }
}

#[tokio::test]
async fn it_takes_the_place_of_metallbs_once_the_webhook_is_out() {
    let (_server, client) = empty().await;
    let peers = Peers::new(client);
    peers.apply("kubectl", &metallbs()).await.unwrap();
    // Somebody else writes there too, as MetalLB does with its certificate.
    let port = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"service": {"port": 9443}}}}}});
    let manager = PatchParams { field_manager: Some("certifier".to_owned()), ..PatchParams::default() };
    peers.patch(manager.clone(), &port).await.unwrap();

    // With the webhook still there, it is refused, whoever applies it, rather than left half done.
    for manager in ["kubectl", "helm"] {
        let refusal = peers.force(manager, &ours()).await.unwrap_err();
        assert!(refusal.contains("spec.conversion"), "{refusal}");
        assert!(refusal.contains("should not be set when strategy is not set to Webhook"), "{refusal}");
    }
    let out = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
    peers.patch(manager, &out).await.unwrap();
    for manager in ["helm", "argocd-controller", "kubectl", "helm"] {
        assert_eq!(peers.force(manager, &ours()).await.unwrap(), json!({"strategy": "None"}), "{manager}");
    }
}
