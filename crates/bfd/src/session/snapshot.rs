//! A session as it goes from one process to the next on the same node.
//!
//! Only plain values are in it, for whatever writes them down. Both processes have to know the same fields: whoever changes one
//! has them tell each other so beforehand. Intervals are in microseconds, as on the wire.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{InForce, Peer, Session};
use crate::config::{Config, Hops, Interval, Role};
use crate::packet::State;

/// A session that is up, taken down by [`Session::snapshot`] and gone on with by [`Session::resume`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    transmit: u32,
    receive: u32,
    multiplier: NonZeroU8,
    echo: Option<u32>,
    is_passive: bool,
    /// The smallest TTL of packets from behind routers; none for a peer on the same network.
    least_ttl: Option<NonZeroU8>,
    discriminator: NonZeroU32,
    /// Whether a Poll Sequence goes on, and what is in force until it ends.
    is_polling: bool,
    transmit_in_force: u32,
    receive_in_force: u32,
    /// What the peer has said last.
    peer_discriminator: NonZeroU32,
    peer_multiplier: NonZeroU8,
    peer_desired_transmit: u32,
    peer_required_receive: u32,
    peer_required_echo: u32,
}

/// What makes no session: an interval is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an interval of the BFD session makes no sense")]
pub struct InvalidSnapshot;

impl Snapshot {
    pub(super) fn of(session: &Session) -> Option<Self> {
        let Session {
            config: Config { transmit, receive, multiplier, echo, role, hops },
            discriminator,
            state,
            diagnostic: _,
            peer:
                Peer {
                    discriminator: peer_discriminator,
                    multiplier: peer_multiplier,
                    desired_transmit,
                    required_receive,
                    required_echo,
                },
            polling,
            in_force,
            heard: _,
            sent: _,
            pace: _,
            echo_pace: _,
            farewell: _,
            echo_token: _,
            echo_sequence: _,
            timers: _,
            outputs: _,
            counters: _,
            random: _,
        } = session;
        if *state != State::Up {
            return None;
        }
        Some(Self {
            transmit: micros(transmit.duration())?,
            receive: micros(receive.duration())?,
            multiplier: *multiplier,
            echo: match echo {
                Some(echo) => Some(micros(echo.duration())?),
                None => None,
            },
            is_passive: *role == Role::Passive,
            least_ttl: match hops {
                Hops::One => None,
                Hops::Many { least_ttl } => Some(NonZeroU8::new(*least_ttl).unwrap_or(NonZeroU8::MIN)),
            },
            discriminator: *discriminator,
            is_polling: *polling,
            transmit_in_force: micros(in_force.transmit)?,
            receive_in_force: micros(in_force.receive)?,
            peer_discriminator: (*peer_discriminator)?,
            peer_multiplier: *peer_multiplier,
            peer_desired_transmit: micros(*desired_transmit)?,
            peer_required_receive: micros(*required_receive)?,
            peer_required_echo: micros(*required_echo)?,
        })
    }

    pub(super) fn resume(self, seed: u64, now: Instant) -> Result<Session, InvalidSnapshot> {
        let config = Config {
            transmit: interval(self.transmit)?,
            receive: interval(self.receive)?,
            multiplier: self.multiplier,
            echo: self.echo.map(interval).transpose()?,
            role: if self.is_passive { Role::Passive } else { Role::Active },
            hops: self.least_ttl.map_or(Hops::One, |it| Hops::Many { least_ttl: it.get() }),
        };
        let mut session = Session {
            state: State::Up,
            peer: Peer {
                discriminator: Some(self.peer_discriminator),
                multiplier: self.peer_multiplier,
                desired_transmit: duration(self.peer_desired_transmit),
                required_receive: duration(self.peer_required_receive),
                required_echo: duration(self.peer_required_echo),
            },
            polling: self.is_polling,
            in_force: InForce {
                transmit: interval(self.transmit_in_force)?.duration(),
                receive: interval(self.receive_in_force)?.duration(),
            },
            heard: Some(now),
            ..Session::silent(config, self.discriminator, seed)
        };
        session.expect_packet();
        session.follow_pace(now);
        session.follow_echo_pace(now);
        Ok(session)
    }
}

/// No interval of a session is longer than goes over the wire.
fn micros(duration: Duration) -> Option<u32> {
    u32::try_from(duration.as_micros()).ok()
}

fn duration(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

fn interval(micros: u32) -> Result<Interval, InvalidSnapshot> {
    Interval::try_from(duration(micros)).map_err(|_| InvalidSnapshot)
}
