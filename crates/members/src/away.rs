//! Members that have said goodbye for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use objects::NodeName;
use serde::{Deserialize, Serialize};

/// Who is not back by then is expected no longer. A Pod is replaced within two or three seconds, and a few more
/// where its image has to be pulled first.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether one that says goodbye is expected back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Absence {
    /// Its process is about to be replaced by another one, while its node goes on: what reaches the node is still
    /// served there.
    Brief,
    /// It may be for good, and its node may be about to go as well.
    Open,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Brief => "brief",
            Self::Open => "open",
        })
    }
}

/// Those who are expected back, and until when.
#[derive(Debug, Default)]
pub(crate) struct Away(BTreeMap<NodeName, Instant>);

impl Away {
    /// `node` is away from now on.
    pub(crate) fn begin(&mut self, node: NodeName, now: Instant) {
        self.0.insert(node, now + PATIENCE);
    }

    /// `node` is back.
    pub(crate) fn end(&mut self, node: &NodeName) {
        self.0.remove(node);
    }

    /// Nobody is expected back any more.
    pub(crate) fn end_all(&mut self) {
        self.0.clear();
    }

    pub(crate) fn names(&self) -> BTreeSet<NodeName> {
        self.0.keys().cloned().collect()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// One that should be back by now, and is expected no longer.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<NodeName> {
        let (node, _) = self.0.iter().find(|(_, until)| **until <= now)?;
        let node = node.clone();
        self.end(&node);
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::names;

    #[test]
    fn who_is_not_back_in_time_is_expected_no_longer() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut away = Away::default();
        away.begin("a".into(), start);
        away.begin("b".into(), later);
        away.begin("c".into(), later);
        away.end(&"c".into());
        assert_eq!(away.names(), names(&["a", "b"]));
        assert_eq!((away.poll_timeout(), away.poll(later)), (Some(start + PATIENCE), None));
        assert_eq!(away.poll(start + PATIENCE), Some("a".into()));
        assert_eq!(away.poll(start + PATIENCE), None);
        assert_eq!((away.poll(later + PATIENCE), away.poll_timeout()), (Some("b".into()), None));
        assert_eq!(away.names(), names(&[]));
    }
}
