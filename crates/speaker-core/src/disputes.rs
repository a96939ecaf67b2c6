//! Speakers that have seen different states of the cluster, though they hear each other well.
//!
//! Each speaker follows the API server by itself. One that is cut off from it goes on by what it has seen last, and by that
//! it is mostly right: a control plane that is down moves nothing. But where something has changed meanwhile, two may
//! announce one address, each by its own view; or all others may rely on one that does not know that it is its turn.
//!
//! ```text
//!  a peer that is heard answers for what is announced here, still after PATIENCE --+
//!                                                                                  +--> raised: the peer is asked by
//!  nobody answers PATIENCE after a peer was to begin, by what is known here -------+    gossip to give the address up
//!
//!  raised, and the peer neither gives it up nor asks the same of us by REPORTED ------> it does not hear us: the LAN tells
//!                                                                                       which of the two goes on, as between
//!                                                                                       peers that do not hear each other
//!  somebody raises it against us, and we have not seen all that it has seen ----------> conceded: we give it up, and say so
//! ```
//!
//! - *Who yields* is decided by who is asked to, and by nobody else: it compares the versions of the objects that the other
//!   has seen ([`Versions`]) with those up to which it has seen everything itself. All others, and the election, go by what
//!   is [conceded](placement::NodeProfile::conceded): such a node is no candidate for the address. When it has caught up,
//!   or nobody asks it any more, it takes the concession back.
//! - *Nothing travels* while nothing is disputed, and only the disputed addresses move.
//! - *Versions* are those of objects on one side, of lists and objects on the other: so a speaker that has just listed
//!   is not ahead of one that has followed all the while. Each kind is compared for itself. After etcd was restored
//!   from a backup, they count anew for whoever sees the restored state; one that is cut off by then may win its
//!   disputes with the state before, until it is back: there is one announcer, by an old view.
//! - *Whoever has the gossip's key can lie.* With enormous versions it can make others give addresses up. They look
//!   whether somebody answers for those, and if nobody does, take them back and concede them no more for [`REFUSED`]. Nor
//!   do they concede one that a Service has more often than [`UNCONFIRMED`] for which nobody was seen to answer, for whoever
//!   asks and asks no more, time and again, is never looked at. So it can draw addresses to itself, as it can by ARP alone,
//!   and leave an address unanswered for two seconds in a minute, and twice as long at first. What it raised is forgotten
//!   when it falls silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use placement::{Disputed, Interfaces, Kind, Moved, NodeName, NodeProfile, Versions};
use timers::Rate;

use crate::announce::layer2::Conflict;

/// Whoever is to announce an address has begun by then, also where the news came late.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of several that look whether it has, each waits so much longer than the one before: mostly the first is enough.
const STAGGER: Duration = Duration::from_millis(150);
/// So many of the next in rank look, besides who announced it before.
const LOOKERS: usize = 4;
/// What was asked for is answered by then, or will not be.
const REPORTED: Duration = Duration::from_millis(300);
/// Whoever is asked to give an address up has done so by then, or will not, and is not asked again for a while.
const UNANSWERED: Duration = Duration::from_secs(3);
const RAISED_AGAIN: Duration = Duration::from_secs(5);
/// Somebody else answers by then for what was given up; after that it is looked at again from time to time.
const TAKEN_OVER: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// For so long nothing is given up that nobody answered for.
const REFUSED: Duration = Duration::from_mins(1);
/// So often is an address given up for which nobody was seen to answer before it was taken back.
const UNCONFIRMED: Rate = Rate::new(2, REFUSED);
/// So many addresses are looked at, and so many disputes raised, at most.
const MOST: usize = 512;

/// How much of one kind of objects has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Everything up to this version; zero where it is no number.
    pub complete: u64,
    /// The newest version of any object, also of one that is gone.
    pub newest: u64,
}

/// What is disputed, who raised it, and what comes of it.
#[derive(Debug, Default)]
pub(crate) struct Disputes {
    complete: Versions,
    newest: Versions,
    watched: BTreeMap<IpAddr, Watch>,
    raised: BTreeMap<(NodeName, IpAddr), Raised>,
    /// What had been seen when the last of them was raised.
    raised_with: Versions,
    /// What was raised in vain, and is not raised again before.
    in_vain: BTreeMap<(NodeName, IpAddr), Instant>,
    /// Where peers answer who may not hear us.
    unnoticed: Vec<Conflict>,
    conceded: BTreeSet<IpAddr>,
    refused: BTreeMap<IpAddr, Instant>,
    /// What was given up and not seen to be answered for, and when it may be given up again as often as [`UNCONFIRMED`] says.
    unconfirmed: BTreeMap<IpAddr, Instant>,
}

/// An address of which is to be known whether somebody answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watch {
    why: Why,
    /// Where.
    pub(crate) interfaces: Interfaces,
    /// When the LAN is asked.
    pub(crate) ask: Instant,
    silent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// This node is to announce it.
    Expected(NodeName),
    /// We have given it up.
    Conceded,
}

