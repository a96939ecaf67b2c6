//! Lines of the log on their way out, by a thread of their own.
//!
//! The log of a container is read by the container runtime. While that is stopped or upgraded, or the disk hangs that it
//! writes to, a pipe takes some tens of kilobytes and no more, and whoever writes to it stands still: no heartbeat is sent, no
//! question for an address answered, no Lease renewed. So whoever logs does not wait. What is not read in time waits here, as
//! much as there is room for; the rest is lost, counted, and told of when there is room again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

/// How much may wait, in bytes: several thousand lines, as when a node takes over as many Services.
const ROOM: usize = 2 << 20;
/// How long the end of the program waits for what has been logged.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where lines go. Cheap to clone. Its writes take a whole line each, and never wait.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    // It takes any number of messages; how much is in them is limited by `ROOM`.
    out: Sender<Message>,
    waiting: Arc<Waiting>,
    lost: Counter,
}

/// What waits, and what is lost.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    /// Lines that are lost and were not told of.
    lost: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// What came before is written.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Lines that go to `out`. `lost` counts those that do not; `tell` is called with how many there were, when there is
    /// room again, and may write lines.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        lost: Counter,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, messages) = channel();
        let waiting = Arc::new(Waiting::default());
        let lines = Self { out: sender, waiting: Arc::clone(&waiting), lost };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_out(out, &messages, &waiting, tell))?;
        Ok(lines)
    }

    /// Waits until everything is written, but not for ever.
    pub(super) fn flush_all(&self) {
        let (written, done) = sync_channel(1);
        if self.out.send(Message::Flush(written)).is_ok() {
            _ = done.recv_timeout(LAST_WORDS);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = line.len();
        let before = self.waiting.bytes.fetch_add(length, Ordering::Relaxed);
        if before + length > ROOM || self.out.send(Message::Line(line.to_owned())).is_err() {
            self.waiting.bytes.fetch_sub(length, Ordering::Relaxed);
            self.waiting.lost.fetch_add(1, Ordering::Relaxed);
            self.lost.inc();
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_out(mut out: impl Write, messages: &Receiver<Message>, waiting: &Waiting, tell: impl Fn(u64)) {
    for message in messages {
        match message {
            Message::Line(line) => {
                // There is nobody to tell that the log cannot be written.
                _ = out.write_all(&line).and_then(|()| out.flush());
                let before = waiting.bytes.fetch_sub(line.len(), Ordering::Relaxed);
                if before < ROOM / 2 {
                    match waiting.lost.swap(0, Ordering::Relaxed) {
                        0 => {}
                        lost => tell(lost),
                    }
                }
            }
            Message::Flush(written) => _ = written.send(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::Sender;

    use super::*;

    /// A pipe that takes something whenever it is told to.
    struct Pipe {
        turns: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turns.recv().map_err(io::Error::other)?;
            self.taken.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fixture {
        lines: Lines,
        turn: Sender<()>,
        taken: Arc<Mutex<Vec<u8>>>,
        lost: Counter,
        told: Arc<AtomicU64>,
    }

    fn fixture() -> Fixture {
        let (turn, turns) = channel();
        let taken = Arc::default();
        let (lost, told) = (Counter::default(), Arc::new(AtomicU64::new(0)));
        let (pipe, sum) = (Pipe { turns, taken: Arc::clone(&taken) }, Arc::clone(&told));
        let tell = move |more| _ = sum.fetch_add(more, Ordering::Relaxed);
        let lines = Lines::start(pipe, lost.clone(), tell).unwrap();
        Fixture { lines, turn, taken, lost, told }
    }

    #[test]
    fn lines_come_out_in_their_order_and_all_before_the_end() {
        let mut it = fixture();
        for number in 0..100 {
            it.turn.send(()).unwrap();
            it.lines.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        it.lines.flush_all();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(it.taken.lock().unwrap().clone()).unwrap(), expected);
        assert_eq!((it.lost.get(), it.told.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn nobody_waits_for_a_pipe_that_nobody_reads_and_what_does_not_fit_is_counted() {
        let mut it = fixture();
        let line = [b'x'; 1024];
        // This would never end if it waited.
        for _ in 0..2 * ROOM / line.len() {
            it.lines.write_all(&line).unwrap();
        }
        assert!(it.taken.lock().unwrap().is_empty());
        let half = (ROOM / line.len()) as u64;
        assert_eq!((it.lost.get(), it.told.load(Ordering::Relaxed)), (half, 0));
        for _ in 0..ROOM / line.len() {
            it.turn.send(()).unwrap();
        }
        it.lines.flush_all();
        assert_eq!(it.taken.lock().unwrap().len(), ROOM);
        assert_eq!(it.told.load(Ordering::Relaxed), half);
        it.turn.send(()).unwrap();
        it.lines.write_all(b"there is room again\n").unwrap();
        it.lines.flush_all();
        assert!(it.taken.lock().unwrap().ends_with(b"there is room again\n"));
    }
}
