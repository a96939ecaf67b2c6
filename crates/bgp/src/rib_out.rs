//! Adj-RIB-Out: what the peer was told, and what it is still to be told (RFC 4271 section 3.2).
//!
//! What is wanted may change at any time and as often as it likes. What is written is the difference to what was said, at
//! the moment when there is room to write it: changes that come while the peer is slow fall together, and a prefix that
//! comes and goes meanwhile is never mentioned. Prefixes with the same attributes share messages.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use objects::Family;

use crate::config::Families;
use crate::route::{Attributes, Prefix, RouteChange, Routes};
use crate::wire::attributes::{Context, Tenure};
use crate::wire::update;

/// What was agreed on with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// The families whose routes are exchanged.
    pub families: Families,
    /// The address by which the peer reaches this end, for each family.
    pub next_hops: NextHops,
    /// What else attributes depend on.
    pub context: Context,
}

/// The next hops of a session. Routes of a family without one are not announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NextHops {
    /// Of IPv4 prefixes; an IPv6 address where the peer knows RFC 8950.
    pub v4: Option<IpAddr>,
    /// Of IPv6 prefixes.
    pub v6: Option<Ipv6Addr>,
}

impl NextHops {
    /// That of prefixes of `family`.
    pub fn of(self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6.map(IpAddr::from),
        }
    }
}

/// What a peer is told.
#[derive(Debug)]
pub struct RibOut {
    entries: BTreeMap<Prefix, Entry>,
    /// Prefixes that may be told otherwise than they are wanted,
    changed: BTreeSet<Prefix>,
    /// those of them whose turn it is,
    turn: Turn,
    /// and how many entries are as they were told.
    said: usize,
    tenure: Tenure,
    /// Whether every route that there is now has been named.
    complete: bool,
    /// Whose End-of-RIB is still to come.
    ends: BTreeSet<Family>,
    agreement: Option<Agreement>,
}

#[derive(Debug, Default)]
struct Entry {
    wanted: Option<Arc<Attributes>>,
    said: Option<Said>,
}

#[derive(Debug)]
struct Said {
    attributes: Arc<Attributes>,
    /// Whether it is as good as unsaid: the peer has asked for it again, or it was said under another tenure.
    stale: bool,
}

/// Prefixes that share messages. What of it is overtaken is left out when it is written.
#[derive(Debug, Default)]
struct Turn {
    withdrawn: BTreeMap<Family, Vec<Prefix>>,
    announced: BTreeMap<(Family, Arc<Attributes>), Vec<Prefix>>,
}

impl Default for RibOut {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            changed: BTreeSet::new(),
            turn: Turn::default(),
            said: 0,
            tenure: Tenure::Lasting,
            complete: false,
            ends: BTreeSet::new(),
            agreement: None,
        }
    }
}

/// Routes that the peer was told with the same attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SaidGroup {
    pub(crate) attributes: Arc<Attributes>,
    /// Whether they are to be told once more.
    pub(crate) stale: bool,
    pub(crate) prefixes: Vec<Prefix>,
}

/// What goes on when another process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What the peer was told.
    pub(crate) said: Vec<SaidGroup>,
    /// Whose End-of-RIB is still to come.
    pub(crate) ends: BTreeSet<Family>,
    /// Whether every route that there was had been named.
    pub(crate) complete: bool,
}

impl RibOut {
    /// How far it has come with the peer, where routes are here to stay.
    pub(crate) fn progress(&self) -> Progress {
        let mut groups: BTreeMap<(&Arc<Attributes>, bool), Vec<Prefix>> = BTreeMap::new();
        for (&prefix, entry) in &self.entries {
            if let Some(Said { attributes, stale }) = &entry.said {
                groups.entry((attributes, *stale)).or_default().push(prefix);
            }
        }
        let group = |((attributes, stale), prefixes): ((&Arc<Attributes>, bool), _)| {
            let attributes = Arc::clone(attributes);
            SaidGroup { attributes, stale, prefixes }
        };
        let said = groups.into_iter().map(group).collect();
        Progress { said, ends: self.ends.clone(), complete: self.complete }
    }

