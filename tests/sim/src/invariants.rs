//! What must hold, and for how long it may not.
//!
//! Ten milliseconds apart, the world is looked at. In each part of the LAN, the nodes whose speakers run
//! there should agree on who announces what, and exactly that node should answer:
//!
//! | seen | may last, counted from the last disturbance | why so long |
//! |---|---|---|
//! | nobody answers | [`Judge::outage`] | two rounds of judging (the monitors of one who died may have died with it), asking the LAN about a fresh address, settling |
//! | several answer | [`Judge::window`] | the goal for a partition that heals: one second |
//! | another answers than should | [`Judge::outage`] | that is before the one who should has taken over |
//! | a client believes something else | [`Judge::belief`] | a frame on its way; where frames are lost, all five of a burst |
//!
//! What has no duration at all: a takeover long after the last thing that could have caused one, and a fellow
//! speaker that is taken for a stranger.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use members::Preset;

/// After the last disturbance, everything has found its place within this time.
const CALM: Duration = Duration::from_secs(6);

/// One address in one part of the LAN.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) part: usize,
    pub(crate) vip: IpAddr,
    /// The node that should announce it, and those that answer for it.
    pub(crate) should: Option<usize>,
    pub(crate) answer: Vec<usize>,
    /// The clients there, and the node where each believes it to be: `None` for no node at all.
    pub(crate) believed: Vec<(usize, Option<usize>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Nobody,
    Several,
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
    /// When each address was last announced for the first time in a takeover.
    spoken: BTreeMap<IpAddr, Duration>,
    /// When each client was last plugged in.
    plugged: BTreeMap<usize, Duration>,
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
            plugged: BTreeMap::new(),
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

    /// A client has been away from the LAN: it may have missed a takeover.
    pub(crate) fn plugged(&mut self, client: usize, now: Duration) {
        self.plugged.insert(client, now);
    }

    /// A node has announced a takeover.
    pub(crate) fn spoken(&mut self, vip: IpAddr, now: Duration) {
        self.spoken.insert(vip, now);
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

    /// Looks at the world.
    pub(crate) fn look(&mut self, sights: &[Sight], now: Duration) {
        let before = std::mem::take(&mut self.since);
        for sight in sights {
            for wrong in self.wrongs(sight) {
                let key = (sight.part, sight.vip, wrong);
                let since = before.get(&key).copied().unwrap_or(now);
                self.since.insert(key, since);
                let lasts = now.saturating_sub(since.max(self.disturbed));
                let limit = self.limit(wrong, now);
                if lasts > limit {
                    let Sight { part, vip, should, answer, believed } = sight;
                    self.violate(format!(
                        "{wrong:?} for longer than {limit:?}: {vip} in part {part} should be announced by \
                         {should:?}, is answered for by {answer:?}, is believed to be at {believed:?}"
                    ));
                }
            }
        }
    }

    fn wrongs(&self, sight: &Sight) -> Vec<Wrong> {
        let Sight { part: _, vip, should, answer, believed } = sight;
        match (should, answer.as_slice()) {
            (Some(_), []) => vec![Wrong::Nobody],
            (_, [_, _, ..]) => vec![Wrong::Several],
            (None, []) => vec![],
            (Some(should), [one]) if one == should => {
                let missed = |client| self.plugged.get(client) > self.spoken.get(vip);
                let strays = believed.iter().filter(|(client, at)| *at != Some(*one) && !missed(client));
                strays.map(|(client, _)| Wrong::Believed { client: *client }).collect()
            }
            (_, [_]) => vec![Wrong::Another],
        }
    }

    fn limit(&self, wrong: Wrong, now: Duration) -> Duration {
        match wrong {
            Wrong::Nobody | Wrong::Another => self.outage(now),
            Wrong::Several => self.window(now),
            Wrong::Believed { .. } => self.belief(now),
        }
    }

    fn outage(&self, now: Duration) -> Duration {
        2 * self.preset.timing().verdict() + Duration::from_millis(1000) + self.for_loss(now)
    }

    fn window(&self, now: Duration) -> Duration {
        Duration::from_secs(1) + self.for_loss(now)
    }

    fn belief(&self, now: Duration) -> Duration {
        if now < self.lossy { Duration::from_secs(5) } else { Duration::from_millis(100) }
    }

    fn for_loss(&self, now: Duration) -> Duration {
        if now < self.lossy { Duration::from_millis(800) } else { Duration::ZERO }
    }
}
