//! What a node tells the others of itself, as bytes: the Ethernet addresses that it announces with, where it can
//! announce, for which addresses it does not answer although they fell to it, and who of the others does not do with an
//! address what it should.
//!
//! ```text
//! prefix   version   sections, any number in any order
//! +-------+---------+-----+--------+---------+-----+--------+---------+--
//! | 4     | 1       | tag | length | content | tag | length | content | ...
//! +-------+---------+-----+--------+---------+-----+--------+---------+--
//!                     1     2                                             octets, integers big-endian
//!
//! tag 1: Ethernet addresses, 6 octets each
//! tag 2: interfaces on which it can announce by at least one protocol, or could until they were lost, each: flags (1:
//!        ARP, 2: NDP, 4: ARP lost, 8: NDP lost, 16: ARP unsteady, 32: NDP unsteady), length of the name, name
//! tag 3: contested addresses, each: length, address
//! tag 4: disputed addresses: the versions of objects that it has seen, 8 octets for each of five kinds; then for each node
//!        that is to give way: length of the name, name, count of addresses (2 octets), addresses as above
//! tag 5: addresses that it gives up, as above
//! tag 6: prefixes of interfaces, each: length of the name, name, bits, length, address
//! tag 7: addresses that it keeps although others that are preferred may come back, as above
//! ```
//!
//! Sections and flags of other tags are for later versions and are passed over. Before there was a version, a node
//! told its Ethernet addresses only, one after the other and nothing else; the prefix begins with an address of a
//! group, which no interface has, so the two cannot be mistaken for each other.

mod addresses;
mod disputed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use addresses::{addresses, read_addresses};
pub use disputed::Disputed;
use disputed::{disputed, read_disputed};
use objects::InterfaceName;

use crate::{Abilities, Ability, ByProtocol, Prefix, Prefixes};

const PREFIX: [u8; 4] = [0xff, b'F', b'L', b'B'];
const VERSION: u8 = 1;
const MACS: u8 = 1;
const INTERFACES: u8 = 2;
const CONTESTED: u8 = 3;
const DISPUTED: u8 = 4;
const CONCEDED: u8 = 5;
const PREFIXES: u8 = 6;
const KEPT: u8 = 7;
const ARP: u8 = 1;
const NDP: u8 = 2;
const ARP_LOST: u8 = 4;
const NDP_LOST: u8 = 8;
/// Along with the bit for what it can.
const ARP_UNSTEADY: u8 = 16;
const NDP_UNSTEADY: u8 = 32;
const HEAD: usize = PREFIX.len() + 1;
const SECTION_HEAD: usize = 3;

/// The octets of an Ethernet address.
pub type Mac = [u8; 6];

/// What a node tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeProfile {
    /// The Ethernet addresses that it announces with.
    pub macs: BTreeSet<Mac>,
    /// Where it can announce.
    pub abilities: Abilities,
    /// Addresses that fell to it and that it does not answer for, because some other host has them: a foreign one, or a
    /// peer that it does not hear.
    pub contested: BTreeSet<IpAddr>,
    /// Addresses that others answer for, or do not answer for, against what this node has seen of the cluster.
    pub disputed: Disputed,
    /// Addresses that this node gives up, because others have seen more of the cluster.
    pub conceded: BTreeSet<IpAddr>,
    /// Addresses that this node keeps although others that are preferred may come back.
    pub kept: BTreeSet<IpAddr>,
    /// The prefixes of its interfaces. Told while some interface is lost, for they say what was lost with it.
    pub prefixes: Prefixes,
}

