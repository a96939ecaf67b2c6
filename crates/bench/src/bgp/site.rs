//! A network with routers, an API server with Services in it, and what the bench does to them.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool};
use bench::contender::{Contender, Process};
use bench::stage::{SYSTEM, Stage, object};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, TypeMeta};
use kube::{Api, Client, Resource};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::afar::AFAR;
use crate::router::{ASN, Router};

/// Writes under way while Services are made.
const CONCURRENCY: usize = 32;
pub(crate) const NODE: &str = "node";
pub(crate) const NAMESPACE: &str = "bench";
const POOL: &str = "pool";
/// The range that is set aside for benchmarks (RFC 2544).
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Where the node speaks from to the routers on this machine.
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// A port that the API allows for; the usual one would do as well.
const PORT: u16 = 1790;
pub(crate) const OWN_ASN: u32 = 64_512;
/// The advertisement of all Services.
pub(crate) const ALL: &str = "all";

/// Gives this thread, and whoever it starts, a network that nobody else is in.
pub(crate) fn isolate() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace, which needs root")?;
    ip("link set lo up")?;
    let addresses = [SOURCE].into_iter().chain((0..ROUTERS).map(of_router));
    addresses.into_iter().try_for_each(|address| ip(&format!("address add {address}/32 dev lo")))
}

/// Starts the routers on this machine.
pub(crate) fn routers() -> Result<Vec<Router>> {
    (0..ROUTERS).map(|number| Router::listen(of_router(number), PORT)).collect()
}

/// Configures the network of this thread.
pub(crate) fn ip(arguments: &str) -> Result<()> {
    let status = Command::new("ip").args(arguments.split(' ')).status().context("starting `ip`")?;
    ensure!(status.success(), "`ip {arguments}` failed");
    Ok(())
}

const ROUTERS: u8 = 4;

fn of_router(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 100 + number)
}

/// All that a contender meets.
pub(crate) struct Site {
    stage: Stage,
}

