//! Which addresses of a LAN to give to Services.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use pools::{Range, predecessor, successor};

/// Addresses that are somebody's already, and whose.
pub(super) type Taken = Vec<(Range, String)>;

/// So many addresses are proposed, and asked for on the LAN, at most.
pub(super) const MOST: u128 = 256;
/// Of a large network of Docker's, addresses from here on.
const DOCKERS: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(0, 0, 255, 200), Ipv4Addr::new(0, 0, 255, 250));
/// A proposal has so many addresses at least.
const FEWEST: u128 = 4;
/// And at most so many where nobody says how many are wanted.
const PROPOSED: u32 = 51;

/// What addresses are proposed of a network of Docker's, which gives them out from the lowest on: the end of it. Nothing
/// where it is too small for that.
pub(super) fn of_docker(lan: IpNet) -> Option<Range> {
    let IpNet::V4(lan) = lan else { return None };
    let (first, last) = (u32::from(lan.network()), u32::from(lan.broadcast()));
    let (lowest, highest) = if lan.prefix_len() <= 16 {
        let end = last & 0xffff_0000;
        (end + u32::from(DOCKERS.0), end + u32::from(DOCKERS.1))
    } else {
        // The last of all is for broadcasts.
        let eighth = last - (last - first) / 8;
        (eighth.max(last.saturating_sub(PROPOSED)), last.saturating_sub(1))
    };
    let range = Range::new(Ipv4Addr::from(lowest).into(), Ipv4Addr::from(highest).into()).ok()?;
    (range.size() >= FEWEST).then_some(range)
}

/// What addresses are proposed of a LAN without a DHCP server: the end of it, and no more than its last quarter. Nothing where
/// it is too small for that.
pub(super) fn of_the_end(lan: IpNet) -> Option<Range> {
    let IpNet::V4(lan) = lan else { return None };
    let (first, last) = (u32::from(lan.network()), u32::from(lan.broadcast()));
    let lowest = (last - (last - first) / 4).max(last.saturating_sub(PROPOSED));
    let range =
        Range::new(Ipv4Addr::from(lowest).into(), Ipv4Addr::from(last.saturating_sub(1)).into()).ok()?;
    (range.size() >= FEWEST).then_some(range)
}

/// Why addresses that somebody wants to give to Services will not do, if so.
pub(super) fn unfit(range: Range, lan: IpNet, taken: &Taken) -> Option<String> {
    let within = |ip: IpAddr| lan.contains(&ip);
    if !within(range.first()) || !within(range.last()) {
        return Some(format!(
            "{range} is not within {lan}, the LAN of the nodes: nobody there would ask for these addresses"
        ));
    }
    if range.size() > MOST {
        return Some(format!(
            "{range} has more than {MOST} addresses, too many to ask the LAN for each: write a shorter --range"
        ));
    }
    if let IpNet::V4(lan) = lan
        && let Some((ip, what)) = ends(lan).into_iter().find(|(ip, _)| range.contains((*ip).into()))
    {
        return Some(format!("{ip} is the {what} of {lan}: leave it out of --range"));
    }
    let (its, whose) = taken.iter().find(|(its, _)| its.overlaps(range))?;
    let its = if its.size() == 1 { its.first().to_string() } else { its.to_string() };
    Some(format!("{its} is {whose}: leave it out of --range"))
}

/// The addresses of a network that no host has.
fn ends(lan: Ipv4Net) -> Vec<(Ipv4Addr, &'static str)> {
    // Point-to-point links have none (RFC 3021).
    if lan.prefix_len() >= 31 {
        return vec![];
    }
    vec![(lan.network(), "address of the network"), (lan.broadcast(), "broadcast address")]
}

