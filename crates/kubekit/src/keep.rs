//! Objects that a program owns as a set, such as the statuses that it reports: kept as they are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::{Change, REQUEST_TIMEOUT, Source};

/// The objects that should be there, by name. Nothing while it is not this program's turn to say.
pub type Wanted<K> = Option<BTreeMap<String, K>>;

/// How long to wait after something went wrong.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the objects that `mine` selects those that are wanted, for as long as somebody may say what is
/// wanted, and then until all is as it was wanted last: creates what is missing, writes
/// what differs, deletes what is too much, and does it again when somebody else meddles. An object that is
/// right is not written; times of transitions are not compared.
///
/// One object is written at a time, and what has become known meanwhile is heeded before the next.
pub async fn keep<K>(mine: Source<K>, mut wanted: watch::Receiver<Wanted<K>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let mut keeper = Keeper { api: mine.api.clone(), wanted: None, there: None, due: BTreeSet::new() };
    let mut changes = crate::watch(mine).boxed();
    let mut retry = None;
    let mut ending = false;
    wanted.mark_changed();
    while !(ending && keeper.is_done()) {
        tokio::select! {
            biased;
            Some(change) = changes.next() => keeper.observe(change),
            said = wanted.changed(), if !ending => {
                ending = said.is_err();
                let now_wanted = wanted.borrow_and_update().clone();
                keeper.want(now_wanted);
            }
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => retry = None,
            // Comes last, so there is nothing to be heeded first; and once begun, a write is not given up.
            () = std::future::ready(()), if retry.is_none() && keeper.is_due() => {
                if let Err(error) = keeper.write_next().await {
                    debug!(kind = %K::kind(&()), %error, "report not written, trying again");
                    retry = Some(Instant::now() + RETRY);
                }
            }
        }
    }
}

struct Keeper<K> {
    api: Api<K>,
    /// By name, what should be there, and what it should say as JSON.
    wanted: Option<BTreeMap<String, (K, Value)>>,
    /// By name, what is there, once the list is complete: what it says, as JSON.
    there: Option<BTreeMap<String, Value>>,
    /// Names of objects to look at.
    due: BTreeSet<String>,
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
    fn want(&mut self, wanted: Wanted<K>) {
        let with_essence = |(name, object): (String, K)| {
            let essence = essence(&object);
            (name, (object, essence))
        };
        self.wanted = wanted.map(|wanted| wanted.into_iter().map(with_essence).collect());
        self.everything_is_due();
    }

    fn observe(&mut self, change: Change<K>) {
        match change {
            Change::Reset(list) => {
                self.there = Some(list.iter().map(|object| (object.name_any(), essence(object))).collect());
                self.everything_is_due();
            }
            Change::Apply(object) => {
                self.there.get_or_insert_default().insert(object.name_any(), essence(&object));
                self.due.insert(object.name_any());
            }
            Change::Delete(object) => {
                self.there.get_or_insert_default().remove(&object.name_any());
                self.due.insert(object.name_any());
            }
        }
    }

    fn everything_is_due(&mut self) {
        let wanted = self.wanted.iter().flatten().map(|(name, _)| name);
        let there = self.there.iter().flatten().map(|(name, _)| name);
        self.due.extend(wanted.chain(there).cloned());
    }

    fn is_done(&self) -> bool {
        self.wanted.is_none() || (self.there.is_some() && self.due.is_empty())
    }

    fn is_due(&self) -> bool {
        self.wanted.is_some() && self.there.is_some() && !self.due.is_empty()
    }

    /// Puts the next object in order. One that could not be stays due.
    async fn write_next(&mut self) -> Result<(), KeepError> {
        let (Some(wanted), Some(there), Some(name)) = (&self.wanted, &mut self.there, self.due.first())
        else {
            return Ok(());
        };
        let name = name.clone();
        match (there.get(&name), wanted.get(&name)) {
            (None, None) => {}
            (Some(is), Some((_, essence))) if is == essence => {}
            (Some(_), None) => {
                let parameters = DeleteParams::default();
                accept(404, timeout(REQUEST_TIMEOUT, self.api.delete(&name, &parameters)).await?)?;
                there.remove(&name);
            }
            (is, Some((object, essence))) => {
                if is.is_none() {
                    let parameters = PostParams::default();
                    accept(409, timeout(REQUEST_TIMEOUT, self.api.create(&parameters, object)).await?)?;
                }
                let status = replacing(is, json(object)["status"].take());
                let (parameters, patch) = (PatchParams::default(), Patch::Merge(json!({"status": status})));
                timeout(REQUEST_TIMEOUT, self.api.patch_status(&name, &parameters, &patch)).await??;
                there.insert(name.clone(), essence.clone());
            }
        }
        self.due.remove(&name);
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
