//! How what Kubernetes says reaches the core, and what the core decides reaches others.

mod impairments;
mod routers;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use kube::Client;
use kubekit::write::Writes;
use kubekit::{Change as ListChange, keep};
use layer2::{Arp, MacAddr};
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use speaker_core::{Gossip, Lan, Link, Links, List, Purpose, Unfit};

use super::*;
use crate::bgp::Wanted as WantedSessions;
use crate::ipvs::tests::links;
use crate::objects::{LoadBalancerClass, Names, SeenSlice};
use crate::status::routed::Routed;

/// A speaker on n1 in a cluster of n1 and n2, where n2 ranks first for 192.0.2.1 and n1 for 192.0.2.2.
struct Fixture {
    cluster: Cluster,
    ports: watch::Receiver<Ports>,
    statuses: keep::Receiver<Reported>,
    sessions: watch::Sender<WantedSessions>,
    secrets: watch::Receiver<BTreeSet<::objects::SecretName>>,
    proxy_asked: watch::Receiver<crate::kube_proxy::Asked>,
    routed: keep::Receiver<Routed>,
    left_over: tokio::sync::mpsc::Receiver<LeftOver>,
    state: keep::Receiver<ConfigurationStateStatus>,
    owner: watch::Receiver<Option<OwnerReference>>,
    gossip: mpsc::Receiver<Gossip>,
    listed: watch::Receiver<Listed>,
    absence: watch::Receiver<Option<Absence>>,
    served: watch::Receiver<Served>,
    readiness: Readiness,
    registry: Registry,
}

fn object<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn list<K: DeserializeOwned>(objects: impl IntoIterator<Item = Value>) -> ListChange<K> {
    ListChange::Reset(objects.into_iter().map(object).collect())
}

fn services(objects: impl IntoIterator<Item = Value>) -> Event {
    let read = |value| SeenService::read(&object(value), &LoadBalancerClass(None), &Names::default());
    Event::Services(ListChange::Reset(objects.into_iter().map(read).collect()))
}

fn slices(objects: impl IntoIterator<Item = Value>) -> Event {
    let read = |value| SeenSlice::read(&object(value), &Names::default());
    Event::Endpoints(ListChange::Reset(objects.into_iter().map(read).collect()))
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
    let view = gossip::View { members, settled: true, ..gossip::View::default() };
    Event::Gossip(gossip::News { events: vec![], view: view.into() })
}

