//! From MetalLB to FerroLB and back, as the README has it, while a client makes requests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Desk, Role, SOON, objects, readme};
use lab::{Host, NodeId, chart, wait_until};
use serde_json::{Value, json};

use crate::with_cluster;

const REQUESTS_PER_SECOND: u32 = 200;
/// What the machine does besides may cost some of them their turn.
const AT_LEAST_PER_SECOND: f64 = 120.0;

/// How somebody has installed MetalLB, as the README's commands name it.
#[derive(Clone, Copy, Debug)]
enum Metallb {
    ByHelm,
    FromManifests,
}

impl Metallb {
    /// Who has it so skips the commands that begin with this.
    fn not_for_it(self) -> &'static str {
        match self {
            Self::ByHelm => "# MetalLB from manifests",
            Self::FromManifests => "# MetalLB by Helm",
        }
    }
}

/// The README's steps one way: those until both are there, and those after.
struct Steps {
    install: Vec<String>,
    remove: Vec<String>,
}

const README: &str = "examples/from-metallb/README.md";

impl Steps {
    fn from(metallb: Metallb) -> Result<Self> {
        let last = |step: &String| step.starts_with("helm install ferrolb");
        Self::read(metallb, "## The way there", last)
    }

    fn back_to(metallb: Metallb) -> Result<Self> {
        let last = |step: &String| step.ends_with("kubectl create -f l2advertisements.yaml");
        Self::read(metallb, "## The way back", last)
    }

    fn read(metallb: Metallb, heading: &str, last: impl Fn(&String) -> bool) -> Result<Self> {
        let mut install = readme::commands(README, heading)?;
        install.retain(|step| !step.starts_with(metallb.not_for_it()));
        let last = install.iter().position(last).context("the README has other steps than this test")?;
        let remove = install.split_off(last + 1);
        Ok(Self { install, remove })
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

/// Of MetalLB nothing is left but its CRDs, with what they hold.
fn nothing_of_metallb_is_left(cluster: &Cluster) -> Result<()> {
    let kinds = cluster.lab.kubectl(["api-resources", "--verbs=list", "-o", "name"])?;
    let stays = |kind: &&str| {
        let of_crds = ["customresourcedefinitions.", "apiservices."].iter().any(|it| kind.starts_with(it));
        of_crds || kind.contains("metallb.io") || kind.starts_with("events")
    };
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !stays(kind)).collect();
    let theirs = |object: &&Value| {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let others = ["default", "kube-root-ca.crt", chart::NAMESPACE].contains(&name);
        (metadata["namespace"] == chart::NAMESPACE || name.contains("metallb"))
            && !(others || name.contains("ferrolb"))
    };
    wait_until("nothing of MetalLB is left", SOON, || {
        let list = cluster.lab.kubectl_json(["get", &kinds.join(","), "--all-namespaces"])?;
        let left = list["items"].as_array().context("there is a list")?.iter().filter(theirs);
        let left: Vec<String> =
            left.map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

/// Somebody's values, for MetalLB's chart.
const VALUES: &str = "\
speaker:
  tolerateMaster: true
  ignoreExcludeLB: true
  frr: {enabled: false}
frrk8s: {enabled: false}
controller:
  resources: {limits: {memory: 200Mi}}
";

/// Who is served, and whence.
struct Scene<'a> {
    cluster: &'a Cluster,
    desk: Desk<'a>,
    addresses: Addresses,
    places: Vec<SocketAddr>,
    announcers: Vec<NodeId>,
}

impl<'a> Scene<'a> {
    /// With MetalLB from its manifests.
    fn set(cluster: &'a Cluster) -> Result<Self> {
        cluster.replace_by_metallb()?;
        let desk = Desk::new(cluster)?;
        desk.put("your-metallb-values.yaml", VALUES)?;
        let mut pinned = objects::pool("pinned", &["172.16.211.232/31"]);
        pinned["spec"]["serviceAllocation"] =
            json!({"priority": 50, "serviceSelectors": [{"matchLabels": {"tier": "front"}}]});
        let lan = ["172.16.211.220-172.16.211.229", "fd00:172:16:211::e0-fd00:172:16:211::ef"];
        cluster.apply([&objects::pool("lan", &lan), &pinned, &objects::advertisement()])?;
        cluster.apply(&services())?;
        let addresses = addresses(cluster)?;
        let places = places(&addresses);
        a_stranger_reaches(cluster, &places)?;
        let announcers = announcers(cluster, &addresses)?;
        Ok(Self { cluster, desk, addresses, places, announcers })
    }

    /// Takes the steps while a client makes requests, of which none is lost, and looks whether all is where it was.
    fn go(&self, steps: &Steps, what: &str) -> Result<()> {
        let Self { cluster, desk, addresses: before, places, announcers: announcers_before } = self;
        let ((), visits) = cluster.while_visiting_all(places, REQUESTS_PER_SECOND, || {
            for step in &steps.install {
                desk.type_in(step)?;
            }
            ferrolb_waits(cluster)?;
            for step in &steps.remove {
                desk.type_in(step)?;
            }
            cluster.wait_until_well()?;
            assert_eq!(&announcers(cluster, before)?, announcers_before, "both rank alike");
            Ok(())
        })?;
        eprintln!("{what}: {visits}");
        ensure!(visits.per_second() >= AT_LEAST_PER_SECOND, "too few: {visits}");
        visits.none_may_be_cut().with_context(|| what.to_owned())?;
        assert_eq!(&addresses(cluster)?, before);
        a_stranger_reaches(cluster, places)
    }
}

#[test]
fn no_request_is_lost_and_addresses_stay_on_the_way_from_metallb_and_back() {
    with_cluster(|cluster| {
        let scene = Scene::set(cluster)?;
        scene.go(&Steps::from(Metallb::FromManifests)?, "from MetalLB's manifests to FerroLB")?;
        nothing_of_metallb_is_left(cluster)?;
        scene.go(&Steps::back_to(Metallb::ByHelm)?, "back to MetalLB, by Helm")?;
        scene.go(&Steps::from(Metallb::ByHelm)?, "from MetalLB's chart to FerroLB")?;
        nothing_of_metallb_is_left(cluster)?;
        scene.go(&Steps::back_to(Metallb::FromManifests)?, "back to MetalLB's manifests")
    });
}
