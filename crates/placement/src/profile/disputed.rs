//! What a node disputes, as bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::addresses::{addresses, read_addresses, take_address};
use crate::{Kind, NodeName, Versions};

const VERSIONS: usize = 8 * Kind::COUNT;

/// Who does not do with which address what it should, as far as a node has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disputed {
    /// What that node has seen of the cluster.
    pub versions: Versions,
    /// The addresses that each other node is to give up, unless it has seen as much.
    pub by_node: BTreeMap<NodeName, BTreeSet<IpAddr>>,
}

impl Disputed {
    /// Whether `node` is to give `vip` up.
    pub fn asks(&self, node: &NodeName, vip: IpAddr) -> bool {
        self.by_node.get(node).is_some_and(|vips| vips.contains(&vip))
    }
}

/// As many nodes as there is room for, with as many of their addresses; nothing if there are none.
pub(super) fn disputed(disputed: &Disputed, room: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = disputed.versions.0.iter().flat_map(|version| version.to_be_bytes()).collect();
    for (node, vips) in &disputed.by_node {
        let name = node.as_str().as_bytes();
        let room = room.min(u16::MAX.into()).saturating_sub(bytes.len() + 1 + name.len() + 2);
        let vips = addresses(vips, room);
        let count = u16::try_from(read_addresses(&vips).len());
        if let (Ok(length), Ok(count @ 1..)) = (u8::try_from(name.len()), count) {
            bytes.push(length);
            bytes.extend(name);
            bytes.extend(count.to_be_bytes());
            bytes.extend(vips);
        }
    }
    if bytes.len() > VERSIONS { bytes } else { vec![] }
}

pub(super) fn read_disputed(bytes: &[u8]) -> Option<Disputed> {
    let (versions, mut bytes) = bytes.split_at_checked(VERSIONS)?;
    let mut disputed = Disputed::default();
    for (version, octets) in disputed.versions.0.iter_mut().zip(versions.as_chunks().0) {
        *version = u64::from_be_bytes(*octets);
    }
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked((*length).into())?;
        let ([high, low], mut rest) = rest.split_first_chunk()?;
        let vips = disputed.by_node.entry(std::str::from_utf8(name).ok()?.into()).or_default();
        for _ in 0..u16::from_be_bytes([*high, *low]) {
            let (address, after) = take_address(rest)?;
            vips.extend(address);
            rest = after;
        }
        bytes = rest;
    }
    Some(disputed)
}
