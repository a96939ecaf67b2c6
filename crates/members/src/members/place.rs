//! From where others are heard, and where they are spoken to: what module [`crate::places`] says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use objects::NodeName;

use super::Members;
use crate::frame::{Body, Payload};
use crate::identity::Identity;
use crate::peer::{Peer, Source};
use crate::places::{Place, choose};
use crate::seal::Opened;
use crate::{Event, Refusal};

/// Where the sender of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Where it may be.
    Known,
    /// Where it has moved to just now.
    Moved,
}

impl Members {
    /// All addresses that the cluster lists for everybody who may speak, speakers or not, all of them at each call. Whoever
    /// is left out stays where it was listed last. Before the first call everybody is heard from everywhere; after it,
    /// nobody counts whom it does not name. Call it when the lists are complete.
    pub fn set_addresses(&mut self, listed: BTreeMap<NodeName, BTreeSet<IpAddr>>, now: Instant) {
        self.wake(now);
        if self.places.set(listed) {
            // Those that were made before may have been sent to anybody.
            self.cookies.renew();
            self.cautious_since = self.cookies.epoch(now);
            self.disown(now);
            for (name, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.runs()) {
                peer.knows_us.no_longer = true;
                self.contacts.add(name, now);
            }
        }
        let known = |(name, peer): &(&NodeName, &Peer)| {
            let proven = peer.identity.as_ref().is_some_and(|identity| peer.is_proven(identity.boot));
            !peer.is_vouched_for() && proven && self.places.admit(name)
        };
        let known: Vec<_> = self.peers.iter().filter(known).map(|(name, _)| name.clone()).collect();
        for name in known {
            self.vouch(&name, now);
            if self.peers[&name].told.profile.is_some() {
                self.events.push_back(Event::Profile(name));
            }
        }
        self.due = self.poll_timeout();
    }

    /// Nobody counts any more whom the cluster does not list.
    fn disown(&mut self, now: Instant) {
        for (name, peer) in &mut self.peers {
            if peer.listed.is_none() && peer.is_vouched_for() && !self.places.admit(name) {
                if peer.is_member() {
                    self.events.push_back(Event::Replaced(name.clone()));
                }
                peer.source = Source::Nobody;
            }
        }
        self.regroup(now);
    }

    /// Whether the sender of a frame is where it may be. A process that has moved tells so by a `Hello` from there, with
    /// something that it was given where it was before.
    pub(super) fn check_place(
        &mut self,
        from: IpAddr,
        opened: &Opened,
        payload: &Payload,
        now: Instant,
    ) -> Result<Seen, Refusal> {
        let name = &payload.from;
        match self.places.look(name, from) {
            Place::Unknown | Place::Right | Place::Unlisted => return Ok(Seen::Known),
            Place::Wrong => {}
        }
        let peer = self.peers.get(name);
        let same_process = |peer: &&Peer| peer.is_proven(opened.boot);
        if peer.is_some_and(|peer| peer.listed.is_some_and(|listed| listed.ip() == from))
            || peer.filter(same_process).is_some_and(|peer| peer.is_at(from))
        {
            return Ok(Seen::Known);
        }
        if peer.as_ref().is_some_and(same_process)
            && let Body::Hello(hello) = &payload.body
            && hello.identity.address.ip() == from
            && let Some(ticket) = &hello.echo
            && self.cookies.made_at(ticket, name).is_some_and(|at| at >= self.cautious_since)
        {
            return Ok(Seen::Moved);
        }
        if self.complaints.is_due(now) {
            self.events.push_back(Event::WrongAddress { node: name.clone(), from });
        }
        Err(Refusal::WrongAddress)
    }

    /// Where to reach `name`: where it says while it is alive, if it may be there, else where it is listed.
    pub(super) fn address_of(&self, name: &NodeName) -> Option<SocketAddr> {
        let peer = self.peers.get(name)?;
        let said = peer.own_address().map(|own| (own, self.may_be(name, own.ip())));
        if peer.runs() { choose(said, peer.listed) } else { peer.listed.or_else(|| choose(said, None)) }
    }

    /// Where to reach this one.
    pub(super) fn reach(&self, whom: &Identity) -> Option<SocketAddr> {
        if self.peers.contains_key(&whom.name) {
            return self.address_of(&whom.name);
        }
        choose(Some((whom.address, self.may_be(&whom.name, whom.address.ip()))), None)
    }

    fn may_be(&self, name: &NodeName, ip: IpAddr) -> bool {
        match self.places.look(name, ip) {
            Place::Unknown | Place::Right | Place::Unlisted => true,
            Place::Wrong => self.peers.get(name).is_some_and(|peer| peer.is_at(ip)),
        }
    }
}
