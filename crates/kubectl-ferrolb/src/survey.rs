//! What becomes of each Service: its addresses, who announces them, and what is the matter.

use std::collections::BTreeMap;
use std::net::IpAddr;

use introspection::{Address, AddressState, SpeakerStatus};
use ipam::ServiceKey;
use jiff::Timestamp;
use placement::{Placement, Unannounced};
use serde::Serialize;
use translation::Origin;

use crate::ask::Told;
use crate::predict::{Allocation, NoAddress, assignment};
use crate::remedy;
use crate::snapshot::{Snapshot, Source};

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
}

/// All that is known of who announces.
pub(crate) struct Sources<'a> {
    pub(crate) placement: &'a Placement,
    pub(crate) speakers: &'a [Told],
    /// Nothing where the reports cannot be read.
    pub(crate) reports: Option<&'a Reports>,
    /// By what it is known which speakers live.
    pub(crate) source: Source,
}

/// Looks at all Services that FerroLB serves, in order.
pub(crate) fn survey(snapshot: &Snapshot, allocation: &Allocation, sources: &Sources<'_>) -> Vec<Surveyed> {
    let shown: BTreeMap<ServiceKey, Vec<IpAddr>> = snapshot
        .services
        .iter()
        .map(|service| (translation::service_key(service), translation::Observed::read(service).ips))
        .collect();
    let one = |(key, fate): (&ServiceKey, &crate::predict::Fate)| {
        let ips = shown.get(key).cloned().unwrap_or_default();
        let mut it = Surveyed {
            key: Some(key.clone()),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            health: Health::Announced,
            pool: fate.outcome.as_ref().ok().map(|assignment| assignment.pool.to_string()),
            addresses: vec![],
            reasons: vec![],
            remedies: vec![],
        };
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
                },
            };
            announced.since = sources.since(key, &announced);
            it.addresses.push(announced);
        }
        it
    };
    allocation.fates.iter().map(one).collect()
}

impl Surveyed {
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
        let mut announced =
            Announced { ip, health: Health::Announced, node: None, interfaces: vec![], since: None };
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
            if !speaks(address.state) || !address.conflicts.is_empty() {
                let conflict = !address.conflicts.is_empty() && health == Health::Announced;
                let health = if conflict { Health::Conflict } else { health };
                announced.health = health;
                let state = if conflict { AddressState::Conflict } else { address.state };
                let remedy = remedy::of_state(state).map(str::to_owned);
                it.worse(health, Some(told_of(speaker, address)), remedy);
            }
            return announced;
        }
        match elected {
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

/// What helps an address that nobody announces for this reason.
pub(crate) fn remedy_of(
    snapshot: &Snapshot,
    placement: &Placement,
    key: &ServiceKey,
    ip: IpAddr,
    why: &Unannounced,
) -> String {
    let obstacles = placement.obstacles(key, ip).and_then(Result::ok).unwrap_or_default();
    remedy::of_unannounced(why, key, &obstacles, snapshot)
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
            format!("{}{whose}{place}", claimant.mac)
        })
        .collect();
    let who = claimants.join(", ");
    match address.state {
        AddressState::Conflict => format!("{ip}: not announced by node {node}, for {who} has the address"),
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
