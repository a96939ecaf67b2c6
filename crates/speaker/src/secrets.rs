//! The passwords of BGP sessions, read from the Secrets that `BGPPeer`s name, and from no others.
//!
//! Each Secret is followed by its name in a task of its own, for as long as it is wanted. Nothing is read where no peer names
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use kubekit::{Change, Source};
use objects::SecretName;
use peering::{Secret, SecretState};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// As many Secrets may have news at once; then their tasks wait, and nothing is lost.
pub(crate) const NEWS: usize = 16;

/// What the API server has not answered by then is told to be unreadable. It may still be answered later.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Secret, as far as it can hold a password.
#[derive(Resource, Debug, Clone, Deserialize)]
#[resource(inherit = "v1::Secret")]
struct Stored {
    metadata: ObjectMeta,
    #[serde(default, rename = "type")]
    type_: String,
    #[serde(default)]
    data: Data,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Data {
    password: Option<ByteString>,
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data(..)")
    }
}

/// Tells what is in the Secrets that are wanted at the time, for as long as somebody may want any.
pub(crate) async fn follow(
    client: Client,
    namespace: String,
    mut wanted: watch::Receiver<BTreeSet<SecretName>>,
    news: mpsc::Sender<(SecretName, SecretState)>,
) {
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        running.retain(|name, task: &mut tokio::task::AbortHandle| {
            let stays = now.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
        for name in now {
            running.entry(name).or_insert_with_key(|name| {
                let api = Api::namespaced(client.clone(), &namespace);
                tasks.spawn(follow_one(api, name.clone(), news.clone()))
            });
        }
        while tasks.try_join_next().is_some() {}
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

async fn follow_one(api: Api<Stored>, name: SecretName, news: mpsc::Sender<(SecretName, SecretState)>) {
    let mut changes = pin!(kubekit::watch(Source::named(api, name.as_str())));
    let mut next = match timeout(PATIENCE, changes.next()).await {
        Ok(first) => first,
        Err(_) => {
            if news.send((name.clone(), SecretState::Unreadable)).await.is_err() {
                return;
            }
            changes.next().await
        }
    };
    while let Some(change) = next {
        let state = state(&name, change);
        if news.send((name.clone(), state)).await.is_err() {
            return;
        }
        next = changes.next().await;
    }
}

/// What a Secret is like after a change.
fn state(name: &SecretName, change: Change<Stored>) -> SecretState {
    let stored = match change {
        Change::Reset(list) => list.into_iter().find(|it| it.name_any() == name.as_str()),
        Change::Apply(stored) => Some(stored),
        Change::Delete(_) => None,
    };
    let Some(Stored { type_, data, .. }) = stored else { return SecretState::Absent };
    let password = data.password.as_ref().map(|password| password.0.as_slice());
    SecretState::Present(Secret::new(&type_, password))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stored(type_: &str, data: Value) -> Stored {
        serde_json::from_value(json!({"metadata": {"name": "router"}, "type": type_, "data": data})).unwrap()
    }

    fn after(change: Change<Stored>) -> SecretState {
        state(&"router".into(), change)
    }

    #[test]
    fn a_password_is_decoded_and_never_shown() {
        let data = json!({"password": "c2VjcmV0", "username": "Ym9i"});
        let secret = stored("kubernetes.io/basic-auth", data);
        assert!(!format!("{secret:?}").contains("115"), "{secret:?}");
        let SecretState::Present(secret) = after(Change::Reset(vec![secret])) else { panic!("it is there") };
        assert_eq!(secret.password().unwrap().expose(), b"secret");
    }

    #[test]
    fn a_secret_that_is_gone_is_absent_and_one_of_another_type_has_no_password() {
        let opaque = || stored("Opaque", json!({"password": "c2VjcmV0"}));
        assert_eq!(after(Change::Reset(vec![])), SecretState::Absent);
        assert_eq!(after(Change::Delete(opaque())), SecretState::Absent);
        let SecretState::Present(secret) = after(Change::Apply(opaque())) else { panic!("it is there") };
        assert!(secret.password().is_err());
        let without: Stored = serde_json::from_value(json!({"metadata": {"name": "router"}})).unwrap();
        assert!(matches!(after(Change::Apply(without)), SecretState::Present(_)));
    }
}
