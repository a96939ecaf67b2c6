//! One API server with one of the two controllers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::contender::{Contender, Process};
use bench::stage::{SYSTEM, Stage};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::outcome::Outcome;
use crate::step::{Id, Kind, Object, Step};

/// The namespaces of Services.
pub(crate) const NAMESPACES: [&str; 3] = ["a", "b", "c"];
/// The class that is served where one is.
pub(crate) const CLASS: &str = "example.com/lb";

/// Whoever gives this Service the address that it asks for has seen everything before.
const BEACON: &str = "beacon";
const BEACON_WITHIN: Duration = Duration::from_mins(1);

/// An API server and a controller.
pub(crate) struct Side {
    contender: Contender,
    stage: Stage,
    running: Option<Process>,
    class: Option<&'static str>,
    /// How often the beacon has changed.
    beacons: u8,
}

impl Side {
    /// The API server only.
    pub(crate) async fn start(contender: Contender) -> Result<Self> {
        let stage = Stage::start().await?;
        for namespace in NAMESPACES {
            stage.create_namespace(namespace).await?;
        }
        Ok(Self { contender, stage, running: None, class: None, beacons: 0 })
    }

    /// Begins anew: nothing is there but a controller that serves this class.
    pub(crate) async fn reset(&mut self, class: Option<&'static str>) -> Result<()> {
        self.running = None;
        self.class = class;
        for namespace in NAMESPACES {
            self.delete_all(&Kind::Service.resource(), namespace).await?;
            self.delete_all(&events(), namespace).await?;
        }
        self.delete_all(&Kind::Pool.resource(), SYSTEM).await?;
        for namespace in NAMESPACES {
            let name = Id { kind: Kind::Namespace, namespace: String::new(), name: namespace.to_owned() };
            // What pools select is always there somewhere.
            let labels = if namespace == "c" { json!({"gold": "yes", "silver": "yes"}) } else { json!({}) };
            self.apply(&Object::new(name, json!({"metadata": {"labels": labels}}))).await?;
        }
        let beacon = Id { kind: Kind::Pool, namespace: SYSTEM.to_owned(), name: BEACON.to_owned() };
        let spec = json!({"spec": {"addresses": ["192.0.2.0/31"], "autoAssign": false}});
        self.apply(&Object::new(beacon, spec)).await?;
        self.take(&Step::Restart { meanwhile: Vec::new() }).await
    }

