//! What must hold, and for how long it may not.
//!
//! Ten milliseconds apart, the world is looked at. In each part of the LAN, the nodes whose speakers run
//! there should agree on who announces what, and exactly that node should answer:
//!
//! | seen | may last, counted from the last disturbance | why so long |
//! |---|---|---|
//! | nobody answers | [`Judge::outage`] | two rounds of judging (the monitors of one who died may have died with it), asking the LAN about a fresh address, settling |
//! | several answer | [`Judge::window`] | the goal for a partition that heals: one second |
//! | several answer, and one of them leaves | that and a verdict | it waits for all to confirm, also for one that stands still and is not held dead yet |
//! | another answers than should | [`Judge::outage`] | that is before the one who should has taken over |
//! | a client believes something else | [`Judge::belief`] | two announcements may cross, and who stood still waits 300 ms before it speaks: the second round, 1.1 s later, puts it right; where frames are lost, one of all five |
//!
//! What has no duration at all: a takeover long after the last thing that could have caused one, and a fellow
//! speaker that is taken for a stranger.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use members::Preset;

use crate::meetings::Meetings;

/// After the last disturbance, everything has found its place within this time.
const CALM: Duration = Duration::from_secs(6);

/// One address in one part of the LAN.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) part: usize,
    pub(crate) vip: IpAddr,
    /// The nodes whose speaker takes part in elections.
    pub(crate) alive: &'a [usize],
    /// The node that should announce it, and those that answer for it.
    pub(crate) should: Option<usize>,
    pub(crate) answer: Vec<usize>,
    /// Whether whoever announces it only stands in for one that is away, and has told nobody.
    pub(crate) lent: bool,
    /// What clients there know.
    pub(crate) beliefs: Vec<Belief>,
}

/// What a client knows of an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Belief {
    /// The number of the client among clients, and among stations.
    pub(crate) client: usize,
    pub(crate) station: usize,
    /// The node where it believes the address to be.
    pub(crate) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Nobody,
    Several,
    Leaving,
    Another,
    Believed { client: usize },
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

#[derive(Debug)]
pub(crate) struct Judge {
    preset: Preset,
    /// The last disturbance of any kind.
    disturbed: Duration,
    /// The last one by which addresses may move.
    moved: Duration,
    /// Until then, frames may have been lost.
    lossy: Duration,
    since: BTreeMap<(usize, IpAddr, Wrong), Duration>,
    /// When each node last began to announce an address.
    spoken: BTreeMap<(usize, IpAddr), Duration>,
    violation: Option<Violation>,
}

impl Judge {
    pub(crate) fn new(preset: Preset) -> Self {
        Self {
            preset,
            disturbed: Duration::ZERO,
            moved: Duration::ZERO,
            lossy: Duration::ZERO,
            since: BTreeMap::new(),
            spoken: BTreeMap::new(),
            violation: None,
        }
    }

    /// Something has happened that may take its time.
    pub(crate) fn disturbed(&mut self, now: Duration) {
        self.disturbed = now;
    }

    /// Something has happened by which addresses may move.
    pub(crate) fn moved(&mut self, now: Duration) {
        (self.disturbed, self.moved) = (now, now);
    }

    /// Frames may be lost now.
    pub(crate) fn lossy(&mut self, now: Duration) {
        self.lossy = now + CALM;
    }

    /// A node has announced a takeover.
    pub(crate) fn spoken(&mut self, node: usize, vip: IpAddr, now: Duration) {
        self.spoken.insert((node, vip), now);
        if now > self.moved + CALM {
            self.violate(format!("{vip} was taken over, and there was no reason"));
        }
    }

    pub(crate) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(Violation(what));
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Looks at one part of the LAN: at all addresses there.
    pub(crate) fn look(&mut self, part: usize, sights: &[Sight<'_>], meetings: &Meetings, now: Duration) {
        let mut before = BTreeMap::new();
        self.since.retain(|key, since| {
            let elsewhere = key.0 != part;
            if !elsewhere {
                before.insert(*key, *since);
            }
            elsewhere
        });
        for sight in sights {
            for wrong in self.wrongs(sight, meetings) {
                let key = (sight.part, sight.vip, wrong);
                let since = before.get(&key).copied().unwrap_or(now);
                self.since.insert(key, since);
                let lasts = now.saturating_sub(since.max(self.disturbed));
                let limit = self.limit(wrong, now);
                if lasts > limit {
                    self.violate(format!("{wrong:?} for longer than {limit:?}: {sight:?}"));
                }
            }
        }
    }

    fn wrongs(&self, sight: &Sight<'_>, meetings: &Meetings) -> Vec<Wrong> {
        match (sight.should, sight.answer.as_slice()) {
            (Some(_), []) => vec![Wrong::Nobody],
            (_, [_, _, ..]) if sight.answer.iter().all(|node| sight.alive.contains(node)) => {
                vec![Wrong::Several]
            }
            (_, [_, _, ..]) => vec![Wrong::Leaving],
            (None, []) => vec![],
            (Some(should), [one]) if should == *one && sight.lent => vec![],
            (Some(should), [one]) if should == *one => {
                let astray = |it: &&Belief| it.at != should && self.must_know(it, should, sight, meetings);
                sight.beliefs.iter().filter(astray).map(|it| Wrong::Believed { client: it.client }).collect()
            }
            (_, [_]) => vec![Wrong::Another],
        }
    }

    /// Whether a client must have been told that an address is not where it believes, but at node `right`.
    fn must_know(&self, belief: &Belief, right: usize, sight: &Sight<'_>, meetings: &Meetings) -> bool {
        let Belief { client: _, station, at } = *belief;
        let met = |node| meetings.since(station, node);
        // It was there when that was said.
        let heard = met(right) <= self.spoken.get(&(right, sight.vip)).copied();
        // Or it comes from another part of the LAN, together with the node that announced the address there:
        // then the right one must speak again, for it cannot but notice that the two have met.
        let came_with_it = sight.alive.contains(&at)
            && met(at) < met(right)
            && meetings.since(at, right).is_some()
            && meetings
                .apart(at, right)
                .last()
                .is_some_and(|it| it.to.saturating_sub(it.from) > self.noticed());
        heard || came_with_it
    }

    /// Who is gone for so long is missed by the others.
    fn noticed(&self) -> Duration {
        2 * self.preset.timing().verdict() + Duration::from_secs(1)
    }

    fn limit(&self, wrong: Wrong, now: Duration) -> Duration {
        match wrong {
            Wrong::Nobody | Wrong::Another => self.outage(now),
            Wrong::Leaving => self.window(now) + self.preset.timing().verdict(),
            Wrong::Several => self.window(now),
            Wrong::Believed { .. } => self.belief(now),
        }
    }

    fn outage(&self, now: Duration) -> Duration {
        // Who finds nobody at its start waits for 1.5 s.
        let judging = 2 * self.preset.timing().verdict() + Duration::from_secs(1);
        judging.max(Duration::from_secs(2)) + self.for_loss(now)
    }

    fn window(&self, now: Duration) -> Duration {
        Duration::from_secs(1) + self.for_loss(now)
    }

    fn belief(&self, now: Duration) -> Duration {
        if now < self.lossy { Duration::from_secs(5) } else { Duration::from_millis(1500) }
    }

    fn for_loss(&self, now: Duration) -> Duration {
        if now < self.lossy { Duration::from_millis(800) } else { Duration::ZERO }
    }
}
