//! Members that are known only by what others say.
//!
//! Whoever is listed by the cluster, or has proved itself to be alive, is *vouched for*. All others are contacted, and
//! are no members before they have answered.

use std::time::Instant;

use objects::NodeName;

use super::{Members, Phase};
use crate::identity::{Claim, Identity};
use crate::peer::Source;
use crate::rebirths::Death;
use crate::swim::Swim;
use crate::{Event, Refusal};

/// How many that are not vouched for one member may have told of at a time. They are asked at once, so in a group that
/// is well this lasts a moment.
const EACH: usize = 64;

impl Members {
    /// Takes in a message of SWIM by `name`, unless it tells of what nobody could believe.
    pub(super) fn on_swim(&mut self, name: &NodeName, message: &[u8], now: Instant) -> Result<(), Refusal> {
        let mentioned = Swim::mentioned(message)?;
        if mentioned.iter().any(|identity| !self.is_credible(identity, now)) {
            return Err(Refusal::FarAhead);
        }
        if Swim::tells_of_death(message, self.swim.identity())? {
            // The rest comes again; this would begin a life as often as it is said.
            let generation = self.swim.identity().generation;
            self.died(Death { generation, held_dead: true }, now);
            return Ok(());
        }
        let own = &self.swim.identity().name;
        let names = mentioned.into_iter().map(|identity| identity.name);
        let unknown: Vec<_> = names.filter(|about| about != own && !self.peers.contains_key(about)).collect();
        let told_by_it = Source::ToldBy(name.clone());
        if !unknown.is_empty() {
            let unanswered = self.peers.values().filter(|peer| peer.source == told_by_it).count();
            if unanswered + unknown.len() > EACH || self.swim.count() + unknown.len() > Self::MAX_PEERS {
                return Err(Refusal::TooMany);
            }
        }
        self.swim.handle(message, now)?;
        self.drain_swim(now);
        for about in unknown {
            if let Some(peer) = self.peers.get_mut(&about).filter(|peer| !peer.is_vouched_for()) {
                peer.source = told_by_it.clone();
            }
        }
        Ok(())
    }

    /// Whether what others say of somebody may be so. It may be what that one has said itself.
    pub(super) fn is_credible(&self, identity: &Identity, now: Instant) -> bool {
        if identity.name == self.swim.identity().name {
            // What others are told of us we must hear of, to object.
            return self.generations.allow(Claim::Hearer, identity.generation, now);
        }
        let said = self.swim.generation(&identity.name);
        said.is_some_and(|said| identity.generation <= said)
            || self.generations.allow(Claim::Another, identity.generation, now)
    }

    /// `name` is listed, or has proved to be alive. If it was said to be a member, it is one from now on.
    pub(super) fn vouch(&mut self, name: &NodeName, now: Instant) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        if std::mem::replace(&mut peer.source, Source::VouchedFor) == Source::VouchedFor {
            return;
        }
        if peer.runs()
            && let Phase::Leaving(goodbye) = &mut self.phase
        {
            goodbye.add(name.clone(), now);
        }
        if peer.is_member() {
            self.away.end(name);
            self.events.push_back(Event::Joined(name.clone()));
            self.regroup(now);
        }
    }
}

#[cfg(test)]
mod tests;
