//! The chart's NetworkPolicies, enforced.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, METRICS_PORT, NAMESPACE, PROBED_PORT, Role, SOON};
use lab::{Host, chart, policies, wait_until};
use serde_json::{Value, json};

use crate::{serve, with_cluster};

/// What the policies are to rein in: in the controllers' Pods one program more serves, and one asks.
const BESIDE_THE_CONTROLLER: [&str; 7] = [
    "controller.recoverEndpoints=true",
    "controller.extraContainers[0].name=server",
    "controller.extraContainers[0].image=hashicorp/http-echo",
    "controller.extraContainers[0].args={-listen=:8080,-text=beside}",
    "controller.extraContainers[1].name=shell",
    "controller.extraContainers[1].image=curlimages/curl",
    "controller.extraContainers[1].command={sleep,infinity}",
];
const DENY: [&str; 2] = ["networkpolicies.enabled=true", "networkpolicies.defaultDeny=true"];

/// The chart's `speaker.memberlist.mlBindPort`.
const GOSSIP_PORT: u16 = 7946;
const BYSTANDER: &str = "bystander";

/// Where the Service of the API server is in a lab.
const API_SERVICE: &str = "10.96.0.1";

/// A connection that somebody may want.
#[derive(Debug)]
struct Path {
    namespace: &'static str,
    /// The Pod whose container `shell` asks.
    from: String,
    url: String,
}

/// How a request ends.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Refused,
}

impl Path {
    fn new(namespace: &'static str, from: &str, url: String) -> Self {
        Self { namespace, from: from.to_owned(), url }
    }

    fn try_out(&self, cluster: &Cluster) -> Result<Outcome> {
        let Self { namespace, from, url } = self;
        let exec = ["exec", "-n", namespace, from, "-c", "shell", "--"];
        // Whatever the answer: the API server knows nobody here.
        let curl = ["curl", "-sk", "-o", "/dev/null", "--connect-timeout", "2", "--max-time", "4", url];
        match cluster.lab.kubectl([&exec[..], &curl].concat()) {
            Ok(_) => Ok(Outcome::Answered),
            // "Failed to connect to host" and "Operation timeout", curl(1).
            Err(error) if [7, 28].iter().any(|code| said_code(&error, *code)) => Ok(Outcome::Refused),
            Err(error) => Err(error),
        }
    }

    fn must_be(&self, cluster: &Cluster, expected: Outcome) -> Result<()> {
        let outcome = self.try_out(cluster)?;
        ensure!(outcome == expected, "{self:?} was {outcome:?}");
        Ok(())
    }
}

fn said_code(error: &anyhow::Error, code: u8) -> bool {
    format!("{error:#}").contains(&format!("terminated with exit code {code}"))
}

/// A Pod in the controller's namespace that no policy selects but the one for all. It is gone when this is dropped.
struct Bystander<'a>(&'a Cluster);

impl<'a> Bystander<'a> {
    fn start(cluster: &'a Cluster) -> Result<Self> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": BYSTANDER, "namespace": chart::NAMESPACE},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "server", "image": "hashicorp/http-echo", "args": ["-listen=:8080", "-text=by"]},
                {"name": "shell", "image": "curlimages/curl", "command": ["sleep", "infinity"]},
            ]},
        });
        let bystander = Self(cluster);
        cluster.apply([&pod])?;
        cluster.wait_until_well()?;
        Ok(bystander)
    }
}

impl Drop for Bystander<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.lab.kubectl(["delete", "pod", BYSTANDER, "-n", chart::NAMESPACE]) {
            eprintln!("{error:#}");
        }
    }
}

/// A name and an address of each Pod.
fn address(pod: &Value) -> Result<(&str, &str)> {
    let name = pod["metadata"]["name"].as_str().context("every Pod has a name")?;
    Ok((name, pod["status"]["podIP"].as_str().with_context(|| format!("{name} has no address"))?))
}

/// What the policies let through, and what they do not.
fn paths(cluster: &Cluster) -> Result<(Vec<Path>, Vec<Path>)> {
    let web = cluster.kubectl_json(["get", "pods", "-l", "app=web"])?;
    let (_, web) = address(&web["items"][0])?;
    let bystander = cluster.lab.kubectl_json(["get", "pod", BYSTANDER, "-n", chart::NAMESPACE])?;
    let (_, bystander) = address(&bystander)?;
    let api_server = Host::Cp.ipv4();

    let from_stranger = |url| Path::new(NAMESPACE, "shell", url);
    let mut open = Vec::new();
    let mut closed = vec![
        from_stranger(format!("http://{bystander}:8080/")),
        Path::new(chart::NAMESPACE, BYSTANDER, format!("https://{api_server}:6443/")),
    ];
    for pod in cluster.pods(Role::Controller)? {
        let (name, address) = address(&pod)?;
        let from_controller = |url| Path::new(chart::NAMESPACE, name, url);
        open.push(from_stranger(format!("https://{address}:{METRICS_PORT}/metrics")));
        open.push(from_stranger(format!("http://{address}:{PROBED_PORT}/healthz")));
        open.push(from_controller(format!("https://{api_server}:6443/")));
        open.push(from_controller(format!("https://{API_SERVICE}/")));
        closed.push(from_stranger(format!("http://{address}:8080/")));
        closed.push(from_controller(format!("http://{web}:8080/")));
    }
    // It is in the node's network, which no policy governs.
    for pod in cluster.pods(Role::Speaker)? {
        let (_, address) = address(&pod)?;
        open.push(from_stranger(format!("https://{address}:{METRICS_PORT}/metrics")));
        open.push(from_stranger(format!("http://{address}:{PROBED_PORT}/healthz")));
    }
    Ok((open, closed))
}

#[test]
fn under_its_network_policies_ferrolb_can_do_all_it_must_and_nothing_else() {
    with_cluster(|cluster| {
        let before = serve(cluster, "before", &["172.16.211.225-172.16.211.226"])?;
        let _enforcer = policies::enforce(&cluster.lab)?;
        let _values = cluster.with_values(BESIDE_THE_CONTROLLER)?;
        let _bystander = Bystander::start(cluster)?;
        let (open, closed) = paths(cluster)?;
        for path in open.iter().chain(&closed) {
            path.must_be(cluster, Outcome::Answered).context("before there are policies")?;
        }

        chart::set(&cluster.lab, DENY)?;
        // Those that start under the policies must find all they need.
        let controllers = "app.kubernetes.io/component=controller";
        cluster.lab.kubectl(["delete", "pods", "-n", chart::NAMESPACE, "-l", controllers])?;
        cluster.wait_until_well()?;
        let (open, closed) = paths(cluster)?;
        for path in &closed {
            wait_until("the policies are in force", SOON, || path.must_be(cluster, Outcome::Refused))?;
        }
        policies::forget_udp(&cluster.lab, GOSSIP_PORT)?;
        for path in &open {
            path.must_be(cluster, Outcome::Answered)?;
        }
        cluster.wait_until_controllers_hear()?;
        let after = cluster.balance("after")?;
        for address in [before, after] {
            cluster.wait_for_answer(address, SOON)?;
        }

        // It brings a policy of its own, and takes the second address.
        cluster.kubectl(["delete", "service", "after"])?;
        let said = cluster.lab.helm([
            "test",
            "ferrolb",
            "--logs",
            "--timeout=90s",
            "--namespace",
            chart::NAMESPACE,
        ])?;
        ensure!(said.contains("leads here"), "{said}");
        Ok(())
    });
}
