//! What must hold, and for how long it may not.
//!
//! Ten milliseconds apart, the world is looked at. In each part of a LAN, the nodes whose speakers run there should
//! agree on who announces what, and exactly that node should answer, by one interface:
//!
//! | seen | may last | why so long |
//! |---|---|---|
//! | nobody answers | [`Judge::outage`] | two rounds of judging (the monitors of one who died may have died with it), asking the LAN about a fresh address, settling |
//! | several answer | [`Judge::window`] | the goal: one second |
//! | several answer, and one of them leaves | that and a verdict | it waits for all to confirm, also for one that stands still and is not held dead yet |
//! | another answers than should | [`Judge::outage`] | that is before the one who should has taken over |
//! | a client believes something else | [`Judge::belief`] | two announcements may cross, and who stood still waits 300 ms before it speaks: the second round, 1.1 s later, puts it right; where frames are lost, one of all five |
//!
//! That is counted from the last disturbance; for several that answer, from the last one of these nodes or of the LAN, so
//! that what happens to others is no excuse.
//!
//! Where the gossip is torn, so that not all who are there hear each other, nobody can say who should answer: there,
//! somebody must, who may take [`LOOK`] longer, for that is when the LAN is asked again; and all else holds. Who was found to
//! have an address while it was torn may be cut off before the LAN is asked again.
//!
//! Where some speaker has missed changes of the cluster, nobody can say who should answer either: somebody must who has not,
//! and may; and two may answer, or nobody, for [`DISPUTE`] longer.
//!
//! Two that answer and cannot hear each other's gossip, or are interfaces of one node, notice each other by what they
//! announce. Where they came together after that, since the LAN was in parts, it takes the next announcement, and that is
//! a refresh at the latest; and that one of them takes the address over then has a reason.
//!
//! Where the gossip is torn, the LAN is the only witness, and a speaker that stands still says nothing there: whoever asks
//! meanwhile takes over, however short that was.
//!
//! What has no duration at all: a takeover long after the last thing that could have caused one, one of an address that a
//! foreign host is known to have, and a peer that is taken for a foreign host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use members::Preset;

use crate::faults::LanId;
use crate::lan::StationId;
use crate::meetings::Meetings;

/// After the last disturbance, everything has found its place within this time.
pub(crate) const CALM: Duration = Duration::from_secs(6);
/// Who was found to have an address by the gossip's silence is asked again that much later, at most.
const LOOK: Duration = Duration::from_millis(3600);
/// Where speakers have seen different states of the cluster, it takes that much longer to find out who is to yield.
const DISPUTE: Duration = Duration::from_millis(1500);
/// What nobody tells is found out when an address is refreshed.
const REFRESH: Duration = Duration::from_secs(31);
/// A foreign host is asked again that much later, at most.
const AGAIN: Duration = Duration::from_secs(31);

/// One address in one part of a LAN.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) part: usize,
    pub(crate) vip: IpAddr,
    /// Whether nodes that meet there hear each other's gossip by that.
    pub(crate) carries_gossip: bool,
    /// The nodes whose speaker takes part in elections.
    pub(crate) alive: &'a [usize],
    pub(crate) right: Right,
    pub(crate) answer: Vec<Place>,
    /// Whether whoever announces it only stands in for one that is away, and has told nobody.
    pub(crate) standby: bool,
    /// What clients there know.
    pub(crate) beliefs: Vec<Belief>,
}

/// Who should answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// This node, or none.
    Elected(Option<usize>),
    /// The gossip is torn: somebody, or maybe nobody.
    Torn { somebody: bool },
}

/// An interface of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node: usize,
    pub(crate) station: StationId,
}

