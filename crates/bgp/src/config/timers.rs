//! How long to wait for what.

use std::time::Duration;

/// The times of a session: see [`Timers::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    hold: HoldTime,
    keepalive: Option<Duration>,
    connect: Duration,
}

/// Why times cannot be those of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimersError {
    /// A hold time of one or two seconds (RFC 4271 section 4.2).
    #[error("the hold time {0:?} is below 3s: write 3s or more, or 0s for sessions that never time out")]
    HoldTooShort(Duration),
    /// It goes over the wire in two octets.
    #[error("the hold time {0:?} is above 65535s")]
    HoldTooLong(Duration),
    /// Signs of life would come too late.
    #[error("the keepalive time {keepalive:?} is longer than the hold time {hold:?}")]
    KeepaliveAboveHold {
        /// How often to give a sign of life.
        keepalive: Duration,
        /// How long a session lives without one.
        hold: Duration,
    },
    /// Below a second or above 65535.
    #[error("the connect time {0:?} is out of range: write 1s to 65535s")]
    Connect(Duration),
}

/// For how long a session lives without a word from the peer (RFC 4271 section 4.2): for ever, or 3 seconds and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldTime(u16);

impl HoldTime {
    /// For ever; nobody gives signs of life.
    pub const NEVER: Self = Self(0);

    /// As it is on the wire. `None` for 1 and 2.
    pub fn from_seconds(seconds: u16) -> Option<Self> {
        (!(1..=2).contains(&seconds)).then_some(Self(seconds))
    }

    /// As it is on the wire; 0 for ever.
    pub fn seconds(self) -> u16 {
        self.0
    }

    /// How long, unless for ever.
    pub fn duration(self) -> Option<Duration> {
        (self.0 != 0).then(|| Duration::from_secs(self.0.into()))
    }

    /// The shorter one: what both ends agree on (RFC 4271 section 4.2).
    #[must_use]
    pub fn min_of(self, other: Self) -> Self {
        // For ever on one end is for ever on both: a peer that gives no signs of life cannot be missed.
        Self(self.0.min(other.0))
    }

    fn from_duration(hold: Duration) -> Result<Self, TimersError> {
        let seconds = u16::try_from(hold.as_secs()).map_err(|_| TimersError::HoldTooLong(hold))?;
        Self::from_seconds(seconds).ok_or(TimersError::HoldTooShort(hold))
    }
}

impl Timers {
    const HOLD: Duration = Duration::from_mins(3);
    const CONNECT: Duration = Duration::from_mins(2);

    /// These times, and for those that are not given what FRR takes, the router that MetalLB has beside it: 180 s for `hold`,
    /// a third of it for `keepalive`, 120 s for `connect`. `keepalive` alone makes a hold time of three times as much.
    /// Of a hold time only whole seconds count.
    pub fn new(
        hold: Option<Duration>,
        keepalive: Option<Duration>,
        connect: Option<Duration>,
    ) -> Result<Self, TimersError> {
        let connect = connect.unwrap_or(Self::CONNECT);
        if !(1..=u64::from(u16::MAX)).contains(&connect.as_secs()) {
            return Err(TimersError::Connect(connect));
        }
        let hold = match (hold, keepalive) {
            (Some(hold), Some(keepalive)) if keepalive > hold => {
                return Err(TimersError::KeepaliveAboveHold { keepalive, hold });
            }
            (Some(hold), _) => hold,
            (None, Some(keepalive)) => keepalive.saturating_mul(3),
            (None, None) => Self::HOLD,
        };
        let hold = HoldTime::from_duration(hold)?;
        let keepalive = keepalive.filter(|time| !time.is_zero());
        Ok(Self { hold, keepalive, connect })
    }

    /// Those of another process: the hold time on the wire, and the others as they are.
    pub(crate) fn from_parts(hold: u16, keepalive: Option<Duration>, connect: Duration) -> Option<Self> {
        let connects = (1..=u64::from(u16::MAX)).contains(&connect.as_secs());
        let keepalive = keepalive.filter(|time| !time.is_zero());
        connects.then_some(Self { hold: HoldTime::from_seconds(hold)?, keepalive, connect })
    }

