//! The lab that all tests use, one after the other.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use lab::audit::Grant;
use lab::tools::Program;
use lab::{Host, Lab, Options, Power, chart, metallb, wait_until};
use serde_json::{Value, json};

use crate::capture::Capture;
use crate::objects;

/// The namespace of everything that tests create, but FerroLB's own resources.
pub const NAMESPACE: &str = "e2e";

/// What takes a moment may take this long on a machine that does other things besides.
pub const SOON: Duration = Duration::from_secs(30);

const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds");

const API_SERVER_READY_WITHIN: Duration = Duration::from_mins(1);
/// How long a cluster may need to recover from what a test has done to it.
const WELL_WITHIN: Duration = Duration::from_mins(2);

/// A lab with FerroLB, and Pods to send requests to and from. It is gone with the process that started it.
#[derive(Debug)]
pub struct Cluster {
    /// The lab.
    pub lab: Lab,
    pub(crate) capture: Capture,
    pub(crate) send_frames: PathBuf,
    /// FerroLB's image.
    image: PathBuf,
    /// How much of the audit log was looked at; who holds it has the turn.
    audited: Mutex<usize>,
    installed: Mutex<Installed>,
    /// What FerroLB's roles have ever allowed it.
    pub(crate) granted: Mutex<BTreeSet<Grant>>,
    /// What metrics are asked for with, once they were.
    pub(crate) scrape_token: OnceLock<String>,
}

/// What is meant to serve Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Installed {
    #[default]
    FerroLb,
    Nothing,
    MetalLb,
}

impl Cluster {
    /// Builds FerroLB's image, starts the lab and installs the chart. `send_frames` is the program of that name.
    pub fn start(send_frames: &Path) -> Result<Self> {
        Self::start_in(Options { name: NAMESPACE.parse()?, ..Options::default() }, send_frames)
    }

    /// The same in a lab with these options.
    pub fn start_in(options: Options, send_frames: &Path) -> Result<Self> {
        Self::start_with(options, &[], send_frames)
    }

    /// The same with these values of the chart, each as `name=value`.
    pub fn start_with(options: Options, values: &[&str], send_frames: &Path) -> Result<Self> {
        let image = chart::build_image()?;
        let lab = Lab::start(options)?;
        chart::install_with(&lab, &image, values)?;
        lab.apply(objects::BACKEND)?;
        let capture = Capture::start(&lab, Host::Client, ["arp"])?;
        let cluster = Self {
            lab,
            capture,
            send_frames: send_frames.to_owned(),
            image,
            audited: Mutex::default(),
            installed: Mutex::default(),
            granted: Mutex::default(),
            scrape_token: OnceLock::new(),
        };
        cluster.note_grants()?;
        cluster.wait_until_well()?;
        Ok(cluster)
    }

    /// Runs a test, then removes what it made and repairs what it broke. If it failed, says what the cluster looks
    /// like and panics.
    pub fn run(&self, test: impl FnOnce(&Self) -> Result<()>) {
        let mut audited = self.audited.lock().unwrap_or_else(PoisonError::into_inner);
        let began = SystemTime::now();
        let test = || test(self).and_then(|()| self.nothing_was_denied(&mut audited));
        let must_hold = || test().unwrap_or_else(|error| panic!("{error:#}"));
        let outcome = catch_unwind(AssertUnwindSafe(must_hold));
        if outcome.is_err() {
            eprintln!("{}", self.explain(began));
        }
        let restored = self.restore().and_then(|()| self.record_rights());
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        restored.unwrap_or_else(|error| panic!("the cluster did not recover: {error:#}"));
    }

    /// Runs the only test of this cluster, which ends with it. If it failed, says what the cluster looks like.
    pub fn run_alone(self, test: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let mut audited = self.audited.lock().unwrap_or_else(PoisonError::into_inner);
        let began = SystemTime::now();
        let outcome = test(&self).and_then(|()| self.nothing_was_denied(&mut audited));
        if outcome.is_err() {
            eprintln!("{}", self.explain(began));
        }
        outcome.and(self.note_requests())
    }

