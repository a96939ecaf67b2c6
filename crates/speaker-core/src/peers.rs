//! The other speakers: what they tell of themselves, what we tell of us, and whom of them we hear.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use introspection::PeerState;
use layer2::{Contact, KnownMacs, MacAddr};
use members::{Profile, View};
use placement::{Abilities, NodeName, NodeProfile, Prefixes};

/// A peer that says goodbye goes on answering for no longer than that, though nobody says that it has gone.
const GOODBYE: Duration = Duration::from_secs(6);

/// Who was found not to hear us does not hear us for so long, and longer only if that is found again.
const DEAF: Duration = Duration::from_mins(5);

/// What a process has sent that has gone has arrived by then. The next one has not begun by then.
const LATE: Duration = Duration::from_millis(200);

/// What the other speakers tell of themselves. It stays known after their speakers are gone: one that leaves or is cut
/// off may go on answering for a while, and is no foreign host.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    told: BTreeMap<NodeName, NodeProfile>,
    /// The profiles that was read from, so that each is read once.
    read: BTreeMap<NodeName, Profile>,
    /// What others say that they tell, of those that are not heard themselves. It says where they can announce and what
    /// they keep, and nothing else: somebody else's word makes no address known, gives nothing up, and accuses nobody.
    relayed: BTreeMap<NodeName, (Profile, NodeProfile)>,
    /// Those that ask others to give addresses up.
    disputing: BTreeSet<NodeName>,
    /// What they have given up since that was last asked.
    given_up: Vec<(NodeName, IpAddr)>,
    /// Those that are heard: what they do is known.
    heard: BTreeSet<NodeName>,
    /// Those that have said goodbye, and until when they may go on answering.
    leaving: BTreeMap<NodeName, Instant>,
    /// Those that are heard and do not hear us, and until when that is taken for so. What they do is known from the LAN
    /// alone, as they know of us.
    deaf: BTreeMap<NodeName, Instant>,
    /// Those that the cluster lists.
    listed: BTreeSet<NodeName>,
    /// Those of which only others tell: another process of a node says nothing by what the one before has told.
    hearsay: BTreeSet<NodeName>,
    /// Whether this node cannot hear anybody at present: what was last heard may not be so any more.
    isolated: bool,
}

impl Peers {
    /// Takes in what the members tell of themselves. Those are named of whom that makes a difference.
    pub(crate) fn read(&mut self, view: &View) -> Vec<NodeName> {
        let mut changed = Vec::new();
        for (node, profile) in &view.profiles {
            if self.read.get(node) == Some(profile) {
                continue;
            }
            self.read.insert(node.clone(), profile.clone());
            let told = NodeProfile::decode(profile.as_bytes());
            // A controller has none, and its name is no node's.
            if !told.macs.is_empty() && self.told.get(node) != Some(&told) {
                if told.disputed.by_node.is_empty() {
                    self.disputing.remove(node);
                } else {
                    self.disputing.insert(node.clone());
                }
                // What one of whom nothing was known has given up, it may have given up long ago.
                if let Some(before) = self.told.get(node) {
                    let vips = told.conceded.difference(&before.conceded);
                    self.given_up.extend(vips.map(|vip| (node.clone(), *vip)));
                }
                self.told.insert(node.clone(), told);
                changed.push(node.clone());
            }
        }
        self.read.retain(|node, _| view.profiles.contains_key(node));
        self.read_relayed(view, &mut changed);
        changed
    }

    fn read_relayed(&mut self, view: &View, changed: &mut Vec<NodeName>) {
        let ended = self.relayed.extract_if(.., |node, _| !view.relayed.contains_key(node));
        changed.extend(ended.map(|(node, _)| node));
        for (node, profile) in &view.relayed {
            if self.relayed.get(node).is_none_or(|(read, _)| read != profile) {
                let told = NodeProfile::decode(profile.as_bytes());
                self.relayed.insert(node.clone(), (profile.clone(), told));
                changed.push(node.clone());
            }
        }
    }

    /// Where a node can announce, and the prefixes of its interfaces there: by its own word, or by the latest of others while
    /// it is not heard.
    pub(crate) fn abilities(&self, node: &NodeName) -> Option<(&Abilities, &Prefixes)> {
        let told = self.latest(node)?;
        Some((&told.abilities, &told.prefixes))
    }

    /// What a node keeps, by the same.
    pub(crate) fn kept(&self, node: &NodeName) -> Option<&BTreeSet<IpAddr>> {
        Some(&self.latest(node)?.kept)
    }

    fn latest(&self, node: &NodeName) -> Option<&NodeProfile> {
        let relayed = self.relayed.get(node).map(|(_, told)| told);
        relayed.or_else(|| self.told.get(node))
    }

