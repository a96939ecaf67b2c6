//! How a speaker follows the cluster.

use std::net::IpAddr;
use std::time::Duration;

use layer2::{Arp, Begin, Contact, Friends, MacAddr, Order, Report, Stance};
use members::{Event, News};
use objects::Labels;
use placement::{
    Abilities, Ability, Advertisement, AdvertisementName, ByProtocol, Endpoints, Network, Node, Released,
    Service, Sharing, SliceKey, TrafficPolicy,
};
use pools::PoolSpec;

use super::*;
use crate::configuration::ConfigurationNews;
use crate::input::Changes;
use crate::interfaces::{Link, Purpose, Unfit};
use crate::output::Status;

/// A speaker on n1 in a cluster of n1 and n2, where n2 ranks first for 192.0.2.1 and n1 for 192.0.2.2.
struct Fixture {
    core: Core,
    now: Instant,
    /// What was said last, and all that was said since the last step.
    ports: crate::announce::layer2::Ports,
    statuses: Vec<Status>,
    outputs: Vec<Output>,
}

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const FOREIGN: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn service(name: &str, vip: &str) -> (ServiceKey, Option<Service>) {
    let key = ServiceKey::new("default", name);
    let service = Service {
        key: key.clone(),
        labels: Labels::new(),
        vips: vec![ip(vip)],
        recorded_pool: Some("pool".into()),
        traffic_policy: TrafficPolicy::Cluster,
        sharing: Sharing::Sole,
        created: None,
    };
    (key, Some(service))
}

fn endpoints(service: &str) -> (SliceKey, Option<(ServiceKey, Endpoints)>) {
    let on_n3 = Endpoints::from_iter([Some("n3".into())]);
    (SliceKey::new("default", format!("{service}-1")), Some((ServiceKey::new("default", service), on_n3)))
}

fn node(name: &str) -> (NodeName, Option<Node>) {
    (name.into(), Some(Node { name: name.into(), labels: Labels::new(), network: Network::Available }))
}

fn pool(range: &str) -> (PoolName, Option<PoolSpec>) {
    ("pool".into(), Some(PoolSpec::new("pool", &[range])))
}

fn advertisement(faults: &[&str]) -> (AdvertisementName, Option<(Advertisement, Vec<String>)>) {
    let advertisement = Advertisement::new("ad");
    ("ad".into(), Some((advertisement, faults.iter().map(ToString::to_string).collect())))
}

fn list<K, V>(each: impl IntoIterator<Item = (K, Option<V>)>) -> Changes<K, V> {
    Changes { each: each.into_iter().collect(), complete: true }
}

fn one<K, V>(key: K, value: Option<V>) -> Changes<K, V> {
    Changes { each: vec![(key, value)], complete: false }
}

fn peers(nodes: &[u8]) -> Input {
    let peer = |number: &u8| (format!("n{number}").into(), ([192, 0, 2, 200 + number], 7946).into());
    Input::Peers(nodes.iter().map(peer).collect())
}

fn view(members: &[&str], settled: bool) -> View {
    View { members: members.iter().map(|name| (*name).into()).collect(), settled, ..View::default() }
}

fn seen(view: View) -> Input {
    Input::Members(News { events: vec![], view: Arc::new(view) })
}

fn members(names: &[&str]) -> Input {
    seen(view(names, true))
}

fn happened(event: Event, view: View) -> Input {
    Input::Members(News { events: vec![event], view: Arc::new(view) })
}

fn link(name: &str, mac: MacAddr, arp: Result<(), Unfit>) -> Link {
    Link {
        name: name.into(),
        purpose: Purpose::Lan,
        mac: Some(mac),
        arp: arp.map(|()| Arp { mac }),
        ndp: Err(Unfit::NoLinkLocal),
    }
}

fn told(macs: &[MacAddr], contested: &[&str]) -> members::Profile {
    let contested = contested.iter().map(|vip| ip(vip)).collect();
    let macs = macs.iter().map(|mac| mac.0).collect();
    crate::peers::profile(&Profile { macs, contested, ..Profile::default() })
}

/// What we tell of ourselves with these interfaces, all of which do ARP.
fn own(links: &[(&str, MacAddr)], contested: &[&str]) -> Output {
    let able = ByProtocol { arp: Ability::Able, ndp: Ability::Unable };
    let profile = Profile {
        macs: links.iter().map(|(_, mac)| mac.0).collect(),
        abilities: Abilities::Known(links.iter().map(|(name, _)| ((*name).into(), able)).collect()),
        contested: contested.iter().map(|vip| ip(vip)).collect(),
    };
    Output::Gossip(Gossip::SetProfile(crate::peers::profile(&profile)))
}