/// What a client knows of an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Belief {
    /// The number of the client among clients, and among stations.
    pub(crate) client: usize,
    pub(crate) station: StationId,
    /// Where it believes the address to be.
    pub(crate) at: Place,
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
    /// The last disturbance of any kind, the last one that was not about one node alone, and the last one of each node.
    disturbed: Duration,
    all_disturbed: Duration,
    each_disturbed: BTreeMap<usize, Duration>,
    /// The last one by which addresses may move.
    moved: Duration,
    /// Until then, frames may have been lost.
    lossy: Duration,
    /// Until then, some of the gossip may have been lost on its way, though others carry the word.
    patchy: Duration,
    /// Until then, the gossip of a part of a LAN may have been torn.
    torn: BTreeMap<usize, Duration>,
    /// Until then, speakers may have seen different states of the cluster.
    outdated: Duration,
    /// Until then, an address may be held for one of a foreign host.
    contested: BTreeMap<(LanId, IpAddr), Duration>,
    since: BTreeMap<(usize, IpAddr, Wrong), Duration>,
    /// Until then, two may find out which of them goes on, who met and have only now noticed that both answer.
    found_out: BTreeMap<IpAddr, Duration>,
    /// When the speaker of each node last started.
    started: BTreeMap<usize, Duration>,
    /// When each interface began to announce an address, each time.
    spoken: BTreeMap<(StationId, IpAddr), Vec<Duration>>,
    /// When each interface was last seen to answer for an address.
    answered: BTreeMap<(StationId, IpAddr), Duration>,
    violation: Option<Violation>,
}

impl Judge {
    pub(crate) fn new(preset: Preset) -> Self {
        Self {
            preset,
            disturbed: Duration::ZERO,
            all_disturbed: Duration::ZERO,
            each_disturbed: BTreeMap::new(),
            moved: Duration::ZERO,
            lossy: Duration::ZERO,
            patchy: Duration::ZERO,
            torn: BTreeMap::new(),
            outdated: Duration::ZERO,
            contested: BTreeMap::new(),
            since: BTreeMap::new(),
            found_out: BTreeMap::new(),
            started: BTreeMap::new(),
            spoken: BTreeMap::new(),
            answered: BTreeMap::new(),
            violation: None,
        }
    }

    /// Something has happened that may take its time: to this node alone, or to all.
    pub(crate) fn disturbed(&mut self, node: Option<usize>, now: Duration) {
        self.disturbed = now;
        match node {
            Some(node) => _ = self.each_disturbed.insert(node, now),
            None => self.all_disturbed = now,
        }
    }

    /// A speaker has started.
    pub(crate) fn started(&mut self, node: usize, now: Duration) {
        self.started.insert(node, now);
        self.moved(Some(node), now);
    }

    /// Something has happened by which addresses may move.
    pub(crate) fn moved(&mut self, node: Option<usize>, now: Duration) {
        self.disturbed(node, now);
        self.moved = now;
    }

    /// Members may come and go at any time, as where a path is lost and nobody makes that good.
    pub(crate) fn unsteady(&mut self, now: Duration) {
        self.moved = now;
    }

    /// Frames may be lost now.
    pub(crate) fn lossy(&mut self, now: Duration) {
        self.lossy = now + CALM;
    }

    /// Who is in that part of a LAN now does not hear each other.
    pub(crate) fn torn(&mut self, part: usize, now: Duration) {
        self.torn.insert(part, now + CALM);
    }

    /// Whether that was so lately.
    pub(crate) fn is_torn(&self, part: usize, now: Duration) -> bool {
        self.torn.get(&part).is_some_and(|until| now < *until)
    }

    /// Whether that was so lately anywhere.
    pub(crate) fn is_torn_anywhere(&self, now: Duration) -> bool {
        self.torn.values().any(|until| now < *until)
    }

    /// Some speaker is cut off from the API server, and has missed something by that.
    pub(crate) fn outdated(&mut self, now: Duration) {
        self.outdated = now + CALM;
        self.unsteady(now);
    }

    /// Whether that was so lately.
    pub(crate) fn is_outdated(&self, now: Duration) -> bool {
        now < self.outdated
    }

    /// Some of the gossip is lost on its way now: goodbyes and profiles may be.
    pub(crate) fn patchy(&mut self, now: Duration) {
        self.patchy = now + CALM;
    }

    /// A foreign host has an address now.
    pub(crate) fn contested(&mut self, lan: LanId, vip: IpAddr, now: Duration) {
        self.contested.insert((lan, vip), now + AGAIN);
    }

    /// Whether that was so lately.
    pub(crate) fn is_contested(&self, lan: LanId, vip: IpAddr, now: Duration) -> bool {
        self.contested.get(&(lan, vip)).is_some_and(|until| now < *until)
    }

    /// Whether there is nothing to wait for: as long as nothing changes, there is nothing to look at.
    pub(crate) fn is_content(&self, now: Duration) -> bool {
        let over = |until: &Duration| *until < now;
        self.since.is_empty()
            && self.outdated < now
            && self.torn.values().all(over)
            && self.contested.values().all(over)
    }

