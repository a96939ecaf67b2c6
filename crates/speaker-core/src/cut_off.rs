//! Whom this speaker cannot reach, so that it is not ready: what it shows for announced may be announced elsewhere, and it
//! may be missing when others fail.
//!
//! It goes on all the same: addresses stay where they are, and the LAN is asked before one is taken over. So a Pod that
//! is not ready for this serves as before, nobody restarts it, and after [`LIMIT`] it is ready again, lest a rollout
//! waits for ever for one node; the metric and the log still say so.

use std::time::{Duration, Instant};

/// For how long at a stretch a speaker is not ready for this.
const LIMIT: Duration = Duration::from_mins(5);

/// Whom it cannot reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CutOff {
    /// All other speakers, though their nodes are alive as the API server has it, or answer on the LAN.
    Peers,
    /// The API server.
    Api,
}

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Certainty {
    /// The others may be dead, which the API server says after a minute; the API server may be back in a moment.
    Likely,
    /// A peer answers on the LAN whose gossip is not heard.
    Proven,
}

impl CutOff {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Peers, Self::Api];

    /// What `/readyz` says.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peers => "other speakers, none of which is heard",
            Self::Api => "the API server, which cannot be reached",
        }
    }

    /// What the metric calls it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Api => "api",
        }
    }

    /// How long it must be so.
    fn patience(self, certainty: Certainty) -> Duration {
        match (self, certainty) {
            (Self::Peers | Self::Api, Certainty::Proven) => Duration::from_secs(2),
            // A node that is gone is not ready as the API server has it after 40 to 50 s.
            (Self::Peers, Certainty::Likely) => Duration::from_mins(1),
            (Self::Api, Certainty::Likely) => Duration::from_secs(30),
        }
    }
}

/// What becomes of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It is reached.
    Reached,
    /// It is not, and so this speaker is not ready.
    Lost,
    /// It is still not reached, but that keeps nobody waiting any more.
    GivenUp,
}

/// Follows whether one of them can be reached.
#[derive(Debug)]
pub(crate) struct Follow {
    whom: CutOff,
    /// Since when it is not, and since when that is proven.
    since: Option<Instant>,
    proven: Option<Instant>,
    state: Reach,
}

impl Follow {
    pub(crate) fn new(whom: CutOff) -> Self {
        Self { whom, since: None, proven: None, state: Reach::Reached }
    }

    /// Whether it is cut off, as far as is known at `now`.
    pub(crate) fn set(&mut self, cut_off: Option<Certainty>, now: Instant) {
        self.since = cut_off.map(|_| self.since.unwrap_or(now));
        let proven = cut_off.filter(|certainty| *certainty == Certainty::Proven);
        self.proven = proven.map(|_| self.proven.unwrap_or(now));
    }

    /// Whether it may be cut off.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it is cut off, by what was found last.
    pub(crate) fn is_lost(&self) -> bool {
        self.state != Reach::Reached
    }

    /// What becomes of readiness at `now`, where that is news.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Reach> {
        let state = match self.lost_at() {
            None => Reach::Reached,
            Some(at) if now >= at + LIMIT => Reach::GivenUp,
            Some(at) if now >= at => Reach::Lost,
            // It was lost for another reason before, and is still.
            Some(_) => self.state,
        };
        (std::mem::replace(&mut self.state, state) != state).then_some(state)
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let at = self.lost_at()?;
        match self.state {
            Reach::Reached => Some(at),
            Reach::Lost => Some(at + LIMIT),
            Reach::GivenUp => None,
        }
    }

    fn lost_at(&self) -> Option<Instant> {
        let after = |since: Option<Instant>, certainty| Some(since? + self.whom.patience(certainty));
        let likely = after(self.since, Certainty::Likely);
        likely.into_iter().chain(after(self.proven, Certainty::Proven)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_is_cut_off_is_not_ready_after_a_while_and_is_again_at_once_when_it_is_not() {
        for (certainty, patience) in [(Certainty::Likely, 60 * SECOND), (Certainty::Proven, 2 * SECOND)] {
            let (mut it, now) = (Follow::new(CutOff::Peers), Instant::now());
            it.set(Some(certainty), now);
            it.set(Some(certainty), now + SECOND);
            assert_eq!(it.deadline(), Some(now + patience));
            assert_eq!(it.poll(now + patience.saturating_sub(SECOND)), None);
            assert_eq!(it.poll(now + patience), Some(Reach::Lost));
            it.set(None, now + patience + SECOND);
            assert_eq!(it.poll(now + patience + SECOND), Some(Reach::Reached));
            assert_eq!(it.deadline(), None);
        }
    }

    #[test]
    fn it_is_ready_again_after_some_minutes_so_that_no_rollout_waits_for_ever() {
        let (mut it, now) = (Follow::new(CutOff::Api), Instant::now());
        it.set(Some(Certainty::Likely), now);
        let lost = it.deadline().expect("it is lost then");
        assert_eq!(it.poll(lost), Some(Reach::Lost));
        assert_eq!(it.deadline(), Some(lost + LIMIT));
        assert_eq!(it.poll(lost + LIMIT), Some(Reach::GivenUp));
        assert_eq!((it.deadline(), it.poll(lost + 2 * LIMIT)), (None, None));
        it.set(None, lost + 2 * LIMIT);
        assert_eq!(it.poll(lost + 2 * LIMIT), Some(Reach::Reached));
    }

    #[test]
    fn what_is_proven_no_more_stays_lost_while_it_is_likely() {
        let (mut it, now) = (Follow::new(CutOff::Peers), Instant::now());
        it.set(Some(Certainty::Proven), now);
        assert_eq!(it.poll(now + 2 * SECOND), Some(Reach::Lost));
        it.set(Some(Certainty::Likely), now + 3 * SECOND);
        assert_eq!(it.poll(now + 3 * SECOND), None);
    }
}
