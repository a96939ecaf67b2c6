//! How what Kubernetes says reaches the core, and what the core decides reaches others.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use kube::Client;
use kubekit::Change as ListChange;
use kubekit::write::Writes;
use layer2::{Arp, MacAddr};
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use speaker_core::{Gossip, Link, List, Purpose, Unfit};

use super::*;

/// A speaker on n1 in a cluster of n1 and n2, where n2 ranks first for 192.0.2.1 and n1 for 192.0.2.2.
struct Fixture {
    cluster: Cluster,
    ports: watch::Receiver<Ports>,
    statuses: watch::Receiver<Wanted<ServiceL2Status>>,
    known: watch::Receiver<Option<Known>>,
    state: watch::Receiver<Wanted<ConfigurationState>>,
    gossip: mpsc::Receiver<Gossip>,
    listed: watch::Receiver<Listed>,
    absence: watch::Receiver<Option<Absence>>,
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
        "metadata": {
            "name": name, "namespace": "default", "uid": name,
            "annotations": {"metallb.io/ip-allocated-from-pool": "pool"},
        },
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

fn speaker(node: &str) -> Value {
    json!({
        "metadata": {"name": format!("speaker-{node}"), "uid": format!("uid-{node}")},
        "spec": {"nodeName": node},
        "status": {"podIP": format!("192.0.2.20{}", &node[1..])},
    })
}

fn members(names: &[&str]) -> Event {
    let members = names.iter().map(|name| (*name).into()).collect();
    let view = View { members, settled: true, ..View::default() };
    Event::Gossip(gossip::News { events: vec![], view: view.into() })
}

fn lists() -> [Event; 7] {
    let services = [service("one", "192.0.2.1"), service("two", "192.0.2.2")];
    let nodes = ["n1", "n2"].map(|name| json!({"metadata": {"name": name}}));
    [
        Event::Services(list(services)),
        Event::Endpoints(list(["one", "two"].map(slice))),
        Event::Nodes(list(nodes)),
        Event::Pools(list([pool("192.0.2.0/24")])),
        Event::Advertisements(list([advertisement(&json!({}))])),
        Event::Speakers(list(["n1", "n2"].map(speaker))),
        members(&["n1", "n2"]),
    ]
}

fn fixture() -> Fixture {
    let config = Config {
        node_name: "n1".into(),
        identity: Identity::new(Some("metallb-system".into()), Some("speaker-n1".into())),
        lb_class: None,
        http: kubekit::http::Config { bind: ([127, 0, 0, 1], 0).into(), secure_metrics: None },
        exclude_interfaces: crate::ExcludeInterfaces::default(),
        refresh_interval: None,
        gossip_bind: None,
        gossip_key_files: vec![],
        failover: gossip::Preset::Default,
        beside_metallb: crate::BesideMetalLb::Wait,
        exclude_label: placement::ExcludeLabel::Honoured,
        ignore_conflicts: false,
    };
    let nobody = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let publisher =
        Publisher::start(Client::try_from(nobody).unwrap(), "test", "test".to_owned(), Writes::default());
    let readiness = Readiness::waiting_for(List::ALL.map(List::name));
    let (metrics, mut registry) = (Metrics::default(), Registry::default());
    metrics.register(&mut registry);
    let (ports, wanted_ports) = watch::channel(Ports::default());
    let (statuses, wanted_statuses) = watch::channel(None);
    let (known, now_known) = watch::channel(None);
    let (state, wanted_state) = watch::channel(None);
    let (instructions, gossip) = mpsc::channel();
    let instructions = Box::new(move |instruction| _ = instructions.send(instruction));
    let (api_lists, listed) = watch::channel(Listed::default());
    let (absence, our_absence) = watch::channel(Some(Absence::Open));
    let statuses = Some(statuses);
    let outputs = Outputs {
        ports,
        statuses,
        known,
        state,
        gossip: instructions,
        listed: api_lists,
        absence,
        publisher,
    };
    let gossip_address = ([192, 0, 2, 201], 7946).into();
    let cluster = Cluster::new(&config, gossip_address, readiness.clone(), metrics, outputs);
    Fixture {
        cluster,
        ports: wanted_ports,
        statuses: wanted_statuses,
        known: now_known,
        state: wanted_state,
        gossip,
        listed,
        absence: our_absence,
        readiness,
        registry,
    }
}

/// The one interface of this node, which does ARP.
fn eth0() -> Event {
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let link = Link {
        name: "eth0".into(),
        purpose: Purpose::Lan,
        mac: Some(mac),
        arp: Ok(Arp { mac }),
        ndp: Err(Unfit::NoLinkLocal),
    };
    Event::Lan(Report::Interfaces([(1, link)].into()))
}

fn complete() -> Fixture {
    let mut it = fixture();
    it.hear_everything();
    it
}

impl Fixture {
    fn hear_everything(&mut self) {
        self.after(eth0());
        for event in lists() {
            self.cluster.handle(event, Instant::now());
        }
        self.cluster.carry_out_all();
    }

