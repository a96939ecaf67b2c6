//! The loop of the controller: what happens goes into the Index, what follows goes out.

use std::collections::VecDeque;
use std::convert::identity;
use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, Instant};

use api::{
    AddressReservation, BGPAdvertisement, BGPPeer, ConfigurationState, IPAddressPool, L2Advertisement,
    NodeAddressPool,
};
use coexistence::{Elder, LeaseName, Precedence};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use introspection::{ControllerStatus, Document, Status};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, Client, Resource};
use kubekit::events::{Notice, Publisher, Severity};
use kubekit::http::Readiness;
use kubekit::http::status::Questions;
use kubekit::lease::Leads;
use kubekit::write::{Answer, Object, Writes};
use kubekit::{Change, Progress, Reachability, Source, Watched, due, keep, watch, watch_as, watch_history};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use slim::{EndpointSlice, Namespace, Node, Service};
use tracing::warn;
use translation::{Rules, SharingScope};

use crate::bgp_objects::BgpChange;
use crate::entry::Seen;
use crate::index::{Index, List, ReadySlice, Role};
use crate::recovery::Lost;
use crate::statuses::{Statuses, Turn};
use crate::turns::Pace;
use crate::write::{Ended, StatusEnded};
use crate::{Config, Metrics, configuration_state, write};

/// Status writes that may be on their way at once: enough to keep an API server busy, and few enough to
/// leave it room for others.
const MOST_WRITES: usize = 32;

/// As many Services are decided anew between two looks at what else has happened: a millisecond or two.
const DECISIONS: usize = 256;

/// How long changes are collected before counters are brought up to date, those in the status of pools
/// among them.
const COUNTERS_DELAY: Duration = Duration::from_millis(200);

/// How long after what follows from a change of pools the next one has to wait, with all that come meanwhile; and so
/// the longest that Services wait to be decided by pools that have changed.
const POOLS_DELAY: Duration = Duration::from_millis(200);

/// A change of some kind.
enum Incoming {
    Restored,
    Services(Change<Seen>),
    Pools(Change<IPAddressPool>),
    Advertisements(Change<L2Advertisement>),
    Namespaces(Change<Namespace>),
    Nodes(Change<Node>),
    Bgp(Box<BgpChange>),
    BgpSessions(Change<ConfigurationState>),
    NodePools(Change<NodeAddressPool>),
    Reservations(Change<AddressReservation>),
    Endpoints(Change<ReadySlice>),
    Speakers(Change<ConfigurationState>),
}

