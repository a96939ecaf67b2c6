//! FerroLB's Pods and processes, and what can be done to them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use lab::{Host, NodeId, chart, wait_until};
use serde_json::Value;

use crate::{Cluster, SOON};

/// Where FerroLB's programs are probed (the chart's `livenessProbe.port`).
pub const PROBED_PORT: u16 = 17472;
/// Where they serve metrics (the chart's `prometheus.metricsPort`).
pub const METRICS_PORT: u16 = 9120;

/// Who may get metrics.
const SCRAPER: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "e2e-scraper", "namespace": "default"}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "e2e-scraper"},
     "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "e2e-scraper"},
     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "e2e-scraper"},
     "subjects": [{"kind": "ServiceAccount", "name": "e2e-scraper", "namespace": "default"}]}
]}"#;

/// One of FerroLB's two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The controller.
    Controller,
    /// The speaker.
    Speaker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Controller => "controller",
            Self::Speaker => "speaker",
        })
    }
}

/// A node whose kubelet cannot probe the speaker. It can again when this is dropped.
#[derive(Debug)]
pub struct Unprobed<'a> {
    cluster: &'a Cluster,
    node: NodeId,
}

impl Drop for Unprobed<'_> {
    fn drop(&mut self) {
        let command = ["nft", "delete", "table", "inet", "unprobed"];
        if let Err(error) = self.cluster.lab.run(Host::Node(self.node), command) {
            eprintln!("{error:#}");
        }
    }
}

impl Cluster {
    /// Keeps kubelet from probing the speaker on a node, which so turns unready while it goes on working.
    pub fn block_probes(&self, node: NodeId) -> Result<Unprobed<'_>> {
        let rules = format!(
            "table inet unprobed {{ chain input {{ type filter hook input priority 0; tcp dport {PROBED_PORT} drop; }}; }}"
        );
        self.lab.run(Host::Node(node), ["nft", &rules])?;
        Ok(Unprobed { cluster: self, node })
    }

    /// FerroLB's Pods of one role.
    pub fn pods(&self, role: Role) -> Result<Vec<Value>> {
        let labels = format!("app.kubernetes.io/name=ferrolb,app.kubernetes.io/component={role}");
        let list = self.kubectl_json(["get", "pods", "-n", chart::NAMESPACE, "-l", &labels])?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Asks the program in a Pod of FerroLB for its health, or for its metrics with a token of somebody who may have
    /// them. Returns the status and what it says.
    pub fn ask_program(&self, pod: &Value, path: &str) -> Result<(u16, String)> {
        let address = pod["status"]["podIP"].as_str().context("every Pod has an address")?.parse()?;
        self.ask_program_at(address, pod, path)
    }

    /// The same at another address of the Pod.
    pub fn ask_program_at(&self, address: IpAddr, pod: &Value, path: &str) -> Result<(u16, String)> {
        // Speakers that hand over declare no ports.
        let arguments = pod["spec"]["containers"][0]["args"].as_array().context("it has arguments")?;
        let port = |option: &str| {
            let mut values = arguments.iter().filter_map(|it| it.as_str()?.strip_prefix(option));
            Some(SocketAddr::new(address, values.next()?.rsplit_once(':')?.1.parse().ok()?))
        };
        let probes = port("--http-bind=").context("every Pod of FerroLB has a port for probes")?;
        let mut curl = ["curl", "-gsSk", "-m", "5", "-w", "\n%{http_code}"].map(str::to_owned).to_vec();
        match port("--metrics-bind=") {
            Some(metrics) if path == "/metrics" => {
                let token = format!("Authorization: Bearer {}", self.scrape_token()?);
                curl.extend(["-H".to_owned(), token, format!("https://{metrics}{path}")]);
            }
            _ => curl.push(format!("http://{probes}{path}")),
        }
        let any = Host::Node(self.lab.nodes().next().context("there is a node")?);
        let answer = self.lab.run(any, curl.iter().map(String::as_str))?;
        let (text, status) = answer.rsplit_once('\n').context("curl writes the status")?;
        Ok((status.parse()?, text.to_owned()))
    }

    /// A token of somebody who may have metrics. The API server is asked for the first one only, so that metrics can be
    /// had while it is away.
    fn scrape_token(&self) -> Result<&str> {
        if let Some(token) = self.scrape_token.get() {
            return Ok(token);
        }
        self.lab.apply(SCRAPER)?;
        let token = self.kubectl(["create", "token", "e2e-scraper", "-n", "default", "--duration=24h"])?;
        Ok(self.scrape_token.get_or_init(|| token.trim().to_owned()))
    }

    /// Waits until each controller has heard from all speakers, as those do that recover endpoints.
    pub fn wait_until_controllers_hear(&self) -> Result<()> {
        let all = format!("ferrolb_gossip_members {}", self.lab.nodes().count());
        wait_until("the controllers hear all speakers", SOON, || {
            for pod in self.pods(Role::Controller)? {
                let (_, text) = self.ask_program(&pod, "/metrics")?;
                let members = text.lines().find(|line| line.starts_with("ferrolb_gossip_members "));
                ensure!(members == Some(&all), "{}: {members:?}", pod["metadata"]["name"]);
            }
            Ok(())
        })
    }

    /// The name of the speaker's Pod on a node.
    pub fn speaker_on(&self, node: NodeId) -> Result<String> {
        let pods = self.pods(Role::Speaker)?;
        let here = |pod: &&Value| {
            pod["spec"]["nodeName"] == node.to_string() && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let pod = pods.iter().find(here).with_context(|| format!("there is no speaker on {node}"))?;
        Ok(pod["metadata"]["name"].as_str().context("every Pod has a name")?.to_owned())
    }

    /// How often each of FerroLB's containers was started again, by Pod.
    pub fn restarts(&self) -> Result<BTreeMap<String, u64>> {
        let pods = [self.pods(Role::Controller)?, self.pods(Role::Speaker)?].concat();
        let restarts = |pod: &Value| {
            let name = pod["metadata"]["name"].as_str().context("every Pod has a name")?.to_owned();
            Ok((name, pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)))
        };
        pods.iter().map(restarts).collect()
    }

    /// The process ids of one of FerroLB's programs on a node, as the node numbers them.
    pub fn processes(&self, role: Role, node: NodeId) -> Result<Vec<u32>> {
        // The program's first argument is its role.
        self.lab.processes(Host::Node(node), &role.to_string())
    }

    /// Sends a signal, such as KILL, to one of FerroLB's programs on a node, which must run there.
    pub fn signal(&self, role: Role, node: NodeId, signal: &str) -> Result<()> {
        let ids = self.processes(role, node)?;
        ensure!(!ids.is_empty(), "there is no {role} on {node}");
        let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        self.lab.run(Host::Node(node), ["sh", "-c", &format!("kill -{signal} {ids}")]).map(drop)
    }
}
