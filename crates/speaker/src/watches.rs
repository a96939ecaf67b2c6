//! What of the cluster is watched.

use std::collections::BTreeSet;
use std::convert::identity;
use std::fmt::Debug;
use std::time::Instant;

use api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use futures::stream::{self, BoxStream, SelectAll};
use futures::{FutureExt, Stream, StreamExt};
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use kubekit::{Reachability, Source, speakers};
use node_addresses::Listener;
use objects::SecretName;
use peering::SecretState;
use placement::{InterfaceName, Kind, ServiceKey};
use serde::de::DeserializeOwned;
use speaker_core::announce::bgp::ProxyAnswer;
use tokio::sync::{mpsc, oneshot, watch};

use crate::address::Listening;
use crate::bgp::Statuses;
use crate::cluster::SeenPeer;
use crate::lan::Report;
use crate::objects::{LoadBalancerClass, Names, SeenService, SeenSlice};

/// Something that this speaker must look at.
#[derive(Debug)]
pub(crate) enum Event {
    Services(kubekit::Change<SeenService>),
    Endpoints(kubekit::Change<SeenSlice>),
    Nodes(kubekit::Change<slim::Node>),
    Pools(kubekit::Change<IPAddressPool>),
    Advertisements(kubekit::Change<L2Advertisement>),
    Speakers(kubekit::Change<slim::Pod>),
    BgpPeers(kubekit::Change<SeenPeer>),
    BgpAdvertisements(kubekit::Change<BGPAdvertisement>),
    Communities(kubekit::Change<Community>),
    BfdProfiles(kubekit::Change<BFDProfile>),
    /// How the sessions with routers are doing.
    Sessions(Statuses),
    /// What a Secret with a password is like.
    Secret(SecretName, SecretState),
    /// What kube-proxy says of a Service.
    Proxy(ServiceKey, ProxyAnswer),
    /// How much of a kind is known by what came before.
    Known(Kind, kubekit::Known),
    Lan(Report),
    /// What happened among the members, and who they are now.
    Gossip(gossip::News),
    /// Why the gossip does not work, or that it does.
    Trouble(Option<gossip::Trouble>),
    /// The reports of the dead are removed, or are to be tried again then.
    LeftOver(Option<Instant>),
    /// Whether the API server can be reached.
    ApiReachable(bool),
    /// Where the gossip listens now.
    Address(Listening),
    /// What becomes of a name on an interface.
    Name(InterfaceName, ::mdns::Report),
    /// The ports that programs on this node listen on.
    Listeners(BTreeSet<Listener>),
    /// This speaker is asked to stop.
    Stop,
}

impl Event {
    /// Whether the API server tells it.
    pub(crate) fn is_of_an_object(&self) -> bool {
        match self {
            Self::Services(_)
            | Self::Endpoints(_)
            | Self::Nodes(_)
            | Self::Pools(_)
            | Self::Advertisements(_)
            | Self::Speakers(_)
            | Self::BgpPeers(_)
            | Self::BgpAdvertisements(_)
            | Self::Communities(_)
            | Self::BfdProfiles(_)
            | Self::Secret(..) => true,
            Self::Known(..)
            | Self::Lan(_)
            | Self::Gossip(_)
            | Self::Trouble(_)
            | Self::LeftOver(_)
            | Self::ApiReachable(_)
            | Self::Address(_)
            | Self::Sessions(_)
            | Self::Proxy(..)
            | Self::Listeners(_)
            | Self::Name(..)
            | Self::Stop => false,
        }
    }
}

/// What comes from within this program.
pub(crate) struct Inputs {
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) gossip: mpsc::Receiver<gossip::News>,
    pub(crate) trouble: watch::Receiver<Option<gossip::Trouble>>,
    pub(crate) left_over: mpsc::Receiver<Option<Instant>>,
    pub(crate) address: watch::Receiver<Listening>,
    pub(crate) sessions: watch::Receiver<Statuses>,
    pub(crate) secrets: mpsc::Receiver<(SecretName, SecretState)>,
    pub(crate) names: mpsc::Receiver<(InterfaceName, ::mdns::Report)>,
    pub(crate) proxy: mpsc::Receiver<(ServiceKey, ProxyAnswer)>,
    pub(crate) listening: Option<BoxStream<'static, BTreeSet<Listener>>>,
    pub(crate) stop: oneshot::Receiver<()>,
}

