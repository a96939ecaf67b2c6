//! What of the cluster is watched.

use std::fmt::Debug;
use std::sync::Arc;

use api::{IPAddressPool, L2Advertisement};
use futures::stream::{self, SelectAll};
use futures::{FutureExt, Stream, StreamExt};
use kube::api::Api;
use kube::{Client, Resource};
use kubekit::{Source, slim, speakers};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};

use crate::lan::Report;

/// Something that this speaker must look at.
#[derive(Debug)]
pub(crate) enum Event {
    Services(kubekit::Change<slim::Service>),
    Endpoints(kubekit::Change<slim::EndpointSlice>),
    Nodes(kubekit::Change<slim::Node>),
    Pools(kubekit::Change<IPAddressPool>),
    Advertisements(kubekit::Change<L2Advertisement>),
    Speakers(kubekit::Change<slim::Pod>),
    Lan(Report),
    /// The members as of now.
    Members(Arc<gossip::View>),
    /// What happened among them.
    Gossip(gossip::Event),
    /// This speaker is asked to stop.
    Stop,
}

/// Lists that must be complete before anything is decided, as `/readyz` names them.
pub(crate) const LISTS: [&str; 7] =
    ["services", "endpointslices", "nodes", "ipaddresspools", "l2advertisements", SPEAKERS, "members"];

/// The list of the Pods of fellow speakers.
pub(crate) const SPEAKERS: &str = "speaker pods";

impl Event {
    /// Whether the API server tells it.
    pub(crate) fn is_of_an_object(&self) -> bool {
        match self {
            Self::Services(_)
            | Self::Endpoints(_)
            | Self::Nodes(_)
            | Self::Pools(_)
            | Self::Advertisements(_)
            | Self::Speakers(_) => true,
            Self::Lan(_) | Self::Members(_) | Self::Gossip(_) | Self::Stop => false,
        }
    }

    /// The list that this completes, if it does.
    pub(crate) fn completes(&self) -> Option<&'static str> {
        fn whole<K>(change: &kubekit::Change<K>, list: &'static str) -> Option<&'static str> {
            matches!(change, kubekit::Change::Reset(_)).then_some(list)
        }
        let [services, slices, nodes, pools, advertisements, speakers, members] = LISTS;
        match self {
            Self::Services(change) => whole(change, services),
            Self::Endpoints(change) => whole(change, slices),
            Self::Nodes(change) => whole(change, nodes),
            Self::Pools(change) => whole(change, pools),
            Self::Advertisements(change) => whole(change, advertisements),
            Self::Speakers(change) => whole(change, speakers),
            Self::Members(view) => view.settled.then_some(members),
            Self::Lan(_) | Self::Gossip(_) | Self::Stop => None,
        }
    }
}

/// What comes from within this program.
pub(crate) struct Inputs {
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) members: watch::Receiver<Arc<gossip::View>>,
    pub(crate) gossip: mpsc::Receiver<gossip::Event>,
    pub(crate) stop: oneshot::Receiver<()>,
}

/// Everything to look at, as one stream.
pub(crate) fn events(client: &Client, namespace: &str, inputs: Inputs) -> impl Stream<Item = Event> + Unpin {
    fn of<K>(
        source: impl Into<Source<K>>,
        event: fn(kubekit::Change<K>) -> Event,
    ) -> impl Stream<Item = Event>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        kubekit::watch(source).map(event)
    }
    let all = || client.clone();
    let speakers = speakers::source(client, namespace);
    SelectAll::from_iter([
        of(Api::all(all()), Event::Services).boxed(),
        of(Api::all(all()), Event::Endpoints).boxed(),
        of(Api::all(all()), Event::Nodes).boxed(),
        of(Api::namespaced(all(), namespace), Event::Pools).boxed(),
        of(Api::namespaced(all(), namespace), Event::Advertisements).boxed(),
        of(speakers, Event::Speakers).boxed(),
        received(inputs.reports).map(Event::Lan).boxed(),
        received(inputs.gossip).map(Event::Gossip).boxed(),
        seen(inputs.members).map(Event::Members).boxed(),
        inputs.stop.into_stream().map(|_| Event::Stop).boxed(),
    ])
}

fn received<T>(mut channel: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::poll_fn(move |context| channel.poll_recv(context))
}

fn seen<T: Clone>(mut channel: watch::Receiver<T>) -> impl Stream<Item = T> {
    channel.mark_changed();
    stream::unfold(channel, async |mut channel| {
        channel.changed().await.ok()?;
        let value = channel.borrow_and_update().clone();
        Some((value, channel))
    })
}
