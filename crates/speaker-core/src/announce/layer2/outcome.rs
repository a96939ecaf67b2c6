//! What comes of announcing a Service from this node, and what its owner is told of it.
//!
//! ```text
//!              some interface will do, and no
//!              foreign host has the address
//!   (pending) -------------------------------> announced: nodeAssigned
//!       |   \                                    ^   |
//!       |    +--> no interface will do: announceFailed
//!       |                                        |   |
//!       +-------> a foreign host has it: addressConflict
//! ```
//!
//! Each is told once, and again only when it comes anew. Each address comes to an end of its own: a Service counts as
//! announced with the first, and is told of the faults of the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use introspection::AddressState;
use layer2::{MOST_HOSTS, MacAddr};
use placement::{Announcement, Announcements, History, InterfaceName, Interfaces, NodeName, ServiceKey};

use super::PROTOCOL;
use crate::interfaces::{Link, Links};
use crate::output::Notice;

/// Somebody else has an address of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The address.
    pub vip: IpAddr,
    /// Where that was heard.
    pub interface: InterfaceName,
    /// Who has it.
    pub by: MacAddr,
}

/// What has come of the Services that this node announces.
#[derive(Debug)]
pub(crate) struct Outcomes {
    node: NodeName,
    /// Once the LAN side has looked.
    interfaces: Option<BTreeMap<InterfaceName, Link>>,
    /// What the LAN said of addresses when it was asked, on each interface.
    answers: BTreeMap<(IpAddr, InterfaceName), Answer>,
    by_service: BTreeMap<ServiceKey, Outcome>,
    /// Who was heard to claim what is announced: for each address the latest few.
    claims: BTreeMap<IpAddr, VecDeque<MacAddr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Free,
    /// A foreign host has it.
    Taken(MacAddr),
    /// A peer has it whose gossip is not heard.
    Held(MacAddr),
}

/// What comes of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Outcome {
    /// Whether any of its addresses is announced, and contested nowhere.
    announced: bool,
    faults: BTreeSet<Fault>,
}

/// Why an address is not announced, or not everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Why none of the interfaces will do.
    NoInterface(String),
    /// Foreign hosts have it on these interfaces.
    Taken {
        by: Vec<Conflict>,
        /// Whether it is announced on others.
        elsewhere: bool,
    },
    /// Peers have it whose gossip is not heard.
    Held(Vec<Conflict>),
}

