//! How the sessions with routers are doing, as it is reported: whether each is established, and if not, what went wrong last;
//! and whether BFD is down beside it. That a session is tried for again, and how far that has come, is no news.

use std::collections::BTreeMap;

use api::names;
use bgp::session::State;
use introspection::{BfdSession, BgpSession, Capped};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use objects::BgpPeerName;
use objects::text::{self, CONDITION_MESSAGE};
use speaker_core::ConfigurationNews;

use crate::bgp::{BfdStatus, Status, Statuses};

/// The kind of objects that sessions are made from, as the core names it.
const BGP_PEER: &str = "BGPPeer";

/// How the sessions are doing.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// At this moment.
    latest: Statuses,
    /// As it is reported: those that have been established or have failed.
    reported: BTreeMap<BgpPeerName, Session>,
    /// What is wrong with peers, and since when: as a rule these have no session.
    faults: BTreeMap<BgpPeerName, (String, Timestamp)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Session {
    address: String,
    /// What went wrong, where it is not established.
    trouble: Option<String>,
    /// What is wrong with BFD beside it.
    of_bfd: Option<String>,
    /// What the router is not told, where it is established.
    held_back: Vec<String>,
    since: Timestamp,
}

impl Sessions {
    /// Takes in how they are doing. Whether there is anything new to report.
    pub(super) fn follow(&mut self, statuses: Statuses, now: Timestamp) -> bool {
        let before = self.reported.len();
        self.reported.retain(|name, _| statuses.contains_key(name));
        let mut is_new = self.reported.len() < before;
        for (name, Status { state, why, address, bfd, held_back, .. }) in &statuses {
            let trouble = match state {
                State::Established => None,
                State::Active => Some(why.clone()),
                State::Idle | State::Connect | State::OpenSent | State::OpenConfirm => continue,
            };
            let known = self.reported.get(name);
            let same = known.filter(|known| known.trouble.is_none() == trouble.is_none());
            let since = same.map_or(now, |known| known.since);
            let of_bfd = bfd.and_then(BfdStatus::trouble);
            let (address, held_back) = (address.clone(), held_back.clone());
            let session = Session { address, trouble, of_bfd, held_back, since };
            if known != Some(&session) {
                self.reported.insert(name.clone(), session);
                is_new = true;
            }
        }
        self.latest = statuses;
        is_new
    }

    /// Takes in what is wrong with a peer, or that nothing is.
    pub(super) fn configured(&mut self, news: &ConfigurationNews, now: Timestamp) {
        match news {
            ConfigurationNews::Invalid { kind: BGP_PEER, name, error, .. } => {
                let name = BgpPeerName::from(name.as_str());
                let since = self.faults.get(&name).map_or(now, |(_, since)| *since);
                self.faults.insert(name, (error.clone(), since));
            }
            ConfigurationNews::Valid { kind: BGP_PEER, name, .. } => {
                self.faults.remove(&BgpPeerName::from(name.as_str()));
            }
            ConfigurationNews::Invalid { .. } | ConfigurationNews::Valid { .. } => {}
        }
    }

    /// The peers without a session, with what is wrong with them.
    fn not_in_force(&self) -> impl Iterator<Item = (&BgpPeerName, &(String, Timestamp))> {
        self.faults.iter().filter(|(name, _)| !self.latest.contains_key(*name))
    }

