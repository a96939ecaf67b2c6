//! The objects about BGP, what of them is in force on this node, and the plan that follows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use bfd::config::Profile;
use bgp::config::{RouterId, SessionConfig};
use bgp::route::{Communities, Community, Prefix};
use objects::{BfdProfileName, BgpPeerName, Labels, SecretName};
use peering::{
    Advertisement, Announcing, CommunityNames, Faults, Objects, Peer, SecretState, Sessions, ThisNode,
};
use placement::{AdvertisementName, NodeName, Placement, ServiceKey};

use super::proxy::ANSWERS_WITHIN;
use super::{Asking, Change, Here, Need, Plan, Proxy, ProxyAnswer, Touched, View, here};
use crate::input::Changes;

/// What a speaker learns of the objects about BGP.
#[derive(Debug, Clone)]
pub enum BgpInput {
    /// Peers, or why one cannot be read.
    Peers(Changes<BgpPeerName, Result<Peer, Vec<String>>>),
    /// Advertisements, or none where one is not in force at all, each with what of it cannot be read.
    Advertisements(Changes<AdvertisementName, (Option<Advertisement>, Vec<String>)>),
    /// Names of communities, by the object that defines them.
    Communities(Changes<String, CommunityNames>),
    /// BFD profiles, or why one cannot be read.
    Profiles(Changes<BfdProfileName, Result<Profile, Vec<String>>>),
    /// A Secret that a peer names is like this now.
    Secret(SecretName, SecretState),
    /// The IPv4 address of this node, if it has one.
    NodeAddress(Option<Ipv4Addr>),
    /// What kube-proxy says of a Service.
    Proxy(ServiceKey, ProxyAnswer),
}

/// What has become different.
#[derive(Debug)]
pub(crate) enum BgpNews {
    /// The sessions of this node are these.
    Sessions(BTreeMap<BgpPeerName, SessionConfig>),
    /// These Secrets are wanted, and no others.
    Secrets(BTreeSet<SecretName>),
    /// The plan.
    Plan(Change),
    /// Whether kube-proxy is to be asked if it serves a Service here.
    AskProxy(ServiceKey, Asking),
    /// These Services are announced though kube-proxy has not said that it serves them.
    ProxyOverdue(BTreeSet<ServiceKey>),
    /// For each object of the kinds that is not in force as it stands, what is wrong.
    Faults(Faults<BgpPeerName>, Faults<AdvertisementName>),
}

/// The kinds of objects that must be known before anything is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Peers,
    Advertisements,
    Communities,
    Profiles,
}

/// Whether there are to be sessions yet. A router that has kept routes of the process before this one takes those for gone that
/// a new session does not have, so there is none before it is known what kube-proxy serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    /// At the latest then.
    By(Instant),
    Yes,
}

/// All about announcing by BGP.
#[derive(Debug)]
pub(crate) struct Bgp {
    me: NodeName,
    objects: Objects,
    missing: BTreeSet<Kind>,
    address: Option<Ipv4Addr>,
    /// Whether an object or a pool is different since [`Self::settle`].
    stale: bool,
    /// Whether there were any objects then.
    active: bool,
    /// What of this node was looked at last.
    labels: Labels,
    network: Option<placement::Network>,
    sessions: BTreeMap<BgpPeerName, SessionConfig>,
    advertisements: BTreeMap<AdvertisementName, Announcing>,
    here: Here,
    secrets: BTreeSet<SecretName>,
    proxy: Proxy,
    /// The Services that kube-proxy has just said to serve.
    answered: BTreeSet<ServiceKey>,
    begun: Begun,
    /// What is wrong with objects by themselves, and beside each other.
    faults: (Faults<BgpPeerName>, Faults<AdvertisementName>),
    plan: Plan,
}

