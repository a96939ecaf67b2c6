//! The rules: candidates of a Service, and the first among them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pools::Pools;
use sha2::{Digest, Sha256};

use crate::{
    Advertisement, AdvertisementName, Endpoints, Interfaces, Network, Node, NodeName, Service, Sharing,
    TrafficPolicy,
};

/// A node with this label, whatever its value, announces nothing (the label is Kubernetes' own).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What [`EXCLUDE_LABEL`] means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExcludeLabel {
    /// Nodes that carry it announce nothing.
    Honoured,
    /// It means nothing.
    Ignored,
}

/// Who announces a Service, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The one node that answers for the addresses of the Service.
    pub announcer: NodeName,
    /// On which interfaces of that node: the union over the advertisements that select it.
    pub interfaces: Interfaces,
    /// Who ranks before the announcer but is away for a moment.
    pub stands_in_for: Option<NodeName>,
}

/// Why nobody announces a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unannounced {
    /// No pool has all of its addresses.
    #[error("its addresses are in no pool")]
    NoPool,
    /// No endpoint serves.
    #[error("it has no serving endpoint")]
    NoEndpoint,
    /// No advertisement covers its pool and selects it.
    #[error("no advertisement matches its pool and its labels")]
    NoAdvertisement,
    /// Services with one address would be announced from several nodes at once.
    #[error("its address can be shared, and an advertisement of it selects by Service labels")]
    SharedYetSelected,
    /// Advertisements match, yet no node may announce it.
    #[error("no live node may announce it")]
    NoCandidate,
}

/// The nodes of `candidates`, best first: higher scores before lower ones, then by
/// `sha256(node + "#" + vip)`.
pub fn rank<'a>(
    vip: IpAddr,
    candidates: impl IntoIterator<Item = (&'a NodeName, u32)>,
) -> impl Iterator<Item = &'a NodeName> {
    let mut ranked: Vec<_> =
        candidates.into_iter().map(|(node, score)| (Reverse(score), hash(node, vip), node)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, node)| node)
}

fn hash(node: &NodeName, vip: IpAddr) -> [u8; 32] {
    Sha256::digest(format!("{node}#{vip}")).into()
}

/// What the rules look at besides the Service itself.
#[derive(Debug)]
pub(crate) struct Electorate {
    pub(crate) exclude_label: ExcludeLabel,
    pub(crate) members: BTreeSet<NodeName>,
    /// The nodes whose speaker is about to be back.
    pub(crate) away: BTreeSet<NodeName>,
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) pools: Pools,
    pub(crate) advertisements: BTreeMap<AdvertisementName, Advertisement>,
    /// Per advertisement, the nodes that may announce by it, with the score it gives them; also those that are away.
    eligible: BTreeMap<AdvertisementName, BTreeMap<NodeName, u32>>,
}

impl Electorate {
    pub(crate) fn new(exclude_label: ExcludeLabel) -> Self {
        Self {
            exclude_label,
            members: BTreeSet::new(),
            away: BTreeSet::new(),
            nodes: BTreeMap::new(),
            pools: Pools::default(),
            advertisements: BTreeMap::new(),
            eligible: BTreeMap::new(),
        }
    }

    /// Brings what is derived from members, nodes and advertisements up to date.
    pub(crate) fn refresh(&mut self) {
        let available: Vec<&Node> = self.nodes.values().filter(|node| self.is_available(node)).collect();
        let eligible = |advertisement: &Advertisement| {
            let selected = available.iter().filter(|node| advertisement.selects_node(&node.labels));
            selected.map(|node| (node.name.clone(), score(advertisement, node))).collect()
        };
        self.eligible = self.advertisements.iter().map(|(name, ad)| (name.clone(), eligible(ad))).collect();
    }

    fn is_available(&self, node: &Node) -> bool {
        let excluded = match self.exclude_label {
            ExcludeLabel::Honoured => node.labels.contains_key(EXCLUDE_LABEL),
            ExcludeLabel::Ignored => false,
        };
        let alive = self.members.contains(&node.name) || self.away.contains(&node.name);
        alive && node.network == Network::Available && !excluded
    }