fn lists() -> [Event; 7] {
    let nodes = ["n1", "n2"].map(|name| json!({"metadata": {"name": name}}));
    [
        services([service("one", "192.0.2.1"), service("two", "192.0.2.2")]),
        slices(["one", "two"].map(slice)),
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
        exclude_interfaces: crate::InterfacePatterns::usually_excluded(),
        promiscuous_interfaces: crate::InterfacePatterns::default(),
        refresh_interval: None,
        gossip_bind: None,
        gossip_key_files: vec![],
        failover: gossip::Preset::Default,
        beside_metallb: crate::BesideMetalLb::Wait,
        exclude_label: placement::ExcludeLabel::Honoured,
        spread: placement::Spread::ByHash,
        failback: placement::Failback::Always,
        ignore_conflicts: false,
        mdns: crate::mdns::Names::Answered,
        report_listeners: false,
        handover: crate::Handover::Off,
    };
    let nobody = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let publisher =
        Publisher::start(Client::try_from(nobody).unwrap(), "test", "test".to_owned(), Writes::default());
    let readiness = Readiness::waiting_for(List::ALL.map(List::name));
    let (metrics, mut registry) = (Metrics::default(), Registry::default());
    metrics.register(&mut registry);
    let (ports, wanted_ports) = watch::channel(Ports::default());
    let (statuses, wanted_statuses) = keep::wanted();
    let (say, left_over) = tokio::sync::mpsc::channel(1);
    let (state, wanted_state) = keep::wanted();
    let (owner, now_owner) = watch::channel(None);
    let (instructions, gossip) = mpsc::channel();
    let instructions = Box::new(move |instruction| _ = instructions.send(instruction));
    let (api_lists, listed) = watch::channel(Listed::default());
    let (absence, our_absence) = watch::channel(Some(Absence::Open));
    let (names, served) = watch::channel(Served::default());
    let statuses = Some(statuses);
    let outputs = Outputs {
        ports,
        statuses,
        left_over: say,
        state,
        owner,
        gossip: instructions,
        listed: api_lists,
        absence,
        publisher,
        names: Some(names),
    };
    let gossip_address = ([192, 0, 2, 201], 7946).into();
    let (sessions, _) = watch::channel(WantedSessions::default());
    let (wanted_secrets, secrets) = watch::channel(BTreeSet::new());
    let (routed, wanted_routed) = keep::wanted();
    let (proxy, proxy_asked) = watch::channel(crate::kube_proxy::Asked::new());
    let routers = RouterOutputs {
        wanted: sessions.clone(),
        secrets: wanted_secrets,
        proxy,
        statuses: Some(routed),
        inherits: false,
    };
    let cluster = Cluster::new(&config, gossip_address, readiness.clone(), metrics, outputs, routers);
    Fixture {
        cluster,
        ports: wanted_ports,
        statuses: wanted_statuses,
        sessions,
        secrets,
        proxy_asked,
        routed: wanted_routed,
        left_over,
        state: wanted_state,
        owner: now_owner,
        gossip,
        listed,
        absence: our_absence,
        served,
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
        lan: Lan::default(),
    };
    Event::Lan(Report::Interfaces([(1, link)].into()))
}

fn complete() -> Fixture {
    let mut it = fixture();
    it.hear_everything();
    it.after(free("192.0.2.2"));
    it
}

/// Nobody on the LAN has the address.
fn free(vip: &str) -> Event {
    Event::Lan(Report::Port("eth0".into(), layer2::Report::Free { vip: vip.parse().unwrap() }))
}

impl Fixture {
    fn hear_everything(&mut self) {
        self.after(eth0());
        for event in lists() {
            self.cluster.handle(event, Instant::now());
        }
        self.carry_out_all();
    }

    fn carry_out_all(&mut self) {
        while self.cluster.carry_out_for_a_turn() {}
    }

