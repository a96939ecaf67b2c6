//! The addresses of the interfaces of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use placement::Prefix;

/// The addresses of all interfaces, as far as they matter.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// The settled link-local address of each interface that has one, by the number of the interface.
    pub(super) link_locals: BTreeMap<u32, Ipv6Addr>,
    /// The prefixes of the others.
    pub(super) prefixes: BTreeMap<u32, BTreeSet<Prefix>>,
}

impl Addresses {
    /// What these say.
    pub(super) fn read(messages: &[AddressMessage]) -> Self {
        Self { link_locals: link_locals(messages), prefixes: prefixes(messages) }
    }
}

/// The link-local addresses that are settled: one that another host has, or may have, cannot be spoken from.
/// Where an interface has several, the lowest, so that the choice is the same every time.
fn link_locals(messages: &[AddressMessage]) -> BTreeMap<u32, Ipv6Addr> {
    let unsettled = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let settled = messages.iter().filter(|message| !message.header.flags.intersects(unsettled));
    let all: BTreeSet<(u32, Ipv6Addr)> = settled
        .filter_map(|message| {
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(IpAddr::V6(address)) => Some(*address),
                _ => None,
            })?;
            address.is_unicast_link_local().then_some((message.header.index, address))
        })
        .collect();
    // The last of those with the same key stays.
    all.into_iter().rev().collect()
}

/// The prefixes of the addresses of each interface.
fn prefixes(messages: &[AddressMessage]) -> BTreeMap<u32, BTreeSet<Prefix>> {
    let mut by_index: BTreeMap<u32, BTreeSet<Prefix>> = BTreeMap::new();
    for message in messages {
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        });
        if let Some(prefix) = address.and_then(|it| Prefix::of(it, message.header.prefix_len)) {
            by_index.entry(message.header.index).or_default().insert(prefix);
        }
    }
    by_index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settled_link_local_addresses_count_and_of_several_the_lowest() {
        let address = |index, address: &str, flags| {
            let mut message = AddressMessage::default();
            message.header.index = index;
            message.header.flags = flags;
            message.attributes = vec![AddressAttribute::Address(address.parse().unwrap())];
            message
        };
        let settled = AddressHeaderFlags::Permanent;
        let found = link_locals(&[
            address(1, "2001:db8::1", settled),
            address(2, "fe80::2", settled | AddressHeaderFlags::Tentative),
            address(3, "fe80::3", settled | AddressHeaderFlags::Dadfailed),
            address(4, "fe80::5", settled),
            address(4, "fe80::4", settled),
            address(5, "169.254.0.1", settled),
            address(6, "fe80::6", settled | AddressHeaderFlags::Tentative),
            address(6, "fe80::7", settled),
        ]);
        assert_eq!(found, [(4, "fe80::4".parse().unwrap()), (6, "fe80::7".parse().unwrap())].into());
    }

    #[test]
    fn the_prefixes_of_an_interface_are_those_of_its_addresses() {
        let address = |index, address: &str, length| {
            let mut message = AddressMessage::default();
            (message.header.index, message.header.prefix_len) = (index, length);
            message.attributes = vec![AddressAttribute::Address(address.parse().unwrap())];
            message
        };
        let read = Addresses::read(&[
            address(7, "192.0.2.1", 24),
            address(7, "192.0.2.2", 24),
            address(7, "2001:db8::1", 64),
            address(7, "fe80::1", 64),
            address(8, "198.51.100.1", 32),
        ]);
        let counts: Vec<_> = read.prefixes.iter().map(|(index, prefixes)| (*index, prefixes.len())).collect();
        assert_eq!(counts, [(7, 2)]);
    }
}