    fn after(&mut self, event: Event) -> Vec<String> {
        self.cluster.handle(event, Instant::now());
        self.cluster.carry_out_all();
        let ports = self.ports.borrow();
        ports.values().flat_map(|orders| orders.vips.keys()).map(ToString::to_string).collect()
    }

    fn shows(&self, metric: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines().any(|line| line == metric)
    }
}

#[tokio::test]
async fn nothing_is_announced_and_the_speaker_is_not_ready_before_every_list_is_complete() {
    for last in 0..List::ALL.len() {
        let mut it = fixture();
        it.after(eth0());
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
async fn the_gossip_learns_where_the_pods_of_the_other_speakers_are_and_only_from_the_whole_list() {
    let mut it = fixture();
    it.after(Event::Speakers(ListChange::Apply(object(speaker("n2")))));
    assert!(it.gossip.try_recv().is_err());
    it.after(Event::Speakers(list(["n1", "n2"].map(speaker))));
    let expected = SocketAddr::from(([192, 0, 2, 202], 7946));
    assert_eq!(it.gossip.try_recv().unwrap(), Gossip::SetPeers([("n2".into(), expected)].into()));
}

#[tokio::test]
async fn where_the_api_server_lists_us_is_told_whenever_it_changes() {
    let mut it = complete();
    let ip = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
    assert_eq!(*it.listed.borrow_and_update(), Listed { pod: ip(201), at_start: ip(201), node: None });
    it.hear_everything();
    assert!(!it.listed.has_changed().unwrap());
    let mut pod = speaker("n1");
    (pod["spec"]["hostNetwork"], pod["status"]["hostIP"]) = (true.into(), "192.0.2.7".into());
    it.after(Event::Speakers(ListChange::Apply(object(pod))));
    let address = json!({"type": "InternalIP", "address": "192.0.2.8"});
    let node = json!({"metadata": {"name": "n1"}, "status": {"addresses": [address]}});
    it.after(Event::Nodes(ListChange::Apply(object(node))));
    assert_eq!(*it.listed.borrow_and_update(), Listed { pod: ip(7), at_start: ip(201), node: ip(8) });
}

#[tokio::test]
async fn our_goodbye_is_for_a_moment_only_when_our_own_pod_is_replaced() {
    let mut it = complete();
    let pod = |node: &str| {
        let mut pod = speaker(node);
        let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "it", "uid": "7", "controller": true});
        pod["metadata"]["ownerReferences"] = json!([owner]);
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        object(pod)
    };
    it.after(Event::Speakers(ListChange::Apply(pod("n2"))));
    assert_eq!(*it.absence.borrow(), Some(Absence::Open));
    it.after(Event::Speakers(ListChange::Apply(pod("n1"))));
    assert_eq!(*it.absence.borrow(), Some(Absence::Brief));
}

#[tokio::test]
async fn reporting_ends_when_the_speaker_stops() {
    let mut it = complete();
    assert_eq!(it.after(Event::Stop), ["192.0.2.2"]);
    assert_eq!(it.statuses.borrow().as_ref().map(BTreeMap::len), Some(0));
    assert!(it.statuses.has_changed().is_err(), "the reporting ends");
}

#[tokio::test]
async fn what_a_new_list_lacks_is_withdrawn() {
    let mut it = complete();
    assert!(it.after(Event::Services(list([service("one", "192.0.2.1")]))).is_empty());
    assert!(it.shows("ferrolb_speaker_releases_total{reason=\"gone\"} 1"));
}

#[tokio::test]
async fn what_cannot_be_read_takes_nothing_from_services_and_selects_nothing() {
    const STALE: &str = "metallb_k8s_client_config_stale_bool 1";
    let mut it = complete();
    let bad_pool = || Event::Pools(ListChange::Apply(object(pool("192.0.2.9-192.0.2.1"))));
    let selector = json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]});
    let bad_ad = Event::Advertisements(ListChange::Apply(object(advertisement(&selector))));
    assert_eq!(it.after(bad_pool()), ["192.0.2.2"]);
    assert!(it.shows(STALE));
    assert!(it.after(bad_ad).is_empty(), "a selector that cannot be read selects no node");
    let good_ad = Event::Advertisements(ListChange::Apply(object(advertisement(&json!({})))));
    assert_eq!(it.after(good_ad), ["192.0.2.2"]);
    assert!(it.shows(STALE), "the pool is still invalid");
    assert!(it.after(Event::Pools(list([]))).is_empty(), "the pool is gone, not merely invalid");
    assert!(!it.shows(STALE));
}

