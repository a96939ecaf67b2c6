//! Judges whom this member watches over.
//!
//! ```text
//!             silent for `silence`               silent for `confirm` more
//!  (trusted) ---------------------> (doubted) ------------------------------> dead, monitored no more
//!      ^                             |   ^  |
//!      +--- a sign of life ----------+   +--+ asked again, four times in all
//! ```
//!
//! A sign of life is any frame from the peer, and also what others say of when they heard it. A time in which
//! this member could not hear is no silence: see [`Monitor::restart`].

use std::collections::BTreeMap;
use std::time::Instant;

use objects::NodeName;

use crate::Timing;

/// How often a silent member is asked before it is held dead.
const QUESTIONS: u32 = 4;

/// Whom this member watches over, and what it thinks of them.
#[derive(Debug)]
pub(crate) struct Monitor {
    timing: Timing,
    monitored: BTreeMap<NodeName, Monitored>,
    counters: Counters,
}

#[derive(Debug, Clone, Copy)]
struct Monitored {
    /// The last sign of life.
    heard: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Trusted,
    Doubted { since: Instant, asked: u32 },
}

/// What a [`Monitor`] wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask it, and others, whether it is alive.
    Ask(NodeName),
    /// It is dead.
    Dead(NodeName),
}

/// How often something happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// A member was silent, and others were asked for it.
    pub doubted: u64,
    /// It had been alive.
    pub cleared: u64,
    /// It was declared dead.
    pub declared: u64,
}

impl Monitor {
    pub(crate) fn new(timing: Timing) -> Self {
        Self { timing, monitored: BTreeMap::new(), counters: Counters::default() }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Watches over these and nobody else. A new one is taken to be heard `now`.
    pub(crate) fn watch(&mut self, monitored: impl IntoIterator<Item = NodeName>, now: Instant) {
        let mut before = std::mem::take(&mut self.monitored);
        let fresh = Monitored { heard: now, state: State::Trusted };
        self.monitored =
            monitored.into_iter().map(|name| (name.clone(), before.remove(&name).unwrap_or(fresh))).collect();
    }

    /// Watches over `name` no more.
    pub(crate) fn relieve(&mut self, name: &NodeName) {
        self.monitored.remove(name);
    }

    /// `name` was alive `at` that time.
    pub(crate) fn heard(&mut self, name: &NodeName, at: Instant, now: Instant) {
        let Some(peer) = self.monitored.get_mut(name) else { return };
        peer.heard = peer.heard.max(at);
        if peer.state != State::Trusted && peer.heard + self.timing.silence > now {
            peer.state = State::Trusted;
            self.counters.cleared += 1;
        }
    }

    /// Nothing could be heard until `now`: all are trusted until they have had time to be heard anew.
    pub(crate) fn restart(&mut self, now: Instant) {
        for peer in self.monitored.values_mut() {
            *peer = Monitored { heard: now, state: State::Trusted };
        }
    }

    /// Whether `name` is monitored and silent.
    pub(crate) fn doubts(&self, name: &NodeName) -> bool {
        self.monitored.get(name).is_some_and(|peer| peer.state != State::Trusted)
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.monitored.values().map(|peer| peer.due(&self.timing)).min()
    }

    /// What is to be done now; to be called until that is nothing.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Verdict> {
        let timing = self.timing;
        let (name, peer) = self.monitored.iter_mut().find(|(_, peer)| peer.due(&timing) <= now)?;
        let name = name.clone();
        match peer.state {
            State::Trusted => {
                peer.state = State::Doubted { since: now, asked: 1 };
                self.counters.doubted += 1;
                Some(Verdict::Ask(name))
            }
            State::Doubted { since, asked } if asked < QUESTIONS => {
                peer.state = State::Doubted { since, asked: asked + 1 };
                Some(Verdict::Ask(name))
            }
            State::Doubted { .. } => {
                self.monitored.remove(&name);
                self.counters.declared += 1;
                Some(Verdict::Dead(name))
            }
        }
    }
}

