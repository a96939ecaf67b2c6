//! What becomes of each Service: its addresses, who announces them, and what is the matter.

mod doubts;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use introspection::{Address, AddressState, Claimant, SpeakerStatus};
use ipam::ServiceKey;
use jiff::Timestamp;
use placement::{Placement, Unadvertised, Unannounced};
use serde::Serialize;
use translation::Origin;

use crate::ask::Told;
use crate::predict::{Allocation, NoAddress, assignment};
use crate::remedy::{self, Advertised};
use crate::routed::{Remark, Routed, routed};
use crate::snapshot::{Routing, Snapshot, Source};

/// A host that claims an address is heard again within so many seconds, unless it is gone: hosts that talk to anybody ask
/// for their neighbours once a minute.
const CLAIM_COUNTS: u64 = 90;

/// Who announces Services, as `ServiceL2Status` objects report it.
pub(crate) type Reports = BTreeMap<ServiceKey, Vec<Report>>;

/// That a node announces a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) node: String,
    pub(crate) interfaces: Vec<String>,
    /// Since when.
    pub(crate) since: Option<Timestamp>,
}

/// How a Service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Health {
    /// Its addresses are announced, each by one node.
    Announced,
    /// It is on its way: nothing is wrong.
    Starting,
    /// Nobody who could tell can be asked.
    Unknown,
    /// It waits for an address.
    Waiting,
    /// It has an address that nobody announces.
    Silent,
    /// Another host has its address.
    Conflict,
}

impl Health {
    /// Whether somebody should do something.
    pub(crate) fn is_problem(self) -> bool {
        match self {
            Self::Announced | Self::Starting | Self::Unknown => false,
            Self::Waiting | Self::Silent | Self::Conflict => true,
        }
    }

    /// As tables show it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Starting => "starting",
            Self::Unknown => "unknown",
            Self::Waiting => "waiting",
            Self::Silent => "silent",
            Self::Conflict => "conflict",
        }
    }
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Surveyed {
    #[serde(skip)]
    pub(crate) key: Option<ServiceKey>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) health: Health,
    pub(crate) pool: Option<String>,
    pub(crate) addresses: Vec<Announced>,
    /// What is the matter, one sentence for each reason.
    pub(crate) reasons: Vec<String>,
    /// What to do about it.
    pub(crate) remedies: Vec<String>,
    /// That nobody behind it serves any of its ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unserved: Option<Warning>,
    /// What may keep some clients from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<Warning>,
}

/// What may keep clients from a Service whose addresses are announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Warning {
    pub(crate) reason: String,
    pub(crate) remedy: String,
}

/// An address of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announced {
    pub(crate) ip: IpAddr,
    pub(crate) health: Health,
    /// The node that announces it, or is to.
    pub(crate) node: Option<String>,
    pub(crate) interfaces: Vec<String>,
    /// Since when that node has announced the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// The nodes that announce it to routers, and to which.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) by_bgp: Vec<ToRouters>,
}

/// A node that announces an address to routers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToRouters {
    pub(crate) node: String,
    /// The routers that are told.
    pub(crate) routers: Vec<String>,
    /// Those that are not for want of a session.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) untold: Vec<String>,
}

/// All that is known of who announces.
pub(crate) struct Sources<'a> {
    pub(crate) placement: &'a Placement,
    pub(crate) speakers: &'a [Told],
    /// Nothing where the reports cannot be read.
    pub(crate) reports: Option<&'a Reports>,
    /// By what it is known which speakers live.
    pub(crate) source: Source,
    /// What routers are to be told, by the objects; looked for where somebody asks.
    pub(crate) routing: OnceCell<Routing>,
}

