//! NOTIFICATION: why a session ends (RFC 4271 sections 4.5 and 6).

use std::borrow::Cow;
use std::fmt;

use objects::text::quoted;

use crate::wire::header::{Kind, message};

/// Why a session ends, as one end tells the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    code: Code,
    /// What it is about; the code tells how it is to be read.
    data: Vec<u8>,
}

/// An error code and its subcode. Any may be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8, pub u8);

/// Codes that this end sends, or acts on.
impl Notification {
    /// The marker is not all ones.
    pub const NOT_SYNCHRONIZED: Code = Code(1, 1);
    /// A message is shorter or longer than it can be.
    pub const BAD_LENGTH: Code = Code(1, 2);
    /// There is no such message.
    pub const BAD_TYPE: Code = Code(1, 3);
    /// An OPEN makes no sense.
    pub const MALFORMED_OPEN: Code = Code(2, 0);
    /// The peer speaks another version of BGP.
    pub const UNSUPPORTED_VERSION: Code = Code(2, 1);
    /// The peer has another AS number than it may have.
    pub const BAD_PEER_AS: Code = Code(2, 2);
    /// The peer's identifier is 0, or in the same AS that of this end.
    pub const BAD_IDENTIFIER: Code = Code(2, 3);
    /// An optional parameter that is not known here.
    pub const UNSUPPORTED_PARAMETER: Code = Code(2, 4);
    /// A hold time of one or two seconds.
    pub const UNACCEPTABLE_HOLD_TIME: Code = Code(2, 6);
    /// The peer is not capable of what this end wants (RFC 5492).
    pub const UNSUPPORTED_CAPABILITY: Code = Code(2, 7);
    /// An UPDATE whose parts do not fit into each other.
    pub const MALFORMED_ATTRIBUTES: Code = Code(3, 1);
    /// A prefix that is none.
    pub const INVALID_PREFIX: Code = Code(3, 10);
    /// Nothing was heard for the hold time.
    pub const HOLD_TIMER_EXPIRED: Code = Code(4, 0);
    /// A message that does not belong into OpenSent (RFC 6608).
    pub const UNEXPECTED_IN_OPEN_SENT: Code = Code(5, 1);
    /// A message that does not belong into OpenConfirm (RFC 6608).
    pub const UNEXPECTED_IN_OPEN_CONFIRM: Code = Code(5, 2);
    /// A message that does not belong into Established (RFC 6608).
    pub const UNEXPECTED_IN_ESTABLISHED: Code = Code(5, 3);
    /// The session is not wanted any more (RFC 4486).
    pub const SHUTDOWN: Code = Code(6, 2);
    /// The session is not wanted as it is (RFC 4486).
    pub const CONFIGURATION_CHANGE: Code = Code(6, 6);
    /// BFD has found that packets do not get through (RFC 9384).
    pub const BFD_DOWN: Code = Code(6, 10);
    /// The peer reads nothing of what it is sent (RFC 9687).
    pub const SEND_HOLD_TIMER_EXPIRED: Code = Code(8, 0);
}

impl Notification {
    /// Without data.
    pub const fn new(code: Code) -> Self {
        Self { code, data: Vec::new() }
    }

    /// With this data: as much of it as there is room for.
    pub fn with(mut self, data: &[u8]) -> Self {
        const ROOM: usize = 256;
        self.data = data[..data.len().min(ROOM)].to_vec();
        self
    }

    /// Why.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What it is about.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Reads the body of a message. `None` if it is too short, which no message is that a header was read of.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (&[code, subcode], data) = body.split_first_chunk()?;
        Some(Self::new(Code(code, subcode)).with(data))
    }

    /// The whole message.
    pub fn emit(&self) -> Vec<u8> {
        message(Kind::Notification, |out| {
            out.extend([self.code.0, self.code.1]);
            out.extend(&self.data);
        })
    }

    /// What the administrator of the peer has to say (RFC 9003).
    fn words(&self) -> Option<Cow<'_, str>> {
        if !matches!(self.code, Code(6, 2 | 4)) {
            return None;
        }
        let (&length, rest) = self.data.split_first()?;
        let text = rest.get(..usize::from(length))?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text))
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        match self.words() {
            Some(words) => write!(f, ": {}", quoted(&*words)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self {
            Self(1, 1) => "connection not synchronized",
            Self(1, 2) => "bad message length",
            Self(1, 3) => "bad message type",
            Self(2, 1) => "unsupported version number",
            Self(2, 2) => "bad peer AS",
            Self(2, 3) => "bad BGP identifier",
            Self(2, 4) => "unsupported optional parameter",
            Self(2, 6) => "unacceptable hold time",
            Self(2, 7) => "unsupported capability",
            Self(2, _) => "OPEN message error",
            Self(3, _) => "UPDATE message error",
            Self(4, _) => "hold timer expired",
            Self(5, _) => "unexpected message",
            Self(6, 1) => "maximum number of prefixes reached",
            Self(6, 2) => "administrative shutdown",
            Self(6, 3) => "peer de-configured",
            Self(6, 4) => "administrative reset",
            Self(6, 5) => "connection rejected",
            Self(6, 6) => "other configuration change",
            Self(6, 7) => "connection collision resolution",
            Self(6, 8) => "out of resources",
            Self(6, 9) => "hard reset",
            Self(6, 10) => "BFD down",
            Self(6, _) => "cease",
            Self(7, _) => "ROUTE-REFRESH message error",
            Self(8, _) => "send hold timer expired",
            _ => "unknown error",
        };
        write!(f, "{meaning} ({}/{})", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_says_what_it_means() {
        let shutdown = Notification::new(Notification::SHUTDOWN);
        for (notification, text) in [
            (shutdown.clone(), "administrative shutdown (6/2)"),
            (shutdown.clone().with(b"\x04back!"), "administrative shutdown (6/2): \"back\""),
            (shutdown.clone().with(b"\x02\n\xff"), "administrative shutdown (6/2): \"\\n\u{fffd}\""),
            (shutdown.with(b"\x09back"), "administrative shutdown (6/2)"),
            (Notification::new(Code(9, 9)).with(b"\x01x"), "unknown error (9/9)"),
        ] {
            assert_eq!(notification.to_string(), text);
            assert_eq!(Notification::parse(&notification.emit()[19..]), Some(notification));
        }
        assert_eq!(Notification::parse(&[6]), None);
    }
}
