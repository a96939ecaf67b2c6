//! Sessions with routers: which began and which ended between two looks.

use std::collections::BTreeMap;

use introspection::{BgpSession, SpeakerStatus};
use jiff::{SignedDuration, Timestamp};

use super::What;
use crate::routed::{is_established, trouble};

/// Sessions that began or ended before the first look are told of if that was within this time.
const RECALLED: SignedDuration = SignedDuration::from_hours(24);
/// Speakers tell whole seconds, and answer some time after they are asked.
const INEXACT: SignedDuration = SignedDuration::from_secs(5);

/// The sessions that are known of, by node and router.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions(BTreeMap<String, BTreeMap<String, Session>>);

/// A session of a node with a router.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    /// Why there is none, where it is not established.
    down: Option<String>,
    /// Since when, where that is known.
    since: Option<Timestamp>,
}

impl Sessions {
    /// What speakers say. Of those that say nothing, what they said before.
    pub(super) fn of<'a>(
        at: Timestamp,
        speakers: impl IntoIterator<Item = &'a SpeakerStatus>,
        before: Option<&Self>,
    ) -> Self {
        let mut all = before.cloned().unwrap_or_default();
        for speaker in speakers {
            let sessions = speaker.bgp.sessions.items.iter();
            let sessions = sessions.map(|it| (it.peer.clone(), Session::read(at, it))).collect();
            all.0.insert(speaker.node.clone(), sessions);
        }
        all.0.retain(|_, sessions| !sessions.is_empty());
        all
    }

    /// What has happened since the look before, or in the last day where this is the first; with when. Nodes to which the
    /// same happened with one router are told of together.
    pub(super) fn compared(&self, at: Timestamp, before: Option<&Self>) -> Vec<(Timestamp, What)> {
        let mut found: BTreeMap<(String, Option<String>), (Timestamp, Vec<String>)> = BTreeMap::new();
        for (node, sessions) in &self.0 {
            for (router, session) in sessions {
                let was = Before::of(before, node, router);
                if let Some(when) = session.happened(at, was) {
                    let together = found.entry((router.clone(), session.down.clone()));
                    let (latest, nodes) = together.or_insert((when, vec![]));
                    *latest = when.max(*latest);
                    nodes.push(node.clone());
                }
            }
        }
        let what = |((router, down), (when, nodes))| match down {
            None => (when, What::SessionsUp { router, nodes }),
            Some(why) => (when, What::SessionsDown { router, nodes, why }),
        };
        found.into_iter().map(what).collect()
    }
}

/// What was known of a session.
#[derive(Debug, Clone, Copy)]
enum Before<'a> {
    /// Nobody has looked.
    Unseen,
    /// There was none with this router.
    None,
    This(&'a Session),
}

impl<'a> Before<'a> {
    fn of(before: Option<&'a Sessions>, node: &str, router: &str) -> Self {
        let Some(before) = before else { return Self::Unseen };
        before.0.get(node).and_then(|sessions| sessions.get(router)).map_or(Self::None, Self::This)
    }
}

impl Session {
    fn read(at: Timestamp, session: &BgpSession) -> Self {
        let down = (!is_established(session)).then(|| trouble(session).unwrap_or_default());
        let ago = session.for_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let since = ago.and_then(|seconds| at.checked_sub(SignedDuration::from_secs(seconds)).ok());
        Self { down, since }
    }

