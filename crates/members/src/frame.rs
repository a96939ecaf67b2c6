//! What members say to each other: the payload of a datagram, encoded by postcard.

use objects::NodeName;
use serde::{Deserialize, Serialize};

use crate::identity::{Claim, Identity, name};
use crate::parts::{Part, PartNumbers, ProfileVersion};
use crate::profile::Brief;
use crate::session::Cookie;
use crate::{Absence, BootId, Refusal};

/// What is in every frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload {
    /// Who speaks.
    #[serde(with = "name")]
    pub(crate) from: NodeName,
    /// The sender's generation; whoever knows another one asks for a [`Hello`].
    pub(crate) generation: u64,
    /// How often the sender's profile has changed; whoever knows another state of it asks for its parts, or for a
    /// [`Hello`] where there are none.
    pub(crate) profile: ProfileVersion,
    pub(crate) body: Body,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// I am alive. To one's monitors.
    Heartbeat,
    /// This is me. Introduces, proves to be alive, and passes on what has changed.
    Hello(Hello),
    /// Are you alive? Answered by `Pong`.
    Ping,
    /// I am.
    Pong,
    /// A monitor asks, by me, whether you are alive. Answered by `PongFor`.
    PingFor(#[serde(with = "name")] NodeName),
    /// I am; tell that monitor.
    PongFor(#[serde(with = "name")] NodeName),
    /// When did you last hear this one? I do not. Answered by `Heard`, and again if a `PingFor` is answered.
    Ask(#[serde(with = "name")] NodeName),
    /// I heard `node` this many milliseconds ago, or never if that is [`NEVER`].
    Heard {
        #[serde(with = "name")]
        node: NodeName,
        age: u32,
    },
    /// I found this one dead. To everybody, also to the one it is about, who will object if alive.
    Dead(Identity),
    /// I am about to go.
    Leave(Absence),
    /// Your part of the work is in good hands, you may go.
    LeaveConfirmed,
    /// I am gone.
    Bye,
    /// A message of SWIM, encoded by foca.
    Swim(Vec<u8>),
    /// I do not know these parts of your profile yet. Only to those who have said that they know parts, like all that
    /// follows.
    ProfileWanted(PartNumbers),
    /// A part of my profile, of the version that the frame names.
    ProfilePart(Part),
    /// A process that I watch over has a new profile. Only to those who have said that they take what is relayed, like all
    /// that follows. See [`crate::relays`].
    ProfileNews { boot: BootId, version: ProfileVersion },
    /// I do not hear that process: tell me these parts of its profile, if you do.
    RelayWanted { boot: BootId, numbers: PartNumbers },
    /// A part of the profile of that process, which I have heard itself.
    RelayedPart { boot: BootId, version: ProfileVersion, part: Part },
}

/// The age in [`Body::Heard`] of what was never heard.
pub(crate) const NEVER: u32 = u32::MAX;

/// See [`Body::Hello`] and [`crate::session`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) identity: Identity,
    /// As much of the profile as fits.
    pub(crate) profile: Brief,
    /// To be echoed by the receiver as proof that it is alive now.
    pub(crate) cookie: Cookie,
    /// The receiver's cookie, if it was asked for.
    pub(crate) echo: Option<Cookie>,
    /// Whether the receiver is asked for a `Hello` of its own.
    pub(crate) reply: bool,
    /// The generation of the receiver that the sender knows of.
    pub(crate) known: Option<u64>,
    /// Whether the sender took part before it knew the receiver.
    pub(crate) late: bool,
}

impl Payload {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("only a writer that is full fails")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        match postcard::take_from_bytes(bytes) {
            Ok((payload, [])) => Ok(payload),
            Ok((_, _surplus)) => Err(Refusal::Malformed),
            Err(_) => Err(Refusal::Malformed),
        }
    }
}

impl Payload {
    /// The generations that are claimed for the sender and the receiver.
    pub(crate) fn generations(&self) -> impl Iterator<Item = (Claim, u64)> {
        let hello = match &self.body {
            Body::Hello(hello) => Some(hello),
            _ => None,
        };
        let own = [Some(self.generation), hello.map(|hello| hello.identity.generation)];
        let own = own.into_iter().flatten().map(|generation| (Claim::Speaker, generation));
        own.chain(hello.and_then(|hello| hello.known).map(|known| (Claim::Hearer, known)))
    }
}

