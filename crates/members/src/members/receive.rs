//! What is done with a frame.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use objects::NodeName;

use super::place::Seen;
use super::{Members, Peer, Phase, Standing};
use crate::config::Role;
use crate::frame::{Body, Hello, NEVER, Payload};
use crate::identity::Identity;
use crate::parts::ProfileVersion;
use crate::rebirths::Death;
use crate::seal::Opened;
use crate::session::{Session, Window};
use crate::swim::Swim;
use crate::{Absence, Event, Refusal};

/// How often somebody is asked, at most, who it is by now.
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// How many that the cluster does not list are heard at a time: far more than there are controllers, and nodes that are
/// so new that they are not listed yet.
const UNLISTED: usize = 64;

impl Members {
    /// Checks a frame, learns from its coming, and does what it asks for.
    pub(super) fn receive(
        &mut self,
        from: SocketAddr,
        frame: &[u8],
        now: Instant,
    ) -> Result<&'static str, Refusal> {
        let opened = self.encryption.open(frame)?;
        let payload = Payload::decode(&opened.payload)?;
        if payload.from == self.swim.identity().name {
            return Err(Refusal::OwnName);
        }
        if payload.generations().any(|(claim, generation)| !self.generations.allow(claim, generation, now))
            || matches!(&payload.body, Body::Dead(identity) if !self.is_credible(identity, now))
        {
            return Err(Refusal::FarAhead);
        }
        let place = self.check_place(from.ip(), &opened, &payload, now)?;
        self.admit(from, &opened, &payload, now)?;
        let Payload { from: name, generation, profile, body } = payload;
        if place == Seen::Moved
            && let Some(session) = self.peers.get_mut(&name).and_then(|peer| peer.session.as_mut())
        {
            session.moved = Some(from.ip());
        }
        let counts = self.places.admit(&name);
        if !counts
            && matches!(
                body,
                Body::Dead(_) | Body::Heard { .. } | Body::ProfileNews { .. } | Body::RelayedPart { .. }
            )
        {
            return Err(Refusal::Unlisted);
        }
        let kind = body.kind();
        if counts {
            self.note_life(&name, now);
        }
        let peer = self.peers.entry(name.clone()).or_default();
        (peer.told.takes_parts, peer.told.takes_relays) = (profile.is_in_parts(), profile.is_relayed());
        self.speaks_itself(&name, profile, now);
        if let Body::Hello(hello) = body {
            self.meet(from, &name, hello, profile, now);
            self.want_profile(&name, profile, now);
            return Ok(kind);
        }