/// Looks at all Services that FerroLB serves, in order.
pub(crate) fn survey(snapshot: &Snapshot, allocation: &Allocation, sources: &Sources<'_>) -> Vec<Surveyed> {
    let shown: BTreeMap<ServiceKey, Vec<IpAddr>> = snapshot
        .services
        .iter()
        .map(|service| (translation::service_key(service), translation::Observed::read(service).ips))
        .collect();
    let objects: BTreeMap<ServiceKey, &slim::Service> =
        snapshot.services.iter().map(|service| (translation::service_key(service), service)).collect();
    let slices = doubts::Slices::of(snapshot);
    let one = |(key, fate): (&ServiceKey, &crate::predict::Fate)| {
        let ips = shown.get(key).cloned().unwrap_or_default();
        let mut it = Surveyed::new(key);
        it.pool = fate.outcome.as_ref().ok().map(|assignment| assignment.pool.to_string());
        match &fate.outcome {
            Err(why @ NoAddress::Deleting) => it.worse(Health::Starting, Some(why.to_string()), None),
            Err(why) => {
                let remedy = match (why, snapshot.node_pools) {
                    (NoAddress::Refused(_), true) => Some(remedy::of_nodes(key)),
                    _ => remedy::of_no_address(
                        why,
                        fate.by_name.as_ref(),
                        fate.request.as_ref().map(|request| request.families),
                        allocation.pools(),
                        &snapshot.elsewhere,
                    ),
                };
                it.worse(Health::Waiting, Some(why.to_string()), remedy);
            }
            Ok(assignment) if ips.is_empty() && !snapshot.controller => {
                let why = format!(
                    "it would get {}, but no controller runs that could write it",
                    list(&assignment.ips)
                );
                let remedy = "start a controller: its Deployment may be scaled to 0";
                it.worse(Health::Waiting, Some(why), Some(remedy.to_owned()));
            }
            Ok(assignment) if ips.is_empty() => {
                let why = format!(
                    "the controller is about to write {}; if it does not, see whether one leads (kubectl ferrolb status)",
                    list(&assignment.ips)
                );
                it.worse(Health::Starting, Some(why), None);
            }
            Ok(_) => {}
        }
        if let Some(why) = &fate.denied {
            it.reasons.push(format!("it keeps what it has: {why}"));
        }
        if let Some(why) = &fate.incomplete {
            it.reasons.push(format!("it would like a second address: {why}"));
        }
        for ip in ips {
            let mut announced = match fate.observed.origin {
                Origin::AddressPool => sources.look(snapshot, key, ip, &mut it),
                // Nobody announces it: the node that has it answers for it.
                Origin::NodePool => Announced {
                    ip,
                    health: Health::Announced,
                    node: allocation.reserved.get(&ip).map(ToString::to_string),
                    interfaces: vec![],
                    since: None,
                    by_bgp: vec![],
                },
            };
            announced.since = sources.since(key, &announced);
            it.addresses.push(announced);
        }
        if let Some(service) = objects.get(key).filter(|_| fate.observed.origin == Origin::AddressPool) {
            doubts::find(snapshot, &slices, service, &mut it);
        }
        it
    };
    allocation.fates.iter().map(one).collect()
}

impl Surveyed {
    /// One of which nothing is known.
    pub(crate) fn new(key: &ServiceKey) -> Self {
        Self {
            key: Some(key.clone()),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            health: Health::Announced,
            pool: None,
            addresses: vec![],
            reasons: vec![],
            remedies: vec![],
            unserved: None,
            warnings: vec![],
        }
    }

    /// Whether somebody should do something.
    pub(crate) fn is_problem(&self) -> bool {
        self.health.is_problem() || self.unserved.is_some()
    }

    /// What is the matter, or may be.
    pub(crate) fn all_reasons(&self) -> impl Iterator<Item = &str> {
        let warnings = self.unserved.iter().chain(&self.warnings).map(|warning| warning.reason.as_str());
        self.reasons.iter().map(String::as_str).chain(warnings)
    }

    /// What to do about that.
    pub(crate) fn all_remedies(&self) -> impl Iterator<Item = &str> {
        let warnings = self.unserved.iter().chain(&self.warnings).map(|warning| warning.remedy.as_str());
        self.remedies.iter().map(String::as_str).chain(warnings)
    }

    /// As `namespace/name`.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn worse(&mut self, health: Health, reason: Option<String>, remedy: Option<String>) {
        self.health = self.health.max(health);
        self.reasons.extend(reason);
        if let Some(remedy) = remedy.filter(|remedy| !self.remedies.contains(remedy)) {
            self.remedies.push(remedy);
        }
    }
}

