//! Which prefixes each peer of this node is to have, and with which attributes.
//!
//! ```text
//! Service -> (prefix, advertisement) pairs, or why there are none          judge
//! prefix  -> the advertisements it is announced by, with their Services    users
//! peer    -> prefix -> attributes, united over these advertisements        routes
//! ```
//!
//! A change of a Service costs its prefixes; one of the advertisements, pools or the node all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use bgp::config::{Families, SessionConfig};
use bgp::route::{Attributes, Communities, Community, LinkBandwidth, LocalPreference, Prefix, Routes};
use introspection::{BgpRoute, BgpUnannounced};
use objects::{BgpPeerName, Few, pack};
use peering::{Announcing, Share};
use placement::{
    AdvertisementName, EXCLUDE_LABEL, Network, NodeName, Placement, PoolName, ServiceKey, TrafficPolicy,
};
use pools::Pool;

use super::{Need, Proxy};

/// Why this node does not announce a Service by BGP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotAnnounced {
    /// No advertisement of its pool selects this node.
    NotOwner,
    /// No advertisement that selects this node selects the Service.
    NoMatchingAdvertisement,
    /// The condition `NetworkUnavailable` of this node is true.
    NodeNetworkUnavailable,
    /// This node carries the label [`EXCLUDE_LABEL`].
    NodeLabeledExcludeBalancers,
    /// No endpoint serves on this node, which the policy Local asks for.
    NoLocalEndpoints,
    /// No endpoint serves.
    NoEndpoints,
    /// Endpoints serve on this node, as the policy Local asks for, but kube-proxy does not pass traffic to them yet.
    KubeProxyNotReady,
}

impl NotAnnounced {
    /// One word for it, as upstream has it; of kube-proxy, upstream has nothing.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotOwner => "notOwner",
            Self::NoMatchingAdvertisement => "noMatchingAdvertisement",
            Self::NodeNetworkUnavailable => "nodeNetworkUnavailable",
            Self::NodeLabeledExcludeBalancers => "nodeLabeledExcludeBalancers",
            Self::NoLocalEndpoints => "noLocalEndpoints",
            Self::NoEndpoints => "noEndpoints",
            Self::KubeProxyNotReady => "kubeProxyNotReady",
        }
    }
}

/// What the plan is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// This node.
    pub(crate) me: &'a NodeName,
    /// What is known of the cluster.
    pub(crate) placement: &'a Placement,
    /// The advertisements in force.
    pub(crate) advertisements: &'a BTreeMap<AdvertisementName, Announcing>,
    /// Those of them that are for a pool and this node, see [`here`].
    pub(crate) here: &'a Here,
    /// The sessions of this node.
    pub(crate) sessions: &'a BTreeMap<BgpPeerName, SessionConfig>,
    /// What is known of kube-proxy.
    pub(crate) proxy: &'a Proxy,
}

/// The advertisements that are for the addresses of a pool and select this node, by pool: no Service need look at the others.
pub(crate) type Here = BTreeMap<PoolName, Vec<AdvertisementName>>;

/// Works that out.
pub(crate) fn here(
    me: &NodeName,
    placement: &Placement,
    advertisements: &BTreeMap<AdvertisementName, Announcing>,
) -> Here {
    let Some(node) = placement.node(me) else { return Here::new() };
    let selecting = || advertisements.iter().filter(|(_, it)| it.scope.selects_node(&node.labels));
    let of_pool = |pool: &Pool| {
        let covering = selecting().filter(|(_, it)| it.covers(pool)).map(|(name, _)| name.clone());
        (pool.name.clone(), covering.collect())
    };
    placement.pools().iter().map(of_pool).collect()
}

/// What may be different since the plan was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These Services and their endpoints.
    Services(BTreeSet<ServiceKey>),
    /// Anything.
    Everything,
}

/// What the plan has become different by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// What a peer is told.
    Routes(BgpPeerName, Arc<Routes>),
    /// To whom a Service is announced, and was before.
    Service { service: ServiceKey, before: Told, now: Told },
}