#[tokio::test]
async fn nothing_is_published_when_nothing_changes() {
    let mut it = complete();
    it.ports.mark_unchanged();
    it.statuses.mark_unchanged();
    it.state.mark_unchanged();
    it.hear_everything();
    assert!(!it.ports.has_changed().unwrap());
    assert!(!it.statuses.has_changed().unwrap());
    assert!(!it.state.has_changed().unwrap());
}

#[tokio::test]
async fn every_service_announced_here_has_a_status_owned_by_our_pod() {
    let mut it = complete();
    let services = |it: &Fixture| -> Vec<(String, Option<String>)> {
        let owner =
            |status: &ServiceL2Status| Some(status.metadata.owner_references.as_ref()?[0].uid.clone());
        let name = |status: &ServiceL2Status| status.status.clone().unwrap().service_name;
        let statuses = it.statuses.borrow().clone().unwrap();
        statuses.values().map(|status| (name(status), owner(status))).collect()
    };
    assert_eq!(services(&it), [("two".to_owned(), Some("uid-n1".to_owned()))]);
    it.after(Event::Services(list([service("one", "192.0.2.1")])));
    assert_eq!(services(&it), []);
}

#[tokio::test]
async fn whose_reports_are_left_over_is_known_only_while_the_others_are_heard() {
    let mut it = complete();
    let known = |it: &Fixture| it.known.borrow().clone();
    let two = ServiceKey::new("default", "two");
    let expected = Known { announced: [two].into(), alive: ["n1", "n2"].map(NodeName::from).into() };
    assert_eq!(known(&it), Some(expected.clone()));
    it.after(Event::Trouble(Some(gossip::Trouble::Unbound)));
    assert_eq!(known(&it), None);
    it.after(Event::Trouble(None));
    assert_eq!(known(&it), Some(expected));
    it.after(Event::Gossip(gossip::News { events: vec![], view: Arc::default() }));
    assert_eq!(known(&it), None, "nothing is settled");
    let view =
        View { members: ["n1".into()].into(), away: ["n2".into()].into(), settled: true, ..View::default() };
    it.after(Event::Gossip(gossip::News { events: vec![], view: view.into() }));
    assert!(
        known(&it).is_some_and(|known| known.alive.contains(&NodeName::from("n2"))),
        "it is back in a moment"
    );
    it.after(members(&["n1"]));
    assert!(known(&it).is_some_and(|known| !known.alive.contains(&NodeName::from("n2"))));
}

#[tokio::test]
async fn what_is_invalid_is_reported_until_it_is_valid() {
    let mut it = complete();
    let summary = |it: &Fixture| {
        let state = it.state.borrow().clone().unwrap();
        state["speaker-n1"].status.clone().unwrap().error_summary
    };
    assert_eq!(summary(&it), "");
    it.after(Event::Pools(ListChange::Apply(object(pool("192.0.2.9-192.0.2.1")))));
    assert!(summary(&it).starts_with("IPAddressPool pool: "), "{}", summary(&it));
    it.after(Event::Pools(ListChange::Apply(object(pool("192.0.2.0/24")))));
    assert_eq!(summary(&it), "");
}

#[tokio::test]
async fn who_stops_before_it_knows_what_there_is_has_no_report_to_delete_and_waits_for_nothing() {
    let mut it = fixture();
    let nobody = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let own = crate::status::source(&Client::try_from(nobody).unwrap(), "metallb-system", &"n1".into());
    let keeping = kubekit::keep::keep(own, it.statuses.clone(), Writes::default());
    it.after(Event::Lan(Report::Interfaces(Links::new())));
    it.after(Event::Stop);
    assert!(tokio::time::timeout(crate::LAST_REPORTS / 2, keeping).await.is_ok());
}

#[tokio::test]
async fn many_changes_at_once_do_not_keep_others_waiting() {
    let it = complete();
    let services = |round: usize| -> Vec<Value> {
        (0..100).map(|n| service(&format!("{round}-{n}"), &format!("192.0.2.{n}"))).collect()
    };
    let lists = (0..BATCH).map(|round| Event::Services(list(services(round)))).collect::<Vec<_>>();
    let turns = Arc::new(AtomicUsize::new(0));
    let others = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            others.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let start = Instant::now();
    let (_status, questions) = kubekit::http::status::channel();
    it.cluster.run(futures::stream::iter(lists), questions, kubekit::Watchdog::default().task("core")).await;
    let taken = start.elapsed();
    other.abort();
    let (turns, least) = (turns.load(Ordering::Relaxed), taken.as_millis() / (8 * TURN.as_millis()));
    assert!(taken > 8 * TURN, "too little to do: {taken:?}");
    assert!(turns as u128 >= least, "{turns} turns in {taken:?}");
}
