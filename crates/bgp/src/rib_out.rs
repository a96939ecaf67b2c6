//! Adj-RIB-Out: what the peer was told, and what it is still to be told (RFC 4271 section 3.2).
//!
//! What is wanted may change at any time and as often as it likes. What is written is the difference to what was said, at
//! the moment when there is room to write it: changes that come while the peer is slow fall together, and a prefix that
//! comes and goes meanwhile is never mentioned. Prefixes with the same attributes share messages.
//!
//! What is wanted is shared with all who want the same, and of what was said only that is kept which differs from it: a session
//! that has said everything keeps nothing of its own, however many routes there are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use objects::Family;

use crate::config::Families;
use crate::route::{Attributes, Prefix, Routes};
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
    /// What the peer is to know.
    wanted: Arc<Routes>,
    /// The prefixes of which it was told something else, with what that is. It was told of all others as they are wanted. Empty
    /// while there is no session.
    pending: BTreeMap<Prefix, Option<Said>>,
    /// Those of them whose turn it is,
    turn: Turn,
    /// and how many prefixes the peer knows.
    said: usize,
    tenure: Tenure,
    /// Whether every route that there is now has been named.
    complete: bool,
    /// Whose End-of-RIB is still to come.
    ends: BTreeSet<Family>,
    /// What the peer has asked to hear once more.
    asked: BTreeSet<Family>,
    agreement: Option<Agreement>,
}

#[derive(Debug)]
struct Said {
    attributes: Arc<Attributes>,
    /// Whether it is as good as unsaid: the peer has asked for it again, or it was said under another tenure.
    stale: bool,
}

/// Prefixes that share messages.
#[derive(Debug, Default)]
struct Turn {
    withdrawn: BTreeMap<Family, Vec<Prefix>>,
    announced: BTreeMap<(Family, Arc<Attributes>), Vec<Prefix>>,
    /// Whether some of it may be overtaken, and is to be left out.
    overtaken: bool,
}