impl Body {
    /// What frames of this kind are called in metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Hello(_) => "hello",
            Self::Ping | Self::PingFor(_) => "ping",
            Self::Pong | Self::PongFor(_) => "pong",
            Self::Ask(_) => "ask",
            Self::Heard { .. } => "heard",
            Self::Dead(_) => "dead",
            Self::Leave(_) | Self::LeaveConfirmed | Self::Bye => "leave",
            Self::Swim(_) => "swim",
            Self::ProfileWanted(_) | Self::ProfilePart(_) => "profile",
            Self::ProfileNews { .. } | Self::RelayWanted { .. } | Self::RelayedPart { .. } => "relay",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Profile;
    use crate::config::Role;

    fn identity() -> Identity {
        Identity {
            name: "node-1".into(),
            address: "192.0.2.1:7946".parse().unwrap(),
            boot: BootId(u128::MAX),
            generation: 1_790_000_000_000,
            role: Role::Speaker,
        }
    }

    fn bodies() -> Vec<Body> {
        let hello = Hello {
            identity: identity(),
            profile: Profile::new([7; Profile::MAX_BRIEF]).unwrap().brief().clone(),
            cookie: Cookie([1; 16]),
            echo: Some(Cookie([2; 16])),
            reply: true,
            known: Some(u64::MAX),
            late: true,
        };
        let part = Part::all_of(&Profile::new([7; Profile::MAX]).unwrap()).remove(0);
        vec![
            Body::Heartbeat,
            Body::Hello(hello),
            Body::Ping,
            Body::Pong,
            Body::PingFor("a".into()),
            Body::PongFor("a".into()),
            Body::Ask("a".into()),
            Body::Heard { node: "a".into(), age: NEVER },
            Body::Dead(identity()),
            Body::Leave(Absence::Brief),
            Body::LeaveConfirmed,
            Body::Bye,
            Body::Swim(vec![1, 2, 3]),
            Body::ProfileWanted(PartNumbers::ALL),
            Body::ProfilePart(part.clone()),
            Body::ProfileNews { boot: BootId(u128::MAX), version: ProfileVersion::first() },
            Body::RelayWanted { boot: BootId(1), numbers: PartNumbers::ALL },
            Body::RelayedPart { boot: BootId(1), version: ProfileVersion::first(), part },
        ]
    }

    fn payload(body: Body) -> Payload {
        Payload {
            from: "node-1".into(),
            generation: 1_790_000_000_000,
            profile: ProfileVersion::first(),
            body,
        }
    }

    #[test]
    fn every_kind_survives_the_wire() {
        for body in bodies() {
            let payload = payload(body);
            assert_eq!(Payload::decode(&payload.encode()), Ok(payload));
        }
    }

    #[test]
    fn a_heartbeat_is_small() {
        let heartbeat = payload(Body::Heartbeat).encode();
        assert!(heartbeat.len() <= 18, "{} bytes", heartbeat.len());
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_malformed() {
        for body in bodies() {
            let bytes = payload(body).encode();
            for length in 0..bytes.len() {
                assert_eq!(Payload::decode(&bytes[..length]), Err(Refusal::Malformed));
            }
            assert_eq!(Payload::decode(&[&bytes[..], &[0]].concat()), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn names_that_no_object_can_have_are_malformed() {
        for name in [String::new(), "x".repeat(254)] {
            let payload = Payload { from: name.into(), ..payload(Body::Heartbeat) };
            assert_eq!(Payload::decode(&payload.encode()), Err(Refusal::Malformed));
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = Payload::decode(&bytes);
        }

        #[test]
        fn no_change_panics(which in 0..18usize, at: prop::sample::Index, to: u8) {
            let mut bytes = payload(bodies()[which].clone()).encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(payload) = Payload::decode(&bytes) {
                // Whatever is understood can be said again.
                prop_assert_eq!(Payload::decode(&payload.encode()), Ok(payload));
            }
        }
    }
}