impl Bgp {
    /// Knows of no object yet.
    pub(crate) fn new(me: NodeName) -> Self {
        Self {
            me,
            objects: Objects::default(),
            missing: [Kind::Peers, Kind::Advertisements, Kind::Communities, Kind::Profiles].into(),
            address: None,
            stale: false,
            active: false,
            labels: Labels::new(),
            network: None,
            sessions: BTreeMap::new(),
            advertisements: BTreeMap::new(),
            here: Here::new(),
            secrets: BTreeSet::new(),
            proxy: Proxy::default(),
            answered: BTreeSet::new(),
            begun: Begun::No,
            faults: Default::default(),
            plan: Plan::default(),
        }
    }

    /// Knows all objects that there are, and presumes that kube-proxy serves whatever has endpoints.
    pub(crate) fn knowing(me: NodeName, objects: Objects) -> Self {
        let (missing, proxy, begun) = (BTreeSet::new(), Proxy::presumed(), Begun::Yes);
        Self { objects, missing, proxy, begun, ..Self::new(me) }
    }

    /// Works out what follows from what it knows.
    pub(crate) fn foretell(&mut self, placement: &Placement) -> Vec<BgpNews> {
        let mut news = self.read(placement);
        self.follow(placement, &Touched::Everything, &mut news);
        news
    }

    /// Takes something in.
    pub(crate) fn handle(&mut self, input: BgpInput) {
        match input {
            BgpInput::NodeAddress(address) if address == self.address => return,
            BgpInput::Proxy(..) => {}
            _ => self.stale = true,
        }
        match input {
            BgpInput::Peers(changes) => {
                self.complete(changes.complete, Kind::Peers);
                apply(&mut self.objects.peers, changes);
            }
            BgpInput::Advertisements(changes) => {
                self.complete(changes.complete, Kind::Advertisements);
                apply(&mut self.objects.advertisements, changes);
            }
            BgpInput::Communities(changes) => {
                self.complete(changes.complete, Kind::Communities);
                apply(&mut self.objects.communities, changes);
            }
            BgpInput::Profiles(changes) => {
                self.complete(changes.complete, Kind::Profiles);
                apply(&mut self.objects.profiles, changes);
            }
            BgpInput::Secret(name, state) => {
                let before = self.objects.secrets.remove(&name);
                self.objects.secrets.insert(name, state.after(before));
            }
            BgpInput::NodeAddress(address) => self.address = address,
            BgpInput::Proxy(service, answer) => {
                if self.proxy.answered(&service, answer) {
                    self.answered.insert(service);
                }
            }
        }
    }

    fn complete(&mut self, complete: bool, kind: Kind) {
        if complete {
            self.missing.remove(&kind);
        }
    }

    /// The pools are different, or it is not known which Services are.
    pub(crate) fn look_again(&mut self) {
        self.stale = true;
    }

