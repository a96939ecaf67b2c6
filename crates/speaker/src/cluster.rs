//! The cluster side: brings what happens into the [`Core`], and what it decides to those who do it. Nothing is decided here.
//!
//! ```text
//! watches -----> Cluster (mirrors, and the Core) --> what the ports are to do, what the gossip is told
//! members ----->        |
//! LAN reports ->        |
//!                       +--> ServiceL2Status, ConfigurationState, events, metrics, log
//! ```

mod bgp;
mod carry_out;
mod log;
mod names;
mod routers;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use api::{ConfigurationStateStatus, IPAddressPool, L2Advertisement};
pub(crate) use bgp::SeenPeer;
use futures::{Stream, StreamExt};
use gossip::Absence;
use introspection::Document;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kubekit::Mirror;
use kubekit::events::Publisher;
use kubekit::http::Readiness;
use kubekit::http::status::Questions;
use kubekit::keep::Wanted;
use kubekit::speakers::Speakers;
use kubekit::{Identity, Progress};
use log::Log;
use names::Names;
use node_addresses::Listener;
use objects::pack;
use placement::{AdvertisementName, NodeName, PoolName, ServiceKey, SliceKey};
use pools::PoolSpec;
pub(crate) use routers::RouterOutputs;
use routers::Routers;
use sessions::Sessions;
use speaker_core::announce::bgp::{BgpInput, ProxyAnswer};
use speaker_core::announce::layer2::Ports;
use speaker_core::{Changes, Core, Input, LeftOver, Seen, Trouble};
use tokio::sync::{mpsc, watch};

use crate::address::Listed;
use crate::ipvs::{Answers, Ipvs, Mode};
use crate::lan::Report;
use crate::mdns::Served;
use crate::objects::{SeenService, node_state, pod_state, read_node};
use crate::status::Reported;
use crate::watches::Event;
use crate::{Config, Metrics};

/// As many changes that wait are worked off before what follows is published once: a list of thousands need not be
/// published thousands of times, nor should an address wait for all of them.
const BATCH: usize = 256;
/// After so long others on this thread get their turn, though there may be more to do: heartbeats and answers to ARP are
/// among them.
const TURN: Duration = Duration::from_millis(5);

/// Where what follows from the cluster goes.
pub(crate) struct Outputs {
    /// What each port is to do, for the LAN side.
    pub(crate) ports: watch::Sender<Ports>,
    /// What to report of each Service that is announced here, until this speaker stops.
    pub(crate) statuses: Option<Wanted<Reported>>,
    /// Reports of the dead, for who removes them.
    pub(crate) left_over: mpsc::Sender<LeftOver>,
    /// What to report of the configuration.
    pub(crate) state: Wanted<ConfigurationStateStatus>,
    /// Our own Pod, owner of what is reported: when it goes for good, so do the reports.
    pub(crate) owner: watch::Sender<Option<OwnerReference>>,
    /// Tells the gossip something, which does not wait.
    pub(crate) gossip: Box<dyn Fn(speaker_core::Gossip) + Send>,
    /// Where the API server lists this speaker.
    pub(crate) listed: watch::Sender<Listed>,
    /// What our goodbye would be for, if we were asked to stop now; `None` where a word of that may be on its way.
    pub(crate) absence: watch::Sender<Option<Absence>>,
    /// Events.
    pub(crate) publisher: Publisher,
    /// Which names to answer for where, if any are.
    pub(crate) names: Option<watch::Sender<Served>>,
}