    /// Does it. What the API server refuses is as good as not done.
    pub(crate) async fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Apply(object) => self.apply(object).await,
            Step::Delete(name) => self.delete(name).await,
            Step::Release(name) => self.release(name).await,
            Step::AtOnce(steps) => {
                for step in steps {
                    Box::pin(self.take(step)).await?;
                }
                Ok(())
            }
            Step::Replace { old, new } => {
                self.apply(new).await?;
                sleep(Duration::from_millis(200)).await;
                self.delete(old).await
            }
            Step::Status { service, ingress } => {
                let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": ingress}}}));
                let api = self.api(service.kind.resource(), &service.namespace);
                tolerate(api.patch_status(&service.name, &PatchParams::default(), &patch).await)
            }
            Step::Restart { meanwhile } => {
                self.running = None;
                for step in meanwhile {
                    Box::pin(self.take(step)).await?;
                }
                let class = self.class.map(|class| format!("--lb-class={class}"));
                let arguments: Vec<String> = class.into_iter().collect();
                self.running = Some(self.contender.start(&self.stage.server, &arguments)?);
                self.light_beacon().await
            }
        }
    }

    /// Changes something about a Service that changes nothing, so that the controller looks at it.
    pub(crate) async fn touch(&self, service: &str) -> Result<()> {
        let (namespace, name) = service.split_once('/').context("a Service is in a namespace")?;
        let now = format!("{:?}", Instant::now());
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"touched": now}}}));
        let api = self.api(Kind::Service.resource(), namespace);
        tolerate(api.patch(name, &PatchParams::default(), &patch).await)
    }

    /// Starts the controller afresh where Services hold what `held` says, by namespace and name.
    pub(crate) async fn settle_on(&mut self, held: &BTreeMap<String, Vec<IpAddr>>) -> Result<()> {
        self.running = None;
        for (service, ips) in held {
            let (namespace, name) = service.split_once('/').context("a Service is in a namespace")?;
            let id = Id { kind: Kind::Service, namespace: namespace.to_owned(), name: name.to_owned() };
            let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
            self.take(&Step::Status { service: id, ingress: ingress(&ips) }).await?;
        }
        self.take(&Step::Restart { meanwhile: Vec::new() }).await
    }

    /// What it is like at this moment.
    pub(crate) async fn outcome(&self) -> Result<Outcome> {
        let (services, pools) = (Kind::Service.resource(), Kind::Pool.resource());
        let mut services = self.list(&services, "").await?;
        services.retain(|service| service.name_any() != BEACON && service.name_any() != "kubernetes");
        Ok(Outcome::read(&services, &self.list(&pools, SYSTEM).await?, &self.list(&events(), "").await?))
    }

    /// Waits until the controller has seen everything that was there before.
    async fn light_beacon(&mut self) -> Result<()> {
        self.beacons = self.beacons.wrapping_add(1);
        let ip = format!("192.0.2.{}", self.beacons % 2);
        let name = Id { kind: Kind::Service, namespace: "c".to_owned(), name: BEACON.to_owned() };
        let spec = json!({
            "metadata": {"annotations": {"metallb.io/loadBalancerIPs": ip}},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": self.class, "ports": [{"port": 80}]},
        });
        let api = self.api(name.kind.resource(), &name.namespace);
        self.apply(&Object::new(name, spec)).await?;
        let deadline = Instant::now() + BEACON_WITHIN;
        loop {
            let beacon = api.get(BEACON).await.context("reading the beacon")?;
            if beacon.data["status"]["loadBalancer"]["ingress"][0]["ip"].as_str() == Some(&ip) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{} serves nothing within {BEACON_WITHIN:?}", self.contender);
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn apply(&self, Object { id, manager, manifest }: &Object) -> Result<()> {
        let api = self.api(id.kind.resource(), &id.namespace);
        let parameters = PatchParams::apply(manager.name()).force();
        let applied = match api.patch(&id.name, &parameters, &Patch::Apply(manifest)).await {
            Ok(applied) => applied,
            refused => return tolerate(refused),
        };
        if id.kind == Kind::Pool {
            // A list that is merged with that of another manager is nobody's.
            let [applied, wanted] = [&applied.data, manifest].map(|object| &object["spec"]["addresses"]);
            ensure!(applied == wanted, "{id} has the addresses {applied} after {wanted} was applied");
        }
        Ok(())
    }

    async fn release(&self, id: &Id) -> Result<()> {
        let api = self.api(id.kind.resource(), &id.namespace);
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        tolerate(api.patch(&id.name, &PatchParams::default(), &patch).await)
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let api = self.api(id.kind.resource(), &id.namespace);
        tolerate(api.delete(&id.name, &DeleteParams::default()).await)
    }

    async fn delete_all(&self, resource: &ApiResource, namespace: &str) -> Result<()> {
        let api = self.api(resource.clone(), namespace);
        for object in self.list(resource, namespace).await? {
            if object.metadata.finalizers.is_some() {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                tolerate(api.patch(&object.name_any(), &PatchParams::default(), &patch).await)?;
            }
            tolerate(api.delete(&object.name_any(), &DeleteParams::default()).await)?;
        }
        Ok(())
    }

    async fn list(&self, resource: &ApiResource, namespace: &str) -> Result<Vec<DynamicObject>> {
        let api = self.api(resource.clone(), namespace);
        let list = api.list(&ListParams::default()).await;
        Ok(list.with_context(|| format!("listing {}", resource.plural))?.items)
    }

    /// Those of all namespaces when `namespace` is empty.
    fn api(&self, resource: ApiResource, namespace: &str) -> Api<DynamicObject> {
        match namespace {
            "" => Api::all_with(self.stage.client(), &resource),
            namespace => Api::namespaced_with(self.stage.client(), namespace, &resource),
        }
    }
}

fn events() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Event"), "events")
}

fn tolerate<T>(answer: kube::Result<T>) -> Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(()),
        other => other.map(drop).context("asking the API server"),
    }
}

/// A list of addresses as somebody would write it by hand.
pub(crate) fn ingress(ips: &[String]) -> Value {
    ips.iter().map(|ip| json!({"ip": ip})).collect()
}
