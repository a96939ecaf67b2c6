//! What follows from the interfaces, and from what is heard on the LAN.

use std::net::IpAddr;
use std::time::Duration;

use layer2::{MOST_HOSTS, Report, Stance};
use members::LinkState;
use placement::{InterfaceName, ServiceKey, Takeover};

use super::Core;
use crate::announce::layer2::{Conflict, Rival, answered_by_peer, claimed};
use crate::interfaces::{Link, Links};
use crate::output::{Gossip, Notice};

/// Who still finds a rival after having insisted that often takes it for one that goes by another rule.
const PATIENT_ROUNDS: u32 = 1;
/// Who was found that long ago has followed since, or gone by now: it begins anew.
const SAME_DISPUTE: Duration = Duration::from_secs(3);

impl Core {
    pub(super) fn interfaces(&mut self, links: Links) {
        self.interfaces_followed(true);
        self.follow_sockets(&links);
        let cut = self.cut_among(&links);
        self.profile.macs = links.values().filter_map(Link::known_by).map(|mac| mac.0).collect();
        self.follow_link(cut);
        self.memory.update(&links, self.now);
        self.follow_abilities();
        self.outcomes.interfaces(&links);
        // Where an interface comes back, the LAN is asked anew.
        let fresh = self.plan.set_links(links);
        self.forget_rivals(|on| fresh.contains(on));
        (self.stale.ports, self.stale.outcomes) = (true, true);
    }

    /// The gossip goes through this interface.
    pub(super) fn gossip_interface(&mut self, name: Option<InterfaceName>) {
        if self.gossip_interface != name {
            self.gossip_interface = name;
            self.follow_link(self.cut_among(self.plan.links()));
            self.follow_abilities();
        }
    }

    /// The interface that the gossip goes through, if nothing can be sent through it.
    fn cut_among(&self, links: &Links) -> Option<InterfaceName> {
        let is_cut = |name: &InterfaceName| links.values().any(|link| link.name == *name && link.is_cut());
        self.gossip_interface.clone().filter(is_cut)
    }

    fn follow_link(&mut self, cut: Option<InterfaceName>) {
        let link = if cut.is_some() { LinkState::Down } else { LinkState::Up };
        self.cut = cut.or(self.cut.take());
        if self.link != link {
            self.gossip(Gossip::SetLink(link));
            self.link = link;
        }
        self.follow_isolation();
    }

    /// Where this node can announce. While the interface is cut off that the gossip goes through, nothing is left to others
    /// for what was lost: the same switch may have failed for all nodes, and they cannot say so.
    pub(super) fn follow_abilities(&mut self) {
        (self.profile.abilities, self.profile.prefixes) = (self.memory.abilities(), self.memory.prefixes());
        let abilities = match &self.cut {
            Some(_) => self.profile.abilities.without_lost(),
            None => self.profile.abilities.clone(),
        };
        self.placement.set_abilities(self.node.clone(), abilities);
        self.placement.set_prefixes(self.node.clone(), self.profile.prefixes.clone());
    }

    /// What a port says.
    pub(super) fn port(&mut self, interface: InterfaceName, report: Report) {
        match report {
            Report::Free { vip } => {
                // Whoever answered for it there does so no more.
                if let Some(rivals) = self.wanted.rivals.get_mut(&vip) {
                    rivals.retain(|(on, _), _| *on != interface);
                    self.stale.ports = true;
                }
                self.outcomes.free(vip, interface);
                self.placement.was_announced(vip);
                self.follow_answers(vip);
                (self.stale.announcements, self.stale.outcomes) = (true, true);
            }
            Report::Taken { vip, by } => {
                self.outcomes.taken(Conflict { vip, interface, by });
                self.follow_answers(vip);
                self.stale.outcomes = true;
            }
            Report::Held { vip, by } => {
                self.outcomes.held(Conflict { vip, interface, by });
                self.follow_answers(vip);
                self.stale.outcomes = true;
            }
            Report::Rival { vip, by } => self.rival(Conflict { vip, interface, by }),
            Report::SameLan { by } => {
                if self.plan.heard_own(&interface, by) {
                    self.stale.ports = true;
                    let other = self.plan.name(by).cloned();
                    if let Some(other) = other.clone() {
                        self.memory.found_on_one_lan(interface.clone(), other);
                        // What failed often counts for nothing where another one does as well.
                        self.follow_abilities();
                        self.stale.announcements = true;
                    }
                    self.same_lan.found(interface, other, self.now);
                }
            }
            Report::PeerAnswers { vip, by } => {
                let conflict = Conflict { vip, interface, by };
                let peer = self.peers.owner(by).map_or_else(|| by.to_string(), ToString::to_string);
                let notice = answered_by_peer(&conflict, &peer, &self.node);
                self.tell_of_claim(&conflict, &notice);
            }
            Report::Answered { vip, by } => self.answered(Conflict { vip, interface, by }),
            Report::Silent { vip } => self.disputes.silent(vip),
            Report::Claimed { vip, by } => {
                let conflict = Conflict { vip, interface, by };
                self.tell_of_claim(&conflict, &claimed(&conflict));
            }
            Report::Spoken { vip, takeover } => {
                self.handovers.spoken(Takeover(takeover));
                self.stale.outcomes |= self.outcomes.spoken(vip, interface);
                self.follow_answers(vip);
            }
        }
    }