    /// Who announces `service`. Wants [`Self::refresh`] called since the last change.
    pub(crate) fn elect(&self, service: &Service, endpoints: &Endpoints) -> Result<Assignment, Unannounced> {
        let first = service.vips.first().ok_or(Unannounced::NoPool)?;
        let recorded = service.recorded_pool.as_ref();
        let pool = self.pools.pool_of(&service.vips, recorded).ok_or(Unannounced::NoPool)?;
        if !endpoints.anywhere() {
            return Err(Unannounced::NoEndpoint);
        }
        let matching: Vec<&Advertisement> = self
            .advertisements
            .values()
            .filter(|ad| ad.covers(pool) && ad.selects_service(&service.labels))
            .collect();
        if matching.is_empty() {
            return Err(Unannounced::NoAdvertisement);
        }
        if service.sharing == Sharing::Shared && matching.iter().any(|ad| !ad.service_selectors.is_empty()) {
            return Err(Unannounced::SharedYetSelected);
        }

        let mut candidates: BTreeMap<&NodeName, u32> = BTreeMap::new();
        for (node, score) in matching.iter().flat_map(|ad| &self.eligible[&ad.name]) {
            if service.traffic_policy == TrafficPolicy::Cluster || endpoints.on(node) {
                let total = candidates.entry(node).or_default();
                *total = total.saturating_add(*score);
            }
        }
        let mut ranked = rank(*first, candidates).peekable();
        let absent = ranked.peek().copied().filter(|node| !self.members.contains(*node)).cloned();
        let announcer = ranked.find(|node| self.members.contains(*node)).ok_or(Unannounced::NoCandidate)?;
        let interfaces = matching
            .iter()
            .filter(|ad| self.eligible[&ad.name].contains_key(announcer))
            .map(|ad| ad.interfaces.clone())
            .reduce(|all, more| all.union(&more))
            .expect("the announcer is eligible by an advertisement");
        Ok(Assignment { announcer: announcer.clone(), interfaces, stands_in_for: absent })
    }
}

fn score(advertisement: &Advertisement, node: &Node) -> u32 {
    let matching = advertisement.preferences.iter().filter(|p| p.selector.matches(&node.labels));
    matching.fold(0, |sum, preference| sum.saturating_add(preference.weight))
}

#[cfg(test)]
mod tests {
    use objects::{Requirement, Selector};
    use pools::PoolSpec;

    use super::*;
    use crate::Preference;
    use crate::fixtures::*;

    fn ranked(vip: &str) -> Vec<String> {
        let nodes = ["node-a", "node-b", "node-c"].map(NodeName::from);
        rank(vip.parse().unwrap(), nodes.iter().map(|n| (n, 0))).map(ToString::to_string).collect()
    }

    fn electorate() -> Electorate {
        let mut it = Electorate::new(ExcludeLabel::Honoured);
        for name in ["node-a", "node-b", "node-c"] {
            it.members.insert(name.into());
            it.nodes.insert(name.into(), node(name));
        }
        it.pools = pools([pool("pool", "10.0.0.0/24")]);
        it.advertisements.insert("ad".into(), advertisement("ad"));
        it
    }

    fn announcer(it: &mut Electorate, service: &Service, endpoints: &[&str]) -> Result<String, Unannounced> {
        it.refresh();
        it.elect(service, &serving(endpoints)).map(|assignment| assignment.announcer.to_string())
    }

    fn zone(value: &str) -> Selector {
        Selector::from_iter([Requirement::equals("zone", value)])
    }

    #[test]
    fn nodes_rank_as_metallb_ranks_them() {
        assert_eq!(ranked("10.0.0.1"), ["node-b", "node-a", "node-c"]);
        assert_eq!(ranked("10.0.0.2"), ["node-b", "node-c", "node-a"]);
    }

    #[test]
    fn the_first_address_ranks_for_all_of_them() {
        let mut it = electorate();
        let mut both = pool("pool", "10.0.0.0/24");
        both.entries.push("fd00::/120".into());
        it.pools = pools([both]);
        for addresses in [["10.0.0.1", "fd00::1"], ["10.0.0.1", "fd00::2"], ["10.0.0.1", "10.0.0.9"]] {
            let dual = Service { vips: addresses.map(ip).to_vec(), ..service("dual", "10.0.0.1") };
            assert_eq!(announcer(&mut it, &dual, &["node-a"]), Ok("node-b".into()));
        }
        let v6_first =
            Service { vips: ["fd00::1", "10.0.0.1"].map(ip).to_vec(), ..service("v6", "10.0.0.1") };
        let expected = rank(ip("fd00::1"), it.nodes.keys().map(|n| (n, 0))).next().unwrap().to_string();
        assert_eq!(announcer(&mut it, &v6_first, &["node-a"]), Ok(expected));
    }

