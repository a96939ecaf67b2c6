//! Whether to take, renew or leave a Lease: the part of the election that decides.
//!
//! ```text
//!                 free, or not renewed for its duration
//!    Follower ------------------------------------------> writes itself in
//!       ^                                                       |
//!       |  somebody else's, or not renewed in time              | written
//!       +------------------------------ Leader <----------------+
//!                                        |  ^ every renew interval
//!                                        +--+
//! ```
//!
//! Clocks of different machines are never compared. Whether a Lease has run out is told by how long this
//! program has seen it unchanged; whether its own has, by when the last renewal that succeeded was sent.

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::Version;

/// The intervals of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a Lease is good for when it is not renewed. Whole seconds, since that is what it holds.
    pub duration: Duration,
    /// How often the leader renews it.
    pub renew: Duration,
    /// How long after its last renewal a leader that cannot renew ceases to lead: well before others may
    /// begin.
    pub give_up: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(2),
            renew: Duration::from_millis(500),
            give_up: Duration::from_millis(1500),
        }
    }
}

/// A Lease as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) holder: Option<String>,
    pub(super) duration: Duration,
    pub(super) transitions: i32,
    /// When it was acquired, as its holder's clock says. Carried along, never compared.
    pub(super) acquired: Option<MicroTime>,
    pub(super) version: Version,
}

/// Where something about a Lease was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// In a change of it, or its end.
    Watch,
    /// In a list.
    List,
}

/// What became of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is believed, and new.
    News,
    /// Nothing new.
    Known,
    /// It contradicts what is known: look afresh.
    Doubtful,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this time, unless the Lease changes.
    Wait(Instant),
    /// There is no Lease: create one in our name.
    Create,
    /// Write our name into the Lease, or renew it, against this version.
    Write(Claim),
}

/// What to write into a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) version: Version,
    pub(super) transitions: i32,
    /// When it was acquired; nothing when that is now.
    pub(super) acquired: Option<MicroTime>,
}

/// One participant in an election.
#[derive(Debug)]
pub(super) struct Campaign {
    me: String,
    timing: Timing,
    seen: Option<Seen>,
    /// When the last renewal that succeeded was sent.
    renewed: Option<Instant>,
    /// No attempt before this time.
    pause: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    lease: Option<Record>,
    /// Since when it is like this, as far as we know.
    since: Instant,
}

impl Campaign {
    pub(super) fn new(me: String, timing: Timing) -> Self {
        Self { me, timing, seen: None, renewed: None, pause: None }
    }

    /// A watch or a list says that the Lease is this; nothing when there is none. One that is older than what is known
    /// may be an echo from before our last write. It may also be that all is older, since the cluster was restored from
    /// a backup: after a whole list, only a fresh look can tell.
    pub(super) fn observe(&mut self, lease: Option<Record>, from: From, now: Instant) -> Heard {
        let known = self.seen.as_ref().and_then(|seen| seen.lease.as_ref());
        if let (Some(lease), Some(known)) = (&lease, known)
            && lease.version.is_older_than(&known.version)
        {
            return match from {
                From::Watch => Heard::Known,
                From::List => Heard::Doubtful,
            };
        }
        let is_news = self.seen.as_ref().is_none_or(|seen| seen.lease != lease);
        self.believe(lease, now);
        if is_news { Heard::News } else { Heard::Known }
    }

    /// The Lease was read after everything that is known of it, so it is this, whatever its version.
    pub(super) fn believe(&mut self, lease: Option<Record>, now: Instant) {
        if !lease.as_ref().is_some_and(|lease| self.is_ours(lease)) {
            self.renewed = None;
        }
        if self.seen.as_ref().is_none_or(|seen| seen.lease != lease) {
            self.seen = Some(Seen { lease, since: now });
        }
    }

    /// Whether the Lease has been read yet.
    pub(super) fn is_informed(&self) -> bool {
        self.seen.is_some()
    }

    /// Whether another participant has the Lease.
    pub(super) fn is_anothers(&self) -> bool {
        let lease = self.seen.as_ref().and_then(|seen| seen.lease.as_ref());
        lease.is_some_and(|lease| lease.holder.is_some() && !self.is_ours(lease))
    }

