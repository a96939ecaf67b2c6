//! Whether this node is the one that is cut off.

use super::Core;
use crate::cut_off::{Certainty, CutOff, Follow};
use crate::output::Output;

impl Core {
    /// Whether others may be alive of whom nothing is heard, so that what they announce is not known here.
    pub(super) fn is_cut_off(&self) -> bool {
        self.peers_reach.is_doubtful() || self.outcomes.is_any_held()
    }

    pub(super) fn api_reachable(&mut self, reachable: bool) {
        self.api_reach.set((!reachable).then_some(Certainty::Likely), self.now);
    }

    /// Who hears one peer is not cut off, whoever else is silent.
    pub(super) fn follow_reach(&mut self) {
        let peers = || self.peers.listed().filter(|node| **node != self.node);
        let heard = self.latest.settled && self.latest.members.iter().any(|node| *node != self.node);
        let alone = !heard && !self.stopping && self.trouble.is_none() && peers().next().is_some();
        let cut_off = if alone && self.outcomes.is_any_held() {
            Some(Certainty::Proven)
        } else {
            let alive = alone && peers().any(|node| self.ready_nodes.contains(node));
            alive.then_some(Certainty::Likely)
        };
        self.peers_reach.set(cut_off, self.now);
        let news = |whom, follow: &mut Follow| Some(Output::Reach(whom, follow.poll(self.now)?));
        let peers = news(CutOff::Peers, &mut self.peers_reach);
        let api = news(CutOff::Api, &mut self.api_reach);
        self.outputs.extend(peers.into_iter().chain(api));
    }
}