/// n1 and n2, where n2 has told that it can announce on these interfaces by ARP.
fn able(names: &[&str]) -> View {
    let able = ByProtocol { arp: Ability::Able, ndp: Ability::Unable };
    let abilities = Abilities::Known(names.iter().map(|name| ((*name).into(), able)).collect());
    let profile = Profile { macs: [THEIRS.0].into(), abilities, ..Profile::default() };
    let mut both = view(&["n1", "n2"], true);
    both.profiles.insert("n2".into(), crate::peers::profile(&profile));
    both
}

/// Our own station and these, where n2 is listed.
fn known(others: &[(MacAddr, Contact)], unknown: usize) -> Friends {
    let known = others.iter().copied().chain([(OURS, Contact::Own)]).collect();
    Friends { known, unknown, unseen: usize::from(others.is_empty()) }
}

fn interfaces(links: &[Link]) -> Input {
    Input::Interfaces { links: (1..).zip(links.iter().cloned()).collect(), gossip: None }
}

fn lists() -> [Input; 7] {
    [
        Input::Services(list([service("one", "192.0.2.1"), service("two", "192.0.2.2")])),
        Input::Endpoints(list(["one", "two"].map(endpoints))),
        Input::Nodes(list(["n1", "n2"].map(node))),
        Input::Pools(list([pool("192.0.2.0/24")])),
        Input::Advertisements(list([advertisement(&[])])),
        peers(&[1, 2]),
        members(&["n1", "n2"]),
    ]
}

fn fixture() -> Fixture {
    let now = Instant::now();
    let config = Config { node: "n1".into(), exclude_label: ExcludeLabel::Honoured, ignore_conflicts: false };
    let core = Core::new(config, now);
    let mut it = Fixture { core, now, ports: [].into(), statuses: vec![], outputs: vec![] };
    it.after(interfaces(&[link("eth0", OURS, Ok(()))]));
    it
}

fn complete() -> Fixture {
    let mut it = fixture();
    it.all(lists());
    it
}

impl Fixture {
    /// Whom the ports take for peers.
    fn order_friends(&self) -> &Friends {
        &self.ports.values().next().expect("eth0").friends
    }

    fn after(&mut self, input: Input) -> Vec<String> {
        self.all([input])
    }

    /// Takes in several inputs that come together; the addresses that are announced then.
    fn all(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
        inputs.into_iter().for_each(|input| self.core.handle(input, self.now));
        self.outputs = std::iter::from_fn(|| self.core.poll_output()).collect();
        for output in &self.outputs {
            match output {
                Output::Ports(ports) => self.ports.clone_from(ports),
                Output::Statuses(statuses) => self.statuses.clone_from(statuses),
                _ => {}
            }
        }
        self.orders().keys().map(ToString::to_string).collect()
    }

    fn orders(&self) -> BTreeMap<IpAddr, Order> {
        self.ports.values().next().map(|orders| orders.vips.clone()).unwrap_or_default()
    }

    fn order(&self, vip: &str) -> Order {
        self.orders()[&ip(vip)]
    }

    fn voice(&self) -> Voice {
        self.ports.values().next().expect("eth0").voice
    }

    fn friends(&self) -> Friends {
        (*self.ports.values().next().expect("eth0").friends).clone()
    }

    fn said(&self, output: &Output) -> bool {
        self.outputs.contains(output)
    }

    fn told(&self) -> Vec<&'static str> {
        let reason = |output: &Output| match output {
            Output::Notice(_, notice) => Some(notice.reason),
            _ => None,
        };
        self.outputs.iter().filter_map(reason).collect()
    }

    fn reported(&self) -> Vec<String> {
        self.statuses.iter().map(|status| status.service.name.to_string()).collect()
    }
}

#[test]
fn nothing_is_announced_before_every_list_is_complete() {
    for last in 0..List::ALL.len() {
        let mut it = fixture();
        let mut inputs = Vec::from(lists());
        let last = inputs.remove(last);
        for input in inputs {
            assert!(it.after(input).is_empty());
            assert!(!it.said(&Output::Loaded));
        }
        assert_eq!(it.after(last), ["192.0.2.2"]);
        assert!(it.said(&Output::Loaded) && it.said(&Output::Gossip(Gossip::TakePart)));
    }
}

