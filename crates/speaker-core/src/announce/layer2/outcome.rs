//! What comes of announcing a Service from this node, and what its owner is told of it.
//!
//! ```text
//!              some interface will do, and no
//!              stranger has the address
//!   (pending) -------------------------------> announced: nodeAssigned
//!       |   \                                    ^   |
//!       |    +--> no interface will do: announceFailed
//!       |                                        |   |
//!       +-------> a stranger has it: addressConflict
//! ```
//!
//! Each is told once, and again only when it comes anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use layer2::MacAddr;
use placement::{Announcements, History, InterfaceName, Interfaces, NodeName, ServiceKey};

use super::PROTOCOL;
use crate::interfaces::{Link, Links};
use crate::output::Notice;

/// Somebody else has an address of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What the LAN said of addresses that are new to it.
    answers: BTreeMap<IpAddr, BTreeMap<InterfaceName, Answer>>,
    by_service: BTreeMap<ServiceKey, Outcome>,
    /// Who was heard to claim what is announced.
    claims: BTreeSet<(IpAddr, MacAddr)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Free,
    /// A foreign host has it.
    Taken(MacAddr),
    /// A peer has it whose gossip is not heard.
    Held(MacAddr),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Announced,
    /// Why none of the interfaces will do.
    NoInterface(String),
    /// Foreign hosts have addresses on these interfaces; whether it is announced on others.
    Taken(Vec<Conflict>, bool),
    /// Peers whose gossip is not heard have them.
    Held(Vec<Conflict>),
}

impl Outcomes {
    pub(crate) fn new(node: NodeName) -> Self {
        Self {
            node,
            interfaces: None,
            answers: BTreeMap::new(),
            by_service: BTreeMap::new(),
            claims: BTreeSet::new(),
        }
    }

    /// The interfaces of this node are these now.
    pub(crate) fn interfaces(&mut self, links: &Links) {
        self.interfaces = Some(links.values().map(|link| (link.name.clone(), link.clone())).collect());
    }

    /// The LAN was asked for an address on an interface, and nobody has it.
    pub(crate) fn free(&mut self, vip: IpAddr, interface: InterfaceName) {
        self.answers.entry(vip).or_default().insert(interface, Answer::Free);
    }

    /// The LAN was asked for an address, and a foreign host has it.
    pub(crate) fn taken(&mut self, Conflict { vip, interface, by }: Conflict) {
        self.answers.entry(vip).or_default().insert(interface, Answer::Taken(by));
    }

    /// The LAN was asked for an address, and a peer has it whose gossip is not heard.
    pub(crate) fn held(&mut self, Conflict { vip, interface, by }: Conflict) {
        self.answers.entry(vip).or_default().insert(interface, Answer::Held(by));
    }

    /// The addresses that fall to this node and that somebody else answers for.
    pub(crate) fn contested(&self) -> BTreeSet<IpAddr> {
        let others =
            self.answers.iter().filter(|(_, on)| on.values().any(|it| matches!(it, Answer::Taken(_))));
        others.map(|(vip, _)| *vip).collect()
    }

    /// A stranger claims an address that is announced; whether that is news.
    pub(crate) fn claimed(&mut self, conflict: &Conflict) -> bool {
        self.claims.insert((conflict.vip, conflict.by))
    }

    /// A Service is no longer announced from here as it was: what comes of it next is to be told.
    pub(crate) fn forget(&mut self, service: &ServiceKey) {
        self.by_service.remove(service);
    }

    /// Whether a Service is announced from here as it should be.
    pub(crate) fn is_announced(&self, service: &ServiceKey) -> bool {
        self.by_service.get(service) == Some(&Outcome::Announced)
    }

