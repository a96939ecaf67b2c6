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
        let takers = self.peers.iter().filter(|(_, peer)| peer.runs() && peer.told.takes_parts);
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
            && version.is_news(peer.told.version)
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
        let known = self.peers.get(name).and_then(|peer| peer.told.version);
        if version.is_news(known)
            && let Some(profile) = self.incoming.add(name, version, part, now)?
            && let Some(peer) = self.peers.get_mut(name)
        {
            let is_news = peer.told.version.replace(version).is_some();
            let answers = std::mem::take(&mut peer.told.answers);
            self.learn(name, profile);
            if is_news {
                self.pass_on(name, now);
            }
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
            peer.told.version = Some(version);
            self.learn(name, brief.into());
        } else if peer.told.profile.is_none() && brief != Brief::default() {
            self.learn(name, brief.into());
        }
    }

    fn learn(&mut self, name: &NodeName, profile: Profile) {
        if let Some(peer) = self.peers.get_mut(name)
            && peer.told.profile.as_ref() != Some(&profile)
        {
            peer.told.profile = Some(profile);
            self.events.push_back(Event::Profile(name.clone()));
        }
    }

    /// `name` answers us. It counts once all is known that it tells of itself, for what falls to it depends on that.
    pub(super) fn hear_answer(&mut self, name: &NodeName, version: ProfileVersion, now: Instant) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.told.answers = version.is_news(peer.told.version);
        if !peer.told.answers
            && self.settle.answered(name, now)
            && let Some(identity) = peer.identity.clone()
        {
            // It may know some that are not listed.
            self.swim.announce(identity, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::config::Role;
    use crate::fixtures::ms;
    use crate::frame::{Hello, Payload};
    use crate::identity::{Identity, name};
    use crate::seal::FrameEncryption;
    use crate::session::Cookie;
    use crate::{Absence, BootId, Config, Preset};

    /// What members could say to each other before there were parts.
    #[derive(Debug, Serialize, Deserialize)]
    struct EarlierPayload {
        #[serde(with = "name")]
        from: NodeName,
        generation: u64,
        profile: u32,
        body: EarlierBody,
    }

    #[derive(Debug, Serialize, Deserialize)]
    enum EarlierBody {
        Heartbeat,
        Hello(EarlierHello),
        Ping,
        Pong,
        PingFor(#[serde(with = "name")] NodeName),
        PongFor(#[serde(with = "name")] NodeName),
        Ask(#[serde(with = "name")] NodeName),
        Heard {
            #[serde(with = "name")]
            node: NodeName,
            age: u32,
        },
        Dead(Identity),
        Leave(Absence),
        LeaveConfirmed,
        Bye,
        Swim(Vec<u8>),
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct EarlierHello {
        identity: Identity,
        profile: Vec<u8>,
        cookie: Cookie,
        echo: Option<Cookie>,
        reply: bool,
        known: Option<u64>,
        late: bool,
    }

    /// A member, and one of an earlier version that speaks by hand.
    struct Pair {
        new: Members,
        old: FrameEncryption,
        old_profile: (u32, Vec<u8>),
        now: Instant,
        /// The latest that the new one introduced itself, and with which version of its profile.
        heard: Option<(u32, EarlierHello)>,
        /// How often it did.
        introductions: usize,
    }

    const GENERATION: u64 = 1000;
    const OLD_BOOT: BootId = BootId(2);

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 7946))
    }

    impl Pair {
        fn new(profile: Profile) -> Self {
            let now = Instant::now();
            let config = Config {
                name: "new".into(),
                address: address(1),
                boot: BootId(1),
                generation: GENERATION,
                preset: Preset::Default,
                keys: Vec::new(),
                profile,
            };
            let mut new = Members::new(config, [1; 32], now);
            new.set_peers([("old".into(), address(2))].into(), now);
            let old = FrameEncryption::new("old".into(), OLD_BOOT, Vec::new());
            Self { new, old, old_profile: (0, vec![8]), now, heard: None, introductions: 0 }
        }

        /// What the new one says is understood by the earlier version, whatever it is.
        fn listen(&mut self) {
            while let Some(transmit) = self.new.poll_transmit() {
                let opened = self.old.open(&transmit.frame).unwrap();
                let payload: EarlierPayload = postcard::from_bytes(&opened.payload).unwrap();
                if let EarlierBody::Hello(hello) = payload.body {
                    assert!(hello.profile.len() <= 256);
                    self.introductions += 1;
                    self.heard = Some((payload.profile, hello));
                }
            }
        }

        fn say(&mut self, body: EarlierBody) -> Result<&'static str, Refusal> {
            let payload = EarlierPayload {
                from: "old".into(),
                generation: GENERATION,
                profile: self.old_profile.0,
                body,
            };
            let bytes = postcard::to_allocvec(&payload).unwrap();
            let frame = self.old.seal(&"new".into(), &bytes);
            let result = self.new.handle(address(2), &frame, self.now);
            self.listen();
            result
        }

        fn introduce(&mut self) -> Result<&'static str, Refusal> {
            self.listen();
            let identity = Identity {
                name: "old".into(),
                address: address(2),
                boot: OLD_BOOT,
                generation: GENERATION,
                role: Role::Speaker,
            };
            self.say(EarlierBody::Hello(EarlierHello {
                identity,
                profile: self.old_profile.1.clone(),
                cookie: Cookie([0; 16]),
                echo: self.heard.as_ref().map(|(_, hello)| hello.cookie),
                reply: false,
                known: None,
                late: false,
            }))
        }

        /// What the new one knows of the earlier one.
        fn known(&self) -> Option<&[u8]> {
            self.new
                .profiles()
                .find(|(name, _)| name.as_str() == "old")
                .map(|(_, profile)| profile.as_bytes())
        }

        fn pass(&mut self, millis: u64) {
            for _ in 0..millis / 10 {
                self.now += ms(10);
                self.new.poll(self.now);
                self.listen();
            }
        }
    }

    #[test]
    fn a_member_of_an_earlier_version_is_understood_and_told_in_brief() {
        let long = Profile::new([7; Profile::MAX]).unwrap().with_brief([1, 2, 3]).unwrap();
        let mut pair = Pair::new(long.clone());
        assert_eq!(pair.introduce(), Ok("hello"));
        assert_eq!(pair.known(), Some(&[8][..]));
        assert!(pair.new.settled(), "it has answered");
        for _ in 0..20 {
            assert_eq!(pair.say(EarlierBody::Heartbeat), Ok("heartbeat"));
            assert_eq!(pair.say(EarlierBody::Ping), Ok("ping"));
            pair.pass(100);
        }
        let (version, hello) = pair.heard.as_ref().unwrap();
        assert_eq!(hello.profile, [1, 2, 3]);
        let (version, introductions) = (*version, pair.introductions);

        pair.new.set_profile(long.with_brief([4]).unwrap(), pair.now);
        pair.pass(100);
        let (next, hello) = pair.heard.as_ref().unwrap();
        assert_eq!((*next, &hello.profile[..]), (version + 1, &[4][..]));
        assert_eq!(pair.introductions, introductions + 2, "told twice, and nothing is asked of it");
    }

    #[test]
    fn who_is_of_an_earlier_version_is_asked_for_an_introduction_when_its_profile_changes() {
        let mut pair = Pair::new(Profile::default());
        pair.introduce().unwrap();
        pair.old_profile = (1, vec![9, 9]);
        let before = pair.introductions;
        pair.pass(500);
        pair.say(EarlierBody::Heartbeat).unwrap();
        assert_eq!(pair.introductions, before + 1);
        assert!(pair.heard.as_ref().unwrap().1.reply);
        pair.introduce().unwrap();
        assert_eq!(pair.known(), Some(&[9, 9][..]));
        pair.say(EarlierBody::Heartbeat).unwrap();
        assert_eq!(pair.introductions, before + 1);
    }

    #[test]
    fn a_part_fits_into_a_frame_however_long_the_names_are() {
        let profile = Profile::new([7; Profile::MAX]).unwrap();
        let version = ProfileVersion::first();
        let relayed = |part| Body::RelayedPart { boot: BootId(u128::MAX), version, part };
        let parts = Part::all_of(&profile);
        for body in parts.iter().cloned().map(Body::ProfilePart).chain(parts.iter().cloned().map(relayed)) {
            let from = NodeName::from("n".repeat(253));
            let payload = Payload { from: from.clone(), generation: u64::MAX, profile: version, body };
            let frame =
                FrameEncryption::new(from, BootId(1), Vec::new()).seal(&"x".into(), &payload.encode());
            assert!(frame.len() + 16 <= Members::MAX_FRAME, "{}", frame.len());
        }
        let hello = Hello {
            identity: Identity {
                name: "n".repeat(253).into(),
                address: address(1),
                boot: BootId(u128::MAX),
                generation: u64::MAX,
                role: Role::Speaker,
            },
            profile: Profile::new([7; Profile::MAX_BRIEF]).unwrap().brief().clone(),
            cookie: Cookie([1; 16]),
            echo: Some(Cookie([1; 16])),
            reply: true,
            known: Some(u64::MAX),
            late: true,
        };
        assert!(postcard::to_allocvec(&hello).unwrap().len() < 900);
    }
}
