//! An API server with Services in it, and what the bench does to them.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use bench::stage::{SYSTEM, Stage, object};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use kubekit::Version;
use lab::apiserver::ApiServer;
use serde_json::{Value, json};
use slim::Service;

use crate::requests::Requests;

/// FerroLB's own bound on writes under way.
const CONCURRENCY: usize = 32;

const NAMESPACE: &str = "bench";
const POOL: &str = "pool";
/// The range that is set aside for benchmarks (RFC 2544).
const ADDRESSES: &str = "198.18.0.0/15";
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// An API server of one measurement.
pub(crate) struct Cluster {
    stage: Stage,
    services: Vec<Known>,
    /// How many were ever created; what is deleted is not made again.
    created: usize,
}

/// A Service as the last answer told it.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    version: Version,
}

/// What the status of Services is to say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Status {
    /// One address each.
    Served,
    /// None.
    Waiting,
}

/// What Services ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// An address for each.
    Alone,
    /// A port of an address that all of them share.
    Sharing,
}

impl Shape {
    fn annotations(self) -> Value {
        match self {
            Self::Alone => json!({}),
            Self::Sharing => json!({api::names::ALLOW_SHARED_IP.name(): "bench"}),
        }
    }

    fn port(self, number: usize) -> usize {
        match self {
            Self::Alone => 80,
            Self::Sharing => 1 + number,
        }
    }
}

impl Cluster {
    /// An API server with the CRDs, one pool, and no Service that wants an address.
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Self::without_pools().await?;
        cluster.apply_pool(json!({})).await?;
        Ok(cluster)
    }

    /// An API server with the CRDs, and neither a pool nor a Service that wants an address.
    pub(crate) async fn without_pools() -> Result<Self> {
        let stage = Stage::start().await?;
        stage.create_namespace(NAMESPACE).await?;
        Ok(Self { stage, services: Vec::new(), created: 0 })
    }

    /// The API server.
    pub(crate) fn server(&self) -> &ApiServer {
        &self.stage.server
    }

    /// Asks it on behalf of the bench.
    pub(crate) fn client(&self) -> Client {
        self.stage.client()
    }

    /// Creates Services that want an address until there are `count`.
    pub(crate) async fn create_services(&mut self, count: usize, shape: Shape) -> Result<()> {
        let api = self.api();
        let create = |number: usize| {
            let api = api.clone();
            async move {
                let service: k8s_openapi::api::core::v1::Service = object(json!({
                    "metadata": {
                        "name": format!("service-{number:05}"),
                        "labels": {"app": "web"},
                        "annotations": shape.annotations(),
                    },
                    "spec": {
                        "type": "LoadBalancer",
                        "allocateLoadBalancerNodePorts": false, // there are fewer node ports than Services
                        "ports": [{"port": shape.port(number)}],
                        "selector": {"app": "web"},
                    },
                }))?;
                let created = api.create(&PostParams::default(), &service).await?;
                let version = Version::of(&created);
                anyhow::Ok(Known { name: created.metadata.name.unwrap_or_default(), version })
            }
        };
        let missing = count.saturating_sub(self.services.len());
        let numbers = stream::iter(self.created..self.created + missing);
        let created: Vec<Known> = numbers
            .map(create)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
            .context("creating Services")?;
        self.services.extend(created);
        self.created += missing;
        Ok(())
    }

    /// Writes the status of every Service, as a controller that has nothing else to do would.
    pub(crate) async fn write_statuses(&mut self, status: Status) -> Result<()> {
        let api: Api<Service> = Api::namespaced(self.client(), NAMESPACE);
        let write = |(number, Known { name, version }): (u32, Known)| {
            let api = api.clone();
            async move {
                let (ingress, pool) = match status {
                    Status::Served => {
                        let ip = Ipv4Addr::from_bits(FIRST.to_bits() + number);
                        (json!([{"ip": ip}]), json!(POOL))
                    }
                    Status::Waiting => (Value::Null, Value::Null),
                };
                let patch = json!({
                    "metadata": {
                        "resourceVersion": version.as_str(),
                        "annotations": {api::names::ALLOCATED_FROM_POOL: pool},
                    },
                    "status": {"loadBalancer": {"ingress": ingress}},
                });
                let parameters = PatchParams::default();
                let written = api.patch_status(&name, &parameters, &Patch::Merge(&patch)).await?;
                anyhow::Ok(Known { version: Version::of(&written), name })
            }
        };
        let services = stream::iter((0..).zip(std::mem::take(&mut self.services)));
        self.services = services
            .map(write)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
            .context("writing statuses")?;
        Ok(())
    }

    /// Deletes one Service.
    pub(crate) async fn delete_one(&mut self) -> Result<()> {
        let Known { name, .. } = self.services.pop().context("there is no Service left")?;
        self.api()
            .delete(&name, &DeleteParams::default())
            .await
            .with_context(|| format!("deleting {name}"))?;
        Ok(())
    }

    /// Changes something about the pool that changes nothing for anybody.
    pub(crate) async fn touch_pool(&self) -> Result<()> {
        self.apply_pool(json!({"bench": "touched"})).await
    }

    /// Creates pools of single addresses, of which no two are beside each other.
    pub(crate) async fn create_pools(&self, count: u32, entries: u32) -> Result<()> {
        let create = |number: u32| async move {
            let address = |entry: u32| {
                let offset = 2 * (number * entries + entry);
                format!("{}/32", Ipv4Addr::from_bits(FIRST.to_bits() + offset))
            };
            let addresses: Vec<String> = (0..entries).map(address).collect();
            self.apply(&format!("pool-{number:04}"), &json!({}), &addresses).await
        };
        let created = stream::iter(0..count).map(create).buffer_unordered(CONCURRENCY);
        created.try_collect::<()>().await.context("creating pools")
    }

    /// Deletes the pool.
    pub(crate) async fn delete_pool(&self) -> Result<()> {
        let pools: Api<api::IPAddressPool> = Api::namespaced(self.client(), SYSTEM);
        pools.delete(POOL, &DeleteParams::default()).await.context("deleting the pool")?;
        Ok(())
    }

    /// When the leader got the Lease, if the controller has one.
    pub(crate) async fn leading_since(&self) -> Result<Option<SystemTime>> {
        let leases: Api<Lease> = Api::namespaced(self.client(), SYSTEM);
        let lease = leases.get_opt("ferrolb-controller").await.context("reading the Lease")?;
        Ok(lease.and_then(|lease| lease.spec?.acquire_time).map(|time| time.0.into()))
    }

    /// Every request that the API server has answered until now.
    pub(crate) async fn requests(&self) -> Result<Requests> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics =
            self.client().request_text(request).await.context("reading the API server's metrics")?;
        let requests = Requests::read(&metrics);
        ensure!(!requests.is_empty(), "the API server's metrics count no requests");
        Ok(requests)
    }

    fn api(&self) -> Api<k8s_openapi::api::core::v1::Service> {
        Api::namespaced(self.client(), NAMESPACE)
    }

    async fn apply_pool(&self, annotations: Value) -> Result<()> {
        self.apply(POOL, &annotations, &[ADDRESSES.to_owned()]).await
    }

    async fn apply(&self, name: &str, annotations: &Value, addresses: &[String]) -> Result<()> {
        let pools: Api<api::IPAddressPool> = Api::namespaced(self.client(), SYSTEM);
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"addresses": addresses},
        });
        let parameters = PatchParams::apply("bench").force();
        pools.patch(name, &parameters, &Patch::Apply(pool)).await.context("writing a pool")?;
        Ok(())
    }
}
