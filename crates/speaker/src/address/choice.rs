//! Which of the addresses of this host the gossip listens at.

use std::net::{IpAddr, SocketAddr};

use placement::InterfaceName;

/// What the API server says of our addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Where our Pod can be reached, which is where the others look for us.
    pub(crate) pod: Option<IpAddr>,
    /// The address that our Pod was given at its start.
    pub(crate) at_start: Option<IpAddr>,
    /// That of our node.
    pub(crate) node: Option<IpAddr>,
}

/// Chooses, and remembers what matters for the next choice.
#[derive(Debug)]
pub(crate) struct Choice {
    /// What was chosen last.
    address: SocketAddr,
    /// Whether somebody told us to listen there.
    told: bool,
    /// The interface that had it last.
    interface: Option<InterfaceName>,
}

impl Choice {
    /// To begin with, `address`; `told` if that is what our configuration says.
    pub(crate) fn new(address: SocketAddr, told: bool) -> Self {
        Self { address, told, interface: None }
    }

    /// Where to listen now that this host has the addresses `ours`. `None` if that is nowhere at present.
    ///
    /// First comes where the API server lists us; until it does, as it takes some time after a change, the address that
    /// was chosen before, or another one that has taken its place on its interface. An address that was told is kept, but
    /// for that of the Pod at its start: charts know no other.
    pub(crate) fn next(&mut self, listed: &Listed, ours: &[(InterfaceName, IpAddr)]) -> Option<SocketAddr> {
        let current = self.address.ip();
        if current.is_unspecified() {
            return Some(self.address);
        }
        // All of 127.0.0.0/8 is there, though one address of it is listed.
        let has = |ip: &IpAddr| ip.is_loopback() || ours.iter().any(|(_, address)| address == ip);
        let is_fixed = self.told && listed.at_start != Some(current);
        let chosen = if is_fixed {
            // What was never seen on an interface may be of this host by a route: to listen there is the test.
            Some(current).filter(|ip| self.interface.is_none() || has(ip))
        } else {
            let known = [listed.pod, listed.node, Some(current)].into_iter().flatten().find(has);
            known.or_else(|| self.successor(ours))
        }?;
        // What was not told once is never taken for that later.
        self.told &= chosen == current;
        let interface = ours.iter().find(|(_, ip)| *ip == chosen).map(|(interface, _)| interface.clone());
        self.interface = interface.or(self.interface.take());
        self.address.set_ip(chosen);
        Some(self.address)
    }

