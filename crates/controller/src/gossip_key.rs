//! The key that seals what the speakers tell each other.
//!
//! The installation brings an empty Secret, and the controller writes the key into it. So the key is part of no
//! manifest: what renders manifests without the cluster can't change it with each rendering, and an upgrade, which
//! leaves alone what it has not written, keeps it. Every replica does this, since each write carries the version that
//! it replaces, and so the first one wins.

use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use kubekit::write::{Answer, Intent, Object, Writes};
use kubekit::{Change, REQUEST_TIMEOUT, Source, watch};
use serde_json::{Value, json};
use tokio::time::sleep_until;
use tracing::info;

/// Where the speakers look for it: the name of a file, and of a field of MetalLB's Secret as well.
const FIELD: &str = "secretkey";
/// As many bytes as the cipher takes.
const LENGTH: usize = 32;
/// How long to wait after a conflict, and at most after a refusal.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sees to it, for ever, that the Secret `name` holds a key. Does nothing without a name, and while there is no such
/// Secret. A key that is there stays, whatever it is.
pub(crate) async fn keep(client: Client, namespace: &str, name: Option<&str>, writes: Writes) {
    let Some(name) = name else { return pending().await };
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let mut changes = pin!(watch(Source::named(api.clone(), name)));
    let object = Object::new("Secret", namespace, name);
    let mut missing_from: Option<Secret> = None;
    let mut retry = Instant::now();
    loop {
        if let Some(secret) = missing_from.take() {
            match writes.perform(&object, Intent::Change, REQUEST_TIMEOUT, write(&api, &secret)).await {
                Answer::Done(()) => info!(secret = name, "made a key for the speakers"),
                // Most often another replica was faster, and then the next change has its key.
                Answer::Conflict | Answer::Gone => {
                    retry = Instant::now() + RETRY;
                    missing_from = Some(secret);
                }
                Answer::Refused(failure) | Answer::Unavailable(failure) => {
                    // No speaker starts without a key, so a right that was granted should be found out soon.
                    retry = failure.again.min(Instant::now() + LONGEST_PAUSE);
                    missing_from = Some(secret);
                }
            }
        }
        tokio::select! {
            change = changes.next() => match change {
                Some(Change::Reset(list)) => missing_from = list.into_iter().find(lacks_key),
                Some(Change::Apply(secret)) => missing_from = Some(secret).filter(lacks_key),
                Some(Change::Delete(_)) => missing_from = None,
                None => return,
            },
            () = sleep_until(retry.into()), if missing_from.is_some() => {}
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