/// The most addresses in a row of which nobody has any. Nothing where there are too few.
pub(super) fn largest_free(range: Range, taken: &Taken) -> Option<Range> {
    let mut blocks: Vec<Range> = Vec::new();
    let mut first = range.first();
    let mut taken: Vec<Range> = taken.iter().filter_map(|(its, _)| its.intersection(range)).collect();
    taken.sort_unstable();
    for its in taken {
        blocks.extend(predecessor(its.first()).and_then(|last| Range::new(first, last).ok()));
        first = first.max(successor(its.last())?);
    }
    blocks.extend(Range::new(first, range.last()).ok());
    blocks.into_iter().filter(|block| block.size() >= FEWEST).max_by_key(|block| block.size())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    fn taken(ranges: &[&str]) -> Taken {
        ranges.iter().map(|text| (range(text), "somebody's".to_owned())).collect()
    }

    #[test]
    fn without_a_dhcp_server_the_end_of_the_lan_is_proposed() {
        let of = |lan: &str| of_the_end(lan.parse().unwrap()).map(|range| range.to_string());
        assert_eq!(of("192.168.1.0/24").as_deref(), Some("192.168.1.204-192.168.1.254"));
        assert_eq!(of("10.1.0.0/16").as_deref(), Some("10.1.255.204-10.1.255.254"));
        assert_eq!(of("192.168.1.0/27").as_deref(), Some("192.168.1.24-192.168.1.30"));
        assert_eq!((of("192.168.1.0/29"), of("fd00::/64")), (None, None));
    }

    #[test]
    fn of_dockers_networks_the_end_is_proposed() {
        for (lan, expected) in [
            ("172.18.0.0/16", Some("172.18.255.200-172.18.255.250")),
            ("10.88.0.0/15", Some("10.89.255.200-10.89.255.250")),
            ("192.168.49.0/24", Some("192.168.49.224-192.168.49.254")),
            ("172.20.0.0/20", Some("172.20.15.204-172.20.15.254")),
            ("192.168.49.0/27", None),
            ("192.168.49.0/26", Some("192.168.49.56-192.168.49.62")),
            ("192.168.49.4/32", None),
            ("fd00::/64", None),
        ] {
            let proposed = of_docker(lan.parse().unwrap()).map(|range| range.to_string());
            assert_eq!(proposed.as_deref(), expected, "{lan}");
        }
    }

    #[test]
    fn addresses_that_will_not_do_are_refused_for_a_reason() {
        let lan: IpNet = "192.168.1.0/24".parse().unwrap();
        let node = taken(&["192.168.1.12/32", "192.168.1.64/26"]);
        for (wanted, part) in [
            ("192.168.1.130-192.168.1.140", None),
            ("192.168.1.100-192.168.1.110", Some("192.168.1.64-192.168.1.127 is somebody's")),
            ("192.168.2.0/28", Some("not within")),
            ("192.168.1.250-192.168.2.3", Some("not within")),
            ("192.168.1.8/29", Some("192.168.1.12 is somebody's")),
            ("192.168.1.240/28", Some("broadcast")),
            ("192.168.1.0/29", Some("address of the network")),
            ("2001:db8::/120", Some("not within")),
        ] {
            let why = unfit(range(wanted), lan, &node);
            assert_eq!(why.is_some(), part.is_some(), "{wanted}: {why:?}");
            assert!(why.unwrap_or_default().contains(part.unwrap_or_default()), "{wanted}");
        }
        let large = unfit(range("10.0.1.0/23"), "10.0.0.0/8".parse().unwrap(), &vec![]);
        assert!(large.unwrap().contains("more than 256"));
    }

    #[test]
    fn the_largest_block_that_nobody_has_is_found() {
        let all = range("10.0.0.200-10.0.0.250");
        let free = |ips: &[&str]| largest_free(all, &taken(ips)).map(|range| range.to_string());
        assert_eq!(free(&[]).as_deref(), Some("10.0.0.200-10.0.0.250"));
        assert_eq!(free(&["10.0.0.210/32"]).as_deref(), Some("10.0.0.211-10.0.0.250"));
        assert_eq!(free(&["10.0.0.240/32", "10.0.0.200/32"]).as_deref(), Some("10.0.0.201-10.0.0.239"));
        assert_eq!(
            free(&["10.0.0.190-10.0.0.199", "10.0.0.250/32"]).as_deref(),
            Some("10.0.0.200-10.0.0.249")
        );
        let all_but_some = (200..=250).filter(|last| last % 4 == 0).map(|last| format!("10.0.0.{last}"));
        let all_but_some: Vec<String> = all_but_some.map(|ip| format!("{ip}/32")).collect();
        let ips: Vec<&str> = all_but_some.iter().map(String::as_str).collect();
        assert_eq!(free(&ips), None, "three in a row are too few");
    }
}