impl Site {
    /// So many Services have an address each, of a pool that is announced to nobody.
    pub(crate) async fn start(services: u32) -> Result<Self> {
        let site = Self { stage: Stage::start().await? };
        site.stage.create_namespace(NAMESPACE).await?;
        let kind = ApiResource::erase::<Node>(&());
        let nodes = Objects { api: Api::all_with(site.client(), &kind), kind };
        nodes.create(json!({"metadata": {"name": NODE}})).await?;
        let addresses = json!([{"type": "InternalIP", "address": SOURCE}]);
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"status": {"addresses": addresses, "conditions": ready}});
        nodes.patch_status(NODE, status).await?;
        site.create::<IPAddressPool>(POOL, json!({"addresses": [format!("{FIRST}/15")]})).await?;
        let all = stream::iter(0..services).map(|number| site.serve(number)).buffer_unordered(CONCURRENCY);
        all.try_collect::<()>().await?;
        Ok(site)
    }

    /// Starts the speaker of the only node.
    pub(crate) fn start_speaker(&self, contender: &Contender) -> Result<Process> {
        contender.start_speaker(&self.stage.server, NODE)
    }

    /// Makes a Service that has an address, and endpoints somewhere.
    async fn serve(&self, number: u32) -> Result<()> {
        self.create_service(number).await?;
        self.create_endpoints(number).await
    }

    /// Makes a Service that has an address.
    pub(crate) async fn create_service(&self, number: u32) -> Result<()> {
        let (api, name) = (self.of_namespace::<Service>(), service(number));
        let labels = json!({"app": "web", "service": name});
        let spec = json!({
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false, // there are fewer node ports than Services
            "ports": [{"port": 80}],
            "selector": {"app": "web"},
        });
        api.create(json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).await?;
        let ip = Ipv4Addr::from_bits(FIRST.to_bits() + number);
        let patch = json!({
            "metadata": {"annotations": {api::names::ALLOCATED_FROM_POOL: POOL}},
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
        });
        api.patch_status(&name, patch).await
    }

    /// Gives a Service its endpoints.
    pub(crate) async fn create_endpoints(&self, number: u32) -> Result<()> {
        let name = service(number);
        let slice = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": "another", "conditions": {"ready": true}}],
        });
        self.of_namespace::<EndpointSlice>().create(slice).await
    }

    /// Takes them from it.
    pub(crate) async fn delete_endpoints(&self, number: u32) -> Result<()> {
        self.of_namespace::<EndpointSlice>().delete(&service(number)).await
    }

    /// Makes the routers on this machine peers.
    pub(crate) async fn create_peers(&self) -> Result<()> {
        for number in 0..ROUTERS {
            let spec = json!({
                "myASN": OWN_ASN, "peerASN": ASN, "peerAddress": of_router(number), "peerPort": PORT,
                "sourceAddress": SOURCE,
            });
            self.create::<BGPPeer>(&peer(number), spec).await?;
        }
        Ok(())
    }

    /// Has all Services announced to them.
    pub(crate) async fn announce(&self) -> Result<()> {
        let peers: Vec<String> = (0..ROUTERS).map(peer).collect();
        self.create::<BGPAdvertisement>(ALL, json!({"peers": peers})).await
    }

    /// Does something of which no session and no route is to go.
    pub(crate) async fn change(&self, number: u32, services: u32) -> Result<()> {
        let name = service(number % services);
        let metadata = |what: &str| json!({"metadata": {what: {"bench": number.to_string()}}});
        match number % 10 {
            0 => {
                self.patch::<BGPAdvertisement>(ALL, json!({"communities": [format!("64512:{number}")]})).await
            }
            1 => self.patch::<IPAddressPool>(POOL, json!({"autoAssign": number % 20 == 1})).await,
            2 if number % 20 == 2 => {
                self.create::<IPAddressPool>("other", json!({"addresses": ["203.0.113.0/24"]})).await
            }
            2 => self.delete::<IPAddressPool>("other").await,
            3 => self.of_namespace::<Service>().patch(&name, metadata("labels")).await,
            4 => {
                let ports = json!({"spec": {"ports": [{"port": 1024 + number}]}});
                self.of_namespace::<Service>().patch(&name, ports).await
            }
            // One that is announced to nobody.
            5 => self.create_service(services + number).await,
            6 => self.of_namespace::<Service>().patch(&name, metadata("annotations")).await,
            7 => {
                let endpoint = json!({"addresses": ["10.244.0.2"], "conditions": {"ready": true}});
                self.of_namespace::<EndpointSlice>().patch(&name, json!({"endpoints": [endpoint]})).await
            }
            8 if number % 20 == 8 => {
                let named = json!([{"name": "bench", "value": format!("64512:{number}")}]);
                self.create::<Community>("bench", json!({"communities": named})).await
            }
            8 => self.delete::<Community>("bench").await,
            _ => self.of_namespace::<EndpointSlice>().patch(&name, metadata("annotations")).await,
        }
    }

    /// Has a Service, and no other, announced to a router afar, which looks by BFD this often whether the node is there.
    pub(crate) async fn announce_afar(&self, number: u32, milliseconds: u32) -> Result<()> {
        let interval = json!({"transmitInterval": milliseconds, "receiveInterval": milliseconds});
        self.create::<BFDProfile>("afar", interval).await?;
        let spec = json!({
            "myASN": OWN_ASN, "peerASN": ASN, "peerAddress": AFAR, "connectTime": "1s", "bfdProfile": "afar",
        });
        self.create::<BGPPeer>("afar", spec).await?;
        let selectors = json!([{"matchLabels": {"service": service(number)}}]);
        self.create::<BGPAdvertisement>("afar", json!({"peers": ["afar"], "serviceSelectors": selectors}))
            .await
    }

    /// Ends that.
    pub(crate) async fn withdraw_afar(&self) -> Result<()> {
        self.delete::<BGPAdvertisement>("afar").await?;
        self.delete::<BGPPeer>("afar").await?;
        self.delete::<BFDProfile>("afar").await
    }

    async fn create<K: Resource<DynamicType = ()>>(&self, name: &str, spec: Value) -> Result<()> {
        self.of_system::<K>().create(json!({"metadata": {"name": name}, "spec": spec})).await
    }

    async fn patch<K: Resource<DynamicType = ()>>(&self, name: &str, spec: Value) -> Result<()> {
        self.of_system::<K>().patch(name, json!({"spec": spec})).await
    }

    async fn delete<K: Resource<DynamicType = ()>>(&self, name: &str) -> Result<()> {
        self.of_system::<K>().delete(name).await
    }

    fn of_system<K: Resource<DynamicType = ()>>(&self) -> Objects {
        Objects::of::<K>(self.client(), SYSTEM)
    }

    fn of_namespace<K: Resource<DynamicType = ()>>(&self) -> Objects {
        Objects::of::<K>(self.client(), NAMESPACE)
    }

    fn client(&self) -> Client {
        self.stage.client()
    }
}

/// Objects of a kind in a namespace, as manifests.
struct Objects {
    api: Api<DynamicObject>,
    kind: ApiResource,
}

impl Objects {
    fn of<K: Resource<DynamicType = ()>>(client: Client, namespace: &str) -> Self {
        let kind = ApiResource::erase::<K>(&());
        Self { api: Api::namespaced_with(client, namespace, &kind), kind }
    }

    async fn create(&self, manifest: Value) -> Result<()> {
        let ApiResource { api_version, kind, .. } = self.kind.clone();
        let mut object: DynamicObject = object(manifest)?;
        let failed = format!("creating a {kind}");
        object.types = Some(TypeMeta { api_version, kind });
        self.api.create(&PostParams::default(), &object).await.context(failed).map(drop)
    }

    async fn patch(&self, name: &str, patch: Value) -> Result<()> {
        let patched = self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.with_context(|| format!("changing {} {name}", self.kind.kind)).map(drop)
    }

    async fn patch_status(&self, name: &str, patch: Value) -> Result<()> {
        let patched = self.api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.with_context(|| format!("changing the status of {} {name}", self.kind.kind)).map(drop)
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let deleted = self.api.delete(name, &DeleteParams::default()).await;
        deleted.with_context(|| format!("deleting {} {name}", self.kind.kind)).map(drop)
    }
}

fn service(number: u32) -> String {
    format!("service-{number:05}")
}

fn peer(number: u8) -> String {
    format!("router-{number}")
}

/// What the prefix of a Service is, as routers write it.
pub(crate) fn prefix(number: u32) -> String {
    Ipv4Addr::from_bits(FIRST.to_bits() + number).to_string()
}