    fn after(&mut self, event: Event) -> Vec<String> {
        self.cluster.handle(event, Instant::now());
        self.carry_out_all();
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
async fn names_are_answered_for_where_the_lan_has_left_their_address_to_this_node() {
    let mut it = fixture();
    it.hear_everything();
    let names = |it: &Fixture| -> Vec<String> {
        let served = it.served.borrow();
        served.values().flat_map(|serve| serve.wanted.here.keys()).map(ToString::to_string).collect()
    };
    assert_eq!(names(&it), [""; 0], "the LAN is asked first");
    it.after(free("192.0.2.2"));
    assert_eq!(names(&it), ["two.default.local"]);
    let mut annotated = service("two", "192.0.2.2");
    annotated["metadata"]["annotations"]["ferrolb.io/mdns-name"] = "web".into();
    it.after(services([service("one", "192.0.2.1"), annotated]));
    assert_eq!(names(&it), ["two.default.local", "web.local"]);
    let by = MacAddr([2, 0, 0, 0, 0, 9]);
    let taken = layer2::Report::Taken { vip: "192.0.2.2".parse().unwrap(), by };
    it.after(Event::Lan(Report::Port("eth0".into(), taken)));
    assert_eq!(names(&it), [""; 0]);
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
async fn the_gossip_learns_from_where_each_may_speak_when_pods_and_nodes_are_listed() {
    let mut it = fixture();
    it.after(Event::Speakers(list(["n1", "n2"].map(speaker))));
    assert!(matches!(it.gossip.try_recv(), Ok(Gossip::SetPeers(_))));
    let node = |name: &str, ip: &str| {
        let address = json!({"type": "InternalIP", "address": ip});
        json!({"metadata": {"name": name}, "status": {"addresses": [address]}})
    };
    it.after(Event::Nodes(list([
        node("n1", "192.0.2.201"),
        node("n2", "2001:db8::2"),
        node("n3", "192.0.2.203"),
    ])));
    let ips = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
    let places = [
        ("n1".into(), ips(&["192.0.2.201"])),
        ("n2".into(), ips(&["192.0.2.202", "2001:db8::2"])),
        ("n3".into(), ips(&["192.0.2.203"])),
    ];
    assert_eq!(it.gossip.try_recv().unwrap(), Gossip::SetAddresses(places.into()));
    // A node that moves is believed as soon as it is listed anew, whatever its Pod says.
    it.after(Event::Nodes(ListChange::Apply(object(node("n3", "192.0.2.77")))));
    let Gossip::SetAddresses(places) = it.gossip.try_recv().unwrap() else { panic!("addresses") };
    assert_eq!(places[&NodeName::from("n3")], ips(&["192.0.2.77"]));
    it.after(Event::Nodes(ListChange::Apply(object(node("n3", "192.0.2.77")))));
    assert!(it.gossip.try_recv().is_err(), "nothing is new");
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
    let said = it.statuses.take();
    assert!(said.complete && said.ended && said.each.values().all(Option::is_none), "{said:?}");
}

#[tokio::test]
async fn what_a_new_list_lacks_is_withdrawn() {
    let mut it = complete();
    assert!(it.after(services([service("one", "192.0.2.1")])).is_empty());
    assert!(it.shows("ferrolb_speaker_releases_total{reason=\"gone\"} 1"));
}

#[tokio::test]
async fn a_service_that_changes_hands_all_the_time_is_counted_and_logged_a_few_times() {
    let mut it = complete();
    for _ in 0..100 {
        assert!(it.after(slices([slice("one")])).is_empty());
        it.after(slices(["one", "two"].map(slice)));
    }
    assert!(it.shows("ferrolb_speaker_takeovers_total 101"));
    assert!(it.shows("ferrolb_speaker_releases_total{reason=\"unannounced\"} 100"));
    // All but ten of each kind.
    assert!(it.shows("ferrolb_speaker_log_lines_left_out_total 181"));
}

#[tokio::test]
async fn whoever_goes_on_claiming_addresses_is_logged_a_few_times_for_each() {
    let mut it = complete();
    for round in 0..10_u8 {
        for vip in ["192.0.2.1", "192.0.2.2"] {
            let by = MacAddr([2, 0, 0, 0, 7, round]);
            let claimed = layer2::Report::Claimed { vip: vip.parse().unwrap(), by };
            it.after(Event::Lan(Report::Port("eth0".into(), claimed)));
        }
    }
    assert!(it.shows("ferrolb_speaker_log_lines_left_out_total 14"));
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
    assert_eq!((it.statuses.take().each.len(), it.state.take().each.len()), (1, 1));
    it.hear_everything();
    assert!(!it.ports.has_changed().unwrap());
    assert_eq!((it.statuses.take().each.len(), it.state.take().each.len()), (0, 0));
}

#[tokio::test]
async fn every_service_announced_here_has_a_status_owned_by_our_pod() {
    let mut it = complete();
    let name = crate::status::name(&"n1".into(), &ServiceKey::new("default", "two"));
    let said = it.statuses.take();
    let reported =
        Reported { service: ServiceKey::new("default", "two"), interfaces: placement::Interfaces::All };
    assert_eq!((said.each, said.complete), ([(name.clone(), Some(reported))].into(), true));
    assert_eq!(it.owner.borrow().as_ref().map(|owner| &owner.uid[..]), Some("uid-n1"));
    it.after(services([service("one", "192.0.2.1")]));
    assert_eq!(it.statuses.take().each, [(name, None)].into());
}

#[tokio::test]
async fn reports_of_the_dead_are_handed_on_and_what_came_of_it_comes_back() {
    let mut it = complete();
    let soon = it.cluster.core.poll_timeout().unwrap();
    it.cluster.core.handle(Input::Time, soon);
    it.carry_out_all();
    let left_over = it.left_over.try_recv().unwrap();
    assert_eq!(left_over.alive, ["n1", "n2"].map(NodeName::from).into());
    let again = soon + Duration::from_secs(7);
    it.after(Event::LeftOver(Some(again)));
    assert_eq!(it.cluster.core.poll_timeout(), Some(again));
}

#[tokio::test]
async fn what_is_invalid_is_reported_until_it_is_valid() {
    let mut it = complete();
    let summary = |it: &Fixture| it.state.take().each["speaker-n1"].clone().unwrap().error_summary;
    assert_eq!(summary(&it), "");
    it.after(Event::Pools(ListChange::Apply(object(pool("192.0.2.9-192.0.2.1")))));
    let said = summary(&it);
    assert!(said.starts_with("IPAddressPool pool: "), "{said}");
    it.after(Event::Pools(ListChange::Apply(object(pool("192.0.2.0/24")))));
    assert_eq!(summary(&it), "");
}

#[tokio::test]
async fn ipvs_is_reported_while_it_is_in_use() {
    let mut it = complete();
    let reported = |it: &Fixture| {
        let status = it.state.take().each.remove("speaker-n1").flatten().unwrap();
        status.conditions.iter().any(|it| it.type_ == api::names::KUBE_PROXY_IPVS)
    };
    let links = |names: &[&str]| Event::Lan(Report::Interfaces(links(names)));
    assert!(!reported(&it));
    it.after(links(&["eth0", "kube-ipvs0"]));
    assert!(reported(&it));
    it.after(links(&["eth0"]));
    assert!(!reported(&it));
}

#[tokio::test]
async fn the_ports_that_programs_listen_on_are_reported_as_they_change() {
    let mut it = complete();
    let reported = |it: &Fixture| {
        let status = it.state.take().each.remove("speaker-n1").flatten().unwrap();
        status.conditions.into_iter().find(|it| it.type_ == api::names::LISTENING_PORTS).map(|it| it.message)
    };
    assert_eq!(reported(&it), None);
    let ports = |texts: &[&str]| Event::Listeners(texts.iter().map(|text| text.parse().unwrap()).collect());
    it.after(ports(&["TCP/22", "TCP/80"]));
    assert_eq!(reported(&it).as_deref(), Some("TCP/22 TCP/80"));
    it.after(ports(&["TCP/22"]));
    assert_eq!(reported(&it).as_deref(), Some("TCP/22"));
}

#[tokio::test]
async fn who_stops_before_it_knows_what_there_is_has_no_report_to_delete_and_waits_for_nothing() {
    let mut it = fixture();
    let nobody = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let own = crate::status::source(&Client::try_from(nobody).unwrap(), "metallb-system", &"n1".into());
    it.after(Event::Lan(Report::Interfaces(Links::new())));
    it.after(Event::Stop);
    let (node, statuses) = ("n1".into(), it.statuses);
    let status = move |name: &str, reported: &Reported| crate::status::status(name, &node, None, reported);
    let keeping = keep::keep(own, statuses, Writes::default(), status);
    assert!(tokio::time::timeout(crate::LAST_REPORTS / 2, keeping).await.is_ok());
}

#[tokio::test]
async fn many_changes_at_once_do_not_keep_others_waiting() {
    let it = complete();
    let list =
        |round: usize| services((0..100).map(|n| service(&format!("{round}-{n}"), &format!("192.0.2.{n}"))));
    let lists = (0..BATCH).map(list).collect::<Vec<_>>();
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