    /// Whether all is known that says which Services are announced to which peers.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && !self.stale
            && (self.begun == Begun::Yes || self.is_idle())
            && self.secrets.iter().all(|it| self.objects.secrets.contains_key(it))
    }

    /// Whether nobody asks for BGP, or did when that was looked at last.
    fn is_idle(&self) -> bool {
        self.objects.peers.is_empty() && self.objects.advertisements.is_empty() && !self.active
    }

    /// When to call [`Self::settle`], if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let begin = match self.begun {
            Begun::By(latest) => Some(latest),
            Begun::No | Begun::Yes => None,
        };
        [self.proxy.deadline(), begin].into_iter().flatten().min()
    }

    /// Works out what follows, where these Services or their endpoints may have changed.
    pub(crate) fn settle(
        &mut self,
        placement: &Placement,
        services: &BTreeSet<ServiceKey>,
        now: Instant,
    ) -> Vec<BgpNews> {
        if !self.missing.is_empty() {
            return vec![];
        }
        if self.is_idle() {
            self.stale = false;
            return vec![];
        }
        let mut news = Vec::new();
        let overdue = self.proxy.poll(now);
        let mut services = services.clone();
        services.append(&mut self.answered);
        services.extend(overdue.iter().cloned());
        if !overdue.is_empty() {
            news.push(BgpNews::ProxyOverdue(overdue));
        }
        self.settle_for(placement, services, now, &mut news);
        if self.is_to_begin(now) {
            self.begun = Begun::Yes;
            self.stale = true;
            self.settle_for(placement, BTreeSet::new(), now, &mut news);
        }
        news
    }

    /// Whether sessions are to be from now on.
    fn is_to_begin(&mut self, now: Instant) -> bool {
        match self.begun {
            Begun::Yes => false,
            Begun::No | Begun::By(_) if !self.proxy.is_asked() => true,
            Begun::No => {
                self.begun = Begun::By(now + ANSWERS_WITHIN);
                false
            }
            Begun::By(latest) => latest <= now,
        }
    }

    /// The same, once it is known what is to be looked at.
    fn settle_for(
        &mut self,
        placement: &Placement,
        services: BTreeSet<ServiceKey>,
        now: Instant,
        news: &mut Vec<BgpNews>,
    ) {
        let touched = if std::mem::take(&mut self.stale) || !self.is_same_node(placement) {
            news.extend(self.read(placement));
            Touched::Everything
        } else if services.is_empty() {
            return;
        } else {
            Touched::Services(services)
        };
        for (service, need) in self.follow(placement, &touched, news) {
            let ask = self.proxy.follow(&service, need, now);
            news.extend(ask.map(|asking| BgpNews::AskProxy(service, asking)));
        }
    }

    /// Brings the plan up to date. What is to be known of kube-proxy from now on.
    fn follow(
        &mut self,
        placement: &Placement,
        touched: &Touched,
        news: &mut Vec<BgpNews>,
    ) -> Vec<(ServiceKey, Need)> {
        let Self { me, sessions, advertisements, here, proxy, plan, .. } = self;
        let view = View { me, placement, advertisements, here, sessions, proxy };
        let (cut, overruled) = (plan.cut(), plan.overruled());
        news.extend(plan.follow(view, touched).into_iter().map(BgpNews::Plan));
        let needs = plan.needs(view, touched);
        if *touched == Touched::Everything || plan.cut() != cut || plan.overruled() != overruled {
            news.push(self.told_faults());
        }
        needs
    }

    /// All that is wrong, with what shows in the plan only.
    fn told_faults(&self) -> BgpNews {
        let (of_peers, mut of_advertisements) = self.faults.clone();
        let most = Communities::<Community>::MOST;
        for (name, others) in self.plan.cut() {
            of_advertisements.entry(name).or_default().push(format!(
                "spec.communities: together with those of BGPAdvertisement {}, which announces the same prefixes, there are more than {most} of a sort: the greatest are left out",
                objects::text::listed(&others)
            ));
        }
        for (name, older) in self.plan.overruled() {
            let Some(older) = self.advertisements.get(&older) else { continue };
            let (faults, fault) = (of_advertisements.entry(name).or_default(), older.overrules());
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        BgpNews::Faults(of_peers, of_advertisements)
    }

    fn is_same_node(&self, placement: &Placement) -> bool {
        let node = placement.node(&self.me);
        node.map(|it| it.network) == self.network && node.is_none_or(|it| it.labels == self.labels)
    }

    /// Works out which objects are in force.
    fn read(&mut self, placement: &Placement) -> Vec<BgpNews> {
        let node = placement.node(&self.me);
        self.network = node.map(|it| it.network);
        self.labels = node.map(|it| it.labels.clone()).unwrap_or_default();
        self.active = !self.objects.peers.is_empty() || !self.objects.advertisements.is_empty();
        let mut news = Vec::new();
        let wanted = self.objects.wanted_secrets();
        self.objects.secrets.retain(|name, _| wanted.contains(name));
        if self.secrets != wanted {
            self.secrets.clone_from(&wanted);
            news.push(BgpNews::Secrets(wanted));
        }
        let this_node = ThisNode { labels: &self.labels, router_id: router_id(self.address, &self.me) };
        // Without its labels, nobody knows which peers are for this node.
        let Sessions { mut sessions, pending, faults } =
            if node.is_some() { self.objects.sessions(this_node) } else { Sessions::default() };
        // Who is given a password goes on without until that is known.
        let going_on = self.sessions.iter().filter(|(name, _)| pending.contains(*name));
        sessions.extend(going_on.map(|(name, session)| (name.clone(), session.clone())));
        let (advertisements, of_advertisements) = self.objects.advertisements(placement.pools());
        self.faults = (faults, of_advertisements);
        self.here = here(&self.me, placement, &advertisements);
        self.advertisements = advertisements;
        if self.begun == Begun::Yes && self.sessions != sessions {
            self.sessions = sessions.clone();
            news.push(BgpNews::Sessions(sessions));
        }
        news
    }

    /// Whether an advertisement is for a Service, from whichever node.
    pub(crate) fn concerns(&self, placement: &Placement, key: &ServiceKey) -> bool {
        let Some(service) = placement.service(key) else { return false };
        let pool = placement.pools().pool_of(&service.vips, service.recorded_pool.as_ref());
        pool.is_some_and(|pool| {
            let mut all = self.advertisements.values();
            all.any(|it| it.covers(pool) && it.scope.selects_service(&service.labels))
        })
    }

    /// What there is to tell whoever asks, but for how the sessions are doing.
    pub(crate) fn told(&self) -> introspection::Bgp {
        self.plan.describe()
    }

    /// How many entries there are to [pack](Self::pack).
    pub(crate) fn entries(&self) -> usize {
        self.plan.entries()
    }

    /// Takes no more memory than it needs, once thousands of Services have come.
    pub(crate) fn pack(&mut self) {
        self.plan.pack();
    }

    /// What each peer is to have, and why not.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The Services for which a peer is told of a prefix.
    pub(crate) fn users(&self, peer: &BgpPeerName, prefix: Prefix) -> BTreeSet<ServiceKey> {
        let is_for = |name: &AdvertisementName| {
            self.advertisements.get(name).is_some_and(|advertisement| advertisement.is_for_peer(peer))
        };
        let by = self.plan.users(prefix).filter(|(name, _)| is_for(name));
        by.map(|(_, service)| service.clone()).collect()
    }

    /// The peers that are told of a Service, or why this node does not announce it.
    #[cfg(test)]
    pub(crate) fn outcome(
        &self,
        service: &ServiceKey,
    ) -> Option<Result<BTreeSet<BgpPeerName>, super::NotAnnounced>> {
        self.plan.outcome(service)
    }
}

fn apply<K: Ord, V>(map: &mut BTreeMap<K, V>, changes: Changes<K, V>) {
    for (key, value) in changes.each {
        match value {
            Some(value) => _ = map.insert(key, value),
            None => _ = map.remove(&key),
        }
    }
}

/// The BGP identifier of a node: its IPv4 address, and where it has none, a number that its name always gives (FNV-1a). One that
/// could be the address of a host: older routers take no other (RFC 6286 allows all).
fn router_id(address: Option<Ipv4Addr>, node: &NodeName) -> RouterId {
    let hash = || {
        let bytes = node.as_str().bytes();
        let hash =
            bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let [first, others @ ..] = hash.to_be_bytes();
        let first = match first % 223 + 1 {
            127 => 128,
            first => first,
        };
        Ipv4Addr::from_bits(u32::from_be_bytes([first, others[0], others[1], others[2]]))
    };
    let id = address.and_then(|address| RouterId::try_from(address).ok());
    id.unwrap_or_else(|| RouterId::try_from(hash()).expect("its first octet is not 0"))
}

#[cfg(test)]
mod tests;
