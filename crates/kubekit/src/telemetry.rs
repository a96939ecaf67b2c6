//! Logs: a JSON object a line for machines, plain text on a terminal.

use std::{fmt, io::IsTerminal, str::FromStr};

use tracing::level_filters::LevelFilter;

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

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Starts logging to standard output. Libraries are heard from WARN on, FerroLB from `level` on.
pub fn start(level: LogLevel) {
    let libraries = level.0.min(LevelFilter::WARN);
    let ours =
        ["controller", "speaker", "kubekit", "ferrolb"].map(|name| format!(",{name}={level}")).concat();
    let filter = tracing_subscriber::EnvFilter::new(format!("{libraries}{ours}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    if std::io::stdout().is_terminal() {
        builder.init();
    } else {
        builder.json().flatten_event(true).with_span_list(false).init();
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
