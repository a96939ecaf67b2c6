//! The states of a session (RFC 5880 section 6.2).
//!
//! ```text
//!                              peer Down
//!              +----> Down ---------------> Init ----+
//!   AdminDown -+       ^ |                   |       | peer Init, Up
//!              Enable  | | peer Init         |       |
//!                      | +-----------------> Up <----+
//!                      |                     |
//!                      +---------------------+ peer AdminDown, Down; nothing heard; no echo; path cut
//! ```
//!
//! Disable leads to `AdminDown` from everywhere.

use crate::packet::{Diagnostic, State};

/// What can change the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The peer says that it is in this state.
    Received(State),
    /// It was not heard within the detection time.
    Expired,
    /// No echo came back within the detection time.
    EchoFailed,
    /// The way to it is cut.
    PathDown,
    /// There is to be no session.
    Disable,
    /// There is to be one.
    Enable,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Stay,
    /// Another state.
    To(State),
    /// Down, because of this.
    Fail(Diagnostic),
}

/// What an event does in a state.
pub(super) fn next(state: State, event: Event) -> Step {
    use State::{AdminDown, Down, Init, Up};
    match (state, event) {
        (AdminDown, Event::Enable) => Step::To(Down),
        (Down | Init | Up, Event::Disable) => Step::To(AdminDown),
        (Down, Event::Received(Down)) => Step::To(Init),
        (Down, Event::Received(Init)) | (Init, Event::Received(Init | Up)) => Step::To(Up),
        (Init | Up, Event::Received(AdminDown)) | (Up, Event::Received(Down)) => {
            Step::Fail(Diagnostic::PEER_DOWN)
        }
        (Init | Up, Event::Expired) => Step::Fail(Diagnostic::EXPIRED),
        (Up, Event::EchoFailed) => Step::Fail(Diagnostic::ECHO_FAILED),
        (Init | Up, Event::PathDown) => Step::Fail(Diagnostic::PATH_DOWN),
        (
            AdminDown,
            Event::Received(AdminDown | Down | Init | Up)
            | Event::Expired
            | Event::EchoFailed
            | Event::PathDown
            | Event::Disable,
        )
        | (Down, Event::Received(AdminDown | Up) | Event::Expired | Event::EchoFailed | Event::PathDown)
        | (Init, Event::Received(Down) | Event::EchoFailed)
        | (Up, Event::Received(Init | Up))
        | (Down | Init | Up, Event::Enable) => Step::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_in_every_state() {
        use Event::{Disable, EchoFailed, Enable, Expired, PathDown, Received};
        use State::{AdminDown, Down, Init, Up};
        use Step::{Fail, Stay, To};
        let peer_down = Fail(Diagnostic::PEER_DOWN);
        let expired = Fail(Diagnostic::EXPIRED);
        let path_down = Fail(Diagnostic::PATH_DOWN);
        let table = [
            // event, then what it does in AdminDown, Down, Init, Up
            (Received(AdminDown), [Stay, Stay, peer_down, peer_down]),
            (Received(Down), [Stay, To(Init), Stay, peer_down]),
            (Received(Init), [Stay, To(Up), To(Up), Stay]),
            (Received(Up), [Stay, Stay, To(Up), Stay]),
            (Expired, [Stay, Stay, expired, expired]),
            (EchoFailed, [Stay, Stay, Stay, Fail(Diagnostic::ECHO_FAILED)]),
            (PathDown, [Stay, Stay, path_down, path_down]),
            (Disable, [Stay, To(AdminDown), To(AdminDown), To(AdminDown)]),
            (Enable, [To(Down), Stay, Stay, Stay]),
        ];
        for (event, row) in table {
            for (state, expected) in State::ALL.into_iter().zip(row) {
                assert_eq!(next(state, event), expected, "{event:?} in {state:?}");
            }
        }
    }
}
