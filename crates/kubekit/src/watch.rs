//! A list that is kept up to date, as a stream of changes.

mod follow;
mod reachability;
mod wire;

use std::fmt::Display;
use std::marker::PhantomData;

pub(crate) use follow::SILENCE;
use follow::{Follower, Happened, Reader};
use futures::{Stream, StreamExt};
use kube::{Api, Client, Resource, ResourceExt};
pub use reachability::Reachability;
use serde::de::DeserializeOwned;
use wire::Endpoint;

use crate::Version;

/// What happened to the objects of one kind.
#[derive(Debug, Clone)]
pub enum Change<K> {
    /// The complete list. What was known before and is not in it is gone, and what it says is believed whatever
    /// the versions: in a cluster that was restored from a backup they are older than before. The first change is
    /// always this; it comes again whenever the watch had to start anew.
    Reset(Vec<K>),
    /// An object was made or changed.
    Apply(K),
    /// An object was deleted; this is its last state.
    Delete(K),
}

/// What a list and watch have to tell.
#[derive(Debug, Clone)]
pub enum Watched<K> {
    /// What happened to the objects.
    Change(Change<K>),
    /// The API server has an older state than before, as after a restore of etcd from a backup. The list of that state
    /// comes next. Lists of other kinds may still be those of before for some seconds.
    Restored,
}

/// How much of a kind is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Everything up to this version; zero where it is no number.
    pub complete: u64,
    /// The newest version of an object, also of one that was deleted while it was watched; zero where there is none.
    pub newest: u64,
}

/// What to list and watch.
#[derive(Debug, Clone)]
pub struct Source<K> {
    /// The kind, and the namespace if it is confined to one.
    pub api: Api<K>,
    /// Only objects with these labels.
    pub labels: Option<String>,
    /// Only objects with these values in their fields.
    pub fields: Option<String>,
    /// Who is told whether the API server answers.
    pub reachability: Option<Reachability>,
    /// What it means that there is no such kind.
    pub absence: Absence,
}

/// What it means that the API server has no such kind, since its CRD is not installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Absence {
    /// Something is wrong.
    #[default]
    Trouble,
    /// There are no objects of it.
    Empty,
}

impl<K> Source<K> {
    /// The objects with these labels, written as a label selector.
    pub fn labelled(api: Api<K>, labels: impl Into<String>) -> Self {
        Self { labels: Some(labels.into()), ..Self::from(api) }
    }

    /// The one object of this name.
    pub fn named(api: Api<K>, name: impl Display) -> Self {
        Self { fields: Some(format!("metadata.name={name}")), ..Self::from(api) }
    }

    /// The same, and where the API server has no such kind there are none: a list of nothing, until it has. Nor are there
    /// any where this program has not been allowed to list them yet, as one that is newer than its rights.
    #[must_use]
    pub fn or_none(self) -> Self {
        Self { absence: Absence::Empty, ..self }
    }

    /// The same, and `reachability` is told whether the API server answers.
    #[must_use]
    pub fn telling(self, reachability: &Reachability) -> Self {
        Self { reachability: Some(reachability.clone()), ..self }
    }
}

impl<K> From<Api<K>> for Source<K> {
    fn from(api: Api<K>) -> Self {
        Self { api, labels: None, fields: None, reachability: None, absence: Absence::Trouble }
    }
}

/// Lists and then watches `source`, for ever. While the API server cannot be reached the stream is silent;
/// it says so once in the log, and once when it is back.
pub fn watch<K>(source: impl Into<Source<K>>) -> impl Stream<Item = Change<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Send + 'static,
{
    watch_as(source, std::convert::identity)
}

/// Like [`watch()`], with every object turned at once into what is wanted of it, so that of a long list no
/// more than a page is ever in memory as objects.
pub fn watch_as<K, T>(
    source: impl Into<Source<K>>,
    convert: impl Fn(K) -> T + Send + 'static,
) -> impl Stream<Item = Change<T>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + 'static,
    T: Send + 'static,
{
    watch_known(source, convert).map(|(change, _)| change)
}

/// Like [`watch_as`], for whoever compares with others how much they know: with each change comes how much is known by it.
pub fn watch_known<K, T>(
    source: impl Into<Source<K>>,
    convert: impl Fn(K) -> T + Send + 'static,
) -> impl Stream<Item = (Change<T>, Known)>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + 'static,
    T: Send + 'static,
{
    follow(source, convert).filter_map(|(watched, known)| {
        std::future::ready(match watched {
            Watched::Change(change) => Some((change, known)),
            Watched::Restored => None,
        })
    })
}

/// Like [`watch_as`], for whoever puts several lists together: it is told when the state that they are of is not a later
/// one of the same history.
pub fn watch_history<K, T>(
    source: impl Into<Source<K>>,
    convert: impl Fn(K) -> T + Send + 'static,
) -> impl Stream<Item = Watched<T>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + 'static,
    T: Send + 'static,
{
    follow(source, convert).map(|(watched, _)| watched)
}

fn follow<K, T>(
    source: impl Into<Source<K>>,
    convert: impl Fn(K) -> T + Send + 'static,
) -> impl Stream<Item = (Watched<T>, Known)>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + 'static,
    T: Send + 'static,
{
    let follower = source.into().follower();
    let reader = ConvertingReader { convert, read: Vec::new(), kind: PhantomData };
    futures::stream::unfold((follower, reader), |(mut follower, mut reader)| async move {
        let happened = follower.next(&mut reader).await;
        let watched = reader.take(happened);
        let known = follower.known();
        Some(((watched, known), (follower, reader)))
    })
}

impl<K: Resource<DynamicType = ()>> Source<K> {
    fn follower(self) -> Follower {
        let Self { api, labels, fields, reachability, absence } = self;
        let path = api.resource_url().to_owned();
        let mut follower = Follower::new(Endpoint::new(Client::from(api), &path), K::kind(&()));
        (follower.labels, follower.fields) = (labels, fields);
        (follower.reachability, follower.absence) = (reachability, absence);
        follower
    }
}

/// Turns every object at once into what is wanted of it.
struct ConvertingReader<K, T, F> {
    convert: F,
    read: Vec<T>,
    kind: PhantomData<fn() -> K>,
}

impl<K, T, F> Reader for ConvertingReader<K, T, F>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
    T: Send,
    F: Fn(K) -> T + Send,
{
    fn read(&mut self, object: &str) -> serde_json::Result<Version> {
        let mut object: K = serde_json::from_str(object)?;
        // The bookkeeping of server-side apply is often the largest part of an object.
        object.managed_fields_mut().clear();
        let version = Version::of(&object);
        self.read.push((self.convert)(object));
        Ok(version)
    }

    fn clear(&mut self) {
        self.read.clear();
    }
}

impl<K, T, F> ConvertingReader<K, T, F> {
    /// What happened, with what was read of it.
    fn take(&mut self, happened: Happened) -> Watched<T> {
        let mut one = || self.read.pop().expect("it was read just now");
        Watched::Change(match happened {
            Happened::Reset => Change::Reset(std::mem::take(&mut self.read)),
            Happened::Apply => Change::Apply(one()),
            Happened::Delete => Change::Delete(one()),
            Happened::Restored => return Watched::Restored,
        })
    }
}