    #[test]
    fn a_node_is_no_candidate_unless_it_lives_has_a_network_and_is_not_excluded() {
        let web = service("web", "10.0.0.1");
        let first = |change: fn(&mut Electorate)| {
            let mut it = electorate();
            change(&mut it);
            announcer(&mut it, &web, &["node-a"]).unwrap()
        };
        assert_eq!(first(|_| ()), "node-b");
        assert_eq!(first(|it| assert!(it.members.remove(&"node-b".into()))), "node-a");
        assert_eq!(first(|it| assert!(it.nodes.remove(&"node-b".into()).is_some())), "node-a");
        assert_eq!(
            first(|it| it.nodes.get_mut(&"node-b".into()).unwrap().network = Network::Unavailable),
            "node-a"
        );
        let exclude = |it: &mut Electorate| {
            let labels = &mut it.nodes.get_mut(&"node-b".into()).unwrap().labels;
            labels.insert(EXCLUDE_LABEL.into(), "false".into());
        };
        assert_eq!(first(exclude), "node-a", "the value of the label does not matter");
        let mut it = electorate();
        exclude(&mut it);
        it.exclude_label = ExcludeLabel::Ignored;
        assert_eq!(announcer(&mut it, &web, &["node-a"]), Ok("node-b".into()));
    }

    #[test]
    fn a_node_that_is_away_announces_nothing_but_is_stood_in_for_wherever_it_could() {
        let mut it = electorate();
        it.members.remove(&"node-b".into());
        it.away = [NodeName::from("node-b")].into();
        let local = Service { traffic_policy: TrafficPolicy::Local, ..service("web", "10.0.0.1") };
        let mut elected = |service: &Service, endpoints: &[&str]| {
            it.refresh();
            let Assignment { announcer, stands_in_for, .. } = it.elect(service, &serving(endpoints)).unwrap();
            (announcer.to_string(), stands_in_for.map(|node| node.to_string()))
        };
        let web = service("web", "10.0.0.1");
        assert_eq!(elected(&web, &["node-a"]), ("node-a".into(), Some("node-b".into())));
        assert_eq!(elected(&local, &["node-a", "node-b"]), ("node-a".into(), Some("node-b".into())));
        assert_eq!(elected(&local, &["node-a", "node-c"]), ("node-a".into(), None));
        it.nodes.get_mut(&"node-b".into()).unwrap().network = Network::Unavailable;
        it.refresh();
        assert_eq!(it.elect(&web, &serving(&["node-a"])).unwrap().stands_in_for, None);
        it.members.clear();
        it.nodes.get_mut(&"node-b".into()).unwrap().network = Network::Available;
        it.refresh();
        assert_eq!(it.elect(&web, &serving(&["node-a"])), Err(Unannounced::NoCandidate));
    }

    #[test]
    fn cluster_wants_an_endpoint_anywhere_and_local_one_on_the_node() {
        let mut it = electorate();
        let cluster = service("web", "10.0.0.1");
        let local = Service { traffic_policy: TrafficPolicy::Local, ..cluster.clone() };
        assert_eq!(announcer(&mut it, &cluster, &[]), Err(Unannounced::NoEndpoint));
        assert_eq!(announcer(&mut it, &cluster, &["node-x"]), Ok("node-b".into()));
        assert_eq!(announcer(&mut it, &local, &[]), Err(Unannounced::NoEndpoint));
        assert_eq!(announcer(&mut it, &local, &["node-x"]), Err(Unannounced::NoCandidate));
        assert_eq!(announcer(&mut it, &local, &["node-c", "node-a"]), Ok("node-a".into()));
        it.refresh();
        let nowhere = Endpoints::from_iter([None]);
        assert_eq!(it.elect(&cluster, &nowhere).unwrap().announcer, "node-b".into());
        assert_eq!(it.elect(&local, &nowhere), Err(Unannounced::NoCandidate));
    }

    #[test]
    fn a_service_outside_every_pool_is_not_announced() {
        let mut it = electorate();
        let outside = service("web", "10.0.1.1");
        assert_eq!(announcer(&mut it, &outside, &["node-a"]), Err(Unannounced::NoPool));
        let half = Service { vips: vec![ip("10.0.0.1"), ip("10.0.1.1")], ..outside.clone() };
        assert_eq!(announcer(&mut it, &half, &["node-a"]), Err(Unannounced::NoPool));
        it.pools = pools([pool("old", "10.0.0.0/24"), pool("pool", "10.0.0.0/24")]);
        let recorded = Service { recorded_pool: Some("pool".into()), ..service("web", "10.0.0.1") };
        it.advertisements.get_mut(&"ad".into()).unwrap().pools = ["pool".into()].into();
        assert_eq!(announcer(&mut it, &recorded, &["node-a"]), Ok("node-b".into()), "its record counts");
        let none = Service { vips: vec![], ..outside };
        assert_eq!(announcer(&mut it, &none, &["node-a"]), Err(Unannounced::NoPool));
    }

