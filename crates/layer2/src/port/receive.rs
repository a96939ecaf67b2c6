//! What a port makes of what it hears.

use std::time::{Duration, Instant};

use super::follow::LATELY;
use super::{Contact, Effect, Port, Purpose, Report, Transmission, TransmitPolicy};
use crate::probes::Found;
use crate::protocol::{Ignored, Protocol, Question};
use crate::{LATE, MacAddr};

/// A peer that takes over or hands over has followed what has changed by then. One that has not is asked to give the address
/// up, which it does within some tenths of a second: two answer for less than a second.
pub(super) const FOLLOWED: Duration = Duration::from_millis(500);

impl<P: Protocol> Port<P> {
    /// Takes in a frame that reached this node when it was `received`. What follows from it comes out of
    /// [`Self::poll`], and if that is an answer, it comes first.
    ///
    /// A question that had to wait for long is not answered: this program stood still, the address may be
    /// somebody else's by now, and who asked will ask again.
    pub fn handle(&mut self, frame: &[u8], received: Instant, now: Instant) -> Result<(), Ignored> {
        if now > received + LATE {
            self.hold(now);
        }
        let heard = self.protocol.hear(frame)?;
        if !heard.by.is_station() {
            return Err(Ignored::BadSender(heard.by));
        }
        if heard.by != self.protocol.mac()
            && self.known_macs.contacts.get(&heard.by) == Some(&Contact::Own)
            && self.same_lan.insert(heard.by)
        {
            self.report(Report::SameLan { by: heard.by }, now);
        }
        let wanted = heard.claims.is_some_and(|vip| self.inquiries.heard(vip, heard.by));
        if let Some(vip) =
            heard.claims.filter(|vip| self.watched.contains_key(vip) && self.watches.contains(*vip))
            && heard.by != self.protocol.mac()
        {
            return self.on_watched(heard.by, vip, now);
        }
        let ours = heard.claims.filter(|vip| self.orders.contains_key(vip));
        let claim = ours.map(|vip| self.on_claim(heard.by, vip, heard.answers, now));
        let question = heard.asks.map(|question| self.on_question(heard.by, question, received, now));
        match (claim, question) {
            (Some(Ok(())), _) | (_, Some(Ok(()))) => Ok(()),
            _ if wanted => Ok(()),
            (_, Some(Err(ignored))) | (Some(Err(ignored)), None) => Err(ignored),
            (None, None) => Err(Ignored::NotOurs),
        }
    }

    /// `by` says that it has `vip`, one of ours, maybe because somebody asked.
    fn on_claim(&mut self, by: MacAddr, vip: P::Ip, answers: bool, now: Instant) -> Result<(), Ignored> {
        match self.known_macs.contacts.get(&by) {
            _ if by == self.protocol.mac() => return Err(Ignored::Peer),
            Some(Contact::Own | Contact::Leaving) => return Err(Ignored::Peer),
            // Who leaves is not needed for what somebody has taken over.
            Some(Contact::Heard) if self.transmit_policy == TransmitPolicy::ReplyOnly && !answers => {
                self.handed_over.insert(vip);
                return Err(Ignored::Peer);
            }
            Some(Contact::Heard) => {
                if self.watches.is_asking(vip) {
                    self.watches.end(vip);
                    self.report(Report::Answered { vip: vip.into(), by }, now);
                } else {
                    self.watches.begin(vip, now + FOLLOWED);
                }
                self.heard_claims.retain(|_, (_, at)| now < *at + LATELY);
                if !self.probes.contains(vip) {
                    self.heard_claims.insert(vip, (by, now));
                    if answers && self.echoes.goes_on(vip, by, now) {
                        self.report(Report::PeerAnswers { vip: vip.into(), by }, now);
                    }
                } else if answers {
                    self.echoes.heard(vip, by);
                }
                return Err(Ignored::Peer);
            }
            Some(Contact::Unheard) if self.probes.contains(vip) => {
                if self.probes.held(vip, by, now) == Found::News {
                    self.report(Report::Held { vip: vip.into(), by }, now);
                }
            }
            Some(Contact::Unheard) => self.on_rival(by, vip, now),
            // A router may answer late; it does not announce.
            None if self.overrules && answers && !self.rivals.contains(vip, by) => {
                return Err(Ignored::Overruled);
            }
            // It may be one of those that were never heard, to which this node is as unknown.
            None if self.known_macs.unseen > 0 && !self.probes.contains(vip) => self.on_rival(by, vip, now),
            None if !self.probes.contains(vip) => self.claims.heard(vip, by, now),
            None if self.overrules && self.known_macs.unseen == 0 && !self.rivals.contains(vip, by) => {
                return Err(Ignored::Overruled);
            }
            // It may be a peer; then it may go as one, or be heard soon. Who announces is no router, and is believed when
            // it answers as well.
            None if self.known_macs.unknown + self.known_macs.unseen > 0 => {
                if self.overrules && !answers {
                    self.rivals.announced(vip, by, now);
                }
                let found = if self.known_macs.unknown > 0 {
                    self.probes.held_by_a_member(vip, by, now)
                } else {
                    self.probes.held(vip, by, now)
                };
                if found == Found::News {
                    let is_takeover = self.probes.is_takeover(vip);
                    let vip = vip.into();
                    let report =
                        if is_takeover { Report::Held { vip, by } } else { Report::Taken { vip, by } };
                    self.report(report, now);
                }
            }
            None => {
                if self.probes.taken(vip, by, now) == Found::News {
                    self.report(Report::Taken { vip: vip.into(), by }, now);
                }
            }
        }
        Ok(())
    }

    /// `by` says that it has `vip`, which others should announce. Before the LAN is asked, that may be whoever had it until
    /// now, or a stranger.
    fn on_watched(&mut self, by: MacAddr, vip: P::Ip, now: Instant) -> Result<(), Ignored> {
        let is_peer = self.known_macs.contacts.contains_key(&by);
        let is_asking = self.watches.is_asking(vip);
        if is_asking {
            self.watches.end(vip);
        }
        if is_asking || is_peer {
            self.report(Report::Answered { vip: vip.into(), by }, now);
        }
        if is_peer { Err(Ignored::Peer) } else { Ok(()) }
    }

    /// `by`, which is not heard, says that it has `vip`, which is announced here.
    pub(super) fn on_rival(&mut self, by: MacAddr, vip: P::Ip, now: Instant) {
        if self.rivals.heard(vip, by, now) == Found::News {
            self.report(Report::Rival { vip: vip.into(), by }, now);
        }
    }

    fn on_question(
        &mut self,
        by: MacAddr,
        question: Question<P::Ip>,
        received: Instant,
        now: Instant,
    ) -> Result<(), Ignored> {
        let Question { target: vip, asker: _ } = question;
        if !self.orders.contains_key(&vip) {
            return Err(Ignored::NotAnnounced);
        }
        if self.probes.contains(vip) {
            // Who asks claims nothing, be it to find out whether it may take the address.
            return Err(Ignored::NotAnnounced);
        }
        if self.transmit_policy == TransmitPolicy::Muted || self.handed_over.contains(&vip) {
            return Err(Ignored::Muted);
        }
        if now > received + LATE {
            return Err(Ignored::Stale);
        }
        if now < self.held {
            return Err(Ignored::Muted);
        }
        let frame = self.protocol.answer(by, question);
        self.since = now;
        // Somebody waits for it.
        self.effects.push_front(Effect::Send(Transmission {
            vip: vip.into(),
            purpose: Purpose::Answer,
            frame,
        }));
        Ok(())
    }
}
