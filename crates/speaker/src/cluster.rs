//! The cluster side: the one task that owns what is known of the cluster and decides what to announce.
//!
//! ```text
//! watches --> Cluster (Placement inside) --> announcements, read by the LAN side
//!                    |
//!                    +--> events, metrics, log
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::sync::Arc;

use api::{IPAddressPool, L2Advertisement};
use futures::stream::SelectAll;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};
use kubekit::events::{Notice, Publisher};
use kubekit::http::Readiness;
use kubekit::{Source, slim};
use placement::{
    Advertisement, AdvertisementName, Announcements, Change, NodeName, Placement, Pool, PoolName, ServiceKey,
    SliceKey,
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::known::Known;
use crate::objects::{self, LoadBalancerClass};
use crate::{Config, Metrics, PROTOCOL};

/// Fellow speakers are the Pods with these labels in our namespace.
const SPEAKERS: &str = "app.kubernetes.io/name=ferrolb,app.kubernetes.io/component=speaker";

/// As many changes that wait are worked off before the announcements are published once: a list of
/// thousands need not be published thousands of times, nor should an address wait for all of them.
const BATCH: usize = 256;

/// A change of some kind of object.
#[derive(Debug)]
pub(crate) enum Event {
    Services(kubekit::Change<slim::Service>),
    Endpoints(kubekit::Change<slim::EndpointSlice>),
    Nodes(kubekit::Change<slim::Node>),
    Pools(kubekit::Change<IPAddressPool>),
    Advertisements(kubekit::Change<L2Advertisement>),
    Speakers(kubekit::Change<slim::Pod>),
}

/// Lists that must be complete before anything is decided, as `/readyz` names them.
pub(crate) const LISTS: [&str; 6] =
    ["services", "endpointslices", "nodes", "ipaddresspools", "l2advertisements", "speaker pods"];

impl Event {
    /// The list that this completes, if it does.
    fn completes(&self) -> Option<&'static str> {
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
        }
    }
}

/// Everything to watch, as one stream.
pub(crate) fn events(client: &Client, namespace: &str) -> impl Stream<Item = Event> + Unpin {
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
    let speakers = Source { api: Api::namespaced(all(), namespace), labels: Some(SPEAKERS.to_owned()) };
    SelectAll::from_iter([
        of(Api::all(all()), Event::Services).boxed(),
        of(Api::all(all()), Event::Endpoints).boxed(),
        of(Api::all(all()), Event::Nodes).boxed(),
        of(Api::namespaced(all(), namespace), Event::Pools).boxed(),
        of(Api::namespaced(all(), namespace), Event::Advertisements).boxed(),
        of(speakers, Event::Speakers).boxed(),
    ])
}

/// What is known of the cluster, and what follows from it.
pub(crate) struct Cluster {
    node: NodeName,
    class: LoadBalancerClass,
    placement: Placement,
    services: Known<ServiceKey>,
    slices: Known<SliceKey>,
    nodes: Known<NodeName>,
    pools: Known<PoolName>,
    advertisements: Known<AdvertisementName>,
    speakers: Known<String>,
    /// The node of each Pod that makes a member.
    members: BTreeMap<String, NodeName>,
    /// Of the Services that placement knows.
    references: BTreeMap<ServiceKey, ObjectReference>,
    /// Objects that cannot be used as they are now, and why.
    invalid: BTreeMap<(&'static str, String), String>,
    missing: Vec<&'static str>,
    readiness: Readiness,
    metrics: Metrics,
    publisher: Publisher,
    announcements: watch::Sender<Arc<Announcements>>,
}

impl Cluster {
    pub(crate) fn new(
        config: &Config,
        readiness: Readiness,
        metrics: Metrics,
        publisher: Publisher,
        announcements: watch::Sender<Arc<Announcements>>,
    ) -> Self {
        Self {
            node: config.node_name.clone(),
            class: LoadBalancerClass(config.lb_class.clone()),
            placement: Placement::new(config.node_name.clone(), config.exclude_label),
            services: Known::default(),
            slices: Known::default(),
            nodes: Known::default(),
            pools: Known::default(),
            advertisements: Known::default(),
            speakers: Known::default(),
            members: BTreeMap::new(),
            references: BTreeMap::new(),
            invalid: BTreeMap::new(),
            missing: LISTS.to_vec(),
            readiness,
            metrics,
            publisher,
            announcements,
        }
    }

    /// Follows the cluster for as long as there are events.
    pub(crate) async fn run(mut self, events: impl Stream<Item = Event> + Unpin) {
        let mut batches = events.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            for event in batch {
                self.handle(event);
            }
            self.publish();
        }
    }