    /// What has taken the place of the last address on its interface.
    fn successor(&self, ours: &[(InterfaceName, IpAddr)]) -> Option<IpAddr> {
        let interface = self.interface.as_ref()?;
        let is_successor = |ip: &IpAddr| ip.is_ipv4() == self.address.is_ipv4() && !is_link_local(*ip);
        ours.iter().filter(|(at, _)| at == interface).map(|(_, ip)| *ip).find(is_successor)
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "192.0.2.1";
    const NEW: &str = "192.0.2.2";
    const THIRD: &str = "198.51.100.3";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ours(addresses: &[(&str, &str)]) -> Vec<(InterfaceName, IpAddr)> {
        addresses.iter().map(|(interface, address)| ((*interface).into(), ip(address))).collect()
    }

    fn listed(pod: &str, at_start: &str, node: &str) -> Listed {
        Listed { pod: Some(ip(pod)), at_start: Some(ip(at_start)), node: Some(ip(node)) }
    }

    fn choice(told: bool) -> Choice {
        let mut choice = Choice::new(SocketAddr::new(ip(OLD), 7946), told);
        let here = choice.next(&Listed::default(), &ours(&[("lo", "127.0.0.1"), ("eth0", OLD)]));
        assert_eq!(here, Some(SocketAddr::new(ip(OLD), 7946)));
        choice
    }

    fn next(choice: &mut Choice, listed: &Listed, addresses: &[(&str, &str)]) -> Option<String> {
        let next = choice.next(listed, &ours(addresses))?;
        assert_eq!(next.port(), 7946);
        Some(next.ip().to_string())
    }

    #[test]
    fn an_address_that_another_takes_the_place_of_is_followed_before_the_api_server_knows() {
        let (mut choice, stale) = (choice(false), listed(OLD, OLD, OLD));
        let replaced = [("lo", "127.0.0.1"), ("eth1", THIRD), ("eth0", "169.254.0.1"), ("eth0", NEW)];
        assert_eq!(next(&mut choice, &stale, &replaced).as_deref(), Some(NEW));
        assert_eq!(
            next(&mut choice, &stale, &[("eth0", NEW), ("eth0", OLD)]).as_deref(),
            Some(OLD),
            "it is back"
        );
    }

    #[test]
    fn where_the_api_server_lists_us_comes_first_if_this_host_has_it() {
        let mut choice = choice(false);
        let both = [("eth0", OLD), ("eth0", NEW), ("eth1", THIRD)];
        assert_eq!(next(&mut choice, &listed(NEW, OLD, THIRD), &both).as_deref(), Some(NEW));
        assert_eq!(next(&mut choice, &listed(NEW, OLD, THIRD), &both[2..]).as_deref(), Some(THIRD));
        assert_eq!(
            next(&mut choice, &listed("192.0.2.77", OLD, "192.0.2.78"), &both).as_deref(),
            Some(THIRD)
        );
    }

    #[test]
    fn without_an_address_it_is_nowhere_until_there_is_one() {
        let (mut choice, stale) = (choice(false), listed(OLD, OLD, OLD));
        assert_eq!(next(&mut choice, &stale, &[("eth0", "fe80::1"), ("eth1", THIRD)]), None);
        assert_eq!(next(&mut choice, &stale, &[("eth0", "2001:db8::1"), ("eth1", THIRD)]), None);
        assert_eq!(next(&mut choice, &stale, &[("eth0", NEW)]).as_deref(), Some(NEW));
    }

    #[test]
    fn an_address_that_was_told_is_waited_for_unless_it_is_only_that_of_the_pod_at_its_start() {
        let mut fixed = choice(true);
        let elsewhere = listed(THIRD, THIRD, THIRD);
        assert_eq!(next(&mut fixed, &elsewhere, &[("eth0", NEW), ("eth1", THIRD)]), None);
        assert_eq!(next(&mut fixed, &elsewhere, &[("eth0", OLD), ("eth1", THIRD)]).as_deref(), Some(OLD));
        let mut from_the_pod = choice(true);
        let moved = listed(NEW, OLD, NEW);
        assert_eq!(next(&mut from_the_pod, &moved, &[("eth0", NEW)]).as_deref(), Some(NEW));
        assert_eq!(
            next(&mut from_the_pod, &listed(THIRD, OLD, NEW), &[("eth0", THIRD)]).as_deref(),
            Some(THIRD)
        );
    }

    #[test]
    fn an_address_that_was_told_and_is_on_no_interface_is_tried_all_the_same() {
        let mut routed = Choice::new(SocketAddr::new(ip(OLD), 7946), true);
        assert_eq!(next(&mut routed, &listed(NEW, NEW, NEW), &[("eth0", NEW)]).as_deref(), Some(OLD));
        let mut loopback = Choice::new("127.0.0.9:7946".parse().unwrap(), false);
        assert_eq!(
            next(&mut loopback, &Listed::default(), &[("lo", "127.0.0.1")]).as_deref(),
            Some("127.0.0.9")
        );
    }

    #[test]
    fn who_listens_everywhere_stays_there() {
        let mut everywhere = Choice::new("[::]:7946".parse().unwrap(), false);
        assert_eq!(next(&mut everywhere, &listed(NEW, NEW, NEW), &[("eth0", NEW)]).as_deref(), Some("::"));
    }
}
