//! The other speakers: what they tell of themselves, what we tell of us, and whom of them we hear.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use layer2::{Contact, Friends, MacAddr};
use members::{Profile, View};
use placement::NodeName;

const MAC_LEN: usize = 6;
/// A peer that says goodbye goes on answering for no longer than that.
const GOODBYE: Duration = Duration::from_secs(6);

/// What the other speakers tell of themselves. It stays known after their speakers are gone: one that leaves or is cut
/// off may go on answering for a while, and is no foreign host.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    told: BTreeMap<NodeName, Told>,
    /// Those that are heard: what they do is known.
    heard: BTreeSet<NodeName>,
    /// Those that have said goodbye, and until when they may go on answering.
    leaving: BTreeMap<NodeName, Instant>,
    /// Those that the cluster lists.
    listed: BTreeSet<NodeName>,
    /// How many members have not told anything yet.
    unknown: usize,
}

/// What a speaker tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The Ethernet addresses that it announces with.
    pub(crate) macs: BTreeSet<MacAddr>,
    /// The addresses that fall to it and that it does not answer for, because somebody else does.
    pub(crate) contested: BTreeSet<IpAddr>,
}

impl Peers {
    /// The members are these, as far as `me` knows. Whether that makes a difference.
    pub(crate) fn update(&mut self, me: &NodeName, view: &View) -> bool {
        let mut changed = false;
        for (node, profile) in &view.profiles {
            let told = Told::read(profile);
            // A controller has none, and its name is no node's.
            if !told.macs.is_empty() && self.told.get(node) != Some(&told) {
                self.told.insert(node.clone(), told);
                changed = true;
            }
        }
        let others = view.members.iter().filter(|node| *node != me);
        let unknown = others.filter(|node| !view.profiles.contains_key(*node)).count();
        let heard: BTreeSet<_> = view.members.union(&view.away).cloned().collect();
        changed |= self.unknown != unknown || self.heard != heard;
        self.leaving.retain(|node, _| !view.members.contains(node));
        (self.unknown, self.heard) = (unknown, heard);
        changed
    }

    /// The cluster lists these. Whether that makes a difference.
    pub(crate) fn set_listed(&mut self, listed: BTreeSet<NodeName>) -> bool {
        std::mem::replace(&mut self.listed, listed.clone()) != listed
    }

    /// A peer says goodbye: it goes on answering for a moment, and that is no sign that it stays.
    pub(crate) fn leaves(&mut self, node: NodeName, now: Instant) {
        self.leaving.insert(node, now + GOODBYE);
    }

    /// A node is gone from the cluster. Whether that makes a difference.
    pub(crate) fn forget(&mut self, node: &NodeName) -> bool {
        self.told.remove(node).is_some()
    }

    /// When goodbyes are over, if any are said.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.leaving.values().min().copied()
    }

    /// Time passes. Whether that makes a difference.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|_, until| *until > now);
        self.leaving.len() != before
    }

    /// Whose Ethernet address that is.
    pub(crate) fn owner(&self, mac: MacAddr) -> Option<&NodeName> {
        self.told.iter().find(|(_, told)| told.macs.contains(&mac)).map(|(node, _)| node)
    }

    /// Whether a station belongs to a peer that is not heard.
    pub(crate) fn is_unheard(&self, mac: MacAddr) -> bool {
        self.owner(mac).is_some_and(|node| self.contact(node) == Contact::Unheard)
    }

    /// Whether any peer that is or was heard says that it does not answer for an address that fell to it.
    pub(crate) fn is_contested(&self, vip: IpAddr) -> bool {
        self.told.values().any(|told| told.contested.contains(&vip))
    }

    /// The stations that are no foreign hosts.
    pub(crate) fn friends(&self) -> Friends {
        let macs = |(node, told): (&NodeName, &Told)| {
            let contact = self.contact(node);
            told.macs.iter().map(move |mac| (*mac, contact)).collect::<Vec<_>>()
        };
        let unseen = self.listed.iter().filter(|node| !self.told.contains_key(*node)).count();
        Friends { known: self.told.iter().flat_map(macs).collect(), unknown: self.unknown, unseen }
    }

    fn contact(&self, node: &NodeName) -> Contact {
        let heard = self.heard.contains(node) || self.leaving.contains_key(node);
        if heard { Contact::Heard } else { Contact::Unheard }
    }
}

/// Not the address of a station: what follows are addresses in conflict, which older versions take for stations that
/// are nowhere.
const MARK: [u8; MAC_LEN] = [0xff; MAC_LEN];

impl Told {
    /// The Ethernet addresses, one after the other, and after a mark the contested addresses, each with its length before
    /// it. A node with more Ethernet addresses than fit announces with the others all the same, and may be taken for a
    /// foreign host there; so do contested addresses that do not fit, which are asked for late.
    pub(crate) fn profile(&self) -> Profile {
        let mut bytes: Vec<u8> =
            self.macs.iter().flat_map(|mac| mac.0).take(Profile::MAX / MAC_LEN * MAC_LEN).collect();
        let mut mark = &MARK[..];
        for vip in &self.contested {
            let vip = match vip {
                IpAddr::V4(vip) => vip.octets().to_vec(),
                IpAddr::V6(vip) => vip.octets().to_vec(),
            };
            if bytes.len() + mark.len() + 1 + vip.len() <= Profile::MAX {
                bytes.extend(std::mem::take(&mut mark));
                bytes.extend(u8::try_from(vip.len()));
                bytes.extend(vip);
            }
        }
        Profile::new(bytes).expect("no more is taken than fits")
    }

    fn read(profile: &Profile) -> Self {
        let mut told = Self::default();
        let mut rest = profile.as_bytes();
        while let Some((mac, more)) = rest.split_first_chunk::<MAC_LEN>() {
            rest = more;
            if *mac == MARK {
                break;
            }
            told.macs.insert(MacAddr(*mac));
        }
        while let Some((length, more)) = rest.split_first() {
            let Some((vip, more)) = more.split_at_checked(usize::from(*length)) else { break };
            rest = more;
            let v4 = <[u8; 4]>::try_from(vip).map(IpAddr::from);
            told.contested.extend(v4.or_else(|_| <[u8; 16]>::try_from(vip).map(IpAddr::from)));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(count: u8, contested: &[&str]) -> Told {
        let macs = (0..count).map(|n| MacAddr([2, 0, 0, 0, 0, n])).collect();
        Told { macs, contested: contested.iter().map(|vip| vip.parse().expect("an address")).collect() }
    }

    #[test]
    fn what_is_told_of_oneself_is_understood_and_never_too_long() {
        for count in [0, 1, 2, 42, 43, 200] {
            let (all, read) = (told(count, &[]), Told::read(&told(count, &[]).profile()));
            assert_eq!(read.macs.len(), usize::from(count.min(42)));
            assert!(read.macs.is_subset(&all.macs));
        }
        for count in [0, 1, 30] {
            let all = told(count, &["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
            assert_eq!(Told::read(&all.profile()), all);
        }
        let full = told(42, &["192.0.2.1"]);
        assert_eq!(Told::read(&full.profile()), told(42, &[]), "there is no room");
    }

    #[test]
    fn what_is_not_from_a_speaker_as_we_know_them_is_read_as_far_as_it_goes() {
        let read = |bytes: &[u8]| Told::read(&Profile::new(bytes).expect("short"));
        assert_eq!(read(&[1, 2, 3]), Told::default());
        assert_eq!(
            read(&[MARK.as_slice(), &[3, 1, 2, 3, 4, 192, 0, 2, 1, 16, 1]].concat()),
            told(0, &["192.0.2.1"])
        );
    }
}
