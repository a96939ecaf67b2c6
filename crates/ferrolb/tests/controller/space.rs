//! A corner of an API server that a test has for itself, so that many tests can share one server and one
//! controller: a namespace, and pools that only its Services may use.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lab::process::Running;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::fixture::{Cluster, addresses, events, merge, run, wait};

/// An API server and a controller for many tests. Both end with the last test that uses them.
struct Shared {
    cluster: Cluster,
    _controller: Running,
}

/// Runs a test in a corner of the API server that other tests use at this moment.
pub(crate) fn in_space(test: impl AsyncFnOnce(&Space<'_>)) {
    run(async {
        let shared = Shared::join().await;
        let space = shared.space().await;
        test(&space).await;
        // Or the events of others would tell of these pools too, and be cut off.
        space.delete_pools().await;
    });
}

impl Shared {
    /// The one that other tests use at this moment, or a new one.
    async fn join() -> Arc<Self> {
        static CURRENT: Mutex<Weak<Shared>> = Mutex::const_new(Weak::new());
        let mut current = CURRENT.lock().await;
        if let Some(shared) = current.upgrade() {
            return shared;
        }
        let cluster = Cluster::start().await;
        let shared = Arc::new(Self { _controller: cluster.controller("shared", &[]), cluster });
        *current = Arc::downgrade(&shared);
        shared
    }

    /// A new corner of it.
    async fn space(&self) -> Space<'_> {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let space = Space { cluster: &self.cluster, namespace: format!("space-{number}"), number };
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": space.namespace}})).unwrap();
        Api::all(self.cluster.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        space
    }
}

/// A namespace. In all texts that are passed in, `N` in `10.N.` and `fd00:N:` is a number of its own, and `NS` its name.
pub(crate) struct Space<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: String,
    pub(crate) number: u8,
}

