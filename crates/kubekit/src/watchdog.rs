//! Whether the tasks that matter go on.
//!
//! Each of them marks its progress ([`Progress::beat`]), also when it has nothing to do; `/healthz` fails while one has
//! not for longer than it may. That is asked on another thread, for a task that never waits keeps all others of its
//! thread from running.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a task that has nothing to do says that it is there.
const BEAT: Duration = Duration::from_secs(5);
/// How long a task may go without progress: several beats, and longer than any request to the API server takes.
const PATIENCE: Duration = Duration::from_secs(45);
/// How often somebody has to look, lest the watchdog take itself for one that stood still.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When nobody has looked for so long, the whole program stood still, and perhaps the machine.
const STOOD_STILL: Duration = Duration::from_secs(3);

/// Knows the tasks that are to go on. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watchdog(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    tasks: BTreeMap<u64, Arc<Task>>,
    next: u64,
    /// When somebody looked last.
    looked: Option<Instant>,
    /// No task is blamed for what was before this.
    amnesty: Option<Instant>,
}

#[derive(Debug)]
struct Task {
    name: String,
    patience: Duration,
    start: Instant,
    /// The last mark, in milliseconds since the start.
    last: AtomicU64,
}

/// A task that is watched for as long as this lives.
#[derive(Debug)]
pub struct Progress {
    watchdog: Watchdog,
    number: u64,
    task: Arc<Task>,
}

/// A task that has made no progress for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) name: String,
    pub(crate) since: Duration,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (no progress for {} s)", self.name, self.since.as_secs())
    }
}

impl Watchdog {
    /// Watches one more task, under a name that an operator understands.
    pub fn task(&self, name: impl Into<String>) -> Progress {
        self.task_with(name, PATIENCE)
    }

    /// The same with another patience.
    pub fn task_with(&self, name: impl Into<String>, patience: Duration) -> Progress {
        let task =
            Arc::new(Task { name: name.into(), patience, start: Instant::now(), last: AtomicU64::new(0) });
        let mut watched = self.lock();
        let number = watched.next;
        watched.next += 1;
        watched.tasks.insert(number, Arc::clone(&task));
        drop(watched);
        Progress { watchdog: self.clone(), number, task }
    }

    /// The tasks that are stuck. To be asked every [`LOOK_EVERY`]: if nobody could, the whole program stood still, no task
    /// is to blame, and each has its time again from now on.
    pub(crate) fn look(&self, now: Instant) -> Vec<Stuck> {
        let mut watched = self.lock();
        let before = watched.looked.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) > STOOD_STILL) {
            watched.amnesty = Some(now);
        }
        let amnesty = watched.amnesty;
        let stuck = |task: &Arc<Task>| {
            let marked = task.start + Duration::from_millis(task.last.load(Ordering::Relaxed));
            let since = now.saturating_duration_since(amnesty.map_or(marked, |at| at.max(marked)));
            (since > task.patience).then(|| Stuck { name: task.name.clone(), since })
        };
        watched.tasks.values().filter_map(stuck).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // Nothing that it guards is ever half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// The task goes on.
    pub fn mark(&self) {
        let since = u64::try_from(self.task.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.task.last.store(since, Ordering::Relaxed);
    }

    /// Marks at once, and completes when it is time for the next mark. An arm of the `select!` of a task's loop, it is all
    /// that the loop needs.
    pub fn beat(&self) -> impl Future<Output = ()> + use<> {
        self.mark();
        tokio::time::sleep(BEAT)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.watchdog.lock().tasks.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks every second, from `from` to `to` seconds after the start. Returns what is found last.
    fn look(watchdog: &Watchdog, start: Instant, from: u32, to: u32) -> Vec<String> {
        let last = (from..=to).fold(Vec::new(), |_, second| watchdog.look(start + second * SECOND));
        last.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_task_without_a_mark_is_found_when_its_time_is_over_and_forgotten_when_it_ends() {
        let (watchdog, start) = (Watchdog::default(), Instant::now());
        let (slow, fast) = (watchdog.task_with("slow", 60 * SECOND), watchdog.task_with("fast", 10 * SECOND));
        assert!(look(&watchdog, start, 0, 10).is_empty());
        assert_eq!(look(&watchdog, start, 11, 12), ["fast (no progress for 11 s)"]);
        assert_eq!(look(&watchdog, start, 13, 62).len(), 2);
        drop(fast);
        assert_eq!(look(&watchdog, start, 63, 63), ["slow (no progress for 62 s)"]);
        drop(slow);
        assert!(look(&watchdog, start, 64, 64).is_empty());
    }

    #[test]
    fn a_mark_gives_a_task_its_time_again() {
        let (watchdog, start) = (Watchdog::default(), Instant::now());
        let task = watchdog.task_with("it", Duration::from_millis(50));
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(watchdog.look(Instant::now()).len(), 1);
        task.mark();
        assert!(watchdog.look(start + Duration::from_millis(60)).is_empty());
    }

    #[test]
    fn a_program_that_stood_still_blames_nobody_at_once() {
        let (watchdog, start) = (Watchdog::default(), Instant::now());
        let _task = watchdog.task_with("it", 10 * SECOND);
        assert!(look(&watchdog, start, 0, 1).is_empty());
        // A minute passes in which nothing runs at all.
        assert!(look(&watchdog, start, 61, 70).is_empty());
        assert_eq!(look(&watchdog, start, 71, 72), ["it (no progress for 11 s)"], "now it had its time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_marks_again_and_again() {
        let watchdog = Watchdog::default();
        let task = watchdog.task("loop");
        let begin = tokio::time::Instant::now();
        for _ in 0..3 {
            task.beat().await;
        }
        assert_eq!(begin.elapsed(), 3 * BEAT);
    }
}