impl NodeProfile {
    /// As bytes, at most `max` of them. What does not fit is left out: first contested addresses, then those that are
    /// disputed, given up or kept, then the prefixes, then where the node can announce, which makes it
    /// [able everywhere](Abilities::Unknown) for the others, then Ethernet addresses. In 8 KB there is room for some 350
    /// interfaces, each with an Ethernet address of its own and the longest name.
    pub fn encode(&self, max: usize) -> Vec<u8> {
        let mut bytes = Vec::from(PREFIX);
        bytes.push(VERSION);
        let room = max.saturating_sub(HEAD + SECTION_HEAD) / size_of::<Mac>();
        let macs: Vec<u8> = self.macs.iter().take(room).flatten().copied().collect();
        put_section(&mut bytes, MACS, &macs);
        if let Abilities::Known(by_name) = &self.abilities {
            let before = bytes.len();
            let whole = put_section(&mut bytes, INTERFACES, &interfaces(by_name));
            if !whole || bytes.len() > max {
                bytes.truncate(before);
            }
        }
        let before = bytes.len();
        if !self.prefixes.is_empty()
            && (!put_section(&mut bytes, PREFIXES, &prefixes(&self.prefixes)) || bytes.len() > max)
        {
            bytes.truncate(before);
        }
        let room = |bytes: &Vec<u8>| max.saturating_sub(bytes.len() + SECTION_HEAD);
        for (tag, content) in [
            (KEPT, addresses(&self.kept, room(&bytes))),
            (CONCEDED, addresses(&self.conceded, room(&bytes))),
            (DISPUTED, disputed(&self.disputed, room(&bytes) / 2)),
        ] {
            if !content.is_empty() && content.len() <= room(&bytes) {
                put_section(&mut bytes, tag, &content);
            }
        }
        let contested = addresses(&self.contested, room(&bytes));
        if !contested.is_empty() {
            put_section(&mut bytes, CONTESTED, &contested);
        }
        bytes
    }

    /// What is told to speakers that know of no version: Ethernet addresses, in at most `max` bytes.
    pub fn encode_unversioned(&self, max: usize) -> Vec<u8> {
        self.macs.iter().take(max / size_of::<Mac>()).flatten().copied().collect()
    }

    /// What these bytes tell, by whichever version. What cannot be read is as if it had not been told.
    pub fn decode(bytes: &[u8]) -> Self {
        match bytes.strip_prefix(&PREFIX) {
            Some([VERSION, sections @ ..]) => Self::decode_sections(sections),
            Some(_) => Self::default(),
            None => Self { macs: unversioned_macs(bytes), ..Self::default() },
        }
    }

    fn decode_sections(mut bytes: &[u8]) -> Self {
        let mut told = Self::default();
        while let Some((tag, content, rest)) = take_section(bytes) {
            match tag {
                MACS => told.macs.extend(macs(content)),
                // An interface that is missing counts as unable, so they are believed all or none.
                INTERFACES => {
                    told.abilities = read_interfaces(content).map_or(Abilities::Unknown, Abilities::Known);
                }
                CONTESTED => told.contested.extend(read_addresses(content)),
                DISPUTED => told.disputed = read_disputed(content).unwrap_or_default(),
                CONCEDED => told.conceded.extend(read_addresses(content)),
                KEPT => told.kept.extend(read_addresses(content)),
                PREFIXES => told.prefixes = read_prefixes(content).unwrap_or_default(),
                _ => {}
            }
            bytes = rest;
        }
        told
    }
}

/// Whether it fits into a section at all.
fn put_section(bytes: &mut Vec<u8>, tag: u8, content: &[u8]) -> bool {
    let Ok(length) = u16::try_from(content.len()) else { return false };
    bytes.push(tag);
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    true
}

fn take_section(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([tag, high, low], rest) = bytes.split_first_chunk::<SECTION_HEAD>()?;
    let (content, rest) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
    Some((*tag, content, rest))
}

fn macs(bytes: &[u8]) -> BTreeSet<Mac> {
    let (macs, _surplus) = bytes.as_chunks();
    macs.iter().copied().collect()
}

/// Up to the first that no interface has.
fn unversioned_macs(bytes: &[u8]) -> BTreeSet<Mac> {
    let (macs, _surplus): (&[Mac], _) = bytes.as_chunks();
    macs.iter().copied().take_while(|mac| mac[0] & 1 == 0).collect()
}