    /// Takes an event in and settles what follows, so that coming and going is never seen as staying.
    fn handle(&mut self, event: Event) {
        if let Some(list) = event.completes() {
            self.missing.retain(|missing| *missing != list);
            self.readiness.reached(list);
        }
        match event {
            Event::Services(change) => self.services(change),
            Event::Endpoints(change) => self.endpoints(change),
            Event::Nodes(change) => self.nodes(change),
            Event::Pools(change) => self.pools(change),
            Event::Advertisements(change) => self.advertisements(change),
            Event::Speakers(change) => self.speakers(change),
        }
        if self.missing.is_empty() {
            self.metrics.config_loaded();
            for change in self.placement.settle() {
                self.tell(change);
            }
        }
    }

    fn services(&mut self, change: kubekit::Change<slim::Service>) {
        for (key, object) in self.services.update(change, objects::service_key) {
            let Some((service, object)) = object.and_then(|o| Some((self.class.read(&o)?, o))) else {
                self.references.remove(&key);
                self.placement.remove_service(&key);
                continue;
            };
            self.references.insert(key, object.object_ref(&()));
            self.placement.set_service(service);
        }
    }

    fn endpoints(&mut self, change: kubekit::Change<slim::EndpointSlice>) {
        for (key, object) in self.slices.update(change, objects::slice_key) {
            match object.as_ref().and_then(objects::read_slice) {
                Some((service, endpoints)) => self.placement.set_endpoints(&key, &service, endpoints),
                None => self.placement.remove_endpoints(&key),
            }
        }
    }

    fn nodes(&mut self, change: kubekit::Change<slim::Node>) {
        for (name, object) in self.nodes.update(change, |node| node.name_any().into()) {
            match object {
                Some(node) => self.placement.set_node(objects::read_node(&node)),
                None => self.placement.remove_node(&name),
            }
        }
    }

    fn pools(&mut self, change: kubekit::Change<IPAddressPool>) {
        for (name, object) in self.pools.update(change, |pool| pool.name_any().into()) {
            match object.map(|object| Pool::try_from(&object)) {
                None => self.placement.remove_pool(&name),
                Some(Ok(pool)) => self.placement.set_pool(pool),
                Some(Err(error)) => {
                    self.invalid("IPAddressPool", name.as_str(), &error);
                    continue;
                }
            }
            self.valid("IPAddressPool", name.as_str());
        }
    }

    fn advertisements(&mut self, change: kubekit::Change<L2Advertisement>) {
        for (name, object) in self.advertisements.update(change, |ad| ad.name_any().into()) {
            match object.map(|object| Advertisement::try_from(&object)) {
                None => self.placement.remove_advertisement(&name),
                Some(Ok(advertisement)) => self.placement.set_advertisement(advertisement),
                Some(Err(error)) => {
                    self.invalid("L2Advertisement", name.as_str(), &error);
                    continue;
                }
            }
            self.valid("L2Advertisement", name.as_str());
        }
    }

    fn speakers(&mut self, change: kubekit::Change<slim::Pod>) {
        for (name, pod) in self.speakers.update(change, ResourceExt::name_any) {
            match pod.as_ref().and_then(objects::read_member) {
                Some(node) => _ = self.members.insert(name, node),
                None => _ = self.members.remove(&name),
            }
        }
        let members: BTreeSet<NodeName> = self.members.values().cloned().collect();
        self.metrics.members(members.len());
        self.placement.set_members(members);
    }

    /// An object cannot be used: its last good version stays in force, and no other object suffers.
    fn invalid(&mut self, kind: &'static str, name: &str, error: &dyn Display) {
        let error = error.to_string();
        if self.invalid.get(&(kind, name.to_owned())) != Some(&error) {
            warn!(kind, name, error, "invalid, its last good version stays in force");
        }
        self.invalid.insert((kind, name.to_owned()), error);
        self.metrics.config_stale(true);
    }

    fn valid(&mut self, kind: &'static str, name: &str) {
        if self.invalid.remove(&(kind, name.to_owned())).is_some() {
            info!(kind, name, "valid again");
            self.metrics.config_stale(!self.invalid.is_empty());
        }
    }

    fn tell(&self, change: Change) {
        match change {
            Change::Assigned { service, vips } => {
                info!(%service, ?vips, "announcing");
                self.metrics.assigned(&self.node, &service, &vips);
                if let Some(reference) = self.references.get(&service) {
                    let message =
                        format!("announcing from node {:?} with protocol {PROTOCOL:?}", self.node.as_str());
                    self.publisher.publish(reference.clone(), Notice::normal("nodeAssigned", message));
                }
            }
            Change::Released { service, vips, why } => {
                info!(%service, ?vips, ?why, "no longer announcing");
                self.metrics.released(&self.node, &service, &vips, &why);
            }
        }
    }

    fn publish(&self) {
        self.announcements.send_if_modified(|current| {
            let different = **current != *self.placement.announcements();
            if different {
                *current = Arc::new(self.placement.announcements().clone());
            }
            different
        });
    }
}
