//! What happens in a session.

use std::fmt;

use objects::Family;

use crate::wire::notification::Notification;
use crate::wire::open::Open;
use crate::wire::update;

/// Where a session stands (RFC 4271 section 8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// There is to be none.
    Idle,
    /// A TCP connection is being opened.
    Connect,
    /// It is to be tried again in a while.
    Active,
    /// The connection is there, and the peer is to say who it is.
    OpenSent,
    /// It has, and is to say that it agrees.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Connect, Self::Active, Self::OpenSent, Self::OpenConfirm, Self::Established];

    /// Whether there is a TCP connection.
    pub fn is_connected(self) -> bool {
        match self {
            Self::Idle | Self::Connect | Self::Active => false,
            Self::OpenSent | Self::OpenConfirm | Self::Established => true,
        }
    }

    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session went from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Where it stood.
    pub from: State,
    /// Where it stands.
    pub to: State,
    /// What has happened.
    pub why: Why,
}

/// Why a session goes on, or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It was asked for.
    Started,
    /// It is time to try again.
    RetryTime,
    /// It is known where the peer is.
    Reachable,
    /// There is a connection.
    Connected,
    /// Both ends can do what both want.
    Agreed,
    /// The peer says so too.
    Confirmed,
    /// There is no connection to be had.
    NotConnected,
    /// The connection ended, without a word.
    ConnectionLost,
    /// The peer has ended it.
    Received(Notification),
    /// This end has ended it, for this reason.
    Sent(Notification),
    /// It is to be otherwise.
    Reconfigured,
    /// It is not wanted any more.
    Stopped,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::RetryTime => "time to try again",
            Self::Reachable => "the peer is found",
            Self::Connected => "connected",
            Self::Agreed => "the peer's OPEN is accepted",
            Self::Confirmed => "the peer has accepted our OPEN",
            Self::NotConnected => "no TCP connection",
            Self::ConnectionLost => "the TCP connection is lost",
            Self::Received(notification) => return write!(f, "the peer says: {notification}"),
            Self::Sent(notification) => return write!(f, "the peer is told: {notification}"),
            Self::Reconfigured => "the configuration has changed",
            Self::Stopped => "stopped",
        })
    }
}

/// What a session acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Start,
    Stop(super::Farewell),
    Reconfigured,
    Connected,
    Disconnected,
    Reachable,
    RetryExpired,
    HoldExpired,
    KeepaliveExpired,
    DepartExpired,
    /// Nothing that is to be written could be for too long.
    SendHoldExpired,
    /// The peer may be told everything once more.
    RefreshExpired,
    Open(Box<Open>),
    Keepalive,
    Update(update::Received),
    RouteRefresh(Option<Family>),
    Notification(Notification),
    /// Something of which the peer is to be told that it ends the session.
    Error(Notification),
}
