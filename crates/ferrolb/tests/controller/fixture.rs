//! A real API server, real controllers, and what the tests want to know of them.

use std::env;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api::ConfigurationState;
use k8s_openapi::api::core::v1::{Event, Namespace, Service};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config, ResourceExt};
use lab::apiserver::ApiServer;
use lab::process::{self, Place, Running};
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::space::Space;

/// Far longer than anything takes: reached only when it will never happen.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// The API server of one test, with the CRDs, a namespace for the configuration, and nothing else.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
    /// Stands between it and the controllers, where everything is to be slow.
    slow: Option<Proxy>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let server = ApiServer::launch().unwrap();
        let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let mut cluster = Self { server, client: Client::try_from(config).unwrap(), slow: None };
        for crd in api::crds() {
            Api::all(cluster.client.clone()).create(&PostParams::default(), &crd).await.unwrap();
        }
        let namespace = json!({"metadata": {"name": "metallb-system"}});
        let namespace: Namespace = serde_json::from_value(namespace).unwrap();
        Api::all(cluster.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        cluster.serves_all_kinds().await;
        cluster.slow = Proxy::slow(&cluster).await;
        cluster
    }

    /// The kubeconfig for controllers.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.slow.as_ref().map_or_else(|| self.server.kubeconfig(), |proxy| proxy.kubeconfig(self))
    }

    /// A new CRD takes a moment until it is served, each for itself.
    async fn serves_all_kinds(&self) {
        for crd in api::crds() {
            let (group, names) = (&crd.spec.group, &crd.spec.names);
            for version in crd.spec.versions.iter().filter(|version| version.served) {
                let kind = GroupVersionKind::gvk(group, &version.name, &names.kind);
                let resource = ApiResource::from_gvk_with_plural(&kind, &names.plural);
                let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
                wait(&format!("{} to be served", names.kind), async || {
                    api.list(&ListParams::default()).await.ok()
                })
                .await;
            }
        }
    }

    /// Starts `ferrolb controller` as Pod `pod`.
    pub(crate) fn controller(&self, pod: &str, options: &[&str]) -> Running {
        controller(&self.kubeconfig(), pod, options)
    }

    /// Starts `ferrolb controller` with its metrics at this address and port.
    pub(crate) fn controller_at(&self, bind: &str, pod: &str) -> Running {
        start(&self.kubeconfig(), pod, &[&format!("--http-bind={bind}")])
    }

    pub(crate) fn pools(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("metallb.io", "v1beta1", "IPAddressPool");
        let resource = ApiResource::from_gvk_with_plural(&kind, "ipaddresspools");
        Api::namespaced_with(self.client.clone(), "metallb-system", &resource)
    }

    /// Creates a pool or makes it this.
    pub(crate) async fn write_pool(&self, name: &str, spec: Value) -> kube::Result<()> {
        self.write_annotated_pool(name, json!({}), spec).await
    }

    /// The same, with annotations.
    pub(crate) async fn write_annotated_pool(
        &self,
        name: &str,
        annotations: Value,
        spec: Value,
    ) -> kube::Result<()> {
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": name, "annotations": annotations}, "spec": spec,
        });
        let parameters = PatchParams::apply("test").force();
        self.pools().patch(name, &parameters, &Patch::Apply(pool)).await.map(drop)
    }

    /// Creates or changes a pool.
    pub(crate) async fn pool(&self, name: &str, addresses: &[&str]) {
        self.write_pool(name, json!({"addresses": addresses})).await.unwrap();
    }

    pub(crate) async fn delete_pool(&self, name: &str) {
        self.pools().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn pool_names(&self) -> Vec<String> {
        let list = self.pools().list(&ListParams::default()).await.unwrap();
        list.into_iter().map(|pool| pool.name_any()).collect()
    }

    /// The status of a pool, null when it has none.
    pub(crate) async fn pool_status(&self, name: &str) -> Value {
        self.pools().get(name).await.unwrap().data["status"].clone()
    }

    /// The status of the report on the configuration, once there is one.
    pub(crate) async fn report(&self) -> Option<Value> {
        let reports: Api<ConfigurationState> = Api::namespaced(self.client.clone(), "metallb-system");
        let report = reports.get_opt("controller").await.unwrap()?;
        Some(serde_json::to_value(report.status?).unwrap())
    }

    /// The namespace `default`, for tests that have the API server for themselves.
    pub(crate) fn default_space(&self) -> Space<'_> {
        Space { cluster: self, namespace: "default".to_owned(), number: 0 }
    }

    pub(crate) fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.client.clone())
    }

    /// Creates a Service of type LoadBalancer, with `spec` on top.
    pub(crate) async fn service(&self, name: &str, spec: Value) {
        self.default_space().service(name, json!({"spec": spec})).await;
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        self.default_space().patch(name, patch).await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.default_space().delete(name).await;
    }

    /// The addresses in the status of a Service.
    pub(crate) async fn addresses(&self, name: &str) -> Vec<String> {
        self.default_space().addresses(name).await
    }

    pub(crate) async fn wait_for_addresses(&self, name: &str, expected: &[&str]) {
        self.default_space().has(name, expected).await;
    }

    /// What events say about an object, as `REASON: MESSAGE`.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let api: Api<Event> = Api::all(self.client.clone());
        let fields = format!("involvedObject.name={name}");
        events(api, &fields).await
    }

    pub(crate) async fn wait_for_event(&self, name: &str, text: &str) {
        wait(&format!("an event about {name} with {text:?}"), async || {
            self.events(name).await.iter().any(|event| event.contains(text)).then_some(())
        })
        .await;
    }

    /// Every Service's addresses, by name.
    pub(crate) async fn all_addresses(&self) -> Vec<(String, Vec<String>)> {
        let list = self.services().list(&ListParams::default()).await.unwrap();
        list.into_iter().map(|service| (service.name_any(), addresses(&service))).collect()
    }
}

