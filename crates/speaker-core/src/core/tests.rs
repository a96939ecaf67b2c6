//! How a speaker follows the cluster, and a small cluster for it to follow.

mod disputes;
mod gossip;
mod impairments;
mod introspect;
mod lan;
mod leaving;
mod routers;
mod unannounced;

use std::net::IpAddr;
use std::time::Duration;

use layer2::{Arp, Begin, Contact, KnownMacs, MacAddr, Order, Report, Stance};
use members::{Event, News};
use objects::Labels;
use placement::{
    Abilities, Ability, Advertisement, AdvertisementName, ByProtocol, Endpoints, Network, Node, Released,
    Service, Sharing, SliceKey, TrafficPolicy,
};
use pools::PoolSpec;

use super::*;
use crate::configuration::ConfigurationNews;
use crate::impairments::{Impact, Impairment};
use crate::input::{Changes, Trouble};
use crate::interfaces::{Lan, Link, Purpose, Unfit};

/// A speaker on n1 in a cluster of n1 and n2, where n2 ranks first for 192.0.2.1 and n1 for 192.0.2.2.
struct Fixture {
    core: Core,
    now: Instant,
    /// What was said last, and all that was said since the last step.
    ports: crate::announce::layer2::Ports,
    statuses: BTreeMap<ServiceKey, Interfaces>,
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
        lan: Lan::default(),
    }
}

fn told(macs: &[MacAddr], contested: &[&str]) -> members::Profile {
    let contested = contested.iter().map(|vip| ip(vip)).collect();
    let macs = macs.iter().map(|mac| mac.0).collect();
    crate::peers::profile(&NodeProfile { macs, contested, ..NodeProfile::default() })
}

/// What we tell of ourselves with these interfaces, all of which do ARP.
fn own(links: &[(&str, MacAddr)], contested: &[&str]) -> Output {
    let able = ByProtocol { arp: Ability::Able, ndp: Ability::Unable };
    let profile = NodeProfile {
        macs: links.iter().map(|(_, mac)| mac.0).collect(),
        abilities: Abilities::Known(links.iter().map(|(name, _)| ((*name).into(), able)).collect()),
        contested: contested.iter().map(|vip| ip(vip)).collect(),
        ..NodeProfile::default()
    };
    Output::Gossip(Gossip::SetProfile(crate::peers::profile(&profile)))
}

/// n1 and n2, where n2 has told this of itself.
fn n2_tells(profile: members::Profile) -> View {
    View { profiles: [("n2".into(), profile)].into(), ..view(&["n1", "n2"], true) }
}

/// n1 and n2, where n2 has told that it can announce on these interfaces by ARP.
fn able(names: &[&str]) -> View {
    let able = ByProtocol { arp: Ability::Able, ndp: Ability::Unable };
    let abilities = Abilities::Known(names.iter().map(|name| ((*name).into(), able)).collect());
    let profile = NodeProfile { macs: [THEIRS.0].into(), abilities, ..NodeProfile::default() };
    n2_tells(crate::peers::profile(&profile))
}

/// Our own station and these, where n2 is listed.
fn known(others: &[(MacAddr, Contact)], unknown: usize) -> KnownMacs {
    let contacts = others.iter().copied().chain([(OURS, Contact::Own)]).collect();
    KnownMacs { contacts, unknown, unseen: usize::from(others.is_empty()) }
}

fn interfaces(links: &[Link]) -> Input {
    Input::Interfaces((1..).zip(links.iter().cloned()).collect())
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
    fixture_with(Spread::ByHash, Failback::Always)
}

fn fixture_with(spread: Spread, failback: Failback) -> Fixture {
    let now = Instant::now();
    let config = Config {
        node: "n1".into(),
        exclude_label: ExcludeLabel::Honoured,
        ignore_conflicts: false,
        spread,
        failback,
    };
    let core = Core::new(config, now);
    let mut it = Fixture { core, now, ports: [].into(), statuses: BTreeMap::new(), outputs: vec![] };
    it.after(interfaces(&[link("eth0", OURS, Ok(()))]));
    it
}

/// n1 announces 192.0.2.2.
fn complete() -> Fixture {
    let mut it = fixture();
    it.all(lists());
    it.all([spoken("192.0.2.2")]);
    it
}

/// The LAN has nothing against the address.
fn spoken(vip: &str) -> Input {
    Input::Port("eth0".into(), Report::Free { vip: ip(vip) })
}

impl Fixture {
    /// Whom the ports take for peers.
    fn ordered_macs(&self) -> &KnownMacs {
        &self.ports.values().next().expect("eth0").known_macs
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
                Output::Status { service, interfaces: Some(interfaces) } => {
                    self.statuses.insert(service.clone(), interfaces.clone());
                }
                Output::Status { service, interfaces: None } => _ = self.statuses.remove(service),
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

    fn transmit_policy(&self) -> TransmitPolicy {
        self.ports.values().next().expect("eth0").transmit_policy
    }

    fn known_macs(&self) -> KnownMacs {
        (*self.ports.values().next().expect("eth0").known_macs).clone()
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
        self.statuses.keys().map(|service| service.name.to_string()).collect()
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
    let ports = it.ports.clone();
    it.all(again);
    it.outputs.retain(|output| !matches!(output, Output::Ports(same) if *same == ports));
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
fn all_statuses_are_named_before_it_is_said_that_they_are_complete_and_that_once() {
    let mut it = fixture();
    it.all(lists());
    let said = |it: &Fixture| -> Vec<Output> {
        let about = |output: &&Output| matches!(output, Output::Status { .. } | Output::StatusesComplete);
        it.outputs.iter().filter(about).cloned().collect()
    };
    assert!(said(&it).is_empty(), "the LAN is asked first");
    it.after(spoken("192.0.2.2"));
    let two = ServiceKey::new("default", "two");
    let status = Output::Status { service: two, interfaces: Some(Interfaces::All) };
    assert_eq!(said(&it), [status, Output::StatusesComplete]);
    it.all(lists());
    assert!(said(&it).is_empty());
}