impl Sources<'_> {
    /// Finds out who announces an address, and tells what is the matter.
    fn look(&self, snapshot: &Snapshot, key: &ServiceKey, ip: IpAddr, it: &mut Surveyed) -> Announced {
        let elected = assignment(self.placement, key, ip);
        let routed = routed(self.speakers.iter().filter_map(Told::speaker), key, ip);
        let to_routers = |it: &Routed| ToRouters {
            node: it.node.clone(),
            routers: it.told.clone(),
            untold: it.untold.iter().map(|remark| remark.peer.clone()).collect(),
        };
        let mut announced = Announced {
            ip,
            health: Health::Announced,
            node: None,
            interfaces: vec![],
            since: None,
            by_bgp: routed.iter().map(to_routers).collect(),
        };
        let told: Vec<(&SpeakerStatus, &Address)> = self.addresses(ip).collect();
        // One that announces decides; of those that do not, the one to whom it falls.
        let speaks = |state| matches!(state, AddressState::Announced | AddressState::Standby);
        let elected_node =
            elected.as_ref().and_then(|it| it.as_ref().ok()).map(|it| it.announcer.to_string());
        let best = told.iter().find(|(_, address)| speaks(address.state)).or_else(|| {
            let of_elected = told.iter().find(|(speaker, _)| Some(&speaker.node) == elected_node.as_ref());
            of_elected.or(told.first())
        });
        if let Some((speaker, address)) = best {
            announced.node = Some(speaker.node.clone());
            announced.interfaces.clone_from(&address.interfaces);
            let health = health_of(address.state);
            announced.health = health;
            if health == Health::Announced
                && !address.conflicts.is_empty()
                && address.conflicts.iter().all(is_past)
            {
                it.warnings.push(Warning {
                    reason: told_of(speaker, address),
                    remedy: format!("kubectl ferrolb trace {ip} asks the LAN who has it now"),
                });
            } else if !speaks(address.state) || !address.conflicts.is_empty() {
                let conflict = !address.conflicts.is_empty() && health == Health::Announced;
                let health = if conflict { Health::Conflict } else { health };
                announced.health = health;
                let state = if conflict { AddressState::Conflict } else { address.state };
                let remedy = remedy::of_state(state, &Advertised::of(self.placement, key));
                it.worse(health, Some(told_of(speaker, address)), remedy);
            }
            return announced;
        }
        match elected {
            // Nobody on the LAN is to be told: routers are.
            Some(Err(_)) if announced.is_routed() => {}
            Some(Err(_)) if !routed.is_empty() => {
                announced.health = Health::Silent;
                let (why, remedy) = self.without_session(&routed);
                it.worse(Health::Silent, Some(format!("{ip}: no router is told of it: {why}")), Some(remedy));
            }
            Some(Err(Unannounced::Unadvertised(Unadvertised::NoAdvertisement)))
                if let Some(silent) = self.routing(snapshot).why_silent(key, ip) =>
            {
                announced.health = Health::Silent;
                let remedy = silent.remedy(|| {
                    let why = Unannounced::Unadvertised(Unadvertised::NoEndpoint);
                    remedy_of(snapshot, self.placement, key, ip, &why)
                });
                it.worse(Health::Silent, Some(format!("{ip}: {}", silent.reason)), Some(remedy));
            }
            Some(Err(why)) => {
                let reason = self.placement.reason(key, ip).unwrap_or_default();
                announced.health = Health::Silent;
                let remedy = remedy_of(snapshot, self.placement, key, ip, &why);
                it.worse(Health::Silent, Some(format!("{ip}: {reason}")), Some(remedy));
            }
            Some(Ok(elected)) => {
                let node = elected.announcer.to_string();
                let report = self.reports.and_then(|reports| reports.get(key)).into_iter().flatten();
                let reported = report.clone().find(|it| it.node == node).or_else(|| report.clone().next());
                if let Some(Report { node, interfaces, .. }) = reported {
                    announced.node = Some(node.clone());
                    announced.interfaces.clone_from(interfaces);
                    return announced;
                }
                announced.node = Some(node.clone());
                let asked = self
                    .speakers
                    .iter()
                    .any(|told| told.speaker().is_some_and(|speaker| speaker.node == node));
                let (health, why) = if asked {
                    (Health::Starting, format!("{ip}: node {node} is about to announce it"))
                } else {
                    let how = match self.source {
                        Source::Gossip => "by what the other speakers say",
                        Source::Pods => "by the objects in the API",
                    };
                    (
                        Health::Unknown,
                        format!(
                            "{ip}: node {node} should announce it {how}, but its speaker cannot be asked"
                        ),
                    )
                };
                announced.health = health;
                it.worse(health, Some(why), None);
            }
            None => {
                announced.health = Health::Unknown;
                it.worse(Health::Unknown, None, None);
            }
        }
        announced
    }

    /// What keeps down the sessions by which an address would be announced, and what helps the first of them.
    fn without_session(&self, routed: &[Routed]) -> (String, String) {
        let none = "no BGP session for it is established";
        let mut untold = routed.iter().flat_map(|it| it.untold.iter().map(move |remark| (&it.node, remark)));
        let Some((announcer, Remark { peer, why })) = untold.next() else {
            let remedy = "kubectl ferrolb status says what keeps each session down, and what to do";
            return (none.to_owned(), remedy.to_owned());
        };
        let speaker = self.speakers.iter().filter_map(Told::speaker).find(|it| it.node == *announcer);
        let session = speaker.and_then(|it| it.bgp.sessions.items.iter().find(|it| it.peer == *peer));
        let remedy = session
            .map_or_else(|| "kubectl ferrolb bgp says how each session is".to_owned(), crate::routed::remedy);
        (format!("{none}; with {peer}: {why}"), remedy)
    }

    fn routing(&self, snapshot: &Snapshot) -> &Routing {
        self.routing.get_or_init(|| snapshot.bgp.routing(self.placement, &snapshot.speakers.members))
    }

    /// Since when the node that announces an address has reported that it announces the Service.
    fn since(&self, key: &ServiceKey, announced: &Announced) -> Option<String> {
        let mut reports = self.reports?.get(key)?.iter();
        let report = reports.find(|report| announced.node.as_ref() == Some(&report.node))?;
        report.since.filter(|_| announced.health == Health::Announced).map(|since| since.to_string())
    }

    fn addresses(&self, ip: IpAddr) -> impl Iterator<Item = (&SpeakerStatus, &Address)> {
        let speakers = self.speakers.iter().filter_map(Told::speaker);
        speakers.flat_map(move |speaker| {
            let those = speaker.addresses.items.iter().filter(move |address| address.ip == Some(ip));
            those.map(move |address| (speaker, address))
        })
    }
}

