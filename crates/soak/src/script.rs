//! What happens when: a script without an end, made of a seed.

use std::time::Duration;

use lab::NodeId;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use crate::fault::{Fault, Kind};

/// How often, of a hundred rounds, something else happens before the first fault is over.
const IN_COMPANY: u32 = 40;
/// Seconds between the begin of the two.
const APART: std::ops::RangeInclusive<u64> = 0..=6;
/// Milliseconds of rest before a round.
const REST: std::ops::RangeInclusive<u64> = 1000..=4000;

/// Faults that happen one after the other or together, until the cluster is given time to get well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// How long nothing happens before.
    pub rest: Duration,
    /// What happens.
    pub steps: Vec<Step>,
}

/// A fault with its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// After the begin of the round.
    pub after: Duration,
    /// What happens.
    pub fault: Fault,
    /// How long until it is undone.
    pub lasts: Duration,
}

/// Rounds without an end. Every kind has had its turn before any has its next one.
#[derive(Debug)]
pub struct Script {
    random: StdRng,
    kinds: Vec<Kind>,
    nodes: Vec<NodeId>,
    /// The kinds whose turn is still to come, the next one last.
    deck: Vec<Kind>,
}

impl Script {
    /// The script with this seed, for faults of these kinds at these nodes. The same three make the same script.
    ///
    /// # Panics
    /// Without kinds or nodes.
    pub fn new(seed: u64, kinds: &[Kind], nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let nodes: Vec<NodeId> = nodes.into_iter().collect();
        assert!(!kinds.is_empty() && !nodes.is_empty(), "a script is about something");
        Self { random: StdRng::seed_from_u64(seed), kinds: kinds.to_vec(), nodes, deck: Vec::new() }
    }

    fn draw(&mut self) -> Kind {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            self.deck.shuffle(&mut self.random);
        }
        self.deck.pop().expect("there are kinds")
    }

    /// What may happen together with `first`.
    fn company(&mut self, first: Fault) -> Option<Fault> {
        let kinds: Vec<Kind> =
            self.kinds.iter().copied().filter(|kind| kind.goes_with(first.kind())).collect();
        let kind = *kinds.choose(&mut self.random)?;
        // Elsewhere: with three nodes, one is left alone by both.
        let nodes: Vec<NodeId> =
            self.nodes.iter().copied().filter(|node| Some(*node) != first.node()).collect();
        Some(kind.at(*nodes.choose(&mut self.random)?))
    }

    fn step(&mut self, after: Duration, fault: Fault) -> Step {
        let lasts = Duration::from_secs(self.random.random_range(fault.kind().lasts()));
        Step { after, fault, lasts }
    }
}

impl Iterator for Script {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let rest = Duration::from_millis(self.random.random_range(REST));
        let node = *self.nodes.choose(&mut self.random)?;
        let first = self.draw().at(node);
        let mut steps = vec![self.step(Duration::ZERO, first)];
        if self.random.random_range(0..100) < IN_COMPANY
            && let Some(second) = self.company(first)
        {
            let after = Duration::from_secs(self.random.random_range(APART));
            steps.push(self.step(after, second));
        }
        Some(Round { rest, steps })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn script(seed: u64) -> Script {
        Script::new(seed, &Kind::ALL, NodeId::all(3))
    }

    #[test]
    fn a_seed_makes_one_script() {
        let rounds = |seed| script(seed).take(200).collect::<Vec<_>>();
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
    }

    #[test]
    fn every_kind_has_its_turn() {
        let first = script(1).take(Kind::ALL.len()).map(|round| round.steps[0].fault.kind());
        assert_eq!(first.collect::<BTreeSet<_>>(), Kind::ALL.into());
    }

    #[test]
    fn of_two_faults_each_has_a_node_of_its_own_and_both_can_be_done_together() {
        let together = (0..20).flat_map(|seed| script(seed).take(50)).filter(|round| round.steps.len() > 1);
        let together: Vec<Round> = together.collect();
        assert!(together.len() > 50, "{} rounds", together.len());
        for round in together {
            let [one, two] = round.steps[..] else { panic!("{round:?}") };
            assert!(one.fault.kind().goes_with(two.fault.kind()), "{round:?}");
            assert!(one.fault.node().is_none() || one.fault.node() != two.fault.node(), "{round:?}");
        }
    }

    #[test]
    fn only_what_was_asked_for_happens() {
        let kinds = [Kind::SHORT[0], Kind::SHORT[1]];
        let steps = Script::new(1, &kinds, NodeId::all(3)).take(50).flat_map(|round| round.steps);
        assert!(steps.map(|step| step.fault.kind()).all(|kind| kinds.contains(&kind)));
    }
}
