//! The cluster side: the one task that owns what is known of the cluster and decides what to announce.
//!
//! ```text
//! watches -----> Cluster (Placement inside) --> what the LAN side is to do, what the gossip is told
//! members ----->        |
//! LAN reports ->        |
//!                       +--> ServiceL2Status, ConfigurationState, events, metrics, log
//! ```

mod publish;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use api::{ConfigurationState, IPAddressPool, L2Advertisement, ServiceL2Status};
use futures::{Stream, StreamExt};
use gossip::{Absence, LinkState, View};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use kubekit::Mirror;
use kubekit::events::{Notice, Publisher};
use kubekit::http::Readiness;
use kubekit::keep::Wanted;
use kubekit::speakers::Speakers;
use kubekit::{Identity, slim};
use layer2::{MacAddr, Voice};
use placement::{
    AdvertisementName, Change, Handovers, InterfaceName, Interfaces, NodeName, Placement, PoolName, Pools,
    ServiceKey, SliceKey,
};
use pools::PoolSpec;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::configuration::Configuration;
use crate::fellows::{self, Said};
use crate::ipvs::{Answers, Ipvs};
use crate::lan::{self, Conflict, Interface, Report};
use crate::objects::{self, LoadBalancerClass};
use crate::outcome::{self, Outcomes};
use crate::prospects::Prospects;
use crate::watches::{Event, LISTS};
use crate::{Config, Metrics};

/// As many changes that wait are worked off before the announcements are published once: a list of
/// thousands need not be published thousands of times, nor should an address wait for all of them.
const BATCH: usize = 256;

/// Where what follows from the cluster goes.
pub(crate) struct Outputs {
    /// What to announce, for the LAN side.
    pub(crate) wanted: watch::Sender<lan::Wanted>,
    /// What to report of each Service that is announced here, until this speaker stops.
    pub(crate) statuses: Option<watch::Sender<Wanted<ServiceL2Status>>>,
    /// What to report of the configuration.
    pub(crate) state: watch::Sender<Wanted<ConfigurationState>>,
    /// What the gossip is told.
    pub(crate) said: watch::Sender<Said>,
    /// What our goodbye would be for, if we were asked to stop now; `None` where a word of that may be on its way.
    pub(crate) absence: watch::Sender<Option<Absence>>,
    /// Events.
    pub(crate) publisher: Publisher,
}

/// What is known of the cluster, and what follows from it.
pub(crate) struct Cluster {
    node: NodeName,
    identity: Identity,
    class: LoadBalancerClass,
    placement: Placement,
    outcomes: Outcomes,
    ipvs: Ipvs,
    configuration: Configuration,
    services: Mirror<ServiceKey>,
    slices: Mirror<SliceKey>,
    nodes: Mirror<NodeName>,
    pools: Mirror<PoolName>,
    pool_specs: BTreeMap<PoolName, PoolSpec>,
    advertisements: Mirror<AdvertisementName>,
    speakers: Speakers,
    prospects: Prospects,
    /// Where we take part in the gossip.
    gossip_address: SocketAddr,
    /// The members as last acted on.
    view: Arc<View>,
    /// Which interface went down with the gossip that goes through it. Others may have taken over since then there,
    /// and are yet to be heard.
    cut: Option<InterfaceName>,
    /// Where nothing is to be said at present.
    silent: Option<Interfaces>,
    /// The Ethernet addresses of fellow speakers. They stay known after they are gone: one that leaves or is cut
    /// off may go on speaking for a while, and is no stranger.
    fellows: BTreeMap<NodeName, BTreeSet<MacAddr>>,
    /// How many members have not told theirs yet.
    unknown: usize,
    handovers: Handovers,
    stopping: bool,
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
    pub(crate) fn new(
        config: &Config,
        gossip_address: SocketAddr,
        readiness: Readiness,
        metrics: Metrics,
        outputs: Outputs,
    ) -> Self {
        Self {
            node: config.node_name.clone(),
            identity: config.identity.clone(),
            class: LoadBalancerClass(config.lb_class.clone()),
            placement: Placement::new(config.node_name.clone(), config.exclude_label),
            outcomes: Outcomes::new(config.node_name.clone()),
            ipvs: Ipvs::default(),
            configuration: Configuration::new(metrics.clone()),
            services: Mirror::default(),
            slices: Mirror::default(),
            nodes: Mirror::default(),
            pools: Mirror::default(),
            pool_specs: BTreeMap::new(),
            advertisements: Mirror::default(),
            speakers: Speakers::default(),
            prospects: Prospects::default(),
            gossip_address,
            view: Arc::default(),
            cut: None,
            silent: None,
            fellows: BTreeMap::new(),
            unknown: 0,
            handovers: Handovers::default(),
            stopping: false,
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

    /// Follows the cluster for as long as there are events, or until it has stopped.
    pub(crate) async fn run(mut self, events: impl Stream<Item = Event> + Unpin) {
        let mut batches = events.ready_chunks(BATCH);
        loop {
            tokio::select! {
                batch = batches.next() => {
                    let Some(batch) = batch else { return };
                    for event in batch {
                        self.handle(event, Instant::now());
                    }
                }
                () = kubekit::due(self.handovers.deadline()) => {}
            }
            self.publish(Instant::now());
        }
    }

    /// Takes an event in and settles what follows, so that coming and going is never seen as staying.
    fn handle(&mut self, event: Event, now: Instant) {
        if let Some(list) = event.completes() {
            self.missing.retain(|missing| *missing != list);
            self.readiness.reached(list);
        }
        if event.is_of_an_object() {
            self.metrics.update();
        }
        match event {
            Event::Services(change) => self.services(change),
            Event::Endpoints(change) => self.endpoints(change),
            Event::Nodes(change) => self.nodes(change),
            Event::Pools(change) => self.pools(change),
            Event::Advertisements(change) => self.advertisements(change),
            Event::Speakers(change) => self.speakers(change),
            Event::Lan(report) => self.lan(report),
            Event::Members(view) => self.members(view),
            Event::Gossip(event) => self.gossip(event, now),
            Event::Stop => self.stop(),
        }
        self.settle();
    }

    fn settle(&mut self) {
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
                Some(node) => {
                    if name == self.node {
                        self.prospects.node(&node);
                    }
                    self.placement.set_node(objects::read_node(&node));
                }
                None => {
                    self.placement.remove_node(&name);
                    self.fellows.remove(&name);
                }
            }
        }
    }