/// To whom a Service is announced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The peers that are told of it; none where it is not announced. Most Services have them in common.
    pub peers: Arc<BTreeSet<BgpPeerName>>,
    /// The addresses of it that any of them is told of.
    pub vips: Few<IpAddr>,
}

/// By which advertisements a Service is announced, with which prefixes.
type Announced = Few<(Prefix, AdvertisementName)>;

/// A prefix, an advertisement that it is announced by, and a Service for which it is. There are thousands, and most prefixes have
/// one: in one set they take little.
type User = (Prefix, AdvertisementName, ServiceKey);

/// Advertisements that are left out, each with the older one that asks for another preference.
pub(crate) type Overruled = BTreeSet<(AdvertisementName, AdvertisementName)>;

/// Which prefixes each peer of this node is to have, and why a Service has none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    services: BTreeMap<ServiceKey, Result<Announced, NotAnnounced>>,
    users: BTreeSet<User>,
    /// Shared by peers that are told the same.
    routes: BTreeMap<BgpPeerName, Arc<Routes>>,
    /// Services that are announced for endpoints which are about to go: routers are to use others while they can.
    leaving: BTreeSet<ServiceKey>,
    /// To whom a Service is announced, where it is.
    told: BTreeMap<ServiceKey, Told>,
    /// Advertisements of one prefix that have more communities together than a route may have.
    cut: BTreeSet<Vec<AdvertisementName>>,
    /// For a peer and a prefix, the advertisements that are left out.
    overruled: BTreeMap<(BgpPeerName, Prefix), Overruled>,
}

/// Peers that are told the same, whatever becomes of it.
struct Alike<'a> {
    families: Families,
    /// The advertisements that are for them.
    advertisements: Vec<&'a AdvertisementName>,
    /// What they are told; none before that was worked out for the first time.
    told: Option<Arc<Routes>>,
    peers: Vec<&'a BgpPeerName>,
}

/// What is told, and to whom.
type Audience = (Arc<Routes>, Arc<BTreeSet<BgpPeerName>>);

/// What attributes are made of.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Made {
    /// The advertisements that they are united from.
    by: Vec<AdvertisementName>,
    /// Whether the routes are about to go.
    leaving: bool,
    /// The share that is asked for.
    bandwidth: Option<LinkBandwidth>,
}

/// Attributes by what they are made of, so that routes share them.
#[derive(Default)]
struct Shared {
    united: BTreeMap<Made, Arc<Attributes>>,
    cut: BTreeSet<Vec<AdvertisementName>>,
    /// Of the prefix that was looked at last.
    overruled: Overruled,
}

impl Plan {
    /// What each peer is to have.
    pub(crate) fn routes(&self) -> &BTreeMap<BgpPeerName, Arc<Routes>> {
        &self.routes
    }

    /// The advertisements by which a prefix is announced, with the Services that have addresses in it.
    pub(crate) fn users(&self, prefix: Prefix) -> impl Iterator<Item = (&AdvertisementName, &ServiceKey)> {
        let first = (prefix, AdvertisementName::from(""), ServiceKey::new("", ""));
        let of_prefix = self.users.range(first..).take_while(move |(of, ..)| *of == prefix);
        of_prefix.map(|(_, name, service)| (name, service))
    }