/// Starts `ferrolb controller` as Pod `pod`.
pub(crate) fn controller(kubeconfig: &Path, pod: &str, options: &[&str]) -> Running {
    start(kubeconfig, pod, &[&["--http-bind=127.0.0.1:0"], options].concat())
}

/// Starts it with these options only. Its log stays in the folder for temporary files of the tests.
pub(crate) fn start(kubeconfig: &Path, pod: &str, options: &[&str]) -> Running {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("controller-{number}-{pod}.log"));
    let mut command = program();
    command
        .args(["controller", "--pod-name", pod])
        .args(options)
        .env("FERROLB_NAMESPACE", "metallb-system")
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stdout(File::create(log).unwrap());
    process::spawn(command, Place::default()).unwrap()
}

/// The program under test: another one than this machine's where `FERROLB` says so, run by `FERROLB_EMULATOR`.
fn program() -> Command {
    let program = env::var_os("FERROLB").unwrap_or_else(|| env!("CARGO_BIN_EXE_ferrolb").into());
    match env::var_os("FERROLB_EMULATOR") {
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.arg(program);
            command
        }
        None => Command::new(program),
    }
}

pub(crate) fn addresses(service: &Service) -> Vec<String> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    ingress.filter_map(|entry| entry.ip.clone()).collect()
}

/// What events say, as `REASON: MESSAGE`.
pub(crate) async fn events(api: Api<Event>, fields: &str) -> Vec<String> {
    let list = api.list(&ListParams::default().fields(fields)).await.unwrap();
    let line =
        |event: Event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
    list.into_iter().map(line).collect()
}

/// Lays one object over another; null takes away.
pub(crate) fn merge(into: &mut Value, overlay: Value) {
    match (into, overlay) {
        (Value::Object(into), Value::Object(overlay)) => {
            for (key, value) in overlay {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, overlay) => *into = overlay,
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn wait<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, attempt).await
}

/// The same, with more or less patience.
pub(crate) async fn wait_within<T>(
    patience: Duration,
    what: &str,
    attempt: impl AsyncFnMut() -> Option<T>,
) -> T {
    within(patience, attempt).await.unwrap_or_else(|| panic!("waited {patience:?} for {what}"))
}

/// Asks again and again, and gives up where there is no answer in time.
pub(crate) async fn within<T>(patience: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let answer = attempt().await;
        if answer.is_some() || start.elapsed() > patience {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One runtime for all tests: a client belongs to the runtime that made it.
pub(crate) fn run(test: impl Future<Output = ()>) {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    RUNTIME.block_on(test);
}
