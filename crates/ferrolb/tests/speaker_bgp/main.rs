//! A speaker between a real API server and a real router: what the objects about BGP say is in the router's table.
//!
//! Needs root, and BIRD of Debian: `cargo test -p ferrolb --test speaker_bgp -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod acceptance;
mod metallb;
mod peers;
mod steps;
mod table;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Api, Client, Config};
use lab::apiserver::ApiServer;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const DEADLINE: Duration = Duration::from_mins(2);
const NAMESPACE: &str = "metallb-system";
/// `secret` and `another` in base64.
const PASSWORDS: [&str; 2] = ["c2VjcmV0", "YW5vdGhlcg=="];

#[test]
#[ignore = "needs BIRD (bird2)"]
fn what_objects_about_bgp_say_is_in_the_table_of_a_router() {
    new_network();
    let folder = TempDir::new().unwrap();
    let cluster = Cluster::start();
    cluster.fill();
    let mut bird = Bird::start(&folder, "secret");
    let mut speaker = cluster.speaker(&folder, "speaker.log", &[]);

    let route = wait("the route", || bird.route("198.51.100.1/32"));
    assert!(route.contains("(64512,7)") && route.contains("192.0.2.2"), "{route}");
    assert!(bird.route("198.51.100.2/32").is_none(), "it has no endpoint");
    let status = wait("the report", || cluster.reported("ServiceBGPStatus"));
    assert!(status.metadata.name.as_ref().unwrap().starts_with("bgp-"));
    let labels = status.metadata.labels.as_ref().unwrap();
    for (label, value) in [("node", "n1"), ("service-name", "served"), ("service-namespace", "default")]
        .map(|(key, value)| (format!("metallb.io/{key}"), value))
    {
        assert_eq!(labels[&label], value);
    }
    assert_eq!(status.data["status"]["peers"], json!(["router"]));
    wait("the event", || {
        let message = |event: DynamicObject| event.data["message"].as_str().map(str::to_owned);
        let mut messages = cluster.list("Event", "default").into_iter().filter_map(message);
        messages.find(|it| it == "announcing from node \"n1\" with protocol \"bgp\"")
    });
    wait("the report that all is well", || {
        (cluster.reported("ConfigurationState")?.data["status"]["result"] == "Valid").then_some(())
    });

    wait("the report on the session", || {
        let report = cluster.list("ConfigurationState", NAMESPACE).pop()?;
        let mut conditions = report.data["status"]["conditions"].as_array()?.iter();
        let session = conditions.find(|it| it["type"] == "session.ferrolb.io/router")?;
        (session["status"] == "True" && session["message"] == "192.0.2.1:179").then_some(())
    });

    // Attributes change, and no session with them.
    cluster.patch("BGPAdvertisement", NAMESPACE, "all", &json!({"spec": {"communities": ["64512:8"]}}));
    wait("the other community", || bird.route("198.51.100.1/32")?.contains("(64512,8)").then_some(()));
    assert_eq!(bird.times_established(), 1);
    cluster.create("EndpointSlice", "default", &slice("idle"));
    wait("the route of another Service", || bird.route("198.51.100.2/32"));
    cluster.delete("EndpointSlice", "default", "served-1");
    wait("the withdrawal", || bird.route("198.51.100.1/32").is_none().then_some(()));
    assert_eq!(bird.times_established(), 1);

    // Another password, first in the Secret and then in the router.
    cluster.patch("Secret", NAMESPACE, "password", &json!({"data": {"password": PASSWORDS[1]}}));
    wait("the end of the session", || bird.route("198.51.100.2/32").is_none().then_some(()));
    bird.configure("another");
    wait("the session with the new password", || bird.route("198.51.100.2/32"));

    // Who stops says so before it goes.
    let began = Instant::now();
    speaker.signal(Signal::SIGTERM);
    wait("the announcement of the end", || {
        bird.route("198.51.100.2/32")?.contains("(65535,0)").then_some(())
    });
    wait("the end", || bird.route("198.51.100.2/32").is_none().then_some(()));
    assert!(speaker.0.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?} is more than a Pod may take", began.elapsed());
    assert!(cluster.list("ServiceBGPStatus", NAMESPACE).is_empty());
}