impl Outcomes {
    pub(crate) fn new(node: NodeName) -> Self {
        Self {
            node,
            interfaces: None,
            answers: BTreeMap::new(),
            by_service: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }

    /// The interfaces of this node are these now.
    pub(crate) fn interfaces(&mut self, links: &Links) {
        self.interfaces = Some(links.values().map(|link| (link.name.clone(), link.clone())).collect());
    }

    /// The LAN was asked for an address on an interface, and nobody has it.
    pub(crate) fn free(&mut self, vip: IpAddr, interface: InterfaceName) {
        self.answers.insert((vip, interface), Answer::Free);
    }

    /// The LAN was asked for an address, and a foreign host has it.
    pub(crate) fn taken(&mut self, Conflict { vip, interface, by }: Conflict) {
        self.answers.insert((vip, interface), Answer::Taken(by));
    }

    /// The LAN was asked for an address, and a peer has it whose gossip is not heard.
    pub(crate) fn held(&mut self, Conflict { vip, interface, by }: Conflict) {
        self.answers.insert((vip, interface), Answer::Held(by));
    }

    /// The addresses that fall to this node and that somebody else answers for.
    pub(crate) fn contested(&self) -> BTreeSet<IpAddr> {
        let has_it = |answer: &Answer| matches!(answer, Answer::Taken(_) | Answer::Held(_));
        let others = self.answers.iter().filter(|(_, answer)| has_it(answer));
        others.map(|((vip, _), _)| *vip).collect()
    }

    /// A foreign host claims an address that is announced; whether that is news.
    pub(crate) fn claimed(&mut self, conflict: &Conflict) -> bool {
        let hosts = self.claims.entry(conflict.vip).or_default();
        if hosts.contains(&conflict.by) {
            return false;
        }
        hosts.push_back(conflict.by);
        if hosts.len() > MOST_HOSTS {
            hosts.pop_front();
        }
        true
    }

    /// A Service is no longer announced from here as it was: what comes of it next is to be told.
    pub(crate) fn forget(&mut self, service: &ServiceKey) {
        self.by_service.remove(service);
    }

    /// Whether a Service is announced from here with any of its addresses.
    pub(crate) fn is_announced(&self, service: &ServiceKey) -> bool {
        self.by_service.get(service).is_some_and(|outcome| outcome.announced)
    }

    /// Looks at the Services that this node is to announce; what to tell the owners of those where the
    /// outcome is another than before.
    pub(crate) fn judge<'a>(
        &mut self,
        announcements: &Announcements,
        services: impl Iterator<Item = (&'a ServiceKey, &'a [IpAddr], &'a Interfaces)>,
    ) -> Vec<(ServiceKey, Notice)> {
        self.answers.retain(|(vip, _), _| announcements.contains_key(vip));
        self.claims.retain(|vip, _| announcements.contains_key(vip));
        let mut notices = Vec::new();
        for (service, vips, interfaces) in services {
            let Some(outcome) = self.outcome(announcements, vips, interfaces) else { continue };
            let before = self.by_service.get(service).cloned().unwrap_or_default();
            let told = self.notices(&before, &outcome).into_iter();
            notices.extend(told.map(|notice| (service.clone(), notice)));
            self.by_service.insert(service.clone(), outcome);
        }
        notices
    }

    /// What comes of a Service; `None` while that is not known.
    fn outcome(
        &self,
        announcements: &Announcements,
        vips: &[IpAddr],
        interfaces: &Interfaces,
    ) -> Option<Outcome> {
        let there = self.interfaces.as_ref()?;
        let mut outcome = Outcome::default();
        for vip in vips {
            let fault = match obstacle(*vip, interfaces, there) {
                Some(reason) => Some(Fault::NoInterface(reason)),
                None if announcements.get(vip)?.history == History::New
                    && self.answers_for(*vip).next().is_none() =>
                {
                    return None;
                }
                None => self.fault(*vip),
            };
            outcome.announced |= fault.is_none();
            outcome.faults.extend(fault);
        }
        Some(outcome)
    }

    fn answers_for(&self, vip: IpAddr) -> impl Iterator<Item = (&InterfaceName, &Answer)> {
        let first = (vip, InterfaceName::from(""));
        let of_vip = self.answers.range(first..).take_while(move |((other, _), _)| *other == vip);
        of_vip.map(|((_, interface), answer)| (interface, answer))
    }

    /// What the LAN has against an address.
    fn fault(&self, vip: IpAddr) -> Option<Fault> {
        let (mut taken, mut held, mut free) = (Vec::new(), Vec::new(), false);
        for (interface, answer) in self.answers_for(vip) {
            let conflict = |by| Conflict { vip, interface: interface.clone(), by };
            match *answer {
                Answer::Free => free = true,
                Answer::Taken(by) => taken.push(conflict(by)),
                Answer::Held(by) => held.push(conflict(by)),
            }
        }
        match (taken.is_empty(), held.is_empty()) {
            (false, _) => Some(Fault::Taken { by: taken, elsewhere: free }),
            (true, false) => Some(Fault::Held(held)),
            (true, true) => None,
        }
    }

    /// What comes of an address that is to be announced on `interfaces`, as far as the LAN has a say: who else has it, and why
    /// no interface will do.
    pub(crate) fn state(
        &self,
        vip: IpAddr,
        announcement: &Announcement,
    ) -> (AddressState, Vec<Conflict>, Option<String>) {
        let there = self.interfaces.as_ref();
        if let Some(reason) = there.and_then(|there| obstacle(vip, &announcement.interfaces, there)) {
            return (AddressState::NoInterface, vec![], Some(reason));
        }
        let with = |which: fn(&Answer) -> Option<MacAddr>| -> Vec<Conflict> {
            let conflict = |(interface, answer): (&InterfaceName, &Answer)| {
                Some(Conflict { vip, interface: interface.clone(), by: which(answer)? })
            };
            self.answers_for(vip).filter_map(conflict).collect()
        };
        let taken = with(|answer| if let Answer::Taken(by) = answer { Some(*by) } else { None });
        let held = with(|answer| if let Answer::Held(by) = answer { Some(*by) } else { None });
        let claims = self.claims.get(&vip).into_iter().flatten();
        let state = match (taken.is_empty(), held.is_empty(), announcement.history) {
            (false, _, _) => AddressState::Conflict,
            (true, false, _) => AddressState::PeerUnheard,
            (true, true, History::Standby) => AddressState::Standby,
            (true, true, History::New) if self.answers_for(vip).next().is_none() => AddressState::Probing,
            (true, true, History::New | History::Announced) => AddressState::Announced,
        };
        let claims = claims.map(|by| Conflict { vip, interface: "".into(), by: *by });
        (state, taken.into_iter().chain(held).chain(claims).collect(), None)
    }

    /// What is to be told of an outcome after the one before.
    fn notices(&self, before: &Outcome, outcome: &Outcome) -> Vec<Notice> {
        let from = format!("from node {:?} with protocol {PROTOCOL:?}", self.node.as_str());
        let new = outcome.faults.difference(&before.faults);
        let mut notices: Vec<_> = new.map(|fault| fault.notice(&from)).collect();
        let well = |outcome: &Outcome| outcome.announced && outcome.faults.is_empty();
        if outcome.announced && (!before.announced || (well(outcome) && !well(before))) {
            notices.push(Notice::normal("nodeAssigned", format!("announcing {from}")));
        }
        notices
    }
}

impl Fault {
    fn notice(&self, from: &str) -> Notice {
        match self {
            Self::NoInterface(reason) => {
                Notice::warning("announceFailed", format!("cannot announce {from}: {reason}"))
            }
            Self::Taken { by, elsewhere } => {
                let who = named(by, "has the address");
                let elsewhere = if *elsewhere { "; where nobody has it, it is announced" } else { "" };
                let message = format!(
                    "not announcing {from}: {who}{elsewhere}. Take it away from there, or out of the pool; the LAN is asked \
                     again every 30 s. Where a router answers for all addresses (proxy ARP), start the speakers with \
                     --ignore-address-conflicts"
                );
                Notice::warning("addressConflict", message)
            }
            Self::Held(by) => {
                let who = named(by, "answers for the address");
                let message = format!(
                    "not announcing {from}: {who}, which is another speaker whose gossip is not heard here. Check that \
                     the gossip port is open between all nodes, and that they have the same key; the LAN is asked \
                     again every 3 s"
                );
                Notice::warning("peerUnheard", message)
            }
        }
    }
}

fn named(conflicts: &[Conflict], does: &str) -> String {
    let name =
        |Conflict { vip, interface, by }: &Conflict| format!("{by} on {interface} {does} {vip} already");
    conflicts.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Tells that a foreign host claims an address which is announced.
pub(crate) fn claimed(Conflict { vip, interface, by }: &Conflict) -> Notice {
    Notice::warning(
        "addressConflict",
        format!(
            "{by} on {interface} claims the address {vip}, which is announced: two hosts answer for it. Take \
             it away from there, or out of the pool"
        ),
    )
}

/// Why `vip` cannot be announced on any of `interfaces`; `None` if it can.
fn obstacle(vip: IpAddr, interfaces: &Interfaces, there: &BTreeMap<InterfaceName, Link>) -> Option<String> {
    let refusal = |name: &InterfaceName| match there.get(name) {
        None => Some(format!("{name}: no such interface")),
        Some(interface) => {
            let unfit = if vip.is_ipv4() { interface.arp.err() } else { interface.ndp.err() };
            unfit.map(|unfit| format!("{name}: {unfit}"))
        }
    };
    let refusals: Option<Vec<String>> = match interfaces {
        Interfaces::All => there.keys().map(refusal).collect(),
        Interfaces::Only(names) => names.iter().map(refusal).collect(),
    };
    let refusals = refusals?;
    let which = if refusals.is_empty() { "there is none".to_owned() } else { refusals.join("; ") };
    Some(format!("no interface will do for {vip} ({which})"))
}

#[cfg(test)]
mod tests;
