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
    Advertisement, AdvertisementName, Change, NodeName, Placement, Pool, PoolName, ServiceKey, SliceKey,
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::known::Known;
use crate::lan::Wanted;
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
    let speakers =
        Source { api: Api::namespaced(all(), namespace), labels: Some(SPEAKERS.to_owned()), fields: None };
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
    wanted: watch::Sender<Wanted>,
}

impl Cluster {
    pub(crate) fn new(
        config: &Config,
        readiness: Readiness,
        metrics: Metrics,
        publisher: Publisher,
        wanted: watch::Sender<Wanted>,
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
            wanted,
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
            warn!(kind, name, error, "invalid, its last good version, if any, stays in force");
        }
        self.invalid.insert((kind, name.to_owned()), error);
        self.metrics.update_error();
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
        self.wanted.send_if_modified(|current| {
            let different = *current.announcements != *self.placement.announcements();
            if different {
                current.announcements = Arc::new(self.placement.announcements().clone());
            }
            different
        });
    }
}

#[cfg(test)]
mod tests {
    use kubekit::Change as ListChange;
    use prometheus_client::registry::Registry;
    use serde_json::{Value, json};

    use super::*;

    /// A speaker on n1 in a cluster of n1 and n2, where n2 ranks first for 192.0.2.1 and n1 for 192.0.2.2.
    struct Fixture {
        cluster: Cluster,
        wanted: watch::Receiver<Wanted>,
        readiness: Readiness,
        registry: Registry,
    }

    fn object<K: DeserializeOwned>(object: Value) -> K {
        serde_json::from_value(object).unwrap()
    }

    fn list<K: DeserializeOwned>(objects: impl IntoIterator<Item = Value>) -> ListChange<K> {
        ListChange::Reset(objects.into_iter().map(object).collect())
    }