impl Default for RibOut {
    fn default() -> Self {
        Self {
            wanted: Arc::default(),
            pending: BTreeMap::new(),
            turn: Turn::default(),
            said: 0,
            tenure: Tenure::Lasting,
            complete: false,
            ends: BTreeSet::new(),
            asked: BTreeSet::new(),
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
        let settled = self.wanted.iter().filter(|(prefix, _)| !self.pending.contains_key(prefix));
        let settled = settled.map(|(prefix, attributes)| (prefix, attributes, false));
        let pending = self.pending.iter().filter_map(|(prefix, said)| Some((prefix, said.as_ref()?)));
        let pending = pending.map(|(prefix, said)| (prefix, &said.attributes, said.stale));
        for (prefix, attributes, stale) in settled.filter(|_| self.agreement.is_some()).chain(pending) {
            let stale = stale || self.asked.contains(&prefix.family());
            groups.entry((attributes, stale)).or_default().push(*prefix);
        }
        let group = |((attributes, stale), mut prefixes): ((&Arc<Attributes>, bool), Vec<Prefix>)| {
            prefixes.sort_unstable();
            SaidGroup { attributes: Arc::clone(attributes), stale, prefixes }
        };
        let said = groups.into_iter().map(group).collect();
        Progress { said, ends: self.ends.union(&self.asked).copied().collect(), complete: self.complete }
    }

    /// Goes on from there. What was said is wanted.
    pub(crate) fn resume(agreement: Agreement, Progress { said, ends, complete }: Progress) -> Self {
        let (mut wanted, mut pending) = (Routes::new(), BTreeMap::new());
        for SaidGroup { attributes, stale, prefixes } in said {
            for prefix in prefixes {
                wanted.insert(prefix, Arc::clone(&attributes));
                if stale {
                    pending.insert(prefix, Some(Said { attributes: Arc::clone(&attributes), stale }));
                } else {
                    pending.remove(&prefix);
                }
            }
        }
        let (said, wanted) = (wanted.len(), Arc::new(wanted));
        Self { wanted, pending, said, agreement: Some(agreement), ends, complete, ..Self::default() }
    }

    /// The routes that the peer is to know.
    pub fn routes(&self) -> &Arc<Routes> {
        &self.wanted
    }

    /// These routes are wanted from now on, and no others.
    pub fn want(&mut self, routes: Arc<Routes>) {
        let before = std::mem::replace(&mut self.wanted, routes);
        if self.agreement.is_none() || Arc::ptr_eq(&before, &self.wanted) {
            return;
        }
        self.turn.overtaken = true;
        for (prefix, was, is) in differences(&before, &self.wanted) {
            let told_so = || was.map(|it| Said { attributes: Arc::clone(it), stale: false });
            let said = self.pending.remove(&prefix).unwrap_or_else(told_so);
            let is_said = match (&said, is) {
                (Some(said), Some(wanted)) => !said.stale && said.attributes == *wanted,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !is_said {
                self.pending.insert(prefix, said);
            }
        }
    }

    /// Every route that there is now has been named, so the end may be told.
    pub fn set_complete(&mut self) {
        self.complete = true;
    }

    /// No route is wanted any more.
    pub fn clear(&mut self) {
        self.want(Arc::default());
    }

    /// Whether the routes are here to stay. Says all of them anew when that changes.
    pub fn set_tenure(&mut self, tenure: Tenure) {
        if self.tenure != tenure {
            self.tenure = tenure;
            self.repeat(|_| true);
        }
    }

    /// The peer wants to hear the routes of a family once more, and their end: see [`Self::refresh`].
    pub fn ask(&mut self, family: Option<Family>) {
        let is_exchanged = |family: &Family| self.agreement.is_some_and(|it| it.families.contain(*family));
        self.asked.extend(family.filter(is_exchanged));
    }

    /// Says anew what was asked for. False if nothing was. It takes as long as there are routes, however often it was asked.
    pub fn refresh(&mut self) -> bool {
        let mut asked = std::mem::take(&mut self.asked);
        let is_asked = !asked.is_empty();
        if is_asked {
            self.repeat(|prefix| asked.contains(&prefix.family()));
            self.ends.append(&mut asked);
        }
        is_asked
    }

    fn repeat(&mut self, which: impl Fn(Prefix) -> bool) {
        if self.agreement.is_none() {
            return;
        }
        self.turn.overtaken = true;
        for (&prefix, attributes) in self.wanted.iter().filter(|(prefix, _)| which(**prefix)) {
            let told_so = || Some(Said { attributes: Arc::clone(attributes), stale: true });
            self.pending.entry(prefix).or_insert_with(told_so);
        }
        let said = self.pending.iter_mut().filter(|(prefix, _)| which(**prefix));
        said.filter_map(|(_, said)| said.as_mut()).for_each(|said| said.stale = true);
    }

    /// A session begins: the peer knows nothing.
    pub fn begin(&mut self, agreement: Agreement) {
        self.end();
        self.ends = agreement.families.iter().collect();
        self.agreement = Some(agreement);
        self.pending = self.wanted.keys().map(|prefix| (*prefix, None)).collect();
    }

    /// A family has a next hop that had none, or another one.
    pub(crate) fn set_next_hops(&mut self, next_hops: NextHops) {
        let Some(agreement) = &mut self.agreement else { return };
        let before = std::mem::replace(&mut agreement.next_hops, next_hops);
        let is_new = |family| before.of(family) != next_hops.of(family);
        if is_new(Family::V4) || is_new(Family::V6) {
            self.repeat(|prefix| is_new(prefix.family()));
        }
    }

    /// The session is over: the peer has forgotten what it was told.
    pub fn end(&mut self) {
        self.agreement = None;
        self.ends.clear();
        self.asked.clear();
        self.turn = Turn::default();
        self.said = 0;
        self.pending = BTreeMap::new();
    }

    /// How many prefixes the peer knows.
    pub fn announced(&self) -> usize {
        self.said
    }

    /// How many prefixes the peer is to know.
    pub fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// Whether there are routes of `family` to tell.
    pub fn has(&self, family: Family) -> bool {
        // IPv4 sorts before IPv6.
        let ends = [self.wanted.first_key_value(), self.wanted.last_key_value()];
        ends.into_iter().flatten().any(|(prefix, _)| prefix.family() == family)
    }

    /// Whether the peer was told everything.
    pub fn is_settled(&self) -> bool {
        self.asked.is_empty() && self.pending.keys().all(|prefix| !self.can_say(prefix.family()))
    }

    /// The next message to write, if there is something to say.
    pub fn poll(&mut self) -> Option<Vec<u8>> {
        let agreement = self.agreement?;
        self.leave_out_overtaken();
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

    fn leave_out_overtaken(&mut self) {
        let Self { wanted, pending, turn: Turn { withdrawn, announced, overtaken }, .. } = self;
        if !std::mem::take(overtaken) {
            return;
        }
        for prefixes in withdrawn.values_mut() {
            prefixes.retain(|prefix| !wanted.contains_key(prefix) && pending.contains_key(prefix));
        }
        for ((_, attributes), prefixes) in announced {
            prefixes.retain(|it| wanted.get(it) == Some(attributes) && pending.contains_key(it));
        }
    }

    /// Everything that is pending has its turn. False if nothing is.
    fn next_turn(&mut self) -> bool {
        let mut turn = Turn::default();
        for &prefix in self.pending.keys().filter(|prefix| self.can_say(prefix.family())) {
            match self.wanted.get(&prefix) {
                Some(wanted) => {
                    let group = (prefix.family(), Arc::clone(wanted));
                    turn.announced.entry(group).or_default().push(prefix);
                }
                None => turn.withdrawn.entry(prefix.family()).or_default().push(prefix),
            }
        }
        self.turn = turn;
        !self.turn.withdrawn.is_empty() || !self.turn.announced.is_empty()
    }

    fn next_withdrawal(&mut self) -> Option<Vec<u8>> {
        while let Some((family, mut prefixes)) = self.turn.withdrawn.pop_first() {
            if prefixes.is_empty() {
                continue;
            }
            let (message, rest) = update::withdraw(&prefixes);
            let written = prefixes.len() - rest.len();
            for prefix in prefixes.drain(..written) {
                self.pending.remove(&prefix);
                self.said -= 1;
            }
            if !prefixes.is_empty() {
                self.turn.withdrawn.insert(family, prefixes);
            }
            return Some(message);
        }
        None
    }

    fn next_announcement(&mut self, agreement: Agreement) -> Option<Vec<u8>> {
        while let Some(((family, attributes), mut prefixes)) = self.turn.announced.pop_first() {
            let next_hop = agreement.next_hops.of(family)?;
            if prefixes.is_empty() {
                continue;
            }
            let (message, rest) =
                update::announce(&attributes, self.tenure, next_hop, agreement.context, &prefixes);
            let written = prefixes.len() - rest.len();
            for prefix in prefixes.drain(..written) {
                if let Some(None) = self.pending.remove(&prefix) {
                    self.said += 1;
                }
            }
            if !prefixes.is_empty() {
                self.turn.announced.insert((family, attributes), prefixes);
            }
            return Some(message);
        }
        None
    }
}

/// Each prefix that is not the same in both, as it was and as it is.
fn differences<'a>(
    before: &'a Routes,
    after: &'a Routes,
) -> impl Iterator<Item = (Prefix, Option<&'a Arc<Attributes>>, Option<&'a Arc<Attributes>>)> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let pairs = std::iter::from_fn(move || {
        let order = match (before.peek(), after.peek()) {
            (Some((was, _)), Some((is, _))) => was.cmp(is),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let was = if order.is_le() { before.next() } else { None };
        let is = if order.is_ge() { after.next() } else { None };
        let (prefix, _) = was.or(is)?;
        Some((*prefix, was.map(|(_, it)| it), is.map(|(_, it)| it)))
    });
    pairs.filter(|(_, was, is)| was != is)
}

#[cfg(test)]
mod tests;