    /// When it became what it is, if that is news.
    fn happened(&self, at: Timestamp, was: Before<'_>) -> Option<Timestamp> {
        let since = self.since.unwrap_or(at);
        match was {
            Before::Unseen => self.since.filter(|since| at.duration_since(*since) <= RECALLED),
            // It is new, and one that was never established is not lost.
            Before::None => self.down.is_none().then_some(since),
            Before::This(was) if was.down.is_some() != self.down.is_some() => Some(since),
            // It ended and is back, or the other way round, between the two looks.
            Before::This(Self { since: Some(before), .. }) => {
                self.since.filter(|since| since.duration_since(*before) > INEXACT)
            }
            Before::This(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use introspection::{Bgp, Capped};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    /// A speaker that has a session with r1, or has not, for so long.
    fn speaker(node: &str, established: bool, seconds: Option<u64>) -> SpeakerStatus {
        let state = if established { "Established" } else { "Connect" };
        let session = BgpSession {
            peer: "r1".to_owned(),
            state: state.to_owned(),
            reason: if established { String::new() } else { "no TCP connection".to_owned() },
            for_seconds: seconds,
            ..BgpSession::default()
        };
        let sessions = Capped { items: vec![session], more: 0 };
        SpeakerStatus {
            node: node.to_owned(),
            bgp: Box::new(Bgp { sessions, ..Bgp::default() }),
            ..SpeakerStatus::default()
        }
    }

    fn look(
        seconds: i64,
        speakers: &[SpeakerStatus],
        before: Option<&Sessions>,
    ) -> (Sessions, Vec<(i64, What)>) {
        let sessions = Sessions::of(at(seconds), speakers, before);
        let told = sessions.compared(at(seconds), before);
        (sessions, told.into_iter().map(|(when, what)| (when.as_second() - 1_000_000, what)).collect())
    }

    fn up(nodes: &[&str]) -> What {
        What::SessionsUp { router: "r1".to_owned(), nodes: nodes.iter().map(|it| (*it).to_owned()).collect() }
    }

    fn down(nodes: &[&str]) -> What {
        let nodes = nodes.iter().map(|it| (*it).to_owned()).collect();
        What::SessionsDown { router: "r1".to_owned(), nodes, why: "no TCP connection".to_owned() }
    }

    #[test]
    fn what_speakers_tell_of_the_last_day_is_what_was_before_the_first_look() {
        let speakers =
            [speaker("n1", true, Some(90_000)), speaker("n2", true, Some(60)), speaker("n3", false, None)];
        assert_eq!(look(0, &speakers, None).1, [(-60, up(&["n2"]))]);
    }

    #[test]
    fn nodes_that_lose_a_router_are_told_of_together_with_when_and_why() {
        let all = |established, seconds| ["n1", "n2"].map(|node| speaker(node, established, Some(seconds)));
        let (first, _) = look(0, &all(true, 90_000), None);
        let (second, told) = look(20, &all(true, 90_020), Some(&first));
        assert_eq!(told, []);
        let (third, told) = look(40, &all(false, 15), Some(&second));
        assert_eq!(told, [(25, down(&["n1", "n2"]))]);
        let (_, told) = look(60, &all(true, 2), Some(&third));
        assert_eq!(told, [(58, up(&["n1", "n2"]))]);
    }

    #[test]
    fn one_that_ended_and_came_back_between_two_looks_is_told_of() {
        let (first, _) = look(0, &[speaker("n1", true, Some(90_000))], None);
        let (_, told) = look(20, &[speaker("n1", true, Some(3))], Some(&first));
        assert_eq!(told, [(17, up(&["n1"]))]);
        let (_, told) = look(20, &[speaker("n1", true, Some(90_018))], Some(&first));
        assert_eq!(told, [], "seconds are not exact");
    }

    #[test]
    fn a_speaker_that_says_nothing_for_a_while_has_lost_no_session_and_a_new_one_that_tries_has_not_either() {
        let (first, _) = look(0, &[speaker("n1", true, Some(90_000))], None);
        let (second, told) = look(20, &[], Some(&first));
        assert_eq!(told, []);
        let (third, told) =
            look(40, &[speaker("n1", true, Some(90_040)), speaker("n2", false, None)], Some(&second));
        assert_eq!(told, []);
        let gone = SpeakerStatus { node: "n1".to_owned(), ..SpeakerStatus::default() };
        assert_eq!(look(60, &[gone], Some(&third)).1, [], "its peer was deleted");
    }
}