    fn pools(&mut self, change: kubekit::Change<IPAddressPool>) {
        let mut changed = false;
        for (name, object) in self.pools.update(change, |pool| pool.name_any().into()) {
            changed |= match object.map(|object| PoolSpec::from(&object)) {
                Some(spec) => self.pool_specs.insert(name, spec.clone()) != Some(spec),
                None => {
                    self.configuration.valid("IPAddressPool", name.as_str());
                    self.pool_specs.remove(&name).is_some()
                }
            };
        }
        if !changed {
            return;
        }
        let pools = Pools::new(self.pool_specs.values().cloned());
        for pool in pools.iter() {
            self.configuration.assess("IPAddressPool", pool.name.as_str(), &pool.faults);
        }
        self.placement.set_pools(pools);
    }

    fn advertisements(&mut self, change: kubekit::Change<L2Advertisement>) {
        for (name, object) in self.advertisements.update(change, |ad| ad.name_any().into()) {
            let Some((advertisement, unreadable)) = object.map(|object| object.read()) else {
                self.placement.remove_advertisement(&name);
                self.configuration.valid("L2Advertisement", name.as_str());
                continue;
            };
            let faults: Vec<_> =
                unreadable.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect();
            self.configuration.assess("L2Advertisement", name.as_str(), &faults);
            self.placement.set_advertisement(advertisement);
        }
    }

    fn speakers(&mut self, change: kubekit::Change<slim::Pod>) {
        let ours = |pod: &slim::Pod| self.identity.pod_name.as_ref() == Some(&pod.name_any());
        match &change {
            kubekit::Change::Reset(pods) => self.own_pod(pods.iter().find(|pod| ours(pod))),
            kubekit::Change::Apply(pod) if ours(pod) => self.own_pod(Some(pod)),
            kubekit::Change::Delete(pod) if ours(pod) => self.own_pod(None),
            kubekit::Change::Apply(_) | kubekit::Change::Delete(_) => {}
        }
        self.speakers.update(change);
    }

    /// Our own Pod is new, different or gone.
    fn own_pod(&mut self, pod: Option<&slim::Pod>) {
        let owner = pod.and_then(|pod| self.identity.clone().in_pod(pod.uid()).owner());
        self.unreported |= self.owner != owner;
        self.owner = owner;
        // One that is deleted without delay is not seen to go.
        if let Some(pod) = pod {
            self.prospects.pod(pod);
        }
    }

