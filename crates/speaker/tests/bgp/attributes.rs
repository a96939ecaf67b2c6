//! What routers make of attributes: the AS path, and shares by the link bandwidth community.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use bgp::config::{Families, SessionConfig, Transport};
use bgp::route::{Attributes, LinkBandwidth, Prepend, Routes};
use bgp::session::{Past, State};
use objects::{BgpPeerName, Family};
use speaker::bgp::{Peering, Wanted};
use tempfile::TempDir;

use crate::beside::vtysh;
use crate::bfd::new_namespace;
use crate::process::{Process, ip, wait_for};
use crate::{Speaker, config};

const PREFIX: &str = "198.51.100.1/32";

/// Two nodes, which announce one prefix: each is an address of this end.
const NODES: [&str; 2] = ["192.0.2.2", "192.0.2.3"];

#[test]
#[ignore = "needs FRR (frr)"]
fn frr_shares_traffic_by_endpoints_and_sees_what_is_prepended() {
    new_namespace();
    ip("address add 192.0.2.3/24 dev lan0");
    let frr = frr();
    let mut speaker = Speaker::start(Past::Fresh);
    announce(&speaker, [(Some(3), 0), (Some(1), 0)]);
    speaker.wait_until("both are established", |all| {
        all.len() == 2 && all.values().all(|it| it.state == State::Established)
    });
    wait_for("three quarters for the first", || has_weights(&frr, [3, 1]).then_some(()));
    announce(&speaker, [(Some(3), 0), (Some(5), 0)]);
    wait_for("five eighths for the second", || has_weights(&frr, [3, 5]).then_some(()));
    announce(&speaker, [(None, 0), (None, 0)]);
    wait_for("the same for both", || has_weights(&frr, [1, 1]).then_some(()));

    announce(&speaker, [(None, 0), (None, 2)]);
    let route = wait_for("the path", || {
        let route = vtysh(&frr, &format!("show bgp ipv4 unicast {PREFIX}"));
        route.contains("64512 64512 64512").then_some(route)
    });
    wait_for("the shorter path alone", || {
        let kernel = frr.run("ip route show 198.51.100.1");
        (kernel.contains(NODES[0]) && !kernel.contains(NODES[1])).then_some(())
    });
    println!("{route}");
}

/// How many endpoints each node has, and how often it prepends.
fn announce(speaker: &Speaker, nodes: [(Option<u32>, u8); 2]) {
    let peering = |(source, (endpoints, times)): (&str, (Option<u32>, u8))| {
        let base = config("192.0.2.1".parse().unwrap(), None);
        let config = SessionConfig {
            name: BgpPeerName::from(source),
            transport: Transport::new("192.0.2.1".parse().unwrap(), Some(source.parse().unwrap())).unwrap(),
            router_id: source.parse::<std::net::Ipv4Addr>().unwrap().try_into().unwrap(),
            families: Families::Only(Family::V4),
            ..base
        };
        let attributes = Attributes {
            prepend: Prepend::new(times).unwrap(),
            link_bandwidth: endpoints.map(|it| LinkBandwidth::from_megabits(it.try_into().unwrap())),
            ..Attributes::default()
        };
        let routes = Routes::from([(PREFIX.parse().unwrap(), Arc::new(attributes))]);
        (config.name.clone(), Peering { config: Arc::new(config), routes: Arc::new(routes) })
    };
    let sessions: BTreeMap<_, _> = NODES.into_iter().zip(nodes).map(peering).collect();
    speaker.wanted.send_replace(Wanted::Sessions(sessions));
}

/// Whether the route of the kernel has next hops in these proportions, as near as percentages come.
fn has_weights(frr: &Process, expected: [u32; 2]) -> bool {
    let text = frr.run("ip route show 198.51.100.1");
    let words: Vec<&str> = text.split_whitespace().collect();
    let weight = |node: &str| -> Option<f64> {
        let at = words.iter().position(|word| *word == node)?;
        let weight = words[at..].iter().position(|word| *word == "weight")?;
        words[at + weight + 1].parse().ok()
    };
    let [Some(first), Some(second)] = NODES.map(weight) else { return false };
    (first / second / (f64::from(expected[0]) / f64::from(expected[1])) - 1.0).abs() < 0.05
}

fn frr() -> Process {
    let folder = TempDir::new().unwrap();
    let neighbors = NODES.map(|node| format!(" neighbor {node} remote-as 64512\n neighbor {node} passive\n"));
    let bgpd = format!(
        "router bgp 64513\n bgp router-id 192.0.2.1\n no bgp ebgp-requires-policy\n{} address-family ipv4 unicast\n  maximum-paths 8\n exit-address-family\n",
        neighbors.concat()
    );
    for (name, content) in [("bgpd.conf", bgpd.as_str()), ("zebra.conf", "")] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let script = "PATH=/usr/lib/frr:$PATH
         chown -R frr:frr .
         common=\"-u frr -g frr -z $PWD/zserv --vty_socket $PWD -P 0 --log stdout\"
         zebra $common -f $PWD/zebra.conf -i $PWD/zebra.pid -d
         exec bgpd $common -f $PWD/bgpd.conf -i $PWD/bgpd.pid";
    Process::start(folder, script)
}
