//! Members that leave, and what must be announced from here before they may fall silent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::{NodeName, Takeover};

/// For how long a member that leaves is kept waiting for an announcement. It went out long before, unless
/// there is no interface for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The takeovers that members wait for which leave.
#[derive(Debug, Default)]
pub struct Handovers(BTreeMap<NodeName, Handover>);

#[derive(Debug)]
struct Handover {
    awaited: BTreeSet<Takeover>,
    until: Instant,
}

impl Handovers {
    /// `node` leaves, and these takeovers are what follows from it here.
    pub fn begin(&mut self, node: NodeName, awaited: BTreeSet<Takeover>, now: Instant) {
        self.0.insert(node, Handover { awaited, until: now + PATIENCE });
    }

    /// The LAN knows of a takeover.
    pub fn spoken(&mut self, takeover: Takeover) {
        for handover in self.0.values_mut() {
            handover.awaited.remove(&takeover);
        }
    }

    /// Members that need not wait any longer; each is named once.
    pub fn complete(&mut self, now: Instant) -> impl Iterator<Item = NodeName> {
        self.0
            .extract_if(.., move |_, handover| handover.awaited.is_empty() || handover.until <= now)
            .map(|(node, _)| node)
    }

    /// When to look again, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().map(|handover| handover.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(handovers: &mut Handovers, now: Instant) -> Vec<String> {
        handovers.complete(now).map(|node| node.to_string()).collect()
    }

    #[test]
    fn who_leaves_nothing_to_us_need_not_wait() {
        let (mut handovers, now) = (Handovers::default(), Instant::now());
        handovers.begin("n1".into(), [].into(), now);
        assert_eq!(complete(&mut handovers, now), ["n1"]);
        assert!(complete(&mut handovers, now).is_empty());
        assert_eq!(handovers.deadline(), None);
    }

    #[test]
    fn all_takeovers_are_waited_for_but_not_for_ever() {
        let (mut handovers, now) = (Handovers::default(), Instant::now());
        handovers.begin("n1".into(), [Takeover(1), Takeover(2)].into(), now);
        handovers.begin("n2".into(), [Takeover(3)].into(), now);
        handovers.spoken(Takeover(1));
        assert!(complete(&mut handovers, now).is_empty());
        handovers.spoken(Takeover(2));
        assert_eq!(complete(&mut handovers, now), ["n1"]);
        let until = handovers.deadline().unwrap();
        assert_eq!(complete(&mut handovers, until), ["n2"]);
    }
}