/// The core, and what is between it and Kubernetes.
pub(crate) struct Cluster {
    core: Core,
    node: NodeName,
    /// The class of Services that is announced.
    class: Option<String>,
    identity: Identity,
    ipvs: Ipvs,
    mode: Mode,
    /// The ports that programs on this node listen on, if that is known and to be told.
    listeners: Option<BTreeSet<Listener>>,
    /// What is wrong with the configuration, once that is known.
    problems: Option<Vec<String>>,
    services: Mirror<ServiceKey>,
    slices: Mirror<SliceKey>,
    nodes: Mirror<NodeName>,
    pools: Mirror<PoolName>,
    advertisements: Mirror<AdvertisementName>,
    bgp: bgp::Mirrors,
    routers: Routers,
    sessions: Sessions,
    speakers: Speakers,
    speakers_listed: bool,
    nodes_listed: bool,
    /// The nodes whose kubelet reports that they are ready.
    ready_nodes: BTreeSet<NodeName>,
    /// The port of the gossip, the same for all speakers.
    gossip_port: u16,
    /// The uids of the Services that the core knows, which events name.
    uids: BTreeMap<ServiceKey, Box<str>>,
    names: Option<Names>,
    /// Where kube-proxy says whether it serves a Service here.
    health_ports: BTreeMap<ServiceKey, NonZeroU16>,
    log: Log,
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
        mut outputs: Outputs,
        routers: RouterOutputs,
    ) -> Self {
        let core = speaker_core::Config {
            node: config.node_name.clone(),
            exclude_label: config.exclude_label,
            ignore_conflicts: config.ignore_conflicts,
            spread: config.spread,
            failback: config.failback,
        };
        Self {
            core: Core::new(core, Instant::now()),
            node: config.node_name.clone(),
            class: config.lb_class.clone(),
            identity: config.identity.clone(),
            ipvs: Ipvs::default(),
            mode: Mode::default(),
            listeners: None,
            problems: None,
            services: Mirror::default(),
            slices: Mirror::default(),
            nodes: Mirror::default(),
            pools: Mirror::default(),
            advertisements: Mirror::default(),
            bgp: bgp::Mirrors::default(),
            routers: Routers::new(routers),
            sessions: Sessions::default(),
            speakers: Speakers::default(),
            speakers_listed: false,
            nodes_listed: false,
            ready_nodes: BTreeSet::new(),
            gossip_port: gossip_address.port(),
            uids: BTreeMap::new(),
            names: outputs.names.take().map(Names::new),
            health_ports: BTreeMap::new(),
            log: Log::new(metrics.clone()),
            readiness,
            metrics,
            outputs,
        }
    }

    /// Follows the cluster for as long as there are events, or until it has stopped.
    pub(crate) async fn run(
        mut self,
        events: impl Stream<Item = Event> + Unpin,
        mut questions: Questions,
        progress: Progress,
    ) {
        let mut batches = events.ready_chunks(BATCH);
        loop {
            let due = self.core.poll_timeout().into_iter().chain(self.log.poll_timeout()).min();
            tokio::select! {
                batch = batches.next() => {
                    let Some(batch) = batch else { return };
                    self.handle_all(batch).await;
                }
                () = kubekit::due(due) => self.core.handle(Input::Time, Instant::now()),
                () = progress.beat() => continue,
                question = questions.next() => {
                    question.answer(self.document());
                    continue;
                }
            }
            self.carry_out_all().await;
        }
    }

    /// What `/status` tells.
    fn document(&self) -> Document {
        let mut status = self.core.status(Instant::now());
        status.load_balancer_class.clone_from(&self.class);
        status.bgp.sessions = self.sessions.told(Timestamp::now());
        let missing = self.readiness.missing().into_iter().map(str::to_owned).collect();
        Document::new(missing, introspection::Status::SpeakerStatus(status))
    }

    /// Works off what waits, with pauses for others.
    async fn handle_all(&mut self, batch: Vec<Event>) {
        let mut begin = Instant::now();
        for event in batch {
            self.handle(event, Instant::now());
            if begin.elapsed() >= TURN {
                if self.core.poll_timeout().is_some_and(|due| due <= Instant::now()) {
                    self.core.handle(Input::Time, Instant::now());
                }
                self.carry_out_all().await;
                tokio::task::yield_now().await;
                begin = Instant::now();
            }
        }
    }

    /// Tells the core of an event, in its own words.
    fn handle(&mut self, event: Event, now: Instant) {
        if event.is_of_an_object() {
            self.metrics.update();
        }
        match event {
            Event::Services(change) => self.services(change, now),
            Event::Endpoints(change) => {
                let complete = is_list(&change);
                let each = self.slices.update(change, |slice| slice.key.clone()).into_iter();
                let each = each.map(|(key, slice)| (key, slice.and_then(|slice| slice.endpoints))).collect();
                self.core.handle(Input::Endpoints(Changes { each, complete }), now);
            }
            Event::Nodes(change) => self.nodes(change, now),
            Event::Pools(change) => self.pools(change, now),
            Event::Advertisements(change) => self.advertisements(change, now),
            Event::Speakers(change) => self.speakers(change, now),
            Event::BgpPeers(change) => self.bgp_peers(change, now),
            Event::BgpAdvertisements(change) => self.bgp_advertisements(change, now),
            Event::Communities(change) => self.communities(change, now),
            Event::BfdProfiles(change) => self.bfd_profiles(change, now),
            Event::Secret(name, state) => self.core.handle(Input::Bgp(BgpInput::Secret(name, state)), now),
            Event::Proxy(service, answer) => {
                if answer == ProxyAnswer::Serves {
                    self.routers.proxy_is_done(&service);
                }
                self.core.handle(Input::Bgp(BgpInput::Proxy(service, answer)), now);
            }
            Event::Known(kind, kubekit::Known { complete, newest }) => {
                self.core.handle(Input::Seen(kind, Seen { complete, newest }), now);
            }
            Event::Lan(Report::Interfaces(links)) => {
                if let Some((node, notice)) = self.ipvs.look(&self.node, &links, Answers::of_the_kernel) {
                    self.outputs.publisher.publish(node, notice);
                }
                let before = std::mem::replace(&mut self.mode, Mode::of(&links));
                if before != self.mode {
                    self.report_state();
                }
                if let Some(names) = &mut self.names {
                    names.set_links(&links);
                }
                self.core.handle(Input::Interfaces(links), now);
            }
            Event::Lan(Report::Follows(follows)) => {
                self.core.handle(Input::InterfacesFollowed(follows), now);
            }
            Event::Lan(Report::Port(interface, report)) => {
                self.log.claim(&interface, &report);
                if let Some(names) = &mut self.names {
                    names.port(&interface, &report);
                }
                self.core.handle(Input::Port(interface, report), now);
            }
            Event::Address(listening) => self.core.handle(Input::GossipInterface(listening.interface), now),
            Event::Gossip(news) => self.core.handle(Input::Members(news), now),
            Event::Trouble(trouble) => {
                let trouble = trouble.map(|trouble| match trouble {
                    gossip::Trouble::Unbound => Trouble::Unbound,
                    gossip::Trouble::OtherKey => Trouble::OtherKey,
                });
                self.core.handle(Input::Trouble(trouble), now);
            }
            Event::Name(interface, report) => {
                if let Some(names) = &mut self.names {
                    names.reported(interface, report, now);
                }
            }
            Event::Listeners(listeners) => {
                self.listeners = Some(listeners);
                self.report_state();
            }
            Event::Sessions(statuses) => {
                if self.sessions.follow(statuses, Timestamp::now()) {
                    self.report_state();
                }
            }
            Event::ApiReachable(reachable) => self.core.handle(Input::ApiReachable(reachable), now),
            Event::LeftOver(again) => self.core.handle(Input::LeftOver(again), now),
            Event::Stop => self.core.handle(Input::Stop, now),
        }
    }

    fn services(&mut self, change: kubekit::Change<SeenService>, now: Instant) {
        let complete = is_list(&change);
        let mut each = Vec::new();
        for (key, seen) in self.services.update(change, |seen| seen.key.clone()) {
            if let Some(names) = &mut self.names {
                names.set_service(&key, seen.as_ref());
            }
            match seen.as_ref().and_then(|seen| seen.health_port) {
                Some(port) => _ = self.health_ports.insert(key.clone(), port),
                None => _ = self.health_ports.remove(&key),
            }
            let (uid, service) = seen.map_or((None, None), |seen| (seen.uid, seen.service));
            match uid.filter(|_| service.is_some()) {
                Some(uid) => _ = self.uids.insert(key.clone(), uid),
                None => _ = self.uids.remove(&key),
            }
            each.push((key, service));
        }
        if complete {
            pack(&mut self.uids);
        }
        self.core.handle(Input::Services(Changes { each, complete }), now);
    }

    fn nodes(&mut self, change: kubekit::Change<slim::Node>, now: Instant) {
        let complete = is_list(&change);
        let each = self.nodes.update(change, |node| node.name_any().into());
        if let Some((_, Some(node))) = each.iter().find(|(name, _)| *name == self.node) {
            let ip = node.status.internal_ip().and_then(|ip| ip.parse().ok());
            self.outputs.listed.send_if_modified(|listed| std::mem::replace(&mut listed.node, ip) != ip);
            self.core.handle(Input::Bgp(BgpInput::NodeAddress(bgp::identifying_address(node))), now);
            self.core.handle(Input::OwnNode(node_state(node)), now);
        }
        each.iter().for_each(|(name, node)| self.speakers.update_node(name.clone(), node.as_ref()));
        for (name, node) in &each {
            if node.as_ref().is_some_and(|node| slim::is_true(&node.status.conditions, "Ready")) {
                self.ready_nodes.insert(name.clone());
            } else {
                self.ready_nodes.remove(name);
            }
        }
        self.core.handle(Input::ReadyNodes(self.ready_nodes.clone()), now);
        self.nodes_listed |= complete;
        self.addresses(now);
        let each = each.into_iter().map(|(name, node)| (name, node.as_ref().map(read_node))).collect();
        self.core.handle(Input::Nodes(Changes { each, complete }), now);
    }

    /// What is listed of those who take part in the gossip may have changed.
    fn addresses(&mut self, now: Instant) {
        if self.speakers_listed && self.nodes_listed {
            self.core.handle(Input::Addresses(self.speakers.addresses(self.gossip_port)), now);
        }
    }

    fn pools(&mut self, change: kubekit::Change<IPAddressPool>, now: Instant) {
        let complete = is_list(&change);
        let each = self.pools.update(change, |pool| pool.name_any().into()).into_iter();
        let each = each.map(|(name, pool)| (name, pool.map(|pool| PoolSpec::from(&pool)))).collect();
        self.core.handle(Input::Pools(Changes { each, complete }), now);
    }

    fn advertisements(&mut self, change: kubekit::Change<L2Advertisement>, now: Instant) {
        let complete = is_list(&change);
        let read = |object: L2Advertisement| {
            let (advertisement, unreadable) = object.read();
            let faults = unreadable.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect();
            (advertisement, faults)
        };
        let each = self.advertisements.update(change, |ad| ad.name_any().into()).into_iter();
        let each = each.map(|(name, object)| (name, object.map(read))).collect();
        self.core.handle(Input::Advertisements(Changes { each, complete }), now);
    }

    fn speakers(&mut self, change: kubekit::Change<slim::Pod>, now: Instant) {
        self.speakers_listed |= is_list(&change);
        let ours = |pod: &slim::Pod| self.identity.pod_name.as_ref() == Some(&pod.name_any());
        match &change {
            kubekit::Change::Reset(pods) => self.own_pod(pods.iter().find(|pod| ours(pod)), now),
            kubekit::Change::Apply(pod) if ours(pod) => self.own_pod(Some(pod), now),
            kubekit::Change::Delete(pod) if ours(pod) => self.own_pod(None, now),
            kubekit::Change::Apply(_) | kubekit::Change::Delete(_) => {}
        }
        self.speakers.update(change);
        self.addresses(now);
        if self.speakers_listed {
            let peers = self.speakers.listening_on(self.gossip_port);
            self.core.handle(Input::Peers(peers), now);
        }
    }

    /// Our own Pod is new, different or gone.
    fn own_pod(&mut self, pod: Option<&slim::Pod>, now: Instant) {
        let owner = pod.and_then(|pod| self.identity.clone().in_pod(pod.uid()).owner());
        self.outputs.owner.send_replace(owner);
        // One that is deleted without delay is not seen to go.
        if let Some(pod) = pod {
            let (ip, at_start) = (pod.ip(), pod.status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()));
            self.outputs.listed.send_if_modified(|listed| {
                let now_listed = Listed { pod: ip, at_start, node: listed.node };
                std::mem::replace(listed, now_listed.clone()) != now_listed
            });
            self.core.handle(Input::OwnPod(pod_state(pod)), now);
        }
    }
}

/// Whether all objects of the kind are known after this.
fn is_list<K>(change: &kubekit::Change<K>) -> bool {
    matches!(change, kubekit::Change::Reset(_))
}

#[cfg(test)]
mod tests;
