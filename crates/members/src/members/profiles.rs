//! What we tell of ourselves, and what the others tell.

use std::time::Instant;

use objects::NodeName;

use super::Members;
use super::send::News;
use crate::frame::Body;
use crate::parts::{Part, PartNumbers, ProfileVersion};
use crate::profile::Brief;
use crate::{Event, Profile, Refusal};

impl Members {
    /// Our profile has changed. Everybody is sent the parts, and then told that there is something new: whoever has
    /// all of them by then need not ask.
    pub(super) fn tell_profile(&mut self, now: Instant) {
        let takers = self.peers.iter().filter(|(_, peer)| peer.runs() && peer.takes_parts);
        for name in takers.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.send_profile(&name, PartNumbers::ALL);
        }
        self.tell(News::Myself, now);
    }

    /// Sends these parts of our profile to `name`.
    pub(super) fn send_profile(&mut self, name: &NodeName, numbers: PartNumbers) {
        let parts = Part::all_of(&self.profile).into_iter().filter(|part| numbers.contains(part));
        parts.for_each(|part| self.send(name, Body::ProfilePart(part)));
    }

    /// Asks for what is missing of the profiles of others.
    pub(super) fn ask_for_profiles(&mut self, now: Instant) {
        while let Some((name, numbers)) = self.incoming.poll(now) {
            if self.peers.get(&name).is_some_and(super::Peer::runs) {
                self.send(&name, Body::ProfileWanted(numbers));
            } else {
                self.incoming.forget(&name);
            }
        }
    }

    /// `name` has this version of its profile.
    pub(super) fn want_profile(&mut self, name: &NodeName, version: ProfileVersion, now: Instant) {
        if let Some(peer) = self.peers.get(name)
            && peer.runs()
            && version.is_news(peer.profile_version)
        {
            self.incoming.want(name, version, now);
        }
    }

    /// A part of the profile of `name` has come.
    pub(super) fn take_profile_part(
        &mut self,
        name: &NodeName,
        version: ProfileVersion,
        part: Part,
        now: Instant,
    ) -> Result<(), Refusal> {
        let known = self.peers.get(name).and_then(|peer| peer.profile_version);
        if version.is_news(known)
            && let Some(profile) = self.incoming.add(name, version, part, now)?
            && let Some(peer) = self.peers.get_mut(name)
        {
            peer.profile_version = Some(version);
            let answers = std::mem::take(&mut peer.answers);
            self.learn(name, profile);
            if answers {
                self.hear_answer(name, version, now);
            }
        }
        Ok(())
    }

    /// `name` introduces itself. That is all that is to be known of it, unless its profile comes in parts.
    pub(super) fn learn_brief(&mut self, name: &NodeName, brief: Brief, version: ProfileVersion) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        if !version.is_in_parts() {
            peer.profile_version = Some(version);
            self.learn(name, brief.into());
        } else if peer.profile.is_none() && brief != Brief::default() {
            self.learn(name, brief.into());
        }
    }

    fn learn(&mut self, name: &NodeName, profile: Profile) {
        if let Some(peer) = self.peers.get_mut(name)
            && peer.profile.as_ref() != Some(&profile)
        {
            peer.profile = Some(profile);
            self.events.push_back(Event::Profile(name.clone()));
        }
    }

    /// `name` answers us. It counts once all is known that it tells of itself, for what falls to it depends on that.
    pub(super) fn hear_answer(&mut self, name: &NodeName, version: ProfileVersion, now: Instant) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.answers = version.is_news(peer.profile_version);
        if !peer.answers
            && self.settle.answered(name, now)
            && let Some(identity) = peer.identity.clone()
        {
            // It may know some that are not listed.
            self.swim.announce(identity, now);
        }
    }
}