#[derive(Debug)]
struct Raised {
    at: Instant,
    conceded: bool,
    /// Where the peer answered, until it has had the time to notice that it is asked.
    answered: Option<Conflict>,
}

/// What is known of the others.
pub(crate) struct Others<'a> {
    pub(crate) me: &'a NodeName,
    /// The live ones.
    pub(crate) members: &'a BTreeSet<NodeName>,
    /// Those that ask anybody to give anything up.
    pub(crate) disputing: &'a BTreeSet<NodeName>,
    /// What each tells of itself.
    pub(crate) told: &'a dyn Fn(&NodeName) -> Option<&'a NodeProfile>,
    /// Who should announce an address.
    pub(crate) announcer: &'a dyn Fn(IpAddr) -> Option<&'a NodeName>,
    /// Where an address is announced from this node, if it is.
    pub(crate) interfaces: &'a dyn Fn(IpAddr) -> Option<&'a Interfaces>,
    /// Whether any Service has an address.
    pub(crate) used: &'a dyn Fn(IpAddr) -> bool,
}

impl Disputes {
    /// So much has been seen of a kind. An older state than before is that of an etcd which was restored from a backup.
    pub(crate) fn seen(&mut self, kind: Kind, seen: Seen) {
        if seen.complete < self.complete.get(kind) {
            self.raised.clear();
            self.newest.set(kind, 0);
        }
        self.complete.set(kind, seen.complete);
        self.newest.set(kind, seen.newest.max(self.newest.get(kind)));
    }

    /// Another node is to announce an address from now on.
    pub(crate) fn moved(&mut self, moved: Moved, now: Instant) {
        let Moved { vip, to, interfaces, from_here, place } = moved;
        if self.conceded.contains(&vip) {
            return;
        }
        let later = match place.filter(|_| !from_here) {
            None => 0,
            Some(place) => u32::try_from(place + 1).unwrap_or(u32::MAX),
        };
        let looks = from_here || place.is_some_and(|place| place < LOOKERS);
        if looks && self.watched.len() < MOST {
            let ask = now + PATIENCE + STAGGER * later;
            self.watched.insert(vip, Watch { why: Why::Expected(to), interfaces, ask, silent: false });
        } else {
            self.watched.remove(&vip);
        }
    }

    /// `by` answers for an address that is watched.
    pub(crate) fn answered(&mut self, vip: IpAddr, by: Option<&NodeName>, now: Instant) {
        let Some(watch) = self.watched.get_mut(&vip) else { return };
        match &watch.why {
            Why::Expected(node) if now >= watch.ask || by == Some(node) => _ = self.watched.remove(&vip),
            // Elsewhere nobody may: it is enough that it is answered for somewhere.
            Why::Conceded if now >= watch.ask => {
                (watch.ask, watch.silent) = (now + LOOK_AGAIN, false);
                self.unconfirmed.remove(&vip);
            }
            // It may be who had it before.
            Why::Expected(_) | Why::Conceded => {}
        }
    }

    /// Nobody answers for an address that is watched, where that was asked.
    pub(crate) fn silent(&mut self, vip: IpAddr) {
        if let Some(watch) = self.watched.get_mut(&vip) {
            watch.silent = true;
        }
    }

    /// `node`, which is heard, answers for what is announced here, and is to give it up.
    pub(crate) fn answers_too(&mut self, node: NodeName, conflict: Conflict, now: Instant) {
        self.raise_where(node, conflict.vip, Some(conflict), now);
    }

    /// `node`, which is heard, is to give `vip` up, unless it has seen as much as we.
    pub(crate) fn raise(&mut self, node: NodeName, vip: IpAddr, now: Instant) {
        self.raise_where(node, vip, None, now);
    }

    fn raise_where(&mut self, node: NodeName, vip: IpAddr, answered: Option<Conflict>, now: Instant) {
        let dispute = (node, vip);
        let in_vain = self.in_vain.get(&dispute).is_some_and(|until| now < *until);
        if self.newest.is_known()
            && !in_vain
            && !self.raised.contains_key(&dispute)
            && self.raised.len() < MOST
        {
            self.raised.insert(dispute, Raised { at: now, conceded: false, answered });
            self.raised_with = self.newest;
        }
    }

