//! Control packets (RFC 5880 section 4.1).
//!
//! ```text
//!  0               1               2               3
//! +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
//! |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//! +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
//! |  My Discriminator, Your Discriminator, Desired Min TX,        |
//! |  Required Min RX, Required Min Echo RX: four octets each      |
//! +---------------------------------------------------------------+
//! ```

use std::fmt;
use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use thiserror::Error;

/// Octets that a packet without authentication has.
pub const LENGTH: usize = 24;
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// What one end says to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "bits of the packet, each free of the others")]
pub struct Packet {
    /// Why its session was last down.
    pub diagnostic: Diagnostic,
    /// Its state.
    pub state: State,
    /// It wants an answer at once.
    pub poll: bool,
    /// This is that answer.
    pub r#final: bool,
    /// Its BFD does not share the fate of its control plane.
    pub control_plane_independent: bool,
    /// It asks for silence once both are up. Not obeyed: what is sent nevertheless does no harm.
    pub demand: bool,
    /// How many of its packets in a row may be lost.
    pub multiplier: NonZeroU8,
    /// How it calls the session.
    pub mine: NonZeroU32,
    /// How the other end calls it, where it knows that.
    pub yours: Option<NonZeroU32>,
    /// How often it would like to send.
    pub desired_transmit: Duration,
    /// How often it can receive. Zero: it wants no packets.
    pub required_receive: Duration,
    /// How often it can send echo packets back. Zero: not at all.
    pub required_echo: Duration,
}

/// A session's state (RFC 5880 section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// There is to be no session.
    AdminDown,
    /// Nothing is heard of the peer, or it says that it hears nothing.
    Down,
    /// The peer is heard.
    Init,
    /// Both hear each other.
    Up,
}

/// Why a session went down (RFC 5880 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic(u8);

/// Why a packet is discarded (RFC 5880 section 6.8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Malformed {
    /// Shorter than a packet can be.
    #[error("shorter than 24 octets")]
    Short,
    /// Of another version of BFD.
    #[error("a version other than 1")]
    Version,
    /// Its Length is less than a packet has, or more than there is.
    #[error("a wrong length")]
    Length,
    /// No packet may be lost, so no session can be up.
    #[error("a detection multiplier of 0")]
    Multiplier,
    /// For more than one receiver.
    #[error("the Multipoint bit")]
    Multipoint,
    /// It does not say how it calls the session.
    #[error("a discriminator of 0")]
    Discriminator,
    /// It says that it hears us, but not whom.
    #[error("no discriminator of this end in state Init or Up")]
    YourDiscriminator,
    /// It is authenticated, which is not agreed.
    #[error("authentication, which is not configured")]
    Authentication,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    fn code(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    fn of(code: u8) -> Self {
        match code & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }
}

impl Diagnostic {
    /// It was not down, or nobody knows why.
    pub const NONE: Self = Self(0);
    /// No control packet came in time.
    pub const EXPIRED: Self = Self(1);
    /// No echo packet came back in time.
    pub const ECHO_FAILED: Self = Self(2);
    /// The peer has said that it is down.
    pub const PEER_DOWN: Self = Self(3);
    /// The path is known to be down, by its interface for instance.
    pub const PATH_DOWN: Self = Self(5);
    /// There is to be no session.
    pub const ADMIN_DOWN: Self = Self(7);
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "no control packet came in time",
            2 => "no echo packet came back in time",
            3 => "the peer says that it is down",
            4 => "the forwarding plane was reset",
            5 => "the path is down",
            6 => "a concatenated path is down",
            7 => "switched off",
            8 => "a reverse concatenated path is down",
            other => return write!(f, "diagnostic {other}"),
        })
    }
}