    /// The members are these, as far as `me` knows. Whether that makes a difference.
    pub(crate) fn update(&mut self, me: &NodeName, view: &View, now: Instant) -> bool {
        let others = view.members.iter().filter(|node| *node != me);
        let hearsay: BTreeSet<_> =
            others.filter(|node| !view.profiles.contains_key(*node)).cloned().collect();
        let leaving = self.leaving.len();
        // What a node says whose process has gone is said by the next, which we do not hear yet.
        self.leaving.retain(|node, _| !view.members.contains(node));
        for (_, until) in self.leaving.iter_mut().filter(|(node, _)| !view.profiles.contains_key(*node)) {
            *until = (*until).min(now + LATE);
        }
        let changed = self.hearsay != hearsay || self.heard != view.members || self.leaving.len() != leaving;
        self.hearsay = hearsay;
        self.heard.clone_from(&view.members);
        changed
    }

    /// Who has given what up since that was last asked.
    pub(crate) fn take_given_up(&mut self) -> Vec<(NodeName, IpAddr)> {
        std::mem::take(&mut self.given_up)
    }

    /// Those that ask others to give addresses up, also if they are not heard any more.
    pub(crate) fn disputing(&self) -> &BTreeSet<NodeName> {
        &self.disputing
    }

    /// What a node has told so far.
    pub(crate) fn told(&self, node: &NodeName) -> Option<&NodeProfile> {
        self.told.get(node)
    }

    /// This node cannot hear anybody at present, or can. Whether that makes a difference.
    pub(crate) fn set_isolated(&mut self, isolated: bool) -> bool {
        std::mem::replace(&mut self.isolated, isolated) != isolated
    }

    /// The cluster lists these. Whether that makes a difference.
    pub(crate) fn set_listed(&mut self, listed: BTreeSet<NodeName>) -> bool {
        std::mem::replace(&mut self.listed, listed.clone()) != listed
    }

    /// Those that the cluster lists.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &NodeName> {
        self.listed.iter()
    }

    /// A peer says goodbye: it goes on answering for a moment, and that is no sign that it stays.
    pub(crate) fn leaves(&mut self, node: NodeName, now: Instant) {
        self.leaving.insert(node, now + GOODBYE);
    }

    /// A peer that is heard acts as one does that does not hear us.
    pub(crate) fn found_deaf(&mut self, node: NodeName, now: Instant) {
        self.deaf.insert(node, now + DEAF);
    }

    /// A node is gone from the cluster. Whether that makes a difference.
    pub(crate) fn forget(&mut self, node: &NodeName) -> bool {
        self.read.remove(node);
        self.disputing.remove(node);
        self.told.remove(node).is_some()
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.leaving.values().chain(self.deaf.values()).min().copied()
    }

    /// Time passes. Whether that makes a difference.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        let before = self.leaving.len() + self.deaf.len();
        self.leaving.retain(|_, until| *until > now);
        self.deaf.retain(|_, until| *until > now);
        self.leaving.len() + self.deaf.len() != before
    }

    /// Whose Ethernet address that is.
    pub(crate) fn owner(&self, mac: MacAddr) -> Option<&NodeName> {
        self.told.iter().find(|(_, told)| told.macs.contains(&mac.0)).map(|(node, _)| node)
    }

    /// Whether a station belongs to a peer that is not heard, or may belong to one that never was.
    pub(crate) fn is_unheard(&self, mac: MacAddr) -> bool {
        self.owner(mac).map_or(self.unseen() > 0, |node| self.contact(node) == Contact::Unheard)
    }

    /// How many that are listed were never heard.
    fn unseen(&self) -> usize {
        self.listed.iter().filter(|node| !self.told.contains_key(*node)).count()
    }

    /// Whether any peer that is or was heard says that it does not answer for an address that fell to it.
    pub(crate) fn is_contested(&self, vip: IpAddr) -> bool {
        self.told.values().any(|told| told.contested.contains(&vip))
    }

    /// Whether that peer is a member, has not said goodbye, and hears us as far as is known.
    pub(crate) fn is_heard(&self, node: &NodeName) -> bool {
        self.contact(node) == Contact::Heard
    }

    /// The stations that are no foreign hosts.
    pub(crate) fn known_macs(&self) -> KnownMacs {
        let macs = |(node, told): (&NodeName, &NodeProfile)| {
            let contact = self.contact(node);
            told.macs.iter().map(move |mac| (MacAddr(*mac), contact)).collect::<Vec<_>>()
        };
        let contacts = self.told.iter().flat_map(macs).collect();
        KnownMacs { contacts, unknown: self.hearsay.len(), unseen: self.unseen() }
    }

    /// How each other speaker is heard: those that are listed, and those that are heard or on their way out. `away` are
    /// those that are expected back.
    pub(crate) fn states(&self, me: &NodeName, away: &BTreeSet<NodeName>) -> BTreeMap<NodeName, PeerState> {
        // Of those that were heard and that nobody lists any more, nobody expects anything.
        let known = self.listed.iter().chain(self.leaving.keys()).chain(&self.heard).chain(away);
        let state = |node: &NodeName| {
            if self.heard.contains(node) {
                PeerState::Heard
            } else if away.contains(node) {
                PeerState::Away
            } else if self.leaving.contains_key(node) {
                PeerState::Leaving
            } else {
                PeerState::NotHeard
            }
        };
        known.filter(|node| *node != me).map(|node| (node.clone(), state(node))).collect()
    }

    fn contact(&self, node: &NodeName) -> Contact {
        if self.isolated {
            Contact::Unheard
        } else if self.leaving.contains_key(node) {
            Contact::Leaving
        } else if self.heard.contains(node)
            && !self.hearsay.contains(node)
            && !self.relayed.contains_key(node)
            && !self.deaf.contains_key(node)
        {
            Contact::Heard
        } else {
            // Where others speak for it, too: the LAN says whether it answers.
            Contact::Unheard
        }
    }
}

