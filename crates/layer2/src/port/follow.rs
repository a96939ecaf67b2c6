//! How a port follows what it is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::receive::FOLLOWED;
use super::{Begin, Contact, Effect, KnownMacs, Order, Port, Purpose, Report, Stance, Transmission};
use crate::MacAddr;
use crate::probes::Care;
use crate::protocol::Protocol;

/// Who is found dead now may have been so for that long: the slowest preset takes as much.
pub(super) const LATELY: Duration = Duration::from_millis(2500);

impl<P: Protocol> Port<P> {
    /// The addresses to announce from now on. Those that stay under the same takeover notice nothing.
    pub fn set_orders(&mut self, orders: BTreeMap<P::Ip, Order>, now: Instant) {
        let before = std::mem::replace(&mut self.orders, orders);
        // There may be thousands, of which one is new.
        let different = self.orders.iter().filter(|(vip, order)| before.get(*vip) != Some(*order));
        let different: Vec<(P::Ip, Order)> = different.map(|(vip, order)| (*vip, *order)).collect();
        for (vip, order) in different {
            let known = before.get(&vip);
            if known.is_some_and(|known| known.takeover == order.takeover) {
                if known.is_some_and(|known| known.stance != order.stance) && !self.probes.contains(vip) {
                    match order.stance {
                        Stance::Alone => {}
                        Stance::Yields => {
                            self.silence(vip);
                            self.probes.wait(vip, now);
                        }
                        Stance::Insists(_) => {
                            self.schedule.take_over(vip, now);
                            self.rivals.overrule(vip, now);
                        }
                    }
                }
                continue;
            }
            let asks = self.probes.contains(vip);
            let answers = known.is_some() && !asks;
            let begin = match order.begin {
                Begin::Ask if answers => Begin::Announce,
                // What was not found free does not become so by another takeover.
                Begin::Announce | Begin::Answer if asks => Begin::Ask,
                begin => begin,
            };
            match begin {
                Begin::Probe | Begin::Ask => {
                    let care = if begin == Begin::Probe { Care::New } else { Care::Takeover };
                    self.claims.withdraw(vip);
                    self.schedule.withdraw(vip);
                    self.probes.begin(vip, care, now);
                }
                Begin::Announce => {
                    self.silence(vip);
                    self.schedule.take_over(vip, now);
                }
                Begin::Answer => {
                    self.silence(vip);
                    // Two that say nothing unasked would not hear of each other.
                    self.watches.begin(vip, now + FOLLOWED);
                    self.report(Report::Spoken { vip: vip.into(), takeover: order.takeover }, now);
                }
            }
            if let Some(group) = P::group(vip).filter(|group| known.is_none() && self.groups.add(*group)) {
                self.memberships.push_back(Effect::Join(group));
            }
        }
        for vip in before.into_keys() {
            if self.orders.contains_key(&vip) {
                continue;
            }
            self.silence(vip);
            self.watches.end(vip);
            // Who else answers for what is given up here may be asked for at once.
            if let Some(ask) = self.watched.get(&vip) {
                self.watches.begin(vip, *ask);
            }
            if let Some(group) = P::group(vip).filter(|group| self.groups.remove(*group)) {
                self.memberships.push_back(Effect::Leave(group));
            }
        }
        self.since = now;
        // What was about to be said of those that left, or are asked for now, is not said.
        let (orders, probes, watches) = (&self.orders, &self.probes, &self.watches);
        let may_be_said = |vip: P::Ip, purpose| match purpose {
            Purpose::Inquiry => true,
            Purpose::Probe => orders.contains_key(&vip) || watches.contains(vip),
            Purpose::Answer | Purpose::Takeover | Purpose::Refresh | Purpose::Defence => {
                orders.contains_key(&vip) && !probes.contains(vip)
            }
        };
        let stays = |sent: &Transmission| P::own(sent.vip).is_some_and(|vip| may_be_said(vip, sent.purpose));
        self.rest.retain(stays);
        self.rivals.retain(|vip, _| orders.contains_key(&vip));
        self.echoes.retain(|vip| orders.contains_key(&vip));
        self.heard_claims.retain(|vip, _| orders.contains_key(vip));
        self.effects.retain(|effect| match effect {
            Effect::Send(sent) => stays(sent),
            Effect::Report(_) | Effect::Join(_) | Effect::Leave(_) | Effect::Answered(_) => true,
        });
    }

    /// The addresses of which is to be known whether somebody answers, none of which is announced here, and when the LAN is
    /// to be asked for each if nobody is heard before. Each is watched once; with another time, again.
    pub fn set_watched(&mut self, watched: BTreeMap<P::Ip, Instant>) {
        for vip in self.watched.keys().filter(|vip| !watched.contains_key(vip)) {
            self.watches.end(*vip);
        }
        for (vip, ask) in watched.iter().filter(|(vip, ask)| self.watched.get(*vip) != Some(*ask)) {
            self.watches.end(*vip);
            self.watches.begin(*vip, *ask);
        }
        self.watched = watched;
    }

    /// The stations that are no foreign hosts from now on.
    pub fn set_known_macs(&mut self, known_macs: KnownMacs, now: Instant) {
        if self.known_macs == known_macs {
            return;
        }
        let unheard = |known_macs: &KnownMacs, mac| known_macs.contacts.get(mac) == Some(&Contact::Unheard);
        let heard = self
            .known_macs
            .contacts
            .keys()
            .any(|mac| unheard(&self.known_macs, mac) && !unheard(&known_macs, mac));
        let known = self.known_macs.unknown + self.known_macs.unseen > known_macs.unknown + known_macs.unseen;
        self.known_macs = known_macs;
        if heard || known {
            // Who is not known as yet may be one of those that are still to be heard.
            let KnownMacs { contacts, unseen, unknown: _ } = &self.known_macs;
            self.rivals.retain(|_, by| *unseen > 0 && !contacts.contains_key(&by));
            self.probes.look_again(now);
        }
        let lately = |(_, at): &(MacAddr, Instant)| now < *at + LATELY;
        let silent = |by: &MacAddr| self.known_macs.contacts.get(by) == Some(&Contact::Unheard);
        let rivals = self.heard_claims.extract_if(.., |_, it| silent(&it.0)).filter(|(_, it)| lately(it));
        for (vip, (by, _)) in rivals.collect::<Vec<_>>() {
            if self.orders.contains_key(&vip) && !self.probes.contains(vip) {
                self.on_rival(by, vip, now);
            }
        }
    }
}