impl Space<'_> {
    /// A text with what stands for this space filled in.
    pub(crate) fn fill(&self, text: &str) -> String {
        let number = self.number.to_string();
        text.replace("10.N.", &format!("10.{number}."))
            .replace("fd00:N:", &format!("fd00:{number}:"))
            .replace("NS", &self.namespace)
    }

    fn filled(&self, value: Value) -> Value {
        serde_json::from_str(&self.fill(&value.to_string())).unwrap()
    }

    /// Creates a pool `NS-name` or changes it, and waits until the controller knows; it is for this namespace, unless `spec` says
    /// otherwise.
    pub(crate) async fn pool(&self, name: &str, spec: Value) {
        self.annotated_pool(name, json!({}), spec).await;
    }

    /// The same, with these annotations from the beginning.
    pub(crate) async fn annotated_pool(&self, name: &str, annotations: Value, spec: Value) {
        self.write_pool(name, annotations, spec).await;
        // It hears of Services by another watch: one that is created now might meet the pools of before.
        let name = self.fill(&format!("NS-{name}"));
        wait(&format!("the controller to know {name}"), async || {
            let pool = self.cluster.pools().get(&name).await.unwrap();
            let conditions = pool.data["status"]["conditions"].as_array()?;
            let known = conditions.iter().filter_map(|it| it["observedGeneration"].as_i64()).max();
            (known == pool.metadata.generation).then_some(())
        })
        .await;
    }

    /// Creates a pool or changes it, whether or not there is a controller.
    pub(crate) async fn write_pool(&self, name: &str, annotations: Value, spec: Value) {
        let mut full = json!({"serviceAllocation": {"priority": 5, "namespaces": ["NS"]}});
        merge(&mut full, spec);
        let name = self.fill(&format!("NS-{name}"));
        self.cluster.write_annotated_pool(&name, annotations, self.filled(full)).await.unwrap();
    }

    /// Writes an annotation of a pool.
    pub(crate) async fn annotate_pool(&self, name: &str, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        let name = self.fill(&format!("NS-{name}"));
        self.cluster.pools().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn delete_pool(&self, name: &str) {
        self.cluster.delete_pool(&self.fill(&format!("NS-{name}"))).await;
    }

    async fn delete_pools(&self) {
        let prefix = self.fill("NS-");
        for name in self.cluster.pool_names().await.into_iter().filter(|name| name.starts_with(&prefix)) {
            self.cluster.delete_pool(&name).await;
        }
    }

    /// The four counters in the status of a pool: assigned IPv4 and IPv6, available IPv4 and IPv6.
    pub(crate) async fn counts(&self, name: &str, expected: [i64; 4]) {
        let name = self.fill(&format!("NS-{name}"));
        wait(&format!("{name} to count {expected:?}"), async || {
            let status = self.cluster.pool_status(&name).await;
            let fields = ["assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6"];
            (fields.map(|field| status[field].as_i64()) == expected.map(Some)).then_some(())
        })
        .await;
    }

    pub(crate) fn services(&self) -> Api<Service> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// Creates a Service of type LoadBalancer, with `overlay` on top.
    pub(crate) async fn service(&self, name: &str, overlay: Value) {
        let mut service = json!({
            "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        });
        merge(&mut service, overlay);
        let service: Service = serde_json::from_value(self.filled(service)).unwrap();
        self.services().create(&PostParams::default(), &service).await.unwrap();
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(self.filled(patch));
        self.services().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Sets an annotation, or with null removes it.
    pub(crate) async fn annotate(&self, name: &str, key: &str, value: Value) {
        self.patch(name, json!({"metadata": {"annotations": {key: value}}})).await;
    }

    /// Edits the addresses in the status, as somebody would by hand.
    pub(crate) async fn edit_status(&self, name: &str, ips: &[&str]) {
        let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": self.fill(ip)})).collect();
        let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": ingress}}}));
        self.services().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.services().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The addresses in the status of a Service.
    pub(crate) async fn addresses(&self, name: &str) -> Vec<String> {
        addresses(&self.services().get(name).await.unwrap())
    }

    /// Waits until a Service has these addresses.
    pub(crate) async fn has(&self, name: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|ip| self.fill(ip)).collect();
        wait(&format!("{}/{name} to have {expected:?}", self.namespace), async || {
            (self.addresses(name).await == expected).then_some(())
        })
        .await;
    }

    /// Waits until a Service has no annotations any more: what the controller writes may come after what the API server takes
    /// away by itself.
    pub(crate) async fn has_no_annotations(&self, name: &str) {
        wait(&format!("{}/{name} to have no annotations", self.namespace), async || {
            let service = self.services().get(name).await.unwrap();
            service.metadata.annotations.unwrap_or_default().is_empty().then_some(())
        })
        .await;
    }

    /// Creates a Service and waits until it has these addresses.
    pub(crate) async fn gets(&self, name: &str, overlay: Value, expected: &[&str]) {
        self.service(name, overlay).await;
        self.has(name, expected).await;
    }

    /// What events say about a Service, as `REASON: MESSAGE`.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let api = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        events(api, &format!("involvedObject.name={name}")).await
    }

    /// Waits until some event about a Service contains this.
    pub(crate) async fn hears(&self, name: &str, text: &str) {
        let text = self.fill(text);
        wait(&format!("an event about {}/{name} with {text:?}", self.namespace), async || {
            self.events(name).await.iter().any(|event| event.contains(&text)).then_some(())
        })
        .await;
    }

    /// Waits until so many events about a Service contain this, and that there are no more once the controller has seen all
    /// that was done before.
    pub(crate) async fn hears_times(&self, name: &str, text: &str, times: usize) {
        let count = async || self.events(name).await.iter().filter(|event| event.contains(text)).count();
        wait(&format!("{times} events about {}/{name} with {text:?}", self.namespace), async || {
            (count().await >= times).then_some(())
        })
        .await;
        // Events are sent a few at a time: one too many would be there before the second of these.
        for probe in ["first-probe", "second-probe"] {
            let nowhere = json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "192.0.2.255"}}});
            self.service(probe, nowhere).await;
            wait("the probe to be refused", async || {
                let uid = self.services().get(probe).await.unwrap().metadata.uid.unwrap();
                let api = Api::namespaced(self.cluster.client.clone(), &self.namespace);
                let heard = events(api, &format!("involvedObject.uid={uid}")).await;
                (!heard.is_empty()).then_some(())
            })
            .await;
            self.delete(probe).await;
        }
        assert_eq!(count().await, times, "events about {name} with {text:?}");
    }
}
