//! What is looked at in a cluster, and what could not be looked at.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use api::{
    AddressReservation, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement,
    ServiceL2Status,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, Resource};
use placement::{ExcludeLabel, Failback, ServiceKey, Spread};
use serde::de::DeserializeOwned;
use slim::{EndpointSlice, Namespace, Node, Service};
use translation::{Rules, SharingScope};

use crate::ask::{self, Question, Tokens, Told};
use crate::client::{self, Clients, Failure, Why};
use crate::installations::{self, Another};
use crate::options::Connection;
use crate::programs::{LABELS, Part, Program};
use crate::snapshot::{
    self, ADVERTISEMENT, BgpObjects, Elsewhere, FOR_ROUTERS, POOL, ROUTER, Snapshot, Speakers,
};
use crate::survey::{Report, Reports};

/// So long DHCP servers are waited for on the LAN.
const DHCP_SERVERS_TAKE: Duration = Duration::from_secs(8);

/// Where FerroLB is when nothing else is known.
const DEFAULT_NAMESPACE: &str = "metallb-system";

/// The labels of MetalLB's Pods: those of its chart, and those of its manifests.
pub(crate) const METALLB: [&str; 2] =
    ["app.kubernetes.io/name=metallb", "app=metallb,app.kubernetes.io/name!=ferrolb"];

/// A cluster with FerroLB in it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// For what Pods say of themselves. The LAN is asked by the other, which waits where they are asked too often.
    once: Client,
    /// The namespace of the Services that are asked about, if not of all.
    pub(crate) default_namespace: String,
    /// FerroLB's.
    pub(crate) system: String,
    /// Its Pods, or why they cannot be seen.
    pub(crate) programs: Result<Vec<Program>, Failure>,
    /// What there is where it is not.
    pub(crate) instead: Option<Instead>,
    /// FerroLB in other namespaces, as far as they can be seen.
    pub(crate) others: Vec<Another>,
    /// How long each of them is waited for.
    pod_timeout: Duration,
    tokens: Arc<Tokens>,
}

/// What there is where FerroLB has no Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instead {
    /// FerroLB in another namespace than the one that was given.
    Elsewhere(String),
    /// MetalLB, in this namespace.
    MetalLb(String),
    /// Nothing that is known.
    Nothing,
}

/// A list, or why it cannot be had.
pub(crate) type Listed<K> = Result<Vec<K>, Failure>;

impl Cluster {
    /// Reaches a cluster, and finds FerroLB in it. Fails where its API server cannot be reached: whatever else it would be
    /// asked takes as long, and tells no more.
    pub(crate) async fn open(options: &Connection) -> anyhow::Result<Self> {
        let (clients, default_namespace) = client::connect(options).await?;
        let cluster = Self::find(clients, default_namespace, Arc::default(), options).await;
        match &cluster.programs {
            Err(failure) if failure.is_unreachable() => {
                bail!("{}", client::told(slice::from_ref(failure)).concat())
            }
            Ok(_) | Err(_) => Ok(cluster),
        }
    }

    /// The same cluster by the same connection, with the Pods that there are now.
    pub(crate) async fn again(&self, options: &Connection) -> Self {
        let clients = Clients { api: self.client.clone(), once: self.once.clone() };
        let tokens = Arc::clone(&self.tokens);
        Self::find(clients, self.default_namespace.clone(), tokens, options).await
    }

    /// A cluster that is never talked to.
    #[cfg(test)]
    pub(crate) fn silent(programs: Vec<Program>) -> Self {
        let nowhere = kube::Config::new(http::Uri::from_static("http://127.0.0.1:9"));
        let client = Client::try_from(nowhere).unwrap();
        Self {
            once: client.clone(),
            client,
            default_namespace: "default".to_owned(),
            system: DEFAULT_NAMESPACE.to_owned(),
            instead: programs.is_empty().then_some(Instead::Nothing),
            others: vec![],
            programs: Ok(programs),
            pod_timeout: Duration::ZERO,
            tokens: Arc::default(),
        }
    }

