//! How a speaker follows the cluster.

use kube::Client;
use kubekit::Change as ListChange;
use kubekit::write::Writes;
use layer2::Friends;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// A speaker on n1 in a cluster of n1 and n2, where n2 ranks first for 192.0.2.1 and n1 for 192.0.2.2.
struct Fixture {
    cluster: Cluster,
    wanted: watch::Receiver<lan::Wanted>,
    statuses: watch::Receiver<Wanted<ServiceL2Status>>,
    state: watch::Receiver<Wanted<ConfigurationState>>,
    said: watch::Receiver<Said>,
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
    Event::Members(Arc::new(View { members, settled: true, ..View::default() }))
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
        http_bind: ([127, 0, 0, 1], 0).into(),
        exclude_interfaces: crate::ExcludeInterfaces::default(),
        refresh_interval: None,
        gossip_bind: None,
        gossip_key_files: vec![],
        failover: gossip::Preset::Default,
        beside_metallb: crate::BesideMetalLb::Wait,
        exclude_label: placement::ExcludeLabel::Honoured,
    };
    let nobody = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let publisher =
        Publisher::start(Client::try_from(nobody).unwrap(), "test", "test".to_owned(), Writes::default());
    let (sender, wanted) = watch::channel(lan::Wanted::default());
    let readiness = Readiness::waiting_for(LISTS);
    let (metrics, mut registry) = (Metrics::default(), Registry::default());
    metrics.register(&mut registry);
    let (statuses, wanted_statuses) = watch::channel(None);
    let (state, wanted_state) = watch::channel(None);
    let (said_sender, said) = watch::channel(Said::default());
    let (absence, our_absence) = watch::channel(None);
    let statuses = Some(statuses);
    let outputs = Outputs { wanted: sender, statuses, state, said: said_sender, absence, publisher };
    let gossip_address = ([192, 0, 2, 201], 7946).into();
    let cluster = Cluster::new(&config, gossip_address, readiness.clone(), metrics, outputs);
    let (statuses, state) = (wanted_statuses, wanted_state);
    Fixture { cluster, wanted, said, absence: our_absence, statuses, state, readiness, registry }
}

fn complete() -> Fixture {
    let mut it = fixture();
    it.hear_everything();
    it
}

impl Fixture {
    fn hear_everything(&mut self) {
        let eth0 = Interface { mac: None, arp: Ok(()), ndp: Ok(()) };
        self.cluster.handle(Event::Lan(Report::Interfaces([("eth0".into(), eth0)].into())), Instant::now());
        for event in lists() {
            self.cluster.handle(event, Instant::now());
        }
        self.cluster.publish(Instant::now());
    }

