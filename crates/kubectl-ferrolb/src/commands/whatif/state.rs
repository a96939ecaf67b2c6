//! What becomes of a Service, and what is told where that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::ServiceKey;
use placement::{NodeName, Placement, Unadvertised, Unannounced};

use super::Difference;
use crate::predict::{Allocation, Fate};
use crate::snapshot::Routing;
use crate::survey::list;

/// What becomes of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Its addresses, or why it has none.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) no_address: Option<String>,
    /// Who announces each, or why nobody does.
    pub(super) announcers: Vec<Result<Announcer, String>>,
    /// Whether nobody does only because no Pod is ready.
    pub(super) without_endpoint: bool,
}

/// Who announces an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Announcer {
    /// This node, on its LAN.
    Node(NodeName),
    /// These nodes, to routers alone.
    ToRouters(BTreeSet<NodeName>),
}

pub(super) fn is_to_routers(who: &Result<Announcer, String>) -> bool {
    matches!(who, Ok(Announcer::ToRouters(_)))
}

pub(super) fn shown(who: &Result<Announcer, String>) -> String {
    match who {
        Ok(Announcer::Node(node)) => node.to_string(),
        Ok(Announcer::ToRouters(nodes)) => format!("{} by BGP", list(&nodes.iter().collect::<Vec<_>>())),
        Err(_) => "-".to_owned(),
    }
}

/// What becomes of each Service.
pub(super) fn states(
    allocation: &Allocation,
    placement: &Placement,
    routing: &Routing,
) -> BTreeMap<ServiceKey, State> {
    let state = |(key, fate): (&ServiceKey, &Fate)| {
        let mut state = State::default();
        match &fate.outcome {
            Err(why) => state.no_address = Some(why.to_string()),
            Ok(assignment) => state.addresses.clone_from(&assignment.ips),
        }
        let outcomes: BTreeMap<IpAddr, _> = placement.assignments(key).collect();
        for ip in &state.addresses {
            let to_routers = routing.nodes(key, *ip);
            state.announcers.push(match outcomes.get(ip) {
                Some(Ok(elected)) => Ok(Announcer::Node(elected.announcer.clone())),
                Some(Err(_)) if !to_routers.is_empty() => Ok(Announcer::ToRouters(to_routers)),
                Some(Err(Unannounced::Unadvertised(Unadvertised::NoAdvertisement)))
                    if let Some(silent) = routing.why_silent(key, *ip) =>
                {
                    state.without_endpoint |= silent.is_without_endpoint();
                    Err(silent.reason)
                }
                Some(Err(why)) => {
                    state.without_endpoint |=
                        matches!(why, Unannounced::Unadvertised(Unadvertised::NoEndpoint));
                    Err(placement.reason(key, *ip).unwrap_or_default())
                }
                None => Err(String::new()),
            });
        }
        (key.clone(), state)
    };
    allocation.fates.iter().map(state).collect()
}

/// The rows for a Service that would change.
pub(super) fn difference(key: &ServiceKey, now: &State, then: &State) -> Vec<Difference> {
    let with = |state: &State| -> String {
        if state.addresses.is_empty() {
            return "-".to_owned();
        }
        let each = state.addresses.iter().zip(&state.announcers);
        let text = |(ip, who): (&IpAddr, &Result<Announcer, String>)| format!("{ip} {}", shown(who));
        list(&each.map(text).collect::<Vec<_>>())
    };
    let silent = |state: &State| state.announcers.iter().find_map(|who| who.as_ref().err()).cloned();
    // One that waits already is not what the change is asked about.
    let waits = if *now == State::default() { "lacks" } else { "stays" };
    let (effect, note) = match (now.addresses.is_empty(), then.addresses.is_empty()) {
        (false, true) => {
            let why = then.no_address.clone().unwrap_or_else(|| "it is gone".to_owned());
            ("loses", format!("LOSES its address: {why}"))
        }
        (true, false) => match silent(then) {
            None => ("gains", "gets an address".to_owned()),
            // Kubernetes looks for the Pods of a new Service when it is there.
            Some(_) if then.without_endpoint && now.no_address.is_none() => (
                "gains",
                "gets an address, which is announced as soon as one of its Pods is ready".to_owned(),
            ),
            Some(why) => (waits, format!("gets an address that nobody announces: {why}")),
        },
        (true, true) => (waits, then.no_address.clone().unwrap_or_default()),
        (false, false) => {
            let other = now.addresses != then.addresses;
            let address = if other { "CHANGES its address" } else { "" };
            match (silent(now), silent(then)) {
                (None, Some(why)) => ("loses", format!("OUTAGE: {why}")),
                (Some(_), None) if other => ("changes", format!("{address}, and is announced")),
                (Some(_), None) => ("gains", "is announced".to_owned()),
                (_, _) if other => ("changes", address.to_owned()),
                (Some(_), Some(why)) => ("stays", why),
                (None, None) => ("moves", "moves".to_owned()),
            }
        }
    };
    let ip = list(&then.addresses);
    let (now, then) = (with(now), with(then));
    vec![Difference { service: key.to_string(), ip, router: None, now, then, off: None, effect, note }]
}