    /// Goes on from there. What was said is wanted.
    pub(crate) fn resume(agreement: Agreement, Progress { said, ends, complete }: Progress) -> Self {
        let mut rib = Self { agreement: Some(agreement), ends, complete, ..Self::default() };
        for SaidGroup { attributes, stale, prefixes } in said {
            for prefix in prefixes {
                let said = Said { attributes: Arc::clone(&attributes), stale };
                let entry = Entry { wanted: Some(Arc::clone(&attributes)), said: Some(said) };
                rib.entries.insert(prefix, entry);
                if stale {
                    rib.changed.insert(prefix);
                }
            }
        }
        rib.said = rib.entries.len();
        rib
    }

    /// The routes that the peer is to know.
    pub fn routes(&self) -> Routes {
        let wanted = self.entries.iter().filter_map(|(prefix, it)| Some((*prefix, it.wanted.clone()?)));
        wanted.collect()
    }

    /// These routes are wanted from now on, or not any more.
    pub fn change(&mut self, changes: impl IntoIterator<Item = RouteChange>) {
        for RouteChange { prefix, attributes } in changes {
            let entry = self.entries.entry(prefix).or_default();
            if entry.wanted == attributes && (attributes.is_some() || entry.said.is_some()) {
                continue;
            }
            entry.wanted = attributes;
            if entry.wanted.is_none() && entry.said.is_none() {
                self.entries.remove(&prefix);
                self.changed.remove(&prefix);
            } else {
                self.changed.insert(prefix);
            }
        }
    }

    /// Every route that there is now has been named, so the end may be told.
    pub fn set_complete(&mut self) {
        self.complete = true;
    }

    /// No route is wanted any more.
    pub fn clear(&mut self) {
        let all: Vec<Prefix> = self.entries.keys().copied().collect();
        self.change(all.into_iter().map(|prefix| RouteChange { prefix, attributes: None }));
    }

    /// Whether the routes are here to stay. Says all of them anew when that changes.
    pub fn set_tenure(&mut self, tenure: Tenure) {
        if self.tenure != tenure {
            self.tenure = tenure;
            self.repeat(|_| true);
        }
    }

    /// The peer wants to hear the routes of `family` once more, and their end.
    pub fn refresh(&mut self, family: Family) {
        self.repeat(|prefix| prefix.family() == family);
        if self.agreement.is_some_and(|it| it.families.contain(family)) {
            self.ends.insert(family);
        }
    }

    fn repeat(&mut self, which: impl Fn(Prefix) -> bool) {
        for (&prefix, entry) in self.entries.iter_mut().filter(|(prefix, _)| which(**prefix)) {
            if let Some(said) = &mut entry.said {
                said.stale = true;
                self.changed.insert(prefix);
            }
        }
    }

    /// A session begins: the peer knows nothing.
    pub fn begin(&mut self, agreement: Agreement) {
        self.end();
        self.ends = agreement.families.iter().collect();
        self.agreement = Some(agreement);
    }

    /// A family has a next hop that had none.
    pub(crate) fn add_next_hops(&mut self, next_hops: NextHops) {
        if let Some(agreement) = &mut self.agreement {
            agreement.next_hops = next_hops;
        }
    }

    /// The session is over: the peer has forgotten what it was told.
    pub fn end(&mut self) {
        self.agreement = None;
        self.ends.clear();
        self.turn = Turn::default();
        self.said = 0;
        self.entries.retain(|_, entry| {
            entry.said = None;
            entry.wanted.is_some()
        });
        self.changed = self.entries.keys().copied().collect();
    }

    /// How many prefixes the peer knows.
    pub fn announced(&self) -> usize {
        self.said
    }

    /// How many prefixes the peer is to know.
    pub fn wanted(&self) -> usize {
        self.entries.values().filter(|entry| entry.wanted.is_some()).count()
    }

