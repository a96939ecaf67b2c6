//! Which statuses of configuration objects to write now, and which to leave alone for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kubekit::Version;
use kubekit::write::{Contest, Failure, Object, Undone};
use serde_json::Value;

/// What is known of the writes of each object. Pure: the time is an argument.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    known: BTreeMap<Object, Known>,
    /// Those that are left alone, mostly none, and until when.
    paused: BTreeMap<Object, Instant>,
}

#[derive(Debug, Default)]
struct Known {
    /// What was written last, and the version that came of it.
    written: Option<(Version, Value)>,
    contest: Contest,
}

/// Whether a status is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Now,
    Later,
    /// Somebody else has replaced what was written, and it is to be corrected now or later.
    Undone(Undone),
}

/// What is refused for good is looked at so often at least: its status may be another by then, or its object.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long to wait for the watch to bring what a conflict was with.
const CONFLICT_PAUSE: Duration = Duration::from_secs(1);

impl Statuses {
    /// An object of this version should have this status, and has another. `random` is between 0 and 1.
    pub(crate) fn turn(
        &mut self,
        object: &Object,
        version: &Version,
        status: &Value,
        now: Instant,
        random: f64,
    ) -> Turn {
        if self.paused.get(object).is_some_and(|paused| now < *paused) {
            return Turn::Later;
        }
        self.paused.remove(object);
        let known = self.known.entry(object.clone()).or_default();
        let Some((written_as, written)) = &known.written else { return Turn::Now };
        if version.is_older_than(written_as) {
            // The watch is yet to bring what we wrote, unless versions have gone back, when this must not last.
            known.written = None;
            self.paused.insert(object.clone(), now + CONFLICT_PAUSE);
            return Turn::Later;
        }
        if version == written_as || *written != essence(status) {
            return Turn::Now;
        }
        known.written = None;
        let undone = known.contest.undone(now, random);
        if !undone.pause.is_zero() {
            self.paused.insert(object.clone(), now + undone.pause);
        }
        Turn::Undone(undone)
    }

    /// An object was written and is of this version now.
    pub(crate) fn written(&mut self, object: Object, version: Version, status: Value) {
        self.known.entry(object).or_default().written = Some((version, essence(&status)));
    }

    /// The object has changed meanwhile.
    pub(crate) fn conflict(&mut self, object: Object, now: Instant) {
        self.paused.insert(object, now + CONFLICT_PAUSE);
    }

    /// The object is gone.
    pub(crate) fn gone(&mut self, object: &Object) {
        self.known.remove(object);
        self.paused.remove(object);
    }

    /// A write failed.
    pub(crate) fn failed(&mut self, object: Object, failure: &Failure, now: Instant) {
        self.paused.insert(object, failure.again.min(now + LONGEST_PAUSE));
    }

    /// When an object comes up again that is left alone.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.paused.values().min().copied()
    }

    /// It is `now`: whoever was left alone until then is so no longer.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.paused.retain(|_, paused| now < *paused);
    }
}

/// What counts of a status: all but the times of transitions, which are new where somebody has removed them.
fn essence(status: &Value) -> Value {
    let mut essence = status.clone();
    let conditions = essence.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    essence
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pool() -> Object {
        Object::new("IPAddressPool", "metallb-system", "p")
    }

    #[test]
    fn whoever_keeps_replacing_a_status_is_corrected_ever_more_rarely() {
        let (mut statuses, start) = (Statuses::default(), Instant::now());
        let (mut now, mut version, mut writes) = (start, 1, 0);
        while now < start + 180 * SECOND {
            let status = json!({"conditions": [{"type": "Accepted", "lastTransitionTime": version}]});
            let turn = statuses.turn(&pool(), &(&*version.to_string()).into(), &status, now, 0.0);
            let writes_now = match turn {
                Turn::Now => true,
                Turn::Later => false,
                Turn::Undone(undone) => undone.pause.is_zero(),
            };
            if writes_now {
                writes += 1;
                statuses.written(pool(), (&*(version + 1).to_string()).into(), status);
                version += 2;
            }
            now += SECOND / 5;
        }
        assert!((5..15).contains(&writes), "{writes} writes in three minutes");
    }

    #[test]
    fn a_status_that_changes_is_written_each_time() {
        let (mut statuses, now) = (Statuses::default(), Instant::now());
        for count in 0..100_u64 {
            let version = Version::from(&*count.to_string());
            assert_eq!(statuses.turn(&pool(), &version, &json!(count), now, 0.0), Turn::Now);
            statuses.written(pool(), (&*(count + 1).to_string()).into(), json!(count));
        }
    }

    #[test]
    fn what_was_written_is_waited_for_but_not_for_ever() {
        let (mut statuses, now) = (Statuses::default(), Instant::now());
        statuses.written(pool(), "1000".into(), json!(1));
        assert_eq!(statuses.turn(&pool(), &"7".into(), &json!(2), now, 0.0), Turn::Later);
        assert_eq!(statuses.next(), Some(now + SECOND));
        // In a cluster that was restored from a backup.
        assert_eq!(statuses.turn(&pool(), &"7".into(), &json!(2), now + SECOND, 0.0), Turn::Now);
    }

    #[test]
    fn what_is_refused_is_left_alone_for_half_a_minute_at_most() {
        let (mut statuses, now) = (Statuses::default(), Instant::now());
        let failure = Failure { code: Some(422), message: String::new(), again: now + 300 * SECOND };
        statuses.failed(pool(), &failure, now);
        let turn = |statuses: &mut Statuses, now| statuses.turn(&pool(), &"7".into(), &json!(1), now, 0.0);
        assert_eq!(turn(&mut statuses, now + 29 * SECOND), Turn::Later);
        assert_eq!(turn(&mut statuses, now + 30 * SECOND), Turn::Now);
        statuses.failed(pool(), &failure, now);
        statuses.wake(now + 30 * SECOND);
        assert_eq!(statuses.next(), None);
        statuses.gone(&pool());
        assert_eq!(turn(&mut statuses, now), Turn::Now);
    }
}
