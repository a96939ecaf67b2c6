//! Addresses as bytes: each its length and its octets.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// As many as there is room for.
pub(super) fn addresses(addresses: &BTreeSet<IpAddr>, room: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for address in addresses {
        let (length, octets) = match address {
            IpAddr::V4(v4) => (4, v4.octets().to_vec()),
            IpAddr::V6(v6) => (16, v6.octets().to_vec()),
        };
        if bytes.len() + 1 + octets.len() <= room.min(u16::MAX.into()) {
            bytes.push(length);
            bytes.extend(octets);
        }
    }
    bytes
}

pub(super) fn read_addresses(mut bytes: &[u8]) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    while let Some((address, rest)) = take_address(bytes) {
        addresses.extend(address);
        bytes = rest;
    }
    addresses
}

/// The first address, if it is one of a kind that is known; and what comes after it.
pub(super) fn take_address(bytes: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (address, rest) = rest.split_at_checked((*length).into())?;
    let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
    Some((v4.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from)).ok(), rest))
}
