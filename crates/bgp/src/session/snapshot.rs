//! A session as it goes from one process to the next on the same node, together with its connection.
//!
//! Only plain values are in it, for whatever writes them down. Both processes have to know the same fields: whoever changes one
//! has them tell each other so beforehand.

mod config;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use objects::Family;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use timers::Timers;

use super::agree::Peer;
use super::backoff::Backoff;
use super::{Counters, Departure, Local, Past, Session, State, Timer};
use crate::config::{Families, HoldTime, SessionKind};
use crate::rib_out::{Agreement, NextHops, Progress, RibOut, SaidGroup};
use crate::route::{
    Attributes, Communities, Community, LargeCommunity, LinkBandwidth, LocalPreference, Prefix, Prepend,
};
use crate::wire::attributes::{AsnWidth, Context};
use crate::wire::header::Assembly;

/// An established session, taken down by [`Session::snapshot`] and gone on with by [`Session::resume`]. It may hold a password,
/// which is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is another value in a text")]
pub struct Snapshot {
    config: config::Form,
    /// The addresses of this end.
    address: IpAddr,
    other_address: Option<IpAddr>,
    /// What was agreed on.
    hold_seconds: u16,
    families: FamiliesForm,
    next_hop_v4: Option<IpAddr>,
    next_hop_v6: Option<Ipv6Addr>,
    is_internal: bool,
    has_four_octet_asns: bool,
    takes_extended_next_hops: bool,
    keeps_routes: bool,
    /// How long until the peer is held to be gone, and until it is given the next sign of life.
    hold_left: Option<Duration>,
    keepalive_left: Option<Duration>,
    /// The beginning of a message, which is not complete.
    received: Vec<u8>,
    /// What the peer was told.
    said: Vec<GroupForm>,
    ends: FamiliesForm,
    is_complete: bool,
}

/// What makes no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} of the session makes no sense")]
pub struct InvalidSnapshot(&'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FamiliesForm {
    v4: bool,
    v6: bool,
}

/// Prefixes with the same attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupForm {
    local_preference: u32,
    communities: Vec<u32>,
    large_communities: Vec<[u32; 3]>,
    prepend: u8,
    link_megabits: Option<NonZeroU32>,
    is_stale: bool,
    prefixes: Vec<String>,
}

/// For whoever may be shown it: nothing but whose it is.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.config.name())
    }
}

impl Snapshot {
    pub(super) fn of(session: &Session, now: Instant) -> Option<Self> {
        let Session {
            config,
            past: _,
            state,
            timers,
            backoff: _,
            assembly,
            local,
            peer,
            rib,
            departure,
            outputs,
            counters: _,
            random: _,
        } = session;
        if *state != State::Established || *departure != Departure::None || !outputs.is_empty() {
            return None;
        }
        let Peer { hold, agreement, extended, keeps_routes } = (*peer)?;
        let Agreement { families, next_hops, context: Context { kind, asn: _, asn_width } } = agreement;
        let Local { address, other } = (*local)?;
        let left = |timer| timers.at(&timer).map(|at: Instant| at.saturating_duration_since(now));
        let Progress { said, ends, complete } = rib.progress();
        Some(Self {
            config: config::Form::of(config),
            address,
            other_address: other,
            hold_seconds: hold.seconds(),
            families: FamiliesForm::of(families.iter()),
            next_hop_v4: next_hops.v4,
            next_hop_v6: next_hops.v6,
            is_internal: kind == SessionKind::Internal,
            has_four_octet_asns: asn_width == AsnWidth::Four,
            takes_extended_next_hops: extended,
            keeps_routes,
            hold_left: left(Timer::Hold),
            keepalive_left: left(Timer::Keepalive),
            received: assembly.part().to_vec(),
            said: said.iter().map(GroupForm::of).collect(),
            ends: FamiliesForm::of(ends.into_iter()),
            is_complete: complete,
        })
    }

