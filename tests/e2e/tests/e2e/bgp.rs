//! What a router hears: one with FRR between the client and the nodes, in a lab of its own.
//!
//! It costs time to start a lab, so one test goes through all of it, and no session may end on the way that does not have
//! to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Cluster, Role, SOON, objects};
use lab::{Host, IpFamily, NodeId, Options, Router, chart, wait_until};
use serde_json::{Value, json};

use crate::plugin::{ferrolb, items};
use crate::with_cluster;

/// The AS of the nodes, and that of the router.
const INSIDE: u32 = 64_512;
const OUTSIDE: u32 = 64_513;
/// BFD takes 0.9 s to notice, and the machine is busy. The hold time would be 9 s.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// From the last request that a dead node answered to the first that another one does instead, as clients count it: what
/// [`GONE_WITHIN`] is for the router.
const LOST_FOR: Duration = Duration::from_secs(2);
/// Visits a second, where they are to meet whatever goes wrong for a moment.
const LOAD: u32 = 300;
const PASSWORD: &str = "correct-horse";
/// The next speaker of a node starts before the one before ends, and goes on with its sessions.
const SURGE: &str = "speaker.updateStrategy.rollingUpdate.maxSurge=1";
/// A range of no LAN, and an address that is on the LAN of the nodes.
const ROUTED: [&str; 2] = ["172.16.213.0/24", "fd00:172:16:213::/64"];
const ON_LAN: &str = "172.16.211.230/32";

/// For the second session of each node, by IPv6: a password, and the AS of the router on both ends, where a local
/// preference is told.
const MORE_NEIGHBORS: &str = "ip prefix-list services permit 172.16.211.0/24 ge 32
    router bgp 64513
    neighbor within peer-group
    neighbor within remote-as 64513
    neighbor within passive
    neighbor within password correct-horse
    no neighbor fd00:172:16:211::11
    no neighbor fd00:172:16:211::12
    no neighbor fd00:172:16:211::13
    neighbor fd00:172:16:211::11 peer-group within
    neighbor fd00:172:16:211::12 peer-group within
    neighbor fd00:172:16:211::13 peer-group within
    address-family ipv6 unicast
    neighbor within activate
    neighbor within route-map from-nodes in
    neighbor within route-map to-nodes out";

#[test]
fn a_router_hears_what_it_should_and_keeps_its_sessions() {
    // The other tests have the machine to themselves, and so has this one.
    with_cluster(|_| {
        let options = Options { name: "e2e-bgp".parse()?, router: Some(Router::Frr), ..Options::default() };
        let send_frames = Path::new(env!("CARGO_BIN_EXE_send-frames"));
        let cluster = Cluster::start_with(options, &[SURGE], send_frames)?;
        cluster.run_alone(|cluster| {
            cluster.configure_router(MORE_NEIGHBORS)?;
            let site = Site::new(cluster)?;
            site.every_node_announces()?;
            site.only_nodes_with_endpoints_announce_under_policy_local()?;
            site.attributes_change_by_updates()?;
            site.a_range_goes_as_one_route()?;
            site.only_selected_nodes_connect()?;
            site.a_password_comes_from_a_secret()?;
            site.an_advertisement_is_for_its_peers()?;
            site.the_lan_and_the_router_both_find_an_address()?;
            site.an_excluded_node_withdraws()?;
            site.sessions_go_on_in_a_rollout()?;
            site.a_speaker_is_replaced()?;
            site.a_node_is_drained_under_load()?;
            site.a_node_loses_its_power()
        })
    });
}

/// The cluster, with the address of the Service `web` that all nodes announce.
struct Site<'a> {
    cluster: &'a Cluster,
    nodes: Vec<NodeId>,
    web: Ipv4Addr,
}

fn of_ferrolb(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("metallb.io/{version}"),
        "kind": kind,
        "metadata": {"name": name, "namespace": chart::NAMESPACE},
        "spec": spec,
    })
}