fn interfaces(by_name: &BTreeMap<InterfaceName, ByProtocol>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, ability) in by_name {
        let flags =
            flag(ability.arp, ARP, ARP_LOST, ARP_UNSTEADY) | flag(ability.ndp, NDP, NDP_LOST, NDP_UNSTEADY);
        let name = name.as_str().as_bytes();
        // The kernel has no names that are longer than 15.
        if let Ok(length) = u8::try_from(name.len())
            && flags != 0
        {
            bytes.extend([flags, length]);
            bytes.extend(name);
        }
    }
    bytes
}

fn flag(ability: Ability, able: u8, lost: u8, unsteady: u8) -> u8 {
    match ability {
        Ability::Able => able,
        Ability::Unsteady => able | unsteady,
        Ability::Lost => lost,
        Ability::Unable => 0,
    }
}

fn ability(flags: u8, able: u8, lost: u8, unsteady: u8) -> Ability {
    match (flags & able != 0, flags & lost != 0) {
        (true, _) if flags & unsteady != 0 => Ability::Unsteady,
        (true, _) => Ability::Able,
        (false, true) => Ability::Lost,
        (false, false) => Ability::Unable,
    }
}

fn prefixes(by_name: &Prefixes) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, prefix) in
        by_name.iter().flat_map(|(name, prefixes)| prefixes.iter().map(move |it| (name, it)))
    {
        let name = name.as_str().as_bytes();
        let octets = match prefix.first() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        // The kernel has no names that are longer than 15.
        if let (Ok(of_name), Ok(of_octets)) = (u8::try_from(name.len()), u8::try_from(octets.len())) {
            bytes.push(of_name);
            bytes.extend(name);
            bytes.extend([prefix.length(), of_octets]);
            bytes.extend(octets);
        }
    }
    bytes
}

fn read_prefixes(mut bytes: &[u8]) -> Option<Prefixes> {
    let mut by_name = Prefixes::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked((*length).into())?;
        let [bits, length, rest @ ..] = rest else { return None };
        let (octets, rest) = rest.split_at_checked((*length).into())?;
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        let first = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()?;
        let prefixes: &mut BTreeSet<Prefix> =
            by_name.entry(std::str::from_utf8(name).ok()?.into()).or_default();
        prefixes.extend(Prefix::of(first, *bits));
        bytes = rest;
    }
    Some(by_name)
}