    /// What is not settled is no ground to act on: what was known before stays, but nothing is said of it, since the
    /// others may have acted meanwhile. Interfaces that were there all along go on while another one is cut off: the
    /// same switch may have failed for all nodes.
    fn members(&mut self, view: Arc<View>) {
        for (node, profile) in &view.profiles {
            let macs: BTreeSet<_> = fellows::macs(profile).collect();
            // A controller has none, and its name is no node's.
            if !macs.is_empty() {
                self.fellows.insert(node.clone(), macs);
            }
        }
        let others = view.members.iter().filter(|node| **node != self.node);
        self.unknown = others.filter(|node| !view.profiles.contains_key(*node)).count();
        if view.settled && self.outputs.said.borrow().link == LinkState::Up {
            self.cut = None;
        }
        self.silent = match &self.cut {
            _ if view.settled => None,
            Some(interface) => Some(Interfaces::Only([interface.clone()].into())),
            None => Some(Interfaces::All),
        };
        if !view.settled || view == self.view {
            return;
        }
        self.view = view;
        self.follow_members();
    }

    fn follow_members(&mut self) {
        self.metrics.members(self.view.members.len());
        if !self.stopping {
            self.placement.set_members(self.view.members.clone());
            self.placement.set_away(self.view.away.clone());
        }
    }

    /// Each of these goes along with a view, which may come a moment later.
    fn gossip(&mut self, event: gossip::Event, now: Instant) {
        use gossip::Event as Happened;
        match event {
            Happened::Returned(node) => {
                self.outputs.said.send_if_modified(|said| said.farewells.remove(&node));
                self.placement.reassert();
            }
            Happened::PresumedDead => {
                self.placement.reassert();
            }
            Happened::Leaving { node, absence } => {
                let view = Arc::make_mut(&mut self.view);
                view.members.remove(&node);
                match absence {
                    Absence::Brief => _ = view.away.insert(node.clone()),
                    Absence::Open => view.away.clear(),
                }
                let before = self.placement.last_takeover();
                self.follow_members();
                self.settle();
                self.handovers.begin(node, self.placement.takeovers_since(before), now);
            }
            Happened::Joined(node) => {
                self.outputs.said.send_if_modified(|said| said.farewells.remove(&node));
            }
            // What follows from these is in the view.
            Happened::Lost { .. }
            | Happened::Confirmed { .. }
            | Happened::Stalled(_)
            | Happened::Profile(_)
            | Happened::Replaced(_)
            | Happened::Overdue(_)
            | Happened::Departed { .. } => {}
        }
    }

    /// From now on the LAN side goes on answering, until the others have taken over; in the reports we have gone
    /// already.
    fn stop(&mut self) {
        self.stopping = true;
        self.outputs.wanted.send_modify(|wanted| (wanted.voice, wanted.silent) = (Voice::Answers, None));
        self.placement.set_members(BTreeSet::new());
    }

    fn lan(&mut self, report: Report) {
        match report {
            Report::Interfaces(interfaces) => {
                let cut = fellows::cut(self.gossip_address.ip(), &interfaces);
                let link = if cut.is_some() { LinkState::Down } else { LinkState::Up };
                self.cut = cut.or(self.cut.take());
                self.outputs.said.send_if_modified(|said| {
                    let macs = interfaces.values().filter_map(Interface::announces_with).collect();
                    let different = said.macs != macs || said.link != link;
                    (said.macs, said.link) = (macs, link);
                    different
                });
                let notice = self.ipvs.look(&self.node, &interfaces, Answers::of_the_kernel);
                if let Some((node, notice)) = notice {
                    self.outputs.publisher.publish(node, notice);
                }
                self.outcomes.interfaces(interfaces);
            }
            Report::Free { vip, .. } => {
                self.outcomes.free(vip);
                self.placement.was_announced(vip);
            }
            Report::Taken(conflict) => {
                let Conflict { vip, interface, by } = &conflict;
                warn!(%vip, %interface, %by, "not announcing, somebody else has the address");
                self.outcomes.taken(conflict);
            }
            Report::Claimed(conflict) => {
                let Conflict { vip, interface, by } = &conflict;
                warn!(%vip, %interface, %by, "somebody else claims an address that is announced");
                if self.outcomes.claimed(&conflict) {
                    let holders = self.placement.announced().filter(|(_, vips, _)| vips.contains(vip));
                    for (service, ..) in holders {
                        self.tell(service, outcome::claimed(&conflict));
                    }
                }
                return;
            }
            Report::Spoken { takeover, .. } => return self.handovers.spoken(takeover),
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
}

#[cfg(test)]
mod tests;