    fn service(name: &str, vip: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"ip": vip}]}},
        })
    }

    fn slice(service: &str) -> Value {
        json!({
            "metadata": {
                "name": format!("{service}-1"), "namespace": "default",
                "labels": {"kubernetes.io/service-name": service},
            },
            "endpoints": [{"nodeName": "n3", "conditions": {"ready": true}}],
        })
    }

    fn pool(addresses: &str) -> Value {
        json!({"metadata": {"name": "pool"}, "spec": {"addresses": [addresses]}})
    }

    fn advertisement(spec: &Value) -> Value {
        json!({"metadata": {"name": "ad"}, "spec": spec})
    }

    fn speaker(node: &str, ready: &str) -> Value {
        json!({
            "metadata": {"name": format!("speaker-{node}")},
            "spec": {"nodeName": node},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    fn lists() -> [Event; 6] {
        let services = [service("one", "192.0.2.1"), service("two", "192.0.2.2")];
        let nodes = ["n1", "n2"].map(|name| json!({"metadata": {"name": name}}));
        [
            Event::Services(list(services)),
            Event::Endpoints(list(["one", "two"].map(slice))),
            Event::Nodes(list(nodes)),
            Event::Pools(list([pool("192.0.2.0/24")])),
            Event::Advertisements(list([advertisement(&json!({}))])),
            Event::Speakers(list(["n1", "n2"].map(|node| speaker(node, "True")))),
        ]
    }

    fn fixture() -> Fixture {
        let config = Config {
            node_name: "n1".into(),
            identity: kubekit::Identity::new(Some("metallb-system".into()), None),
            lb_class: None,
            http_bind: ([127, 0, 0, 1], 0).into(),
            exclude_interfaces: crate::ExcludeInterfaces::default(),
            refresh_interval: None,
            exclude_label: placement::ExcludeLabel::Honoured,
        };
        let nobody = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let publisher = Publisher::start(Client::try_from(nobody).unwrap(), "test", "test".to_owned());
        let (sender, wanted) = watch::channel(Wanted::default());
        let readiness = Readiness::waiting_for(LISTS);
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let cluster = Cluster::new(&config, readiness.clone(), metrics, publisher, sender);
        Fixture { cluster, wanted, readiness, registry }
    }

    fn complete() -> Fixture {
        let mut it = fixture();
        it.hear_everything();
        it
    }

    impl Fixture {
        fn hear_everything(&mut self) {
            for event in lists() {
                self.cluster.handle(event);
            }
            self.cluster.publish();
        }

        fn after(&mut self, event: Event) -> Vec<String> {
            self.cluster.handle(event);
            self.cluster.publish();
            self.announced()
        }

        fn announced(&self) -> Vec<String> {
            self.wanted.borrow().announcements.keys().map(ToString::to_string).collect()
        }

        fn shows(&self, metric: &str) -> bool {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
            text.lines().any(|line| line == metric)
        }
    }

    #[tokio::test]
    async fn nothing_is_announced_before_every_list_is_complete() {
        for last in 0..LISTS.len() {
            let mut it = fixture();
            let mut events = Vec::from(lists());
            let last = events.remove(last);
            for event in events {
                assert!(it.after(event).is_empty());
            }
            assert!(!it.readiness.is_ready());
            assert_eq!(it.after(last), ["192.0.2.2"]);
            assert!(it.readiness.is_ready());
        }
    }

    #[tokio::test]
    async fn addresses_move_as_the_pod_of_a_fellow_speaker_comes_and_goes() {
        let both = ["192.0.2.1", "192.0.2.2"];
        for gone in [
            Event::Speakers(ListChange::Apply(object(speaker("n2", "False")))),
            Event::Speakers(ListChange::Delete(object(speaker("n2", "True")))),
            Event::Speakers(list([speaker("n1", "True")])),
        ] {
            let mut it = complete();
            assert_eq!(it.after(gone), both);
            let back = Event::Speakers(ListChange::Apply(object(speaker("n2", "True"))));
            assert_eq!(it.after(back), ["192.0.2.2"]);
        }
    }

    #[tokio::test]
    async fn a_node_with_two_speaker_pods_is_a_member_while_one_is_ready() {
        let mut it = complete();
        let mut second = speaker("n1", "True");
        second["metadata"]["name"] = json!("speaker-new");
        assert_eq!(it.after(Event::Speakers(ListChange::Apply(object(second)))), ["192.0.2.2"]);
        let old = || ListChange::Delete(object(speaker("n1", "False")));
        assert_eq!(it.after(Event::Speakers(old())), ["192.0.2.2"]);
    }

    #[tokio::test]
    async fn coming_and_going_within_one_batch_is_a_new_takeover() {
        let mut it = complete();
        let before = it.wanted.borrow().announcements.clone();
        it.cluster.handle(Event::Speakers(ListChange::Apply(object(speaker("n1", "False")))));
        it.cluster.handle(Event::Speakers(ListChange::Apply(object(speaker("n1", "True")))));
        it.cluster.publish();
        assert_eq!(it.announced(), ["192.0.2.2"]);
        assert_ne!(it.wanted.borrow().announcements, before);
    }

    #[tokio::test]
    async fn what_a_new_list_lacks_is_withdrawn() {
        let mut it = complete();
        assert!(it.after(Event::Services(list([service("one", "192.0.2.1")]))).is_empty());
        assert!(it.shows("ferrolb_speaker_releases_total{reason=\"gone\"} 1"));
    }

    #[tokio::test]
    async fn an_object_that_turns_invalid_stays_in_force_as_it_last_was() {
        const STALE: &str = "metallb_k8s_client_config_stale_bool 1";
        let mut it = complete();
        let bad_pool = || Event::Pools(ListChange::Apply(object(pool("192.0.2.9-192.0.2.1"))));
        let selector = json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]});
        let bad_ad = Event::Advertisements(ListChange::Apply(object(advertisement(&selector))));
        assert_eq!(it.after(bad_pool()), ["192.0.2.2"]);
        assert!(it.shows(STALE));
        assert_eq!(it.after(bad_ad), ["192.0.2.2"]);
        let good_ad = Event::Advertisements(ListChange::Apply(object(advertisement(&json!({})))));
        assert_eq!(it.after(good_ad), ["192.0.2.2"]);
        assert!(it.shows(STALE), "the pool is still invalid");
        assert!(it.after(Event::Pools(list([]))).is_empty(), "the pool is gone, not merely invalid");
        assert!(!it.shows(STALE));
    }

    #[tokio::test]
    async fn nothing_is_published_when_nothing_changes() {
        let mut it = complete();
        it.wanted.mark_unchanged();
        it.hear_everything();
        assert!(!it.wanted.has_changed().unwrap());
    }
}