    /// Takes FerroLB away, and leaves what Helm leaves. It is installed again when the test ends.
    pub fn uninstall(&self) -> Result<()> {
        self.now_installed(Installed::Nothing);
        self.uninstall_release()
    }

    /// Puts MetalLB in FerroLB's place. When the test ends, whatever is there of the two then goes, and FerroLB is
    /// installed again.
    pub fn replace_by_metallb(&self) -> Result<()> {
        self.now_installed(Installed::MetalLb);
        self.uninstall_release()?;
        self.lab.kubectl(["delete", "-f", CRDS])?;
        metallb::install(&self.lab)
    }

    fn reinstall(&self) -> Result<()> {
        let was = self.now_installed(Installed::FerroLb);
        if was == Installed::MetalLb {
            self.uninstall_release()?;
            metallb::remove(&self.lab)?;
        }
        if was != Installed::FerroLb {
            chart::install(&self.lab, &self.image)?;
        }
        Ok(())
    }

    fn now_installed(&self, what: Installed) -> Installed {
        std::mem::replace(&mut *self.installed.lock().unwrap_or_else(PoisonError::into_inner), what)
    }

    fn uninstall_release(&self) -> Result<()> {
        let uninstall = ["uninstall", "ferrolb", "--ignore-not-found", "--wait", "--timeout=60s"];
        self.lab.helm([&uninstall[..], &["--namespace", chart::NAMESPACE]].concat()).map(drop)
    }

    /// kubectl in the tests' namespace, unless the arguments name another.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        self.lab.kubectl(["--namespace", NAMESPACE].into_iter().chain(arguments))
    }

    /// The same with `-o json`.
    pub fn kubectl_json<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Value> {
        self.lab.kubectl_json(["--namespace", NAMESPACE].into_iter().chain(arguments))
    }

    /// Applies manifests.
    pub fn apply<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) -> Result<()> {
        let documents: Vec<String> = objects.into_iter().map(ToString::to_string).collect();
        self.lab.apply(&documents.join("\n---\n")).map(drop)
    }

    /// Creates a Service of type LoadBalancer and waits for its address, which must be IPv4.
    pub fn balance(&self, name: &str) -> Result<Ipv4Addr> {
        self.apply([&objects::load_balancer(name)])?;
        self.wait_for_address(name)
    }

    /// The addresses in the status of a Service.
    pub fn addresses(&self, service: &str) -> Result<Vec<IpAddr>> {
        let service = self.kubectl_json(["get", "service", service])?;
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().map_or(&[][..], Vec::as_slice);
        let address = |entry: &Value| Ok(entry["ip"].as_str().context("an entry has no ip")?.parse()?);
        ingress.iter().map(address).collect()
    }

    /// Waits until a Service has addresses.
    pub fn wait_for_addresses(&self, service: &str) -> Result<Vec<IpAddr>> {
        wait_until(&format!("the Service {service} has an address"), SOON, || {
            let addresses = self.addresses(service)?;
            ensure!(!addresses.is_empty(), "its status names none");
            Ok(addresses)
        })
    }

    /// Waits until a Service has an address, which must be one of IPv4.
    pub fn wait_for_address(&self, service: &str) -> Result<Ipv4Addr> {
        match self.wait_for_addresses(service)?[..] {
            [IpAddr::V4(address)] => Ok(address),
            ref other => bail!("the Service {service} has {other:?}"),
        }
    }

    /// Waits until a Service has this address. Where the API server was away just before, it may have had another one
    /// for a moment, of a pool that a test has left.
    pub fn wait_until_it_has(&self, service: &str, address: Ipv4Addr) -> Result<()> {
        wait_until(&format!("the Service {service} has {address}"), SOON, || {
            let addresses = self.addresses(service)?;
            ensure!(addresses == [address], "it has {addresses:?}");
            Ok(())
        })
    }

    /// Waits until there is an event of type Warning about an object whose message contains `part`.
    pub fn wait_for_warning(&self, namespace: &str, kind: &str, name: &str, part: &str) -> Result<()> {
        let fields = format!("type=Warning,involvedObject.kind={kind},involvedObject.name={name}");
        wait_until(&format!("a Warning about the {kind} {name} says {part:?}"), SOON, || {
            let events =
                self.kubectl_json(["get", "events", "-n", namespace, "--field-selector", &fields])?;
            let messages = events["items"].as_array().into_iter().flatten().map(|event| &event["message"]);
            let messages: Vec<&str> = messages.filter_map(Value::as_str).collect();
            ensure!(messages.iter().any(|message| message.contains(part)), "there are {messages:?}");
            Ok(())
        })
    }

    /// The same as the function of that name.
    pub fn wait_until_well(&self) -> Result<()> {
        wait_until_well(&self.lab)
    }

    /// Starts the API server after a crash, and waits until it is ready and followed: the longer it was away, the
    /// longer kube-proxy waits until it looks again, up to half a minute.
    pub fn start_api_server(&self) -> Result<()> {
        self.lab.restart(Host::Cp, Program::KubeApiserver)?;
        self.wait_for_api_server(API_SERVER_READY_WITHIN)?;
        self.apply([&objects::service("followed", &json!({}))])?;
        let service = self.kubectl_json(["get", "service", "followed"])?;
        let url = format!("http://{}/", service["spec"]["clusterIP"].as_str().context("it has an address")?);
        for status in self.lab.status()? {
            if let (Host::Node(node), Power::On) = (status.host, status.power) {
                wait_until(&format!("kube-proxy of {node} follows"), WELL_WITHIN, || {
                    self.lab.run(status.host, ["curl", "-sS", "--fail", "--max-time", "2", &url])
                })?;
            }
        }
        self.kubectl(["delete", "service", "followed"]).map(drop)
    }

    fn wait_for_api_server(&self, patience: Duration) -> Result<()> {
        wait_until("the API server is ready", patience, || self.kubectl(["get", "--raw", "/readyz"]))
            .map(drop)
    }

    /// Removes what tests make, and repairs what they break.
    fn restore(&self) -> Result<()> {
        for status in self.lab.status()? {
            match (status.host, status.power) {
                (Host::Node(node), Power::Off) => self.lab.poweron(node)?,
                (Host::Node(node), Power::Unplugged) => self.lab.plug(node)?,
                (Host::Cp, _) if !status.running.contains(&Program::KubeApiserver) => {
                    self.start_api_server()?;
                }
                _ => {}
            }
        }
        self.wait_for_api_server(WELL_WITHIN)?;
        self.kubectl(["delete", "services", "--all"])?;
        self.reinstall()?;
        let ours = "ipaddresspools,l2advertisements,nodeaddresspools,bgppeers,bgpadvertisements,bfdprofiles,communities";
        self.kubectl(["delete", ours, "--all", "-n", chart::NAMESPACE])?;
        self.kubectl(["delete", "addressreservations", "--all"])?;
        self.wait_until_well()
    }
}

