//! The next hop of routes of the other family than that of the connection: another address of its interface.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// What the kernel knows of IPv6 addresses.
const IF_INET6: &str = "/proc/thread-self/net/if_inet6";
/// `IFA_F_TEMPORARY` and `IFA_F_DEPRECATED` of linux/if_addr.h: an address that does not last.
const PASSING: u8 = 0x01 | 0x20;
/// `IFA_F_DADFAILED` and `IFA_F_TENTATIVE`: one that is not in use.
const UNUSED: u8 = 0x08 | 0x40;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    ip: IpAddr,
    /// Whether it has a network of its own, as an address has that is shared with other nodes (VRRP, kube-vip).
    is_alone: bool,
    /// Its flags, where it is an IPv6 address.
    flags: u8,
}

/// An address of the other family on the interface that has `address`, by which others can reach it: `kept` as long as it is
/// there.
pub(super) fn other(address: IpAddr, kept: Option<IpAddr>) -> Option<IpAddr> {
    let all: Vec<(String, IpAddr, Option<IpAddr>)> = getifaddrs()
        .ok()?
        .filter_map(|it| Some((it.interface_name, ip(it.address?)?, it.netmask.and_then(ip))))
        .collect();
    let (name, ..) = all.iter().find(|(_, ip, _)| *ip == address)?;
    let flags = flags(&fs::read_to_string(IF_INET6).unwrap_or_default());
    let of_it = all.iter().filter(|(of, ip, _)| of == name && ip.is_ipv4() != address.is_ipv4());
    let others = of_it.map(|&(_, ip, mask)| Address {
        ip,
        is_alone: mask.is_some_and(is_all_ones),
        flags: flags.iter().find(|(of, _)| *of == ip).map_or(0, |(_, flags)| *flags),
    });
    choose(&others.collect::<Vec<_>>(), kept)
}

/// One that lasts and is this node's own. Of several, the one that was there first: the kernel has IPv4 addresses in this order,
/// and IPv6 addresses in the other.
fn choose(all: &[Address], kept: Option<IpAddr>) -> Option<IpAddr> {
    let usable = || all.iter().filter(|it| it.flags & UNUSED == 0 && is_reachable(it.ip));
    if let Some(kept) = usable().find(|it| Some(it.ip) == kept) {
        return Some(kept.ip);
    }
    let rank = |(index, it): &(usize, &Address)| {
        let age = if it.ip.is_ipv4() { *index } else { usize::MAX - *index };
        (it.flags & PASSING != 0, it.is_alone, age)
    };
    usable().enumerate().min_by_key(rank).map(|(_, it)| it.ip)
}

/// The flags of IPv6 addresses: each line has the address, the index of its interface, the length of its prefix, the scope and
/// the flags in hexadecimal digits, and a name.
fn flags(text: &str) -> Vec<(IpAddr, u8)> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let flags = u8::from_str_radix(words.nth(3)?, 16).ok()?;
        Some((Ipv6Addr::from_bits(address).into(), flags))
    };
    text.lines().filter_map(line).collect()
}

fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}

fn is_all_ones(mask: IpAddr) -> bool {
    match mask {
        IpAddr::V4(v4) => v4.to_bits() == u32::MAX,
        IpAddr::V6(v6) => v6.to_bits() == u128::MAX,
    }
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = || address.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
    let v6 = || address.as_sockaddr_in6().map(|it| IpAddr::from(it.ip()));
    address.family().and_then(|_| v4().or_else(v6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str, is_alone: bool, flags: u8) -> Address {
        Address { ip: ip.parse().unwrap(), is_alone, flags }
    }

    fn chosen(all: &[Address], kept: Option<&str>) -> Option<String> {
        choose(all, kept.map(|ip| ip.parse().unwrap())).map(|ip| ip.to_string())
    }

    #[test]
    fn the_oldest_address_that_lasts_and_is_not_shared_is_the_next_hop() {
        let own = address("2001:db8::2", false, 0x80);
        // As the kernel lists them: the newest first.
        let all = [
            address("2001:db8::100", true, 0x80),
            address("2001:db8::aaaa", false, 0x01),
            address("2001:db8::7", false, 0xa0),
            address("2001:db8::3", false, 0x80),
            own,
            address("2001:db8::8", false, 0xc0),
            address("fe80::2", false, 0x80),
        ];
        assert_eq!(chosen(&all, None).as_deref(), Some("2001:db8::2"));
        assert_eq!(chosen(&all, Some("2001:db8::100")).as_deref(), Some("2001:db8::100"), "it is there");
        assert_eq!(chosen(&all, Some("2001:db8::9")).as_deref(), Some("2001:db8::2"), "it is gone");
        assert_eq!(chosen(&all[..1], None).as_deref(), Some("2001:db8::100"), "there is no other");
        assert_eq!(chosen(&all[5..], None), None, "one is not in use yet");
        let v4 = [address("192.0.2.2", false, 0), address("192.0.2.100", true, 0)];
        assert_eq!(chosen(&v4, None).as_deref(), Some("192.0.2.2"));
    }

    #[test]
    fn flags_are_read_as_the_kernel_writes_them() {
        let text = "fe80000000000000020000fffe000001 02 40 20 80     eth0\nnonsense\n";
        assert_eq!(flags(text), [("fe80::200:ff:fe00:1".parse().unwrap(), 0x80)]);
    }
}
