//! A real API server that has the CRDs.

use std::sync::{Arc, Weak};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use kube::{Api, Client, Config, Error, ResourceExt};
use lab::apiserver::ApiServer;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Far longer than anything takes: reached only when it will never happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// An API server with the CRDs. Tests that run at the same time share one, so each names its objects by
/// itself.
pub(crate) struct Cluster {
    client: Client,
    _server: Arc<ApiServer>,
}

impl Cluster {
    pub(crate) async fn join() -> Self {
        static SHARED: Mutex<Weak<ApiServer>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Self { client: connect(&server).await, _server: server };
        }
        let server = Arc::new(ApiServer::launch().unwrap());
        let client = connect(&server).await;
        install(&client).await;
        *shared = Arc::downgrade(&server);
        Self { client, _server: server }
    }

    /// Creates what a manifest says, without an effect. An error is what `kubectl apply` would print.
    pub(crate) async fn try_create(&self, manifest: Value) -> Result<(), String> {
        let (api, object) = self.parse(manifest);
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        api.create(&parameters, &object).await.map(drop).map_err(message)
    }

    /// Applies a manifest, without an effect. Unknown fields are an error.
    pub(crate) async fn try_apply(&self, manifest: Value) -> Result<(), String> {
        self.patch(manifest, PatchParams::apply("test").dry_run()).await
    }

    /// Applies a manifest. Unknown fields are an error.
    pub(crate) async fn apply(&self, manifest: Value) -> Result<(), String> {
        self.patch(manifest, PatchParams::apply("test")).await
    }

    /// Applies a manifest as a field manager of one's own, who takes over what others own if need be.
    pub(crate) async fn apply_as(&self, manager: &str, manifest: Value) -> Result<(), String> {
        self.patch(manifest, PatchParams::apply(manager).force()).await
    }

    async fn patch(&self, manifest: Value, parameters: PatchParams) -> Result<(), String> {
        let (api, object) = self.parse(manifest);
        let patch = Patch::Apply(&object);
        let written = api.patch(&object.name_any(), &parameters.validation_strict(), &patch).await;
        written.map(drop).map_err(message)
    }

    fn parse(&self, manifest: Value) -> (Api<DynamicObject>, DynamicObject) {
        let object: DynamicObject = serde_json::from_value(manifest).unwrap();
        let types = object.types.as_ref().unwrap();
        let (_, version) = types.api_version.split_once('/').unwrap();
        (self.api(version, &types.kind), object)
    }

    /// Gives an object a label, which leaves its spec as it is.
    pub(crate) async fn label(&self, version: &str, kind: &str, name: &str) -> Result<(), String> {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
        let written = self.api(version, kind).patch(name, &PatchParams::default(), &patch).await;
        written.map(drop).map_err(message)
    }

    /// Changes fields of an object's spec, through a version.
    pub(crate) async fn change(&self, version: &str, kind: &str, name: &str, fields: Value) {
        let patch = Patch::Merge(json!({"spec": fields}));
        self.api(version, kind).patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Changes fields of an object's status.
    pub(crate) async fn change_status(&self, kind: &str, name: &str, fields: Value) -> Result<(), String> {
        let patch = Patch::Merge(json!({"status": fields}));
        let api = self.api("v1beta1", kind);
        api.patch_status(name, &PatchParams::default(), &patch).await.map(drop).map_err(message)
    }

    /// One part of an object, as a version shows it.
    pub(crate) async fn get(&self, version: &str, kind: &str, name: &str, part: &str) -> Value {
        self.api(version, kind).get(name).await.unwrap().data[part].clone()
    }

    fn api(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        let crd = api::crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let kind = GroupVersionKind::gvk(&crd.spec.group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &crd.spec.names.plural);
        Api::default_namespaced_with(self.client.clone(), &resource)
    }
}

/// A client of an API server that has nothing yet.
pub(crate) async fn empty() -> (ApiServer, Client) {
    let server = ApiServer::launch().unwrap();
    let client = connect(&server).await;
    (server, client)
}

async fn connect(server: &ApiServer) -> Client {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in api::crds() {
        if let Err(error) = api.create(&PostParams::default(), &crd).await {
            panic!("{}: {}", crd.name_any(), message(error));
        }
    }
    for crd in api::crds() {
        let name = crd.name_any();
        let established = await_condition(api.clone(), &name, is_crd_established());
        timeout(DEADLINE, established).await.expect("the CRD is established in time").unwrap();
        for version in crd.spec.versions.iter().filter(|version| version.served) {
            timeout(DEADLINE, served(client, &crd, &version.name)).await.expect("the CRD is served in time");
        }
    }
}

/// Waits until the API server answers for a version of a kind, a moment after it has said that it will.
async fn served(client: &Client, crd: &CustomResourceDefinition, version: &str) {
    let (group, names) = (&crd.spec.group, &crd.spec.names);
    let kind = GroupVersionKind::gvk(group, version, &names.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, &names.plural);
    let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    while api.list(&ListParams::default()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn message(error: Error) -> String {
    match error {
        Error::Api(status) => status.message,
        other => panic!("the API server gave no answer: {other}"),
    }
}
