//! What a session is.

use std::num::NonZeroU8;
use std::time::Duration;

use thiserror::Error;

/// The UDP port of control packets over one hop (RFC 5881 section 4).
pub const SINGLE_HOP_PORT: u16 = 3784;
/// The UDP port of echo packets (RFC 5881 section 4).
pub const ECHO_PORT: u16 = 3785;
/// The UDP port of control packets over several hops (RFC 5883 section 5).
pub const MULTI_HOP_PORT: u16 = 4784;
/// Control packets come from this port or a higher one (RFC 5881 section 4).
pub const FIRST_SOURCE_PORT: u16 = 49_152;
/// What every packet is sent with, so that the peer can tell that it is from its own network (RFC 5881 section 5).
pub const SENT_TTL: u8 = 255;

/// How one session works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How often to send, once the session is up.
    pub transmit: Interval,
    /// How often the peer may send.
    pub receive: Interval,
    /// How many packets in a row may be lost before the session is down.
    pub multiplier: NonZeroU8,
    /// How often to send echo packets and to take them, if at all. Never over several hops (RFC 5883 section 4).
    pub echo: Option<Interval>,
    /// Who speaks first.
    pub role: Role,
    /// How far the peer is.
    pub hops: Hops,
}

/// How sessions work, wherever their peers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// How often to send, once a session is up.
    pub transmit: Interval,
    /// How often a peer may send.
    pub receive: Interval,
    /// How many packets in a row may be lost before a session is down.
    pub multiplier: NonZeroU8,
    /// How often to send echo packets and to take them, if at all.
    pub echo: Option<Interval>,
    /// Who speaks first.
    pub role: Role,
    /// The smallest TTL that packets may arrive with from behind routers.
    pub least_ttl: NonZeroU8,
}

/// From 1 microsecond to [`Interval::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(Duration);

/// Who speaks first (RFC 5880 section 6.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// This end does, whether the peer does or not.
    #[default]
    Active,
    /// The peer has to.
    Passive,
}

/// How far the peer is, and so which packets can be its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hops {
    /// On the same network (RFC 5881).
    One,
    /// Behind routers (RFC 5883). Packets with a smaller TTL are from somebody else.
    Many {
        /// The smallest TTL that a packet may arrive with.
        least_ttl: u8,
    },
}

/// An interval that BFD cannot say, or that FerroLB does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an interval is from 1 microsecond to 60 seconds")]
pub struct NoInterval;

impl Default for Profile {
    /// As MetalLB has it: a peer is gone after 0.9 s. Behind routers means behind one router.
    fn default() -> Self {
        let interval = Interval(Duration::from_millis(300));
        Self {
            transmit: interval,
            receive: interval,
            multiplier: const { NonZeroU8::new(3).expect("not 0") },
            echo: None,
            role: Role::Active,
            least_ttl: const { NonZeroU8::new(SENT_TTL - 1).expect("not 0") },
        }
    }
}

impl Profile {
    /// Of a session with a peer on the same network.
    pub fn over_one_hop(self) -> Config {
        self.over(Hops::One)
    }

    /// Of a session with a peer behind routers.
    pub fn over_many_hops(self) -> Config {
        self.over(Hops::Many { least_ttl: self.least_ttl.get() })
    }

    fn over(self, hops: Hops) -> Config {
        let Self { transmit, receive, multiplier, echo, role, least_ttl: _ } = self;
        Config { transmit, receive, multiplier, echo, role, hops }
    }
}

impl Interval {
    /// How often echo packets are sent where nothing else is said, as MetalLB has it.
    pub const ECHO: Self = Self(Duration::from_millis(50));
    /// The longest one, as MetalLB has it.
    pub const MOST: Duration = Duration::from_mins(1);

    /// Its length.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<Duration> for Interval {
    type Error = NoInterval;

    fn try_from(duration: Duration) -> Result<Self, NoInterval> {
        let fits = (Duration::from_micros(1)..=Self::MOST).contains(&duration);
        fits.then_some(Self(duration)).ok_or(NoInterval)
    }
}

impl Hops {
    /// The port that both ends listen on.
    pub fn port(self) -> u16 {
        match self {
            Self::One => SINGLE_HOP_PORT,
            Self::Many { .. } => MULTI_HOP_PORT,
        }
    }

    /// The smallest TTL or hop limit that a packet of the peer can arrive with.
    pub fn least_ttl(self) -> u8 {
        match self {
            Self::One => SENT_TTL,
            Self::Many { least_ttl } => least_ttl,
        }
    }
}

impl Config {
    /// The echo interval, where echo packets make sense.
    pub(crate) fn echo(&self) -> Option<Interval> {
        match self.hops {
            Hops::One => self.echo,
            Hops::Many { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_bounds() {
        for (micros, valid) in [(0, false), (1, true), (60_000_000, true), (60_000_001, false)] {
            assert_eq!(Interval::try_from(Duration::from_micros(micros)).is_ok(), valid, "{micros}");
        }
    }

    #[test]
    fn a_profile_is_for_peers_near_and_far() {
        let profile = Profile { least_ttl: NonZeroU8::new(250).unwrap(), ..Profile::default() };
        assert_eq!(profile.over_one_hop().hops, Hops::One);
        assert_eq!(
            profile.over_many_hops(),
            Config { hops: Hops::Many { least_ttl: 250 }, ..profile.over_one_hop() }
        );
    }

    #[test]
    fn a_packet_over_one_hop_has_passed_no_router() {
        assert_eq!((Hops::One.least_ttl(), Hops::One.port()), (255, 3784));
        let many = Hops::Many { least_ttl: 254 };
        assert_eq!((many.least_ttl(), many.port()), (254, 4784));
    }
}