    /// Only what is answered for can be kept.
    fn follow_answers(&mut self, vip: IpAddr) {
        self.placement.set_answered(vip, self.outcomes.is_answered(vip));
    }

    /// Tells the owners of an address that is announced of somebody else who has it: of each station once.
    fn tell_of_claim(&mut self, conflict: &Conflict, notice: &Notice) {
        if self.outcomes.claimed(conflict, self.now) {
            self.tell_owners(conflict.vip, notice);
        }
    }

    /// Tells the owners of an address that is announced from here something, as far as their budgets go.
    pub(super) fn tell_owners(&mut self, vip: IpAddr, notice: &Notice) {
        for service in self.services_with(vip).collect::<Vec<_>>() {
            if self.outcomes.may_tell(&service, self.now) {
                self.notice(service, notice.clone());
            }
        }
    }

    fn services_with(&self, vip: IpAddr) -> impl Iterator<Item = ServiceKey> {
        let holders = self.placement.announced().filter(move |(_, vips, _)| vips.contains(&vip));
        holders.map(|(service, ..)| service.clone())
    }

    fn forget_rivals(&mut self, on: impl Fn(&InterfaceName) -> bool) {
        for rivals in self.wanted.rivals.values_mut() {
            rivals.retain(|(interface, _), _| !on(interface));
        }
    }

    /// A peer whose gossip is not heard answers for an address too: one of the two goes on. The other finds the same.
    fn rival(&mut self, conflict: Conflict) {
        let at = (conflict.interface.clone(), conflict.by);
        let before = self.wanted.rivals.get(&conflict.vip).and_then(|rivals| rivals.get(&at));
        let before = before.filter(|rival| self.now < rival.found + SAME_DISPUTE);
        let rounds = before.map_or(0, |rival| rival.rounds);
        let stance = if self.goes_before(&conflict, rounds) {
            self.insist()
        } else {
            self.outcomes.held(conflict.clone());
            self.follow_answers(conflict.vip);
            self.stale.outcomes = true;
            Stance::Yields
        };
        self.set_rival(conflict, stance, rounds + 1);
    }

    /// By a stance of its own, it is said once more that we have an address.
    fn insist(&mut self) -> Stance {
        self.insisted += 1;
        Stance::Insists(self.insisted)
    }

    fn set_rival(&mut self, conflict: Conflict, stance: Stance, rounds: u32) {
        let Conflict { vip, interface, by } = conflict;
        let rivals = self.wanted.rivals.entry(vip).or_default();
        rivals.insert((interface, by), Rival { stance, rounds, found: self.now });
        if rivals.len() > MOST_HOSTS {
            let oldest = rivals.iter().min_by_key(|(_, rival)| rival.found).map(|(at, _)| at.clone());
            oldest.into_iter().for_each(|at| _ = rivals.remove(&at));
        }
        self.stale.ports = true;
    }

    /// Whether we go on, rather than the other.
    ///
    /// Peers that know each other go by their rank in the election: so does one that still hears us, and holds the
    /// address for ours. Who does not know the other goes by what both can see, their Ethernet addresses, also where it hears
    /// nobody else: the other may hear nobody either, and if both yielded, nobody would answer. So do those that find that the
    /// other goes on as well, for it may not know them.
    fn goes_before(&self, Conflict { vip, interface, by }: &Conflict, rounds: u32) -> bool {
        let ours = self.plan.mac(interface);
        match self.peers.owner(*by) {
            Some(peer) if rounds < PATIENT_ROUNDS => !self.placement.ranks_first(*vip, peer),
            Some(_) | None => ours.is_some_and(|ours| ours < *by),
        }
    }
}