    fn after(&mut self, event: Event) -> Vec<String> {
        self.cluster.handle(event, Instant::now());
        self.cluster.publish(Instant::now());
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
async fn addresses_move_as_members_come_and_go() {
    let mut it = complete();
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(it.after(members(&["n1", "n2"])), ["192.0.2.2"]);
}

#[tokio::test]
async fn who_does_not_know_what_the_others_did_says_nothing() {
    let mut it = complete();
    let silent = |it: &Fixture| it.wanted.borrow().silent.clone();
    assert_eq!(silent(&it), None);
    it.after(Event::Members(Arc::new(View::default())));
    assert_eq!(silent(&it), Some(Interfaces::All));
    it.after(members(&["n1", "n2"]));
    assert_eq!(silent(&it), None);
}

#[tokio::test]
async fn who_is_cut_off_is_silent_only_where_it_was_until_it_has_heard_the_others() {
    let mut it = complete();
    it.cluster.gossip_address = ([127, 0, 0, 1], 7946).into();
    let report = |arp| {
        let loopback = Interface { mac: None, arp, ndp: Err(lan::Unfit::Down) };
        Event::Lan(Report::Interfaces([("lo".into(), loopback)].into()))
    };
    let (link, silent) = (
        |it: &Fixture| it.said.borrow().link,
        |it: &Fixture| {
            it.wanted.borrow().silent.clone().map(|silent| silent == Interfaces::Only(["lo".into()].into()))
        },
    );
    it.after(report(Err(lan::Unfit::Down)));
    assert_eq!((link(&it), silent(&it)), (LinkState::Down, None), "the gossip does not know yet");
    it.after(Event::Members(Arc::new(View::default())));
    assert_eq!(silent(&it), Some(true));
    it.after(report(Ok(())));
    it.after(Event::Members(Arc::new(View::default())));
    assert_eq!((link(&it), silent(&it)), (LinkState::Up, Some(true)), "nobody was heard yet");
    it.after(members(&["n1", "n2"]));
    assert_eq!(silent(&it), None);
    it.after(Event::Members(Arc::new(View::default())));
    assert_eq!(silent(&it), Some(false), "now we stood still, everywhere");
}

#[tokio::test]
async fn a_view_that_is_not_settled_is_no_ground_to_act_on() {
    let mut it = complete();
    let alone = View { members: ["n1".into()].into(), settled: false, ..View::default() };
    assert_eq!(it.after(Event::Members(Arc::new(alone))), ["192.0.2.2"]);
}

#[tokio::test]
async fn fellow_speakers_are_found_by_their_pods() {
    let mut it = complete();
    let expected = SocketAddr::from(([192, 0, 2, 202], 7946));
    assert_eq!(it.said.borrow().peers, Some([("n2".into(), expected)].into()));
    it.after(Event::Speakers(list([speaker("n1")])));
    assert_eq!(it.said.borrow().peers, Some(BTreeMap::new()));
}

#[tokio::test]
async fn that_a_speaker_is_alone_is_said_as_soon_as_it_is_known() {
    let mut it = fixture();
    it.after(Event::Nodes(list([])));
    assert_eq!(it.said.borrow().peers, None);
    it.after(Event::Speakers(list([])));
    assert_eq!(it.said.borrow().peers, Some(BTreeMap::new()));
}

fn leaving(absence: Absence) -> gossip::Event {
    gossip::Event::Leaving { node: "n2".into(), absence }
}

#[tokio::test]
async fn who_leaves_for_a_moment_is_only_stood_in_for() {
    let mut it = complete();
    let lent = |it: &Fixture| {
        let announcement = it.wanted.borrow().announcements[&"192.0.2.1".parse().unwrap()].clone();
        (announcement.history == placement::History::Lent, announcement.takeover)
    };
    it.after(Event::Gossip(leaving(Absence::Brief)));
    let (is_lent, takeover) = lent(&it);
    assert!(is_lent);
    let view = |away: &[&str]| View {
        members: ["n1".into()].into(),
        away: away.iter().map(|name| (*name).into()).collect(),
        settled: true,
        ..View::default()
    };
    it.after(Event::Members(Arc::new(view(&["n2"]))));
    assert_eq!(lent(&it), (true, takeover));
    it.after(Event::Members(Arc::new(view(&[]))));
    let (is_lent, later) = lent(&it);
    assert!(!is_lent && later > takeover, "it is announced");
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
async fn who_leaves_is_let_go_once_its_addresses_are_announced_from_here() {
    let mut it = complete();
    let may_go = |it: &Fixture| it.said.borrow().farewells.contains(&"n2".into());
    let both = ["192.0.2.1", "192.0.2.2"];
    assert_eq!(it.after(Event::Gossip(leaving(Absence::Open))), both);
    assert!(!may_go(&it));
    let vip = "192.0.2.1".parse().unwrap();
    let takeover = it.wanted.borrow().announcements[&vip].takeover;
    it.after(Event::Lan(Report::Spoken { vip, interface: "eth0".into(), takeover }));
    assert!(may_go(&it));
    it.after(Event::Gossip(gossip::Event::Joined("n2".into())));
    assert!(!may_go(&it), "it may leave again");
}

#[tokio::test]
async fn a_speaker_that_stops_goes_on_announcing_and_reports_nothing_any_more() {
    let mut it = complete();
    assert_eq!(it.after(Event::Stop), ["192.0.2.2"]);
    assert_eq!(it.statuses.borrow().as_ref().map(BTreeMap::len), Some(0));
    assert!(it.statuses.has_changed().is_err(), "the reporting ends");
    assert_eq!(it.wanted.borrow().voice, Voice::Answers, "who takes over is not overruled");
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.2"]);
}

#[tokio::test]
async fn a_member_that_was_running_all_along_is_drowned_out() {
    let mut it = complete();
    let before = it.wanted.borrow().announcements.clone();
    it.after(Event::Gossip(gossip::Event::Joined("n2".into())));
    assert_eq!(it.wanted.borrow().announcements, before);
    it.after(Event::Gossip(gossip::Event::Returned("n2".into())));
    assert_ne!(it.wanted.borrow().announcements, before);
    assert_eq!(it.announced(), ["192.0.2.2"]);
}

#[tokio::test]
async fn coming_and_going_within_one_batch_is_a_new_takeover() {
    let mut it = complete();
    let before = it.wanted.borrow().announcements.clone();
    it.cluster.handle(members(&["n2"]), Instant::now());
    it.cluster.handle(members(&["n1", "n2"]), Instant::now());
    it.cluster.publish(Instant::now());
    assert_eq!(it.announced(), ["192.0.2.2"]);
    assert_ne!(it.wanted.borrow().announcements, before);
}

#[tokio::test]
async fn it_takes_part_when_everything_is_known_and_announces_nothing_before_it_is_a_member() {
    let mut it = fixture();
    for event in lists() {
        assert!(!it.said.borrow().ready);
        it.after(event);
    }
    assert!(it.said.borrow().ready);
    assert!(it.after(members(&["n2"])).is_empty());
    assert_eq!(it.after(members(&["n1", "n2"])), ["192.0.2.2"]);
}

#[tokio::test]
async fn the_ethernet_addresses_of_speakers_are_made_known() {
    let mut it = complete();
    let (ours, theirs) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let eth0 = Interface { mac: Some(ours), arp: Ok(()), ndp: Ok(()) };
    it.after(Event::Lan(Report::Interfaces([("eth0".into(), eth0)].into())));
    assert_eq!(it.said.borrow().macs, [ours].into());
    let mut view = View { members: ["n1", "n2"].map(Into::into).into(), settled: true, ..View::default() };
    it.after(Event::Members(Arc::new(view.clone())));
    assert_eq!(it.wanted.borrow().fellows, Friends { known: [].into(), unknown: 1 });
    view.profiles.insert("n2".into(), gossip::Profile::new(theirs.0).unwrap());
    it.after(Event::Members(Arc::new(view)));
    let known = Friends { known: [theirs].into(), unknown: 0 };
    assert_eq!(it.wanted.borrow().fellows, known);
    it.after(members(&["n1"]));
    assert_eq!(it.wanted.borrow().fellows, known, "it may be cut off, and speak all the same");
    it.after(Event::Nodes(list([json!({"metadata": {"name": "n1"}})])));
    it.after(Event::Members(Arc::new(View {
        members: ["n1".into()].into(),
        settled: true,
        ..View::default()
    })));
    assert_eq!(it.wanted.borrow().fellows, Friends::default(), "its node is gone");
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
    it.wanted.mark_unchanged();
    it.statuses.mark_unchanged();
    it.state.mark_unchanged();
    it.hear_everything();
    assert!(!it.wanted.has_changed().unwrap());
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
async fn an_address_that_somebody_else_has_is_not_reported_as_announced() {
    let mut it = complete();
    it.after(Event::Services(ListChange::Apply(object(service("new", "192.0.2.6")))));
    it.after(Event::Endpoints(ListChange::Apply(object(slice("new")))));
    let reported = |it: &Fixture| {
        let statuses = it.statuses.borrow().clone().unwrap();
        statuses.values().any(|status| status.status.clone().unwrap().service_name == "new")
    };
    let vip = "192.0.2.6".parse().unwrap();
    let history = |it: &Fixture| it.wanted.borrow().announcements[&vip].history;
    assert_eq!(history(&it), placement::History::New);
    assert!(!reported(&it), "the LAN has not been asked yet");
    let by = MacAddr([2, 0, 0, 0, 0, 9]);
    it.after(Event::Lan(Report::Taken(Conflict { vip, interface: "eth0".into(), by })));
    assert!(!reported(&it));
    it.after(Event::Lan(Report::Free { vip, interface: "eth0".into() }));
    assert!(reported(&it));
    assert_eq!(history(&it), placement::History::Announced, "an interface that comes later need not ask");
}
