//! How many answers anybody gets who has not proved to be alive: a recording that is played to us should not make us
//! send more than that.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One answer in this time,
const EACH: Duration = Duration::from_millis(100);
/// and so many at once: whoever starts says several things at the same time, and is soon known.
const AT_ONCE: u32 = 20;
/// How many sources are remembered; if there are more at the same time, the rest gets no answer. Whoever is listed is
/// contacted by us as well.
const SOURCES: usize = 1024;

/// When each source has its whole budget again, for those that have not.
#[derive(Debug, Default)]
pub(crate) struct Answers(BTreeMap<IpAddr, Instant>);

impl Answers {
    /// Whether `source` may have one more answer.
    pub(crate) fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        if self.0.len() >= SOURCES && !self.0.contains_key(&source) {
            self.0.retain(|_, whole| *whole > now);
            if self.0.len() >= SOURCES {
                return false;
            }
        }
        let whole = self.0.entry(source).or_insert(now);
        let spent = (*whole).max(now) + EACH;
        let allowed = spent <= now + AT_ONCE * EACH;
        if allowed {
            *whole = spent;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::ms;

    #[test]
    fn each_source_has_a_budget_that_comes_back() {
        let start = Instant::now();
        let mut answers = Answers::default();
        let [a, b] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let mut allowed = |ip, at| (0..1000).filter(|_| answers.allow(ip, start + ms(at))).count();
        assert_eq!([allowed(a, 0), allowed(a, 99), allowed(a, 100), allowed(b, 100)], [20, 0, 1, 20]);
        assert_eq!([allowed(a, 700), allowed(a, 10_000)], [6, 20]);
    }

    #[test]
    fn sources_are_forgotten_when_they_have_their_budget_again() {
        let start = Instant::now();
        let mut answers = Answers::default();
        let source = |number: u32| IpAddr::from(number.to_be_bytes());
        let mut allowed =
            |from: u32, at| (from..from + 2000).filter(|n| answers.allow(source(*n), start + ms(at))).count();
        assert_eq!([allowed(0, 0), allowed(5000, 50), allowed(5000, 100)], [SOURCES, 0, SOURCES]);
        assert_eq!(answers.0.len(), SOURCES);
    }
}