    /// A node has announced a takeover.
    pub(crate) fn spoken(&mut self, station: StationId, lan: LanId, vip: IpAddr, now: Duration) {
        self.spoken.entry((station, vip)).or_default().push(now);
        // Where the gossip is torn, the LAN is asked all the time, and questions and answers may be lost.
        let asked_in_vain = now < self.lossy && self.is_torn_anywhere(now);
        let found_out = self.found_out.get(&vip).is_some_and(|until| now < *until);
        if now > self.moved + CALM && !self.is_contested(lan, vip, now) && !asked_in_vain && !found_out {
            self.violate(format!("{vip} was taken over, and there was no reason"));
        }
    }

    /// An address was found free that a foreign host is known to have.
    pub(crate) fn overlooked(&mut self, who: &str, vip: IpAddr, now: Duration) {
        if now >= self.lossy {
            self.violate(format!("{who} takes over {vip}, which a foreign host has"));
        }
    }

    pub(crate) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(Violation(what));
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Looks at one part of a LAN: at all addresses there.
    pub(crate) fn look(&mut self, part: usize, sights: &[Sight<'_>], meetings: &Meetings, now: Duration) {
        let before: BTreeMap<_, _> = self.since.extract_if(.., |(at, ..), _| *at == part).collect();
        for sight in sights {
            for place in &sight.answer {
                self.answered.insert((place.station, sight.vip), now);
            }
            for wrong in self.wrongs(sight, meetings) {
                let key = (sight.part, sight.vip, wrong);
                let since = before.get(&key).copied().unwrap_or(now);
                self.since.insert(key, since);
                let lasts = now.saturating_sub(since.max(self.excuse(sight, wrong, meetings)));
                let limit = self.limit(sight, wrong, now);
                if lasts > limit {
                    self.violate(format!("{wrong:?} for longer than {limit:?}: {sight:?}"));
                }
            }
        }
    }

    /// Forgets what was wrong in parts of LANs that there are no longer.
    pub(crate) fn forget_all_but(&mut self, parts: &BTreeSet<usize>) {
        self.since.retain(|(part, ..), _| parts.contains(part));
    }

    /// When something last happened that excuses what is wrong.
    fn excuse(&self, sight: &Sight<'_>, wrong: Wrong, meetings: &Meetings) -> Duration {
        match wrong {
            Wrong::Several | Wrong::Leaving => {
                let each = sight.answer.iter().filter_map(|it| self.each_disturbed.get(&it.node)).max();
                let last = self.all_disturbed.max(each.copied().unwrap_or_default());
                self.unnoticed(sight, meetings).map_or(last, |until| last.max(until))
            }
            Wrong::Nobody | Wrong::Another | Wrong::Believed { .. } => self.disturbed,
        }
    }

    /// Until when no two of those that answer may have noticed each other.
    fn unnoticed(&self, sight: &Sight<'_>, meetings: &Meetings) -> Option<Duration> {
        let answer = sight.answer.iter().enumerate();
        let pairs = answer.flat_map(|(place, other)| sight.answer[..place].iter().map(|one| (*one, *other)));
        let pairs = pairs.map(|(one, other)| {
            if one.node == other.node && sight.standby {
                // Who says nothing unasked does not hear itself; nobody is away for longer.
                return Some(self.disturbed + Duration::from_secs(11));
            }
            let unheard = one.node == other.node || matches!(sight.right, Right::Torn { .. });
            self.noticed_by(sight.vip, one.station, other.station, meetings).filter(|_| unheard)
        });
        // The first pair that has noticed is one too many; `None` comes first.
        pairs.min().flatten()
    }

    /// When two stations that answer for an address and have met notice each other at the latest: when one of them
    /// announces it.
    fn noticed_by(
        &self,
        vip: IpAddr,
        one: StationId,
        other: StationId,
        meetings: &Meetings,
    ) -> Option<Duration> {
        let since = meetings.since(one, other)?;
        let spoken = |it| self.spoken_since(it, vip, since).unwrap_or(since + REFRESH);
        Some(spoken(one).min(spoken(other)))
    }

    /// When a station first announced an address after that.
    fn spoken_since(&self, station: StationId, vip: IpAddr, since: Duration) -> Option<Duration> {
        let spoken = self.spoken.get(&(station, vip))?;
        spoken.get(spoken.partition_point(|at| *at < since)).copied()
    }

    /// One that announces an address finds that another answers for it too. Where the two have met since either announced it,
    /// that is news, and the one that goes on says so.
    pub(crate) fn found_out(
        &mut self,
        vip: IpAddr,
        (one, other): (StationId, StationId),
        meetings: &Meetings,
        now: Duration,
    ) {
        let quiet = |since: Duration| {
            let spoken = |it| self.spoken_since(it, vip, since).is_some();
            !spoken(one) && !spoken(other) && now <= since + REFRESH
        };
        if meetings.since(one, other).is_some_and(quiet) {
            self.found_out.insert(vip, now + CALM);
        }
    }

    fn wrongs(&self, sight: &Sight<'_>, meetings: &Meetings) -> Vec<Wrong> {
        let [right] = sight.answer[..] else {
            return match (sight.right, sight.answer.as_slice()) {
                (Right::Elected(Some(_)) | Right::Torn { somebody: true }, []) => vec![Wrong::Nobody],
                (Right::Elected(None) | Right::Torn { somebody: false }, []) => vec![],
                (_, several) if several.iter().all(|it| sight.alive.contains(&it.node)) => {
                    vec![Wrong::Several]
                }
                (_, _) => vec![Wrong::Leaving],
            };
        };
        match sight.right {
            Right::Elected(should) if should != Some(right.node) => return vec![Wrong::Another],
            Right::Elected(_) | Right::Torn { .. } if sight.standby => return vec![],
            Right::Elected(_) | Right::Torn { .. } => {}
        }
        let astray = |it: &&Belief| it.at.node != right.node && self.must_know(it, right, sight, meetings);
        sight.beliefs.iter().filter(astray).map(|it| Wrong::Believed { client: it.client }).collect()
    }

    /// Whether a client must have been told that an address is not where it believes, but at `right`.
    fn must_know(&self, belief: &Belief, right: Place, sight: &Sight<'_>, meetings: &Meetings) -> bool {
        let Belief { client: _, station, at } = *belief;
        let met = |it: Place| meetings.since(station, it.station);
        // It was there when that was said.
        let spoken = self.spoken.get(&(right.station, sight.vip)).and_then(|spoken| spoken.last());
        let heard = met(right).as_ref() <= spoken;
        // Or it comes from another part of the LAN, together with the speaker that announced the address there:
        // then the right one must speak again, for it cannot but notice that the two have met, by the gossip. What a
        // speaker announced that had gone by then, nobody tells, though the next one is there that has not answered for it.
        let answered_there = self.answered.get(&(at.station, sight.vip));
        let came_with_it = sight.carries_gossip
            && matches!(sight.right, Right::Elected(_))
            && sight.alive.contains(&at.node)
            && answered_there.is_some_and(|last| *last >= self.start_of(at.node))
            && met(at) < met(right)
            && meetings.since(at.station, right.station).is_some_and(|met| met >= self.start_of(at.node))
            && meetings
                .apart(at.station, right.station)
                .last()
                .is_some_and(|it| it.to.saturating_sub(it.from) > self.noticed());
        heard || came_with_it
    }

    fn start_of(&self, node: usize) -> Duration {
        self.started.get(&node).copied().unwrap_or_default()
    }

    /// Who is gone for so long is missed by the others.
    fn noticed(&self) -> Duration {
        2 * self.preset.timing().verdict() + Duration::from_secs(1)
    }

    fn limit(&self, sight: &Sight<'_>, wrong: Wrong, now: Duration) -> Duration {
        let torn =
            matches!(sight.right, Right::Torn { .. }) || self.is_torn_anywhere(now) || now < self.patchy;
        let look = if torn { LOOK } else { Duration::ZERO };
        match wrong {
            Wrong::Nobody | Wrong::Another => self.outage(now) + look + self.for_dispute(now),
            Wrong::Leaving => self.window(now) + self.preset.timing().verdict() + self.for_dispute(now),
            Wrong::Several => self.window(now) + self.for_dispute(now),
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

    fn for_dispute(&self, now: Duration) -> Duration {
        if self.is_outdated(now) { DISPUTE } else { Duration::ZERO }
    }

    fn for_loss(&self, now: Duration) -> Duration {
        if now < self.lossy { Duration::from_millis(800) } else { Duration::ZERO }
    }
}