    /// Brings everything in line with what the others tell, and with the time.
    pub(crate) fn follow(&mut self, others: &Others<'_>, now: Instant) {
        self.refused.retain(|_, until| now < *until);
        self.unconfirmed.retain(|_, all_again| now < *all_again);
        self.in_vain.retain(|_, until| now < *until);
        self.look(others, now);
        let Self { raised, raised_with, in_vain, unnoticed, .. } = self;
        raised.retain(|(node, vip), it| {
            if !others.members.contains(node) || !(others.used)(*vip) {
                return false;
            }
            let told = (others.told)(node);
            let conceded = told.is_some_and(|told| told.conceded.contains(vip));
            if now >= it.at + REPORTED
                && let Some(conflict) = it.answered.take()
            {
                // Of two that have seen the same, neither gives way to the other, whichever of them hears it.
                let reacts = told.is_some_and(|told| {
                    told.disputed.asks(others.me, *vip) && told.disputed.versions != *raised_with
                });
                let unheard = !conceded && !reacts && (others.interfaces)(*vip).is_some();
                unnoticed.extend(unheard.then_some(conflict));
            }
            if conceded {
                it.conceded = true;
            } else if !it.conceded && now >= it.at + UNANSWERED {
                in_vain.insert((node.clone(), *vip), now + RAISED_AGAIN);
            }
            // Who has conceded and does so no more has caught up.
            conceded || (!it.conceded && now < it.at + UNANSWERED)
        });
        self.concede(others, now);
    }

    /// What was found out about the addresses that are watched.
    fn look(&mut self, others: &Others<'_>, now: Instant) {
        let over: Vec<_> = self.watched.extract_if(.., |_, watch| watch.ends() <= now).collect();
        for (vip, watch) in over {
            match &watch.why {
                Why::Expected(node) if watch.silent => {
                    if (others.announcer)(vip) == Some(node) && others.members.contains(node) {
                        self.raise(node.clone(), vip, now);
                    }
                }
                Why::Expected(_) => {}
                Why::Conceded if watch.silent => _ = self.refused.insert(vip, now + REFUSED),
                // There is no interface to ask on.
                Why::Conceded => {
                    self.watched.insert(vip, Watch { ask: now + LOOK_AGAIN, ..watch });
                }
            }
        }
        let expected = |vip: &IpAddr, watch: &Watch| match &watch.why {
            Why::Expected(node) => (others.announcer)(*vip) == Some(node) && others.members.contains(node),
            Why::Conceded => true,
        };
        self.watched.retain(|vip, watch| expected(vip, watch));
    }

    /// Gives up what others ask for that have seen more, and nothing else.
    ///
    /// What one says of an address that it gives up itself counts only for those that come after it by name: of two that have
    /// each seen what the other has not, one goes on.
    fn concede(&mut self, others: &Others<'_>, now: Instant) {
        let mut conceded = BTreeSet::new();
        for node in others.disputing.intersection(others.members) {
            let Some(told) = (others.told)(node) else { continue };
            let asked = told.disputed.by_node.get(others.me).into_iter().flatten();
            if self.complete.lack(&told.disputed.versions) {
                conceded.extend(asked.filter(|vip| !(told.conceded.contains(vip) && others.me < node)));
            }
        }
        conceded.retain(|vip| !self.refused.contains_key(vip));
        let fresh: Vec<_> = conceded.difference(&self.conceded).copied().collect();
        for vip in fresh {
            // By not answering for what no Service is known to have, nothing is left unanswered.
            if (others.used)(vip) {
                match UNCONFIRMED.take(self.unconfirmed.get(&vip).copied(), now) {
                    Ok(all_again) => _ = self.unconfirmed.insert(vip, all_again),
                    Err(next) => {
                        self.refused.insert(vip, next);
                        conceded.remove(&vip);
                        continue;
                    }
                }
            }
            let (why, ask) = (Why::Conceded, now + TAKEN_OVER);
            let interfaces = (others.interfaces)(vip).cloned().unwrap_or(Interfaces::All);
            self.watched.insert(vip, Watch { why, interfaces, ask, silent: false });
        }
        for vip in self.conceded.difference(&conceded) {
            self.watched.remove(vip);
        }
        self.conceded = conceded;
    }

    /// Where peers answer who were asked to give an address up, and may not have heard that.
    pub(crate) fn take_unnoticed(&mut self) -> Vec<Conflict> {
        std::mem::take(&mut self.unnoticed)
    }

    /// The addresses of which is to be known whether somebody answers.
    pub(crate) fn watched(&self) -> &BTreeMap<IpAddr, Watch> {
        &self.watched
    }

    /// The addresses that are given up.
    pub(crate) fn conceded(&self) -> &BTreeSet<IpAddr> {
        &self.conceded
    }

    /// What the others are asked to give up.
    pub(crate) fn disputed(&self) -> Disputed {
        let mut by_node: BTreeMap<NodeName, BTreeSet<IpAddr>> = BTreeMap::new();
        for (node, vip) in self.raised.keys() {
            by_node.entry(node.clone()).or_default().insert(*vip);
        }
        let versions = if by_node.is_empty() { Versions::default() } else { self.raised_with };
        Disputed { versions, by_node }
    }

    /// When to call [`Self::follow`] next, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let watched = self.watched.values().map(Watch::ends);
        let raised = self.raised.values().filter(|it| !it.conceded);
        let raised = raised.map(|it| it.at + if it.answered.is_some() { REPORTED } else { UNANSWERED });
        watched.chain(raised).chain(self.refused.values().copied()).min()
    }
}

impl Watch {
    fn ends(&self) -> Instant {
        self.ask + REPORTED
    }
}

#[cfg(test)]
mod tests;