    /// To whom each Service is announced, or why it is not.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (ServiceKey, Result<Told, NotAnnounced>)> {
        self.services.iter().map(|(service, announced)| {
            let told = || self.told.get(service).cloned().unwrap_or_default();
            (service.clone(), announced.as_ref().map(|_| told()).map_err(|why| *why))
        })
    }

    /// The peers that are told of a Service; why there are none, where that does not lie with the peers. `None` for a Service
    /// that is not known, or as long as there are no advertisements.
    #[cfg(test)]
    pub(crate) fn outcome(
        &self,
        service: &ServiceKey,
    ) -> Option<Result<BTreeSet<BgpPeerName>, NotAnnounced>> {
        let announced = self.services.get(service)?;
        let peers = || self.told.get(service).map(|told| (*told.peers).clone()).unwrap_or_default();
        Some(announced.as_ref().map(|_| peers()).map_err(|why| *why))
    }

    /// What is to be known of kube-proxy for each of these Services.
    pub(crate) fn needs(&self, view: View<'_>, touched: &Touched) -> Vec<(ServiceKey, Need)> {
        let need = |service: &ServiceKey| (service.clone(), view.need(service, self.services.get(service)));
        match touched {
            Touched::Services(services) => services.iter().map(need).collect(),
            Touched::Everything => view.proxy.services().chain(self.services.keys()).map(need).collect(),
        }
    }

    /// For each advertisement of which communities are left out, the others of the same prefix.
    pub(crate) fn cut(&self) -> BTreeMap<AdvertisementName, BTreeSet<AdvertisementName>> {
        let mut with: BTreeMap<AdvertisementName, BTreeSet<AdvertisementName>> = BTreeMap::new();
        for names in &self.cut {
            for name in names {
                let others = names.iter().filter(|other| *other != name).cloned();
                with.entry(name.clone()).or_default().extend(others);
            }
        }
        with
    }

    /// Each advertisement that is left out somewhere, with an older one that stands in its way.
    pub(crate) fn overruled(&self) -> Overruled {
        self.overruled.values().flatten().cloned().collect()
    }

    /// In words: what each peer is to have, and which Services are not announced.
    pub(crate) fn describe(&self) -> introspection::Bgp {
        let mut routes: BTreeMap<(Prefix, &Attributes), Vec<String>> = BTreeMap::new();
        for (peer, of_peer) in &self.routes {
            for (prefix, attributes) in &**of_peer {
                routes.entry((*prefix, attributes)).or_default().push(peer.to_string());
            }
        }
        let route = |((prefix, attributes), peers): ((Prefix, &Attributes), Vec<String>)| {
            let services: BTreeSet<&ServiceKey> = self.users(prefix).map(|(_, service)| service).collect();
            let standard = attributes.communities.iter().map(|it| it.to_string());
            let large = attributes.large_communities.iter().map(|it| it.to_string());
            BgpRoute {
                prefix: prefix.to_string(),
                services: services.into_iter().map(ToString::to_string).collect(),
                peers,
                local_preference: attributes.local_preference.0,
                communities: standard.chain(large).collect(),
                as_path_prepend: attributes.prepend.times(),
                endpoints: attributes.link_bandwidth.map(LinkBandwidth::megabits),
            }
        };
        let unannounced = self.services.iter().filter_map(|(service, announced)| {
            let reason = announced.as_ref().err()?.as_str().to_owned();
            Some(BgpUnannounced { service: service.to_string(), reason })
        });
        introspection::Bgp {
            routes: routes.into_iter().map(route).collect(),
            unannounced: unannounced.collect(),
            ..introspection::Bgp::default()
        }
    }

    /// Brings the plan up to date.
    pub(crate) fn follow(&mut self, view: View<'_>, touched: &Touched) -> Vec<Change> {
        let mut prefixes = BTreeSet::new();
        let services = match touched {
            // Nobody asked for BGP: nothing is to be kept.
            _ if view.advertisements.is_empty() => self.services.keys().cloned().collect(),
            Touched::Services(services) => services.clone(),
            Touched::Everything => {
                let known = view.placement.services().map(|service| service.key.clone());
                known.chain(self.services.keys().cloned()).collect()
            }
        };
        for service in &services {
            self.announce(service, view.judge(service), &mut prefixes);
            prefixes.extend(self.shared_by_endpoints(view, service));
            self.stay_or_leave(service, view.is_leaving(service), &mut prefixes);
        }
        if *touched == Touched::Everything {
            prefixes.extend(self.users.iter().map(|(prefix, ..)| *prefix));
        }
        let mut changes = self.tell(view, touched, &prefixes);
        let affected =
            prefixes.iter().flat_map(|prefix| self.users(*prefix)).map(|(_, service)| service.clone());
        let audiences = self.audiences();
        let mut last =
            self.told.first_key_value().map(|(_, told)| Arc::clone(&told.peers)).unwrap_or_default();
        for service in affected.chain(services).collect::<BTreeSet<_>>() {
            changes.extend(self.assign(view, service, &audiences, &mut last));
        }
        changes
    }

    /// How many entries there are to [pack](Self::pack).
    pub(crate) fn entries(&self) -> usize {
        self.services.len()
    }

    /// Takes no more memory than it needs, once thousands of Services have come.
    pub(crate) fn pack(&mut self) {
        pack(&mut self.services);
        pack(&mut self.told);
        self.users = std::mem::take(&mut self.users).into_iter().collect();
    }

    /// The prefixes of a Service about which routers are told how many endpoints it has here.
    fn shared_by_endpoints(&self, view: View<'_>, service: &ServiceKey) -> impl Iterator<Item = Prefix> {
        let announced = self.services.get(service).and_then(|it| it.as_ref().ok()).into_iter().flatten();
        announced.filter(move |(_, by)| view.is_shared_by_endpoints(by)).map(|(prefix, _)| *prefix)
    }

    /// Brings what a Service is announced with up to date, and collects the prefixes that this touches.
    fn announce(
        &mut self,
        service: &ServiceKey,
        now: Option<Result<Announced, NotAnnounced>>,
        prefixes: &mut BTreeSet<Prefix>,
    ) {
        let nothing = Announced::default();
        let before = self.services.remove(service);
        let of = |it: &Option<Result<Announced, _>>| it.as_ref().and_then(|it| it.as_ref().ok()).cloned();
        let (had, has) = (of(&before).unwrap_or_default(), of(&now).unwrap_or(nothing));
        for it in had.iter().filter(|it| !has.contains(it)) {
            let (prefix, advertisement) = it.clone();
            prefixes.insert(prefix);
            self.users.remove(&(prefix, advertisement, service.clone()));
        }
        for it in has.iter().filter(|it| !had.contains(it)) {
            let (prefix, advertisement) = it.clone();
            prefixes.insert(prefix);
            self.users.insert((prefix, advertisement, service.clone()));
        }
        if let Some(now) = now {
            self.services.insert(service.clone(), now);
        }
    }

    /// Takes in whether a Service is announced for endpoints that are about to go, and collects the prefixes that this touches.
    fn stay_or_leave(&mut self, service: &ServiceKey, leaving: bool, prefixes: &mut BTreeSet<Prefix>) {
        let announced = self.services.get(service).and_then(|it| it.as_ref().ok());
        let different = if leaving && announced.is_some() {
            self.leaving.insert(service.clone())
        } else {
            self.leaving.remove(service)
        };
        if different {
            prefixes.extend(announced.into_iter().flatten().map(|(prefix, _)| *prefix));
        }
    }

    /// Brings the routes of these prefixes up to date, once for all peers that are told the same.
    fn tell(&mut self, view: View<'_>, touched: &Touched, prefixes: &BTreeSet<Prefix>) -> Vec<Change> {
        let mut shared = Shared::default();
        let mut changes = Vec::new();
        self.overruled.retain(|(peer, _), _| view.sessions.contains_key(peer));
        self.routes.retain(|peer, _| view.sessions.contains_key(peer));
        for Alike { families, told, peers, .. } in self.alike(view) {
            let Some(first) = peers.first() else { continue };
            let before = told.unwrap_or_default();
            let mut different = BTreeMap::new();
            let gone: Vec<Prefix> = match touched {
                Touched::Everything => {
                    before.keys().filter(|prefix| !prefixes.contains(prefix)).copied().collect()
                }
                Touched::Services(_) => vec![],
            };
            for prefix in prefixes.iter().copied().chain(gone) {
                let exchanged = families.contain(prefix.family());
                let by: Vec<_> = self.users(prefix).filter(|_| exchanged).collect();
                let leaving = by.iter().all(|(_, service)| self.leaving.contains(*service));
                let attributes = view.attributes(first, &by, leaving, &mut shared);
                let overruled = std::mem::take(&mut shared.overruled);
                if !overruled.is_empty() {
                    let of_peers = peers.iter().map(|peer| (((*peer).clone(), prefix), overruled.clone()));
                    self.overruled.extend(of_peers);
                } else if !self.overruled.is_empty() {
                    peers.iter().for_each(|peer| _ = self.overruled.remove(&((*peer).clone(), prefix)));
                }
                if before.get(&prefix) != attributes.as_ref() {
                    different.insert(prefix, attributes);
                }
            }
            let routes = if different.is_empty() {
                before
            } else {
                let now = with(&before, &different);
                let now = self.routes.values().find(|it| **it == now).map_or(now, Arc::clone);
                let of_peers = peers.iter().map(|peer| Change::Routes((*peer).clone(), Arc::clone(&now)));
                changes.extend(of_peers);
                now
            };
            self.routes.extend(peers.into_iter().map(|peer| (peer.clone(), Arc::clone(&routes))));
        }
        if *touched == Touched::Everything {
            self.cut.clear();
        }
        self.cut.extend(shared.cut);
        changes
    }

    /// The sessions, together where peers are told the same.
    fn alike<'a>(&self, view: View<'a>) -> Vec<Alike<'a>> {
        let mut all: Vec<Alike<'a>> = Vec::new();
        for (peer, session) in view.sessions {
            let families = session.families;
            let for_peer = view.advertisements.iter().filter(|(_, it)| it.is_for_peer(peer));
            let advertisements: Vec<_> = for_peer.map(|(name, _)| name).collect();
            let told = self.routes.get(peer);
            let known = all.iter_mut().find(|it| {
                it.families == families
                    && it.told.as_ref().map(Arc::as_ptr) == told.map(Arc::as_ptr)
                    && it.advertisements == advertisements
            });
            match known {
                Some(known) => known.peers.push(peer),
                None => all.push(Alike { families, advertisements, told: told.cloned(), peers: vec![peer] }),
            }
        }
        all
    }

    /// What is told, with the peers that it is told to.
    fn audiences(&self) -> Vec<Audience> {
        let mut all: Vec<(&Arc<Routes>, BTreeSet<BgpPeerName>)> = Vec::new();
        for (peer, routes) in &self.routes {
            match all.iter_mut().find(|(known, _)| Arc::ptr_eq(known, routes)) {
                Some((_, peers)) => _ = peers.insert(peer.clone()),
                None => all.push((routes, [peer.clone()].into())),
            }
        }
        all.into_iter().map(|(routes, peers)| (Arc::clone(routes), Arc::new(peers))).collect()
    }

    /// Brings up to date to whom a Service is announced. Those of the one before are in `last`: most Services share them.
    fn assign(
        &mut self,
        view: View<'_>,
        service: ServiceKey,
        audiences: &[Audience],
        last: &mut Arc<BTreeSet<BgpPeerName>>,
    ) -> Option<Change> {
        let announced = self.services.get(&service).and_then(|it| it.as_ref().ok());
        let prefixes = || announced.into_iter().flatten().map(|(prefix, _)| prefix);
        let mut telling = audiences.iter().filter(|(told, _)| prefixes().any(|it| told.contains_key(it)));
        let peers = telling.next().map(|(_, peers)| Arc::clone(peers)).unwrap_or_default();
        let peers = telling.fold(peers, |all, (_, peers)| Arc::new(all.union(peers).cloned().collect()));
        let is_told = |vip: &IpAddr| {
            let mut containing = prefixes().filter(|prefix| prefix.contains(*vip));
            containing.any(|prefix| audiences.iter().any(|(told, _)| told.contains_key(prefix)))
        };
        let vips = view.placement.service(&service).into_iter().flat_map(|it| &it.vips).copied();
        let vips = vips.filter(is_told).collect();
        let before = self.told.get(&service);
        let known = before.map(|it| &it.peers).into_iter().chain([&*last]).find(|known| **known == peers);
        let peers = known.cloned().unwrap_or(peers);
        *last = Arc::clone(&peers);
        let now = Told { peers, vips };
        if before.map_or(now.peers.is_empty(), |before| *before == now) {
            return None;
        }
        let before = if now.peers.is_empty() {
            self.told.remove(&service)
        } else {
            self.told.insert(service.clone(), now.clone())
        };
        Some(Change::Service { service, before: before.unwrap_or_default(), now })
    }
}

