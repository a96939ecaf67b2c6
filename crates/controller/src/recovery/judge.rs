//! Whether the endpoints of a lost node are to be withdrawn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use gossip::{Event, View};
use objects::NodeName;

/// So many members must have found a node dead, or all that are left where these are fewer.
const WITNESSES: usize = 2;
/// Within this time, no more than a third of the nodes is acted on: when more seem to be lost, it is rather the
/// network that is broken.
const WINDOW: Duration = Duration::from_mins(1);

/// What is known of lost nodes, and what was done about them.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Nodes that are lost and have not been acted on, with those that found them dead.
    lost: BTreeMap<NodeName, Loss>,
    /// When nodes were acted on, the oldest first.
    acted: VecDeque<Instant>,
}

#[derive(Debug)]
struct Loss {
    since: Instant,
    witnesses: BTreeSet<NodeName>,
}

/// What to do about a lost node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its endpoints serve no more.
    Withdraw(NodeName),
    /// Too many are lost at once: hands off.
    TooMany(NodeName),
}

impl Judge {
    /// Takes in what happened among the members.
    pub(super) fn observe(&mut self, event: Event, now: Instant) {
        match event {
            Event::Lost { node, confirmed_by } => {
                self.lost.insert(node, Loss { since: now, witnesses: confirmed_by });
            }
            Event::Confirmed { node, confirmed_by } => {
                if let Some(loss) = self.lost.get_mut(&node) {
                    loss.witnesses = confirmed_by;
                }
            }
            Event::Joined(node)
            | Event::Returned(node)
            | Event::Replaced(node)
            | Event::Leaving { node, .. } => {
                self.lost.remove(&node);
            }
            // What comes now may be from long ago, and we the ones who were lost.
            Event::Stalled(_) | Event::PresumedDead => self.lost.clear(),
            Event::Profile(_) | Event::Overdue(_) | Event::WrongAddress { .. } | Event::Departed { .. } => {}
        }
    }

    /// What to do now, each thing once. What was lost while that could not be judged is judged as soon as it can be,
    /// unless that was long ago.
    pub(super) fn verdicts(&mut self, view: &View, now: Instant) -> Vec<Verdict> {
        self.lost.retain(|_, loss| now.duration_since(loss.since) < WINDOW);
        while self.acted.front().is_some_and(|acted| now.duration_since(*acted) >= WINDOW) {
            self.acted.pop_front();
        }
        if !view.settled {
            return Vec::new();
        }
        let nodes = view.members.len() + self.lost.len() + self.acted.len();
        let most = (nodes / 3).max(1);
        let needed = view.members.len().clamp(1, WITNESSES);
        let certain = |_: &NodeName, loss: &mut Loss| {
            loss.witnesses.iter().filter(|witness| view.members.contains(witness)).count() >= needed
        };
        let certain: Vec<NodeName> = self.lost.extract_if(.., certain).map(|(node, _)| node).collect();
        let mut judge = |node| {
            if self.acted.len() >= most {
                return Verdict::TooMany(node);
            }
            self.acted.push_back(now);
            Verdict::Withdraw(node)
        };
        certain.into_iter().map(&mut judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use gossip::Absence;

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<NodeName> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn lost(node: &str, by: &[&str]) -> Event {
        Event::Lost { node: node.into(), confirmed_by: names(by) }
    }

    fn view(members: &[&str]) -> View {
        View { members: names(members), settled: true, ..View::default() }
    }

    fn withdraw(node: &str) -> Verdict {
        Verdict::Withdraw(node.into())
    }

    #[test]
    fn two_witnesses_are_needed_and_one_where_only_one_is_left() {
        let now = Instant::now();
        let mut judge = Judge::default();
        judge.observe(lost("n1", &["n2"]), now);
        assert_eq!(judge.verdicts(&view(&["n2", "n3"]), now), []);
        judge.observe(Event::Confirmed { node: "n1".into(), confirmed_by: names(&["n2", "n3"]) }, now);
        assert_eq!(judge.verdicts(&view(&["n2", "n3"]), now), [withdraw("n1")]);
        assert_eq!(judge.verdicts(&view(&["n2", "n3"]), now), [], "once is enough");

        let mut judge = Judge::default();
        judge.observe(lost("n1", &["n2"]), now);
        assert_eq!(judge.verdicts(&view(&["n2"]), now), [withdraw("n1")]);
    }

    #[test]
    fn hearsay_and_witnesses_that_are_lost_themselves_do_not_count() {
        let now = Instant::now();
        let mut judge = Judge::default();
        judge.observe(lost("n1", &[]), now);
        assert_eq!(judge.verdicts(&view(&[]), now), []);
        judge.observe(lost("n1", &["n2", "n4"]), now);
        assert_eq!(judge.verdicts(&view(&["n2", "n3"]), now), []);
    }

    #[test]
    fn a_member_that_left_or_is_back_is_not_lost() {
        for back in [
            Event::Joined("n1".into()),
            Event::Returned("n1".into()),
            Event::Leaving { node: "n1".into(), absence: Absence::Brief },
        ] {
            let now = Instant::now();
            let mut judge = Judge::default();
            judge.observe(lost("n1", &["n2", "n3"]), now);
            judge.observe(back, now);
            assert_eq!(judge.verdicts(&view(&["n2", "n3"]), now), []);
        }
    }

    #[test]
    fn who_is_cut_off_judges_nobody() {
        let now = Instant::now();
        let mut judge = Judge::default();
        judge.observe(lost("n1", &["n2", "n3"]), now);
        let cut_off = View { settled: false, ..view(&["n2", "n3"]) };
        assert_eq!(judge.verdicts(&cut_off, now), []);
        judge.observe(Event::Stalled(Duration::from_secs(5)), now);
        assert_eq!(judge.verdicts(&view(&["n2", "n3"]), now), []);
    }

    #[test]
    fn no_more_than_a_third_is_acted_on_within_a_minute() {
        let start = Instant::now();
        let mut judge = Judge::default();
        let rest = view(&["n4", "n5", "n6"]);
        for node in ["n1", "n2", "n3"] {
            judge.observe(lost(node, &["n4", "n5"]), start);
        }
        let verdicts = judge.verdicts(&rest, start);
        assert_eq!(verdicts, [withdraw("n1"), withdraw("n2"), Verdict::TooMany("n3".into())]);
        let later = start + WINDOW;
        judge.observe(lost("n4", &["n5", "n6"]), later);
        assert_eq!(judge.verdicts(&view(&["n5", "n6"]), later), [withdraw("n4")]);
    }

    #[test]
    fn what_could_not_be_judged_is_judged_when_it_can_be_but_not_long_after() {
        let start = Instant::now();
        let rest = view(&["n2", "n3"]);
        let unsettled = View { settled: false, ..view(&["n2", "n3"]) };
        for (after, expected) in [(5, vec![withdraw("n1")]), (60, vec![])] {
            let mut judge = Judge::default();
            judge.observe(lost("n1", &["n2", "n3"]), start);
            assert_eq!(judge.verdicts(&unsettled, start), []);
            assert_eq!(judge.verdicts(&rest, start + Duration::from_secs(after)), expected);
        }
    }
}
