//! What is told of the profiles of others: what module [`crate::relays`] says.

use std::time::Instant;

use objects::NodeName;

use super::{Members, Peer};
use crate::frame::Body;
use crate::parts::{Part, PartNumbers, ProfileVersion};
use crate::relays::{Doubt, Relayed};
use crate::{BootId, Profile, Refusal};

impl Members {
    /// What members tell of themselves by way of others, of those that are not heard themselves; see [`Members::profiles`].
    /// It is hearsay: the others may be wrong.
    pub fn relayed(&self) -> impl Iterator<Item = (&NodeName, &Profile)> {
        self.peers.iter().filter_map(|(name, peer)| Some((name, &peer.relayed_of_now()?.profile)))
    }

    /// `name` has told something new of itself. Whoever watches over it tells the others, who may not have heard it.
    pub(super) fn pass_on(&mut self, name: &NodeName, now: Instant) {
        if self.ring.monitors(name).any(|monitor| *monitor == self.swim.identity().name) {
            self.relays.changed(name, now);
        }
    }

    /// Says and asks what is due.
    pub(super) fn poll_relays(&mut self, now: Instant) {
        while let Some(subject) = self.relays.poll_news(now) {
            let Some((boot, version)) = self.peers.get(&subject).and_then(known) else { continue };
            let takers = self.peers.iter().filter(|(name, peer)| {
                **name != subject && peer.is_vouched_for() && peer.runs() && peer.told.takes_relays
            });
            for name in takers.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                self.send(&name, Body::ProfileNews { boot, version });
            }
        }
        while let Some((subject, boot)) = self.relays.poll(now) {
            if self.peers.get(&subject).is_none_or(|peer| !peer.runs() || peer.boot() != Some(boot)) {
                self.relays.forget(&subject);
                continue;
            }
            let monitors = self.ring.monitors(&subject).filter(|name| {
                self.peers.get(*name).is_some_and(|peer| peer.is_member() && peer.told.takes_relays)
            });
            for monitor in monitors.cloned().collect::<Vec<_>>() {
                if let Some(numbers) = self.relays.ask(&subject, &monitor) {
                    self.send(&monitor, Body::RelayWanted { boot, numbers });
                }
            }
        }
    }

    /// `name` is not heard, and may have something new to tell.
    pub(super) fn doubt(&mut self, name: &NodeName, now: Instant) {
        if let Some(peer) = self.peers.get(name)
            && peer.runs()
            && peer.is_vouched_for()
            && let Some(boot) = peer.boot()
        {
            self.relays.want(name, boot, Doubt::Silence, now);
        }
    }

    /// `name` speaks itself, and has that version of its profile.
    pub(super) fn speaks_itself(&mut self, name: &NodeName, version: ProfileVersion, now: Instant) {
        self.relays.forget(name);
        let Some(relayed) = self.peers.get_mut(name).and_then(|peer| peer.relayed.take()) else { return };
        self.profiles_changed = true;
        if relayed.version.is_news(Some(version)) {
            // It may have said that before, and what it has said since was lost.
            self.doubt(name, now);
        }
    }

    /// `teller` says that a process has this version of its profile.
    pub(super) fn on_profile_news(
        &mut self,
        teller: &NodeName,
        boot: BootId,
        version: ProfileVersion,
        now: Instant,
    ) {
        let Some(subject) = self.subject_of(teller, boot) else { return };
        if self.is_news_of(&subject, boot, version)
            && self.relays.want(&subject, boot, Doubt::Told, now)
            && self.may_ask(&subject, now)
        {
            self.send(&subject, Body::Ping);
        }
    }

    /// `asker` does not hear a process that we may have heard.
    pub(super) fn relay(&mut self, asker: &NodeName, boot: BootId, numbers: PartNumbers) {
        let subject = self.peers.values().find(|peer| known(peer).is_some_and(|(known, _)| known == boot));
        let Some(told) = subject.map(|peer| &peer.told) else { return };
        let (Some(version), Some(profile)) = (told.version, &told.profile) else { return };
        for part in Part::all_of(profile).into_iter().filter(|part| numbers.contains(part)) {
            self.send(asker, Body::RelayedPart { boot, version, part });
        }
    }

    /// `teller` tells a part of the profile of a process.
    pub(super) fn take_relayed_part(
        &mut self,
        teller: &NodeName,
        boot: BootId,
        version: ProfileVersion,
        part: Part,
    ) -> Result<(), Refusal> {
        let Some(subject) = self.subject_of(teller, boot) else { return Ok(()) };
        if let Some(relayed) = self.relays.add((&subject, boot), teller, version, part)?
            && self.is_news_of(&subject, boot, version)
            && let Some(peer) = self.peers.get_mut(&subject)
        {
            peer.relayed = Some(relayed);
            self.profiles_changed = true;
        }
        Ok(())
    }

    /// Whose process that is, if `teller` may tell of it: a monitor hears it all the time.
    fn subject_of(&self, teller: &NodeName, boot: BootId) -> Option<NodeName> {
        let runs = |peer: &Peer| peer.runs() && peer.is_vouched_for() && peer.boot() == Some(boot);
        let (subject, _) = self.peers.iter().find(|(_, peer)| runs(peer))?;
        let watches = self.ring.monitors(subject).any(|monitor| monitor == teller);
        (watches && self.peers.get(teller).is_some_and(Peer::is_member)).then(|| subject.clone())
    }

    /// Whether that version is later than what is known of a process, by itself or by others.
    fn is_news_of(&self, name: &NodeName, boot: BootId, version: ProfileVersion) -> bool {
        let Some(peer) = self.peers.get(name) else { return false };
        let heard = peer.told.version.filter(|_| peer.is_proven(boot));
        let relayed = peer.relayed_of_now().map(|relayed: &Relayed| relayed.version);
        version.is_news(heard) && version.is_news(relayed)
    }
}

/// The process of a peer that was heard itself, and the version of its profile.
fn known(peer: &Peer) -> Option<(BootId, ProfileVersion)> {
    let boot = peer.boot().filter(|boot| peer.is_proven(*boot))?;
    Some((boot, peer.told.version?))
}
