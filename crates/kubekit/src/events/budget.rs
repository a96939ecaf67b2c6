//! How many events an object may have: as many as client-go grants.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;

use super::Severity;

/// The budgets of all objects that had events lately. Pure: the time is an argument.
///
/// Each object may have 25 events at once, and then one every five minutes. The last five are kept for warnings, so
/// that good news can't keep bad ones away.
#[derive(Debug, Default)]
pub(super) struct Budget {
    objects: BTreeMap<Fingerprint, Account>,
    hasher: RandomState,
}

/// That of kind, namespace, name and uid: an object that was made again under the same name has a budget of its own. Two
/// with the same fingerprint share one, which is as unlikely as harmless.
type Fingerprint = u64;

#[derive(Debug, Clone, Copy)]
struct Account {
    /// How many events it may have, in thousandths of an event.
    left: u64,
    /// Until when what it gains is part of that.
    counted: Instant,
    /// Whether the last one was refused, so that the log names an object once.
    exhausted: bool,
}

/// Whether an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    Sent,
    /// It is not, and the one before was.
    FirstDropped,
    /// It is not, and nor was the one before.
    Dropped,
}

const EVENT: u64 = 1000;
const BURST: u64 = 25 * EVENT;
const FOR_WARNINGS: u64 = 5 * EVENT;
/// How long an object waits for another event when it has used up all.
const REFILL: Duration = Duration::from_mins(5);
/// Objects that are remembered, as many as client-go does. Beyond them those with the most left are forgotten: they gain
/// the least by that.
const OBJECTS: usize = 4096;
/// As many are forgotten at once, so that whoever tells of tens of thousands does not look at all of them for each.
const FORGOTTEN: usize = OBJECTS / 4;

impl Budget {
    /// Whether this object may have another event at `now`. If so, it has had it.
    pub(super) fn take(&mut self, object: &ObjectReference, severity: Severity, now: Instant) -> Grant {
        let ObjectReference { kind, namespace, name, uid, .. } = object;
        let object = self.hasher.hash_one((kind, namespace, name, uid));
        if self.objects.len() >= OBJECTS && !self.objects.contains_key(&object) {
            self.make_room(now);
        }
        let account =
            self.objects.entry(object).or_insert(Account { left: BURST, counted: now, exhausted: false });
        account.refill(now);
        let reserve = match severity {
            Severity::Normal => FOR_WARNINGS,
            Severity::Warning => 0,
        };
        if account.left >= reserve + EVENT {
            account.left -= EVENT;
            account.exhausted = false;
            return Grant::Sent;
        }
        if std::mem::replace(&mut account.exhausted, true) { Grant::Dropped } else { Grant::FirstDropped }
    }

    fn make_room(&mut self, now: Instant) {
        self.objects.values_mut().for_each(|account| account.refill(now));
        self.objects.retain(|_, account| account.left < BURST);
        if self.objects.len() < OBJECTS {
            return;
        }
        let mut by_left: Vec<(u64, Fingerprint)> =
            self.objects.iter().map(|(key, account)| (account.left, *key)).collect();
        by_left.select_nth_unstable_by(FORGOTTEN, |(one, _), (other, _)| other.cmp(one));
        for (_, key) in &by_left[..FORGOTTEN] {
            self.objects.remove(key);
        }
    }
}

impl Account {
    fn refill(&mut self, now: Instant) {
        let step = REFILL / u32::try_from(EVENT).expect("a thousand is small");
        let gained = now.saturating_duration_since(self.counted).as_nanos() / step.as_nanos();
        let Ok(gained @ 0..BURST) = u64::try_from(gained) else {
            (self.left, self.counted) = (BURST, now);
            return;
        };
        self.left = (self.left + gained).min(BURST);
        self.counted += step * u32::try_from(gained).expect("it is less than the burst");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectReference {
        let text = |text: &str| Some(text.to_owned());
        let [kind, namespace, name, uid] = ["Service", "prod", name, "1"].map(text);
        ObjectReference { kind, namespace, name, uid, ..ObjectReference::default() }
    }

    fn sent(budget: &mut Budget, name: &str, severity: Severity, count: usize, now: Instant) -> usize {
        (0..count).filter(|_| budget.take(&object(name), severity, now) == Grant::Sent).count()
    }

    #[test]
    fn an_object_has_a_burst_and_then_one_event_every_five_minutes() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        assert_eq!(sent(&mut budget, "a", Severity::Warning, 1000, now), 25);
        assert_eq!(sent(&mut budget, "b", Severity::Warning, 1, now), 1, "another object has its own");
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(sent(&mut budget, "a", Severity::Warning, 10, later(299)), 0);
        assert_eq!(sent(&mut budget, "a", Severity::Warning, 10, later(300)), 1);
        // However often it is asked, nothing is lost in between.
        let asked: usize = (301..=1800).map(|s| sent(&mut budget, "a", Severity::Warning, 3, later(s))).sum();
        assert_eq!(asked, 5);
        assert_eq!(sent(&mut budget, "a", Severity::Warning, 100, later(1_000_000)), 25);
    }

    #[test]
    fn an_object_that_was_made_again_has_a_budget_of_its_own() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        sent(&mut budget, "a", Severity::Warning, 100, now);
        let again = ObjectReference { uid: Some("2".to_owned()), ..object("a") };
        assert_eq!(budget.take(&again, Severity::Warning, now), Grant::Sent);
    }

    #[test]
    fn good_news_leave_room_for_warnings() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        assert_eq!(sent(&mut budget, "a", Severity::Normal, 1000, now), 20);
        assert_eq!(sent(&mut budget, "a", Severity::Warning, 1000, now), 5);
    }

    #[test]
    fn the_first_that_is_dropped_is_told_apart() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        sent(&mut budget, "a", Severity::Warning, 25, now);
        let mut take = |now| budget.take(&object("a"), Severity::Warning, now);
        assert_eq!([take(now), take(now)], [Grant::FirstDropped, Grant::Dropped]);
        let later = now + REFILL;
        assert_eq!([take(later), take(later)], [Grant::Sent, Grant::FirstDropped]);
    }

    #[test]
    fn room_is_made_once_for_many() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        (0..OBJECTS).for_each(|number| _ = sent(&mut budget, &number.to_string(), Severity::Warning, 1, now));
        assert_eq!(budget.objects.len(), OBJECTS);
        for number in 0..FORGOTTEN {
            sent(&mut budget, &format!("new-{number}"), Severity::Warning, 2, now);
            assert_eq!(budget.objects.len(), OBJECTS - FORGOTTEN + 1 + number, "the next has room already");
        }
    }

    #[test]
    fn memory_is_bounded_and_who_spams_is_not_forgotten() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        assert_eq!(sent(&mut budget, "spam", Severity::Warning, 1000, now), 25);
        for number in 0..OBJECTS + 100 {
            assert_eq!(sent(&mut budget, &number.to_string(), Severity::Warning, 1, now), 1);
        }
        assert!((OBJECTS - FORGOTTEN..=OBJECTS).contains(&budget.objects.len()), "{}", budget.objects.len());
        assert_eq!(sent(&mut budget, "spam", Severity::Warning, 1, now), 0);
    }
}
