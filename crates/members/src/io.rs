//! What goes in and out of [`Members`](crate::Members), and what is kept out.

use std::net::SocketAddr;

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// To where.
    pub to: SocketAddr,
    /// What, at most [`Members::MAX_FRAME`](crate::Members::MAX_FRAME) bytes.
    pub frame: Vec<u8>,
    /// What frames of this kind are called in metrics.
    pub kind: &'static str,
}

/// Whether this host has a link to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It has.
    Up,
    /// It has none: nobody is judged.
    Down,
}

/// Why a frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// It is of a later version of the protocol, or of something else.
    #[error("of a version that is not spoken here")]
    Version,
    /// It ends too early, or says what makes no sense.
    #[error("malformed")]
    Malformed,
    /// It is sealed with a key that is not ours, or sealed while we have none, or not sealed while we have some.
    #[error("sealed with an unknown key")]
    UnknownKey,
    /// It was forged, damaged, or meant for another.
    #[error("the seal is broken")]
    BadSeal,
    /// It was seen before, or is so old that this can no longer be told.
    #[error("seen before")]
    Replay,
    /// Its sender has not proved yet to be alive now; it has been asked to.
    #[error("its sender has not proved to be alive")]
    Unproven,
    /// There are more senders than there is room for, or it tells of too many that nobody else knows.
    #[error("too many members")]
    TooMany,
    /// It comes from an address that the cluster does not list for its sender.
    #[error("its sender is not where the cluster lists it")]
    WrongAddress,
    /// It tells of others, and its sender is not listed by the cluster.
    #[error("the cluster does not list its sender")]
    Unlisted,
    /// It names a generation that no clock can have given: a hundred years ahead of ours.
    #[error("a generation that is far ahead of the clock")]
    FarAhead,
    /// Its sender goes by our name: two processes have been given the same.
    #[error("its sender has our name")]
    OwnName,
    /// We have gone.
    #[error("we have said goodbye")]
    Departed,
}

impl Refusal {
    /// What it is called in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknownKey",
            Self::BadSeal => "badSeal",
            Self::Replay => "replay",
            Self::Unproven => "unproven",
            Self::TooMany => "tooMany",
            Self::WrongAddress => "wrongAddress",
            Self::Unlisted => "unlisted",
            Self::FarAhead => "farAhead",
            Self::OwnName => "ownName",
            Self::Departed => "departed",
        }
    }
}
