//! One entry of a neighbour cache as Linux keeps it (`net/core/neighbour.c`, with the defaults of
//! `net/ipv4/arp.c`).
//!
//! ```text
//!             answered                  not confirmed for long, yet in use
//! incomplete ---------> reachable ------------------------------------------+
//!   |    ^                 ^  |  out of use                                 v
//!   |    |                 |  +------------> stale ----- used -----------> delay
//!   |    |                 +-- confirmed ------------------------------- /  |
//!   |    | used            |                                                v
//!   +-> failed <-----------+--- not answered three times ---------------- probe
//! ```

use std::time::Duration;

use layer2::MacAddr;

/// Between two questions.
const RETRANS: Duration = Duration::from_secs(1);
/// How often is asked, be it by broadcast or by unicast.
const SOLICITATIONS: u8 = 3;
/// How long somebody in use may go without a sign before it is asked.
const DELAY: Duration = Duration::from_secs(5);
/// For so long after a change, an answer that was asked for does not make another.
const LOCKTIME: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Incomplete { asked: u8 },
    Reachable,
    Stale,
    Delay,
    Probe { asked: u8 },
    Failed,
}

/// Where somebody is, and how sure that is.
#[derive(Debug)]
pub(crate) struct Neighbour {
    state: State,
    mac: MacAddr,
    /// How long a confirmation lasts.
    reachable: Duration,
    confirmed: Duration,
    used: Duration,
    updated: Duration,
    timer: Option<Duration>,
}

/// A question to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Everybody,
    Only(MacAddr),
}

/// What somebody says of where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// By an answer to our question, by ARP: it proves that we are heard, but does not replace another answer
    /// of a moment ago.
    Answer,
    /// Unasked, to all, or by NDP's Override: it replaces what is known, and proves nothing.
    Announcement,
    /// By an answer to our question, by NDP without Override: another address stays.
    Soft,
}

impl Neighbour {
    /// Somebody not known before whom we want to talk to. Ask everybody.
    pub(crate) fn new(reachable: Duration, now: Duration) -> Self {
        Self {
            state: State::Incomplete { asked: 1 },
            mac: MacAddr::ZERO,
            reachable,
            confirmed: now,
            used: now,
            updated: now,
            timer: Some(now + RETRANS),
        }
    }

    /// Where it is, as far as is known.
    pub(crate) fn mac(&self) -> Option<MacAddr> {
        match self.state {
            State::Incomplete { .. } | State::Failed => None,
            State::Reachable | State::Stale | State::Delay | State::Probe { .. } => Some(self.mac),
        }
    }

    /// A packet is to be sent there.
    pub(crate) fn used(&mut self, now: Duration) -> Option<Ask> {
        self.used = now;
        match self.state {
            State::Stale => {
                self.go(State::Delay, Some(now + DELAY), now);
                None
            }
            State::Failed => {
                self.go(State::Incomplete { asked: 1 }, Some(now + RETRANS), now);
                Some(Ask::Everybody)
            }
            State::Incomplete { .. } | State::Reachable | State::Delay | State::Probe { .. } => None,
        }
    }

    /// Something came back, as TCP notices.
    pub(crate) fn confirmed(&mut self, now: Duration) {
        self.confirmed = now;
    }

    pub(crate) fn poll(&mut self, now: Duration) -> Option<Ask> {
        self.timer.filter(|at| *at <= now)?;
        match self.state {
            State::Reachable if now < self.confirmed + self.reachable => {
                self.timer = Some(self.confirmed + self.reachable);
                None
            }
            State::Reachable if now <= self.used + DELAY => {
                self.go(State::Delay, Some(now + DELAY), now);
                None
            }
            State::Reachable => {
                self.go(State::Stale, None, now);
                None
            }
            State::Delay if now <= self.confirmed + DELAY => {
                self.go(State::Reachable, Some(self.confirmed + self.reachable), now);
                None
            }
            State::Delay => {
                self.go(State::Probe { asked: 1 }, Some(now + RETRANS), now);
                Some(Ask::Only(self.mac))
            }
            State::Incomplete { asked: SOLICITATIONS } | State::Probe { asked: SOLICITATIONS } => {
                self.go(State::Failed, None, now);
                None
            }
            State::Incomplete { asked } => {
                self.state = State::Incomplete { asked: asked + 1 };
                self.timer = Some(now + RETRANS);
                Some(Ask::Everybody)
            }
            State::Probe { asked } => {
                self.state = State::Probe { asked: asked + 1 };
                self.timer = Some(now + RETRANS);
                Some(Ask::Only(self.mac))
            }
            State::Stale | State::Failed => {
                self.timer = None;
                None
            }
        }
    }

