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
//! announced with the first, and is told of the faults of the others. What changes to and fro is told less and less
//! often ([`Budgets`]), and what is then as it was told last is not told again.

mod fault;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use introspection::AddressState;
use layer2::{MOST_HOSTS, MacAddr};
use objects::pack;
use placement::{Announcement, Announcements, History, InterfaceName, Interfaces, NodeName, ServiceKey};
use timers::Timers;

use self::fault::Fault;
pub(crate) use self::fault::{answered_by_peer, claimed};
use super::PROTOCOL;
use crate::budgets::Budgets;
use crate::interfaces::{Link, Links};
use crate::output::Notice;

/// A host that was found on one interface is found on the others of its LAN by then: they are told together.
const SETTLE: Duration = Duration::from_millis(500);

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

/// Who else has an address, and when that was heard last where nobody asks for it again.
pub(crate) type Heard = Vec<(Conflict, Option<Instant>)>;

/// What has come of the Services that this node announces.
#[derive(Debug)]
pub(crate) struct Outcomes {
    node: NodeName,
    /// Once the LAN side has looked.
    interfaces: Option<BTreeMap<InterfaceName, Link>>,
    /// What the LAN said of addresses when it was asked, on each interface.
    answers: BTreeMap<(IpAddr, InterfaceName), Answer>,
    by_service: BTreeMap<ServiceKey, Record>,
    budgets: Budgets,
    /// When there is more to tell of a Service.
    due: Timers<ServiceKey>,
    /// Who was heard to claim what is announced, and when last: for each address the latest few.
    claims: BTreeMap<IpAddr, VecDeque<(MacAddr, Instant)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Free,
    /// A foreign host has it.
    Taken(MacAddr),
    /// A peer has it whose gossip is not heard.
    Held(MacAddr),
}

/// What has come of a Service by now, and what its owner was told last.
#[derive(Debug, Default)]
struct Record {
    now: Outcome,
    /// Since when.
    since: Option<Instant>,
    told: Outcome,
}

/// What comes of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Outcome {
    /// Whether any of its addresses is announced, and no foreign host has that anywhere.
    announced: bool,
    faults: BTreeSet<Fault>,
}

impl Outcomes {
    pub(crate) fn new(node: NodeName) -> Self {
        Self {
            node,
            interfaces: None,
            answers: BTreeMap::new(),
            by_service: BTreeMap::new(),
            budgets: Budgets::default(),
            due: Timers::default(),
            claims: BTreeMap::new(),
        }
    }

    /// How many entries there are of what there may be thousands of.
    pub(crate) fn entries(&self) -> usize {
        self.answers.len() + self.by_service.len()
    }

    /// Packs what there may be thousands of.
    pub(crate) fn pack(&mut self) {
        pack(&mut self.answers);
        pack(&mut self.by_service);
        self.budgets.pack();
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

    /// This node speaks for an address on an interface, whether or not the LAN was asked. Whether that is news.
    pub(crate) fn spoken(&mut self, vip: IpAddr, interface: InterfaceName) -> bool {
        let known = self.answers.len();
        self.answers.entry((vip, interface)).or_insert(Answer::Free);
        self.answers.len() > known
    }

    /// Whether this node answers for an address on any interface.
    pub(crate) fn is_answered(&self, vip: IpAddr) -> bool {
        self.answers_for(vip).any(|(_, answer)| *answer == Answer::Free)
    }

    /// Whether a peer answers for any address whose gossip is not heard: it lives, and so may others of whom nothing is
    /// heard.
    pub(crate) fn is_any_held(&self) -> bool {
        self.answers.values().any(|answer| matches!(answer, Answer::Held(_)))
    }

    /// The addresses that fall to this node and that somebody else answers for.
    pub(crate) fn contested(&self) -> BTreeSet<IpAddr> {
        let has_it = |answer: &Answer| matches!(answer, Answer::Taken(_) | Answer::Held(_));
        let others = self.answers.iter().filter(|(_, answer)| has_it(answer));
        others.map(|((vip, _), _)| *vip).collect()
    }

    /// A foreign host claims an address that is announced; whether that is news.
    pub(crate) fn claimed(&mut self, conflict: &Conflict, now: Instant) -> bool {
        let hosts = self.claims.entry(conflict.vip).or_default();
        if let Some((_, heard)) = hosts.iter_mut().find(|(by, _)| *by == conflict.by) {
            *heard = now;
            return false;
        }
        hosts.push_back((conflict.by, now));
        if hosts.len() > MOST_HOSTS {
            hosts.pop_front();
        }
        true
    }

    /// Whether the owner of a Service may be told something else at `now`. If so, it counts as told.
    pub(crate) fn may_tell(&mut self, service: &ServiceKey, now: Instant) -> bool {
        self.budgets.take(service, now).is_ok()
    }

    /// A Service is no longer announced from here as it was: what comes of it next is to be told.
    pub(crate) fn forget(&mut self, service: &ServiceKey) {
        self.by_service.remove(service);
        self.due.cancel(service);
    }

    /// A Service is gone: one of the same name is another.
    pub(crate) fn gone(&mut self, service: &ServiceKey) {
        self.forget(service);
        self.budgets.forget(service);
    }

    /// Whether a Service is announced from here with any of its addresses.
    pub(crate) fn is_announced(&self, service: &ServiceKey) -> bool {
        self.by_service.get(service).is_some_and(|record| record.now.announced)
    }

    /// Whether it is known of each of these addresses what comes of it.
    pub(crate) fn is_known(&self, vips: &[IpAddr], interfaces: &Interfaces) -> bool {
        let Some(there) = &self.interfaces else { return false };
        let is_known = |vip: &IpAddr| {
            obstacle(*vip, interfaces, there).is_some() || self.answers_for(*vip).next().is_some()
        };
        vips.iter().all(is_known)
    }

    /// Looks at the Services that this node is to announce; what to tell the owners of those where the
    /// outcome is another than they were told.
    pub(crate) fn judge<'a>(
        &mut self,
        announcements: &Announcements,
        services: impl Iterator<Item = (&'a ServiceKey, &'a [IpAddr], &'a Interfaces)>,
        now: Instant,
    ) -> Vec<(ServiceKey, Notice)> {
        self.answers.retain(|(vip, _), _| announcements.contains_key(vip));
        self.claims.retain(|vip, _| announcements.contains_key(vip));
        let mut notices = Vec::new();
        for (service, vips, interfaces) in services {
            let Some(outcome) = self.outcome(announcements, vips, interfaces) else { continue };
            let record = self.by_service.entry(service.clone()).or_default();
            if record.since.is_none() || record.now != outcome {
                (record.now, record.since) = (outcome, Some(now));
                notices.extend(self.tell(service, now).into_iter().map(|notice| (service.clone(), notice)));
            }
        }
        notices
    }

    /// What there is to tell by `now` that had to wait.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<(ServiceKey, Notice)> {
        let mut notices = Vec::new();
        while let Some(service) = self.due.pop(now) {
            notices.extend(self.tell(&service, now).into_iter().map(|notice| (service.clone(), notice)));
        }
        notices
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first()
    }

