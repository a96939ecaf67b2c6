//! Objects that a program owns as a set, such as the statuses that it reports: kept as they are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::ready;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::write::{Answer, Contest, Failure, Intent, Object, Writes};
use crate::{Change, REQUEST_TIMEOUT, Source, Version, due};

/// The objects that should be there, by name. Nothing while it is not this program's turn to say.
pub type Wanted<K> = Option<BTreeMap<String, K>>;

/// How long an object is left alone at most when something else is to be written to it than what was refused.
const OTHERWISE: Duration = Duration::from_secs(10);

/// Makes the objects that `mine` selects those that are wanted, for as long as somebody may say what is
/// wanted, and then until all is as it was wanted last: creates what is missing, writes
/// what differs, deletes what is too much, and does it again when somebody else meddles. An object that is
/// right is not written; times of transitions are not compared.
///
/// One object is written at a time, and what has become known meanwhile is heeded before the next. An object that is
/// refused, or that somebody else keeps changing, waits ever longer for its next turn; the others do not.
pub async fn keep<K>(mine: Source<K>, mut wanted: watch::Receiver<Wanted<K>>, writes: Writes)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let mut keeper = Keeper::new(mine.api.clone(), writes);
    let mut changes = crate::watch(mine).boxed();
    let mut ending = false;
    wanted.mark_changed();
    while !(ending && keeper.is_done()) {
        let (next, now) = (keeper.next(), Instant::now());
        tokio::select! {
            biased;
            Some(change) = changes.next() => keeper.observe(change, Instant::now()),
            said = wanted.changed(), if !ending => {
                ending = said.is_err();
                let now_wanted = wanted.borrow_and_update().clone();
                keeper.want(now_wanted);
            }
            () = due(next), if next.is_some_and(|next| next > now) => {}
            // Comes last, so there is nothing to be heeded first; and once begun, a write is not given up.
            () = ready(()), if next.is_some_and(|next| next <= now) => keeper.write_next(now).await,
        }
    }
}

struct Keeper<K> {
    api: Api<K>,
    writes: Writes,
    /// By name, what should be there, and what it should say as JSON.
    wanted: Option<BTreeMap<String, (K, Value)>>,
    /// By name, what is there, once the list is complete.
    there: Option<BTreeMap<String, There>>,
    /// Names of objects to look at.
    due: BTreeSet<String>,
    /// Those of them that are not to be written yet.
    pauses: BTreeMap<String, Pause>,
    /// Objects that somebody else has changed lately.
    contests: BTreeMap<String, Contest>,
}

/// An object that is there.
struct There {
    /// What it says, as JSON.
    essence: Value,
    version: Version,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    since: Instant,
    until: Instant,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Failed,
    Contested,
}