#[test]
fn each_list_is_reached_once() {
    let mut it = fixture();
    it.all(lists());
    let reached = it.outputs.iter().filter(|output| matches!(output, Output::Reached(_))).count();
    assert_eq!(reached, List::ALL.len());
    it.all(lists());
    assert!(!it.outputs.iter().any(|output| matches!(output, Output::Reached(_) | Output::Loaded)));
}

#[test]
fn addresses_move_as_members_come_and_go() {
    let mut it = complete();
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(it.after(members(&["n1", "n2"])), ["192.0.2.2"]);
}

#[test]
fn all_interfaces_are_muted_until_the_peers_are_heard() {
    let mut it = complete();
    assert_eq!(it.voice(), Voice::Full);
    it.after(seen(View::default()));
    assert_eq!(it.voice(), Voice::Silent);
    it.after(members(&["n1", "n2"]));
    assert_eq!(it.voice(), Voice::Full);
}

#[test]
fn link_loss_mutes_only_the_interface_of_the_gossip_until_the_peers_are_heard() {
    let mut it = complete();
    let change = |arp| Input::Interfaces {
        links: [(1, link("eth0", OURS, arp)), (2, link("eth1", THEIRS, Ok(())))].into(),
        gossip: Some("eth0".into()),
    };
    let voices = |it: &Fixture| -> Vec<(String, Voice)> {
        it.ports.iter().map(|(place, orders)| (place.name.to_string(), orders.voice)).collect()
    };
    let of = |name: &str, voice| (name.to_owned(), voice);
    it.after(change(Err(Unfit::NoCarrier)));
    assert!(it.said(&Output::Gossip(Gossip::SetLink(LinkState::Down))));
    it.after(seen(View::default()));
    assert_eq!(voices(&it), [of("eth1", Voice::Full)]);
    it.after(change(Ok(())));
    assert!(it.said(&Output::Gossip(Gossip::SetLink(LinkState::Up))));
    it.after(seen(View::default()));
    assert_eq!(voices(&it), [of("eth0", Voice::Silent), of("eth1", Voice::Full)], "nobody was heard yet");
    it.after(members(&["n1", "n2"]));
    assert_eq!(voices(&it), [of("eth0", Voice::Full), of("eth1", Voice::Full)]);
    it.after(seen(View::default()));
    assert_eq!(voices(&it), [of("eth0", Voice::Silent), of("eth1", Voice::Silent)], "the process paused");
}

#[test]
fn a_view_that_is_not_settled_is_no_ground_to_act_on() {
    let mut it = complete();
    assert_eq!(it.after(seen(view(&["n1"], false))), ["192.0.2.2"]);
}

#[test]
fn the_gossip_is_told_of_the_other_speakers_and_of_none_as_well() {
    let mut it = fixture();
    let said = |peers: &[(&str, u8)]| {
        let peer = |(name, last): &(&str, u8)| ((*name).into(), ([192, 0, 2, *last], 7946).into());
        Output::Gossip(Gossip::SetPeers(peers.iter().map(peer).collect()))
    };
    it.after(peers(&[1, 2]));
    assert!(it.said(&said(&[("n2", 202)])));
    it.after(peers(&[1, 2]));
    assert!(!it.said(&said(&[("n2", 202)])), "that is known");
    it.after(peers(&[1]));
    assert!(it.said(&said(&[])));
}

fn leaving(absence: Absence) -> Input {
    let away = match absence {
        Absence::Brief => ["n2".into()].into(),
        Absence::Open => BTreeSet::new(),
    };
    happened(Event::Leaving { node: "n2".into(), absence }, View { away, ..view(&["n1"], true) })
}

#[test]
fn a_standby_answers_and_announces_only_when_the_peer_is_not_back() {
    let mut it = complete();
    it.after(leaving(Absence::Brief));
    let order = it.order("192.0.2.1");
    assert_eq!(order.begin, Begin::Answer);
    it.after(members(&["n1"]));
    let later = it.order("192.0.2.1");
    assert!(later.begin == Begin::Ask && later.takeover > order.takeover, "{later:?}");
}

#[test]
fn a_leaving_peer_may_go_once_its_addresses_are_announced_from_here() {
    let mut it = complete();
    let may_go = Output::Gossip(Gossip::ConfirmLeave("n2".into()));
    assert_eq!(it.after(leaving(Absence::Open)), ["192.0.2.1", "192.0.2.2"]);
    assert!(!it.said(&may_go));
    let Order { takeover, .. } = it.order("192.0.2.1");
    it.after(Input::Port("eth0".into(), Report::Spoken { vip: ip("192.0.2.1"), takeover }));
    assert!(it.said(&may_go));
    it.after(Input::Time);
    assert!(!it.said(&may_go), "once is enough");
}

