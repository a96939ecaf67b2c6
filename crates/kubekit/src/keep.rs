//! Objects that a program owns as a set, such as the statuses that it reports: kept as they are wanted.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

use crate::{Change, REQUEST_TIMEOUT, Source};

/// The objects that should be there, by name. Nothing while it is not this program's turn to say.
pub type Wanted<K> = Option<BTreeMap<String, K>>;

/// How long to wait after something went wrong.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the objects that `mine` selects those that are wanted, for ever: creates what is missing, writes
/// what differs, deletes what is too much, and does it again when somebody else meddles. An object that is
/// right is not written; times of transitions are not compared.
pub async fn keep<K>(mine: Source<K>, mut wanted: watch::Receiver<Wanted<K>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let mut keeper = Keeper { api: mine.api.clone(), there: None };
    let mut changes = crate::watch(mine).boxed();
    loop {
        let now_wanted = wanted.borrow_and_update().clone();
        let retry = match keeper.reconcile(now_wanted).await {
            Ok(()) => None,
            Err(error) => {
                debug!(kind = %K::kind(&()), %error, "report not written, trying again");
                Some(Instant::now() + RETRY)
            }
        };
        tokio::select! {
            Some(change) = changes.next() => keeper.observe(change),
            said = wanted.changed() => if said.is_err() { return },
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
        }
    }
}

struct Keeper<K> {
    api: Api<K>,
    /// What is there, by name, once the list is complete: what it should say, as JSON.
    there: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Refused(#[from] kube::Error),
    #[error("no answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

impl<K> Keeper<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    fn observe(&mut self, change: Change<K>) {
        match change {
            Change::Reset(list) => {
                self.there = Some(list.iter().map(|object| (object.name_any(), essence(object))).collect());
            }
            Change::Apply(object) => {
                let there = self.there.get_or_insert_default();
                there.insert(object.name_any(), essence(&object));
            }
            Change::Delete(object) => {
                self.there.get_or_insert_default().remove(&object.name_any());
            }
        }
    }

    async fn reconcile(&mut self, wanted: Wanted<K>) -> Result<(), KeepError> {
        let (Some(wanted), Some(there)) = (wanted, &mut self.there) else { return Ok(()) };
        let surplus: Vec<String> = there.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in surplus {
            accept(404, timeout(REQUEST_TIMEOUT, self.api.delete(&name, &DeleteParams::default())).await?)?;
            there.remove(&name);
        }
        for (name, object) in wanted {
            let essence = essence(&object);
            if there.get(&name) == Some(&essence) {
                continue;
            }
            if !there.contains_key(&name) {
                let parameters = PostParams::default();
                let create = self.api.create(&parameters, &object);
                accept(409, timeout(REQUEST_TIMEOUT, create).await?)?;
            }
            let status = replacing(there.get(&name), json(&object)["status"].take());
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(json!({"status": status})));
            timeout(REQUEST_TIMEOUT, self.api.patch_status(&name, &parameters, &patch)).await??;
            there.insert(name, essence);
        }
        Ok(())
    }
}

/// An answer with this code is as good as success: somebody else has done it already.
fn accept<T>(code: u16, answer: kube::Result<T>) -> kube::Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == code => Ok(()),
        other => other.map(drop),
    }
}

/// A merge patch that leaves nothing of the old fields behind.
fn replacing(old: Option<&Value>, mut new: Value) -> Value {
    for field in old.and_then(Value::as_object).into_iter().flat_map(|fields| fields.keys()) {
        if new.get(field).is_none() {
            new[field] = Value::Null;
        }
    }
    new
}

/// What has to be equal: the status, without the times of transitions.
fn essence<K: Serialize>(object: &K) -> Value {
    let mut status = json(object)["status"].take();
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    status
}

fn json<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_transition_makes_no_difference_and_the_rest_does() {
        let report = |result: &str, time: &str| {
            json!({"metadata": {"name": "a"}, "status": {"result": result, "conditions": [
                {"type": "valid", "status": "True", "lastTransitionTime": time},
            ]}})
        };
        assert_eq!(essence(&report("Valid", "now")), essence(&report("Valid", "then")));
        assert_ne!(essence(&report("Valid", "now")), essence(&report("Invalid", "now")));
        assert_eq!(essence(&json!({"metadata": {}})), Value::Null);
    }

    #[test]
    fn a_field_that_is_no_longer_wanted_is_removed() {
        let (old, new) = (json!({"result": "Invalid", "errorSummary": "x"}), json!({"result": "Valid"}));
        assert_eq!(replacing(Some(&old), new), json!({"result": "Valid", "errorSummary": null}));
        assert_eq!(replacing(None, json!({"result": "Valid"})), json!({"result": "Valid"}));
    }
}