    /// What there is to tell whoever asks.
    pub(super) fn told(&self, now: Timestamp) -> Capped<BgpSession> {
        let seconds = |since: Timestamp| u64::try_from((now - since).get_seconds()).unwrap_or_default();
        // That it is tried for again says nothing about why it is not established.
        let trouble =
            |name: &BgpPeerName| self.reported.get(name).and_then(|reported| reported.trouble.clone());
        let session = |(name, it): (&BgpPeerName, &Status)| BgpSession {
            peer: name.to_string(),
            address: it.address.clone(),
            state: it.state.to_string(),
            reason: trouble(name).unwrap_or_else(|| it.why.clone()),
            local: it.local,
            held_back: it.held_back.clone(),
            announced: it.announced,
            for_seconds: self.reported.get(name).map(|reported| seconds(reported.since)),
            bfd: it.bfd.map(|bfd| BfdSession { state: bfd.to_string(), trouble: bfd.trouble() }),
        };
        let without = |(name, (why, _)): (&BgpPeerName, &(String, Timestamp))| BgpSession {
            peer: name.to_string(),
            address: "not in force".to_owned(),
            state: State::Idle.to_string(),
            reason: why.clone(),
            ..BgpSession::default()
        };
        self.latest.iter().map(session).chain(self.not_in_force().map(without)).collect()
    }

    /// One for each session, and for each peer that has none because something is wrong with it.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        let of_session = |(name, it): (&BgpPeerName, &Session)| {
            let Session { address, trouble, of_bfd, held_back, since } = it;
            let (status, reason) = match (trouble, of_bfd) {
                (None, None) if held_back.is_empty() => ("True", "Established"),
                (None, None) => ("True", names::PARTLY_ANNOUNCED),
                (None, Some(_)) => ("True", names::WITHOUT_BFD),
                (Some(_), _) => ("False", "NotEstablished"),
            };
            let troubles: Vec<&str> =
                trouble.iter().chain(of_bfd).chain(held_back).map(String::as_str).collect();
            let message = if troubles.is_empty() {
                address.clone()
            } else {
                format!("{address}: {}", troubles.join("; "))
            };
            condition(name, status, reason, &message, *since)
        };
        let without = |(name, (why, since)): (&BgpPeerName, &(String, Timestamp))| {
            condition(name, "False", names::NOT_IN_FORCE, why, *since)
        };
        let of_sessions = self.reported.iter().map(of_session);
        of_sessions.chain(self.not_in_force().map(without)).collect()
    }
}

fn condition(name: &BgpPeerName, status: &str, reason: &str, message: &str, since: Timestamp) -> Condition {
    Condition {
        type_: format!("{}{}", names::BGP_SESSION, name.as_str()),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: text::shorten(&text::printable(message), CONDITION_MESSAGE),
        observed_generation: None,
        last_transition_time: Time(since),
    }
}

#[cfg(test)]
mod tests {
    use bfd::packet::Diagnostic;

    use super::*;

    fn status(state: State, why: &str) -> Statuses {
        let address = "192.0.2.1:179".to_owned();
        let (why, bfd, held_back) = (why.to_owned(), None, vec![]);
        [("router".into(), Status { state, why, local: None, held_back, announced: 0, address, bfd })].into()
    }

    fn with_bfd(state: State, why: &str, of_bfd: bfd::packet::State) -> Statuses {
        let mut statuses = status(state, why);
        let diagnostic = Diagnostic::EXPIRED;
        let bfd = BfdStatus { state: of_bfd, diagnostic, has_way: true, refused_port: None };
        statuses.values_mut().for_each(|it| it.bfd = Some(bfd));
        statuses
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
        let told = &it.told(at(3)).items[0];
        assert_eq!((&*told.state, &*told.reason), ("Connect", "no TCP connection"));
        assert!(!it.follow(status(State::Active, "no TCP connection"), at(4)));
        let line = |status: &str, message: &str, since| (status.to_owned(), message.to_owned(), since);
        assert_eq!(said(&it), [line("False", "192.0.2.1:179: no TCP connection", 2)]);
        assert!(it.follow(status(State::Established, "the peer has accepted our OPEN"), at(5)));
        assert_eq!(said(&it), [line("True", "192.0.2.1:179", 5)]);
        assert!(!it.follow(status(State::Connect, "the configuration has changed"), at(6)));
        assert!(it.follow(status(State::Active, "the TCP connection is lost"), at(7)));
        assert_eq!(said(&it), [line("False", "192.0.2.1:179: the TCP connection is lost", 7)]);
        assert_eq!(it.conditions()[0].type_, "session.ferrolb.io/router");
        assert_eq!(it.told(at(9)).items[0].state, "Active");
        assert!(it.follow(Statuses::new(), at(8)));
        assert!(it.conditions().is_empty());
    }