#[test]
fn a_goodbye_that_comes_with_its_view_still_waits_for_the_takeover() {
    let mut it = complete();
    it.all([leaving(Absence::Open), members(&["n1"])]);
    assert!(!it.said(&Output::Gossip(Gossip::ConfirmLeave("n2".into()))));
    it.now = it.core.poll_timeout().expect("the leaver is not kept for ever");
    it.after(Input::Time);
    assert!(it.said(&Output::Gossip(Gossip::ConfirmLeave("n2".into()))));
}

#[test]
fn a_speaker_that_stops_only_answers_and_reports_nothing_any_more() {
    let mut it = complete();
    assert_eq!(it.after(Input::Stop), ["192.0.2.2"]);
    assert!(it.reported().is_empty() && it.said(&Output::LastStatuses));
    assert_eq!(it.voice(), Voice::Answers, "who takes over is not overruled");
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.2"]);
}

#[test]
fn a_speaker_that_stops_before_its_lists_are_complete_has_nothing_to_report() {
    let mut it = fixture();
    it.after(Input::Stop);
    assert!(it.said(&Output::LastStatuses));
}

#[test]
fn a_peer_that_may_have_announced_all_along_is_overruled_by_a_new_takeover() {
    let mut it = complete();
    let before = it.orders();
    it.after(happened(Event::Joined("n2".into()), view(&["n1", "n2"], true)));
    assert_eq!(it.orders(), before);
    it.after(happened(Event::Returned("n2".into()), view(&["n1", "n2"], true)));
    assert_ne!(it.orders(), before);
    assert_eq!(it.orders().len(), 1);
}

#[test]
fn going_and_coming_back_is_a_new_takeover_even_when_both_come_together() {
    let mut it = complete();
    let before = it.orders();
    assert_eq!(it.all([members(&["n2"]), members(&["n1", "n2"])]), ["192.0.2.2"]);
    assert_ne!(it.orders(), before);

    let mut it = complete();
    it.after(members(&["n1"]));
    let before = it.order("192.0.2.1");
    it.all([members(&["n1", "n2"]), members(&["n1"])]);
    assert_ne!(it.order("192.0.2.1"), before);
}

#[test]
fn nothing_is_announced_before_this_node_is_a_member() {
    let mut it = fixture();
    let mut inputs = Vec::from(lists());
    inputs.pop();
    it.all(inputs);
    assert!(it.after(members(&["n2"])).is_empty());
    assert_eq!(it.after(members(&["n1", "n2"])), ["192.0.2.2"]);
}

#[test]
fn the_ethernet_addresses_of_speakers_are_made_known() {
    let mut it = complete();
    assert_eq!(it.friends(), known(&[], 1));
    it.after(interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, Ok(()))]));
    assert!(it.said(&own(&[("eth0", OURS), ("eth1", FOREIGN)], &[])));
    it.after(interfaces(&[link("eth0", OURS, Ok(()))]));
    let mut both = view(&["n1", "n2"], true);
    both.profiles.insert("n2".into(), told(&[THEIRS], &[]));
    it.after(seen(both));
    assert_eq!(it.friends(), known(&[(THEIRS, Contact::Heard)], 0));
    it.after(members(&["n1"]));
    assert_eq!(
        it.friends(),
        known(&[(THEIRS, Contact::Unheard)], 0),
        "it may be cut off, and speak all the same"
    );
    it.after(Input::Nodes(one("n2".into(), None)));
    assert_eq!(it.friends(), known(&[], 0), "its node is gone");
}

#[test]
fn a_service_that_is_gone_is_released() {
    let mut it = complete();
    let key = ServiceKey::new("default", "two");
    assert!(it.after(Input::Services(one(key.clone(), None))).is_empty());
    let released = Change::Released { service: key, vips: vec![ip("192.0.2.2")], why: Released::Gone };
    assert!(it.said(&Output::Moved(released)));
}

