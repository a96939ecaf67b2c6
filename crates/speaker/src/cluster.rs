//! The cluster side: the one task that owns what is known of the cluster and decides what to announce.
//!
//! ```text
//! watches --> Cluster (Placement inside) --> announcements, read by the LAN side
//!                    |
//!                    +--> ServiceL2Status, ConfigurationState, events, metrics, log
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{ConfigurationState, IPAddressPool, L2Advertisement, ServiceL2Status};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use kubekit::events::{Notice, Publisher};
use kubekit::http::Readiness;
use kubekit::keep::Wanted;
use kubekit::slim;
use placement::{
    Advertisement, AdvertisementName, Announcements, Change, NodeName, Placement, Pool, PoolName, ServiceKey,
    SliceKey,
};
use tokio::sync::watch;
use tracing::info;

use crate::configuration::{self, Configuration};
use crate::known::Known;
use crate::objects::{self, LoadBalancerClass};
use crate::status;
use crate::watches::{Event, LISTS};
use crate::{Config, Metrics, PROTOCOL};

/// As many changes that wait are worked off before the announcements are published once: a list of
/// thousands need not be published thousands of times, nor should an address wait for all of them.
const BATCH: usize = 256;

/// Where what follows from the cluster goes.
pub(crate) struct Outputs {
    /// What to announce, for the LAN side.
    pub(crate) announcements: watch::Sender<Arc<Announcements>>,
    /// What to report of each Service that is announced here.
    pub(crate) statuses: watch::Sender<Wanted<ServiceL2Status>>,
    /// What to report of the configuration.
    pub(crate) state: watch::Sender<Wanted<ConfigurationState>>,
    /// Events.
    pub(crate) publisher: Publisher,
}

/// What is known of the cluster, and what follows from it.
pub(crate) struct Cluster {
    node: NodeName,
    pod_name: Option<String>,
    class: LoadBalancerClass,
    placement: Placement,
    configuration: Configuration,
    services: Known<ServiceKey>,
    slices: Known<SliceKey>,
    nodes: Known<NodeName>,
    pools: Known<PoolName>,
    advertisements: Known<AdvertisementName>,
    speakers: Known<String>,
    /// The node of each Pod that makes a member.
    members: BTreeMap<String, NodeName>,
    /// Our own Pod, owner of what is reported: when it goes for good, so do the reports.
    owner: Option<OwnerReference>,
    /// Of the Services that placement knows.
    references: BTreeMap<ServiceKey, ObjectReference>,
    /// Whether Services came or went since their status was last reported.
    unreported: bool,
    /// For which owner and with which problems the state of the configuration was last reported.
    reported: Option<(Option<OwnerReference>, Vec<String>)>,
    missing: Vec<&'static str>,
    readiness: Readiness,
    metrics: Metrics,
    outputs: Outputs,
}

impl Cluster {
    pub(crate) fn new(config: &Config, readiness: Readiness, metrics: Metrics, outputs: Outputs) -> Self {
        Self {
            node: config.node_name.clone(),
            pod_name: config.identity.pod_name.clone(),
            class: LoadBalancerClass(config.lb_class.clone()),
            placement: Placement::new(config.node_name.clone(), config.exclude_label),
            configuration: Configuration::new(metrics.clone()),
            services: Known::default(),
            slices: Known::default(),
            nodes: Known::default(),
            pools: Known::default(),
            advertisements: Known::default(),
            speakers: Known::default(),
            members: BTreeMap::new(),
            owner: None,
            references: BTreeMap::new(),
            unreported: true,
            reported: None,
            missing: LISTS.to_vec(),
            readiness,
            metrics,
            outputs,
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
        self.metrics.update();
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
                self.unreported = true;
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
                    self.configuration.invalid("IPAddressPool", name.as_str(), &error);
                    continue;
                }
            }
            self.configuration.valid("IPAddressPool", name.as_str());
        }
    }

    fn advertisements(&mut self, change: kubekit::Change<L2Advertisement>) {
        for (name, object) in self.advertisements.update(change, |ad| ad.name_any().into()) {
            match object.map(|object| Advertisement::try_from(&object)) {
                None => self.placement.remove_advertisement(&name),
                Some(Ok(advertisement)) => self.placement.set_advertisement(advertisement),
                Some(Err(error)) => {
                    self.configuration.invalid("L2Advertisement", name.as_str(), &error);
                    continue;
                }
            }
            self.configuration.valid("L2Advertisement", name.as_str());
        }
    }

    fn speakers(&mut self, change: kubekit::Change<slim::Pod>) {
        for (name, pod) in self.speakers.update(change, ResourceExt::name_any) {
            if self.pod_name.as_ref() == Some(&name) {
                self.owner = pod.as_ref().and_then(objects::owner);
            }
            match pod.as_ref().and_then(objects::read_member) {
                Some(node) => _ = self.members.insert(name, node),
                None => _ = self.members.remove(&name),
            }
        }
        let members: BTreeSet<NodeName> = self.members.values().cloned().collect();
        self.metrics.members(members.len());
        self.placement.set_members(members);
    }

    fn tell(&self, change: Change) {
        match change {
            Change::Assigned { service, vips } => {
                info!(%service, ?vips, "announcing");
                self.metrics.assigned(&self.node, &service, &vips);
                if let Some(reference) = self.references.get(&service) {
                    let message =
                        format!("announcing from node {:?} with protocol {PROTOCOL:?}", self.node.as_str());
                    self.outputs
                        .publisher
                        .publish(reference.clone(), Notice::normal("nodeAssigned", message));
                }
            }
            Change::Released { service, vips, why } => {
                info!(%service, ?vips, ?why, "no longer announcing");
                self.metrics.released(&self.node, &service, &vips, &why);
            }
        }
    }

    /// Lets others see what has changed.
    fn publish(&mut self) {
        if !self.missing.is_empty() {
            return;
        }
        let announcements = self.placement.announcements();
        let changed = self.outputs.announcements.send_if_modified(|current| {
            let different = **current != *announcements;
            if different {
                *current = Arc::new(announcements.clone());
            }
            different
        });
        let problems = self.configuration.problems();
        let owner = self.owner.clone();
        let same_owner = self.reported.as_ref().is_some_and(|(before, _)| *before == owner);
        if changed || self.unreported || !same_owner {
            let status =
                |(service, _, interfaces)| status::status(&self.node, owner.as_ref(), service, interfaces);
            self.outputs.statuses.send_replace(Some(self.placement.announced().map(status).collect()));
            self.unreported = false;
        }
        let reported = (owner, problems);
        if self.reported.as_ref() != Some(&reported) {
            let (owner, problems) = self.reported.insert(reported);
            let state = configuration::state(&self.node, owner.as_ref(), problems, Timestamp::now());
            self.outputs.state.send_replace(Some(state));
        }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
