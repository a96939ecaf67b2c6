//! One interface, by one protocol: everything there is to decide about it.

mod effects;
mod follow;
mod orders;
mod receive;
mod transmit;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

pub use effects::{Answered, Effect, Purpose, Report, Transmission};
pub use orders::{Begin, Contact, KnownMacs, Order, Stance, TransmitPolicy};

use crate::claims::Claims;
use crate::echoes::Echoes;
use crate::groups::Groups;
use crate::inquiries::Inquiries;
use crate::probes::Probes;
use crate::protocol::Protocol;
use crate::rivals::Rivals;
use crate::schedule::Schedule;
use crate::watches::Watches;
use crate::{MacAddr, PATIENCE};

/// An interface as ARP or NDP sees it: answers for addresses there, announces them, and notices who else
/// has them.
///
/// Tell it what it should do and what it receives; then, and whenever [`Port::poll_timeout`] says so, call
/// [`Port::poll`] until it returns `None`, and do what it returns. `now` never goes back.
///
/// ```text
///              Begin::Probe, Begin::Ask           nobody has it: Free
///   set_orders ---------------------> probes (asking) ---------------> schedule (announced)
///       |                                                                ^
///       +----------------------------------------------------------------+
///       |         Begin::Announce
///       +---------------> (answered for, no more)
///          Begin::Answer
///
///   handle: a question ---> answered, if the address is announced
///           a claim    ---> of a foreign host: probes (Taken), or defended if it is announced (Claimed)
///                           of a peer whose gossip is not heard: probes (Held), or reported if it is announced (Rival)
/// ```
#[derive(Debug)]
pub struct Port<P: Protocol> {
    protocol: P,
    /// The addresses to announce here. Those that are not in `probes` are answered for.
    orders: BTreeMap<P::Ip, Order>,
    known_macs: KnownMacs,
    probes: Probes<P::Ip>,
    claims: Claims<P::Ip>,
    inquiries: Inquiries<P::Ip>,
    schedule: Schedule<P::Ip>,
    groups: Groups,
    effects: VecDeque<Effect>,
    /// What is left of announcements of which a first frame was sent.
    rest: VecDeque<Transmission>,
    /// The least time between two frames that nobody asked for, and when the next may go out.
    frame_gap: Duration,
    next_frame: Instant,
    rivals: Rivals<P::Ip>,
    echoes: Echoes<P::Ip>,
    /// Who of the peers that are heard claimed what is announced here, and when: it may turn out to be heard no more.
    heard_claims: BTreeMap<P::Ip, (MacAddr, Instant)>,
    /// Addresses of which is to be known who answers for them, and those of them that were ordered.
    watches: Watches<P::Ip>,
    watched: BTreeMap<P::Ip, Instant>,
    /// What a peer has taken over from this node, which leaves.
    handed_over: BTreeSet<P::Ip>,
    /// Interfaces of this node that are heard here, as far as that is known or was told.
    same_lan: BTreeSet<MacAddr>,
    /// Whether foreign hosts that answer count for nothing.
    overrules: bool,
    /// Memberships to begin and to end when there is nothing else to do: each takes its time, and those who
    /// know an address already wait for the news that it has moved.
    memberships: VecDeque<Effect>,
    /// When what waits came about.
    since: Instant,
    /// Nothing is said unasked before.
    held: Instant,
    transmit_policy: TransmitPolicy,
}

impl<P: Protocol> Port<P> {
    /// Has no orders yet. Addresses are refreshed every `refresh_interval`, if at all, with some jitter
    /// that comes from `seed`.
    pub fn new(protocol: P, refresh_interval: Option<Duration>, seed: u64, now: Instant) -> Self {
        Self {
            protocol,
            orders: BTreeMap::new(),
            known_macs: KnownMacs::default(),
            probes: Probes::new(seed),
            claims: Claims::new(),
            inquiries: Inquiries::new(),
            schedule: Schedule::new(refresh_interval, seed),
            groups: Groups::default(),
            effects: VecDeque::new(),
            rest: VecDeque::new(),
            frame_gap: Duration::ZERO,
            next_frame: now,
            rivals: Rivals::new(),
            echoes: Echoes::new(),
            heard_claims: BTreeMap::new(),
            watches: Watches::new(),
            watched: BTreeMap::new(),
            handed_over: BTreeSet::new(),
            same_lan: BTreeSet::new(),
            overrules: false,
            memberships: VecDeque::new(),
            since: now,
            held: now,
            transmit_policy: TransmitPolicy::Normal,
        }
    }

    /// How much to say from now on. What should have been said meanwhile is said then, if it is still to be.
    pub fn set_transmit_policy(&mut self, transmit_policy: TransmitPolicy) {
        self.transmit_policy = transmit_policy;
    }

    /// Whether foreign hosts that answer for an address count for nothing, as where a router answers for all of them.
    pub fn set_overrules(&mut self, overrules: bool) {
        self.overrules = overrules;
    }

    /// The interfaces of this node that are known to be on this LAN. Any other that is heard is [told](Report::SameLan), also
    /// one that was told before: it may have been elsewhere meanwhile.
    pub fn set_same_lan(&mut self, known: BTreeSet<MacAddr>) {
        self.same_lan = known;
    }

    /// The least time between two frames that nobody asked for.
    pub fn set_frame_gap(&mut self, gap: Duration) {
        self.frame_gap = gap;
    }

    /// The least time between two refreshes, of whichever addresses. It makes no burst wait.
    pub fn set_refresh_gap(&mut self, gap: Duration) {
        self.schedule.set_refresh_gap(gap);
    }

    /// This process stood still until `went_on`. Until the news of what happened meanwhile have been read, nothing is said.
    pub fn stood_still(&mut self, went_on: Instant) {
        self.hold(went_on);
    }

    /// Asks the LAN who answers for `vip`, which need not be announced here, and tells in a moment
    /// ([`Effect::Answered`]). Nothing else follows from it, and no station learns anything from the questions. It is
    /// asked under whichever transmit policy: a question claims nothing. False if too many addresses are asked for.
    pub fn inquire(&mut self, vip: P::Ip, now: Instant) -> bool {
        self.inquiries.begin(vip, now)
    }

    /// Whether who asks for `vip` is answered.
    pub fn answers(&self, vip: P::Ip) -> bool {
        let ours = self.orders.contains_key(&vip) && !self.probes.contains(vip);
        ours && self.transmit_policy != TransmitPolicy::Muted && !self.handed_over.contains(&vip)
    }

    /// This program stood still. The addresses may be somebody else's by now, and the news of that may be
    /// waiting to be read: that comes first.
    fn hold(&mut self, went_on: Instant) {
        self.held = self.held.max(went_on + PATIENCE);
    }

    /// Nothing that was begun for `vip` goes on.
    fn silence(&mut self, vip: P::Ip) {
        self.probes.withdraw(vip);
        self.claims.withdraw(vip);
        self.schedule.withdraw(vip);
        self.rest.retain(|sent| sent.vip != vip.into());
    }

    fn report(&mut self, report: Report, now: Instant) {
        self.push(Effect::Report(report), now);
    }

    fn push(&mut self, effect: Effect, now: Instant) {
        self.since = now;
        self.effects.push_back(effect);
    }
}

#[cfg(test)]
mod tests;
