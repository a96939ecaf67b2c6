//! Who keeps an address that it took over, though others come back that are preferred to it.
//!
//! Only the node that took an address over knows that it did, so it says so, and everybody ranks it first while it is a
//! candidate. It says so before the others can be back: as soon as it answers for the address, if some node that was a
//! member, and still exists, would be preferred. What another answers for, though it is not heard, was not taken over. It
//! keeps nothing for others, so what it keeps ends with it: when it fails, leaves, or is no candidate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::NodeName;
use crate::election::Precedence;
use crate::index::Placement;

/// So many addresses are kept at most, for all of them are told. Others go back.
const MOST: usize = 256;

/// Whether addresses go back to a node that is preferred when it is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failback {
    /// They do, as MetalLB has it.
    #[default]
    Always,
    /// Whoever took them over keeps them while it can announce them.
    Never,
}

/// Who keeps what.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    failback: Failback,
    /// By address.
    by_vip: BTreeMap<IpAddr, BTreeSet<NodeName>>,
    /// What this node answers for.
    answered: BTreeSet<IpAddr>,
    /// What this node keeps.
    own: BTreeSet<IpAddr>,
    /// All that were members since this began.
    seen: BTreeSet<NodeName>,
}

impl Keeping {
    /// The nodes that keep an address.
    pub(crate) fn of(&self, vip: IpAddr) -> Option<&BTreeSet<NodeName>> {
        self.by_vip.get(&vip)
    }

    /// These are members.
    pub(crate) fn see(&mut self, members: &BTreeSet<NodeName>) {
        if self.failback == Failback::Never {
            self.seen.extend(members.iter().cloned());
        }
    }
}

impl Placement {
    /// Whether addresses go back to nodes that are there again.
    pub fn set_failback(&mut self, failback: Failback) {
        self.keeping.failback = failback;
    }

    /// Another node keeps these addresses and no others, as it says.
    pub fn set_kept(&mut self, node: &NodeName, vips: &BTreeSet<IpAddr>) {
        if self.keeping.failback == Failback::Never {
            let changed = self.keeping.set(node, vips);
            self.stale.add(changed);
        }
    }

    /// Whether this node answers for an address that it is to announce: it does not while the LAN is asked, or where another
    /// goes on answering.
    pub fn set_answered(&mut self, vip: IpAddr, answered: bool) {
        if self.keeping.failback == Failback::Never {
            if answered {
                self.keeping.answered.insert(vip);
            } else {
                self.keeping.answered.remove(&vip);
            }
        }
    }

    /// What this node keeps as of the last [`settle`](Self::settle), for the others to know.
    pub fn kept(&self) -> &BTreeSet<IpAddr> {
        &self.keeping.own
    }

    /// Finds out what this node keeps.
    pub(crate) fn follow_kept(&mut self) {
        if self.keeping.failback == Failback::Always {
            return;
        }
        let announcements = self.takeovers.announcements();
        self.keeping.answered.retain(|vip| announcements.contains_key(vip));
        let eligibility = &self.eligibility;
        self.keeping.seen.retain(|node| eligibility.nodes.contains_key(node));
        let others = self.keeping.seen.iter().filter(|node| **node != self.me);
        let there =
            |node: &&NodeName| eligibility.members.contains(*node) || eligibility.away.contains(*node);
        let (present, absent): (Vec<&NodeName>, Vec<_>) = others.partition(there);
        let keeps = |vip: &IpAddr| {
            let Some(outcome) = self.outcomes.get(vip) else { return false };
            let stands_in = outcome.assignments().any(|it| it.stand_in_for.is_some());
            let preferred = |node: &&NodeName| {
                let precedence = Precedence::of(node, self.homes.of(*vip), None);
                outcome.is_better(node, self.score_of(*vip, node), precedence)
            };
            // Who is there goes before this node, unless that keeps the address already.
            let keeps_already = self.keeping.own.contains(vip);
            !stands_in && (absent.iter().any(preferred) || keeps_already && present.iter().any(preferred))
        };
        let kept = self.keeping.answered.iter().copied().filter(keeps);
        // What is kept already comes first: who is preferred may be there, and would not wait to be told.
        let (held, taken): (Vec<_>, Vec<_>) = kept.partition(|vip| self.keeping.own.contains(vip));
        let own: BTreeSet<IpAddr> = held.into_iter().chain(taken).take(MOST).collect();
        if own != self.keeping.own {
            // What is kept no longer goes to whoever comes, though nobody who is there was preferred.
            let changed = self.keeping.set(&self.me, &own);
            self.stale.add(changed);
            self.keeping.own = own;
        }
    }
}

impl Keeping {
    /// Those for which that makes a difference.
    fn set(&mut self, node: &NodeName, vips: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        let kept = |(vip, nodes): (&IpAddr, &BTreeSet<NodeName>)| nodes.contains(node).then_some(*vip);
        let before: BTreeSet<IpAddr> = self.by_vip.iter().filter_map(kept).collect();
        let changed: Vec<IpAddr> = before.symmetric_difference(vips).copied().collect();
        for vip in &changed {
            let nodes = self.by_vip.entry(*vip).or_default();
            if !nodes.remove(node) {
                nodes.insert(node.clone());
            }
        }
        self.by_vip.retain(|_, nodes| !nodes.is_empty());
        changed
    }
}
