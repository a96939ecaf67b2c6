//! Logs: a JSON object a line for machines, plain text on a terminal. What users have written begins no line of its own,
//! and says nothing to the terminal: JSON has escapes for that, and the plain text gets them here.

mod lines;

use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::LazyLock;

use lines::Lines;
use objects::text::{printable, shorten};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The most that is written of one event on a terminal, in bytes.
const LINE: usize = 8192;

/// How much is logged. Upstream's `all` and `none` are understood as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

/// The text names no level.
#[derive(Debug, thiserror::Error)]
#[error("no such log level: write all, trace, debug, info, warn, error or none")]
pub struct ParseLogLevelError;

impl FromStr for LogLevel {
    type Err = ParseLogLevelError;

    fn from_str(text: &str) -> Result<Self, ParseLogLevelError> {
        Ok(Self(match text.to_ascii_lowercase().as_str() {
            "all" | "trace" => LevelFilter::TRACE,
            "debug" => LevelFilter::DEBUG,
            "info" => LevelFilter::INFO,
            "warn" => LevelFilter::WARN,
            "error" => LevelFilter::ERROR,
            "none" => LevelFilter::OFF,
            _ => return Err(ParseLogLevelError),
        }))
    }
}

/// Lines that are lost. There is one log, so it is one for the program.
static LOST: LazyLock<Counter> = LazyLock::new(Counter::default);

/// The log for as long as this lives. Its end waits for the last lines.
#[derive(Debug)]
#[must_use]
pub struct Log(Lines);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush_all();
    }
}

/// Makes the metrics of the log visible.
pub fn register(registry: &mut Registry) {
    registry.sub_registry_with_prefix("ferrolb").register(
        "log_lines_lost",
        "Lines of the log that are lost because nobody read them in time",
        LOST.clone(),
    );
}

/// Starts logging to standard output. Libraries are heard from WARN on, FerroLB from `level` on. The client
/// is not heard at all: whatever fails in it comes back to the caller, who says so once. Nobody who logs waits for who reads
/// that.
pub fn start(level: LogLevel) -> io::Result<Log> {
    let out = Lines::start(io::stdout(), LOST.clone(), |lost| {
        warn!(lost, "lines of the log are lost: nobody read them in time");
    })?;
    let log = Log(out.clone());
    let libraries = Targets::new().with_default(level.0.min(LevelFilter::WARN));
    let silent = libraries.with_targets(["kube_client", "tower_http"].map(|name| (name, LevelFilter::OFF)));
    let ours = ["controller", "speaker", "gossip", "kubekit", "ferrolb"].map(|name| (name, level.0));
    let registry = tracing_subscriber::registry().with(silent.with_targets(ours));
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    if io::stdout().is_terminal() {
        // Colours are escape sequences, which could not be told from those of others.
        registry.with(lines.with_ansi(false).with_writer(move || Printable(out.clone()))).init();
    } else {
        let lines = lines.json().flatten_event(true).with_span_list(false);
        registry.with(lines.with_writer(move || out.clone())).init();
    }
    Ok(log)
}

/// Writes each event as one line that a terminal can be given.
struct Printable<W>(W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        let line = shorten(&printable(text), LINE);
        self.0.write_all(format!("{line}{end}").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_somebody_wrote() {
        let mut written = Vec::new();
        let mut lines = Printable(&mut written);
        let event = format!("INFO pool=x\nINFO all is well\u{1b}[2J \u{202e}{}\n", "y".repeat(1 << 20));
        lines.write_all(event.as_bytes()).unwrap();
        lines.write_all(b"INFO next\n").unwrap();
        let written = String::from_utf8(written).unwrap();
        let [first, second] = written.lines().collect::<Vec<_>>()[..] else { panic!("{written}") };
        assert!(first.starts_with(r"INFO pool=x\nINFO all is well\u{1b}[2J \u{202e}yy"), "{first}");
        assert!(first.len() <= LINE);
        assert_eq!(second, "INFO next");
    }

    #[test]
    fn upstreams_levels_are_understood() {
        for (text, level) in
            [("all", LevelFilter::TRACE), ("INFO", LevelFilter::INFO), ("none", LevelFilter::OFF)]
        {
            assert_eq!(text.parse::<LogLevel>().unwrap().0, level);
        }
        assert!("loud".parse::<LogLevel>().is_err());
    }
}