    /// It says that it is at `mac`.
    pub(crate) fn heard(&mut self, mac: MacAddr, said: Said, now: Duration) {
        let differs = self.mac().is_some_and(|known| known != mac);
        let proves = match said {
            Said::Announcement => false,
            Said::Answer if differs && now <= self.updated + LOCKTIME => return,
            Said::Soft if differs => {
                // What was held for sure is doubted, no more.
                if self.state == State::Reachable {
                    self.go(State::Stale, None, now);
                }
                return;
            }
            Said::Answer | Said::Soft => true,
        };
        if proves {
            self.confirmed = now;
            self.mac = mac;
            if self.state != State::Reachable || differs {
                self.go(State::Reachable, Some(now + self.reachable), now);
            }
        } else if self.mac() != Some(mac) {
            self.mac = mac;
            self.go(State::Stale, None, now);
        }
    }

    fn go(&mut self, state: State, timer: Option<Duration>, now: Duration) {
        (self.state, self.timer, self.updated) = (state, timer, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn known() -> Neighbour {
        let mut neighbour = Neighbour::new(s(30), s(0));
        neighbour.heard(A, Said::Answer, s(0));
        neighbour
    }

    /// What is asked and when, with somebody who uses the entry all the time.
    fn follow(neighbour: &mut Neighbour, until: Duration) -> Vec<(u64, Ask)> {
        let mut asked = Vec::new();
        while let Some(now) = neighbour.timer.filter(|at| *at <= until) {
            asked.extend(neighbour.used(now).map(|ask| (now.as_secs(), ask)));
            asked.extend(neighbour.poll(now).map(|ask| (now.as_secs(), ask)));
        }
        asked
    }

    #[test]
    fn who_does_not_answer_is_given_up_and_tried_again_when_needed() {
        let mut neighbour = Neighbour::new(s(30), s(0));
        assert_eq!(follow(&mut neighbour, s(9)), [(1, Ask::Everybody), (2, Ask::Everybody)]);
        assert_eq!((neighbour.state, neighbour.mac()), (State::Failed, None));
        assert_eq!(neighbour.used(s(10)), Some(Ask::Everybody));
    }

    #[test]
    fn who_is_not_confirmed_is_asked_by_unicast_and_then_lost() {
        let mut neighbour = known();
        let asked = [35, 36, 37].map(|at| (at, Ask::Only(A)));
        assert_eq!(follow(&mut neighbour, s(60)), asked);
        assert_eq!(neighbour.state, State::Failed);
    }

    #[test]
    fn who_is_confirmed_by_traffic_is_not_asked() {
        let mut neighbour = known();
        for now in 1..100 {
            neighbour.confirmed(s(now));
            neighbour.used(s(now));
            assert_eq!(neighbour.poll(s(now)), None);
        }
        assert_eq!(neighbour.mac(), Some(A));
    }

    #[test]
    fn an_announcement_replaces_at_once_and_a_second_answer_only_after_a_while() {
        let mut neighbour = known();
        neighbour.heard(B, Said::Answer, s(1));
        assert_eq!(neighbour.mac(), Some(A));
        neighbour.heard(B, Said::Announcement, s(1));
        assert_eq!((neighbour.mac(), neighbour.state), (Some(B), State::Stale));
        neighbour.heard(A, Said::Answer, s(3));
        assert_eq!((neighbour.mac(), neighbour.state), (Some(A), State::Reachable));
        neighbour.heard(A, Said::Announcement, s(4));
        assert_eq!(neighbour.state, State::Reachable);
    }

    #[test]
    fn an_answer_without_override_never_replaces() {
        let mut neighbour = known();
        neighbour.heard(B, Said::Soft, s(9));
        assert_eq!((neighbour.mac(), neighbour.state), (Some(A), State::Stale));
    }
}
