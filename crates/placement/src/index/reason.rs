//! Why nobody announces an address, in one sentence that a person can act on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use objects::text::shorten;

use crate::index::Placement;
use crate::{
    Advertisement, Ineligible, InterfaceName, Interfaces, NodeName, Obstacle, Service, ServiceKey,
    Unadvertised, Unannounced,
};

/// The most that a reason takes, in bytes: it fits into an event, with some words before it.
const MOST: usize = 800;
/// So many objects are named where many are meant.
const NAMED: usize = 3;

impl Placement {
    /// Why nobody announces `vip` for this Service, as one sentence without a full stop that names objects and
    /// fields, of at most 800 bytes. `None` where somebody does, or where the Service or its address is not known.
    /// Wants [`Self::settle`] called since the last change.
    pub fn reason(&self, key: &ServiceKey, vip: IpAddr) -> Option<String> {
        let service = self.services.get(key)?;
        let unannounced = self.outcomes.get(&vip)?.of(key)?.as_ref().err()?;
        let sentence = match unannounced {
            Unannounced::Unadvertised(reason) => self.unadvertised(service, *reason),
            Unannounced::NoCandidate | Unannounced::NoInterface => self.nodes_out(key, vip),
            Unannounced::SharedElsewhere { with } => {
                // What other tenants call theirs is not to be told.
                let with = if with.namespace == key.namespace {
                    with.to_string()
                } else {
                    "a Service of another namespace".to_owned()
                };
                format!(
                    "{vip} is shared with {with}, which is older, and no node may announce the address for both"
                )
            }
        };
        Some(shorten(&sentence, MOST))
    }

    fn unadvertised(&self, service: &Service, reason: Unadvertised) -> String {
        match reason {
            Unadvertised::NoPool => format!("no IPAddressPool contains {}", list(&service.vips)),
            Unadvertised::NoEndpoint => "no EndpointSlice of it has a serving endpoint".to_owned(),
            Unadvertised::NoAdvertisement => self.no_advertisement(service),
            Unadvertised::SharedYetSelected => {
                let selecting = self.covering(service).filter(|ad| !ad.service_selectors.is_empty());
                let names: Vec<_> = selecting.map(|ad| &ad.name).collect();
                format!(
                    "its address can be shared, for which serviceSelectors of L2Advertisement {} are not \
                     allowed",
                    list(&names)
                )
            }
        }
    }

    fn no_advertisement(&self, service: &Service) -> String {
        if self.eligibility.advertisements.is_empty() {
            return "there is no L2Advertisement".to_owned();
        }
        let covering: Vec<_> = self.covering(service).map(|ad| &ad.name).collect();
        let pool = self.eligibility.pools.pool_of(&service.vips, service.recorded_pool.as_ref());
        let pool = pool.map_or_else(String::new, |pool| pool.name.to_string());
        if covering.is_empty() {
            return format!("no L2Advertisement selects pool {pool}");
        }
        format!(
            "its labels match no serviceSelectors of L2Advertisement {}, which select pool {pool}",
            list(&covering)
        )
    }

    /// The advertisements that select the pool of a Service.
    fn covering(&self, service: &Service) -> impl Iterator<Item = &Advertisement> {
        let pool = self.eligibility.pools.pool_of(&service.vips, service.recorded_pool.as_ref());
        let advertisements = self.eligibility.advertisements.values();
        advertisements.filter(move |ad| pool.is_some_and(|pool| ad.covers(pool)))
    }

    fn nodes_out(&self, key: &ServiceKey, vip: IpAddr) -> String {
        let Some(Ok(obstacles)) = self.obstacles(key, vip) else {
            return "no node may announce it".to_owned();
        };
        let mut nodes_by_reason: BTreeMap<String, Vec<NodeName>> = BTreeMap::new();
        let mut count = 0;
        for node in self.eligibility.nodes.keys() {
            let reason = match obstacles.get(node) {
                Some(obstacle) => words(obstacle, vip),
                None => "the speaker is being restarted".to_owned(),
            };
            nodes_by_reason.entry(reason).or_default().push(node.clone());
            count += 1;
        }
        let mut groups: Vec<_> = nodes_by_reason.into_iter().collect();
        groups.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
        let groups: Vec<String> =
            groups.into_iter().map(|(reason, nodes)| format!("{reason} on {}", list(&nodes))).collect();
        match count {
            0 => "the cluster has no Node".to_owned(),
            1 => format!("the only node is out: {}", groups.join("; ")),
            _ => format!("all {count} nodes are out: {}", groups.join("; ")),
        }
    }
}

/// What is the matter on a node; "on" and its name follow.
fn words(obstacle: &Obstacle, vip: IpAddr) -> String {
    match obstacle {
        Obstacle::Ineligible(Ineligible::NoNode) => "no such Node".to_owned(),
        Obstacle::Ineligible(Ineligible::NotMember) => "no live speaker".to_owned(),
        Obstacle::Ineligible(Ineligible::NetworkUnavailable) => "condition NetworkUnavailable".to_owned(),
        Obstacle::Ineligible(Ineligible::Excluded) => format!("label {}", crate::EXCLUDE_LABEL),
        Obstacle::Ineligible(Ineligible::NotSelected) => "nodeSelectors do not match".to_owned(),
        Obstacle::Ineligible(Ineligible::NoLocalEndpoint) => {
            "no serving endpoint (externalTrafficPolicy is Local)".to_owned()
        }
        Obstacle::Outdated => "changes of the cluster that have not arrived".to_owned(),
        Obstacle::NoInterface(allowed) => {
            let protocol = if vip.is_ipv4() { "ARP" } else { "NDP" };
            match allowed {
                Interfaces::All => format!("no interface that can announce by {protocol}"),
                Interfaces::Only(names) => {
                    let names: Vec<&InterfaceName> = names.iter().collect();
                    format!("none of the interfaces {} can announce by {protocol}", list(&names))
                }
            }
        }
    }
}

fn list(names: &[impl ToString]) -> String {
    let mut text: Vec<String> = names.iter().take(NAMED).map(ToString::to_string).collect();
    if names.len() > NAMED {
        text.push(format!("{} more", names.len() - NAMED));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests;
