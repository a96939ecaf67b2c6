//! Logs: a JSON object a line for machines, plain text on a terminal.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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

/// Starts logging to standard output. Libraries are heard from WARN on, FerroLB from `level` on. The client
/// is not heard at all: whatever fails in it comes back to the caller, who says so once.
pub fn start(level: LogLevel) {
    let libraries = Targets::new().with_default(level.0.min(LevelFilter::WARN));
    let silent = libraries.with_targets(["kube_client", "tower_http"].map(|name| (name, LevelFilter::OFF)));
    let ours = ["controller", "speaker", "gossip", "kubekit", "ferrolb"].map(|name| (name, level.0));
    let registry = tracing_subscriber::registry().with(silent.with_targets(ours));
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    if std::io::stdout().is_terminal() {
        registry.with(lines).init();
    } else {
        registry.with(lines.json().flatten_event(true).with_span_list(false)).init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