impl Packet {
    /// Reads what came in one datagram.
    ///
    /// # Errors
    /// When RFC 5880 section 6.8.6 says that it is to be discarded, whatever the session.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (fields, _) = bytes.split_first_chunk::<LENGTH>().ok_or(Malformed::Short)?;
        let [first, flags, multiplier, length, words @ ..] = *fields;
        if first >> 5 != VERSION {
            return Err(Malformed::Version);
        }
        let least = if flags & AUTHENTICATION == 0 { LENGTH } else { LENGTH + 2 };
        if !(least..=bytes.len()).contains(&usize::from(length)) {
            return Err(Malformed::Length);
        }
        let multiplier = NonZeroU8::new(multiplier).ok_or(Malformed::Multiplier)?;
        if flags & MULTIPOINT != 0 {
            return Err(Malformed::Multipoint);
        }
        let [mine, yours, desired_transmit, required_receive, required_echo] = words_of(words);
        let mine = NonZeroU32::new(mine).ok_or(Malformed::Discriminator)?;
        let yours = NonZeroU32::new(yours);
        let state = State::of(flags >> 6);
        if yours.is_none() && matches!(state, State::Init | State::Up) {
            return Err(Malformed::YourDiscriminator);
        }
        if flags & AUTHENTICATION != 0 {
            return Err(Malformed::Authentication);
        }
        let micros = |word: u32| Duration::from_micros(word.into());
        Ok(Self {
            diagnostic: Diagnostic(first & 0x1f),
            state,
            poll: flags & POLL != 0,
            r#final: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            multiplier,
            mine,
            yours,
            desired_transmit: micros(desired_transmit),
            required_receive: micros(required_receive),
            required_echo: micros(required_echo),
        })
    }

    /// Writes it. Intervals longer than the 71 minutes that there is room for are written as that.
    pub fn emit(&self) -> [u8; LENGTH] {
        let flag = |set, bit| if set { bit } else { 0 };
        let micros = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let flags = self.state.code() << 6
            | flag(self.poll, POLL)
            | flag(self.r#final, FINAL)
            | flag(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | flag(self.demand, DEMAND);
        let head = [VERSION << 5 | self.diagnostic.0, flags, self.multiplier.get(), 24];
        let words = [
            self.mine.get(),
            self.yours.map_or(0, NonZeroU32::get),
            micros(self.desired_transmit),
            micros(self.required_receive),
            micros(self.required_echo),
        ];
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&head);
        for (place, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

fn words_of(bytes: [u8; 20]) -> [u32; 5] {
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|index| u32::from_be_bytes(words[index]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Up, Poll, multiplier 3, 300 ms each way, echo 50 ms.
    const BYTES: [u8; LENGTH] =
        [0x20, 0xe0, 3, 24, 0, 0, 0, 7, 0, 0, 0, 9, 0, 4, 0x93, 0xe0, 0, 4, 0x93, 0xe0, 0, 0, 0xc3, 0x50];

    fn changed(index: usize, value: u8) -> Vec<u8> {
        let mut bytes = BYTES.to_vec();
        bytes[index] = value;
        bytes
    }

    #[test]
    fn the_same_bytes_are_read_and_written() {
        let packet = Packet::parse(&BYTES).unwrap();
        let expected = Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Up,
            poll: true,
            r#final: false,
            control_plane_independent: false,
            demand: false,
            multiplier: NonZeroU8::new(3).unwrap(),
            mine: NonZeroU32::new(7).unwrap(),
            yours: NonZeroU32::new(9),
            desired_transmit: Duration::from_millis(300),
            required_receive: Duration::from_millis(300),
            required_echo: Duration::from_millis(50),
        };
        assert_eq!(packet, expected);
        assert_eq!(packet.emit(), BYTES);
    }

    #[test]
    fn what_the_rfc_discards_is_discarded() {
        let no_discriminator_of_this_end = |state: State| {
            let mut bytes = changed(1, state.code() << 6);
            bytes[11] = 0;
            Packet::parse(&bytes).map(|packet| packet.state)
        };
        let cases = [
            (BYTES[..23].to_vec(), Malformed::Short),
            (Vec::new(), Malformed::Short),
            (changed(0, 0x00), Malformed::Version),
            (changed(0, 0x40), Malformed::Version),
            (changed(3, 23), Malformed::Length),
            (changed(3, 25), Malformed::Length),
            (changed(1, 0xc4), Malformed::Length),
            (changed(2, 0), Malformed::Multiplier),
            (changed(1, 0xc1), Malformed::Multipoint),
            (changed(7, 0), Malformed::Discriminator),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Packet::parse(&bytes), Err(expected), "{bytes:?}");
        }
        let authenticated = [changed(1, 0xc4), vec![1, 2]].concat();
        let authenticated: Vec<u8> =
            authenticated.iter().enumerate().map(|(at, &it)| if at == 3 { 26 } else { it }).collect();
        assert_eq!(Packet::parse(&authenticated), Err(Malformed::Authentication));
        for state in [State::Init, State::Up] {
            assert_eq!(no_discriminator_of_this_end(state), Err(Malformed::YourDiscriminator));
        }
        for state in [State::AdminDown, State::Down] {
            assert_eq!(no_discriminator_of_this_end(state), Ok(state));
        }
    }

    #[test]
    fn what_follows_the_packet_is_ignored() {
        assert_eq!(Packet::parse(&[&BYTES[..], &[0; 10]].concat()), Packet::parse(&BYTES));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_discarded(bytes: Vec<u8>) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert_eq!(Packet::parse(&packet.emit()), Ok(packet));
            }
        }
    }
}