fn peer(name: &str, spec: &Value) -> Value {
    of_ferrolb("v1beta2", "BGPPeer", name, spec)
}

/// By IPv4, from the AS of the nodes to that of the router; with more fields.
fn outer_peer(more: &Value) -> Value {
    let mut spec = json!({
        "myASN": INSIDE, "peerASN": OUTSIDE, "peerAddress": Host::Router.ipv4(), "holdTime": "9s",
        "connectTime": "2s", "bfdProfile": "fast",
    });
    merge(&mut spec, more);
    peer("outer", &spec)
}

/// By IPv6, within the AS of the router.
fn inner_peer() -> Value {
    let spec = json!({
        "myASN": OUTSIDE, "peerASN": OUTSIDE, "peerAddress": Host::Router.ipv6(), "connectTime": "2s",
        "passwordSecret": {"name": "router"},
    });
    peer("inner", &spec)
}

/// Of the range that is routed, with more fields.
fn advertisement(more: &Value) -> Value {
    let mut spec = json!({"ipAddressPools": ["routed"]});
    merge(&mut spec, more);
    of_ferrolb("v1beta1", "BGPAdvertisement", "routed", &spec)
}

fn merge(spec: &mut Value, more: &Value) {
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
}

fn secret(password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": "router", "namespace": chart::NAMESPACE},
        "stringData": {"username": "", "password": password},
    })
}

/// As the plugin names nodes.
fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn host(address: impl Into<IpAddr>) -> String {
    match address.into() {
        IpAddr::V4(address) => format!("{address}/32"),
        IpAddr::V6(address) => format!("{address}/128"),
    }
}

impl<'a> Site<'a> {
    fn new(cluster: &'a Cluster) -> Result<Self> {
        let mut pool = objects::pool("routed", &ROUTED);
        pool["spec"]["avoidBuggyIPs"] = true.into();
        let profile = json!({"transmitInterval": 300, "receiveInterval": 300, "detectMultiplier": 3});
        cluster.apply([
            &pool,
            &of_ferrolb("v1beta1", "BFDProfile", "fast", &profile),
            &outer_peer(&json!({})),
            &advertisement(&json!({})),
        ])?;
        let web = cluster.balance("web")?;
        Ok(Self { cluster, nodes: cluster.lab.nodes().collect(), web })
    }

    /// That of all that has happened, nothing has ended a session by IPv4, but for those of the last node, which some of
    /// it is to end.
    fn nothing_flapped(&self) -> Result<()> {
        let (_, others) = self.nodes.split_last().context("there are nodes")?;
        self.cluster.sessions_never_ended(IpFamily::V4, others)
    }

    fn every_node_announces(&self) -> Result<()> {
        self.cluster.wait_for_sessions(IpFamily::V4, &self.nodes)?;
        self.cluster.wait_for_paths(&host(self.web), &self.nodes)?;
        let hops = self.cluster.hops_of_connections(self.web)?;
        ensure!(hops.len() == self.nodes.len(), "connections go to {hops:?} only");
        for _ in 0..12 {
            self.cluster.wait_for_answer(self.web, SOON)?;
        }
        for pod in self.cluster.pods(Role::Speaker)? {
            let up = format!("metallb_bgp_session_up{{peer=\"{}:179\",vrf=\"\"}} 1", Host::Router.ipv4());
            wait_until("the speaker says so too", SOON, || {
                let (_, metrics) = self.cluster.ask_program(&pod, "/metrics")?;
                ensure!(metrics.lines().any(|line| line == up), "{up} is not among\n{metrics}");
                Ok(())
            })?;
        }
        wait_until("each node tells which peers it announces to", SOON, || {
            let statuses = ["get", "servicebgpstatuses", "-n", chart::NAMESPACE];
            let statuses = self.cluster.kubectl_json(statuses)?;
            let statuses = statuses["items"].as_array().context("there is a list")?;
            let right = |it: &&Value| {
                it["status"]["serviceName"] == "web" && it["status"]["peers"] == json!(["outer"])
            };
            ensure!(statuses.iter().filter(right).count() == self.nodes.len(), "{statuses:?}");
            Ok(())
        })
    }

