//! The key that seals what the speakers tell each other.
//!
//! The installation brings an empty Secret, and the controller writes the key into it. So the key is part of no
//! manifest: what renders manifests without the cluster can't change it with each rendering, and an upgrade, which
//! leaves alone what it has not written, keeps it. Every replica does this, since each write carries the version that
//! it replaces, and so the first one wins.
//!
//! What replaces the whole Secret (`helm upgrade --force-replace`, a GitOps tool that replaces, a Secret deleted and made
//! again) empties it. Then whoever knows the keys it held puts them back, and the speakers, which go on with the keys that
//! they have read, never notice. Only when nobody knows them, because every replica is new, a new key is made.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use kubekit::write::{Answer, Intent, Object, Writes};
use kubekit::{Change, REQUEST_TIMEOUT, Source, due, watch};
use serde_json::{Value, json};
use tracing::{info, warn};

/// Where the speakers look for it: the name of a file, and of a field of MetalLB's Secret as well.
const KEY: &str = "secretkey";
/// Where they look for another that they accept, while keys are rotated.
const PREVIOUS: &str = "previous";
/// As many bytes as the cipher takes.
const LENGTH: usize = 32;
/// How long to wait after a conflict, and at most after a refusal.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long somebody who knows no key leaves the Secret to those who may know it. They write within milliseconds.
const DEFERENCE: Duration = Duration::from_secs(1);

/// The keys in a Secret by their fields; two during a rotation.
type Held = BTreeMap<&'static str, ByteString>;

/// Sees to it, for ever, that the Secret `name` holds a key. Does nothing without a name, and while there is no such
/// Secret. A key that is there stays, whatever it is.
pub(crate) async fn keep(client: Client, namespace: &str, name: Option<&str>, writes: Writes) {
    let Some(name) = name else { return pending().await };
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let mut changes = pin!(watch(Source::named(api.clone(), name)));
    let object = Object::new("Secret", namespace, name);
    let mut keeper = Keeper::default();
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(change) => keeper.take_in(change, Instant::now()),
                None => return,
            },
            () = due(keeper.due) => {
                let Some(patch) = keeper.write(rand::random()) else { continue };
                match writes.perform(&object, Intent::Change, REQUEST_TIMEOUT, send(&api, name, &patch)).await {
                    Answer::Done(()) => {
                        match keeper.known {
                            Some(_) => warn!(secret = name, "the key for the speakers was gone, put it back"),
                            None => info!(secret = name, "made a key for the speakers"),
                        }
                        keeper.due = None;
                    }
                    // Most often another replica was faster, and then the next change has its key.
                    Answer::Conflict | Answer::Gone => keeper.due = Some(Instant::now() + RETRY),
                    // No speaker starts without a key, so a right that was granted should be found out soon.
                    Answer::Refused(failure) | Answer::Unavailable(failure) => {
                        keeper.due = Some(failure.again.min(Instant::now() + LONGEST_PAUSE));
                    }
                }
            }
        }
    }
}

/// What is known of the Secret, and what is to be done about it.
#[derive(Debug, Default)]
struct Keeper {
    /// What it held when it last held a key.
    known: Option<Held>,
    /// The Secret, while it lacks a key.
    lacking: Option<Secret>,
    /// When to write a key into it.
    due: Option<Instant>,
}

impl Keeper {
    fn take_in(&mut self, change: Change<Secret>, now: Instant) {
        let secret = match change {
            Change::Reset(list) => list.into_iter().next(),
            Change::Apply(secret) => Some(secret),
            Change::Delete(_) => None,
        };
        let waiting = self.due.take();
        self.lacking = None;
        let Some(secret) = secret else { return };
        let held = held(&secret);
        if held.contains_key(KEY) {
            self.known = Some(held);
            return;
        }
        self.lacking = Some(secret);
        self.due = Some(if self.known.is_some() { now } else { waiting.unwrap_or(now + DEFERENCE) });
    }

    /// What to write: what is known, else `new` as text, so that people can copy it. `None` if no key is lacking.
    fn write(&self, new: [u8; LENGTH]) -> Option<Value> {
        let secret = self.lacking.as_ref()?;
        let text = || new.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
        let mut data = match &self.known {
            Some(known) => known.clone(),
            None => Held::from([(KEY, ByteString(text()))]),
        };
        // What somebody has written since stays.
        data.retain(|field, _| !held(secret).contains_key(field));
        Some(json!({"metadata": {"resourceVersion": secret.metadata.resource_version}, "data": data}))
    }
}

