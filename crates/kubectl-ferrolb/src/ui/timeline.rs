//! What has moved: seen by this program from look to look, and before it was started as the events of Services and the
//! sessions with routers tell.

mod sessions;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::net::IpAddr;

use introspection::SpeakerStatus;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;

use self::sessions::Sessions;
use super::view::{Held, NodeView};
use crate::survey::{Health, Surveyed};

/// As many entries are kept.
const KEPT: usize = 200;
/// Events so soon after each other tell of one thing that happened.
const TOGETHER: SignedDuration = SignedDuration::from_secs(3);

/// Something that happened to some addresses at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) what: What,
    pub(super) addresses: Vec<Held>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Another node answers for them.
    Moved { from: String, to: String },
    /// A node has begun to answer for them.
    Began { on: String },
    /// Nobody answers for them any more.
    Silent { before: String },
    /// Another host has them.
    Conflict,
    /// Their Services have given them up.
    Given,
    /// A node's speaker is not ready any more.
    SpeakerDown { node: String },
    /// A node's speaker is ready.
    SpeakerUp { node: String },
    /// Nodes have lost their session with a router.
    SessionsDown { router: String, nodes: Vec<String>, why: String },
    /// Nodes have a session with a router again, or for the first time.
    SessionsUp { router: String, nodes: Vec<String> },
}

/// Remembers what has happened.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// As it was at the last look, if there was one.
    last: Option<State>,
    /// What was known of sessions with routers then.
    sessions: Option<Sessions>,
    /// The latest first.
    entries: Vec<Entry>,
}

#[derive(Debug, Default)]
struct State {
    places: BTreeMap<Held, Place>,
    speakers: BTreeMap<String, bool>,
}

/// Where an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    On(String),
    Nowhere,
    Contested,
}

impl Timeline {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Takes what events tell of the time before the first look.
    pub(super) fn recall(&mut self, events: &[Event], services: &[Surveyed]) {
        let addresses: BTreeMap<String, Vec<IpAddr>> = services
            .iter()
            .map(|service| (service.title(), service.addresses.iter().map(|address| address.ip).collect()))
            .collect();
        let mut told: Vec<(Timestamp, String, String)> = events.iter().filter_map(assigned).collect();
        told.sort();
        let mut at_last: BTreeMap<String, String> = BTreeMap::new();
        for (at, service, node) in told {
            // An event does not say for which address it is.
            let [ip] = addresses.get(&service).map_or(&[][..], Vec::as_slice) else { continue };
            let held = Held { ip: *ip, service: service.clone() };
            let what = match at_last.entry(service) {
                Slot::Vacant(entry) => {
                    entry.insert(node.clone());
                    What::Began { on: node }
                }
                Slot::Occupied(entry) if *entry.get() == node => continue,
                Slot::Occupied(mut entry) => What::Moved { from: entry.insert(node.clone()), to: node },
            };
            self.add(at, what, held);
        }
        self.entries.truncate(KEPT);
    }

    /// Compares with the look before.
    pub(super) fn observe(&mut self, at: Timestamp, services: &[Surveyed], nodes: &[NodeView]) {
        let speakers = nodes.iter().filter(|node| !["none", "not known"].contains(&&*node.row.speaker));
        let speakers = speakers.map(|node| (node.row.node.clone(), node.row.speaker.starts_with("ready")));
        let mut now = State { places: BTreeMap::new(), speakers: speakers.collect() };
        let before = self.last.take();
        for service in services {
            for address in &service.addresses {
                let held = Held { ip: address.ip, service: service.title() };
                let place = match (address.health, &address.node) {
                    (Health::Announced, Some(node)) => Some(Place::On(node.clone())),
                    (Health::Silent | Health::Waiting, _) => Some(Place::Nowhere),
                    (Health::Conflict, _) => Some(Place::Contested),
                    // It is on its way, or nobody can say: it counts as where it was.
                    (Health::Announced, None) | (Health::Starting | Health::Unknown, _) => {
                        before.as_ref().and_then(|before| before.places.get(&held)).cloned()
                    }
                };
                if let Some(place) = place {
                    now.places.insert(held, place);
                }
            }
        }
        if let Some(before) = &before {
            self.compare(at, before, &now);
        }
        self.last = Some(now);
        self.entries.truncate(KEPT);
    }

