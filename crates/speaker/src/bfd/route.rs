//! Which network of this node a peer is on.

use std::net::IpAddr;
use std::num::NonZeroU32;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockaddrStorage;

/// The addresses of this node's interfaces, as they were when somebody looked.
pub(super) struct Interfaces(Vec<Address>);

struct Address {
    interface: String,
    ip: IpAddr,
    mask: IpAddr,
    /// The other end of a point-to-point interface.
    other_end: Option<IpAddr>,
}

impl Interfaces {
    /// As they are. None, if the kernel does not say.
    pub(super) fn now() -> Self {
        let all = getifaddrs().into_iter().flatten().filter_map(|it| {
            Some(Address {
                ip: ip(&it.address?)?,
                mask: ip(&it.netmask?)?,
                other_end: it.destination.as_ref().and_then(ip),
                interface: it.interface_name,
            })
        });
        Self(all.collect())
    }

    /// Whether this node has an address in one network with the peer, or has its address.
    pub(super) fn are_in_one_network_with(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|address| address.reaches(peer))
    }

    /// The interface to a peer, from one of our addresses. `None` where any will do: where this node itself is the peer, or where
    /// it is in none of its networks.
    pub(super) fn towards(&self, peer: IpAddr, local: IpAddr) -> Option<NonZeroU32> {
        if self.0.iter().any(|address| address.ip == peer) {
            return None;
        }
        let near: Vec<&Address> = self.0.iter().filter(|address| address.reaches(peer)).collect();
        let best = near.iter().find(|address| address.ip == local).or(near.first())?;
        index(&best.interface)
    }
}

impl Address {
    fn reaches(&self, peer: IpAddr) -> bool {
        if self.other_end == Some(peer) {
            return true;
        }
        match (self.ip, self.mask, peer) {
            (IpAddr::V4(ip), IpAddr::V4(mask), IpAddr::V4(peer)) => ip & mask == peer & mask,
            (IpAddr::V6(ip), IpAddr::V6(mask), IpAddr::V6(peer)) => ip & mask == peer & mask,
            _ => false,
        }
    }
}

/// The index of an interface, if there is one of this name.
pub(super) fn index(name: &str) -> Option<NonZeroU32> {
    NonZeroU32::new(if_nametoindex(name).ok()?)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::from(it.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(interface: &str, ip: &str, mask: &str, other_end: Option<&str>) -> Address {
        Address {
            interface: interface.to_owned(),
            ip: ip.parse().unwrap(),
            mask: mask.parse().unwrap(),
            other_end: other_end.map(|it| it.parse().unwrap()),
        }
    }

    #[test]
    fn a_peer_is_near_if_an_interface_has_its_network() {
        let all = Interfaces(vec![
            address("lo", "127.0.0.1", "255.0.0.0", None),
            address("no-such-interface", "192.0.2.7", "255.255.255.0", Some("192.0.2.255")),
            address("ppp0", "10.0.0.1", "255.255.255.255", Some("10.9.9.9")),
            address("eth0", "2001:db8::7", "ffff:ffff:ffff:ffff::", None),
        ]);
        for (peer, is_near) in [
            ("192.0.2.1", true),
            ("192.0.3.1", false),
            ("10.9.9.9", true),
            ("10.9.9.8", false),
            ("2001:db8::1", true),
            ("2001:db8:1::1", false),
            ("127.0.0.9", true),
        ] {
            assert_eq!(all.are_in_one_network_with(peer.parse().unwrap()), is_near, "{peer}");
        }
        let towards = |peer: &str, local: &str| all.towards(peer.parse().unwrap(), local.parse().unwrap());
        assert_eq!(towards("127.0.0.9", "127.0.0.1"), index("lo"), "the loopback interface is always there");
        assert_eq!(towards("127.0.0.1", "127.0.0.1"), None, "this node itself");
        assert_eq!(towards("198.51.100.1", "192.0.2.7"), None, "in no network of this node");
    }
}