    /// What to tell of a Service now. What is not to be told yet is due later.
    fn tell(&mut self, service: &ServiceKey, now: Instant) -> Vec<Notice> {
        self.due.cancel(service);
        let Some(record) = self.by_service.get(service) else { return vec![] };
        let notices = self.notices(&record.told, &record.now);
        if !notices.is_empty() {
            let is_found = |fault: &Fault| match fault {
                Fault::NoInterface(_) => false,
                Fault::Taken { .. } | Fault::Held { .. } => !fault.is_told_by(&record.told.faults),
            };
            let settled = record.since.unwrap_or(now) + SETTLE;
            let wait = record.now.faults.iter().any(is_found).then_some(settled).filter(|at| *at > now);
            if let Some(later) = wait.or_else(|| self.budgets.take(service, now).err()) {
                self.due.set(service.clone(), later);
                return vec![];
            }
        }
        if let Some(record) = self.by_service.get_mut(service) {
            record.told = record.now.clone();
        }
        notices
    }

    /// What comes of a Service; `None` while that is not known of any of its addresses.
    fn outcome(
        &self,
        announcements: &Announcements,
        vips: &[IpAddr],
        interfaces: &Interfaces,
    ) -> Option<Outcome> {
        let there = self.interfaces.as_ref()?;
        let mut outcome = None;
        for vip in vips {
            let fault = match obstacle(*vip, interfaces, there) {
                Some(reason) => Some(Fault::NoInterface(reason)),
                // Whoever begins to announce asks the LAN first, or speaks at once.
                None if announcements.get(vip).is_none() || self.answers_for(*vip).next().is_none() => {
                    continue;
                }
                None => self.fault(*vip),
            };
            let outcome = outcome.get_or_insert_with(Outcome::default);
            outcome.announced |= matches!(fault, None | Some(Fault::Held { elsewhere: true, .. }));
            outcome.faults.extend(fault);
        }
        outcome
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
            (true, false) => Some(Fault::Held { by: held, elsewhere: free }),
            (true, true) => None,
        }
    }

    /// What comes of an address that is to be announced on `interfaces`, as far as the LAN has a say: who else has it, with
    /// when that was heard last where nobody asks for it again, and why no interface will do.
    pub(crate) fn state(
        &self,
        vip: IpAddr,
        announcement: &Announcement,
    ) -> (AddressState, Heard, Option<String>) {
        let there = self.interfaces.as_ref();
        if let Some(reason) = there.and_then(|there| obstacle(vip, &announcement.interfaces, there)) {
            return (AddressState::NoInterface, vec![], Some(reason));
        }
        let with = |which: fn(&Answer) -> Option<MacAddr>| -> Heard {
            let conflict = |(interface, answer): (&InterfaceName, &Answer)| {
                Some((Conflict { vip, interface: interface.clone(), by: which(answer)? }, None))
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
            (true, true, History::New | History::Announced) if self.answers_for(vip).next().is_none() => {
                AddressState::Probing
            }
            (true, true, History::New | History::Announced) => AddressState::Announced,
        };
        let claims =
            claims.map(|(by, heard)| (Conflict { vip, interface: "".into(), by: *by }, Some(*heard)));
        (state, taken.into_iter().chain(held).chain(claims).collect(), None)
    }

    /// What is to be told of an outcome after the one before.
    fn notices(&self, before: &Outcome, outcome: &Outcome) -> Vec<Notice> {
        let from = format!("from node {:?} with protocol {PROTOCOL:?}", self.node.as_str());
        let new = outcome.faults.iter().filter(|fault| !fault.is_told_by(&before.faults));
        let mut notices: Vec<_> = new.map(|fault| fault.notice(&from)).collect();
        let well = |outcome: &Outcome| outcome.announced && outcome.faults.is_empty();
        if outcome.announced && (!before.announced || (well(outcome) && !well(before))) {
            notices.push(Notice::normal("nodeAssigned", format!("announcing {from}")));
        }
        notices
    }
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