#[test]
fn what_is_not_in_force_is_told_and_takes_nothing_from_services() {
    let mut it = complete();
    let bad_pool = Input::Pools(one("pool".into(), pool("192.0.2.9-192.0.2.1").1));
    assert_eq!(it.after(bad_pool), ["192.0.2.2"]);
    assert!(it.outputs.iter().any(|output| match output {
        Output::Problems(problems) => problems.len() == 1 && problems[0].starts_with("IPAddressPool pool: "),
        _ => false,
    }));
    it.after(Input::Advertisements(one("ad".into(), advertisement(&["spec: no"]).1)));
    let invalid =
        |output: &Output| matches!(output, Output::Configuration(ConfigurationNews::Invalid { .. }));
    assert!(it.outputs.iter().any(invalid));
    assert!(
        it.after(Input::Pools(one("pool".into(), None))).is_empty(),
        "the pool is gone, not merely invalid"
    );
    it.after(Input::Advertisements(one("ad".into(), advertisement(&[]).1)));
    assert!(it.said(&Output::Problems(vec![])));
}

#[test]
fn nothing_is_said_when_nothing_changes() {
    let mut it = complete();
    let mut again = Vec::from(lists());
    again.push(interfaces(&[link("eth0", OURS, Ok(()))]));
    let (ports, statuses) = (it.ports.clone(), it.statuses.clone());
    it.all(again);
    it.outputs.retain(|output| match output {
        Output::Ports(same) => *same != ports,
        Output::Statuses(same) => *same != statuses,
        _ => true,
    });
    assert_eq!(it.outputs, []);
}

#[test]
fn every_service_announced_here_has_a_status() {
    let mut it = complete();
    assert_eq!(it.reported(), ["two"]);
    it.after(Input::Services(one(ServiceKey::new("default", "two"), None)));
    assert!(it.reported().is_empty());
}

#[test]
fn an_address_that_a_foreign_host_has_is_not_reported_as_announced() {
    let mut it = complete();
    let (key, new) = service("new", "192.0.2.6");
    it.all([Input::Services(one(key, new)), Input::Endpoints(list([endpoints("new")]))]);
    let vip = ip("192.0.2.6");
    assert_eq!(it.order("192.0.2.6").begin, Begin::Probe);
    assert_eq!(it.reported(), ["two"], "the LAN has not been asked yet");
    it.after(Input::Port("eth0".into(), Report::Taken { vip, by: FOREIGN }));
    assert_eq!(it.told(), ["addressConflict"]);
    assert_eq!(it.reported(), ["two"]);
    it.after(Input::Port("eth0".into(), Report::Free { vip }));
    assert_eq!(it.told(), ["nodeAssigned"]);
    assert_eq!(it.reported(), ["new", "two"]);
    assert_eq!(it.order("192.0.2.6").begin, Begin::Ask, "an interface that comes later asks");
}

#[test]
fn a_foreign_host_that_claims_an_address_is_told_of_once_on_its_service() {
    let mut it = complete();
    let claim = || Input::Port("eth0".into(), Report::Claimed { vip: ip("192.0.2.2"), by: FOREIGN });
    it.after(claim());
    assert_eq!(it.told(), ["addressConflict"]);
    it.now += Duration::from_secs(10);
    it.after(claim());
    assert!(it.told().is_empty());
}

#[test]
fn what_a_leaving_peer_hands_over_is_not_asked_for_unless_it_was_contested() {
    for (contested, begin) in [(&[][..], Begin::Announce), (&["192.0.2.1"], Begin::Ask)] {
        let mut it = complete();
        let mut both = view(&["n1", "n2"], true);
        both.profiles.insert("n2".into(), told(&[THEIRS], contested));
        it.after(seen(both));
        it.after(leaving(Absence::Open));
        assert_eq!(it.order("192.0.2.1").begin, begin);
    }
    let mut it = complete();
    it.after(members(&["n1"]));
    assert_eq!(it.order("192.0.2.1").begin, Begin::Ask, "it was lost");
}

#[test]
fn a_conflict_is_told_to_the_peers() {
    let mut it = complete();
    it.after(Input::Port("eth0".into(), Report::Taken { vip: ip("192.0.2.2"), by: FOREIGN }));
    assert!(it.said(&own(&[("eth0", OURS)], &["192.0.2.2"])));
    it.after(Input::Port("eth0".into(), Report::Free { vip: ip("192.0.2.2") }));
    it.now = it.core.poll_timeout().expect("it is told soon");
    it.after(Input::Time);
    assert!(it.said(&own(&[("eth0", OURS)], &[])));
}

#[test]
fn what_a_peer_that_is_away_did_not_answer_for_is_asked_for() {
    for (contested, begin) in [(&[][..], Begin::Answer), (&["192.0.2.1"], Begin::Ask)] {
        let mut it = complete();
        let mut both = view(&["n1", "n2"], true);
        both.profiles.insert("n2".into(), told(&[THEIRS], contested));
        it.after(seen(both));
        it.after(leaving(Absence::Brief));
        assert_eq!(it.order("192.0.2.1").begin, begin);
    }
}