impl Monitored {
    fn due(&self, timing: &Timing) -> Instant {
        match self.state {
            State::Trusted => self.heard + timing.silence,
            State::Doubted { since, asked } => since + timing.confirm * asked / QUESTIONS,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixtures::ms;

    const TIMING: Timing = Timing {
        period: Duration::from_millis(100),
        silence: Duration::from_millis(350),
        confirm: Duration::from_millis(200),
    };

    fn a() -> NodeName {
        "a".into()
    }

    /// Follows the monitor until there is nothing to do; what it wants and when, in milliseconds since `start`.
    fn follow(monitor: &mut Monitor, start: Instant) -> Vec<(u128, Verdict)> {
        let mut wanted = Vec::new();
        while let Some(now) = monitor.poll_timeout() {
            while let Some(verdict) = monitor.poll(now) {
                wanted.push(((now - start).as_millis(), verdict));
            }
        }
        wanted
    }

    fn watching(start: Instant) -> Monitor {
        let mut monitor = Monitor::new(TIMING);
        monitor.watch([a()], start);
        monitor
    }

    #[test]
    fn who_is_never_heard_is_asked_for_and_then_dead() {
        let start = Instant::now();
        let mut monitor = watching(start);
        let asked = [350, 400, 450, 500].map(|at| (at, Verdict::Ask(a())));
        let expected = [&asked[..], &[(550, Verdict::Dead(a()))]].concat();
        assert_eq!(follow(&mut monitor, start), expected);
        assert_eq!(monitor.counters(), Counters { doubted: 1, cleared: 0, declared: 1 });
    }

    #[test]
    fn a_sign_of_life_ends_the_doubt_in_every_state() {
        for (asked, at) in [(0, 349), (1, 351), (2, 401), (4, 549)] {
            let start = Instant::now();
            let mut monitor = watching(start);
            let polled = (0..=at).filter_map(|at| monitor.poll(start + ms(at))).count();
            assert_eq!(polled, asked);
            monitor.heard(&a(), start + ms(at), start + ms(at));
            assert!(!monitor.doubts(&a()));
            assert_eq!(monitor.poll_timeout(), Some(start + ms(at + 350)));
        }
    }

    #[test]
    fn a_rumour_counts_from_when_it_was_heard() {
        let start = Instant::now();
        let mut monitor = watching(start);
        assert_eq!(monitor.poll(start + ms(350)), Some(Verdict::Ask(a())));
        monitor.heard(&a(), start + ms(30), start + ms(352));
        assert!(!monitor.doubts(&a()));
        assert_eq!(monitor.poll_timeout(), Some(start + ms(380)));
    }

    #[test]
    fn a_rumour_that_is_too_old_changes_nothing() {
        let start = Instant::now();
        let mut monitor = watching(start);
        assert_eq!(monitor.poll(start + ms(350)), Some(Verdict::Ask(a())));
        monitor.heard(&a(), start + ms(1), start + ms(360));
        assert!(monitor.doubts(&a()));
        assert_eq!(monitor.poll_timeout(), Some(start + ms(400)));
    }

    #[test]
    fn a_restart_gives_everybody_the_full_time_again() {
        let start = Instant::now();
        let mut monitor = watching(start);
        assert_eq!(monitor.poll(start + ms(350)), Some(Verdict::Ask(a())));
        monitor.restart(start + ms(540));
        assert_eq!(follow(&mut monitor, start).last(), Some(&(1090, Verdict::Dead(a()))));
    }

    #[test]
    fn the_answer_has_its_time_however_late_the_question() {
        let start = Instant::now();
        let mut monitor = watching(start);
        assert_eq!(monitor.poll(start + ms(500)), Some(Verdict::Ask(a())));
        assert_eq!(monitor.poll(start + ms(500)), None);
        assert_eq!(follow(&mut monitor, start).last(), Some(&(700, Verdict::Dead(a()))));
    }

    #[test]
    fn a_peer_that_stays_keeps_its_time_and_a_new_one_begins() {
        let start = Instant::now();
        let mut monitor = watching(start);
        monitor.watch([a(), "b".into()], start + ms(300));
        assert_eq!(monitor.poll_timeout(), Some(start + ms(350)));
        monitor.watch(["b".into()], start + ms(300));
        assert_eq!(monitor.poll_timeout(), Some(start + ms(650)));
        monitor.watch([], start + ms(300));
        assert_eq!(monitor.poll_timeout(), None);
    }
}
