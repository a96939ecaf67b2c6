//! What this speaker is without and goes on without, until it has it again: that shows on `/readyz`, in an event on its
//! node, in the metric `ferrolb_speaker_impaired` and in the log. All kinds, with what is said of each, are here.
//!
//! Addresses stay where they are meanwhile. A Pod that is not ready for one of these serves what it can, and nobody
//! restarts it. Where the fault may lie outside of the node, it is ready again after [`LIMIT`], lest a rollout waits for
//! ever for one node; the metric still says so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::input::Trouble;
use crate::output::Notice;

/// For how long at a stretch a speaker is not ready for what may lie outside of its node.
const LIMIT: Duration = Duration::from_mins(5);

/// What a speaker can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impairment {
    /// All other speakers, though their nodes are alive as the API server has it, or answer on the LAN.
    Peers,
    /// The API server.
    Api,
    /// The address or port of the gossip.
    GossipAddress,
    /// The key of the other speakers.
    GossipKey,
    /// Word of the interfaces, which are taken for what they were last.
    Netlink,
    /// A packet socket on some interface.
    PacketSockets,
}

/// What becomes of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impact {
    /// None: all is there.
    None,
    /// This speaker is not ready.
    NotReady,
    /// It is still missing, but that keeps nobody waiting any more.
    Tolerated,
}

/// How sure it is that something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Certainty {
    /// The others may be dead, which the API server says after a minute; the API server may be back in a moment.
    Likely,
    /// It is seen: a peer answers on the LAN whose gossip is not heard, or the kernel refuses something.
    Proven,
}

impl Impairment {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Peers, Self::Api, Self::GossipAddress, Self::GossipKey, Self::Netlink, Self::PacketSockets];

    /// What `/readyz` says.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peers => "other speakers, none of which is heard",
            Self::Api => "the API server, which cannot be reached",
            Self::GossipAddress => "gossip, whose address or port cannot be had",
            Self::GossipKey => "gossip, for the other speakers use another key",
            Self::Netlink => "netlink, which tells of the interfaces (see the log)",
            Self::PacketSockets => "packet sockets (see the log)",
        }
    }

    /// What the metric calls it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Api => "api",
            Self::GossipAddress => "gossip_address",
            Self::GossipKey => "gossip_key",
            Self::Netlink => "netlink",
            Self::PacketSockets => "packet_sockets",
        }
    }

    /// The event on the node that says what it means; `None` where there is nobody to send it to.
    pub fn notice(self) -> Option<Notice> {
        let message = match self {
            Self::Peers => {
                "the speaker hears no other speaker, though there are some: addresses may be announced from other nodes \
                 unseen, and this node takes over nothing that answers on the LAN. Check that the gossip port is open \
                 between all nodes, and that they have the same key"
            }
            Self::Api => return None,
            Self::GossipAddress => {
                "the speaker can't have the address or port of its gossip, and takes no address over until it can: is \
                 UDP port 7946 free on this node?"
            }
            Self::GossipKey => {
                "the other speakers use another key than this node's, which takes no address over until they have \
                 the same: does its Pod have the present Secret?"
            }
            Self::Netlink => {
                "the speaker can't follow this node's interfaces, and goes by what they were: its log says why"
            }
            Self::PacketSockets => {
                "the speaker can't have packet sockets on this node, and leaves what is announced there to other nodes \
                 that can announce it: its log says where and why"
            }
        };
        Some(Notice::warning("SpeakerImpaired", message.to_owned()))
    }

    /// For how long at a stretch a speaker is not ready for it; `None` for as long as it lasts.
    const fn limit(self) -> Option<Duration> {
        match self {
            Self::Peers | Self::Api => Some(LIMIT),
            Self::GossipAddress | Self::GossipKey | Self::Netlink | Self::PacketSockets => None,
        }
    }

    /// How long it must be so.
    const fn patience(self, certainty: Certainty) -> Duration {
        match (self, certainty) {
            (Self::Peers | Self::Api, Certainty::Proven) => Duration::from_secs(2),
            // A node that is gone is not ready as the API server has it after 40 to 50 s.
            (Self::Peers, Certainty::Likely) => Duration::from_mins(1),
            (Self::Api, Certainty::Likely) => Duration::from_secs(30),
            (Self::GossipAddress | Self::GossipKey | Self::Netlink | Self::PacketSockets, _) => {
                Duration::ZERO
            }
        }
    }
}

impl From<Trouble> for Impairment {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unbound => Self::GossipAddress,
            Trouble::OtherKey => Self::GossipKey,
        }
    }
}

/// Follows what this speaker is without.
#[derive(Debug, Default)]
pub(crate) struct Impairments(BTreeMap<Impairment, Course>);

/// How long something has been missing.
#[derive(Debug)]
struct Course {
    /// Since when, and since when that is proven.
    since: Option<Instant>,
    proven: Option<Instant>,
    impact: Impact,
}

impl Impairments {
    /// Whether it is missing, as far as is known at `now`.
    pub(crate) fn set(&mut self, what: Impairment, missing: Option<Certainty>, now: Instant) {
        if missing.is_none() && !self.0.contains_key(&what) {
            return;
        }
        let course = self.0.entry(what).or_insert(Course { since: None, proven: None, impact: Impact::None });
        course.since = missing.map(|_| course.since.unwrap_or(now));
        let proven = missing.filter(|certainty| *certainty == Certainty::Proven);
        course.proven = proven.map(|_| course.proven.unwrap_or(now));
    }

    /// Whether it may be missing.
    pub(crate) fn is_doubtful(&self, what: Impairment) -> bool {
        self.0.get(&what).is_some_and(|course| course.since.is_some())
    }

