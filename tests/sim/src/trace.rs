//! What happened, for those who want to know why.

use std::fmt;
use std::time::Duration;

/// Everything worth telling, in the order in which it happened.
#[derive(Debug, Default)]
pub struct Trace(Vec<Line>);

#[derive(Debug)]
struct Line {
    at: Duration,
    who: String,
    what: String,
}

impl Trace {
    pub(crate) fn note(&mut self, at: Duration, who: impl fmt::Display, what: impl fmt::Display) {
        self.0.push(Line { at, who: who.to_string(), what: what.to_string() });
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { at, who, what } in &self.0 {
            writeln!(f, "{:11.6} s  {who:<10} {what}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