impl<K> Keeper<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    fn new(api: Api<K>, writes: Writes) -> Self {
        let (due, pauses, contests) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { api, writes, wanted: None, there: None, due, pauses, contests }
    }

    fn want(&mut self, wanted: Wanted<K>) {
        let with_essence = |(name, object): (String, K)| {
            let essence = essence(&object);
            (name, (object, essence))
        };
        let before = std::mem::replace(
            &mut self.wanted,
            wanted.map(|wanted| wanted.into_iter().map(with_essence).collect()),
        );
        for (name, pause) in &mut self.pauses {
            let essence = |wanted: &Option<BTreeMap<String, (K, Value)>>| {
                wanted.as_ref().and_then(|wanted| wanted.get(name)).map(|(_, essence)| essence.clone())
            };
            if pause.why == Why::Failed && essence(&before) != essence(&self.wanted) {
                pause.until = pause.until.min(pause.since + OTHERWISE);
            }
        }
        self.everything_is_due();
    }

    fn observe(&mut self, change: Change<K>, now: Instant) {
        match change {
            Change::Reset(list) => {
                let there: BTreeMap<String, There> =
                    list.iter().map(|object| (object.name_any(), There::read(object))).collect();
                let names = self.there.iter().flatten().map(|(name, _)| name).chain(there.keys());
                let names: BTreeSet<String> = names.cloned().collect();
                let before: Vec<String> = names.into_iter().filter(|name| self.is_right(name)).collect();
                self.there = Some(there);
                before.iter().for_each(|name| self.check(name, now));
                self.everything_is_due();
            }
            Change::Apply(object) => {
                let (name, is) = (object.name_any(), There::read(&object));
                self.replace(name, is.version.clone(), Some(is), now);
            }
            Change::Delete(object) => self.replace(object.name_any(), Version::of(&object), None, now),
        }
    }

    /// An object is now this, or gone, as the watch says of this version of it.
    fn replace(&mut self, name: String, version: Version, is: Option<There>, now: Instant) {
        let there = self.there.get_or_insert_default();
        // The echo of an older write of ours comes after the answer to the latest one.
        if there.get(&name).is_some_and(|known| version.is_older_than(&known.version)) {
            return;
        }
        let was_right = self.is_right(&name);
        let there = self.there.get_or_insert_default();
        match is {
            Some(is) => _ = there.insert(name.clone(), is),
            None => _ = there.remove(&name),
        }
        if was_right {
            self.check(&name, now);
        }
        self.due.insert(name);
    }

    /// Whether an object that should be there is as it should be.
    fn is_right(&self, name: &str) -> bool {
        let wanted = self.wanted.as_ref().and_then(|wanted| wanted.get(name));
        let there = self.there.as_ref().and_then(|there| there.get(name));
        matches!((wanted, there), (Some((_, essence)), Some(is)) if is.essence == *essence)
    }

    /// An object was right: if it is so no longer, somebody else has changed it.
    fn check(&mut self, name: &str, now: Instant) {
        if !self.is_right(name) {
            self.contested(name, now);
        }
    }

    fn contested(&mut self, name: &str, now: Instant) {
        self.contests.retain(|_, contest| !contest.is_over(now));
        let contest = self.contests.entry(name.to_owned()).or_default();
        let undone = contest.undone(now, rand::random_range(0.0..1.0));
        self.writes.undone(&self.object(name), undone);
        if !undone.pause.is_zero() {
            let pause = Pause { since: now, until: now + undone.pause, why: Why::Contested };
            self.pauses.insert(name.to_owned(), pause);
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

    /// When to write next; nothing while there is nothing to write.
    fn next(&self) -> Option<Instant> {
        if self.wanted.is_none() || self.there.is_none() {
            return None;
        }
        let now = Instant::now();
        self.due.iter().map(|name| self.pauses.get(name).map_or(now, |pause| pause.until)).min()
    }

    /// Puts the next object in order whose turn it is. One that could not be stays due.
    async fn write_next(&mut self, now: Instant) {
        let turn = |name: &&String| self.pauses.get(*name).is_none_or(|pause| pause.until <= now);
        let (Some(wanted), Some(there), Some(name)) =
            (&self.wanted, &self.there, self.due.iter().find(turn).cloned())
        else {
            return;
        };
        let (is, wanted) = (there.get(&name).map(|is| is.essence.clone()), wanted.get(&name).cloned());
        let done = match (is, wanted) {
            (None, None) => {
                self.writes.forget(&self.object(&name));
                Ok(Done::Right)
            }
            (Some(is), Some((_, essence))) if is == essence => Ok(Done::Right),
            (Some(_), None) => self.delete(&name).await,
            (is, Some((object, essence))) => self.write(&name, &object, &essence, is.as_ref()).await,
        };
        match done {
            Ok(Done::Right) => {
                self.due.remove(&name);
                self.pauses.remove(&name);
            }
            Ok(Done::Other) => self.contested(&name, Instant::now()),
            Err(Failure { again, .. }) => {
                self.pauses.insert(name, Pause { since: now, until: again, why: Why::Failed });
            }
        }
    }

    async fn delete(&mut self, name: &str) -> Result<Done, Failure> {
        let parameters = DeleteParams::default();
        let request = self.api.delete(name, &parameters);
        done(self.writes.perform(&self.object(name), Intent::Change, REQUEST_TIMEOUT, request).await)?;
        self.there.get_or_insert_default().remove(name);
        Ok(Done::Right)
    }

    async fn write(
        &mut self,
        name: &str,
        object: &K,
        essence: &Value,
        is: Option<&Value>,
    ) -> Result<Done, Failure> {
        let about = self.object(name);
        if is.is_none() {
            let parameters = PostParams::default();
            let request = self.api.create(&parameters, object);
            done(self.writes.perform(&about, Intent::Create, REQUEST_TIMEOUT, request).await)?;
        }
        let status = replacing(is, json(object)["status"].take());
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(json!({"status": status})));
        let request = self.api.patch_status(name, &parameters, &patch);
        let there = self.there.get_or_insert_default();
        match done(self.writes.perform(&about, Intent::Change, REQUEST_TIMEOUT, request).await)? {
            Some(answer) => {
                let is = There::read(&answer);
                let done = if is.essence == *essence { Done::Right } else { Done::Other };
                there.insert(name.to_owned(), is);
                Ok(done)
            }
            // Gone again, or changed at the same time.
            None => {
                there.remove(name);
                Ok(Done::Other)
            }
        }
    }

    fn object(&self, name: &str) -> Object {
        let namespace = self.api.namespace().unwrap_or_default();
        Object::new(K::kind(&()).into_owned(), namespace, name)
    }
}

/// What became of a write that went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// The object is as it should be.
    Right,
    /// It is not, though nothing failed: somebody else has a hand in it.
    Other,
}

/// What the API server answered; nothing where somebody else was faster.
fn done<T>(answer: Answer<T>) -> Result<Option<T>, Failure> {
    match answer {
        Answer::Done(done) => Ok(Some(done)),
        Answer::Conflict | Answer::Gone => Ok(None),
        Answer::Refused(failure) | Answer::Unavailable(failure) => Err(failure),
    }
}

impl There {
    fn read<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Self {
        Self { essence: essence(object), version: Version::of(object) }
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
mod tests;