/// As a DaemonSet that surges replaces the Pod of a node.
#[test]
#[ignore = "needs BIRD (bird2)"]
fn a_router_does_not_notice_that_one_speaker_follows_another() {
    new_network();
    let folder = TempDir::new().unwrap();
    let cluster = Cluster::start();
    cluster.fill();
    let bird = Bird::start(&folder, "secret");
    let key = key_option(&folder);
    let options = ["--hand-over", &*key, "--http-bind=127.0.0.1:17472"];
    let mut speaker = cluster.speaker(&folder, "speaker-0.log", &options);
    wait("the route", || bird.route("198.51.100.1/32"));
    wait("the report", || cluster.reported("ServiceBGPStatus"));

    for number in 1..4 {
        let log = format!("speaker-{number}.log");
        let next = cluster.speaker(&folder, &log, &options);
        let said = |text: &str| said(&folder, &log, text);
        wait("the next speaker to wait", || said("waiting for the end of the speaker before"));
        speaker.signal(Signal::SIGTERM);
        wait("the end of the one before", || {
            assert!(bird.route("198.51.100.1/32").is_some());
            speaker.0.try_wait().unwrap().map(|status| assert!(status.success()))
        });
        speaker = next;
        wait("the next speaker to be there", || {
            assert!(bird.route("198.51.100.1/32").is_some());
            said("announcing to routers")
        });
        // It has the whole configuration, and says what is new.
        let community = 10 + number;
        let communities = json!({"spec": {"communities": [format!("64512:{community}")]}});
        cluster.patch("BGPAdvertisement", NAMESPACE, "all", &communities);
        wait("the other community", || {
            let route = bird.route("198.51.100.1/32").expect("the route stays");
            route.contains(&format!("(64512,{community})")).then_some(())
        });
        wait("the report", || cluster.reported("ServiceBGPStatus"));
        assert_eq!(bird.times_established(), 1);
    }

    // Nobody waits any more.
    speaker.signal(Signal::SIGTERM);
    wait("the end", || bird.route("198.51.100.1/32").is_none().then_some(()));
    assert!(speaker.0.wait().unwrap().success());
}

/// Sessions are for whoever announces: a speaker that waits for the end of MetalLB keeps none, whether it is handed them or not.
#[test]
#[ignore = "needs BIRD (bird2)"]
fn a_speaker_that_finds_metallb_ends_the_sessions_that_it_was_handed() {
    new_network();
    let folder = TempDir::new().unwrap();
    let cluster = Cluster::start();
    cluster.fill();
    let bird = Bird::start(&folder, "secret");
    let key = key_option(&folder);
    let options = ["--hand-over", &*key, "--http-bind=127.0.0.1:17472"];
    let has_route = || bird.route("198.51.100.1/32").map(drop);
    let has_none = || bird.route("198.51.100.1/32").is_none().then_some(());
    let said = |log: &str, text: &str| said(&folder, log, text);
    let waits = |log: &str| wait("it to wait", || said(log, "waiting for the end of the speaker before"));
    let waits_for_metallb = |log: &str| {
        wait("it to find MetalLB", || {
            said(log, "MetalLB serves the same Services, waiting until it is gone")
        });
    };

    // The one before does not mind MetalLB, and the next one does.
    cluster.start_metallb();
    let mut first = cluster.speaker(&folder, "first.log", &[&options[..], &["--ignore-metallb"]].concat());
    wait("the route", has_route);
    let mut second = cluster.speaker(&folder, "second.log", &options);
    waits("second.log");
    first.signal(Signal::SIGTERM);
    wait("the session to be handed over", || said("second.log", "BGP session goes on"));
    wait("the end of the session", has_none);
    waits_for_metallb("second.log");
    let log = fs::read_to_string(folder.path().join("second.log")).unwrap();
    assert_eq!(log.matches("waiting until it is gone").count(), 1);
    assert!(first.0.wait().unwrap().success());
    assert_eq!(bird.times_established(), 1);
    cluster.delete("Pod", NAMESPACE, "metallb-speaker");
    wait("the route", has_route);
    assert_eq!(bird.times_established(), 2);

    // It comes while the next one waits: nothing is handed over.
    let third = cluster.speaker(&folder, "third.log", &options);
    waits("third.log");
    cluster.start_metallb();
    wait("the end of the session", has_none);
    assert!(second.0.wait().unwrap().success());
    waits_for_metallb("third.log");
    assert!(said("third.log", "BGP session goes on").is_none());
    cluster.delete("Pod", NAMESPACE, "metallb-speaker");
    wait("the route", has_route);
    assert_eq!(bird.times_established(), 3);
    third.signal(Signal::SIGTERM);
    wait("the end", has_none);
}