    /// Finds FerroLB.
    async fn find(
        Clients { api: client, once }: Clients,
        default_namespace: String,
        tokens: Arc<Tokens>,
        options: &Connection,
    ) -> Self {
        let given = options.system_namespace.clone().filter(|name| !name.is_empty());
        let pods = async |namespace: Option<&str>| -> Listed<Pod> {
            client::list(&client, namespace, Some(LABELS)).await
        };
        let read = |pods: &[Pod]| -> Vec<Program> { pods.iter().filter_map(Program::read).collect() };
        // Whoever may not see all namespaces may see that of FerroLB.
        let everywhere = client::first(&once, pods(None)).await;
        let all = everywhere.as_deref().ok().map(read);
        let is_default = |it: &&Program| it.namespace == DEFAULT_NAMESPACE;
        let found = all.iter().flatten().find(is_default).or(all.iter().flatten().next());
        let found = found.map(|it| it.namespace.clone());
        let system = given.or(found).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let others = Another::beside(&system, everywhere.as_deref().unwrap_or_default());
        let programs = match (all, everywhere) {
            (Some(all), _) => Ok(all.into_iter().filter(|program| program.namespace == system).collect()),
            (None, Err(failure)) if failure.is_unreachable() => Err(failure),
            (None, _) => pods(Some(&system)).await.map(|pods| read(&pods)),
        };
        let programs = programs.map(|mut programs: Vec<Program>| {
            programs.sort_by(|a, b| (a.part, &a.node, &a.pod).cmp(&(b.part, &b.node, &b.pod)));
            programs
        });
        let instead = match &programs {
            Ok(programs) if programs.is_empty() => Some(Instead::look(&client).await),
            Ok(_) | Err(_) => None,
        };
        let pod_timeout = Duration::from_secs(options.pod_timeout);
        Self { client, once, default_namespace, system, programs, instead, others, pod_timeout, tokens }
    }

    /// That FerroLB does not run, where that is so, and what to do.
    pub(crate) fn absent(&self) -> Option<(String, String)> {
        let system = &self.system;
        let (what, remedy) = match self.instead.as_ref()? {
            Instead::Elsewhere(namespace) => (
                format!("no Pod of FerroLB in namespace {system}; there are some in namespace {namespace}"),
                format!("--system-namespace {namespace}"),
            ),
            Instead::MetalLb(namespace) => (
                format!(
                    "no Pod of FerroLB in namespace {system}: MetalLB serves this cluster, from namespace {namespace}"
                ),
                "examples/from-metallb says how to let FerroLB take over; whatif and explain tell what it would do"
                    .to_owned(),
            ),
            Instead::Nothing => (
                format!("no Pod of FerroLB in namespace {system}, so no Service gets an address"),
                "install FerroLB, or say where it is: --system-namespace".to_owned(),
            ),
        };
        Some((what, remedy))
    }

    /// What other installations of FerroLB mean to the Services of this one, whose controllers say this, and what to do.
    pub(crate) fn rivals(&self, controllers: &[Told]) -> Vec<(String, String)> {
        let class = self.rules().class;
        let seen = self.programs.as_ref().is_ok_and(|programs| !programs.is_empty());
        let elder = controllers.iter().find_map(|told| told.controller()?.waits_for.as_ref());
        let elsewhere = |it: &&Another| elder.is_none_or(|elder| elder.namespace != it.namespace);
        let others = self.others.iter().filter(|it| seen && elsewhere(it));
        let others = others.filter_map(|it| it.conflict(&self.system, class.as_deref()));
        let waits = elder.map(|elder| installations::waits(&self.system, class.as_deref(), elder));
        waits.into_iter().chain(others).collect()
    }

    /// The programs of a part; none where the Pods cannot be seen.
    pub(crate) fn of_part(&self, part: Part) -> impl Iterator<Item = &Program> {
        self.programs.iter().flatten().filter(move |program| program.part == part)
    }

    /// What the programs were told of Services. Where their Pods cannot be seen, what they are told when nothing is said.
    pub(crate) fn rules(&self) -> Rules {
        let controller = self.of_part(Part::Controller).next();
        let within = controller.is_some_and(|controller| controller.shares_within_namespace);
        Rules {
            class: controller.and_then(|controller| controller.class.clone()),
            sharing: if within { SharingScope::Namespace } else { SharingScope::Cluster },
        }
    }