/// Everything to look at, as one stream. Of what there may be thousands of, no more is ever in memory than a page of a list
/// and what is read of the objects.
pub(crate) fn events(
    client: &Client,
    namespace: &str,
    class: LoadBalancerClass,
    inputs: Inputs,
) -> impl Stream<Item = Event> + Unpin {
    fn of<K>(
        source: Source<K>,
        kind: Kind,
        event: fn(kubekit::Change<K>) -> Event,
    ) -> impl Stream<Item = Event>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        known(kubekit::watch_known(source, identity), kind, event)
    }
    /// What a speaker can do without: where the cluster has no such kind, or the right to it is missing, the rest goes on.
    fn optional<K, T>(
        client: &Client,
        namespace: &str,
        read: fn(K) -> T,
        event: fn(kubekit::Change<T>) -> Event,
    ) -> BoxStream<'static, Event>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        T: Send + 'static,
    {
        kubekit::watch_as(Api::<K>::namespaced(client.clone(), namespace), read).map(event).boxed()
    }
    let reachability = Reachability::default();
    let speakers = speakers::source(client, namespace).telling(&reachability);
    let names = Names::default();
    let services =
        kubekit::watch_known(all(client, &reachability), move |it| SeenService::read(&it, &class, &names));
    let names = Names::default();
    let slices = kubekit::watch_known(all(client, &reachability), move |it| SeenSlice::read(&it, &names));
    let pools = Source::from(Api::namespaced(client.clone(), namespace)).telling(&reachability);
    let advertisements = Source::from(Api::namespaced(client.clone(), namespace)).telling(&reachability);
    SelectAll::from_iter([
        known(services, Kind::Services, Event::Services).boxed(),
        known(slices, Kind::EndpointSlices, Event::Endpoints).boxed(),
        of(all(client, &reachability), Kind::Nodes, Event::Nodes).boxed(),
        of(pools, Kind::Pools, Event::Pools).boxed(),
        of(advertisements, Kind::Advertisements, Event::Advertisements).boxed(),
        kubekit::watch(speakers).map(Event::Speakers).boxed(),
        optional(client, namespace, SeenPeer::from as fn(BGPPeer) -> SeenPeer, Event::BgpPeers),
        optional::<BGPAdvertisement, _>(client, namespace, identity, Event::BgpAdvertisements),
        optional::<Community, _>(client, namespace, identity, Event::Communities),
        optional::<BFDProfile, _>(client, namespace, identity, Event::BfdProfiles),
        changes(inputs.sessions).map(Event::Sessions).boxed(),
        received(inputs.secrets).map(|(name, state)| Event::Secret(name, state)).boxed(),
        received(inputs.proxy).map(|(service, answer)| Event::Proxy(service, answer)).boxed(),
        received(inputs.reports).map(Event::Lan).boxed(),
        changes(inputs.trouble).map(Event::Trouble).boxed(),
        changes(inputs.address).map(Event::Address).boxed(),
        stream::iter(inputs.listening).flatten().map(Event::Listeners).boxed(),
        received(inputs.names).map(|(interface, report)| Event::Name(interface, report)).boxed(),
        received(inputs.left_over).map(Event::LeftOver).boxed(),
        received(inputs.gossip).map(Event::Gossip).boxed(),
        reachability.changes().map(Event::ApiReachable).boxed(),
        inputs.stop.into_stream().map(|_| Event::Stop).boxed(),
    ])
}

/// The objects of a kind in all namespaces.
fn all<K: Resource<DynamicType = ()>>(client: &Client, reachability: &Reachability) -> Source<K> {
    Source::from(Api::all(client.clone())).telling(reachability)
}

/// With each change, how much is known by it.
fn known<T>(
    changes: impl Stream<Item = (kubekit::Change<T>, kubekit::Known)>,
    kind: Kind,
    event: fn(kubekit::Change<T>) -> Event,
) -> impl Stream<Item = Event> {
    changes.flat_map(move |(change, known)| stream::iter([event(change), Event::Known(kind, known)]))
}

fn received<T>(mut channel: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::poll_fn(move |context| channel.poll_recv(context))
}

fn changes<T: Clone>(channel: watch::Receiver<T>) -> impl Stream<Item = T> {
    stream::unfold(channel, async |mut channel| {
        channel.changed().await.ok()?;
        let value = channel.borrow_and_update().clone();
        Some((value, channel))
    })
}
