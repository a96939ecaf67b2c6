//! From MetalLB to FerroLB and back, as the README has it, while a client makes requests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Cluster, Desk, Role, SOON, Visits, objects, readme};
use lab::{Host, NodeId, chart, wait_until};
use serde_json::{Value, json};

use crate::with_cluster;

const REQUESTS_PER_SECOND: u32 = 200;
/// What the machine does besides may cost some of them their turn.
const AT_LEAST_PER_SECOND: f64 = 120.0;

/// The README's steps for a MetalLB that came from manifests.
struct Steps {
    prepare: Vec<String>,
    install_ferrolb: String,
    remove_metallb: String,
    install_metallb: String,
    remove_ferrolb: String,
}

impl Steps {
    fn read() -> Result<Self> {
        let mut steps = readme::commands("## Come from MetalLB", "## When it does not work")?;
        steps.retain(|step| !step.starts_with("# MetalLB by Helm"));
        match <[String; 7]>::try_from(steps) {
            Ok([save, unhook, scale, install_ferrolb, remove_metallb, install_metallb, remove_ferrolb]) => {
                let prepare = vec![save, unhook, scale];
                Ok(Self { prepare, install_ferrolb, remove_metallb, install_metallb, remove_ferrolb })
            }
            Err(other) => bail!("the README has other steps than this test: {other:?}"),
        }
    }
}

/// Who has which addresses.
type Addresses = Vec<(&'static str, Vec<IpAddr>)>;

fn addresses(cluster: &Cluster) -> Result<Addresses> {
    let of = |name| Ok((name, cluster.wait_for_addresses(name)?));
    ["shared-a", "shared-b", "dual", "local", "pinned", "requested"].into_iter().map(of).collect()
}

/// One Service of each kind that could lose its address; two of them share one.
fn services() -> [Value; 6] {
    let mut services = [
        ("shared-a", json!({})),
        ("shared-b", json!({"ports": [{"port": 81, "targetPort": objects::TARGET_PORT}]})),
        ("dual", json!({"ipFamilyPolicy": "RequireDualStack"})),
        ("local", json!({"externalTrafficPolicy": "Local"})),
        ("pinned", json!({})),
        ("requested", json!({})),
    ]
    .map(|(name, spec)| {
        let mut service = objects::service(name, &spec);
        service["spec"]["type"] = json!("LoadBalancer");
        service
    });
    for shared in &mut services[..2] {
        shared["metadata"]["annotations"] =
            json!({"metallb.io/allow-shared-ip": "web", "metallb.io/loadBalancerIPs": "172.16.211.225"});
    }
    services[4]["metadata"]["labels"] = json!({"tier": "front"});
    services[5]["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIPs": "172.16.211.229"});
    services
}

/// Who is to be visited: each address, and each port of the one that is shared.
fn places(addresses: &Addresses) -> Vec<SocketAddr> {
    let of = |(name, ips): &(&str, Vec<IpAddr>)| {
        let port = if *name == "shared-b" { 81 } else { 80 };
        ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect::<Vec<_>>()
    };
    addresses.iter().flat_map(of).collect()
}

fn ipv4(addresses: &Addresses) -> impl Iterator<Item = Ipv4Addr> {
    addresses.iter().flat_map(|(_, ips)| ips).filter_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    })
}

fn announcers(cluster: &Cluster, addresses: &Addresses) -> Result<Vec<NodeId>> {
    ipv4(addresses).map(|ip| cluster.announcer(ip)).collect()
}

/// That a host which knows none of the addresses reaches them all.
fn a_stranger_reaches(cluster: &Cluster, places: &[SocketAddr]) -> Result<()> {
    wait_until("all addresses answer a host that knows none of them", SOON, || {
        cluster.lab.run(Host::Client, ["ip", "neigh", "flush", "all"])?;
        let rest = || {
            thread::sleep(Duration::from_millis(500));
            Ok(())
        };
        let ((), visits) = cluster.while_visiting_all(places, 50, rest)?;
        visits.must_all_succeed()
    })
}

