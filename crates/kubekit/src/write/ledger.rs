//! What is known of objects that could not be written: how often they failed, why, and when to try again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Object;

/// What to expect of a request that failed when it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The same answer, until somebody changes the object, a right or the API server.
    Refused,
    /// Success, sooner or later.
    Unavailable,
}

impl Class {
    /// The first pause and the longest.
    fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Refused => (Duration::from_secs(1), Duration::from_mins(5)),
            Self::Unavailable => (Duration::from_millis(100), Duration::from_secs(10)),
        }
    }
}

/// How long to wait after so many failures in a row before this one. `random` is between 0 and 1: it takes away up to
/// half, so that those who failed together do not come again together.
pub fn pause(class: Class, failures: u32, random: f64) -> Duration {
    let (first, longest) = class.bounds();
    spread(first, longest, failures, random)
}

/// A pause that doubles with each failure until it is the longest.
pub(super) fn spread(first: Duration, longest: Duration, failures: u32, random: f64) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(failures)).min(longest);
    whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
}

/// How loud to be about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// Somebody should look.
    Warn,
    /// It is known already, or may be over in a moment.
    Debug,
}

/// The objects in trouble. Pure: the time is an argument.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    troubles: BTreeMap<Object, Trouble>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Trouble {
    class: Class,
    reason: String,
    /// In a row, of this class.
    failures: u32,
    again: Instant,
    warned: bool,
}

/// More objects in trouble than these are not remembered, only said to be in DEBUG: a cluster has that many when its
/// API server fails, and then one of them is as good as the other.
const MOST: usize = 10_000;
/// An object that nobody has tried to write for so long after its pause is nobody's any more.
const FORGOTTEN: Duration = Duration::from_mins(10);

impl Ledger {
    /// A write failed. Returns when to try again, and how loud to be.
    pub(super) fn failed(
        &mut self,
        object: &Object,
        class: Class,
        reason: &str,
        now: Instant,
        random: f64,
    ) -> (Instant, Attention) {
        self.sweep(now);
        if self.troubles.len() >= MOST && !self.troubles.contains_key(object) {
            return (now + pause(class, 0, random), Attention::Debug);
        }
        let fresh = || Trouble { class, reason: reason.to_owned(), failures: 0, again: now, warned: false };
        let trouble = self.troubles.entry(object.clone()).or_insert_with(fresh);
        if trouble.class != class || trouble.reason != reason {
            let failures = if trouble.class == class { trouble.failures } else { 0 };
            *trouble = Trouble { failures, ..fresh() };
        }
        trouble.again = now + pause(class, trouble.failures, random);
        trouble.failures = trouble.failures.saturating_add(1);
        // What passes by itself is worth a warning when it has not.
        let is_serious = class == Class::Refused || trouble.failures > 1;
        let attention = if is_serious && !std::mem::replace(&mut trouble.warned, is_serious) {
            Attention::Warn
        } else {
            Attention::Debug
        };
        (trouble.again, attention)
    }

    /// A write succeeded, or nobody wants it any more. Returns whether somebody was warned before.
    pub(super) fn over(&mut self, object: &Object) -> bool {
        self.troubles.remove(object).is_some_and(|trouble| trouble.warned)
    }

    /// How many objects are refused, by kind.
    pub(super) fn refused(&self, now: Instant) -> BTreeMap<Cow<'static, str>, i64> {
        let mut counts = BTreeMap::new();
        for (object, trouble) in &self.troubles {
            if trouble.class == Class::Refused && now < trouble.again + FORGOTTEN {
                *counts.entry(object.kind.clone()).or_default() += 1;
            }
        }
        counts
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + Duration::from_mins(1)) {
            return;
        }
        self.swept = Some(now);
        self.troubles.retain(|_, trouble| now < trouble.again + FORGOTTEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn service(name: &str) -> Object {
        Object::new("Service", "prod", name)
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_are_spread() {
        let pauses = |class, random| [0, 1, 2, 40].map(|failures| pause(class, failures, random));
        let ms = Duration::from_millis;
        assert_eq!(pauses(Class::Unavailable, 0.0), [ms(100), ms(200), ms(400), ms(10_000)]);
        assert_eq!(pauses(Class::Refused, 0.0), [SECOND, 2 * SECOND, 4 * SECOND, 300 * SECOND]);
        assert_eq!(pauses(Class::Refused, 1.0), [ms(500), SECOND, 2 * SECOND, 150 * SECOND]);
    }

    #[test]
    fn a_refusal_is_warned_about_once_until_its_reason_changes_or_it_is_over() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let failed =
            |ledger: &mut Ledger, reason| ledger.failed(&service("a"), Class::Refused, reason, now, 0.0);
        assert_eq!(failed(&mut ledger, "403"), (now + SECOND, Attention::Warn));
        assert_eq!(failed(&mut ledger, "403"), (now + 2 * SECOND, Attention::Debug));
        assert_eq!(failed(&mut ledger, "422"), (now + 4 * SECOND, Attention::Warn));
        assert_eq!(failed(&mut ledger, "422").1, Attention::Debug);
        assert!(ledger.over(&service("a")));
        assert!(!ledger.over(&service("a")));
        assert_eq!(failed(&mut ledger, "422"), (now + SECOND, Attention::Warn));
    }

    #[test]
    fn what_passes_by_itself_is_warned_about_when_it_has_not() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let mut failed = || ledger.failed(&service("a"), Class::Unavailable, "503", now, 0.0).1;
        assert_eq!([failed(), failed(), failed()], [Attention::Debug, Attention::Warn, Attention::Debug]);
    }

    #[test]
    fn objects_are_in_trouble_each_for_itself_and_forgotten_when_nobody_writes_them() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.failed(&service("a"), Class::Refused, "403", now, 0.0);
        ledger.failed(&service("b"), Class::Refused, "403", now, 0.0);
        ledger.failed(&service("c"), Class::Unavailable, "503", now, 0.0);
        assert_eq!(ledger.refused(now), BTreeMap::from([("Service".into(), 2)]));
        ledger.over(&service("b"));
        assert_eq!(ledger.refused(now), BTreeMap::from([("Service".into(), 1)]));
        let later = now + FORGOTTEN + SECOND;
        assert_eq!(ledger.refused(later), BTreeMap::new());
        ledger.failed(&service("d"), Class::Refused, "403", later, 0.0);
        assert_eq!(ledger.troubles.len(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for number in 0..MOST + 10 {
            ledger.failed(&service(&number.to_string()), Class::Refused, "403", now, 0.0);
        }
        assert_eq!(ledger.troubles.len(), MOST);
    }
}