/// The same but for these. Built anew, so that it takes no more memory than it needs.
fn with(routes: &Routes, different: &BTreeMap<Prefix, Option<Arc<Attributes>>>) -> Arc<Routes> {
    let same = routes.iter().filter(|(prefix, _)| !different.contains_key(prefix));
    let new = different.iter().filter_map(|(prefix, it)| Some((prefix, it.as_ref()?)));
    Arc::new(same.chain(new).map(|(prefix, it)| (*prefix, Arc::clone(it))).collect())
}

impl View<'_> {
    /// What is to be known of kube-proxy for a Service that is announced or not, as the plan has it.
    fn need(&self, key: &ServiceKey, outcome: Option<&Result<Announced, NotAnnounced>>) -> Need {
        let local =
            || self.placement.service(key).is_some_and(|it| it.traffic_policy == TrafficPolicy::Local);
        match outcome {
            Some(Err(NotAnnounced::KubeProxyNotReady)) => Need::Answer,
            Some(Ok(_)) if local() => Need::Nothing,
            Some(Ok(_) | Err(_)) | None => Need::Oblivion,
        }
    }

    /// Whether a Service of policy Local is served from here by endpoints alone that terminate.
    fn is_leaving(&self, key: &ServiceKey) -> bool {
        let local = self.placement.service(key).is_some_and(|it| it.traffic_policy == TrafficPolicy::Local);
        let mut slices = self.placement.endpoints(key);
        local && !slices.any(|slice| slice.ready_on(self.me))
    }

    /// What a Service is announced with from this node, or why it is not; `None` for one that is not known. Reasons are looked
    /// for in upstream's order.
    fn judge(&self, key: &ServiceKey) -> Option<Result<Announced, NotAnnounced>> {
        if self.advertisements.is_empty() {
            return None;
        }
        let service = self.placement.service(key)?;
        let pool = self.placement.pools().pool_of(&service.vips, service.recorded_pool.as_ref());
        let node = self.placement.node(self.me);
        let (Some(pool), Some(node)) = (pool, node) else { return Some(Err(NotAnnounced::NotOwner)) };
        let here = self.here.get(&pool.name).map(Vec::as_slice).unwrap_or_default();
        if here.is_empty() {
            return Some(Err(NotAnnounced::NotOwner));
        }
        let here = here.iter().filter_map(|name| self.advertisements.get(name));
        let matching: Vec<_> = here.filter(|it| it.scope.selects_service(&service.labels)).collect();
        if matching.is_empty() {
            return Some(Err(NotAnnounced::NoMatchingAdvertisement));
        }
        let each = service.vips.iter().flat_map(|vip| matching.iter().map(move |it| (vip, *it)));
        let announced = each.map(|(vip, it)| (it.prefix(*vip), it.scope.name.clone()));
        if node.network == Network::Unavailable {
            return Some(Err(NotAnnounced::NodeNetworkUnavailable));
        }
        if !self.placement.ignores_exclude_label() && node.labels.contains_key(EXCLUDE_LABEL) {
            return Some(Err(NotAnnounced::NodeLabeledExcludeBalancers));
        }
        let local = service.traffic_policy == TrafficPolicy::Local;
        if local && !self.placement.endpoints(key).any(|slice| slice.on(self.me)) {
            return Some(Err(NotAnnounced::NoLocalEndpoints));
        }
        if !self.placement.endpoints(key).any(placement::Endpoints::anywhere) {
            return Some(Err(NotAnnounced::NoEndpoints));
        }
        // It has known endpoints that terminate for long.
        if local && !self.is_leaving(key) && !self.proxy.serves(key) {
            return Some(Err(NotAnnounced::KubeProxyNotReady));
        }
        Some(Ok(announced.collect()))
    }

    /// What a peer is told of a prefix that is announced by these advertisements, and may be about to go; `None` where none is
    /// for the peer. The oldest says which local preference it has: those that ask for another one are left out, so that nothing
    /// moves that is announced when another one is made.
    fn attributes(
        &self,
        peer: &BgpPeerName,
        by: &[(&AdvertisementName, &ServiceKey)],
        leaving: bool,
        shared: &mut Shared,
    ) -> Option<Arc<Attributes>> {
        let for_peer = || {
            let mut last = None;
            let names =
                by.iter().map(|(name, _)| *name).filter(move |name| last.replace(*name) != Some(*name));
            names.filter_map(|name| self.advertisements.get(name)).filter(|it| it.is_for_peer(peer))
        };
        let oldest = for_peer().min_by_key(|it| it.age())?;
        let (overruled, ruled): (Vec<_>, Vec<_>) = for_peer().partition(|it| it.is_overruled_by(oldest));
        let name = |it: &Announcing| it.scope.name.clone();
        shared.overruled = overruled.into_iter().map(|it| (name(it), name(oldest))).collect();
        let names: Vec<_> = ruled.into_iter().map(name).collect();
        let told = names.iter().any(|name| self.is_shared_by_endpoints(name));
        let served = || by.iter().filter(|(name, _)| names.contains(name)).map(|(_, service)| *service);
        let bandwidth = told.then(|| self.bandwidth(served()));
        let bandwidth = bandwidth.flatten();
        let Shared { united, cut, .. } = shared;
        let made = Made { by: names, leaving, bandwidth };
        let united = united.entry(made).or_insert_with_key(|Made { by: names, .. }| {
            let all = names.iter().filter_map(|name| self.advertisements.get(name));
            let (attributes, whole) = unite(all.map(|it| &it.attributes));
            if !whole {
                cut.insert(names.clone());
            }
            let attributes = Attributes { link_bandwidth: bandwidth, ..attributes };
            Arc::new(if leaving { left(&attributes) } else { attributes })
        });
        Some(Arc::clone(united))
    }

    fn is_shared_by_endpoints(&self, by: &AdvertisementName) -> bool {
        self.advertisements.get(by).is_some_and(|it| it.share == Share::ByEndpoints)
    }

    /// A megabit a second for each endpoint that serves on this node. Where a Service is reached through every node alike, nodes
    /// are not to be told apart.
    fn bandwidth<'a>(&self, services: impl Iterator<Item = &'a ServiceKey>) -> Option<LinkBandwidth> {
        let mut count = 0;
        for service in services.collect::<BTreeSet<_>>() {
            match self.placement.service(service)?.traffic_policy {
                TrafficPolicy::Local => {
                    count += self.placement.endpoints(service).map(|it| it.count_on(self.me)).sum::<usize>();
                }
                TrafficPolicy::Cluster => return None,
            }
        }
        let count = NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX))?;
        Some(LinkBandwidth::from_megabits(count))
    }
}

