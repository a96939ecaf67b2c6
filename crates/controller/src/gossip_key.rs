//! The key that seals what the speakers tell each other.
//!
//! The installation brings an empty Secret, and the controller writes the key into it. So the key is part of no
//! manifest: what renders manifests without the cluster can't change it with each rendering, and an upgrade, which
//! leaves alone what it has not written, keeps it. Every replica does this, since each write carries the version that
//! it replaces, and so the first one wins.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use kubekit::{Change, REQUEST_TIMEOUT, Source, watch};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

/// Where the speakers look for it: the name of a file, and of a field of MetalLB's Secret as well.
const FIELD: &str = "secretkey";
/// As many bytes as the cipher takes.
const LENGTH: usize = 32;
/// How long to wait after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Sees to it, for ever, that the Secret `name` holds a key. Does nothing without a name, and while there is no such
/// Secret. A key that is there stays, whatever it is.
pub(crate) async fn keep(client: Client, namespace: &str, name: Option<&str>) {
    let Some(name) = name else { return pending().await };
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let mut changes = pin!(watch(Source::named(api.clone(), name)));
    let mut missing_from: Option<Secret> = None;
    loop {
        if let Some(secret) = missing_from.take() {
            match timeout(REQUEST_TIMEOUT, write(&api, &secret)).await {
                Ok(Ok(())) => info!(secret = name, "made a key for the speakers"),
                // Most often another replica was faster, and then the next change has its key.
                Ok(Err(error)) => {
                    debug!(secret = name, %error, "key not written, trying again");
                    missing_from = Some(secret);
                }
                Err(_) => missing_from = Some(secret),
            }
        }
        tokio::select! {
            change = changes.next() => match change {
                Some(Change::Reset(list)) => missing_from = list.into_iter().find(lacks_key),
                Some(Change::Apply(secret)) => missing_from = Some(secret).filter(lacks_key),
                Some(Change::Delete(_)) => missing_from = None,
                None => return,
            },
            () = sleep(RETRY), if missing_from.is_some() => {}
        }
    }
}

fn lacks_key(secret: &Secret) -> bool {
    secret.data.as_ref().and_then(|data| data.get(FIELD)).is_none_or(|key| key.0.is_empty())
}

async fn write(api: &Api<Secret>, secret: &Secret) -> kube::Result<()> {
    let patch = Patch::Merge(patch(secret, rand::random()));
    // A copy of the answer would be a copy of the key.
    api.patch_metadata(&secret.name_any(), &PatchParams::default(), &patch).await.map(drop)
}

/// The key as text, so that people can copy it.
fn patch(secret: &Secret, key: [u8; LENGTH]) -> Value {
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "metadata": {"resourceVersion": secret.metadata.resource_version},
        "stringData": {FIELD: text},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: Value) -> Secret {
        let secret = json!({"metadata": {"name": "gossip", "resourceVersion": "7"}, "data": data});
        serde_json::from_value(secret).unwrap()
    }

    #[test]
    fn a_key_that_is_there_stays_and_a_missing_or_empty_one_is_made() {
        assert!(!lacks_key(&secret(json!({"secretkey": "b2xk"}))));
        assert!(lacks_key(&secret(json!({"secretkey": ""}))));
        assert!(lacks_key(&secret(json!({"previous": "b2xk"}))));
        assert!(lacks_key(&secret(Value::Null)));
    }

    #[test]
    fn a_write_replaces_only_what_was_seen() {
        let patch = patch(&secret(Value::Null), [0xab; LENGTH]);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["stringData"][FIELD], "ab".repeat(LENGTH));
    }
}
