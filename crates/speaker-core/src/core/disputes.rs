//! What follows from disputes with speakers that have seen another state of the cluster.

use std::net::IpAddr;

use placement::NodeName;

use super::Core;
use crate::announce::layer2::Conflict;
use crate::disputes::Others;
use crate::output::{Notice, Output};

impl Core {
    /// Somebody answers for an address: for one that is watched, or a peer for one that is announced here.
    pub(super) fn answered(&mut self, conflict: Conflict) {
        let node = self.peers.owner(conflict.by);
        if !self.placement.announcements().contains_key(&conflict.vip) {
            self.disputes.answered(conflict.vip, node, self.now);
        } else if let Some(node) = node.filter(|node| self.peers.is_heard(node)).cloned() {
            self.disputes.answers_too(node, conflict, self.now);
        }
    }

    /// Other nodes are to announce addresses from now on.
    pub(super) fn follow_moved(&mut self) {
        for moved in self.placement.take_moved() {
            // At first everything is new.
            if self.published.loaded && !self.stopping {
                self.disputes.moved(moved, self.now);
            }
        }
    }

    /// Brings what is disputed in line with what the others tell, and what is announced with that.
    pub(super) fn follow_disputes(&mut self) {
        self.dispute_back();
        let others = Others {
            me: &self.node,
            members: &self.view.members,
            disputing: self.peers.disputing(),
            told: &|node| self.peers.told(node),
            announcer: &|vip| self.placement.announcer(vip),
            interfaces: &|vip| self.placement.announcements().get(&vip).map(|it| &it.interfaces),
            used: &|vip| self.placement.is_used(vip),
        };
        self.disputes.follow(&others, self.now);
        for conflict in self.disputes.take_unnoticed() {
            if let Some(node) = self.peers.owner(conflict.by).cloned() {
                self.peers.found_deaf(node, self.now);
                self.stale.known_macs = true;
            }
        }
        if self.told_conceded != *self.disputes.conceded() {
            self.told_conceded.clone_from(self.disputes.conceded());
            self.placement.set_conceded(&self.node, &self.told_conceded);
            self.outputs.push_back(Output::Conceded(self.told_conceded.clone()));
            self.stale.announcements = true;
            self.settle();
        }
        let watched = self.disputes.watched();
        if !watched.is_empty() || !self.wanted.watched.is_empty() {
            let watched = watched.iter().map(|(vip, it)| (*vip, (it.interfaces.clone(), it.ask))).collect();
            self.stale.ports |= self.wanted.watched != watched;
            self.wanted.watched = watched;
        }
    }

    /// Tells the owners of what peers have given up and this node announces: the peer itself may well be cut off from the API
    /// server, and nobody else announces it. Whoever takes it over later tells nothing, since the dispute is the same.
    pub(super) fn tell_given_up(&mut self) {
        for (node, vip) in self.peers.take_given_up() {
            let announced = self.placement.announcements().contains_key(&vip);
            if announced && self.published.loaded && !self.stopping {
                self.tell_owners(vip, &given_up(vip, &node, &self.node));
            }
        }
    }

    /// Who wants us to give up what we announce announces it as well, though we may never have heard it do so.
    fn dispute_back(&mut self) {
        let announced = |vip: &&IpAddr| self.placement.announcements().contains_key(*vip);
        let of = |node: &NodeName| -> Vec<(NodeName, IpAddr)> {
            let asked = self.peers.told(node).and_then(|told| told.disputed.by_node.get(&self.node));
            asked.into_iter().flatten().filter(announced).map(|vip| (node.clone(), *vip)).collect()
        };
        let others = self.peers.disputing().intersection(&self.view.members);
        for (node, vip) in others.flat_map(of).collect::<Vec<_>>() {
            self.disputes.raise(node, vip, self.now);
        }
    }
}

/// Tells that a peer leaves an address to `node`, because it has seen an older state of the cluster.
fn given_up(vip: IpAddr, peer: &NodeName, node: &NodeName) -> Notice {
    let (peer, node) = (peer.as_str(), node.as_str());
    Notice::warning(
        "nodeOutdated",
        format!(
            "node {peer:?} gives up {vip}, which is announced from node {node:?}: its speaker has not seen the latest changes \
             of the cluster. Check that node {peer:?} reaches the API server; it is considered again once it does"
        ),
    )
}