/// What it tells last is what those know who take over.
#[test]
fn a_speaker_that_stops_does_not_unsay_what_it_did_not_answer_for() {
    let mut it = complete();
    it.after(Input::Port("eth0".into(), Report::Taken { vip: ip("192.0.2.2"), by: FOREIGN }));
    it.now += Duration::from_secs(1);
    it.after(Input::Stop);
    assert!(!it.outputs.iter().any(|output| matches!(output, Output::Gossip(Gossip::SetProfile(_)))));
}

/// Its node may have another process by then, which is not heard.
#[test]
fn a_peer_that_leaves_is_heard_until_its_process_has_gone() {
    for absence in [Absence::Open, Absence::Brief] {
        let mut it = complete();
        let told = told(&[THEIRS], &[]);
        let with_profile = |input| match input {
            Input::Members(mut news) => {
                Arc::make_mut(&mut news.view).profiles.insert("n2".into(), told.clone());
                Input::Members(news)
            }
            other => other,
        };
        it.after(with_profile(members(&["n1", "n2"])));
        it.after(with_profile(leaving(absence)));
        assert_eq!(it.order_friends().known[&THEIRS], Contact::Heard);
        let away: BTreeSet<_> = if absence == Absence::Brief { ["n2".into()].into() } else { [].into() };
        it.after(seen(View { away, ..view(&["n1"], true) }));
        assert_eq!(it.order_friends().known[&THEIRS], Contact::Unheard);
    }
}

#[test]
fn conflicts_that_follow_each_other_are_told_together() {
    let mut it = complete();
    it.after(members(&["n1"]));
    let held = |vip| Input::Port("eth0".into(), Report::Held { vip: ip(vip), by: THEIRS });
    it.after(held("192.0.2.1"));
    assert!(it.said(&own(&[("eth0", OURS)], &["192.0.2.1"])));
    it.after(held("192.0.2.2"));
    assert!(!it.outputs.iter().any(|output| matches!(output, Output::Gossip(Gossip::SetProfile(_)))));
    it.now = it.core.poll_timeout().expect("it is told soon");
    it.after(Input::Time);
    assert!(it.said(&own(&[("eth0", OURS)], &["192.0.2.1", "192.0.2.2"])));
}

#[test]
fn of_two_peers_that_do_not_hear_each_other_the_better_ranked_goes_on() {
    let mut it = complete();
    let mut both = view(&["n1", "n2"], true);
    both.profiles.insert("n2".into(), told(&[THEIRS], &[]));
    it.after(seen(both.clone()));
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.1", "192.0.2.2"]);
    let rival = |vip| Input::Port("eth0".into(), Report::Rival { vip: ip(vip), by: THEIRS });
    it.all([rival("192.0.2.1"), rival("192.0.2.2")]);
    assert_eq!(it.order("192.0.2.1").stance, Stance::Yields);
    assert!(matches!(it.order("192.0.2.2").stance, Stance::Insists(_)));
    assert_eq!(it.told(), ["peerUnheard"]);
    it.after(seen(both));
    assert_eq!(it.order("192.0.2.2").stance, Stance::Alone, "it is heard again");
}

#[test]
fn an_address_is_left_to_a_peer_only_on_the_interface_where_that_one_answers() {
    let mut it = complete();
    let other = MacAddr([2, 0, 0, 0, 1, 1]);
    let both_links = interfaces(&[link("eth0", OURS, Ok(())), link("eth1", other, Ok(()))]);
    it.after(both_links);
    let mut both = view(&["n1", "n2"], true);
    both.profiles.insert("n2".into(), told(&[THEIRS], &[]));
    it.after(seen(both));
    it.after(members(&["n1"]));
    it.after(Input::Port("eth1".into(), Report::Rival { vip: ip("192.0.2.1"), by: THEIRS }));
    let stances = |it: &Fixture| -> Vec<Stance> {
        it.ports.values().map(|orders| orders.vips[&ip("192.0.2.1")].stance).collect()
    };
    assert_eq!(stances(&it), [Stance::Alone, Stance::Yields]);
    it.after(Input::Port("eth0".into(), Report::Free { vip: ip("192.0.2.1") }));
    assert_eq!(stances(&it), [Stance::Alone, Stance::Yields]);
    it.after(interfaces(&[link("eth0", OURS, Ok(()))]));
    it.after(interfaces(&[link("eth0", OURS, Ok(())), link("eth1", other, Ok(()))]));
    assert_eq!(stances(&it), [Stance::Alone; 2], "it may be plugged in elsewhere");
}