/// The option that gives speakers a key, by which those who hand over and who take over know each other.
fn key_option(folder: &TempDir) -> String {
    let key = folder.path().join("key");
    fs::write(&key, [7; 32]).unwrap();
    format!("--gossip-key-file={}", key.display())
}

/// Whether a speaker has written this to its log.
fn said(folder: &TempDir, log: &str, text: &str) -> Option<()> {
    fs::read_to_string(folder.path().join(log)).unwrap().contains(text).then_some(())
}

fn new_network() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    for arguments in [
        "link set lo up",
        "link add lan0 type veth peer name peer0",
        "address add 192.0.2.2/24 dev lan0",
        "address add 2001:db8::2/64 dev lan0 nodad",
        // BIRD has one session with an address.
        "address add 192.0.2.3/24 dev lan0",
        "address add 192.0.2.4/24 dev lan0",
        "address add 192.0.2.5/24 dev lan0",
        "link set lan0 up",
    ] {
        assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
    }
}

struct Cluster {
    runtime: Runtime,
    client: Client,
    server: ApiServer,
}

impl Cluster {
    fn start() -> Self {
        let server = ApiServer::launch().unwrap();
        // Of this thread alone, and so in its network.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            let client = Client::try_from(config).unwrap();
            for crd in api::crds() {
                Api::all(client.clone()).create(&PostParams::default(), &crd).await.unwrap();
            }
            client
        });
        let cluster = Self { runtime, client, server };
        for kind in [
            "BGPPeer",
            "BGPAdvertisement",
            "BFDProfile",
            "Community",
            "IPAddressPool",
            "ServiceBGPStatus",
            "ConfigurationState",
        ] {
            wait("the kind to be served", || cluster.try_list(kind, NAMESPACE).ok());
        }
        cluster
    }

    /// Two Services with addresses, one of which has an endpoint, and all that it takes to announce both.
    fn fill(&self) {
        self.create("Namespace", "", &json!({"metadata": {"name": NAMESPACE}}));
        self.create("Node", "", &json!({"metadata": {"name": "n1"}}));
        let addresses = json!([{"type": "InternalIP", "address": "192.0.2.2"}]);
        self.patch_status("Node", "", "n1", &json!({"status": {"addresses": addresses}}));
        for (name, vip) in [("served", "198.51.100.1"), ("idle", "198.51.100.2")] {
            let annotations = json!({"metallb.io/ip-allocated-from-pool": "lan"});
            let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
            let metadata = json!({"name": name, "annotations": annotations});
            self.create("Service", "default", &json!({"metadata": metadata, "spec": spec}));
            let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": vip}]}}});
            self.patch_status("Service", "default", name, &status);
        }
        self.create("EndpointSlice", "default", &slice("served"));
        let secret = json!({
            "metadata": {"name": "password"}, "type": "kubernetes.io/basic-auth",
            "data": {"username": "", "password": PASSWORDS[0]},
        });
        self.create("Secret", NAMESPACE, &secret);
        for (kind, name, spec) in [
            ("IPAddressPool", "lan", json!({"addresses": ["198.51.100.0/24"]})),
            ("Community", "names", json!({"communities": [{"name": "seven", "value": "64512:7"}]})),
            ("BGPAdvertisement", "all", json!({"communities": ["seven"]})),
            (
                "BGPPeer",
                "router",
                json!({
                    "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "connectTime": "1s",
                    "passwordSecret": {"name": "password"},
                }),
            ),
        ] {
            let object = json!({"metadata": {"name": name}, "spec": spec});
            self.create(kind, NAMESPACE, &object);
        }
    }

    /// A Pod as those of its speakers.
    fn start_metallb(&self) {
        // There is no controller that would make it. The second time it is there.
        _ = self.try_create("ServiceAccount", NAMESPACE, &json!({"metadata": {"name": "default"}}));
        let labels = json!({"app": "metallb", "component": "speaker"});
        let metadata = json!({"name": "metallb-speaker", "labels": labels});
        let containers =
            json!([{"name": "speaker", "image": "quay.io/metallb/speaker", "args": ["--port=7472"]}]);
        let spec = json!({"containers": containers, "automountServiceAccountToken": false});
        let pod = json!({"metadata": metadata, "spec": spec});
        // The API server knows of the account a moment later.
        wait("a Pod to be accepted", || self.try_create("Pod", NAMESPACE, &pod).ok());
        self.patch_status("Pod", NAMESPACE, "metallb-speaker", &json!({"status": {"phase": "Running"}}));
    }

    /// With these options beside those that are the same for all.
    fn speaker(&self, folder: &TempDir, log: &str, options: &[&str]) -> Process {
        self.speaker_of("n1", folder, log, options)
    }

    /// That of a node, at an address of its own, so that there can be several.
    fn speaker_of(&self, node: &str, folder: &TempDir, log: &str, options: &[&str]) -> Process {
        let gossip = format!("--gossip-bind=127.0.0.{}:7946", node.trim_start_matches('n'));
        let mut speaker = Command::new(env!("CARGO_BIN_EXE_ferrolb"));
        speaker
            .args(["speaker", "--node-name", node, "--namespace", NAMESPACE, &gossip])
            .args(if options.is_empty() { &["--http-bind=127.0.0.1:0"] } else { options })
            .arg("--log-level=debug");
        self.run(speaker, folder, log)
    }

    /// Runs a program that talks to the API server.
    fn run(&self, mut program: Command, folder: &TempDir, log: &str) -> Process {
        let path = folder.path().join(log);
        let log = File::create(&path).unwrap();
        program.env("KUBECONFIG", self.server.kubeconfig());
        program.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Process(program.spawn().unwrap(), path)
    }

    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource(kind)),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource(kind)),
        }
    }

    fn try_create(&self, kind: &str, namespace: &str, object: &Value) -> kube::Result<()> {
        let api = self.api(kind, namespace);
        let mut object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let ApiResource { api_version, kind, .. } = resource(kind);
        object.types = Some(TypeMeta { api_version, kind });
        self.runtime.block_on(api.create(&PostParams::default(), &object)).map(drop)
    }

    fn create(&self, kind: &str, namespace: &str, object: &Value) {
        self.try_create(kind, namespace, object).unwrap();
    }

    fn patch(&self, kind: &str, namespace: &str, name: &str, patch: &Value) {
        let api = self.api(kind, namespace);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        self.runtime.block_on(api.patch(name, &parameters, &patch)).unwrap();
    }

    fn patch_status(&self, kind: &str, namespace: &str, name: &str, patch: &Value) {
        let api = self.api(kind, namespace);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        self.runtime.block_on(api.patch_status(name, &parameters, &patch)).unwrap();
    }

    fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let api = self.api(kind, namespace);
        self.runtime.block_on(api.delete(name, &DeleteParams::default())).unwrap();
    }

    /// A report of the speaker, once it says something.
    fn reported(&self, kind: &str) -> Option<DynamicObject> {
        self.list(kind, NAMESPACE).pop().filter(|it| !it.data["status"].is_null())
    }

    fn list(&self, kind: &str, namespace: &str) -> Vec<DynamicObject> {
        self.try_list(kind, namespace).unwrap()
    }

    fn try_list(&self, kind: &str, namespace: &str) -> kube::Result<Vec<DynamicObject>> {
        let api = self.api(kind, namespace);
        self.runtime.block_on(api.list(&ListParams::default())).map(|list| list.items)
    }
}

fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "Namespace" => ("", "v1", "namespaces"),
        "Node" => ("", "v1", "nodes"),
        "Pod" => ("", "v1", "pods"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "Service" => ("", "v1", "services"),
        "Secret" => ("", "v1", "secrets"),
        "Event" => ("", "v1", "events"),
        "EndpointSlice" => ("discovery.k8s.io", "v1", "endpointslices"),
        "BFDProfile" => ("metallb.io", "v1beta1", "bfdprofiles"),
        "BGPPeer" => ("metallb.io", "v1beta2", "bgppeers"),
        "BGPAdvertisement" => ("metallb.io", "v1beta1", "bgpadvertisements"),
        "Community" => ("metallb.io", "v1beta1", "communities"),
        "IPAddressPool" => ("metallb.io", "v1beta1", "ipaddresspools"),
        "ServiceBGPStatus" => ("metallb.io", "v1beta1", "servicebgpstatuses"),
        "ConfigurationState" => ("metallb.io", "v1beta1", "configurationstates"),
        _ => panic!("kind {kind}"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn slice(service: &str) -> Value {
    json!({
        "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": "n2", "conditions": {"ready": true}}],
    })
}

/// Ends with its test, and shows its log where that fails.
struct Process(Child, PathBuf);

impl Process {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.1).unwrap_or_default());
        }
        _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// A router at the other end of the pair, in a namespace of its own: 192.0.2.1, 192.0.2.11 to 192.0.2.13, and 2001:db8::1.
