//! The cluster side: the one task that owns what is known of the cluster and decides what to announce.
//!
//! ```text
//! watches -----> Cluster (Placement inside) --> what the LAN side is to do
//! LAN reports ->        |
//!                       +--> ServiceL2Status, ConfigurationState, events, metrics, log
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
    Advertisement, AdvertisementName, Change, History, NodeName, Placement, Pool, PoolName, ServiceKey,
    SliceKey,
};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::configuration::{self, Configuration};
use crate::known::Known;
use crate::lan::{self, Conflict, Report};
use crate::objects::{self, LoadBalancerClass};
use crate::outcome::{self, Outcomes};
use crate::status;
use crate::watches::{Event, LISTS};
use crate::{Config, Metrics};

/// As many changes that wait are worked off before the announcements are published once: a list of
/// thousands need not be published thousands of times, nor should an address wait for all of them.
const BATCH: usize = 256;

/// Where what follows from the cluster goes.
pub(crate) struct Outputs {
    /// What to announce, for the LAN side.
    pub(crate) wanted: watch::Sender<lan::Wanted>,
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
    outcomes: Outcomes,
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
    /// Whether there is anything new to say of the Services announced here.
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
            outcomes: Outcomes::new(config.node_name.clone()),
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
            Event::Lan(report) => self.lan(report),
        }
        if self.missing.is_empty() {
            self.metrics.config_loaded();
            for change in self.placement.settle() {
                self.moved(change);
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
                self.unreported = true;
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

    fn lan(&mut self, report: Report) {
        match report {
            Report::Interfaces(interfaces) => self.outcomes.interfaces(interfaces),
            Report::Free { vip, .. } => self.outcomes.free(vip),
            Report::Taken(conflict) => {
                let Conflict { vip, interface, by } = &conflict;
                warn!(%vip, %interface, %by, "not announcing, somebody else has the address");
                self.outcomes.taken(conflict);
            }
            Report::Claimed(conflict) => {
                let Conflict { vip, interface, by } = &conflict;
                warn!(%vip, %interface, %by, "somebody else claims an address that is announced");
                let holders = self.placement.announced().filter(|(_, vips, _)| vips.contains(vip));
                for (service, ..) in holders {
                    self.tell(service, outcome::claimed(&conflict));
                }
                return;
            }
            Report::Spoken { .. } => return,
        }
        self.unreported = true;
    }

    fn moved(&mut self, change: Change) {
        match change {
            Change::Assigned { service, vips } => {
                info!(%service, ?vips, "announcing");
                self.metrics.assigned(&self.node, &service, &vips);
            }
            Change::Released { service, vips, why } => {
                info!(%service, ?vips, ?why, "no longer announcing");
                self.metrics.released(&self.node, &service, &vips, &why);
                self.outcomes.forget(&service);
            }
        }
        self.unreported = true;
    }

    fn tell(&self, service: &ServiceKey, notice: Notice) {
        if let Some(reference) = self.references.get(service) {
            self.outputs.publisher.publish(reference.clone(), notice);
        }
    }

    /// Lets others see what has changed.
    fn publish(&mut self) {
        if !self.missing.is_empty() {
            return;
        }
        self.unreported |= self.publish_announcements();
        if std::mem::take(&mut self.unreported) {
            let announcements = self.placement.announcements();
            for (service, notice) in self.outcomes.judge(announcements, self.placement.announced()) {
                self.tell(&service, notice);
            }
            self.publish_statuses();
        }
        self.publish_state();
    }

    /// Whether they are others than before.
    fn publish_announcements(&self) -> bool {
        let announcements = self.placement.announcements();
        self.outputs.wanted.send_if_modified(|current| {
            let different = *current.announcements != *announcements;
            if different {
                let new = announcements.iter().filter(|(_, it)| it.history == History::New);
                current.fresh = new.map(|(vip, _)| *vip).collect();
                current.announcements = Arc::new(announcements.clone());
            }
            different
        })
    }

    fn publish_statuses(&self) {
        let announced =
            self.placement.announced().filter(|(service, ..)| self.outcomes.is_announced(service));
        let status =
            |(service, _, interfaces)| status::status(&self.node, self.owner.as_ref(), service, interfaces);
        let statuses = Some(announced.map(status).collect());
        self.outputs.statuses.send_if_modified(|current| {
            let different = *current != statuses;
            *current = statuses;
            different
        });
    }

    fn publish_state(&mut self) {
        let news = (self.owner.clone(), self.configuration.problems());
        if self.reported.as_ref() != Some(&news) {
            let (owner, problems) = self.reported.insert(news);
            let state = configuration::state(&self.node, owner.as_ref(), problems, Timestamp::now());
            self.outputs.state.send_replace(Some(state));
        }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