    fn exclude_label(&self) -> ExcludeLabel {
        let ignored = self.of_part(Part::Speaker).any(|speaker| speaker.ignores_exclude_label);
        if ignored { ExcludeLabel::Ignored } else { ExcludeLabel::Honoured }
    }

    fn spread(&self) -> Spread {
        let evenly = self.of_part(Part::Speaker).any(|speaker| speaker.spreads);
        if evenly { Spread::Evenly } else { Spread::ByHash }
    }

    fn failback(&self) -> Failback {
        let never = self.of_part(Part::Speaker).any(|speaker| speaker.never_fails_back);
        if never { Failback::Never } else { Failback::Always }
    }

    /// Whether the controller serves `NodeAddressPool`s.
    pub(crate) fn serves_node_pools(&self) -> bool {
        self.of_part(Part::Controller).any(|controller| controller.node_address_pools)
    }

    /// Asks the programs of a part for their `/status`.
    pub(crate) async fn ask(&self, part: Part) -> Vec<Told> {
        let programs: Vec<Program> = self.of_part(part).cloned().collect();
        ask::ask((&self.client, &self.once), &programs, &Question::Status, self.pod_timeout, &self.tokens)
            .await
    }

    /// Asks the speakers who answers for an address on the LAN.
    pub(crate) async fn trace(&self, ip: IpAddr) -> Vec<Told> {
        let speakers: Vec<Program> = self.of_part(Part::Speaker).cloned().collect();
        self.trace_from(&speakers, ip).await
    }

    /// Asks these speakers, and answers in their order.
    pub(crate) async fn trace_from(&self, speakers: &[Program], ip: IpAddr) -> Vec<Told> {
        let clients = (&self.client, &self.client);
        ask::ask(clients, speakers, &Question::Trace(ip), self.pod_timeout, &self.tokens).await
    }

    /// Asks a speaker which DHCP servers there are, and what they offer to who would like an address. That takes longer than
    /// other questions: those wait for seconds before they offer anything.
    pub(crate) async fn dhcp_servers(&self, speaker: &Program, wanted: Option<Ipv4Addr>) -> Vec<Told> {
        let (clients, speaker) = ((&self.client, &self.client), slice::from_ref(speaker));
        let patience =
            if self.pod_timeout.is_zero() { self.pod_timeout } else { self.pod_timeout + DHCP_SERVERS_TAKE };
        ask::ask(clients, speaker, &Question::DhcpServers(wanted), patience, &self.tokens).await
    }