    fn only_nodes_with_endpoints_announce_under_policy_local(&self) -> Result<()> {
        let home = self.nodes[1];
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "lone", "namespace": e2e::NAMESPACE, "labels": {"app": "lone"}},
            "spec": {"nodeName": home.to_string(), "terminationGracePeriodSeconds": 1, "containers": [
                {"name": "web", "image": "hashicorp/http-echo", "args": ["-text=lone", "-listen=:8080"]},
            ]},
        });
        let spec = json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "selector": {"app": "lone"},
        });
        self.cluster.apply([&pod, &objects::service("lone", &spec)])?;
        let address = self.cluster.wait_for_address("lone")?;
        self.cluster.wait_for_paths(&host(address), &[home])?;
        self.cluster.wait_for_answer(address, SOON)?;
        self.cluster.kubectl(["delete", "pod", "lone", "--wait=false"])?;
        self.cluster.wait_for_paths(&host(address), &[])?;
        self.nothing_flapped()
    }

    fn attributes_change_by_updates(&self) -> Result<()> {
        let names = json!({"communities": [{"name": "blue", "value": "64512:7"}]});
        self.cluster.apply([
            &of_ferrolb("v1beta1", "Community", "names", &names),
            &advertisement(&json!({"communities": ["blue", "64512:8", "large:64512:1:2"]})),
        ])?;
        self.cluster.wait_for_attributes(&host(self.web), |path| {
            path.communities == "64512:7 64512:8" && path.large_communities == "64512:1:2"
        })?;
        self.cluster.apply([&advertisement(&json!({"communities": ["64512:9"]}))])?;
        self.cluster.wait_for_attributes(&host(self.web), |path| path.communities == "64512:9")?;
        self.cluster.wait_for_paths(&host(self.web), &self.nodes)?;
        self.nothing_flapped()
    }

    fn a_range_goes_as_one_route(&self) -> Result<()> {
        self.cluster.apply([&advertisement(&json!({"aggregationLength": 24}))])?;
        self.cluster.wait_for_paths(ROUTED[0], &self.nodes)?;
        self.cluster.wait_for_paths(&host(self.web), &[])?;
        self.cluster.wait_for_answer(self.web, SOON)?;
        self.cluster.apply([&advertisement(&json!({}))])?;
        self.cluster.wait_for_paths(&host(self.web), &self.nodes)?;
        self.cluster.wait_for_paths(ROUTED[0], &[])?;
        self.nothing_flapped()
    }

    fn only_selected_nodes_connect(&self) -> Result<()> {
        let [first, second, third] = self.nodes[..] else { bail!("there are other nodes") };
        let selector =
            json!({"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [third.to_string()]});
        let some = json!({"nodeSelectors": [{"matchExpressions": [selector]}]});
        self.cluster.apply([&outer_peer(&some)])?;
        self.cluster.wait_for_sessions(IpFamily::V4, &[first, second])?;
        self.cluster.wait_for_paths(&host(self.web), &[first, second])?;
        self.cluster.apply([&outer_peer(&json!({}))])?;
        self.cluster.wait_for_sessions(IpFamily::V4, &self.nodes)?;
        self.cluster.wait_for_paths(&host(self.web), &self.nodes)?;
        self.nothing_flapped()
    }

    fn a_password_comes_from_a_secret(&self) -> Result<()> {
        self.cluster.apply([&inner_peer(), &secret("wrong-horse")])?;
        let dual = json!({"type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack"});
        self.cluster.apply([&objects::service("dual", &dual)])?;
        self.cluster.wait_for_addresses("dual")?;
        let within = self.cluster.router_sessions()?;
        let up = within.iter().filter(|(peer, it)| peer.is_ipv6() && it.state == "Established").count();
        ensure!(up == 0, "sessions came up with a wrong password: {within:?}");
        self.cluster.apply([&secret(PASSWORD)])?;
        self.cluster.wait_for_sessions(IpFamily::V6, &self.nodes)?;
        self.cluster.wait_for_paths(&host(self.of_dual()?.1), &self.nodes)?;
        self.nothing_flapped()
    }

    fn an_advertisement_is_for_its_peers(&self) -> Result<()> {
        let (v4, v6) = self.of_dual()?;
        self.cluster.apply([&advertisement(&json!({"peers": ["outer"]}))])?;
        self.cluster.wait_for_paths(&host(v6), &[])?;
        self.cluster.wait_for_paths(&host(v4), &self.nodes)?;
        let inner = json!({"peers": ["inner"], "localPref": 150});
        self.cluster.apply([&advertisement(&inner)])?;
        self.cluster.wait_for_paths(&host(v4), &[])?;
        self.cluster.wait_for_paths(&host(v6), &self.nodes)?;
        self.cluster.wait_for_attributes(&host(v6), |path| path.local_preference == Some(150))?;
        self.cluster.apply([&advertisement(&json!({}))])?;
        self.cluster.wait_for_attributes(&host(v6), |path| path.local_preference == Some(100))?;
        self.cluster.wait_for_paths(&host(v4), &self.nodes)?;
        self.cluster.sessions_never_ended(IpFamily::V6, &self.nodes)?;
        self.nothing_flapped()
    }

    fn the_lan_and_the_router_both_find_an_address(&self) -> Result<()> {
        let pool = objects::pool("lan", &[ON_LAN]);
        let only = json!({"ipAddressPools": ["lan"]});
        let mut service = objects::load_balancer("both");
        service["metadata"]["annotations"] = json!({"metallb.io/address-pool": "lan"});
        self.cluster.apply([
            &pool,
            &of_ferrolb("v1beta1", "L2Advertisement", "lan", &only),
            &of_ferrolb("v1beta1", "BGPAdvertisement", "lan", &only),
            &service,
        ])?;
        let address = self.cluster.wait_for_address("both")?;
        self.cluster.wait_for_paths(&host(address), &self.nodes)?;
        self.cluster.wait_for_answer(address, SOON)?;
        // The control plane is on the LAN, and no router tells it anything.
        wait_until("the LAN finds the address", SOON, || self.cluster.visit(Host::Cp, address))?;
        self.cluster.kubectl(["delete", "service", "both"])?;
        self.cluster.wait_for_paths(&host(address), &[])?;
        Ok(())
    }

    fn an_excluded_node_withdraws(&self) -> Result<()> {
        let [first, second, third] = self.nodes[..] else { bail!("there are other nodes") };
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        let third = third.to_string();
        self.cluster.kubectl(["label", "node", &third, &format!("{label}=true")])?;
        self.cluster.wait_for_paths(&host(self.web), &[first, second])?;
        self.cluster.kubectl(["label", "node", &third, &format!("{label}-")])?;
        self.cluster.wait_for_paths(&host(self.web), &self.nodes)?;
        self.nothing_flapped()
    }

    /// Every speaker gives way to another, and the router notices nothing of it, nor does who visits.
    fn sessions_go_on_in_a_rollout(&self) -> Result<()> {
        let before = self.cluster.router_sessions()?;
        let on_nodes =
            || -> Result<Vec<String>> { self.nodes.iter().map(|it| self.cluster.speaker_on(*it)).collect() };
        let replaced = on_nodes()?;
        let place = SocketAddr::new(self.web.into(), 80);
        let ((), visits) = self.cluster.while_visiting_all(&[place], LOAD, || {
            let speakers = ["daemonset/ferrolb-speaker", "--namespace", chart::NAMESPACE];
            self.cluster.kubectl(["rollout", "restart"].into_iter().chain(speakers))?;
            self.cluster.kubectl(["rollout", "status", "--timeout=120s"].into_iter().chain(speakers))?;
            self.cluster.wait_until_well()
        })?;
        eprintln!("while all speakers were replaced: {visits}");
        visits.none_may_be_cut()?;
        ensure!(on_nodes()?.iter().all(|pod| !replaced.contains(pod)), "{replaced:?} are still there");
        let after = self.cluster.router_sessions()?;
        ensure!(before == after, "the router has noticed: {before:?}, {after:?}");
        self.cluster.wait_for_paths(&host(self.web), &self.nodes).map(drop)
    }

    /// Who visits meanwhile notices nothing: the router has other ways before this one goes.
    fn a_speaker_is_replaced(&self) -> Result<()> {
        let [.., third] = self.nodes[..] else { bail!("there are other nodes") };
        let gone = self.cluster.speaker_on(third)?;
        let before = self.sessions_of(third)?;
        let ((), visits) = self.cluster.while_visiting(self.web, || {
            self.cluster.kubectl(["delete", "pod", "-n", chart::NAMESPACE, &gone])?;
            wait_until("the next speaker has a session", SOON, || {
                ensure!(self.sessions_of(third)? > before, "it has none");
                Ok(())
            })?;
            self.cluster.wait_for_paths(&host(self.web), &self.nodes).map(drop)
        })?;
        eprintln!("while a speaker was replaced: {visits}");
        visits.must_all_succeed()?;
        self.nothing_flapped()
    }

    /// Its Pods go elsewhere, and then its speaker has to go too. What was foretold of the routes happens, and visitors of a
    /// Service of either policy notice nothing.
    fn a_node_is_drained_under_load(&self) -> Result<()> {
        let [first, second, third] = self.nodes[..] else { bail!("there are other nodes") };
        let places = self.serve_from_each_node()?;
        let foretold = wait_until("the routes that go are foretold", SOON, || {
            let (foretold, _) = ferrolb(self.cluster, &format!("whatif drain {third}"))?;
            let of = |address: &Ipv4Addr| items(&foretold).find(|it| it["ip"] == host(*address)).cloned();
            let rows = places.iter().filter_map(of).collect::<Vec<_>>();
            ensure!(rows.len() == places.len(), "{foretold}");
            Ok(rows)
        })?;
        let (all, some) = (listed(&self.nodes), listed(&[first, second]));
        for (row, drained) in foretold.iter().zip([&all, &some]) {
            let (now, then, off) = (&row["now"], &row["then"], &row["off"]);
            ensure!(*now == all && then == drained && *off == some, "it was foretold: {row}");
        }
        let (node, taint) = (third.to_string(), "e2e=unwelcome:NoExecute");
        let visited: Vec<_> = places.iter().map(|it| SocketAddr::new((*it).into(), 80)).collect();
        let ((), visits) = self.cluster.while_visiting_all(&visited, LOAD, || {
            let drain = ["drain", &node, "--ignore-daemonsets", "--force", "--timeout=60s"];
            self.cluster.kubectl(drain.into_iter().chain(["--pod-selector=app=steady"]))?;
            self.cluster.wait_for_paths(&host(places[1]), &[first, second])?;
            self.cluster.wait_for_paths(&host(places[0]), &self.nodes)?;
            self.cluster.kubectl(["taint", "node", &node, taint])?;
            self.cluster.wait_for_paths(&host(places[0]), &[first, second]).map(drop)
        })?;
        eprintln!("while {third} was drained: {visits}");
        // The router takes the node out of the ways to two addresses, one after the other.
        visits.none_may_fail_but_moved(4)?;
        self.cluster.kubectl(["taint", "node", &node, &format!("{taint}-")])?;
        self.cluster.kubectl(["uncordon", &node])?;
        self.cluster.kubectl(["delete", "deployment", "steady", "--wait=false"])?;
        self.cluster.wait_for_paths(&host(self.web), &self.nodes)?;
        self.nothing_flapped()
    }

    /// Pods that leave as they should, one on each node, and in front of them a Service of policy Cluster and one of policy
    /// Local.
    fn serve_from_each_node(&self) -> Result<[Ipv4Addr; 2]> {
        let labels = json!({"app": "steady"});
        let apart = json!({
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "steady", "namespace": e2e::NAMESPACE},
            "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"topologySpreadConstraints": [apart], "containers": [{
                    "name": "web", "image": "hashicorp/http-echo", "args": ["-text=steady", "-listen=:8080"],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    // Until all nodes know that it goes.
                    "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
                }]},
            }},
        });
        let policy = |policy: &str| json!({"type": "LoadBalancer", "externalTrafficPolicy": policy, "selector": labels});
        let [cluster, local] =
            ["Cluster", "Local"].map(|it| objects::service(&it.to_lowercase(), &policy(it)));
        self.cluster.apply([&deployment, &cluster, &local])?;
        self.cluster.kubectl(["rollout", "status", "deployment", "steady", "--timeout=60s"])?;
        let places = ["cluster", "local"].map(|name| self.cluster.wait_for_address(name));
        let [cluster, local] = places;
        let places = [cluster?, local?];
        for place in places {
            self.cluster.wait_for_paths(&host(place), &self.nodes)?;
        }
        Ok(places)
    }

    fn a_node_loses_its_power(&self) -> Result<()> {
        let [first, second, third] = self.nodes[..] else { bail!("there are other nodes") };
        self.cluster.wait_for_bfd(third)?;
        // No other node is to have connections for its Pods, which is another story.
        let patch = json!({"spec": {"externalTrafficPolicy": "Local"}}).to_string();
        self.cluster.kubectl(["patch", "service", "web", "--patch", &patch])?;
        self.cluster.wait_for_paths(&host(self.web), &self.nodes)?;
        let place = SocketAddr::new(self.web.into(), 80);
        let (cut, visits) = self.cluster.while_visiting_all(&[place], LOAD, || {
            self.cluster.lab.poweroff(third)?;
            let cut = SystemTime::now();
            self.cluster.wait_for_paths_within(&host(self.web), &[first, second], GONE_WITHIN)?;
            let gone = cut.elapsed().unwrap_or_default();
            eprintln!("the router forwarded to {third} no more {gone:.1?} after it had lost power");
            Ok(cut)
        })?;
        let lost = visits.failed.iter().filter_map(|it| it.at.duration_since(cut).ok()).max();
        let lost = lost.unwrap_or_default();
        eprintln!("while {third} lost its power: {visits}; the last that failed began {lost:.1?} after");
        ensure!(lost < LOST_FOR, "requests failed for {lost:?}");
        wait_until("somebody removes what the dead node reported", SOON, || {
            let statuses = ["get", "servicebgpstatuses", "-n", chart::NAMESPACE];
            let statuses = self.cluster.kubectl_json(statuses)?;
            let statuses = statuses["items"].as_array().context("there is a list")?;
            let node = third.to_string();
            ensure!(statuses.iter().all(|it| it["status"]["node"] != node), "{statuses:?}");
            ensure!(!statuses.is_empty(), "live nodes report");
            Ok(())
        })?;
        self.nothing_flapped()
    }

    /// How often the session of a node came up.
    fn sessions_of(&self, node: NodeId) -> Result<u64> {
        let sessions = self.cluster.router_sessions()?;
        let session = sessions.get(&Host::Node(node).address(IpFamily::V4));
        Ok(session.context("the router has a session with each node")?.established)
    }

    /// The addresses of the Service `dual`.
    fn of_dual(&self) -> Result<(Ipv4Addr, Ipv6Addr)> {
        match self.cluster.addresses("dual")?[..] {
            [IpAddr::V4(v4), IpAddr::V6(v6)] => Ok((v4, v6)),
            ref other => bail!("it has {other:?}"),
        }
    }
}
