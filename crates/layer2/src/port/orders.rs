//! What a port is told: what to announce, how, and who else is there.

use std::collections::BTreeMap;

use crate::MacAddr;

/// What a port says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransmitPolicy {
    /// All there is to say.
    #[default]
    Normal,
    /// Only answers. For one that leaves: who takes over announces the same addresses, and is not to be
    /// overruled.
    ReplyOnly,
    /// Nothing. For one that was cut off, or stood still, and does not know yet who has taken over what meanwhile.
    Muted,
}

/// The Ethernet addresses that are no foreign hosts'.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownMacs {
    /// All interfaces of this node, and those of the peers.
    pub contacts: BTreeMap<MacAddr, Contact>,
    /// How many peers there are of which nothing is known but that they are there. While there are any, who
    /// claims an address that is announced may be one of them, and is let be until it claims it again.
    pub unknown: usize,
    /// How many peers the cluster lists that were never heard, so that their stations are not known. While there are any,
    /// who answers for an address that a node is about to take over may be one of them.
    pub unseen: usize,
}

/// How it stands with a known station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It is an interface of this node.
    Own,
    /// A peer that takes part in the gossip as we hear it: what it does is known.
    Heard,
    /// A peer that has said goodbye. It may answer until everybody has taken over, and what it has said may come later.
    Leaving,
    /// A peer that we do not hear. If it answers for an address, it lives.
    Unheard,
}

/// That an address is to be announced, and how to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Which takeover this is: with another number, everything begins again.
    pub takeover: u64,
    /// How to begin.
    pub begin: Begin,
    /// How it stands with a [rival](Report::Rival), if there is one.
    pub stance: Stance,
}

/// What to do about a peer that answers for the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stance {
    /// There is none.
    #[default]
    Alone,
    /// The address is left to it for as long as it answers.
    Yields,
    /// It is overruled. With another number, once more.
    Insists(u64),
}

/// What comes first when an address is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Asking with care whether somebody else has it: nobody of us had it before.
    Probe,
    /// Asking whether somebody has it: one of us had it who is gone. Where it is answered for already, it is announced.
    Ask,
    /// Saying that it is here: a peer hands it over.
    Announce,
    /// Saying nothing unasked, now or later, but for one question whether a peer answers as well: somebody of us has it who
    /// does not answer at present.
    Answer,
}