impl Announced {
    /// Whether some router is told of it.
    pub(crate) fn is_routed(&self) -> bool {
        self.by_bgp.iter().any(|it| !it.routers.is_empty())
    }

    /// All nodes that announce it.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        let to_routers = self.by_bgp.iter().filter(|it| !it.routers.is_empty()).map(|it| it.node.as_str());
        self.node.as_deref().into_iter().chain(to_routers)
    }
}

/// What helps an address that nobody announces for this reason.
pub(crate) fn remedy_of(
    snapshot: &Snapshot,
    placement: &Placement,
    key: &ServiceKey,
    ip: IpAddr,
    why: &Unannounced,
) -> String {
    let obstacles = placement.obstacles(key, ip).and_then(Result::ok).unwrap_or_default();
    remedy::of_unannounced(why, key, &obstacles, &Advertised::of(placement, key), snapshot)
}

fn health_of(state: AddressState) -> Health {
    match state {
        AddressState::Announced | AddressState::Standby => Health::Announced,
        AddressState::Probing | AddressState::Muted => Health::Starting,
        AddressState::Conflict | AddressState::PeerUnheard => Health::Conflict,
        AddressState::NoInterface => Health::Silent,
        AddressState::Unknown => Health::Unknown,
    }
}

/// Whether a host has not been heard to claim an address for so long that it may have given it up.
fn is_past(claimant: &Claimant) -> bool {
    claimant.last_heard_seconds.is_some_and(|seconds| seconds > CLAIM_COUNTS)
}

/// What a speaker says of an address that it does not announce, or not undisturbed.
pub(crate) fn told_of(speaker: &SpeakerStatus, address: &Address) -> String {
    let ip = address.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let node = &speaker.node;
    let claimants: Vec<String> = address
        .conflicts
        .iter()
        .map(|claimant| {
            let place = if claimant.interface.is_empty() {
                String::new()
            } else {
                format!(" on {}", claimant.interface)
            };
            let whose = claimant.node.as_ref().map(|node| format!(" (node {node})")).unwrap_or_default();
            let heard = claimant.last_heard_seconds.filter(|seconds| *seconds > 0);
            let heard = heard.map(|seconds| format!(", last heard {seconds} s ago")).unwrap_or_default();
            format!("{}{whose}{place}{heard}", claimant.mac)
        })
        .collect();
    let who = claimants.join(", ");
    match address.state {
        AddressState::Conflict => format!(
            "{ip}: not announced by node {node}, for {who} has the address; the LAN is asked again every 30 s"
        ),
        AddressState::PeerUnheard => {
            format!(
                "{ip}: not announced by node {node}, for {who} answers, another speaker that it does not hear"
            )
        }
        AddressState::NoInterface => {
            let why = address.reason.clone().unwrap_or_default();
            format!("{ip}: not announced by node {node}: {why}")
        }
        AddressState::Muted => {
            format!("{ip}: node {node} says nothing until it has heard the other speakers again")
        }
        AddressState::Probing => format!("{ip}: node {node} asks the LAN whether anybody has the address"),
        AddressState::Announced | AddressState::Standby if address.conflicts.iter().all(is_past) => {
            format!("{ip}: announced by node {node}; {who} has claimed the address too")
        }
        AddressState::Announced | AddressState::Standby => {
            format!(
                "{ip}: announced by node {node}, and {who} claims the address too: two hosts answer for it"
            )
        }
        AddressState::Unknown => format!("{ip}: node {node} says something that this version does not know"),
    }
}

/// With a comma between them.
pub(crate) fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
