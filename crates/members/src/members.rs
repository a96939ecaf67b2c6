//! The members, as one of them sees them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use objects::NodeName;

use crate::{Config, Event, Keys, Profile};

/// The members as this one sees them.
///
/// After each call of anything that takes `now`, send what [`poll_transmit`](Self::poll_transmit) gives and
/// heed what [`poll_event`](Self::poll_event) gives, until both give nothing; then call
/// [`poll`](Self::poll) no later than [`poll_timeout`](Self::poll_timeout), after handing in with
/// [`handle`](Self::handle) whatever has arrived by then: a call that comes late is taken for a process that
/// stood still.
#[derive(Debug)]
pub struct Members {}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub to: SocketAddr,
    /// What, at most [`Members::MAX_FRAME`] bytes.
    pub frame: Vec<u8>,
    /// What it is called in metrics.
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

/// Why a frame was not heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// It is of a later version of the protocol, or of something else.
    #[error("of a version that is not spoken here")]
    Version,
    /// It ends too early, or says what makes no sense.
    #[error("malformed")]
    Malformed,
    /// It is sealed with a key that is not ours, or not sealed while we have keys.
    #[error("sealed with an unknown key")]
    UnknownKey,
    /// It was forged, damaged, or meant for another.
    #[error("the seal is broken")]
    BadSeal,
    /// It was seen before, or is so old that this can no longer be told.
    #[error("seen before")]
    Replay,
    /// Its sender has not proved yet that it is alive now; it has been asked to.
    #[error("its sender has not proved to be alive")]
    Unproven,
    /// It is of one more sender than there is room for.
    #[error("too many senders")]
    UnknownSender,
}

impl Members {
    /// The greatest length of a frame, in bytes; fits where the MTU is 1280 or more.
    pub const MAX_FRAME: usize = 1232;

    /// Alone at first. `seed` must be random.
    pub fn new(_config: Config, _seed: [u8; 32], _now: Instant) -> Self {
        todo!()
    }

    /// Takes in a datagram that came `from` somewhere.
    pub fn handle(&mut self, _from: SocketAddr, _frame: &[u8], _now: Instant) -> Result<(), Refusal> {
        todo!()
    }

    /// Does what is due.
    pub fn poll(&mut self, _now: Instant) {
        todo!()
    }

    /// When to call [`poll`](Self::poll) next.
    pub fn poll_timeout(&self) -> Instant {
        todo!()
    }

    /// What to send next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        todo!()
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// Those whom the cluster lists as fellow speakers and where they listen, all of them at each call. They
    /// are contacted until they are members. Whoever is a member stays one without being listed; who is dead
    /// and not listed is forgotten.
    pub fn set_peers(&mut self, _peers: BTreeMap<NodeName, SocketAddr>, _now: Instant) {
        todo!()
    }

    /// What to tell everybody of ourselves from now on.
    pub fn set_profile(&mut self, _profile: Profile, _now: Instant) {
        todo!()
    }

    /// The keys from now on.
    pub fn set_keys(&mut self, _keys: Keys) {
        todo!()
    }

    /// Whether there is a link to the others; taken to be up at first.
    pub fn set_link(&mut self, _state: LinkState, _now: Instant) {
        todo!()
    }

    /// Says goodbye to every member, and repeats it until each has confirmed; [`Event::Departed`] follows, at
    /// the latest after some seconds.
    pub fn leave(&mut self, _now: Instant) {
        todo!()
    }

    /// Whatever `node`, that is [leaving](Event::Leaving), answered for is in good hands as far as this
    /// member has to do with it. Call it once for each such event.
    pub fn confirm_leave(&mut self, _node: &NodeName) {
        todo!()
    }

    /// The names of all live members, this one included unless it observes.
    pub fn members(&self) -> impl Iterator<Item = &NodeName> {
        [].iter()
    }

    /// Whether enough of the others has been heard to act on [`members`](Self::members): at first, and after
    /// having been cut off or [stalled](Event::Stalled), this is false until the others have answered, or
    /// there is nobody to ask, or nobody answered in time. It changes only within calls that take `now`.
    pub fn settled(&self) -> bool {
        todo!()
    }

    /// What a live member tells of itself, as far as it is known.
    pub fn profile(&self, _node: &NodeName) -> Option<&Profile> {
        todo!()
    }
}