fn read_interfaces(mut bytes: &[u8]) -> Option<BTreeMap<InterfaceName, ByProtocol>> {
    let mut by_name = BTreeMap::new();
    while let [flags, length, rest @ ..] = bytes {
        let (name, rest) = rest.split_at_checked((*length).into())?;
        let by_protocol = ByProtocol {
            arp: ability(*flags, ARP, ARP_LOST, ARP_UNSTEADY),
            ndp: ability(*flags, NDP, NDP_LOST, NDP_UNSTEADY),
        };
        by_name.insert(std::str::from_utf8(name).ok()?.into(), by_protocol);
        bytes = rest;
    }
    bytes.is_empty().then_some(by_name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Versions;
    use crate::fixtures::{able, ip, one_lost};

    const MAX: usize = 8192;

    fn mac(number: u16) -> Mac {
        let [high, low] = number.to_be_bytes();
        [2, 0, 0, 0, high, low]
    }

    /// A node with so many interfaces, each with an address and a name that is as long as the kernel allows.
    fn node_with(interfaces: u16) -> NodeProfile {
        let names: Vec<_> = (0..interfaces).map(|number| format!("interface-{number:05}")).collect();
        let list: Vec<_> = names.iter().map(|name| (name.as_str(), true, true)).collect();
        let contested = (0..interfaces).map(|number| IpAddr::from([10, 0, mac(number)[4], mac(number)[5]]));
        NodeProfile {
            macs: (0..interfaces).map(mac).collect(),
            abilities: able(&list),
            contested: contested.take(10).collect(),
            ..NodeProfile::default()
        }
    }

    #[test]
    fn what_is_told_is_understood() {
        let able = able(&[("eth0", true, true), ("eth1", true, false), ("vlan.7", false, true)]);
        for abilities in
            [Abilities::Unknown, Abilities::Known(BTreeMap::new()), able, one_lost("eth0", "eth1")]
        {
            for count in [0, 1, 42, 43, 300] {
                let contested = [ip("192.0.2.1"), ip("2001:db8::1")].into();
                let prefixes = [("192.0.2.0", 24), ("2001:db8::", 64)];
                let prefixes = prefixes.map(|(first, length)| Prefix::of(ip(first), length));
                let told = NodeProfile {
                    macs: (0..count).map(mac).collect(),
                    abilities: abilities.clone(),
                    contested,
                    prefixes: [("eth0".into(), prefixes.into_iter().flatten().collect())].into(),
                    ..NodeProfile::default()
                };
                assert_eq!(NodeProfile::decode(&told.encode(MAX)), told);
            }
        }
    }

    fn with_disputes(nodes: u8, vips: u8) -> NodeProfile {
        let vips: BTreeSet<IpAddr> = (0..vips).map(|it| IpAddr::from([192, 0, 2, it])).collect();
        let by_node = (0..nodes).map(|it| (format!("node-{it:03}").as_str().into(), vips.clone())).collect();
        let disputed = Disputed { versions: Versions([1, u64::MAX, 3, 4, 5]), by_node };
        NodeProfile { macs: [mac(1)].into(), conceded: vips, disputed, ..NodeProfile::default() }
    }

    #[test]
    fn what_is_disputed_and_what_is_given_up_is_understood_as_far_as_it_fits() {
        let mut told = with_disputes(3, 20);
        told.conceded.insert(ip("2001:db8::1"));
        assert_eq!(NodeProfile::decode(&told.encode(MAX)), told);
        let many = with_disputes(200, 200);
        let bytes = many.encode(MAX);
        assert!(bytes.len() <= MAX);
        let read = NodeProfile::decode(&bytes);
        assert_eq!((&read.conceded, read.disputed.versions), (&many.conceded, many.disputed.versions));
        assert!(!read.disputed.by_node.is_empty());
        for (node, vips) in read.disputed.by_node {
            assert!(vips.is_subset(&many.disputed.by_node[&node]) && !vips.is_empty());
        }
        for length in 0..bytes.len() {
            NodeProfile::decode(&bytes[..length]);
        }
    }

    #[test]
    fn an_interface_that_is_unsteady_is_able_for_those_that_know_no_better() {
        let of = |arp| ByProtocol { arp, ndp: Ability::Able };
        let told = Abilities::Known([("eth0".into(), of(Ability::Unsteady))].into());
        let profile = NodeProfile { macs: [mac(1)].into(), abilities: told, ..NodeProfile::default() };
        assert_eq!(NodeProfile::decode(&profile.encode(MAX)), profile);
        assert_eq!(flag(Ability::Unsteady, ARP, ARP_LOST, ARP_UNSTEADY) & (ARP | ARP_LOST), ARP);
    }

    #[test]
    fn prefixes_that_are_cut_short_are_not_believed() {
        let content = [&[4][..], b"eth0", &[24, 4, 192, 0, 2, 0]].concat();
        let read = read_prefixes(&content).expect("they are whole");
        assert_eq!(read[&"eth0".into()].len(), 1);
        for length in 1..content.len() {
            assert_eq!(read_prefixes(&content[..length]), None, "{length}");
        }
        assert_eq!(read_prefixes(&[1, 0xff, 24, 4, 192, 0, 2, 0]), None);
    }

    #[test]
    fn an_interface_without_any_protocol_is_as_good_as_none() {
        let told = NodeProfile {
            macs: [mac(1)].into(),
            abilities: able(&[("eth0", true, false), ("lo", false, false)]),
            ..NodeProfile::default()
        };
        let read = NodeProfile::decode(&told.encode(MAX));
        assert_eq!(read.abilities, able(&[("eth0", true, false)]));
    }

    #[test]
    fn hundreds_of_interfaces_fit() {
        let told = node_with(340);
        assert_eq!(NodeProfile::decode(&told.encode(MAX)), told);
    }

    #[test]
    fn who_has_more_than_fits_is_able_everywhere_rather_than_nowhere() {
        let told = node_with(1000);
        let bytes = told.encode(MAX);
        assert!(bytes.len() <= MAX);
        assert_eq!(NodeProfile::decode(&bytes), NodeProfile { abilities: Abilities::Unknown, ..told });
        let bytes = node_with(3000).encode(MAX);
        assert!(bytes.len() <= MAX);
        assert_eq!(NodeProfile::decode(&bytes).macs.len(), (MAX - 8) / 6);
    }

    #[test]
    fn addresses_without_a_version_are_read_and_told() {
        let told = NodeProfile { macs: (0..50).map(mac).collect(), ..NodeProfile::default() };
        let bytes = told.encode_unversioned(256);
        assert_eq!(bytes.len(), 252);
        let read = NodeProfile::decode(&bytes);
        assert_eq!(read, NodeProfile { macs: (0..42).map(mac).collect(), ..NodeProfile::default() });
        let marked = [&mac(1)[..], &[0xff; 6], &[4, 192, 0, 2, 1, 0]].concat();
        assert_eq!(
            NodeProfile::decode(&marked),
            NodeProfile { macs: [mac(1)].into(), ..NodeProfile::default() }
        );
        assert_eq!(NodeProfile::decode(&[]), NodeProfile::default());
        assert_eq!(
            NodeProfile::decode(&[1, 2, 3]),
            NodeProfile::default(),
            "not from a speaker as we know them"
        );
    }

    #[test]
    fn another_version_tells_nothing_and_an_unknown_section_is_passed_over() {
        let told = NodeProfile {
            macs: [mac(1)].into(),
            abilities: able(&[("eth0", true, false)]),
            ..NodeProfile::default()
        };
        let bytes = told.encode(MAX);
        let mut later = bytes.clone();
        later[4] = 2;
        assert_eq!(NodeProfile::decode(&later), NodeProfile::default());
        assert_eq!(NodeProfile::decode(&PREFIX), NodeProfile::default());
        let (head, sections) = bytes.split_at(HEAD);
        let bytes = [head, &[9, 0, 2, 7, 7], sections, &[10, 0, 0]].concat();
        assert_eq!(NodeProfile::decode(&bytes), told);
    }

    #[test]
    fn interfaces_that_are_cut_short_are_not_believed() {
        let told = NodeProfile {
            macs: [mac(1)].into(),
            abilities: able(&[("eth0", true, false), ("eth1", true, true)]),
            ..NodeProfile::default()
        };
        let bytes = told.encode(MAX);
        for length in 0..bytes.len() {
            assert_eq!(NodeProfile::decode(&bytes[..length]).abilities, Abilities::Unknown, "{length}");
        }
        for content in [&[1, 4, b'e'][..], &[1], &[1, 1, 0xff]] {
            let mut bytes = Vec::from(PREFIX);
            bytes.push(VERSION);
            put_section(&mut bytes, INTERFACES, content);
            assert_eq!(NodeProfile::decode(&bytes).abilities, Abilities::Unknown);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, version in 0u8..3) {
            NodeProfile::decode(&bytes);
            let versioned = [&PREFIX[..], &[version], &bytes].concat();
            NodeProfile::decode(&versioned);
        }

        #[test]
        fn no_limit_is_exceeded(count in 0u16..100, max in 8usize..3000) {
            let told = node_with(count);
            prop_assert!(told.encode(max).len() <= max);
            prop_assert!(told.encode_unversioned(max).len() <= max);
        }
    }
}