/// The keys that a Secret holds.
fn held(secret: &Secret) -> Held {
    let data = secret.data.iter().flatten();
    let keys = data.filter(|(_, key)| !key.0.is_empty());
    keys.filter_map(|(field, key)| {
        let field = [KEY, PREVIOUS].into_iter().find(|known| known == field)?;
        Some((field, key.clone()))
    })
    .collect()
}

async fn send(api: &Api<Secret>, name: &str, patch: &Value) -> kube::Result<()> {
    // A copy of the answer would be a copy of the key.
    api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: [u8; LENGTH] = [0xab; LENGTH];

    fn secret(data: Value) -> Secret {
        let secret = json!({"metadata": {"name": "gossip", "resourceVersion": "7"}, "data": data});
        serde_json::from_value(secret).unwrap()
    }

    fn after(states: &[Value]) -> (Keeper, Instant) {
        let (mut keeper, now) = (Keeper::default(), Instant::now());
        for state in states {
            keeper.take_in(Change::Apply(secret(state.clone())), now);
        }
        (keeper, now)
    }

    #[test]
    fn a_key_that_is_there_stays_and_a_missing_or_empty_one_is_made() {
        let lacks = |data: Value| after(&[data]).0.write(NEW).is_some();
        assert!(!lacks(json!({"secretkey": "b2xk"})));
        assert!(lacks(json!({"secretkey": ""})));
        assert!(lacks(json!({"previous": "b2xk"})));
        assert!(lacks(Value::Null));
    }

    #[test]
    fn a_new_key_is_made_when_nobody_who_knows_one_has_put_it_back_in_time() {
        let (mut keeper, now) = after(&[Value::Null]);
        assert_eq!(keeper.due, Some(now + DEFERENCE));
        // Further changes put nothing off.
        keeper.take_in(Change::Apply(secret(json!({}))), now + DEFERENCE / 2);
        assert_eq!(keeper.due, Some(now + DEFERENCE));
        let patch = keeper.write(NEW).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7", "only what was seen is replaced");
        let text = serde_json::to_value(ByteString("ab".repeat(LENGTH).into_bytes())).unwrap();
        assert_eq!(patch["data"], json!({"secretkey": text}));
        keeper.take_in(Change::Apply(secret(json!({"secretkey": "b2xk"}))), now);
        assert_eq!(keeper.due, None, "somebody was faster");
    }

    #[test]
    fn who_knows_the_keys_puts_them_back_at_once() {
        let both = json!({"secretkey": "b2xk", "previous": "bmV3", "of-somebody-else": "eA=="});
        for emptied in [Value::Null, json!({}), json!({"secretkey": "", "previous": ""})] {
            let (keeper, now) = after(&[json!({"secretkey": "Zmlyc3Q="}), both.clone(), emptied]);
            assert_eq!(keeper.due, Some(now));
            let patch = keeper.write(NEW).unwrap();
            assert_eq!(patch["data"], json!({"secretkey": "b2xk", "previous": "bmV3"}));
        }
        let (keeper, _) = after(&[both, json!({"previous": "eWV0IGFub3RoZXI="})]);
        assert_eq!(keeper.write(NEW).unwrap()["data"], json!({"secretkey": "b2xk"}));
    }

    #[test]
    fn a_key_outlives_the_secret_and_a_list_that_lacks_it() {
        let (mut keeper, now) = after(&[json!({"secretkey": "b2xk"})]);
        keeper.take_in(Change::Delete(secret(json!({"secretkey": "b2xk"}))), now);
        assert_eq!((keeper.due, keeper.write(NEW)), (None, None), "there is nothing to write to");
        keeper.take_in(Change::Reset(vec![]), now);
        keeper.take_in(Change::Reset(vec![secret(Value::Null)]), now);
        assert_eq!(keeper.write(NEW).unwrap()["data"], json!({"secretkey": "b2xk"}));
    }

    #[test]
    fn a_key_that_was_rotated_out_does_not_come_back() {
        let rotation = [
            json!({"secretkey": "b2xk"}),
            json!({"secretkey": "b2xk", "previous": "bmV3"}),
            json!({"secretkey": "bmV3", "previous": "b2xk"}),
            json!({"secretkey": "bmV3"}),
        ];
        assert!(after(&rotation).0.write(NEW).is_none());
        let (keeper, _) = after(&[&rotation[..], &[Value::Null]].concat());
        assert_eq!(keeper.write(NEW).unwrap()["data"], json!({"secretkey": "bmV3"}));
    }
}