    /// Whether there are routes of `family` to tell.
    pub fn has(&self, family: Family) -> bool {
        // IPv4 sorts before IPv6.
        let ends = [self.entries.first_key_value(), self.entries.last_key_value()];
        ends.into_iter().flatten().any(|(prefix, _)| prefix.family() == family)
    }

    /// Whether the peer was told everything.
    pub fn is_settled(&self) -> bool {
        self.changed.iter().all(|prefix| !self.can_say(prefix.family()))
            && self.turn.withdrawn.is_empty()
            && self.turn.announced.is_empty()
    }

    /// The next message to write, if there is something to say.
    pub fn poll(&mut self) -> Option<Vec<u8>> {
        let agreement = self.agreement?;
        loop {
            if let Some(message) = self.next_withdrawal().or_else(|| self.next_announcement(agreement)) {
                return Some(message);
            }
            if !self.next_turn() {
                break;
            }
        }
        if !self.complete {
            return None;
        }
        self.ends.pop_first().map(update::end_of_rib)
    }

    fn can_say(&self, family: Family) -> bool {
        self.agreement.is_some_and(|it| it.families.contain(family) && it.next_hops.of(family).is_some())
    }

    /// Everything that has changed has its turn. False if nothing has.
    fn next_turn(&mut self) -> bool {
        let (turn, kept): (BTreeSet<Prefix>, _) =
            std::mem::take(&mut self.changed).into_iter().partition(|prefix| self.can_say(prefix.family()));
        self.changed = kept;
        for &prefix in &turn {
            let Some(entry) = self.entries.get(&prefix) else { continue };
            match &entry.wanted {
                Some(wanted) => {
                    let group = (prefix.family(), Arc::clone(wanted));
                    self.turn.announced.entry(group).or_default().push(prefix);
                }
                None => self.turn.withdrawn.entry(prefix.family()).or_default().push(prefix),
            }
        }
        !turn.is_empty()
    }

    fn next_withdrawal(&mut self) -> Option<Vec<u8>> {
        while let Some((family, mut prefixes)) = self.turn.withdrawn.pop_first() {
            prefixes.retain(|prefix| self.entries.get(prefix).is_some_and(Entry::is_to_withdraw));
            if prefixes.is_empty() {
                continue;
            }
            let (message, rest) = update::withdraw(&prefixes);
            for prefix in &prefixes[..prefixes.len() - rest.len()] {
                self.entries.remove(prefix);
                self.changed.remove(prefix);
                self.said -= 1;
            }
            if !rest.is_empty() {
                self.turn.withdrawn.insert(family, rest.to_vec());
            }
            return Some(message);
        }
        None
    }

    fn next_announcement(&mut self, agreement: Agreement) -> Option<Vec<u8>> {
        while let Some(((family, attributes), mut prefixes)) = self.turn.announced.pop_first() {
            let next_hop = agreement.next_hops.of(family)?;
            prefixes.retain(|prefix| self.entries.get(prefix).is_some_and(|it| it.is_to_say(&attributes)));
            if prefixes.is_empty() {
                continue;
            }
            let (message, rest) =
                update::announce(&attributes, self.tenure, next_hop, agreement.context, &prefixes);
            for prefix in &prefixes[..prefixes.len() - rest.len()] {
                let entry = self.entries.get_mut(prefix).expect("only those that exist were kept");
                let said = Said { attributes: Arc::clone(&attributes), stale: false };
                if entry.said.replace(said).is_none() {
                    self.said += 1;
                }
                self.changed.remove(prefix);
            }
            if !rest.is_empty() {
                let rest = rest.to_vec();
                self.turn.announced.insert((family, attributes), rest);
            }
            return Some(message);
        }
        None
    }
}

impl Entry {
    fn is_to_withdraw(&self) -> bool {
        self.wanted.is_none() && self.said.is_some()
    }

    fn is_to_say(&self, attributes: &Attributes) -> bool {
        let wanted = self.wanted.as_deref() == Some(attributes);
        let said = self.said.as_ref().is_some_and(|said| !said.stale && *said.attributes == *attributes);
        wanted && !said
    }
}

#[cfg(test)]
mod tests;