/// Follows the cluster and serves it for as long as there are changes.
pub(crate) async fn run(
    client: Client,
    config: &Config,
    mut leads: Leads,
    events: Publisher,
    writes_to: Writes,
    metrics: &Metrics,
    (readiness, progress, mut questions, mut lost, precedence): (
        &Readiness,
        Progress,
        Questions,
        Lost,
        Precedence,
    ),
) {
    let mut index = Index::new(List::needed(config.node_address_pools), Instant::now());
    let reachability = Reachability::default();
    let mut changes = watches(&client, config, &reachability);
    let mut deciding_readiness = pin!(reachability.decide(readiness));
    let mut endpoints: Option<SelectAll<BoxStream<'static, Incoming>>> = None;
    let mut bgp_sessions: Option<SelectAll<BoxStream<'static, Incoming>>> = None;
    let mut writes = FuturesUnordered::new();
    let mut reports = FuturesUnordered::new();
    let (report, reported) = keep::wanted();
    let mut reporting = pin!(keep::keep(
        configuration_state::source(&client, &config.identity.namespace),
        reported,
        writes_to.clone(),
        |_, state: &ConfigurationState| state.clone(),
    ));
    let mut counters_due: Option<Instant> = None;
    let mut statuses = Statuses::default();
    let mut to_report = VecDeque::new();
    let mut pools_settled: Option<Instant> = None;
    let mut pace = Pace::start();
    loop {
        pace.pause().await;
        index.set_role(role(&leads), Instant::now());
        let next_settling = pools_settled.map_or_else(Instant::now, |at| at + POOLS_DELAY);
        if index.has_pools_to_settle() && next_settling <= Instant::now() {
            index.settle_pools(Instant::now());
            pools_settled = Some(Instant::now());
        }
        let settling = index.has_pools_to_settle().then_some(next_settling);
        if index.follows_endpoints() != endpoints.is_some() {
            index.forget_endpoints();
            endpoints = index.follows_endpoints().then(|| watch_endpoints(&client, config));
        }
        if index.follows_bgp_sessions() != bgp_sessions.is_some() {
            index.forget_bgp_sessions();
            bgp_sessions = index.follows_bgp_sessions().then(|| watch_bgp_sessions(&client, config));
        }
        index.decide(DECISIONS);
        show_progress(&index, config, readiness);
        while writes.len() < MOST_WRITES
            && role(&leads) == Role::Leader
            && let Some(write) = index.next_write()
        {
            writes.push(write::service_status(client.clone(), writes_to.clone(), write));
        }
        while events.has_room()
            && let Some((about, notice)) = index.next_notice()
        {
            tell(&events, about, notice);
            pace.pause().await;
        }
        if role(&leads) != Role::Leader {
            to_report.clear();
        }
        while reports.len() < MOST_WRITES
            && let Some(report) = to_report.pop_front()
        {
            reports.push(report);
        }
        let timeout = index.next_timeout();
        tokio::select! {
            () = leads.changed() => {
                counters_due.get_or_insert(Instant::now() + COUNTERS_DELAY);
            }
            change = changes.next(), if !index.is_listing() => {
                let Some(change) = change else { return };
                metrics.updates.inc();
                take_in(&mut index, change);
                counters_due.get_or_insert(Instant::now() + COUNTERS_DELAY);
            }
            Some(change) = next_of(&mut endpoints), if !index.is_listing() => {
                metrics.updates.inc();
                take_in(&mut index, change);
                counters_due.get_or_insert(Instant::now() + COUNTERS_DELAY);
            }
            Some(change) = next_of(&mut bgp_sessions), if !index.is_listing() => {
                metrics.updates.inc();
                take_in(&mut index, change);
                counters_due.get_or_insert(Instant::now() + COUNTERS_DELAY);
            }
            nodes = lost.changed() => {
                index.lost_nodes(nodes, Instant::now());
                counters_due.get_or_insert(Instant::now() + COUNTERS_DELAY);
            }
            Some(Ended { write, result, took }) = writes.next() => {
                metrics.wrote(&result, took);
                if let Some(latency) = index.written(&write, result, Instant::now()) {
                    metrics.settled(latency);
                }
            }
            () = due(timeout) => index.pass_time(Instant::now()),
            () = std::future::ready(()), if index.has_due() => {}
            () = due(settling) => {}
            () = events.room(), if index.has_notice() => {}
            () = &mut reporting => return,
            () = &mut deciding_readiness => return,
            () = progress.beat() => {}
            question = questions.next() => question.answer(document(&index, config, &precedence, readiness)),
            Some(StatusEnded { object, status, answer }) = reports.next() => {
                match answer {
                    Answer::Done(version) => statuses.written(object, version, status),
                    Answer::Conflict => statuses.conflict(object, Instant::now()),
                    Answer::Gone => statuses.gone(&object),
                    Answer::Refused(failure) | Answer::Unavailable(failure) => {
                        statuses.failed(object, &failure, Instant::now());
                    }
                }
            }
            () = due(counters_due.into_iter().chain(statuses.next()).min()), if reports.is_empty() && !index.is_hearing() && !index.is_listing() => {
                counters_due = None;
                if index.has_pools_to_settle() {
                    index.settle_pools(Instant::now());
                    pools_settled = Some(Instant::now());
                    pace.pause().await;
                }
                metrics.show(&index);
                pace.pause().await;
                statuses.wake(Instant::now());
                to_report.extend(outdated_statuses(&client, &writes_to, &index, &mut statuses));
                pace.pause().await;
                configuration_state::report(&report, &index, config.identity.owner(), Timestamp::now());
            }
        }
    }
}