    /// Whether it is missing, by what was found last.
    pub(crate) fn has(&self, what: Impairment) -> bool {
        self.0.get(&what).is_some_and(|course| course.impact != Impact::None)
    }

    /// What becomes of readiness at `now`, where that is news.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<(Impairment, Impact)> {
        let mut news = Vec::new();
        self.0.retain(|what, course| {
            let impact = course.impact_at(*what, now);
            if std::mem::replace(&mut course.impact, impact) != impact {
                news.push((*what, impact));
            }
            course.since.is_some()
        });
        news
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|(what, course)| course.deadline(*what)).min()
    }
}

impl Course {
    fn impact_at(&self, what: Impairment, now: Instant) -> Impact {
        match self.begin(what) {
            None => Impact::None,
            Some(at) if what.limit().is_some_and(|limit| now >= at + limit) => Impact::Tolerated,
            Some(at) if now >= at => Impact::NotReady,
            // It was missing for another reason before, and is still.
            Some(_) => self.impact,
        }
    }

    fn deadline(&self, what: Impairment) -> Option<Instant> {
        let at = self.begin(what)?;
        match self.impact {
            Impact::None => Some(at),
            Impact::NotReady => Some(at + what.limit()?),
            Impact::Tolerated => None,
        }
    }

    /// From when on it counts.
    fn begin(&self, what: Impairment) -> Option<Instant> {
        let after = |since: Option<Instant>, certainty| Some(since? + what.patience(certainty));
        let likely = after(self.since, Certainty::Likely);
        likely.into_iter().chain(after(self.proven, Certainty::Proven)).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_is_cut_off_is_not_ready_after_a_while_and_is_again_at_once_when_it_is_not() {
        for (certainty, patience) in [(Certainty::Likely, 60 * SECOND), (Certainty::Proven, 2 * SECOND)] {
            let (mut it, now, peers) = (Impairments::default(), Instant::now(), Impairment::Peers);
            it.set(peers, Some(certainty), now);
            it.set(peers, Some(certainty), now + SECOND);
            assert_eq!(it.deadline(), Some(now + patience));
            assert_eq!(it.poll(now + patience.saturating_sub(SECOND)), []);
            assert!(it.is_doubtful(peers) && !it.has(peers));
            assert_eq!(it.poll(now + patience), [(peers, Impact::NotReady)]);
            assert!(it.has(peers));
            it.set(peers, None, now + patience + SECOND);
            assert_eq!(it.poll(now + patience + SECOND), [(peers, Impact::None)]);
            assert!(it.deadline().is_none() && !it.has(peers) && !it.is_doubtful(peers));
        }
    }

    #[test]
    fn for_what_may_lie_elsewhere_it_is_ready_again_after_some_minutes_so_that_no_rollout_waits_for_ever() {
        for what in [Impairment::Peers, Impairment::Api] {
            let (mut it, now) = (Impairments::default(), Instant::now());
            it.set(what, Some(Certainty::Likely), now);
            let lost = it.deadline().expect("it is missing then");
            assert_eq!(it.poll(lost), [(what, Impact::NotReady)]);
            assert_eq!(it.deadline(), Some(lost + LIMIT));
            assert_eq!(it.poll(lost + LIMIT), [(what, Impact::Tolerated)]);
            assert_eq!((it.deadline(), it.poll(lost + 2 * LIMIT)), (None, vec![]));
            it.set(what, None, lost + 2 * LIMIT);
            assert_eq!(it.poll(lost + 2 * LIMIT), [(what, Impact::None)]);
        }
    }

    #[test]
    fn what_the_node_itself_refuses_keeps_it_from_being_ready_at_once_and_for_as_long_as_it_lasts() {
        for what in Impairment::ALL.into_iter().filter(|it| it.limit().is_none()) {
            let (mut it, now) = (Impairments::default(), Instant::now());
            it.set(what, Some(Certainty::Proven), now);
            assert_eq!(it.poll(now), [(what, Impact::NotReady)]);
            it.set(what, Some(Certainty::Proven), now + SECOND);
            assert_eq!((it.poll(now + 100 * LIMIT), it.deadline()), (vec![], None), "it is known");
            it.set(what, None, now + 100 * LIMIT);
            assert_eq!(it.poll(now + 100 * LIMIT), [(what, Impact::None)]);
        }
    }

    #[test]
    fn what_is_proven_no_more_stays_lost_while_it_is_likely() {
        let (mut it, now, peers) = (Impairments::default(), Instant::now(), Impairment::Peers);
        it.set(peers, Some(Certainty::Proven), now);
        assert_eq!(it.poll(now + 2 * SECOND), [(peers, Impact::NotReady)]);
        it.set(peers, Some(Certainty::Likely), now + 3 * SECOND);
        assert_eq!(it.poll(now + 3 * SECOND), []);
    }

    #[test]
    fn each_goes_its_own_way_and_by_its_own_name() {
        let (mut it, now) = (Impairments::default(), Instant::now());
        it.set(Impairment::Api, Some(Certainty::Likely), now);
        it.set(Impairment::Netlink, Some(Certainty::Proven), now + SECOND);
        assert_eq!(it.poll(now + SECOND), [(Impairment::Netlink, Impact::NotReady)]);
        it.set(Impairment::Netlink, None, now + 30 * SECOND);
        let news = [(Impairment::Api, Impact::NotReady), (Impairment::Netlink, Impact::None)];
        assert_eq!(it.poll(now + 30 * SECOND), news);
        for of in [Impairment::name, Impairment::label] {
            assert_eq!(
                Impairment::ALL.map(of).into_iter().collect::<BTreeSet<_>>().len(),
                Impairment::ALL.len()
            );
        }
    }
}