        let peer = self.peers.entry(name.clone()).or_default();
        let known = peer.identity.clone();
        let current = known.filter(|known| known.generation == generation && known.boot == opened.boot);
        match current {
            Some(current) if !peer.runs() || self.disputes.contains_key(&name) => {
                // It does not know yet that it was declared dead.
                let gone = !peer.runs();
                self.send_at(from, &name, Body::Dead(current));
                if gone {
                    // Nor may we know that we were.
                    if let Body::Dead(identity) = body {
                        self.on_own_death(&name, &identity, now);
                    }
                    return Ok(kind);
                }
            }
            Some(_) if peer.told.version == Some(profile) || profile.is_in_parts() => {}
            _ => {
                if self.may_ask(&name, now) {
                    self.hello_at(from, &name, None, true, now);
                }
            }
        }
        if let Body::ProfilePart(part) = body {
            self.take_profile_part(&name, profile, part, now)?;
        } else {
            self.dispatch(&name, body, now)?;
        }
        self.want_profile(&name, profile, now);
        Ok(kind)
    }

    /// Whether `name` may be asked now, as it was not a moment ago.
    pub(super) fn may_ask(&mut self, name: &NodeName, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(name) else { return false };
        let may = peer.asked.is_none_or(|asked| now >= asked + ASK_PAUSE);
        if may {
            peer.asked = Some(now);
        }
        may
    }

    /// Whether the frame is neither old nor a copy; if that cannot be told, its sender is asked for proof.
    fn admit(
        &mut self,
        from: SocketAddr,
        opened: &Opened,
        payload: &Payload,
        now: Instant,
    ) -> Result<(), Refusal> {
        let name = &payload.from;
        let hello = match &payload.body {
            Body::Hello(hello) if hello.identity.name != *name || hello.identity.boot != opened.boot => {
                return Err(Refusal::Malformed);
            }
            Body::Hello(hello) => Some(hello),
            _ => None,
        };
        let proof = hello.and_then(|hello| hello.echo.as_ref());
        let proof = proof.and_then(|echo| self.cookies.accept(echo, name, now));
        if let Some(peer) = self.peers.get_mut(name)
            && let Some(session) = &mut peer.session
            && session.boot == opened.boot
        {
            let behind = session.window.is_behind(opened.counter);
            let later = proof.is_some_and(|proof| proof > session.proven);
            if behind && later {
                // Somebody with the secret has counted ahead in its name.
                session.window = Window::after(opened.counter);
            } else if !session.window.see(opened.counter) {
                if behind && self.answers.allow(from.ip(), now) {
                    self.hello_at(from, name, hello.map(|hello| hello.cookie), true, now);
                }
                return Err(Refusal::Replay);
            }
            session.proven = session.proven.max(proof.unwrap_or_default());
            return Ok(());
        }
        // An older start of a process must not come back by frames of its last seconds. If it is in truth the
        // newer one, it learns from our answer which generation it must exceed.
        let later =
            |known: &Identity| hello.is_some_and(|hello| hello.identity.generation > known.generation);
        let known = self.peers.get(name).and_then(|peer| peer.identity.as_ref());
        let Some(proven) =
            proof.filter(|_| known.is_none_or(|known| known.boot == opened.boot || later(known)))
        else {
            if self.answers.allow(from.ip(), now) {
                self.hello_at(from, name, hello.map(|hello| hello.cookie), true, now);
            }
            return Err(Refusal::Unproven);
        };
        let unlisted = |peer: &&Peer| peer.session.is_some() && !peer.is_vouched_for();
        let known = self.peers.get(name).is_some_and(|peer| peer.session.is_some() || peer.listed.is_some());
        if (self.peers.len() >= Self::MAX_PEERS && !self.peers.contains_key(name))
            || (!known
                && !self.places.admit(name)
                && self.peers.values().filter(unlisted).count() >= UNLISTED)
        {
            return Err(Refusal::TooMany);
        }
        let peer = self.peers.entry(name.clone()).or_default();
        peer.session =
            Some(Session { boot: opened.boot, window: Window::after(opened.counter), proven, moved: None });
        self.profiles_changed = true;
        // Another process counts anew.
        (peer.told.version, peer.told.answers) = (None, false);
        self.incoming.forget(name);
        Ok(())
    }

    /// Somebody is alive, whatever it says.
    fn note_life(&mut self, name: &NodeName, now: Instant) {
        // Whoever hears nobody at all, and has no answer to its questions either, is likely to have been cut off,
        // and judges nobody by that.
        let isolated = now.saturating_duration_since(self.heard);
        if isolated > self.timing.silence + self.timing.confirm / 2 {
            self.monitor.restart(now);
        }
        self.heard = now;
        self.monitor.heard(name, now, now);
        self.still_there(name, now);
        if let Some(peer) = self.peers.get_mut(name) {
            peer.heard = Some(now);
        }
    }

    /// Somebody introduces itself.
    fn meet(
        &mut self,
        from: SocketAddr,
        name: &NodeName,
        hello: Hello,
        version: ProfileVersion,
        now: Instant,
    ) {
        let Hello { identity, profile, cookie, echo, reply, known, late } = hello;
        let counts = self.places.admit(name);
        if let Some(generation) = known.filter(|known| counts && *known > self.swim.identity().generation) {
            self.died(Death { generation, held_dead: false }, now);
        }
        let before = self.peers.get(name).and_then(|peer| peer.identity.as_ref()).map(|known| known.boot);
        self.swim.alive(identity.clone(), now);
        self.drain_swim(now);
        if counts {
            self.vouch(name, now);
        }
        let made = echo.and_then(|echo| self.cookies.accept(&echo, name, now));
        let echoed = echo.filter(|_| made.is_some());
        if let Some(peer) = self.peers.get_mut(name) {
            peer.knows_us.ticket = Some(cookie);
            peer.knows_us.no_longer &= made.is_none_or(|made| made < self.cautious_since);
        }
        if self.swim.is_down(&identity) {
            // It believes that only of somebody who has proved to be alive.
            if reply {
                self.hello_at(from, name, Some(cookie), false, now);
            }
            self.send_at(from, name, Body::Dead(identity));
            return;
        }
        if let Some(peer) = self.peers.get_mut(name) {
            // An earlier frame, overtaken by this one, does not unsay it.
            let it_was_known_to_be = peer.it_was_late;
            peer.it_was_late |= late;
            if peer.we_were_late && late && !it_was_known_to_be && peer.is_vouched_for() {
                // We both took part already, without each other.
                self.events.push_back(Event::Returned(name.clone()));
            }
            if !peer.wants_contact() {
                self.contacts.remove(name);
            }
        }
        self.learn_brief(name, profile, version);
        if reply {
            // Who has just become known to us may not know us, and has more to say when it does.
            let first = before != Some(identity.boot);
            self.hello_at(from, name, Some(cookie), first, now);
        }
        // Whom we hear may not hear us yet.
        if let Some(echo) = echoed {
            self.on_echo(name, &echo, now);
            self.hear_answer(name, version, now);
        }
    }

    /// Does what `name`, that is alive, asks for.
    fn dispatch(&mut self, name: &NodeName, body: Body, now: Instant) -> Result<(), Refusal> {
        match body {
            Body::Heartbeat | Body::Hello(_) | Body::ProfilePart(_) => {}
            Body::Pong => {
                if let Phase::Leaving(goodbye) = &mut self.phase {
                    goodbye.answered(name, now);
                }
            }
            Body::ProfileWanted(numbers) => self.send_profile(name, numbers),
            Body::ProfileNews { boot, version } => self.on_profile_news(name, boot, version, now),
            Body::RelayWanted { boot, numbers } => self.relay(name, boot, numbers),
            Body::RelayedPart { boot, version, part } => {
                self.take_relayed_part(name, boot, version, part)?;
            }
            Body::Ping => self.send(name, Body::Pong),
            Body::PingFor(asker) => self.send(name, Body::PongFor(asker)),
            Body::PongFor(asker) => self.send(&asker, Body::Heard { node: name.clone(), age: 0 }),
            Body::Ask(node) => {
                let heard = self.peers.get(&node).and_then(|peer| peer.heard);
                let age = heard.map(|at| now.saturating_duration_since(at).as_millis());
                let age = age.and_then(|age| u32::try_from(age).ok()).unwrap_or(NEVER);
                self.send(&node, Body::PingFor(name.clone()));
                self.send(name, Body::Heard { node, age });
            }
            Body::Heard { node, age } => {
                if age != NEVER
                    && let Some(at) = now.checked_sub(Duration::from_millis(age.into()))
                {
                    self.monitor.heard(&node, at, now);
                    if at > self.isolated_until {
                        self.still_there(&node, now);
                    }
                }
            }
            Body::Dead(identity) if identity.name == self.swim.identity().name => {
                self.on_own_death(name, &identity, now);
            }
            Body::Dead(identity) => self.on_death(identity, name.clone(), now),
            Body::Leave(absence) => self.on_goodbye(name, absence, now),
            Body::LeaveConfirmed => {
                if let Phase::Leaving(goodbye) = &mut self.phase {
                    goodbye.remove(name);
                }
            }
            Body::Bye => {
                // Whoever has not heard the goodbye does not know what it was for.
                self.on_goodbye(name, Absence::Open, now);
                if let Some(identity) = self.peers.get(name).and_then(|peer| peer.identity.clone()) {
                    self.swim.down(identity, now);
                }
            }
            Body::Swim(message) => {
                // What it says of others is for those to judge who are listed.
                let length =
                    if self.places.admit(name) { message.len() } else { Swim::header_length(&message)? };
                self.on_swim(name, &message[..length], now)?;
            }
        }
        Ok(())
    }

    /// `name` holds us dead. We object: by another life, or if that has begun already, by saying so.
    fn on_own_death(&mut self, name: &NodeName, identity: &Identity, now: Instant) {
        let own = self.swim.identity();
        if identity == own || (identity.name == own.name && identity.generation > own.generation) {
            self.died(Death { generation: identity.generation, held_dead: true }, now);
        } else if identity.name == self.swim.identity().name {
            self.hello(name, None, false, now);
        }
    }

    /// `name` is about to go.
    fn on_goodbye(&mut self, name: &NodeName, absence: Absence, now: Instant) {
        let own_role = self.role();
        let Some(peer) = self.peers.get_mut(name) else { return };
        if peer.standing == Standing::Alive {
            // Who takes over nothing, or goes as well, has nothing to bring to safety.
            let confirmed = own_role == Role::Observer
                || peer.role() == Some(Role::Observer)
                || matches!(self.phase, Phase::Leaving(_));
            let counted = peer.is_member();
            peer.standing = Standing::Leaving { confirmed };
            if counted {
                match absence {
                    Absence::Brief => self.away.begin(name.clone(), now),
                    Absence::Open => self.away.end_all(),
                }
                self.events.push_back(Event::Leaving { node: name.clone(), absence });
            }
            self.regroup(now);
        }
        if self.peers.get(name).is_some_and(|peer| peer.standing == Standing::Leaving { confirmed: true }) {
            self.send(name, Body::LeaveConfirmed);
        }
    }
}