struct Bird {
    folder: PathBuf,
    process: Process,
}

impl Bird {
    fn start(folder: &TempDir, password: &str) -> Self {
        Self::with(folder, &session(password))
    }

    /// With these protocols.
    fn with(folder: &TempDir, protocols: &str) -> Self {
        let folder = folder.path().to_owned();
        write_configuration(&folder, protocols);
        let log = File::create(folder.join("bird.log")).unwrap();
        let script = "until ip link show peer0 >/dev/null 2>&1; do sleep 0.02; done
             for last in 1 11 12 13; do ip address add 192.0.2.$last/24 dev peer0; done
             ip address add 2001:db8::1/64 dev peer0 nodad
             ip link set lo up
             ip link set peer0 up
             exec bird -f -c bird.conf -s control -P pid";
        let child = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ours = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", child.id());
        wait("the namespace of the router", || {
            fs::read_link(&theirs).is_ok_and(|it| it != ours).then_some(())
        });
        let pid = child.id().to_string();
        let moved = Command::new("ip").args(["link", "set", "peer0", "netns", &pid]).status().unwrap();
        assert!(moved.success());
        let process = Process(child, folder.join("bird.log"));
        Self { folder, process }
    }

    fn ask(&self, question: &str) -> String {
        let control = self.folder.join("control");
        let asked = Command::new("birdc").arg("-s").arg(control).args(question.split(' ')).output().unwrap();
        String::from_utf8(asked.stdout).unwrap()
    }

    fn configure(&mut self, password: &str) {
        write_configuration(&self.folder, &session(password));
        self.ask("configure");
    }

    /// What it has to say of a route, if there is one.
    fn route(&self, prefix: &str) -> Option<String> {
        Some(self.ask(&format!("show route {prefix} all"))).filter(|route| route.contains("BGP.origin"))
    }

    /// How often a session has come up.
    fn times_established(&self) -> usize {
        let log = fs::read_to_string(self.folder.join("events")).unwrap_or_default();
        log.lines().filter(|line| line.contains("BGP session established")).count()
    }
}

/// With the node `n1`.
fn session(password: &str) -> String {
    format!(
        "protocol bgp node {{
           local 192.0.2.1 as 64513; neighbor 192.0.2.2 as 64512; passive yes; password \"{password}\";
           ipv4 {{ import all; export none; }};
         }}\n"
    )
}

fn write_configuration(folder: &std::path::Path, protocols: &str) {
    let configuration = format!(
        "log \"events\" all;
         router id 192.0.2.1;
         debug protocols {{ events }};
         protocol device {{}}
         {protocols}"
    );
    fs::write(folder.join("bird.conf"), configuration).unwrap();
}

/// Asks again and again until there is an answer.
fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    lab::wait_until(what, DEADLINE, || ask().context("there is no answer")).unwrap()
}
