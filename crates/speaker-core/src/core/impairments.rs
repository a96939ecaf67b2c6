//! What this speaker is without: whether it is the one that is cut off, and what its node refuses it.

use super::Core;
use crate::impairments::{Certainty, Impairment};
use crate::input::Trouble;
use crate::interfaces::{Link, Links, Unfit};
use crate::output::Output;

impl Core {
    /// Whether others may be alive of whom nothing is heard, so that what they announce is not known here.
    pub(super) fn is_cut_off(&self) -> bool {
        self.impairments.is_doubtful(Impairment::Peers) || self.outcomes.is_any_held()
    }

    pub(super) fn api_reachable(&mut self, reachable: bool) {
        self.impairments.set(Impairment::Api, (!reachable).then_some(Certainty::Likely), self.now);
    }

    /// What the kernel says of the interfaces is known to be true, or not.
    pub(super) fn interfaces_followed(&mut self, followed: bool) {
        self.refused(Impairment::Netlink, !followed);
    }

    /// Some interface may lack its packet socket.
    pub(super) fn follow_sockets(&mut self, links: &Links) {
        let no_socket =
            |link: &Link| link.arp.err() == Some(Unfit::NoSocket) || link.ndp.err() == Some(Unfit::NoSocket);
        self.refused(Impairment::PacketSockets, links.values().any(no_socket));
    }

    /// Why the gossip does not work may have changed.
    pub(super) fn follow_trouble(&mut self) {
        for trouble in [Trouble::Unbound, Trouble::OtherKey] {
            self.refused(trouble.into(), self.trouble == Some(trouble));
        }
    }

    fn refused(&mut self, what: Impairment, refused: bool) {
        self.impairments.set(what, refused.then_some(Certainty::Proven), self.now);
    }

    /// Tells what is missing, or there again. Who hears one peer is not cut off, whoever else is silent.
    pub(super) fn follow_impairments(&mut self) {
        let peers = || self.peers.listed().filter(|node| **node != self.node);
        let heard = self.latest.settled && self.latest.members.iter().any(|node| *node != self.node);
        let alone = !heard && !self.stopping && self.trouble.is_none() && peers().next().is_some();
        let cut_off = if alone && self.outcomes.is_any_held() {
            Some(Certainty::Proven)
        } else {
            let alive = alone && peers().any(|node| self.ready_nodes.contains(node));
            alive.then_some(Certainty::Likely)
        };
        self.impairments.set(Impairment::Peers, cut_off, self.now);
        let news = self.impairments.poll(self.now);
        self.outputs.extend(news.into_iter().map(|(what, impact)| Output::Impaired(what, impact)));
    }

    /// Why the gossip does not work, as far as is known.
    pub(super) fn gossip_impairment(&self) -> Option<Impairment> {
        let of_gossip = [Impairment::GossipAddress, Impairment::GossipKey, Impairment::Peers];
        of_gossip.into_iter().find(|what| self.impairments.has(*what))
    }
}
