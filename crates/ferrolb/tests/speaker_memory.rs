//! What a further address costs the whole speaker, as the system counts its memory, with an API server that takes all.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

/// The most that a further address may take of a program that is built for tests, with the allocator of glibc. That of the
/// image, which `FERROLB` may name, takes less.
const LIMIT: usize = 3_584;
/// As many as fit into one answer of the API server, so that what is needed for an answer is there in either case.
const FEW: u32 = 500;
const MANY: u32 = 1_500;
/// How long a speaker may take to announce and report all.
const WITHIN: Duration = Duration::from_mins(5);
/// How long the burst for one address keeps a port from those for others: ten frames.
const BURST: Duration = Duration::from_millis(20);
/// When all bursts are over, what they took is given back.
const CALM: Duration = Duration::from_secs(8);
/// How pages happen to be used makes a difference, but not each time.
const TRIES: usize = 3;
const NAMESPACE: &str = "metallb-system";

/// What the API server was told to keep, by path.
type Kept = Arc<Mutex<BTreeMap<String, Value>>>;

/// A Service of each kind of object that comes with it, as the API server sends it.
fn service(number: u32) -> Value {
    let vip = Ipv4Addr::from_bits(0xc612_0000 + 256 + number);
    json!({
        "metadata": {
            "name": format!("service-{number:04}"), "namespace": "default", "uid": format!("c8f3a2de-0000-4000-8000-{number:012}"),
            "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"metallb.io/ip-allocated-from-pool": "pool"},
            "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:ports": {}, "f:selector": {}, "f:type": {}}}}],
        },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 31000}], "selector": {"app": "backend"},
            "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
        },
        "status": {"loadBalancer": {"ingress": [{"ip": vip, "ipMode": "VIP"}]}},
    })
}

fn slice(number: u32) -> Value {
    let service = format!("service-{number:04}");
    let endpoint = |last: u8| {
        json!({"addresses": [format!("10.244.0.{last}")], "nodeName": "node-a",
            "conditions": {"ready": true, "serving": true, "terminating": false}})
    };
    json!({
        "metadata": {"name": format!("{service}-abcde"), "namespace": "default", "uid": "u", "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "x"}},
        "addressType": "IPv4", "endpoints": [endpoint(1), endpoint(2)],
    })
}

fn objects(path: &str, services: u32) -> Vec<Value> {
    let named = |name: &str, spec: Value| {
        vec![json!({"metadata": {"name": name, "resourceVersion": "1"}, "spec": spec})]
    };
    match path.rsplit('/').next() {
        Some("services") => (0..services).map(service).collect(),
        Some("endpointslices") => (0..services).map(slice).collect(),
        Some("nodes") => vec![json!({"metadata": {"name": "node-a"}})],
        Some("ipaddresspools") => named("pool", json!({"addresses": ["198.18.0.0/16"]})),
        Some("l2advertisements") => named("ad", json!({})),
        _ => vec![],
    }
}

/// Lists by pages, watches that tell nothing, and whatever is written as it is written.
async fn answer(State((kept, services)): State<(Kept, u32)>, request: Request) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
    if method == Method::GET && query.contains("watch=true") {
        return Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>())
            .into_response();
    }
    if method == Method::GET {
        let value =
            |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.parse::<usize>().ok());
        let (from, limit) = (value("continue=").unwrap_or(0), value("limit=").unwrap_or(usize::MAX));
        let all = objects(&path, services);
        let page: Vec<_> = all.iter().skip(from).take(limit).cloned().collect();
        let more = (all.len() > from.saturating_add(limit)).then(|| (from + limit).to_string());
        return Json(json!({"metadata": {"resourceVersion": "1", "continue": more}, "items": page}))
            .into_response();
    }
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if method == Method::POST {
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        if path.contains("metallb.io") {
            kept.lock().unwrap().insert(format!("{path}/{name}"), body.clone());
        }
        return (StatusCode::CREATED, Json(body)).into_response();
    }
    let mut kept = kept.lock().unwrap();
    let Some(object) = kept.get_mut(path.trim_end_matches("/status")) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    object["status"] = body.pointer("/0/value").cloned().unwrap_or_else(|| body["status"].clone());
    object["metadata"]["resourceVersion"] = "2".into();
    Json(object.clone()).into_response()
}

/// An API server in the network of the calling thread, in threads of its own.
fn serve(kept: &Kept, services: u32) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state((Arc::clone(kept), services));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

/// A speaker that ends with its test.
struct Speaker(Child);

impl Drop for Speaker {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What the system says that a process has in memory for itself, in bytes.
fn memory(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// What a speaker takes that announces so many addresses: the least that is seen until it has become calm.
fn memory_with(services: u32, dir: &Path) -> usize {
    let kept = Kept::default();
    let address = serve(&kept, services);
    let kubeconfig = dir.join("kubeconfig");
    let cluster = format!("clusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}]\n");
    let context = "contexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c\nusers: [{name: u, user: {}}]\n";
    fs::write(&kubeconfig, cluster + context).unwrap();
    let program = env::var("FERROLB").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ferrolb").to_owned());
    let mut command = Command::new(program);
    command.args(["speaker", "--node-name", "node-a", "--namespace", NAMESPACE, "--log-level", "warn"]);
    command.args([
        "--gossip-bind",
        "127.0.0.1:7946",
        "--http-bind",
        "127.0.0.1:0",
        "--exclude-interfaces",
        "^lo$,^peer",
    ]);
    let speaker = Speaker(command.env("KUBECONFIG", &kubeconfig).spawn().unwrap());
    let start = Instant::now();
    let reported =
        || kept.lock().unwrap().values().filter(|object| !object["status"]["serviceName"].is_null()).count();
    while reported() < usize::try_from(services).unwrap() {
        assert!(start.elapsed() < WITHIN, "{} of {services} are reported", reported());
        thread::sleep(Duration::from_millis(100));
    }
    let (process, calm) = (speaker.0.id(), Instant::now() + BURST * services + CALM);
    let mut least = memory(process);
    while Instant::now() < calm {
        thread::sleep(Duration::from_millis(500));
        least = least.min(memory(process));
    }
    least
}

#[test]
fn a_further_address_takes_few_kilobytes_of_a_speaker() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, which needs root");
    for arguments in [
        "link set lo up",
        "link add lan0 type veth peer name peer0",
        "link set lan0 up",
        "link set peer0 up",
        "address add 198.18.0.1/16 dev lan0",
    ] {
        assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
    }
    let dir = env::temp_dir().join(format!("ferrolb-memory-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let each = || {
        let [few, many] = [FEW, MANY].map(|services| memory_with(services, &dir));
        let each = many.saturating_sub(few) / usize::try_from(MANY - FEW).unwrap();
        println!("{few} bytes with {FEW} addresses, {many} with {MANY}: {each} for each further one");
        each
    };
    let within = (0..TRIES).any(|_| each() <= LIMIT);
    fs::remove_dir_all(&dir).unwrap();
    assert!(within, "more than {LIMIT} bytes for each further address, each time");
}