/// The same for a route that is about to go: routers are asked to use others (RFC 8326).
fn left(attributes: &Attributes) -> Attributes {
    let most = Communities::<Community>::MOST;
    let communities = [Community::GRACEFUL_SHUTDOWN].into_iter().chain(attributes.communities.iter());
    Attributes {
        local_preference: LocalPreference(0),
        communities: Communities::new(communities.take(most)).unwrap_or_default(),
        ..attributes.clone()
    }
}

/// The communities of all, which ask for one local preference. Beyond as many communities as a route may have, the greatest are
/// left out. Whether none was.
fn unite<'a>(all: impl Iterator<Item = &'a Attributes> + Clone) -> (Attributes, bool) {
    let most = Communities::<Community>::MOST;
    let standard: BTreeSet<_> = all.clone().flat_map(|it| it.communities.iter()).collect();
    let large: BTreeSet<_> = all.clone().flat_map(|it| it.large_communities.iter()).collect();
    let whole = standard.len() <= most && large.len() <= most;
    let attributes = Attributes {
        local_preference: all.clone().map(|it| it.local_preference).max().unwrap_or_default(),
        communities: Communities::new(standard.into_iter().take(most)).unwrap_or_default(),
        large_communities: Communities::new(large.into_iter().take(most)).unwrap_or_default(),
        prepend: all.map(|it| it.prepend).max().unwrap_or_default(),
        link_bandwidth: None,
    };
    (attributes, whole)
}
