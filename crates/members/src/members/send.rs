//! What is told to one, and what to everybody.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use objects::NodeName;

use super::Members;
use crate::Transmit;
use crate::config::Role;
use crate::frame::{Body, Hello, Payload};
use crate::identity::Identity;
use crate::ring::MONITORS;
use crate::session::Cookie;

/// What is important is said twice, so that the loss of one frame is no matter.
const REPEAT_AFTER: Duration = Duration::from_millis(30);

/// What is told to everybody directly.
#[derive(Debug)]
pub(super) enum News {
    /// We found this one dead.
    Dead(Identity),
    /// Who we are now.
    Myself,
}

impl Members {
    /// Tells everybody, twice.
    pub(super) fn tell(&mut self, news: News, now: Instant) {
        self.tell_once(&news, now);
        self.repeats.push_back((now + REPEAT_AFTER, news));
    }

    /// Tells everybody again.
    ///
    /// Whoever hears nobody at all is probably cut off. It acts on what it finds, but does not tell: the others
    /// would believe it when the link comes back the next moment.
    pub(super) fn repeat(&mut self, news: &News, now: Instant) {
        if matches!(news, News::Myself) || now < self.heard + self.timing.silence {
            self.tell_once(news, now);
        }
    }

    fn tell_once(&mut self, news: &News, now: Instant) {
        let names: Vec<_> = self.peers.keys().cloned().collect();
        for name in names {
            match news {
                // To everybody who runs, and to the one it is about, which objects if it lives.
                News::Dead(identity) => {
                    if name == identity.name || self.peers[&name].runs() {
                        self.send(&name, Body::Dead(identity.clone()));
                    }
                }
                News::Myself => self.hello(&name, None, !self.settled(), now),
            }
        }
    }

    /// Asks a silent member whether it is alive, directly and through others: first those who watch over it too
    /// and so can say at once when they heard it, then any members, then observers.
    pub(super) fn ask_for(&mut self, name: &NodeName) {
        self.send(name, Body::Ping);
        let own = &self.swim.identity().name;
        let mut helpers: Vec<_> = self.ring.monitors(name).filter(|helper| *helper != own).cloned().collect();
        for wanted in [Role::Speaker, Role::Observer] {
            let others = self.peers.iter().filter(|(helper, peer)| {
                peer.runs()
                    && peer.is_vouched_for()
                    && peer.role() == Some(wanted)
                    && *helper != name
                    && !helpers.contains(helper)
            });
            let others: Vec<_> =
                others.map(|(helper, _)| helper.clone()).take(MONITORS - helpers.len()).collect();
            helpers.extend(others);
        }
        for helper in helpers {
            self.send(&helper, Body::Ask(name.clone()));
        }
    }

    /// Introduces ourselves to `name`, wherever it is.
    pub(super) fn hello(&mut self, name: &NodeName, echo: Option<Cookie>, reply: bool, now: Instant) {
        if let Some(address) = self.address_of(name) {
            // By what it gave us where we were before, it knows that we have moved.
            let known = self.peers.get(name).map(|peer| &peer.knows_us);
            let echo = echo.or(known.filter(|it| it.no_longer).and_then(|it| it.ticket));
            self.hello_at(address, name, echo, reply, now);
        }
    }

    /// Introduces ourselves to `name` at that address.
    pub(super) fn hello_at(
        &mut self,
        address: SocketAddr,
        name: &NodeName,
        echo: Option<Cookie>,
        reply: bool,
        now: Instant,
    ) {
        let identity = self.peers.get(name).and_then(|peer| peer.identity.as_ref());
        let hello = Hello {
            identity: self.swim.identity().clone(),
            profile: self.profile.brief().clone(),
            cookie: self.cookies.make(name, now),
            echo,
            reply,
            late: self.peers.get(name).is_some_and(|peer| peer.we_were_late),
            // Of who died before we came, only SWIM knows.
            known: identity.map(|identity| identity.generation).max(self.swim.generation(name)),
        };
        self.send_at(address, name, Body::Hello(hello));
    }

    /// Says something to `name`, wherever it is; nothing if that is not known.
    pub(super) fn send(&mut self, name: &NodeName, body: Body) {
        if let Some(address) = self.address_of(name) {
            self.send_at(address, name, body);
        }
    }

    pub(super) fn send_at(&mut self, to: SocketAddr, name: &NodeName, body: Body) {
        if self.cut_since.is_some() {
            return;
        }
        let kind = body.kind();
        let Identity { name: from, generation, .. } = self.swim.identity();
        let payload =
            Payload { from: from.clone(), generation: *generation, profile: self.profile_version, body };
        let frame = self.encryption.seal(name, &payload.encode());
        debug_assert!(frame.len() <= Self::MAX_FRAME, "{kind} of {} bytes", frame.len());
        self.out.push_back(Transmit { to, frame, kind });
    }

    /// The names of all whose process runs, observers included, unless that is only said by others.
    pub(super) fn running(&self) -> BTreeSet<NodeName> {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.runs() && peer.is_vouched_for())
            .map(|(name, _)| name.clone())
            .collect()
    }
}
