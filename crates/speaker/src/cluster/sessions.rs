//! How the sessions with routers are doing, as it is reported: whether each is established, and if not, what went wrong last.
//! That a session is tried for again, and how far that has come, is no news.

use std::collections::BTreeMap;

use api::names;
use bgp::session::State;
use introspection::{BgpSession, Capped};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use objects::BgpPeerName;
use objects::text::{self, CONDITION_MESSAGE};

use crate::bgp::{Status, Statuses};

/// How the sessions are doing.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// At this moment.
    latest: Statuses,
    /// As it is reported: those that have been established or have failed.
    reported: BTreeMap<BgpPeerName, Session>,
}

#[derive(Debug, PartialEq, Eq)]
struct Session {
    address: String,
    /// What went wrong, where it is not established.
    trouble: Option<String>,
    since: Timestamp,
}

impl Sessions {
    /// Takes in how they are doing. Whether there is anything new to report.
    pub(super) fn follow(&mut self, statuses: Statuses, now: Timestamp) -> bool {
        let before = self.reported.len();
        self.reported.retain(|name, _| statuses.contains_key(name));
        let mut is_new = self.reported.len() < before;
        for (name, Status { state, why, address, .. }) in &statuses {
            let trouble = match state {
                State::Established => None,
                State::Active => Some(why.clone()),
                State::Idle | State::Connect | State::OpenSent | State::OpenConfirm => continue,
            };
            let known = self.reported.get(name);
            let same = known.filter(|known| known.trouble.is_none() == trouble.is_none());
            let since = same.map_or(now, |known| known.since);
            let session = Session { address: address.clone(), trouble, since };
            if known != Some(&session) {
                self.reported.insert(name.clone(), session);
                is_new = true;
            }
        }
        self.latest = statuses;
        is_new
    }

    /// What there is to tell whoever asks.
    pub(super) fn told(&self) -> Capped<BgpSession> {
        let session = |(name, it): (&BgpPeerName, &Status)| BgpSession {
            peer: name.to_string(),
            address: it.address.clone(),
            state: it.state.to_string(),
            reason: it.why.clone(),
            local: it.local,
            announced: it.announced,
        };
        self.latest.iter().map(session).collect()
    }

    /// One for each session.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        let condition = |(name, Session { address, trouble, since }): (&BgpPeerName, &Session)| {
            let (status, reason, message) = match trouble {
                None => ("True", "Established", address.clone()),
                Some(trouble) => ("False", "NotEstablished", format!("{address}: {trouble}")),
            };
            Condition {
                type_: format!("{}{}", names::BGP_SESSION, name.as_str()),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message: text::shorten(&text::printable(&message), CONDITION_MESSAGE),
                observed_generation: None,
                last_transition_time: Time(*since),
            }
        };
        self.reported.iter().map(condition).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State, why: &str) -> Statuses {
        let address = "192.0.2.1:179".to_owned();
        [("router".into(), Status { state, why: why.to_owned(), local: None, announced: 0, address })].into()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn said(sessions: &Sessions) -> Vec<(String, String, i64)> {
        let line = |it: Condition| (it.status, it.message, it.last_transition_time.0.as_second());
        sessions.conditions().into_iter().map(line).collect()
    }

    #[test]
    fn what_went_wrong_last_is_told_until_the_session_is_established() {
        let mut it = Sessions::default();
        assert!(!it.follow(status(State::Connect, "started"), at(1)));
        assert!(it.conditions().is_empty());
        assert!(it.follow(status(State::Active, "no TCP connection"), at(2)));
        assert!(!it.follow(status(State::Connect, "time to try again"), at(3)));
        assert!(!it.follow(status(State::Active, "no TCP connection"), at(4)));
        let line = |status: &str, message: &str, since| (status.to_owned(), message.to_owned(), since);
        assert_eq!(said(&it), [line("False", "192.0.2.1:179: no TCP connection", 2)]);
        assert!(it.follow(status(State::Established, "the peer has accepted our OPEN"), at(5)));
        assert_eq!(said(&it), [line("True", "192.0.2.1:179", 5)]);
        assert!(!it.follow(status(State::Connect, "the configuration has changed"), at(6)));
        assert!(it.follow(status(State::Active, "the TCP connection is lost"), at(7)));
        assert_eq!(said(&it), [line("False", "192.0.2.1:179: the TCP connection is lost", 7)]);
        assert_eq!(it.conditions()[0].type_, "session.ferrolb.io/router");
        assert_eq!(it.told().items[0].state, "Active");
        assert!(it.follow(Statuses::new(), at(8)));
        assert!(it.conditions().is_empty());
    }
}