/// It may have started anew, and not know our name any more; so it goes by what both can see.
#[test]
fn a_peer_that_goes_on_though_it_should_yield_by_rank_is_judged_by_ethernet_address() {
    let lower = MacAddr([0; 6]);
    for (theirs, goes_on) in [(THEIRS, true), (lower, false)] {
        let mut it = complete();
        let mut both = view(&["n1", "n2"], true);
        both.profiles.insert("n2".into(), told(&[theirs], &[]));
        it.after(seen(both));
        it.after(members(&["n1"]));
        let rival = || Input::Port("eth0".into(), Report::Rival { vip: ip("192.0.2.2"), by: theirs });
        let insists = |it: &Fixture| matches!(it.order("192.0.2.2").stance, Stance::Insists(_));
        it.after(rival());
        assert!(insists(&it), "n1 ranks first");
        it.now += Duration::from_millis(150);
        it.after(rival());
        assert_eq!(insists(&it), goes_on);
        it.now += Duration::from_secs(10);
        it.after(rival());
        assert!(insists(&it), "that was another dispute");
    }
}

/// Neither knows the name of the other.
#[test]
fn of_two_peers_that_never_heard_each_other_the_one_with_the_lower_ethernet_address_goes_on() {
    let rival = |by| Input::Port("eth0".into(), Report::Rival { vip: ip("192.0.2.2"), by });
    let lower = MacAddr([0; 6]);
    for (alone, by, goes_on) in [(false, THEIRS, true), (false, lower, false), (true, THEIRS, false)] {
        let mut it = complete();
        it.after(peers(&[1, 2, 3]));
        it.after(members(if alone { &["n1"] } else { &["n1", "n2"] }));
        it.after(rival(by));
        let insists = matches!(it.order("192.0.2.2").stance, Stance::Insists(_));
        assert_eq!(insists, goes_on, "alone: {alone}, {by}");
    }
}

#[test]
fn whoever_cannot_hear_its_peers_takes_none_for_heard() {
    let mut it = complete();
    let mut both = view(&["n1", "n2"], true);
    both.profiles.insert("n2".into(), told(&[THEIRS], &[]));
    it.after(seen(both));
    let contact = |it: &Fixture| it.order_friends().known[&THEIRS];
    assert_eq!(contact(&it), Contact::Heard);
    it.after(Input::Trouble(Some(Trouble::Unbound)));
    assert_eq!(contact(&it), Contact::Unheard);
    it.after(Input::Trouble(None));
    assert_eq!(contact(&it), Contact::Heard);
}

#[test]
fn nothing_is_taken_over_while_the_gossip_cannot_work() {
    let mut it = complete();
    it.after(Input::Trouble(Some(Trouble::Unbound)));
    assert!(it.said(&Output::Trouble(Some(Trouble::Unbound))));
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.2"]);
    assert_eq!(it.after(Input::Trouble(None)), ["192.0.2.1", "192.0.2.2"]);
    assert!(it.said(&Output::Trouble(None)));

    let mut it = fixture();
    it.after(Input::Trouble(Some(Trouble::Unbound)));
    assert!(it.all(lists()).is_empty() && !it.said(&Output::Loaded), "nor at the start");
    assert_eq!(it.after(Input::Trouble(None)), ["192.0.2.2"]);
}

#[test]
fn a_peer_that_leaves_before_everything_is_known_here_need_not_wait() {
    let mut it = fixture();
    let mut still_there = view(&["n1"], true);
    still_there.profiles.insert("n2".into(), told(&[THEIRS], &[]));
    it.after(happened(Event::Leaving { node: "n2".into(), absence: Absence::Open }, still_there));
    assert!(it.said(&Output::Gossip(Gossip::ConfirmLeave("n2".into()))));
    let until = it.core.poll_timeout().expect("the goodbye ends");
    it.now = until;
    it.after(Input::Time);
    assert!(it.core.poll_timeout().is_none_or(|at| at > until), "nothing is due that is never done");
}

#[test]
fn an_address_moves_away_from_an_interface_that_fails() {
    let both = || interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, Ok(()))]);
    let failed = || interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, Err(Unfit::NoCarrier))]);
    let mut it = complete();
    assert_eq!(it.all([both(), seen(able(&["eth0", "eth1"]))]), ["192.0.2.2"]);
    assert!(it.after(failed()).is_empty(), "n2 can announce on both");
    assert_eq!(it.after(both()), ["192.0.2.2"]);
    assert_eq!(it.all([seen(able(&["eth0"])), failed()]), ["192.0.2.2"], "n2 has no eth1 either");
}