    /// Looks at the Services that this node is to announce; what to tell the owners of those where the
    /// outcome is another than before.
    pub(crate) fn judge<'a>(
        &mut self,
        announcements: &Announcements,
        services: impl Iterator<Item = (&'a ServiceKey, &'a [IpAddr], &'a Interfaces)>,
    ) -> Vec<(ServiceKey, Notice)> {
        self.answers.retain(|vip, _| announcements.contains_key(vip));
        self.claims.retain(|(vip, _)| announcements.contains_key(vip));
        let mut notices = Vec::new();
        for (service, vips, interfaces) in services {
            let Some(outcome) = self.outcome(announcements, vips, interfaces) else { continue };
            if self.by_service.get(service) != Some(&outcome) {
                notices.push((service.clone(), self.notice(&outcome)));
                self.by_service.insert(service.clone(), outcome);
            }
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
        if let Some(reason) = vips.iter().find_map(|vip| obstacle(*vip, interfaces, there)) {
            return Some(Outcome::NoInterface(reason));
        }
        let (mut taken, mut held, mut free) = (Vec::new(), Vec::new(), false);
        for vip in vips {
            let answers = self.answers.get(vip);
            if announcements.get(vip)?.history == History::New && answers.is_none() {
                return None;
            }
            free |= answers.is_none_or(|answers| answers.values().any(|it| *it == Answer::Free));
            for (interface, answer) in answers.into_iter().flatten() {
                let conflict = |by| Conflict { vip: *vip, interface: interface.clone(), by };
                match *answer {
                    Answer::Free => {}
                    Answer::Taken(by) => taken.push(conflict(by)),
                    Answer::Held(by) => held.push(conflict(by)),
                }
            }
        }
        Some(match (taken.is_empty(), held.is_empty()) {
            (false, _) => Outcome::Taken(taken, free),
            (true, false) => Outcome::Held(held),
            (true, true) => Outcome::Announced,
        })
    }

    fn notice(&self, outcome: &Outcome) -> Notice {
        let from = format!("from node {:?} with protocol {PROTOCOL:?}", self.node.as_str());
        match outcome {
            Outcome::Announced => Notice::normal("nodeAssigned", format!("announcing {from}")),
            Outcome::NoInterface(reason) => {
                Notice::warning("announceFailed", format!("cannot announce {from}: {reason}"))
            }
            Outcome::Taken(conflicts, elsewhere) => {
                let who = named(conflicts, "has the address");
                let elsewhere = if *elsewhere { "; where nobody has it, it is announced" } else { "" };
                let message = format!(
                    "not announcing {from}: {who}{elsewhere}. Take it away from there, or out of the pool; the LAN is asked \
                     again every 30 s. Where a router answers for all addresses (proxy ARP), start the speakers with \
                     --ignore-address-conflicts"
                );
                Notice::warning("addressConflict", message)
            }
            Outcome::Held(conflicts) => {
                let who = named(conflicts, "answers for the address");
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

/// Tells that a stranger claims an address which is announced.
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
mod tests {
    use placement::{Announcement, Takeover};

    use super::*;
    use crate::interfaces::Unfit;

    const VIP: &str = "192.0.2.1";

    fn vip() -> IpAddr {
        VIP.parse().expect("an address")
    }

    fn links(interfaces: &[(&str, Result<(), Unfit>)]) -> Links {
        let link = |(name, arp): &(&str, Result<(), Unfit>)| {
            let arp = arp.map(|()| layer2::Arp { mac: MacAddr([2, 0, 0, 0, 0, 1]) });
            Link { name: (*name).into(), mac: None, arp, ndp: Err(Unfit::Down) }
        };
        (1..).zip(interfaces.iter().map(link)).collect()
    }

    fn outcomes(interfaces: &[(&str, Result<(), Unfit>)]) -> Outcomes {
        let mut it = Outcomes::new("n1".into());
        it.interfaces(&links(interfaces));
        it
    }

    fn conflict() -> Conflict {
        Conflict { vip: vip(), interface: "eth0".into(), by: MacAddr([2, 0, 0, 0, 0, 9]) }
    }

    /// The reasons and messages told when one Service is to be announced.
    fn judge(it: &mut Outcomes, history: History, interfaces: &Interfaces) -> Vec<(&'static str, String)> {
        let key = ServiceKey::new("default", "web");
        let announcement = Announcement { interfaces: interfaces.clone(), takeover: Takeover(1), history };
        let announcements = Announcements::from([(vip(), announcement)]);
        let vips = [vip()];
        let notices = it.judge(&announcements, [(&key, &vips[..], interfaces)].into_iter());
        notices.into_iter().map(|(_, notice)| (notice.reason, notice.message)).collect()
    }

    fn reasons(it: &mut Outcomes, history: History) -> Vec<&'static str> {
        judge(it, history, &Interfaces::All).into_iter().map(|(reason, _)| reason).collect()
    }

    #[test]
    fn an_assignment_is_told_once_and_again_when_it_comes_anew() {
        let mut it = outcomes(&[("eth0", Ok(()))]);
        let told = judge(&mut it, History::Announced, &Interfaces::All);
        let expected = "announcing from node \"n1\" with protocol \"layer2\"".to_owned();
        assert_eq!(told, [("nodeAssigned", expected)]);
        assert!(reasons(&mut it, History::Announced).is_empty());
        it.forget(&ServiceKey::new("default", "web"));
        assert_eq!(reasons(&mut it, History::Announced), ["nodeAssigned"]);
    }

    #[test]
    fn nothing_is_told_before_the_interfaces_are_known() {
        let mut it = Outcomes::new("n1".into());
        assert!(reasons(&mut it, History::Announced).is_empty());
    }

    #[test]
    fn every_interface_that_was_looked_at_is_named_with_its_fault() {
        let mut it = outcomes(&[("eth0", Err(Unfit::Down)), ("eth1", Ok(()))]);
        let only = Interfaces::Only(["eth0", "eth7"].map(Into::into).into());
        let told = judge(&mut it, History::Announced, &only);
        assert_eq!(told[0].0, "announceFailed");
        let expected = "no interface will do for 192.0.2.1 (eth0: it is down; eth7: no such interface)";
        assert!(told[0].1.ends_with(expected), "{told:?}");
        it.interfaces(&links(&[("eth7", Ok(()))]));
        assert_eq!(judge(&mut it, History::Announced, &only)[0].0, "nodeAssigned");
    }

    #[test]
    fn a_stranger_that_goes_on_claiming_an_address_is_told_of_once() {
        let mut it = outcomes(&[("eth0", Ok(()))]);
        judge(&mut it, History::Announced, &Interfaces::All);
        assert_eq!([it.claimed(&conflict()), it.claimed(&conflict())], [true, false]);
        it.judge(&Announcements::new(), std::iter::empty());
        assert!(it.claimed(&conflict()), "it was given up in between");
    }

    #[test]
    fn a_new_address_waits_for_the_answer_of_the_lan() {
        let mut it = outcomes(&[("eth0", Ok(()))]);
        assert!(reasons(&mut it, History::New).is_empty());
        it.taken(conflict());
        let told = judge(&mut it, History::New, &Interfaces::All);
        assert_eq!(told[0].0, "addressConflict");
        assert!(told[0].1.contains("02:00:00:00:00:09"), "{told:?}");
        assert!(!it.is_announced(&ServiceKey::new("default", "web")));
        it.free(vip(), "eth0".into());
        assert_eq!(reasons(&mut it, History::New), ["nodeAssigned"]);
    }

    #[test]
    fn all_interfaces_of_a_conflict_are_named() {
        let mut it = outcomes(&[("eth0", Ok(())), ("eth1", Ok(()))]);
        it.taken(conflict());
        it.taken(Conflict { interface: "eth1".into(), ..conflict() });
        let told = judge(&mut it, History::New, &Interfaces::All);
        assert!(told[0].1.contains("on eth0") && told[0].1.contains("on eth1"), "{told:?}");
        it.free(vip(), "eth1".into());
        let told = judge(&mut it, History::Announced, &Interfaces::All);
        assert_eq!(told[0].0, "addressConflict", "it is not announced everywhere");
        assert!(told[0].1.contains("where nobody has it, it is announced"), "{told:?}");
    }

    #[test]
    fn an_address_that_an_unheard_peer_answers_for_is_told_as_such() {
        let mut it = outcomes(&[("eth0", Ok(()))]);
        it.held(conflict());
        assert_eq!(reasons(&mut it, History::Announced), ["peerUnheard"]);
        assert!(it.contested().is_empty(), "no foreign host has it");
        it.free(vip(), "eth0".into());
        assert_eq!(reasons(&mut it, History::Announced), ["nodeAssigned"]);
    }
}
