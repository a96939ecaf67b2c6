//! What the core tells whoever asks for `/status`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use introspection::{
    Address, AddressState, Capped, Claimant, Gossip, Interface, Peer, SpeakerStatus, Unannounced, Usability,
};
use layer2::{MacAddr, TransmitPolicy};
use placement::{Abilities, Ability, InterfaceName, NodeName, NodeProfile, ServiceKey};

use super::Core;
use crate::announce::layer2::Conflict;
use crate::impairments::Impairment;
use crate::interfaces::{Link, Purpose};

/// Of so many Services is told why nobody announces them: each reason is a look at all nodes.
const REASONS: usize = 200;

impl Core {
    /// What it knows at `now`. The class, and how the sessions with routers are doing, are for the caller to add.
    pub fn status(&self, now: Instant) -> SpeakerStatus {
        SpeakerStatus {
            node: self.node.to_string(),
            ignores_exclude_label: self.placement.ignores_exclude_label(),
            kept: self.kept().iter().copied().collect(),
            gossip: Gossip {
                settled: self.latest.settled,
                trouble: self.gossip_impairment().map(|it| Impairment::name(it).to_owned()),
                members: self.view.members.len(),
            },
            peers: self.told_peers(),
            interfaces: self.plan.links().values().map(|link| self.told_interface(link, now)).collect(),
            addresses: self.told_addresses(now),
            unannounced: self.told_unannounced(),
            bgp: Box::new(self.bgp.told()),
            ..SpeakerStatus::default()
        }
    }

    fn told_peers(&self) -> Capped<Peer> {
        let peer = |(node, state): (NodeName, _)| {
            let told = self.peers.told(&node);
            let address = self.published.peers.as_ref().and_then(|peers| peers.get(&node));
            let macs = told.into_iter().flat_map(|told| &told.macs);
            Peer {
                state,
                address: address.map(ToString::to_string),
                macs: macs.map(|mac| MacAddr(*mac).to_string()).collect(),
                interfaces: told.and_then(interfaces),
                contested: told.into_iter().flat_map(|told| told.contested.iter().copied()).collect(),
                node: node.to_string(),
            }
        };
        self.peers.states(&self.node, &self.view.away).into_iter().map(peer).collect()
    }

    fn told_interface(&self, link: &Link, now: Instant) -> Interface {
        let here = || self.plan.ports().iter().filter(|(place, _)| place.name == link.name);
        let usability = |unfit: Option<crate::Unfit>| {
            unfit.map_or(Usability::Used, |unfit| Usability::Unfit(unfit.to_string()))
        };
        let unsteady_until = self.memory.unsteady_until(&link.name);
        Interface {
            name: link.name.to_string(),
            mac: link.mac.map(|mac| mac.to_string()),
            for_pods: link.purpose == Purpose::Pods,
            arp: usability(link.arp.err()),
            ndp: usability(link.ndp.err()),
            muted: here().any(|(_, orders)| orders.transmit_policy == TransmitPolicy::Muted),
            announced: here().map(|(_, orders)| orders.vips.len()).sum(),
            unsteady: unsteady_until.is_some(),
            steady_in_seconds: unsteady_until.map(|until| seconds(until.saturating_duration_since(now))),
            prefixes: self.memory.prefixes_of(&link.name).map(ToString::to_string).collect(),
        }
    }

    fn told_addresses(&self, now: Instant) -> Capped<Address> {
        let mut services: BTreeMap<IpAddr, Vec<&ServiceKey>> = BTreeMap::new();
        for (service, vips, _) in self.placement.announced() {
            vips.iter().for_each(|vip| services.entry(*vip).or_default().push(service));
        }
        let mut places: BTreeMap<IpAddr, (BTreeSet<&InterfaceName>, bool)> = BTreeMap::new();
        for (place, orders) in self.plan.ports() {
            for vip in orders.vips.keys() {
                let (names, spoken) = places.entry(*vip).or_default();
                names.insert(&place.name);
                *spoken |= orders.transmit_policy != TransmitPolicy::Muted;
            }
        }
        let address = |(vip, announcement): (&IpAddr, &placement::Announcement)| {
            let (state, conflicts, reason) = self.outcomes.state(*vip, announcement);
            let place = places.get(vip);
            let muted = place.is_some_and(|(_, spoken)| !spoken);
            let names = place.into_iter().flat_map(|(names, _)| names);
            Address {
                ip: Some(*vip),
                services: services.get(vip).into_iter().flatten().map(ToString::to_string).collect(),
                state: match state {
                    AddressState::Announced | AddressState::Standby | AddressState::Probing if muted => {
                        AddressState::Muted
                    }
                    state => state,
                },
                interfaces: names.map(ToString::to_string).collect(),
                conflicts: conflicts
                    .into_iter()
                    .map(|(conflict, heard)| Claimant {
                        last_heard_seconds: heard.map(|heard| now.saturating_duration_since(heard).as_secs()),
                        ..self.claimant(conflict)
                    })
                    .collect(),
                reason,
            }
        };
        self.placement.announcements().iter().map(address).collect()
    }

    fn claimant(&self, Conflict { vip: _, interface, by }: Conflict) -> Claimant {
        let node = self.peers.owner(by).map(ToString::to_string);
        // Of a claim it is not kept where it was heard; a name that is shown would be two quotation marks then.
        Claimant {
            mac: by.to_string(),
            interface: interface.as_str().to_owned(),
            node,
            last_heard_seconds: None,
        }
    }

    fn told_unannounced(&self) -> Capped<Unannounced> {
        let services = self.unannounced.services();
        let of_service = |service: &ServiceKey| {
            let failed = self.placement.assignments(service).filter(|(_, outcome)| outcome.is_err());
            let told = failed.map(|(vip, _)| Unannounced {
                service: service.to_string(),
                ip: Some(vip),
                reason: self.placement.reason(service, vip).unwrap_or_default(),
            });
            told.collect::<Vec<_>>()
        };
        let Capped { items, more } = Capped::first(REASONS, services.into_iter(), of_service);
        Capped { items: items.into_iter().flatten().collect(), more }
    }
}

/// Whole seconds: one that has begun is one to wait.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The interfaces of a peer, as it has told.
fn interfaces(told: &NodeProfile) -> Option<Vec<Interface>> {
    let Abilities::Known(by_name) = &told.abilities else { return None };
    let prefixes = |name: &InterfaceName| told.prefixes.get(name).into_iter().flatten();
    let usability = |ability| match ability {
        Ability::Able | Ability::Unsteady => Usability::Used,
        Ability::Lost => Usability::Lost,
        Ability::Unable => Usability::Unfit("it cannot".to_owned()),
    };
    let interface = |(name, it): (&InterfaceName, &placement::ByProtocol)| Interface {
        name: name.to_string(),
        arp: usability(it.arp),
        ndp: usability(it.ndp),
        unsteady: [it.arp, it.ndp].contains(&Ability::Unsteady),
        prefixes: prefixes(name).map(ToString::to_string).collect(),
        ..Interface::default()
    };
    Some(by_name.iter().map(interface).collect())
}
