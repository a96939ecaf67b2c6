//! Watching for as long as a script runs: who answers for the addresses, requests to them, what the API server says,
//! and what the kernel says of the processes.

mod api;
mod lan;
mod memory;
mod visits;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow};
use lab::Lab;

use crate::observation::{Observation, Seen, Subjects};

/// How soon a thread that waits sees that all is over.
const GLANCE: Duration = Duration::from_millis(100);

/// How much later than it was seen something may be recorded.
const DISORDER: Duration = Duration::from_secs(5);

/// Everything that was seen so far.
#[derive(Debug)]
pub(crate) struct Recorder {
    began: SystemTime,
    seen: Mutex<Vec<Observation>>,
}

impl Recorder {
    /// What is seen now.
    pub(crate) fn now(&self, what: Seen) {
        self.at(SystemTime::now(), what);
    }

    /// What was seen at another time.
    fn at(&self, at: SystemTime, what: Seen) {
        let at = at.duration_since(self.began).unwrap_or_default();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Observation { at, what });
    }

    /// When everything began.
    pub(crate) fn began(&self) -> SystemTime {
        self.began
    }

    /// What was seen of late, in no order.
    pub(crate) fn since(&self, at: Duration) -> Vec<Observation> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let late = seen.iter().rev().take_while(|it| it.at + DISORDER >= at);
        late.filter(|it| it.at >= at).cloned().collect()
    }

    /// Everything, in the order of the times.
    pub(crate) fn seen(&self) -> Vec<Observation> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.sort_by_key(|it| it.at);
        seen
    }
}

/// Watches while `act` runs.
pub(crate) fn during<T>(
    lab: &Lab,
    subjects: &Subjects,
    act: impl FnOnce(&Recorder) -> Result<T>,
) -> Result<(T, Vec<Observation>)> {
    let recorder = Recorder { began: SystemTime::now(), seen: Mutex::default() };
    let ends = End(AtomicBool::new(false));
    let lan = lan::Lan::open(lab, subjects)?;
    let result = thread::scope(|scope| {
        let threads = [
            scope.spawn(|| lan.ask(&recorder, &ends)),
            scope.spawn(|| lan.listen_to_arp(&recorder, &ends)),
            scope.spawn(|| lan.listen_to_ndp(&recorder, &ends)),
            scope.spawn(|| visits::visit(lab, subjects, &recorder, &ends)),
            scope.spawn(|| {
                api::look(lab, &recorder, &ends);
                Ok(())
            }),
            scope.spawn(|| {
                memory::look(lab, &recorder, &ends);
                Ok(())
            }),
        ];
        let result = {
            // Also if `act` panics, or the scope would wait for ever.
            let _end = EndOnDrop(&ends);
            act(&recorder)
        };
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread that watches panicked"))??;
        }
        result
    })?;
    Ok((result, recorder.seen()))
}

/// Whether all is over.
struct End(AtomicBool);

impl End {
    fn is_here(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for so long, or until the end.
    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_here() {
            match until.checked_duration_since(Instant::now()) {
                Some(left) => thread::sleep(left.min(GLANCE)),
                None => return,
            }
        }
    }
}

struct EndOnDrop<'a>(&'a End);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