    pub(super) fn resume(self, seed: u64, now: Instant) -> Result<Session, InvalidSnapshot> {
        let config = self.config.read()?;
        let hold = HoldTime::from_seconds(self.hold_seconds).ok_or(InvalidSnapshot("the hold time"))?;
        let families = self.families.read().ok_or(InvalidSnapshot("that no family is exchanged"))?;
        let context = Context {
            kind: if self.is_internal { SessionKind::Internal } else { SessionKind::External },
            asn: config.asns.told(),
            asn_width: if self.has_four_octet_asns { AsnWidth::Four } else { AsnWidth::Two },
        };
        let next_hops = NextHops { v4: self.next_hop_v4, v6: self.next_hop_v6 };
        let agreement = Agreement { families, next_hops, context };
        let mut timers = Timers::default();
        let dues = [(Timer::Hold, self.hold_left), (Timer::Keepalive, self.keepalive_left)];
        for (timer, left) in dues {
            if let Some(left) = left {
                // No timer of a session is longer than the hold time.
                let at = hold.duration().filter(|hold| left <= *hold).map(|_| now + left);
                timers.set(timer, at.ok_or(InvalidSnapshot("a timer"))?);
            }
        }
        // Without a hold time there is none of them, and with one there are both.
        if dues.iter().any(|(_, left)| left.is_some() != hold.duration().is_some()) {
            return Err(InvalidSnapshot("that a timer is missing"));
        }
        let assembly = Assembly::with(&self.received).ok_or(InvalidSnapshot("the message"))?;
        let said = self.said.into_iter().map(GroupForm::read).collect::<Option<_>>();
        let said = said.ok_or(InvalidSnapshot("a route"))?;
        let ends: BTreeSet<Family> = self.ends.read().into_iter().flat_map(Families::iter).collect();
        let progress = Progress { said, ends, complete: self.is_complete };
        let mut backoff = Backoff::default();
        backoff.established(now);
        Ok(Session {
            config,
            past: Past::Connected,
            state: State::Established,
            timers,
            backoff,
            assembly,
            local: Some(Local { address: self.address, other: self.other_address }),
            peer: Some(Peer {
                hold,
                agreement,
                extended: self.takes_extended_next_hops,
                keeps_routes: self.keeps_routes,
            }),
            rib: RibOut::resume(agreement, progress),
            departure: Departure::None,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            random: SmallRng::seed_from_u64(seed),
        })
    }
}

impl FamiliesForm {
    fn of(families: impl Iterator<Item = Family>) -> Self {
        let mut form = Self { v4: false, v6: false };
        for family in families {
            match family {
                Family::V4 => form.v4 = true,
                Family::V6 => form.v6 = true,
            }
        }
        form
    }

    fn read(self) -> Option<Families> {
        Families::of(self.v4, self.v6)
    }
}

impl GroupForm {
    fn of(SaidGroup { attributes, stale, prefixes }: &SaidGroup) -> Self {
        let Attributes { local_preference, communities, large_communities, prepend, link_bandwidth } =
            &**attributes;
        let large = |LargeCommunity { global, local_1, local_2 }| [global, local_1, local_2];
        Self {
            local_preference: local_preference.0,
            communities: communities.iter().map(Community::value).collect(),
            large_communities: large_communities.iter().map(large).collect(),
            prepend: prepend.times(),
            link_megabits: link_bandwidth.and_then(|it| NonZeroU32::new(it.megabits())),
            is_stale: *stale,
            prefixes: prefixes.iter().map(Prefix::to_string).collect(),
        }
    }

    fn read(self) -> Option<SaidGroup> {
        let large = |[global, local_1, local_2]: [u32; 3]| LargeCommunity { global, local_1, local_2 };
        let attributes = Arc::new(Attributes {
            local_preference: LocalPreference(self.local_preference),
            communities: Communities::new(self.communities.into_iter().map(Community::from)).ok()?,
            large_communities: Communities::new(self.large_communities.into_iter().map(large)).ok()?,
            prepend: Prepend::new(self.prepend)?,
            link_bandwidth: self.link_megabits.map(LinkBandwidth::from_megabits),
        });
        let prefixes = self.prefixes.iter().map(|it| it.parse().ok()).collect::<Option<_>>()?;
        Some(SaidGroup { attributes, stale: self.is_stale, prefixes })
    }
}