/// That all of FerroLB waits, and says so to who asks for events or readiness.
fn ferrolb_waits(cluster: &Cluster) -> Result<()> {
    wait_until("FerroLB says that it waits", SOON, || {
        let waits = ["get", "events", "-n", chart::NAMESPACE, "--field-selector", "reason=FerroLBWaits"];
        let events = cluster.kubectl_json(waits)?;
        let events = events["items"].as_array().context("there is a list")?;
        for reporter in ["metallb-controller", "metallb-speaker"] {
            ensure!(
                events
                    .iter()
                    .any(|it| it["source"]["component"] == reporter || it["reportingComponent"] == reporter),
                "{reporter} has told nobody: {events:?}"
            );
        }
        for pod in [cluster.pods(Role::Controller)?, cluster.pods(Role::Speaker)?].concat() {
            let (status, text) = cluster.ask_program(&pod, "/readyz")?;
            ensure!(status == 503 && text.contains("MetalLB to be gone"), "{status} {text}");
        }
        Ok(())
    })
}

fn went_on(visits: &Visits, what: &str) -> Result<()> {
    eprintln!("{what}: {visits}");
    ensure!(visits.per_second() >= AT_LEAST_PER_SECOND, "too few: {visits}");
    Ok(())
}

#[test]
fn addresses_stay_on_the_way_from_metallb_and_back_and_only_moves_cost_requests() {
    let steps = Steps::read().unwrap_or_else(|error| panic!("{error:#}"));
    with_cluster(|cluster| {
        let began = SystemTime::now();
        cluster.replace_by_metallb()?;
        let desk = Desk::new(cluster)?;
        desk.put("your-metallb-values.yaml", "speaker: {frr: {enabled: false}}\n")?;
        let mut pinned = objects::pool("pinned", &["172.16.211.232/31"]);
        pinned["spec"]["serviceAllocation"] =
            json!({"priority": 50, "serviceSelectors": [{"matchLabels": {"tier": "front"}}]});
        let lan = ["172.16.211.220-172.16.211.229", "fd00:172:16:211::e0-fd00:172:16:211::ef"];
        cluster.apply([&objects::pool("lan", &lan), &pinned, &objects::advertisement()])?;
        cluster.apply(&services())?;
        let before = addresses(cluster)?;
        let places = places(&before);
        a_stranger_reaches(cluster, &places)?;
        let announcers_before = announcers(cluster, &before)?;

        let ((), visits) = cluster.while_visiting_all(&places, REQUESTS_PER_SECOND, || {
            for step in &steps.prepare {
                desk.type_in(step)?;
            }
            desk.type_in(&steps.install_ferrolb)?;
            ferrolb_waits(cluster)?;
            desk.type_in(&steps.remove_metallb)?;
            cluster.wait_until_well()?;
            assert_eq!(announcers(cluster, &before)?, announcers_before, "both rank alike");
            Ok(())
        })?;
        went_on(&visits, "from MetalLB to FerroLB")?;
        // Each speaker of MetalLB that ends hands its addresses to another that is about to end.
        let vips: Vec<_> = ipv4(&before).collect();
        cluster.only_moves_may_cost(&visits, &vips, began)?;
        assert_eq!(addresses(cluster)?, before);
        a_stranger_reaches(cluster, &places)?;

        let ((), visits) = cluster.while_visiting_all(&places, REQUESTS_PER_SECOND, || {
            desk.type_in(&steps.install_metallb)?;
            ferrolb_waits(cluster)?;
            desk.type_in(&steps.remove_ferrolb)?;
            cluster.wait_until_well()?;
            assert_eq!(announcers(cluster, &before)?, announcers_before, "both rank alike");
            Ok(())
        })?;
        went_on(&visits, "back to MetalLB")?;
        // Until its speakers have found each other, the first one of them announces everything.
        cluster.only_moves_may_cost(&visits, &vips, began)?;
        assert_eq!(addresses(cluster)?, before);
        a_stranger_reaches(cluster, &places)
    });
}
