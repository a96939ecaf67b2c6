//! Which nodes are lost, for those who list the addresses of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gossip::View;
use objects::NodeName;
use tokio::sync::watch;

use crate::recovery::judge::Verdict;

/// So long does a verdict count while the node is not heard again. By then Kubernetes has seen for itself how the node is:
/// one that is ready may have a speaker no more.
const COUNTS_FOR: Duration = Duration::from_mins(2);

/// Which nodes are lost, as they are found out to be.
#[derive(Debug)]
pub(crate) struct Lost(Option<watch::Receiver<BTreeSet<NodeName>>>);

impl Lost {
    /// Where nobody finds out.
    pub(crate) fn unknown() -> Self {
        Self(None)
    }

    /// As somebody finds out.
    pub(super) fn told(by: watch::Receiver<BTreeSet<NodeName>>) -> Self {
        Self(Some(by))
    }

    /// Waits until others are lost than before.
    pub(crate) async fn changed(&mut self) -> BTreeSet<NodeName> {
        if let Some(lost) = &mut self.0
            && lost.changed().await.is_ok()
        {
            return lost.borrow_and_update().clone();
        }
        std::future::pending().await
    }
}

/// The nodes that were found to be lost, and since when.
#[derive(Debug, Default)]
pub(super) struct LostNodes(BTreeMap<NodeName, Instant>);

impl LostNodes {
    /// Takes in verdicts and who is heard. Returns which nodes are lost now, if those are others than before.
    pub(super) fn update(
        &mut self,
        verdicts: &[Verdict],
        view: &View,
        now: Instant,
    ) -> Option<BTreeSet<NodeName>> {
        let before: BTreeSet<NodeName> = self.0.keys().cloned().collect();
        // Who is cut off hears of nobody.
        self.0.retain(|node, since| {
            let heard = view.settled && view.members.contains(node);
            !heard && now.duration_since(*since) < COUNTS_FOR
        });
        for verdict in verdicts {
            match verdict {
                Verdict::Withdraw(node) => _ = self.0.insert(node.clone(), now),
                Verdict::TooMany(_) => {}
            }
        }
        let after: BTreeSet<NodeName> = self.0.keys().cloned().collect();
        (before != after).then_some(after)
    }

    /// When [`Self::update`] should be called, though nothing happens.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.0.values().min().map(|since| *since + COUNTS_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<NodeName> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn view(members: &[&str]) -> View {
        View { members: names(members), settled: true, ..View::default() }
    }

    #[test]
    fn a_node_is_lost_from_the_verdict_until_it_is_heard_again() {
        let (now, mut lost) = (Instant::now(), LostNodes::default());
        let (rest, all) = (view(&["n2", "n3"]), view(&["n1", "n2", "n3"]));
        assert_eq!(lost.update(&[Verdict::TooMany("n1".into())], &rest, now), None);
        assert_eq!(lost.update(&[Verdict::Withdraw("n1".into())], &rest, now), Some(names(&["n1"])));
        assert_eq!(lost.update(&[], &rest, now), None);
        let cut_off = View { settled: false, ..all.clone() };
        assert_eq!(lost.update(&[], &cut_off, now), None);
        assert_eq!(lost.update(&[], &all, now), Some(names(&[])));
        assert_eq!(lost.next_expiry(), None);
    }

    #[test]
    fn one_that_is_never_heard_again_is_left_to_kubernetes_after_a_while() {
        let (now, mut lost) = (Instant::now(), LostNodes::default());
        let rest = view(&["n2", "n3"]);
        lost.update(&[Verdict::Withdraw("n1".into())], &rest, now);
        let then = lost.next_expiry().unwrap();
        assert_eq!(then, now + COUNTS_FOR);
        assert_eq!(lost.update(&[], &rest, now + COUNTS_FOR / 2), None);
        assert_eq!(lost.update(&[], &rest, then), Some(names(&[])));
    }
}