    #[test]
    fn an_advertisement_picks_pools_by_name_or_by_label() {
        let web = service("web", "10.0.0.1");
        let with = |change: &dyn Fn(&mut Advertisement)| {
            let mut it = electorate();
            it.pools =
                pools([PoolSpec { labels: labels(&[("zone", "east")]), ..pool("pool", "10.0.0.0/24") }]);
            change(it.advertisements.get_mut(&"ad".into()).unwrap());
            announcer(&mut it, &web, &["node-a"])
        };
        let yes = Ok("node-b".into());
        let no = Err(Unannounced::NoAdvertisement);
        assert_eq!(with(&|ad| ad.pools = ["pool".into()].into()), yes);
        assert_eq!(with(&|ad| ad.pools = ["other".into()].into()), no);
        assert_eq!(with(&|ad| ad.pool_selectors = vec![zone("east")]), yes);
        assert_eq!(with(&|ad| ad.pool_selectors = vec![zone("west")]), no);
        assert_eq!(with(&|ad| ad.pool_selectors = vec![zone("west"), zone("east")]), yes);
        let either = |ad: &mut Advertisement| {
            ad.pools = ["other".into()].into();
            ad.pool_selectors = vec![zone("east")];
        };
        assert_eq!(with(&either), yes);
    }

    #[test]
    fn an_advertisement_picks_services_and_nodes_by_label() {
        let mut it = electorate();
        it.nodes.get_mut(&"node-c".into()).unwrap().labels = labels(&[("zone", "c")]);
        let ad = it.advertisements.get_mut(&"ad".into()).unwrap();
        ad.service_selectors = vec![zone("east")];
        ad.node_selectors = vec![zone("c")];
        let plain = service("web", "10.0.0.1");
        let east = Service { labels: labels(&[("zone", "east")]), ..plain.clone() };
        assert_eq!(announcer(&mut it, &plain, &["node-a"]), Err(Unannounced::NoAdvertisement));
        assert_eq!(announcer(&mut it, &east, &["node-a"]), Ok("node-c".into()));
        let shared = Service { sharing: Sharing::Shared, ..east };
        assert_eq!(announcer(&mut it, &shared, &["node-a"]), Err(Unannounced::SharedYetSelected));
    }

    #[test]
    fn preferences_add_up_and_come_before_the_hash() {
        let mut it = electorate();
        it.nodes.get_mut(&"node-c".into()).unwrap().labels = labels(&[("zone", "c")]);
        it.nodes.get_mut(&"node-a".into()).unwrap().labels = labels(&[("zone", "a")]);
        let prefer = |weight, value| Preference { weight, selector: zone(value) };
        it.advertisements.get_mut(&"ad".into()).unwrap().preferences = vec![prefer(30, "a"), prefer(20, "c")];
        let web = service("web", "10.0.0.1");
        assert_eq!(announcer(&mut it, &web, &["node-a"]), Ok("node-a".into()));
        let more = Advertisement { preferences: vec![prefer(20, "c")], ..advertisement("more") };
        it.advertisements.insert("more".into(), more);
        assert_eq!(announcer(&mut it, &web, &["node-a"]), Ok("node-c".into()));
    }

    #[test]
    fn interfaces_add_up_over_the_advertisements_that_select_the_announcer() {
        let mut it = electorate();
        it.nodes.get_mut(&"node-b".into()).unwrap().labels = labels(&[("zone", "b")]);
        let on = |name: &str, zone_of: Option<&str>, interfaces: &[&str]| Advertisement {
            node_selectors: zone_of.map(zone).into_iter().collect(),
            interfaces: only(interfaces),
            ..advertisement(name)
        };
        it.advertisements.clear();
        let web = service("web", "10.0.0.1");
        let interfaces = |it: &mut Electorate, ad: Advertisement| {
            it.advertisements.insert(ad.name.clone(), ad);
            it.refresh();
            it.elect(&web, &serving(&["node-a"])).unwrap().interfaces
        };
        assert_eq!(interfaces(&mut it, on("1", None, &["eth0"])), only(&["eth0"]));
        assert_eq!(interfaces(&mut it, on("2", Some("b"), &["eth1"])), only(&["eth0", "eth1"]));
        assert_eq!(interfaces(&mut it, on("3", Some("x"), &["eth2"])), only(&["eth0", "eth1"]));
        assert_eq!(interfaces(&mut it, advertisement("4")), Interfaces::All);
    }
}
