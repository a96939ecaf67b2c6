//! Objects that a program owns as a set, such as the statuses that it reports: kept as they are wanted.
//!
//! There may be thousands of them, so of each is kept what it takes to make it, and of what is there a fingerprint.

mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::ready;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use objects::pack;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
pub use wanted::{Receiver, Said, Wanted, wanted};

use crate::write::{Answer, Contest, Failure, Intent, Object, Writes};
use crate::{Change, REQUEST_TIMEOUT, Source, Version, due};

/// How long an object is left alone at most when something else is to be written to it than what was refused.
const OTHERWISE: Duration = Duration::from_secs(10);
/// Fewer new objects need not be packed.
const WORTH_PACKING: usize = 64;

/// Makes the objects that `mine` selects those that are wanted, for as long as somebody may say what is
/// wanted, and then until all is as it was wanted last: creates what is missing, writes
/// what differs, deletes what is too much, and does it again when somebody else meddles. An object that is
/// right is not written; times of transitions are not compared. What is wanted becomes an object by `render`, each time
/// that it is looked at.
///
/// One object is written at a time, and what has become known meanwhile is followed before the next. An object that is
/// refused, or that somebody else keeps changing, waits ever longer for its next turn; the others do not.
pub async fn keep<K, S>(
    mine: Source<K>,
    wanted: Receiver<S>,
    writes: Writes,
    render: impl Fn(&str, &S) -> K + Send,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
    S: Send,
{
    let mut keeper = Keeper::new(mine.api.clone(), writes, render);
    let mut changes = crate::watch_as(mine, |object: K| Seen::read(&object)).boxed();
    let mut ending = false;
    while !(ending && keeper.is_done()) {
        let (next, now) = (keeper.next(), Instant::now());
        tokio::select! {
            biased;
            Some(change) = changes.next() => keeper.observe(change, Instant::now()),
            () = wanted.changed(), if !ending => {
                let said = wanted.take();
                ending = said.ended;
                keeper.want(said);
            }
            () = due(next), if next.is_some_and(|next| next > now) => {}
            // Comes last, so there is nothing to be followed first; and once begun, a write is not given up.
            () = ready(()), if next.is_some_and(|next| next <= now) => keeper.write_next(now).await,
        }
    }
}

struct Keeper<K, S, R> {
    api: Api<K>,
    writes: Writes,
    render: R,
    /// Whether all that should be there is known, and it is this program's turn to write it.
    complete: bool,
    /// Whether all that is there is known.
    listed: bool,
    objects: BTreeMap<Arc<str>, Entry<S>>,
    /// How many there were when they were [packed](pack).
    packed: usize,
    /// Names of objects to look at.
    due: BTreeSet<Arc<str>>,
    /// Those of them that are not to be written yet.
    pauses: BTreeMap<Arc<str>, Pause>,
    /// Objects that somebody else has changed lately.
    contests: BTreeMap<Arc<str>, Contest>,
}

/// What is known of one object.
struct Entry<S> {
    /// What it should be, if it should be there.
    wanted: Option<S>,
    /// What it is, if it is there.
    there: Option<There>,
    /// The version that was deleted from here, until the watch tells that it is gone.
    deleted: Option<Version>,
}

/// An object that is there.
struct There {
    status: Fingerprint,
    version: Version,
}

/// An object that is there, or was.
struct Seen {
    name: Arc<str>,
    there: There,
}

/// What a status says: equal ones are the same, but for the times of transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint(u64);

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

impl<K, S, R> Keeper<K, S, R>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    R: Fn(&str, &S) -> K,
{
    fn new(api: Api<K>, writes: Writes, render: R) -> Self {
        Self {
            api,
            writes,
            render,
            complete: false,
            listed: false,
            objects: BTreeMap::new(),
            packed: 0,
            due: BTreeSet::new(),
            pauses: BTreeMap::new(),
            contests: BTreeMap::new(),
        }
    }

    fn want(&mut self, said: Said<S>) {
        if said.none {
            for (name, entry) in &mut self.objects {
                if entry.wanted.take().is_some() {
                    self.due.insert(Arc::clone(name));
                }
            }
        }
        for (name, wanted) in said.each {
            let name = Arc::from(name);
            let before = self.wanted(&name);
            self.entry(&name).wanted = wanted;
            let different = self.wanted(&name) != before;
            if different
                && let Some(pause) = self.pauses.get_mut(&name)
                && pause.why == Why::Failed
            {
                pause.until = pause.until.min(pause.since + OTHERWISE);
            }
            self.due.insert(name);
        }
        if std::mem::replace(&mut self.complete, said.complete) != said.complete {
            self.everything_is_due();
        }
    }

    fn observe(&mut self, change: Change<Seen>, now: Instant) {
        match change {
            Change::Reset(list) => {
                let right: Vec<_> = self.objects.keys().filter(|name| self.is_right(name)).cloned().collect();
                self.objects.values_mut().for_each(|entry| (entry.there, entry.deleted) = (None, None));
                for Seen { name, there } in list {
                    self.entry(&name).there = Some(there);
                }
                self.listed = true;
                right.iter().for_each(|name| self.check(name, now));
                self.everything_is_due();
            }
            Change::Apply(Seen { name, there }) => {
                self.replace(name, there.version.clone(), Some(there), now);
            }
            Change::Delete(Seen { name, there }) => self.replace(name, there.version, None, now),
        }
    }

    /// An object is now this, or gone, as the watch says of this version of it.
    fn replace(&mut self, name: Arc<str>, version: Version, is: Option<There>, now: Instant) {
        let was_right = self.is_right(&name);
        let entry = self.entry(&name);
        // The echo of an older write of ours comes after the answer to the latest one, be that a deletion.
        let is_echo = entry.there.as_ref().is_some_and(|known| version.is_older_than(&known.version))
            || entry.deleted.as_ref().is_some_and(|gone| version == *gone || version.is_older_than(gone));
        if is_echo {
            return;
        }
        (entry.there, entry.deleted) = (is, None);
        if was_right {
            self.check(&name, now);
        }
        self.due.insert(name);
    }

    fn entry(&mut self, name: &Arc<str>) -> &mut Entry<S> {
        self.objects.entry(Arc::clone(name)).or_insert(Entry { wanted: None, there: None, deleted: None })
    }

    /// What an object should say, if it should be there.
    fn wanted(&self, name: &str) -> Option<Fingerprint> {
        let wanted = self.objects.get(name)?.wanted.as_ref()?;
        Some(Fingerprint::of(&(self.render)(name, wanted)))
    }

    /// What an object says, if it is there.
    fn there(&self, name: &str) -> Option<Fingerprint> {
        self.objects.get(name)?.there.as_ref().map(|there| there.status)
    }

    /// Whether an object that should be there is as it should be.
    fn is_right(&self, name: &str) -> bool {
        self.there(name).is_some_and(|is| self.wanted(name) == Some(is))
    }

    /// An object was right: if it is so no longer, somebody else has changed it.
    fn check(&mut self, name: &Arc<str>, now: Instant) {
        if !self.is_right(name) {
            self.contested(name, now);
        }
    }

    fn contested(&mut self, name: &Arc<str>, now: Instant) {
        self.contests.retain(|_, contest| !contest.is_over(now));
        let contest = self.contests.entry(Arc::clone(name)).or_default();
        let undone = contest.undone(now, rand::random_range(0.0..1.0));
        self.writes.undone(&self.object(name), undone);
        if !undone.pause.is_zero() {
            let pause = Pause { since: now, until: now + undone.pause, why: Why::Contested };
            self.pauses.insert(Arc::clone(name), pause);
        }
    }

    fn everything_is_due(&mut self) {
        self.due.extend(self.objects.keys().cloned());
    }

    fn is_done(&self) -> bool {
        !self.complete || (self.listed && self.due.is_empty())
    }

    /// When to write next; nothing while there is nothing to write.
    fn next(&self) -> Option<Instant> {
        if !self.complete || !self.listed {
            return None;
        }
        if self.due.iter().any(|name| !self.pauses.contains_key(name)) {
            return Some(Instant::now());
        }
        self.due.iter().filter_map(|name| self.pauses.get(name)).map(|pause| pause.until).min()
    }

    /// Puts the next object in order whose turn it is. One that could not be stays due.
    async fn write_next(&mut self, now: Instant) {
        let turn = |name: &&Arc<str>| self.pauses.get(*name).is_none_or(|pause| pause.until <= now);
        let Some(name) = self.due.iter().find(turn).filter(|_| self.complete && self.listed).cloned() else {
            return;
        };
        let wanted = self.objects.get(&name).and_then(|entry| entry.wanted.as_ref());
        let wanted = wanted.map(|wanted| (self.render)(&name, wanted));
        let done = match (self.there(&name), wanted) {
            (None, None) => {
                if self.objects.get(&name).is_some_and(|entry| entry.deleted.is_none()) {
                    self.objects.remove(&name);
                }
                self.writes.forget(&self.object(&name));
                Ok(Done::Right)
            }
            (Some(is), Some(object)) if is == Fingerprint::of(&object) => Ok(Done::Right),
            (Some(_), None) => self.delete(&name).await,
            (is, Some(object)) => self.write(&name, &object, is.is_none()).await,
        };
        match done {
            Ok(Done::Right) => {
                self.due.remove(&name);
                self.pauses.remove(&name);
                self.pack_once_calm();
            }
            Ok(Done::Other) => self.contested(&name, Instant::now()),
            Err(Failure { again, .. }) => {
                self.pauses.insert(name, Pause { since: now, until: again, why: Why::Failed });
            }
        }
    }

    /// Where thousands of objects have come, what is kept of them is packed.
    fn pack_once_calm(&mut self) {
        self.packed = self.packed.min(self.objects.len());
        if self.due.is_empty() && self.objects.len() - self.packed > WORTH_PACKING.max(self.packed / 8) {
            pack(&mut self.objects);
            self.packed = self.objects.len();
        }
    }

    async fn delete(&mut self, name: &Arc<str>) -> Result<Done, Failure> {
        let parameters = DeleteParams::default();
        let request = self.api.delete(name, &parameters);
        done(self.writes.perform(&self.object(name), Intent::Change, REQUEST_TIMEOUT, request).await)?;
        let entry = self.entry(name);
        entry.deleted = entry.there.take().map(|there| there.version);
        Ok(Done::Right)
    }

    async fn write(&mut self, name: &Arc<str>, object: &K, is_missing: bool) -> Result<Done, Failure> {
        let about = self.object(name);
        if is_missing {
            let parameters = PostParams::default();
            let request = self.api.create(&parameters, object);
            done(self.writes.perform(&about, Intent::Create, REQUEST_TIMEOUT, request).await)?;
        }
        let (parameters, patch) = (PatchParams::default(), replacing(object));
        let request = self.api.patch_status(name, &parameters, &patch);
        let answer = done(self.writes.perform(&about, Intent::Change, REQUEST_TIMEOUT, request).await)?;
        // Without an answer it is gone again, or was changed at the same time.
        let there = answer.map(|answer| Seen::read(&answer).there);
        let is_right = there.as_ref().is_some_and(|there| there.status == Fingerprint::of(object));
        let entry = self.entry(name);
        (entry.there, entry.deleted) = (there, None);
        Ok(if is_right { Done::Right } else { Done::Other })
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

impl Seen {
    fn read<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Self {
        let there = There { status: Fingerprint::of(object), version: Version::of(object) };
        Self { name: object.name_any().into(), there }
    }
}

impl Fingerprint {
    fn of<K: Serialize>(object: &K) -> Self {
        let mut status = status(object);
        let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            condition["lastTransitionTime"] = Value::Null;
        }
        let mut hasher = DefaultHasher::new();
        status.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A patch that leaves nothing of an old status behind.
fn replacing<K: Serialize>(object: &K) -> Patch<()> {
    let replace = json!([{"op": "add", "path": "/status", "value": status(object)}]);
    Patch::Json(serde_json::from_value(replace).expect("this is a JSON patch"))
}

fn status<K: Serialize>(object: &K) -> Value {
    let mut object = serde_json::to_value(object).unwrap_or_default();
    object.get_mut("status").map(Value::take).unwrap_or_default()
}

#[cfg(test)]
mod tests;
