//! Times in which we could hear nobody: this process stood still, or had no link.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use objects::NodeName;

use super::Members;
use crate::Event;
use crate::session::Cookie;

/// What came before a link was lost is read within that time.
const STRAYS: Duration = Duration::from_secs(1);

impl Members {
    /// Finds out whether we stood still. In that time we could hear nobody.
    pub(super) fn wake(&mut self, now: Instant) {
        // Counted once, however many calls follow before all that is due is done.
        let late = |due: Instant| now.saturating_duration_since(due.max(self.called));
        let late = self.due.map_or(Duration::ZERO, late);
        self.called = now;
        if late > self.timing.period && self.cut_since.is_none() {
            if late + self.timing.period > self.timing.verdict() {
                self.events.push_back(Event::Stalled(late));
            }
            self.was_isolated(late, self.running(), now);
        }
    }

    /// There is a link again, after there was none `since` then.
    pub(super) fn linked_again(&mut self, since: Instant, now: Instant) {
        self.cut_since = None;
        let mut others = self.running();
        if others.is_empty() {
            // Whoever was started without a link has met nobody yet.
            others = self.peers.keys().cloned().collect();
        }
        self.was_isolated(now.saturating_duration_since(since), others, now);
    }

    /// We stood still or had no link for that long. If it was long enough for the others to declare us dead, they
    /// are asked; and in that time others may have gone, by a goodbye or by death, of which no word is left. Whoever does
    /// not answer is watched over until it is found dead: there may be nobody else who does.
    fn was_isolated(&mut self, time: Duration, others: BTreeSet<NodeName>, now: Instant) {
        self.monitor.restart(now);
        self.swim.delay(time);
        self.beat.0 = now;
        if time + self.timing.period > self.timing.verdict() {
            self.cookies.renew();
            self.isolated_until = now;
            self.unanswered.clone_from(&others);
            self.regroup(now);
            for name in &others {
                self.hello(name, None, true, now);
                // What it has told meanwhile is lost.
                self.doubt(name, now);
            }
            self.settle.ask_again(others, now);
        }
    }

    /// `name` was heard. What came while we stood still is only read now, so at first that says nothing.
    pub(super) fn still_there(&mut self, name: &NodeName, now: Instant) {
        if now > self.isolated_until + self.timing.silence {
            self.relieve(name);
        }
    }

    /// `name` has answered a `Hello` of ours.
    pub(super) fn on_echo(&mut self, name: &NodeName, echo: &Cookie, now: Instant) {
        if self.unanswered.contains(name) && self.cookies.is_latest(echo, name, now) {
            self.relieve(name);
        }
    }

    fn relieve(&mut self, name: &NodeName) {
        if self.unanswered.remove(name)
            && self.ring.monitored(&self.swim.identity().name).all(|peer| peer != name)
        {
            self.monitor.relieve(name);
        }
    }

    /// Somebody was heard. If there is no link, there is another way than by the one that is watched.
    pub(super) fn on_frame_without_link(&mut self, now: Instant) {
        if let Some(since) = self.cut_since.filter(|since| now > *since + STRAYS) {
            self.linked_again(since, now);
        }
    }
}