    #[test]
    fn a_peer_that_is_not_in_force_is_told_of_where_it_has_no_session() {
        let mut it = Sessions::default();
        let invalid = |kind, error: &str| {
            let (name, error) = ("router".to_owned(), error.to_owned());
            ConfigurationNews::Invalid { kind, name, error, new: true }
        };
        it.configured(&invalid("BGPAdvertisement", "another"), at(1));
        assert!(it.conditions().is_empty());
        it.configured(&invalid(BGP_PEER, "spec.passwordSecret: there is no Secret x"), at(2));
        it.configured(&invalid(BGP_PEER, "spec.passwordSecret: it has no key"), at(3));
        let expected = ("False".to_owned(), "spec.passwordSecret: it has no key".to_owned(), 2);
        assert_eq!(said(&it), [expected]);
        assert_eq!(it.conditions()[0].reason, names::NOT_IN_FORCE);
        let told = &it.told(at(4)).items[0];
        assert_eq!((&*told.peer, &*told.state, &*told.address), ("router", "Idle", "not in force"));
        assert!(told.reason.contains("it has no key"));
        it.follow(status(State::Established, ""), at(5));
        assert_eq!(said(&it).len(), 1, "it goes on as it is");
        let (name, all) = ("router".to_owned(), true);
        it.configured(&ConfigurationNews::Valid { kind: BGP_PEER, name, all }, at(6));
        it.follow(Statuses::new(), at(7));
        assert!(it.conditions().is_empty());
    }

    #[test]
    fn what_the_router_is_not_told_stands_in_the_condition() {
        let mut it = Sessions::default();
        let mut statuses = status(State::Established, "");
        assert!(it.follow(statuses.clone(), at(1)));
        for status in statuses.values_mut() {
            status.held_back = vec!["IPv6 routes are not announced: x".to_owned()];
        }
        assert!(it.follow(statuses.clone(), at(2)));
        let message = "192.0.2.1:179: IPv6 routes are not announced: x".to_owned();
        assert_eq!(said(&it), [("True".to_owned(), message, 1)]);
        assert_eq!(it.conditions()[0].reason, names::PARTLY_ANNOUNCED);
        assert_eq!(it.told(at(3)).items[0].held_back.len(), 1);
        assert!(!it.follow(statuses, at(3)));
    }

    #[test]
    fn that_bfd_is_down_is_told_whether_the_session_is_established_or_not() {
        use bfd::packet::State as Bfd;
        let mut it = Sessions::default();
        assert!(it.follow(with_bfd(State::Established, "", Bfd::Up), at(1)));
        assert_eq!(it.conditions()[0].message, "192.0.2.1:179");
        assert!(it.follow(with_bfd(State::Active, "no TCP connection", Bfd::Down), at(2)));
        let expired = "BFD is down: no control packet came in time";
        let message = format!("192.0.2.1:179: no TCP connection; {expired}");
        assert_eq!(said(&it), [("False".to_owned(), message, 2)]);
        let told = &it.told(at(7)).items[0];
        assert_eq!(told.for_seconds, Some(5));
        let bfd = told.bfd.clone().unwrap();
        assert_eq!((bfd.state.as_str(), bfd.trouble.as_deref()), ("Down", Some(expired)));
        assert!(it.follow(with_bfd(State::Established, "", Bfd::Down), at(8)));
        let condition = &it.conditions()[0];
        assert_eq!((&*condition.status, &*condition.reason), ("True", names::WITHOUT_BFD));
        assert_eq!(condition.message, format!("192.0.2.1:179: {expired}"));
        assert!(it.follow(with_bfd(State::Established, "", Bfd::Up), at(9)));
        assert_eq!(it.conditions()[0].reason, "Established");
    }
}