/// Waits until all nodes and Pods are ready, and there are as many Pods as there should be.
pub fn wait_until_well(lab: &Lab) -> Result<()> {
    wait_until("all nodes and Pods are ready", WELL_WITHIN, || is_well(lab))
}

/// That all nodes and Pods are ready, and that there are as many Pods as there should be.
pub fn is_well(lab: &Lab) -> Result<()> {
    let kinds = "nodes,pods,daemonsets,deployments";
    let list = lab.kubectl_json(["get", kinds, "--all-namespaces"])?;
    list["items"].as_array().context("there is a list")?.iter().try_for_each(object_is_well)
}

fn object_is_well(object: &Value) -> Result<()> {
    let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
    let status = &object["status"];
    let count = |field: &str| status[field].as_u64().unwrap_or(0);
    match object["kind"].as_str() {
        Some("Node" | "Pod") => {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
            ensure!(ready.any(|condition| condition["status"] == "True"), "{name} is not ready");
            ensure!(object["metadata"]["deletionTimestamp"].is_null(), "{name} is about to go");
        }
        Some("DaemonSet") => {
            ensure!(count("numberReady") == count("desiredNumberScheduled"), "{name} lacks Pods");
        }
        Some("Deployment") => {
            let wanted = object["spec"]["replicas"].as_u64();
            ensure!(Some(count("readyReplicas")) == wanted, "{name} lacks Pods");
        }
        _ => bail!("{name} was not asked for"),
    }
    Ok(())
}
