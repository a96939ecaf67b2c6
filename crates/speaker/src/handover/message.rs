//! What the two speakers say to each other.

use gossip::Proof;
use serde::{Deserialize, Serialize};

use crate::{bfd, bgp};

/// Of the messages, and of the state in them: whoever changes either takes the next number.
pub(super) const VERSION: u32 = 1;

/// Text that nobody was asked to prove something by before.
pub(super) type Challenge = [u8; 32];

/// A message. Those about sessions and listeners come with a descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// The old one, to whoever connects.
    Hello { version: u32, challenge: Challenge },
    /// The new one: it knows one of these keys.
    Answer { version: u32, challenge: Challenge, proofs: Vec<Proof> },
    /// The old one does as well: it will give its sessions.
    Welcome { proofs: Vec<Proof> },
    /// A BGP session with its connection.
    Bgp(Box<bgp::SessionForm>),
    /// A BFD session with the socket that it sends from.
    Bfd(Box<bfd::SessionForm>),
    /// Where BFD listens.
    Listener(bfd::ListenerForm),
    /// That was all.
    Complete,
    /// It can be gone on with.
    Ready,
    /// Then do: all of it is yours.
    Go,
    /// That has been done.
    Started,
}
