//! What a port says unasked, and when.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Answered, Begin, Effect, KnownMacs, Port, Purpose, Report, Transmission, TransmitPolicy};
use crate::inquiries;
use crate::protocol::Protocol;
use crate::schedule::Due;
use crate::watches;
use crate::{LATE, MacAddr};

impl<P: Protocol> Port<P> {
    /// When to call [`Self::poll`] next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = !self.effects.is_empty() || !self.memberships.is_empty();
        let due = || self.due().into_iter().chain(self.inquiries.poll_timeout()).min();
        if waiting { Some(self.since) } else { due() }
    }

    /// Something to do now.
    pub fn poll(&mut self, now: Instant) -> Option<Effect> {
        while self.effects.is_empty() {
            if self.inquire_on(now) {
                continue;
            }
            match self.due() {
                Some(due) if now > due + LATE => self.hold(now),
                Some(due) if now >= due => self.act(now),
                Some(_) | None => return self.memberships.pop_front(),
            }
        }
        self.effects.pop_front()
    }

    /// Asks for, or tells of, an address that somebody wants to know about. Whether there was one.
    pub(super) fn inquire_on(&mut self, now: Instant) -> bool {
        let Some((vip, step)) = self.inquiries.poll(now) else { return false };
        match step {
            inquiries::Step::Ask => self.send(vip, Purpose::Inquiry, self.protocol.ask(vip), now),
            inquiries::Step::Done(by) => {
                let answered = Answered { vip: vip.into(), here: self.answers(vip), by };
                self.push(Effect::Answered(answered), now);
            }
        }
        true
    }

    /// When something is to be said unasked.
    fn due(&self) -> Option<Instant> {
        match self.transmit_policy {
            TransmitPolicy::Normal => {}
            TransmitPolicy::ReplyOnly | TransmitPolicy::Muted => return None,
        }
        let rest = self.rest.front().map(|_| self.since);
        let frames = [
            self.claims.poll_timeout(),
            self.rivals.poll_timeout(),
            self.echoes.poll_timeout(),
            self.watches.poll_timeout(),
            self.probes.question_timeout(),
            self.schedule.poll_timeout(),
            rest,
        ];
        let frame = frames.into_iter().flatten().min().map(|at| at.max(self.next_frame));
        // That an address is free takes no frame, and it is answered for from then on.
        frame.into_iter().chain(self.probes.silence_timeout()).min().map(|at| at.max(self.held))
    }

    /// Does one thing that is due: sends one frame at most.
    ///
    /// Of many addresses that are taken over at once, first all are asked for, then all are announced by a first frame,
    /// then come second frames and repeats. So all are answered for as early as the pace allows.
    fn act(&mut self, now: Instant) {
        if let Some(vip) = self.probes.poll_silence(now) {
            self.schedule.take_over(vip, now);
            self.echoes.taken_over(vip, now);
            return self.report(Report::Free { vip: vip.into() }, now);
        }
        if now < self.next_frame {
            return;
        }
        let (protocol, known_macs) = (&self.protocol, &self.known_macs);
        let foreign = |mac| known_macs.unknown == 0 && is_foreign(mac, protocol, known_macs);
        if let Some((vip, by)) = self.claims.poll(now, foreign) {
            self.announce(vip, Purpose::Defence, now);
            return self.report(Report::Claimed { vip: vip.into(), by }, now);
        }
        // Whether somebody who answered as well goes on.
        if let Some(vip) = self.rivals.poll(now).or_else(|| self.echoes.poll(now)) {
            if self.answers(vip) {
                self.send(vip, Purpose::Probe, self.protocol.ask(vip), now);
            }
            return;
        }
        if let Some(vip) = self.probes.poll_question(now) {
            return self.send(vip, Purpose::Probe, self.protocol.probe(vip), now);
        }
        match self.watches.poll(now) {
            Some(watches::Step::Ask(vip)) => {
                return self.send(vip, Purpose::Probe, self.protocol.ask(vip), now);
            }
            Some(watches::Step::Silent(vip)) if self.orders.contains_key(&vip) => {
                // A peer that said that it has it has ceased to, and whoever believed it goes on by that.
                if self.heard_claims.contains_key(&vip) && self.says_unasked(vip) {
                    self.announce(vip, Purpose::Takeover, now);
                }
                return;
            }
            Some(watches::Step::Silent(vip)) => return self.report(Report::Silent { vip: vip.into() }, now),
            None => {}
        }
        if self.schedule.waits_first(now) || self.rest.is_empty() {
            match self.schedule.poll(now) {
                Some(Due::First(vip)) => {
                    self.announce(vip, Purpose::Takeover, now);
                    let takeover = self.orders[&vip].takeover;
                    self.report(Report::Spoken { vip: vip.into(), takeover }, now);
                }
                Some(Due::Repeat(vip)) => self.announce(vip, Purpose::Takeover, now),
                Some(Due::Refresh(vip)) => self.send(vip, Purpose::Refresh, self.protocol.refresh(vip), now),
                None => {}
            }
        } else if let Some(sent) = self.rest.pop_front() {
            // Thousands of addresses may have been taken over at once.
            if self.rest.is_empty() {
                self.rest = VecDeque::new();
            }
            self.next_frame = now + self.frame_gap;
            self.push(Effect::Send(sent), now);
        }
    }

    fn says_unasked(&self, vip: P::Ip) -> bool {
        self.answers(vip) && self.orders.get(&vip).is_some_and(|order| order.begin != Begin::Answer)
    }

    fn announce(&mut self, vip: P::Ip, purpose: Purpose, now: Instant) {
        let mut frames = self.protocol.announcements(vip).into_iter();
        if let Some(first) = frames.next() {
            self.send(vip, purpose, first, now);
        }
        self.rest.extend(frames.map(|frame| Transmission { vip: vip.into(), purpose, frame }));
    }

    fn send(&mut self, vip: P::Ip, purpose: Purpose, frame: Vec<u8>, now: Instant) {
        self.next_frame = now + self.frame_gap;
        self.push(Effect::Send(Transmission { vip: vip.into(), purpose, frame }), now);
    }
}

fn is_foreign(mac: MacAddr, protocol: &impl Protocol, known_macs: &KnownMacs) -> bool {
    mac != protocol.mac() && !known_macs.contacts.contains_key(&mac)
}