    /// All objects of a kind, everywhere.
    pub(crate) async fn all<K>(&self) -> Listed<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        client::list(&self.client, None, None).await
    }

    /// Those of a namespace.
    pub(crate) async fn of_namespace<K>(&self, namespace: &str) -> Listed<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        client::list(&self.client, Some(namespace), None).await
    }

    /// All objects of a kind that FerroLB reads in its own namespace: those of all namespaces, or of its own alone where no
    /// more may be seen.
    async fn everywhere<K>(&self) -> Listed<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        match self.all::<K>().await {
            Err(Failure { why: Why::Forbidden, .. }) => self.of_namespace(&self.system).await,
            listed => listed,
        }
    }

    /// All that decisions are made from, and the lists that could not be had.
    pub(crate) async fn snapshot(&self, speakers: &[Told]) -> (Snapshot, Vec<Failure>) {
        let (services, pools, reservations, advertisements, namespaces, nodes, slices) = Box::pin(async {
            futures::join!(
                self.all::<Service>(),
                self.everywhere::<IPAddressPool>(),
                self.all::<AddressReservation>(),
                self.everywhere::<L2Advertisement>(),
                self.all::<Namespace>(),
                self.all::<Node>(),
                self.all::<EndpointSlice>(),
            )
        })
        .await;
        let mut failures = Vec::new();
        let (bgp, of_bgp) = self.bgp_objects(&mut failures).await;
        let (pools, mut elsewhere) = snapshot::part(or_none(pools, &mut failures), POOL, &self.system);
        let (advertisements, others) =
            snapshot::part(or_none(advertisements, &mut failures), ADVERTISEMENT, &self.system);
        elsewhere.extend(others.into_iter().chain(of_bgp));
        let reservations = if_there(reservations);
        // What another installation reads is no mistake.
        elsewhere.retain(|it| self.others.iter().all(|other| other.namespace != it.namespace));
        let known = self.programs.is_ok();
        let snapshot = Snapshot {
            rules: self.rules(),
            exclude_label: self.exclude_label(),
            spread: self.spread(),
            failback: self.failback(),
            node_pools: self.serves_node_pools(),
            services: or_none(services, &mut failures),
            pools,
            reservations: or_none(reservations, &mut failures),
            advertisements,
            bgp,
            namespaces: or_none(namespaces, &mut failures),
            nodes: or_none(nodes, &mut failures),
            slices: or_none(slices, &mut failures),
            speakers: Speakers::read(self.programs.as_deref().ok(), speakers),
            elsewhere,
            controller: !known || self.of_part(Part::Controller).next().is_some(),
        };
        if let Err(failure) = &self.programs {
            failures.push(failure.clone());
        }
        (snapshot, failures)
    }

    /// The objects about BGP, and those that FerroLB does not read.
    async fn bgp_objects(&self, failures: &mut Vec<Failure>) -> (BgpObjects, Vec<Elsewhere>) {
        let (peers, advertisements, communities, profiles) = Box::pin(async {
            futures::join!(
                self.everywhere::<BGPPeer>(),
                self.everywhere::<BGPAdvertisement>(),
                self.of_namespace::<Community>(&self.system),
                self.of_namespace::<BFDProfile>(&self.system),
            )
        })
        .await;
        let (peers, mut elsewhere) = snapshot::part(or_none(if_there(peers), failures), ROUTER, &self.system);
        let (advertisements, others) =
            snapshot::part(or_none(if_there(advertisements), failures), FOR_ROUTERS, &self.system);
        elsewhere.extend(others);
        let communities = or_none(if_there(communities), failures);
        let profiles = or_none(if_there(profiles), failures);
        (BgpObjects { peers, advertisements, communities, profiles }, elsewhere)
    }

    /// Who announces each Service, as the speakers have reported: nodes, each with its interfaces.
    pub(crate) async fn announced(&self) -> Result<Reports, Failure> {
        let reports = self.of_namespace::<ServiceL2Status>(&self.system).await?;
        let mut announced = Reports::new();
        for object in reports {
            let since = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let Some(report) = object.status else { continue };
            let key = ServiceKey::new(report.service_namespace, report.service_name);
            let interfaces = report.interfaces.into_iter().map(|interface| interface.name).collect();
            announced.entry(key).or_default().push(Report { node: report.node, interfaces, since });
        }
        announced.values_mut().for_each(|reports| reports.sort_by(|a, b| a.node.cmp(&b.node)));
        Ok(announced)
    }
}

impl Instead {
    /// Finds out what there is.
    async fn look(client: &Client) -> Self {
        let first = async |labels: &str| -> Option<String> {
            let pods: Vec<Pod> = client::list(client, None, Some(labels)).await.ok()?;
            pods.into_iter().find_map(|pod| pod.metadata.namespace)
        };
        if let Some(namespace) = first(LABELS).await {
            return Self::Elsewhere(namespace);
        }
        for labels in METALLB {
            if let Some(namespace) = first(labels).await {
                return Self::MetalLb(namespace);
            }
        }
        Self::Nothing
    }
}

/// A list of a kind that FerroLB does without.
fn if_there<K>(list: Listed<K>) -> Listed<K> {
    match list {
        Err(Failure { why: Why::NotFound, .. }) => Ok(Vec::new()),
        listed => listed,
    }
}

/// A list, or none of it where it cannot be had, which is told.
fn or_none<K>(list: Listed<K>, failures: &mut Vec<Failure>) -> Vec<K> {
    list.unwrap_or_else(|failure| {
        failures.push(failure);
        Vec::new()
    })
}
