//! API servers on which both controllers run.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use lab::apiserver::ApiServer;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Where the controllers look for their configuration.
pub const SYSTEM: &str = "metallb-system";
/// The Pod that a controller takes itself for.
pub const POD: &str = "controller";
/// For what always succeeds soon.
const DEADLINE: Duration = Duration::from_secs(30);

/// An API server with the CRDs, the namespace of the configuration and a Pod in it, and nothing else.
pub struct Stage {
    /// The API server.
    pub server: ApiServer,
    client: Client,
}

impl Stage {
    /// Returns when configuration can be written.
    pub async fn start() -> Result<Self> {
        let server = ApiServer::launch()?;
        let kubeconfig = Kubeconfig::read_from(server.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let stage = Self { server, client: Client::try_from(config)? };
        let crds = Api::<CustomResourceDefinition>::all(stage.client());
        for crd in api::crds() {
            create(&crds, &crd).await?;
        }
        stage.create_namespace(SYSTEM).await?;
        // Both write in the name of their Pod, and MetalLB's does not start without one. A Pod needs an account,
        // which a cluster's controller manager makes.
        let account: ServiceAccount = object(json!({"metadata": {"name": "default"}}))?;
        create(&Api::namespaced(stage.client(), SYSTEM), &account).await?;
        let pod: Pod = object(json!({
            "metadata": {"name": POD},
            "spec": {"containers": [{"name": POD, "image": POD}], "automountServiceAccountToken": false},
        }))?;
        // The API server takes a moment to notice the account, and to serve the CRDs.
        let (pods, pools) = (
            Api::namespaced(stage.client(), SYSTEM),
            Api::<api::IPAddressPool>::namespaced(stage.client(), SYSTEM),
        );
        wait_for("a Pod to be accepted", async || create(&pods, &pod).await).await?;
        wait_for("the CRDs to be served", async || {
            pools.list(&ListParams::default()).await.map(drop).context("listing pools")
        })
        .await?;
        Ok(stage)
    }

    /// Asks the API server on behalf of the comparison.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Creates a namespace.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let namespace: Namespace = object(json!({"metadata": {"name": name}}))?;
        create(&Api::all(self.client()), &namespace).await
    }
}

/// Reads an object from its manifest.
pub fn object<K: DeserializeOwned>(manifest: Value) -> Result<K> {
    serde_json::from_value(manifest).context("an object of the comparison is malformed")
}

async fn create<K>(api: &Api<K>, object: &K) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + fmt::Debug + serde::Serialize + DeserializeOwned,
{
    let kind = K::kind(&());
    api.create(&PostParams::default(), object).await.with_context(|| format!("creating a {kind}")).map(drop)
}

/// Tries again and again until it goes well.
async fn wait_for(what: &str, mut attempt: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = attempt().await {
        if Instant::now() > deadline {
            return Err(error.context(format!("waited {DEADLINE:?} for {what}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