/// What `/status` tells.
fn document(index: &Index, config: &Config, precedence: &Precedence, readiness: &Readiness) -> Document {
    let elder = precedence.elder().map(|Elder { lease: LeaseName { namespace, name: lease }, runs }| {
        introspection::Elder { namespace, lease, runs }
    });
    let status = ControllerStatus {
        waits_for: elder,
        load_balancer_class: config.lb_class.clone(),
        sharing_within_namespace: config.address_sharing == SharingScope::Namespace,
        ..index.status()
    };
    let missing = readiness.missing().into_iter().map(str::to_owned).collect();
    Document::new(missing, Status::ControllerStatus(status))
}

/// Writes of the statuses that do not say what they should, but for those that are left alone for a while.
fn outdated_statuses(
    client: &Client,
    writes: &Writes,
    index: &Index,
    statuses: &mut Statuses,
) -> Vec<BoxFuture<'static, StatusEnded>> {
    let mut turn = |about: &ObjectReference, status: &Value| {
        let (object, version) = (Object::from(about), about.resource_version.as_deref().unwrap_or_default());
        let random = rand::random_range(0.0..1.0);
        match statuses.turn(&object, &version.into(), status, Instant::now(), random) {
            Turn::Now => true,
            Turn::Later => false,
            Turn::Undone(undone) => {
                writes.undone(&object, undone);
                undone.pause.is_zero()
            }
        }
    };
    let now = Timestamp::now();
    [
        writes_of::<IPAddressPool>(index.outdated_pool_statuses(now), client, writes, &mut turn),
        writes_of::<L2Advertisement>(index.outdated_advertisement_statuses(now), client, writes, &mut turn),
        writes_of::<BGPPeer>(index.outdated_bgp_peer_statuses(now), client, writes, &mut turn),
        writes_of::<BGPAdvertisement>(
            index.outdated_bgp_advertisement_statuses(now),
            client,
            writes,
            &mut turn,
        ),
        writes_of::<AddressReservation>(index.outdated_reservation_statuses(now), client, writes, &mut turn),
        writes_of::<NodeAddressPool>(index.outdated_node_pool_statuses(now), client, writes, &mut turn),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Writes of statuses of one kind, of those whose turn it is.
fn writes_of<K>(
    outdated: Vec<(ObjectReference, impl Serialize)>,
    client: &Client,
    writes: &Writes,
    mut turn: impl FnMut(&ObjectReference, &Value) -> bool,
) -> Vec<BoxFuture<'static, StatusEnded>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let outdated = outdated.into_iter().map(|(about, status)| (about, json!(status)));
    let due = outdated.filter(|(about, status)| turn(about, status));
    due.map(|(about, status)| write::status::<K>(client.clone(), writes.clone(), about, status).boxed())
        .collect()
}

/// What this replica may do at this moment.
fn role(leads: &Leads) -> Role {
    if leads.leads(Instant::now()) { Role::Leader } else { Role::Follower }
}

/// All that is followed always. `reachability` is told of what nothing is decided without.
fn watches(
    client: &Client,
    config: &Config,
    reachability: &Reachability,
) -> SelectAll<BoxStream<'static, Incoming>> {
    fn of<K>(api: Api<K>, incoming: fn(Change<K>) -> Incoming) -> BoxStream<'static, Incoming>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        watch(api).map(incoming).boxed()
    }
    /// What nothing is decided without.
    fn needed<K, T>(
        source: impl Into<Source<K>>,
        reachability: &Reachability,
        read: impl Fn(K) -> T + Send + 'static,
        incoming: fn(Change<T>) -> Incoming,
    ) -> BoxStream<'static, Incoming>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
        T: Send + 'static,
    {
        let incoming = move |watched| match watched {
            Watched::Change(change) => incoming(change),
            Watched::Restored => Incoming::Restored,
        };
        watch_history(source.into().telling(reachability), read).map(incoming).boxed()
    }
    let client = || client.clone();
    let namespace = config.identity.namespace.as_str();
    let rules = Rules { class: config.lb_class.clone(), sharing: config.address_sharing };
    let node_pools = config.node_address_pools;
    let read = move |service: Service| match (Seen::read(&service, &rules), node_pools) {
        (seen, true) => seen.with_node_ports(&service),
        (seen, false) => seen,
    };
    let reservations = Source::from(Api::all(client())).or_none();
    let pools_of_nodes = node_pools
        .then(|| needed(Api::namespaced(client(), namespace), reachability, identity, Incoming::NodePools));
    let always = [
        needed(Api::all(client()), reachability, read, Incoming::Services),
        needed(Api::namespaced(client(), namespace), reachability, identity, Incoming::Pools),
        of(Api::namespaced(client(), namespace), Incoming::Advertisements),
        needed(Api::all(client()), reachability, identity, Incoming::Namespaces),
        needed(Api::all(client()), reachability, identity, Incoming::Nodes),
        needed(reservations, reachability, identity, Incoming::Reservations),
        of(Api::namespaced(client(), namespace), |change| Incoming::Bgp(Box::new(BgpChange::Peers(change)))),
        of(Api::namespaced(client(), namespace), |change| {
            Incoming::Bgp(Box::new(BgpChange::Advertisements(change)))
        }),
        of(Api::namespaced(client(), namespace), |change| {
            Incoming::Bgp(Box::new(BgpChange::Communities(change)))
        }),
        of(Api::namespaced(client(), namespace), |change| {
            Incoming::Bgp(Box::new(BgpChange::Profiles(change)))
        }),
    ];
    futures::stream::select_all(always.into_iter().chain(pools_of_nodes))
}