    /// What [`Self::from_parts`] makes the same times of.
    pub(crate) fn parts(self) -> (u16, Option<Duration>, Duration) {
        let Self { hold, keepalive, connect } = self;
        (hold.seconds(), keepalive, connect)
    }

    /// The hold time to propose to the peer.
    pub fn hold(self) -> HoldTime {
        self.hold
    }

    /// How often to give a sign of life when this hold time was agreed on: never more seldom than three times in it
    /// (RFC 4271 section 4.4), and not at all when sessions live for ever.
    pub fn keepalive(self, agreed: HoldTime) -> Option<Duration> {
        let third = agreed.duration()? / 3;
        Some(self.keepalive.map_or(third, |time| time.min(third)))
    }

    /// The longest time to wait before connecting again.
    pub fn connect(self) -> Duration {
        self.connect
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::new(None, None, None).expect("the defaults go together")
    }
}

/// How long a peer is to keep routes while this end restarts (RFC 4724 section 3): at most 4095 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestartTime(u16);

impl RestartTime {
    /// The most that there is room for.
    pub const MOST: u16 = 0x0fff;

    /// So many seconds. `None` when there are more than [`RestartTime::MOST`].
    pub fn from_seconds(seconds: u16) -> Option<Self> {
        (seconds <= Self::MOST).then_some(Self(seconds))
    }

    /// As it is on the wire.
    pub fn seconds(self) -> u16 {
        self.0
    }
}

/// 120 s, as FRR has it.
impl Default for RestartTime {
    fn default() -> Self {
        Self(120)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_of_hold_and_keepalive_time_gives_the_other() {
        for (hold, keepalive, expected) in [
            (None, None, (180, Some(secs(60)))),
            (Some(secs(90)), None, (90, Some(secs(30)))),
            (None, Some(secs(10)), (30, Some(secs(10)))),
            (Some(secs(90)), Some(secs(10)), (90, Some(secs(10)))),
            (Some(secs(9)), Some(secs(9)), (9, Some(secs(3)))),
            (Some(secs(9)), Some(secs(0)), (9, Some(secs(3)))),
            (Some(secs(0)), None, (0, None)),
            (Some(secs(0)), Some(secs(0)), (0, None)),
            (Some(Duration::from_millis(3900)), None, (3, Some(secs(1)))),
            (None, Some(Duration::from_millis(300)), (0, None)),
        ] {
            let timers = Timers::new(hold, keepalive, None).unwrap();
            assert_eq!((timers.hold().seconds(), timers.keepalive(timers.hold())), expected);
        }
    }

    #[test]
    fn the_peer_may_agree_on_a_shorter_hold_time() {
        let timers = Timers::new(None, Some(secs(20)), None).unwrap();
        let agreed = |seconds| timers.keepalive(HoldTime::from_seconds(seconds).unwrap());
        assert_eq!((agreed(60), agreed(30), agreed(0)), (Some(secs(20)), Some(secs(10)), None));
    }

    #[test]
    fn times_that_make_no_session_are_refused() {
        let half = Duration::from_millis(1500);
        for (hold, keepalive, connect, error) in [
            (Some(secs(2)), None, None, TimersError::HoldTooShort(secs(2))),
            (Some(half), None, None, TimersError::HoldTooShort(half)),
            (None, Some(half / 3), None, TimersError::HoldTooShort(half)),
            (Some(secs(65_536)), None, None, TimersError::HoldTooLong(secs(65_536))),
            (
                Some(secs(3)),
                Some(secs(4)),
                None,
                TimersError::KeepaliveAboveHold { keepalive: secs(4), hold: secs(3) },
            ),
            (None, None, Some(secs(0)), TimersError::Connect(secs(0))),
            (None, None, Some(secs(65_536)), TimersError::Connect(secs(65_536))),
        ] {
            assert_eq!(Timers::new(hold, keepalive, connect), Err(error));
        }
        assert_eq!(RestartTime::from_seconds(4096), None);
    }
}