    /// A write that was sent at `sent` succeeded; the Lease is now this.
    pub(super) fn written(&mut self, lease: Record, sent: Instant, now: Instant) {
        self.renewed = Some(sent);
        self.pause = None;
        self.seen = Some(Seen { lease: Some(lease), since: now });
    }

    /// A write did not succeed, or nobody knows: not again before `until`.
    pub(super) fn failed(&mut self, until: Instant) {
        self.pause = Some(until);
    }

    /// Until when this participant leads; nothing when it does not.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        Some(self.renewed? + self.timing.give_up)
    }

    /// What to do at `now`.
    pub(super) fn step(&self, now: Instant) -> Step {
        let Some(Seen { lease, since }) = &self.seen else {
            return Step::Wait(now + self.timing.duration);
        };
        let due = match lease {
            None => now,
            Some(lease) if self.is_ours(lease) => {
                // Our own from before a restart, or one whose answer was lost, is taken up at once.
                self.renewed.map_or(now, |renewed| renewed + self.timing.renew)
            }
            Some(lease) if lease.holder.is_none() => now,
            Some(lease) => *since + lease.duration,
        };
        let due = self.pause.map_or(due, |pause| due.max(pause));
        if due > now {
            return Step::Wait(due);
        }
        lease.as_ref().map_or(Step::Create, |lease| Step::Write(self.claim(lease)))
    }

    /// What to write so that the next one need not wait; nothing when the Lease is not ours.
    pub(super) fn release(&self) -> Option<Claim> {
        let lease = self.seen.as_ref()?.lease.as_ref()?;
        self.is_ours(lease).then(|| self.claim(lease))
    }

    fn claim(&self, lease: &Record) -> Claim {
        let ours = self.is_ours(lease);
        Claim {
            version: lease.version.clone(),
            transitions: lease.transitions.saturating_add(i32::from(!ours)),
            acquired: lease.acquired.clone().filter(|_| ours),
        }
    }

    fn is_ours(&self, lease: &Record) -> bool {
        lease.holder.as_deref() == Some(&*self.me)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn then() -> MicroTime {
        MicroTime("2026-01-01T00:00:00Z".parse().unwrap())
    }

    fn lease(holder: &str, version: &str) -> Record {
        Record {
            holder: (!holder.is_empty()).then(|| holder.to_owned()),
            duration: Duration::from_secs(2),
            transitions: 3,
            acquired: Some(then()),
            version: version.into(),
        }
    }

    fn campaign() -> (Campaign, Instant) {
        (Campaign::new("me".to_owned(), Timing::default()), Instant::now())
    }

    fn is_write(step: &Step) -> bool {
        matches!(step, Step::Write(_))
    }

    #[test]
    fn nothing_is_done_before_the_lease_has_been_read() {
        let (campaign, now) = campaign();
        assert!(matches!(campaign.step(now), Step::Wait(_)));
        assert_eq!(campaign.leads_until(), None);
    }

    #[test]
    fn a_missing_lease_is_created_and_a_released_one_taken() {
        let (mut campaign, now) = campaign();
        campaign.observe(None, From::Watch, now);
        assert_eq!(campaign.step(now), Step::Create);
        campaign.observe(Some(lease("", "7")), From::Watch, now);
        let claim = Claim { version: "7".into(), transitions: 4, acquired: None };
        assert_eq!(campaign.step(now), Step::Write(claim));
    }

    #[test]
    fn anothers_lease_is_left_alone_until_it_has_not_changed_for_its_duration() {
        let (mut campaign, start) = campaign();
        campaign.observe(Some(lease("other", "1")), From::Watch, start);
        campaign.observe(Some(lease("other", "2")), From::Watch, start + 1000 * MS);
        campaign.observe(Some(lease("other", "2")), From::Watch, start + 2000 * MS);
        assert_eq!(campaign.step(start + 2999 * MS), Step::Wait(start + 3000 * MS));
        assert!(is_write(&campaign.step(start + 3000 * MS)));
    }

    #[test]
    fn the_leader_renews_and_keeps_the_time_of_its_election() {
        let (mut campaign, start) = campaign();
        campaign.written(lease("me", "5"), start, start + 10 * MS);
        assert_eq!(campaign.leads_until(), Some(start + 1500 * MS));
        assert_eq!(campaign.step(start + 499 * MS), Step::Wait(start + 500 * MS));
        let claim = Claim { version: "5".into(), transitions: 3, acquired: Some(then()) };
        assert_eq!(campaign.step(start + 500 * MS), Step::Write(claim));
    }

    #[test]
    fn a_leader_that_cannot_renew_gives_up_before_others_may_begin() {
        let (mut campaign, start) = campaign();
        campaign.written(lease("me", "5"), start, start);
        campaign.failed(start + 600 * MS);
        assert_eq!(campaign.step(start + 550 * MS), Step::Wait(start + 600 * MS));
        let mut other = Campaign::new("other".to_owned(), Timing::default());
        other.observe(Some(lease("me", "5")), From::Watch, start);
        let begins = (0..10_000).map(|ms| start + ms * MS).find(|now| is_write(&other.step(*now))).unwrap();
        assert!(campaign.leads_until().unwrap() + 400 * MS <= begins);
    }

    #[test]
    fn who_is_overthrown_ceases_to_lead_at_once() {
        let (mut campaign, start) = campaign();
        campaign.written(lease("me", "5"), start, start);
        campaign.observe(Some(lease("other", "6")), From::Watch, start + 100 * MS);
        assert_eq!(campaign.leads_until(), None);
        assert!(matches!(campaign.step(start + 100 * MS), Step::Wait(_)));
    }

    #[test]
    fn the_echo_of_an_older_renewal_changes_nothing() {
        let (mut campaign, start) = campaign();
        campaign.written(lease("me", "10"), start, start);
        campaign.observe(Some(lease("me", "9")), From::Watch, start + 10 * MS);
        assert!(
            matches!(campaign.step(start + 600 * MS), Step::Write(claim) if claim.version == "10".into())
        );
    }

    #[test]
    fn an_older_lease_is_doubted_in_a_list_and_believed_when_it_was_read_afresh() {
        for holder in ["other", "me", ""] {
            let (mut campaign, start) = campaign();
            campaign.written(lease("me", "1000"), start, start);
            let now = start + 100 * MS;
            let old = || Some(lease(holder, "7"));
            assert_eq!(campaign.observe(old(), From::Watch, now), Heard::Known);
            assert_eq!(campaign.observe(old(), From::List, now), Heard::Doubtful);
            assert!(campaign.leads_until().is_some());
            campaign.believe(old(), now);
            assert_eq!(campaign.leads_until().is_some(), holder == "me");
            // Whoever held it back then is long gone, or renews it within its duration.
            let due = if holder == "me" {
                start + 500 * MS
            } else if holder.is_empty() {
                now
            } else {
                now + 2000 * MS
            };
            assert!(
                matches!(campaign.step(due), Step::Write(claim) if claim.version == "7".into()),
                "{holder}"
            );
        }
    }

    #[test]
    fn a_lease_that_is_missing_after_a_restore_is_created() {
        let (mut campaign, start) = campaign();
        campaign.written(lease("me", "1000"), start, start);
        assert_eq!(campaign.observe(None, From::List, start + 100 * MS), Heard::News);
        assert_eq!(campaign.leads_until(), None);
        assert_eq!(campaign.step(start + 100 * MS), Step::Create);
    }

    #[test]
    fn it_is_told_whether_another_leads() {
        let (mut campaign, start) = campaign();
        assert!(!campaign.is_informed() && !campaign.is_anothers());
        for (holder, anothers) in [("other", true), ("me", false), ("", false)] {
            campaign.believe(Some(lease(holder, "1")), start);
            assert!(campaign.is_informed());
            assert_eq!(campaign.is_anothers(), anothers);
        }
    }

    #[test]
    fn only_a_lease_of_our_own_is_released() {
        let (mut campaign, start) = campaign();
        assert_eq!(campaign.release(), None);
        campaign.observe(Some(lease("other", "1")), From::Watch, start);
        assert_eq!(campaign.release(), None);
        campaign.written(lease("me", "2"), start, start);
        assert_eq!(campaign.release().map(|claim| claim.version), Some("2".into()));
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_recognised_by_its_name() {
        let (mut campaign, start) = campaign();
        campaign.observe(Some(lease("me", "6")), From::Watch, start);
        assert_eq!(campaign.leads_until(), None, "not yet: when it was sent is not known");
        assert!(is_write(&campaign.step(start)));
    }
}
