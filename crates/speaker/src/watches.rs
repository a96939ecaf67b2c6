//! What of the cluster is watched.

use std::fmt::Debug;

use api::{IPAddressPool, L2Advertisement};
use futures::stream::SelectAll;
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::{Client, Resource};
use kubekit::{Source, slim};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::lan::Report;

/// Fellow speakers are the Pods with these labels in our namespace.
const SPEAKERS: &str = "app.kubernetes.io/name=ferrolb,app.kubernetes.io/component=speaker";

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
}

/// Lists that must be complete before anything is decided, as `/readyz` names them.
pub(crate) const LISTS: [&str; 6] =
    ["services", "endpointslices", "nodes", "ipaddresspools", "l2advertisements", "speaker pods"];

impl Event {
    /// The list that this completes, if it does.
    pub(crate) fn completes(&self) -> Option<&'static str> {
        fn whole<K>(change: &kubekit::Change<K>, list: &'static str) -> Option<&'static str> {
            matches!(change, kubekit::Change::Reset(_)).then_some(list)
        }
        let [services, slices, nodes, pools, advertisements, speakers] = LISTS;
        match self {
            Self::Services(change) => whole(change, services),
            Self::Endpoints(change) => whole(change, slices),
            Self::Nodes(change) => whole(change, nodes),
            Self::Pools(change) => whole(change, pools),
            Self::Advertisements(change) => whole(change, advertisements),
            Self::Speakers(change) => whole(change, speakers),
            Self::Lan(_) => None,
        }
    }
}

/// Everything to look at, as one stream.
pub(crate) fn events(
    client: &Client,
    namespace: &str,
    mut reports: mpsc::Receiver<Report>,
) -> impl Stream<Item = Event> + Unpin {
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
    let speakers =
        Source { api: Api::namespaced(all(), namespace), labels: Some(SPEAKERS.to_owned()), fields: None };
    SelectAll::from_iter([
        of(Api::all(all()), Event::Services).boxed(),
        of(Api::all(all()), Event::Endpoints).boxed(),
        of(Api::all(all()), Event::Nodes).boxed(),
        of(Api::namespaced(all(), namespace), Event::Pools).boxed(),
        of(Api::namespaced(all(), namespace), Event::Advertisements).boxed(),
        of(speakers, Event::Speakers).boxed(),
        futures::stream::poll_fn(move |context| reports.poll_recv(context)).map(Event::Lan).boxed(),
    ])
}