/// What matters only while Services have the addresses of nodes: where endpoints are, and what the speakers tell of their
/// nodes.
fn watch_endpoints(client: &Client, config: &Config) -> SelectAll<BoxStream<'static, Incoming>> {
    let slices: Api<EndpointSlice> = Api::all(client.clone());
    let slices = watch_as(slices, |slice| ReadySlice::read(&slice)).map(Incoming::Endpoints).boxed();
    let speakers = configuration_state::of_speakers(client, &config.identity.namespace);
    futures::stream::select_all([slices, watch(speakers).map(Incoming::Speakers).boxed()])
}

/// What the speakers report of their BGP sessions, which matters only while there are routers to have some with.
fn watch_bgp_sessions(client: &Client, config: &Config) -> SelectAll<BoxStream<'static, Incoming>> {
    let speakers = configuration_state::of_speakers(client, &config.identity.namespace);
    futures::stream::select_all([watch(speakers).map(Incoming::BgpSessions).boxed()])
}

/// The next of what is watched, if anything is.
async fn next_of(watched: &mut Option<SelectAll<BoxStream<'static, Incoming>>>) -> Option<Incoming> {
    match watched {
        Some(watched) => watched.next().await,
        None => std::future::pending().await,
    }
}

fn take_in(index: &mut Index, change: Incoming) {
    match change {
        Incoming::Restored => index.restored(Instant::now()),
        Incoming::Services(change) => index.services(change, Instant::now()),
        Incoming::Pools(change) => index.pools(change, Instant::now()),
        Incoming::Advertisements(change) => index.advertisements(change, Instant::now()),
        Incoming::Namespaces(change) => index.namespaces(change, Instant::now()),
        Incoming::Nodes(change) => index.nodes(change, Instant::now()),
        Incoming::Bgp(change) => index.bgp(*change, Instant::now()),
        Incoming::BgpSessions(change) => index.bgp_sessions(change),
        Incoming::NodePools(change) => index.node_pools(change, Instant::now()),
        Incoming::Reservations(change) => index.reservations(change, Instant::now()),
        Incoming::Endpoints(change) => index.endpoints(change, Instant::now()),
        Incoming::Speakers(change) => index.speakers(change, Instant::now()),
    }
}

fn show_progress(index: &Index, config: &Config, readiness: &Readiness) {
    for list in List::needed(config.node_address_pools).iter().filter(|list| index.has(**list)) {
        readiness.reached(list.name());
    }
}

fn tell(events: &Publisher, about: ObjectReference, notice: Notice) {
    let object = about.name.as_deref().unwrap_or_default();
    let (kind, namespace) = (about.kind.as_deref(), about.namespace.as_deref());
    if notice.severity == Severity::Warning {
        warn!(kind, namespace, object, reason = notice.reason, why = notice.message, "warned its owner");
    }
    events.publish(about, notice);
}