    /// Compares what speakers say of their sessions with routers with what they said before.
    pub(super) fn observe_sessions<'a>(
        &mut self,
        at: Timestamp,
        speakers: impl IntoIterator<Item = &'a SpeakerStatus>,
    ) {
        let now = Sessions::of(at, speakers, self.sessions.as_ref());
        for (when, what) in now.compared(at, self.sessions.as_ref()) {
            let after = self.entries.iter().take_while(|entry| entry.at > when).count();
            self.entries.insert(after, Entry { at: when, what, addresses: vec![] });
        }
        self.sessions = Some(now);
        self.entries.truncate(KEPT);
    }

    fn compare(&mut self, at: Timestamp, before: &State, now: &State) {
        let mut found: BTreeMap<What, Vec<Held>> = BTreeMap::new();
        for (held, place) in &now.places {
            let was = before.places.get(held);
            let what = match (was, place) {
                (was, place) if was == Some(place) => continue,
                (Some(Place::On(from)), Place::On(to)) => What::Moved { from: from.clone(), to: to.clone() },
                (_, Place::On(on)) => What::Began { on: on.clone() },
                (Some(Place::On(node)), Place::Nowhere) => What::Silent { before: node.clone() },
                (_, Place::Contested) => What::Conflict,
                (None | Some(Place::Contested | Place::Nowhere), Place::Nowhere) => continue,
            };
            found.entry(what).or_default().push(held.clone());
        }
        for held in before.places.keys().filter(|held| !now.places.contains_key(held)) {
            found.entry(What::Given).or_default().push(held.clone());
        }
        for (node, ready) in &now.speakers {
            match (before.speakers.get(node), ready) {
                (Some(true), false) => _ = found.entry(What::SpeakerDown { node: node.clone() }).or_default(),
                (Some(false) | None, true) => {
                    found.entry(What::SpeakerUp { node: node.clone() }).or_default();
                }
                (Some(true), true) | (Some(false) | None, false) => {}
            }
        }
        for node in before.speakers.keys().filter(|node| !now.speakers.contains_key(*node)) {
            found.entry(What::SpeakerDown { node: node.clone() }).or_default();
        }
        for (what, addresses) in found {
            self.entries.insert(0, Entry { at, what, addresses });
        }
    }

    /// Adds something to what happened just before, if that was the same.
    fn add(&mut self, at: Timestamp, what: What, held: Held) {
        let same = self.entries.iter_mut().take_while(|entry| at.duration_since(entry.at) <= TOGETHER);
        match same.into_iter().find(|entry| entry.what == what) {
            Some(entry) => entry.addresses.push(held),
            None => self.entries.insert(0, Entry { at, what, addresses: vec![held] }),
        }
    }
}

/// When a node began to announce which Service, if that is what an event tells.
fn assigned(event: &Event) -> Option<(Timestamp, String, String)> {
    let about = &event.involved_object;
    let service = format!("{}/{}", about.namespace.as_deref()?, about.name.as_deref()?);
    let rest = event.message.as_deref()?.strip_prefix("announcing from node \"")?;
    let (node, protocol) = rest.split_once('"')?;
    // Routers are told by many nodes at once: with the next one nothing moves.
    if node.is_empty() || protocol.contains("\"bgp\"") {
        return None;
    }
    let at = event.last_timestamp.as_ref().or(event.first_timestamp.as_ref())?.0;
    Some((at, service, node.to_owned()))
}

#[cfg(test)]
mod tests;