/// `told` as it goes out: speakers that know no more of a profile than Ethernet addresses are told these.
pub(crate) fn profile(told: &NodeProfile) -> Profile {
    let profile = Profile::new(told.encode(Profile::MAX)).expect("no more is encoded than fits");
    profile.with_brief(told.encode_unversioned(Profile::MAX_BRIEF)).expect("no more is encoded than fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_with_many_interfaces_tells_is_understood() {
        let told =
            NodeProfile { macs: (0..200).map(|n| [2, 0, 0, 0, 0, n]).collect(), ..NodeProfile::default() };
        assert_eq!(NodeProfile::decode(profile(&told).as_bytes()), told);
    }

    #[test]
    fn a_speaker_that_was_heard_and_that_nobody_lists_any_more_is_not_missed() {
        let told = NodeProfile { macs: [[2, 0, 0, 0, 0, 3]].into(), ..NodeProfile::default() };
        let view = View { profiles: [("n3".into(), profile(&told))].into(), ..View::default() };
        let mut peers = Peers::default();
        peers.read(&view);
        peers.set_listed(["n1".into(), "n2".into(), "n3".into()].into());
        let states = |peers: &Peers| peers.states(&"n1".into(), &BTreeSet::new());
        let missed = [("n2".into(), PeerState::NotHeard), ("n3".into(), PeerState::NotHeard)];
        assert_eq!(states(&peers), missed.into());
        peers.set_listed(["n1".into(), "n2".into()].into());
        assert_eq!(states(&peers), [("n2".into(), PeerState::NotHeard)].into());
        peers.leaves("n3".into(), Instant::now());
        assert_eq!(states(&peers).get(&NodeName::from("n3")), Some(&PeerState::Leaving));
    }

    #[test]
    fn another_process_of_which_others_tell_is_unheard_until_it_speaks_itself() {
        let profile = profile(&NodeProfile { macs: [[2, 0, 0, 0, 0, 2]].into(), ..NodeProfile::default() });
        let (members, now): (BTreeSet<NodeName>, _) = (["n1".into(), "n2".into()].into(), Instant::now());
        let told = View { members, profiles: [("n2".into(), profile)].into(), ..View::default() };
        let hearsay = View { profiles: BTreeMap::new(), ..told.clone() };
        let mut peers = Peers::default();
        for (view, contact) in
            [(&told, Contact::Heard), (&hearsay, Contact::Unheard), (&told, Contact::Heard)]
        {
            peers.read(view);
            assert!(peers.update(&"n1".into(), view, now));
            let known = peers.known_macs();
            assert_eq!(known.contacts, [(MacAddr([2, 0, 0, 0, 0, 2]), contact)].into());
            assert_eq!(known.unknown, usize::from(contact == Contact::Unheard));
        }
    }

    #[test]
    fn only_the_profile_that_is_different_is_read_and_each_again_that_was_forgotten() {
        let told =
            |mac| profile(&NodeProfile { macs: [[2, 0, 0, 0, 0, mac]].into(), ..NodeProfile::default() });
        let view = |macs: [u8; 2]| View {
            profiles: ["n1", "n2"].map(NodeName::from).into_iter().zip(macs.map(told)).collect(),
            ..View::default()
        };
        let mut peers = Peers::default();
        assert_eq!(peers.read(&view([1, 2])), ["n1".into(), "n2".into()]);
        assert_eq!(peers.read(&view([1, 2])), []);
        assert_eq!(peers.read(&view([1, 3])), ["n2".into()]);
        peers.forget(&"n1".into());
        assert_eq!(peers.read(&view([1, 3])), ["n1".into()]);
        assert_eq!(peers.told(&"n2".into()).map(|told| told.macs.len()), Some(1));
    }
}