#[test]
fn nothing_is_left_to_others_that_are_not_heard_for_an_interface_that_fails() {
    let mut it = complete();
    let links = |eth1| [link("eth0", OURS, Ok(())), link("eth1", FOREIGN, eth1)];
    let through_eth1 =
        |eth1| Input::Interfaces { links: (1..).zip(links(eth1)).collect(), gossip: Some("eth1".into()) };
    it.all([through_eth1(Ok(())), seen(able(&["eth0", "eth1"]))]);
    assert_eq!(it.after(through_eth1(Err(Unfit::NoCarrier))), ["192.0.2.2"]);
    assert_eq!(it.after(through_eth1(Ok(()))), ["192.0.2.2"]);
}

#[test]
fn an_address_falls_only_to_a_node_that_has_an_interface_for_it() {
    let mut it = complete();
    let on_eth1 = |name: &str| {
        let interfaces = placement::Interfaces::Only(["eth1".into()].into());
        (name.into(), Some((Advertisement { interfaces, ..Advertisement::new(name) }, vec![])))
    };
    it.after(Input::Advertisements(list([on_eth1("ad")])));
    it.after(interfaces(&[link("eth1", OURS, Ok(()))]));
    assert_eq!(it.after(seen(able(&["eth0"]))), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(it.after(seen(able(&["eth1"]))), ["192.0.2.2"]);
    assert!(it.after(interfaces(&[link("eth0", OURS, Ok(()))])).is_empty());
    assert!(it.reported().is_empty());
}

/// A cluster without any advertisement, whose lowest-named member is this one, after this long.
fn unadvertised(after: Duration) -> Fixture {
    let mut it = complete();
    it.after(Input::Advertisements(one("ad".into(), None)));
    assert_eq!(it.told(), Vec::<&str>::new(), "it may come back");
    it.now += after;
    it.after(Input::Time);
    it
}

#[test]
fn the_owners_of_services_that_nobody_announces_are_told_why_once() {
    let mut it = unadvertised(Duration::from_secs(5));
    let notice = |it: &Fixture, name: &str| {
        let key = ServiceKey::new("default", name);
        it.outputs.iter().find_map(|output| match output {
            Output::Notice(service, notice) if *service == key => Some(notice.message.clone()),
            _ => None,
        })
    };
    assert_eq!(it.told(), ["notAnnounced", "notAnnounced"]);
    let expected = "192.0.2.1 is not announced: there is no L2Advertisement";
    assert_eq!(notice(&it, "one").as_deref(), Some(expected));
    let wait = |it: &mut Fixture, input: Input| {
        it.after(input);
        it.now += Duration::from_secs(6);
        it.after(Input::Time);
        it.told()
    };
    assert!(wait(&mut it, Input::Nodes(one("n3".into(), node("n3").1))).is_empty(), "nothing is new");
    assert_eq!(wait(&mut it, Input::Pools(list([pool("198.51.100.0/24")]))).len(), 2, "another reason");
    assert!(wait(&mut it, Input::Services(one(ServiceKey::new("default", "one"), None))).is_empty());
    assert!(wait(&mut it, Input::Pools(list([pool("192.0.2.0/24")]))).len() == 1);
    it.after(Input::Advertisements(list([advertisement(&[])])));
    it.after(Input::Advertisements(one("ad".into(), None)));
    assert_eq!(wait(&mut it, Input::Time), ["notAnnounced"], "it was announced in between");
}

#[test]
fn a_service_that_is_announced_again_soon_is_not_told_of() {
    let mut it = unadvertised(Duration::from_secs(4));
    it.after(Input::Advertisements(list([advertisement(&[])])));
    it.now += Duration::from_secs(10);
    it.after(Input::Time);
    assert!(!it.told().contains(&"notAnnounced"));
    assert!(it.core.poll_timeout().is_none_or(|at| at > it.now));
}

#[test]
fn one_speaker_tells_why_a_service_is_not_announced() {
    let mut it = complete();
    it.after(members(&["n0", "n1", "n2"]));
    it.after(Input::Advertisements(one("ad".into(), None)));
    it.now += Duration::from_secs(5);
    it.after(Input::Time);
    assert_eq!(it.told(), Vec::<&str>::new(), "n0 tells");
}
