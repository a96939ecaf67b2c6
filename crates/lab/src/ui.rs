//! Plain progress lines for people: what goes on, for how long, and how long it usually takes.
//!
//! On a terminal the line of a running task counts its seconds; elsewhere a task prints one line when it begins, if it
//! is a long one, and one when it is done.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Tasks that are expected to take longer than this say so when they begin, on a terminal or not.
const LONG: Duration = Duration::from_secs(5);

/// A task that goes on; finish it with [`Task::done`]. Dropped before that, its line says that it failed.
#[derive(Debug)]
pub(crate) struct Task {
    what: String,
    began: Instant,
    counter: Option<(Sender<()>, JoinHandle<()>)>,
    finished: bool,
}

/// Begins a task that usually takes about as long as `expected`.
pub(crate) fn task(what: impl Display, expected: Duration) -> Task {
    let what = what.to_string();
    let began = Instant::now();
    let usually = if expected >= LONG { format!(", usually {}", human(expected)) } else { String::new() };
    let counter = if stdout().is_terminal() {
        let (stop, stopped) = channel();
        let text = what.clone();
        let count = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(200)) {
                // Progress is a courtesy: a closed terminal must not end the work.
                let _ = write!(stdout(), "\r\x1b[K{:>7}  {text}{usually} ...", human(began.elapsed()));
                let _ = stdout().flush();
            }
            let _ = write!(stdout(), "\r\x1b[K");
        };
        Some((stop, thread::spawn(count)))
    } else {
        if expected >= LONG {
            println!("{:>7}  {what}{usually} ...", "");
        }
        None
    };
    Task { what, began, counter, finished: false }
}

/// Prints one line beside the tasks.
pub(crate) fn note(text: impl Display) {
    println!("{:>7}  {text}", "");
}

impl Task {
    /// Ends the task well.
    pub(crate) fn done(mut self) {
        self.finish("");
    }

    /// Ends the task well, with a few words on how it went.
    pub(crate) fn done_with(mut self, outcome: impl Display) {
        self.finish(&format!(": {outcome}"));
    }

    /// Reports a part of the task that is complete.
    pub(crate) fn step(&mut self, what: impl Display) {
        let clear = if self.counter.is_some() { "\r\x1b[K" } else { "" };
        println!("{clear}{:>7}  {what}", human(self.began.elapsed()));
    }

    fn finish(&mut self, outcome: &str) {
        self.finished = true;
        if let Some((stop, thread)) = self.counter.take() {
            drop(stop);
            let _ = thread.join();
        }
        println!("{:>7}  {}{outcome}", human(self.began.elapsed()), self.what);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(": failed");
        }
    }
}

/// A duration as people say it: `0.42 s`, `7.3 s`, `48 s`, `4 min 10 s`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0 => format!("{seconds:.2} s"),
        1..=19 => format!("{seconds:.1} s"),
        20..=119 => format!("{seconds:.0} s"),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let human = |ms| human(Duration::from_millis(ms));
        assert_eq!(
            [human(420), human(7_300), human(48_200), human(250_000)],
            ["0.42 s", "7.3 s", "48 s", "4 min 10 s"]
        );
    }
}
