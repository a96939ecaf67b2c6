//! Looks at the cluster again and again, for everybody who has the page open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::timeline::Timeline;
use super::view::{Seen, View};
use crate::ask::Told;
use crate::client::{self, Why};
use crate::cluster::Cluster;
use crate::commands::whatif::{Difference, Staying, drained};
use crate::look::Look;
use crate::options::Connection;
use crate::snapshot::Source;

/// Between two looks while somebody watches, at least.
const PAUSE: Duration = Duration::from_secs(2);
/// A look that takes long is a burden to the API server: the pause is so many times as long,
const EASE: u32 = 4;
/// but no longer than that.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks while nobody watches, for the timeline's sake.
const UNWATCHED_PAUSE: Duration = Duration::from_secs(20);
/// Nobody watches when nobody has asked for so long: a page that is seen asks more often, one in the background less.
const UNWATCHED: Duration = Duration::from_secs(30);
/// Nobody waits for a Pod that does not answer longer than that: the page is to show what its peers say.
const POD_TIMEOUT: u64 = 3;
/// How long what stays on a node counts.
const STAYING: Duration = Duration::from_secs(15);
/// How long events may take.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(10);

/// What there is to show.
pub(super) struct Hub {
    views: watch::Sender<Version>,
    state: Mutex<State>,
    visited: Notify,
}

/// A view, its number, and when it was last found to be so.
#[derive(Debug, Clone, Default)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) view: Arc<View>,
}

#[derive(Default)]
struct State {
    /// What the last look saw.
    latest: Option<(Cluster, Arc<Look>)>,
    looked: Option<Timestamp>,
    visited: Option<Instant>,
    staying: BTreeMap<String, (Instant, Arc<Staying>)>,
}

/// What a drain would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drain {
    pub(super) differences: Vec<Difference>,
    /// What is to be kept in mind.
    pub(super) notes: Vec<String>,
}

impl Hub {
    pub(super) fn new(connection: &Connection) -> Self {
        let view = View { cluster: cluster_name(connection), ..View::default() };
        Self {
            views: watch::Sender::new(Version { number: 0, view: Arc::new(view) }),
            state: Mutex::default(),
            visited: Notify::new(),
        }
    }

    /// Somebody is looking at the page.
    pub(super) fn visit(&self) {
        self.state().visited = Some(Instant::now());
        self.visited.notify_one();
    }

    /// What there is to show, and when the cluster was last looked at.
    pub(super) fn version(&self) -> (Version, Option<Timestamp>) {
        let looked = self.state().looked;
        (self.views.borrow().clone(), looked)
    }

    /// Waits until there is another version than this.
    pub(super) async fn other_than(&self, number: u64) {
        // The sender is here, so it cannot be gone.
        _ = self.views.subscribe().wait_for(|version| version.number != number).await;
    }

    /// What a drain of a node would do, by the last look.
    pub(super) async fn drain(&self, node: &str) -> Result<Drain, String> {
        let latest = self.state().latest.clone();
        let Some((cluster, look)) = latest else { return Err("nothing has been seen yet".to_owned()) };
        if !look.failures.is_empty() {
            return Err("nothing can be foretold while lists are missing".to_owned());
        }
        let staying = self.staying(&cluster, node).await;
        let differences =
            drained(look.snapshot.clone(), node, &staying).map_err(|error| format!("{error:#}"))?;
        let mut notes = Vec::new();
        if let Err(why) = &staying.0 {
            notes.push(format!("All endpoints on {node} count as evicted: {why}"));
        }
        if look.snapshot.speakers.source == Source::Pods {
            notes.push(
                "No speaker can be asked, so those count as alive whose Pods are ready, and as able to announce on \
                 every interface."
                    .to_owned(),
            );
        }
        Ok(Drain { differences, notes })
    }

    async fn staying(&self, cluster: &Cluster, node: &str) -> Arc<Staying> {
        let known = self.state().staying.get(node).cloned();
        if let Some((at, staying)) = known
            && at.elapsed() < STAYING
        {
            return staying;
        }
        let staying = Arc::new(Staying::on(cluster, node).await);
        let mut state = self.state();
        state.staying.retain(|_, (at, _)| at.elapsed() < STAYING);
        state.staying.insert(node.to_owned(), (Instant::now(), Arc::clone(&staying)));
        staying
    }

    /// Shows this from now on.
    pub(super) fn show(&self, change: impl FnOnce(&mut View)) {
        let mut view = View::clone(&self.views.borrow().view);
        change(&mut view);
        self.views.send_if_modified(|version| {
            let other = *version.view != view;
            if other {
                *version = Version { number: version.number + 1, view: Arc::new(view) };
            }
            other
        });
    }

    /// Takes a look for the last one.
    pub(super) fn looked(&self, cluster: Cluster, look: Look) {
        let mut state = self.state();
        state.latest = Some((cluster, Arc::new(look)));
        state.looked = Some(Timestamp::now());
    }

    fn pause(&self, took: Duration) -> Duration {
        let watched = self.state().visited.is_some_and(|at| at.elapsed() < UNWATCHED);
        if watched { (took * EASE).clamp(PAUSE, LONGEST_PAUSE) } else { UNWATCHED_PAUSE }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the cluster, for ever.
pub(super) async fn watch(hub: Arc<Hub>, connection: Connection) {
    let connection = Connection { pod_timeout: connection.pod_timeout.min(POD_TIMEOUT), ..connection };
    let mut cluster: Option<Cluster> = None;
    let mut timeline = Timeline::default();
    let mut recalled = false;
    loop {
        let began = Instant::now();
        let opened = match &cluster {
            Some(cluster) => Ok(cluster.again(&connection).await),
            None => Cluster::open(&connection).await,
        };
        match opened.map_err(|error| client::one_line(&error)).and_then(reached) {
            Err(why) => hub.show(|view| view.trouble = Some(why)),
            Ok(now) => {
                let look = Look::at(&now).await;
                let seen = Seen::of(&now, &look).await;
                let mut no_history = None;
                if seen.complete {
                    if !recalled {
                        recalled = true;
                        match events(&now).await {
                            Ok(events) => timeline.recall(&events, &seen.services),
                            Err(why) => no_history = Some(why),
                        }
                    }
                    timeline.observe(Timestamp::now(), &seen.services, &seen.nodes);
                    timeline
                        .observe_sessions(Timestamp::now(), look.speakers.iter().filter_map(Told::speaker));
                }
                hub.looked(now.clone(), look);
                hub.show(|view| {
                    view.seen = Some(seen);
                    view.trouble = None;
                    view.timeline = timeline.entries().to_vec();
                    view.no_history = view.no_history.take().or(no_history);
                });
                cluster = Some(now);
            }
        }
        // To wait for a Pod that does not answer is no burden to anybody.
        let pause = hub.pause(began.elapsed().saturating_sub(Duration::from_secs(connection.pod_timeout)));
        tokio::select! {
            () = sleep(pause) => {}
            // Whoever comes back to the page is not to see what was long ago.
            () = hub.visited.notified(), if pause == UNWATCHED_PAUSE => {}
        }
    }
}

/// A cluster, unless its API server cannot be reached: then nothing new is seen.
fn reached(cluster: Cluster) -> Result<Cluster, String> {
    match &cluster.programs {
        Err(failure) if matches!(failure.why, Why::Unreachable(_) | Why::Unauthorized) => {
            Err(failure.to_string())
        }
        Err(_) | Ok(_) => Ok(cluster),
    }
}

/// The events that tell which node has begun to announce which Service.
async fn events(cluster: &Cluster) -> Result<Vec<Event>, String> {
    let api: Api<Event> = Api::all(cluster.client.clone());
    let those = ListParams::default().fields("involvedObject.kind=Service,reason=nodeAssigned").limit(2000);
    match timeout(EVENTS_TIMEOUT, api.list(&those)).await {
        Ok(Ok(events)) => Ok(events.items),
        Ok(Err(error)) => Err(match Why::of(&error) {
            Why::Forbidden => "you may not list events in all namespaces".to_owned(),
            why => format!("events cannot be listed: {why}"),
        }),
        Err(_) => Err("the API server does not list events in time".to_owned()),
    }
}

/// The name of the context, which is what the user calls the cluster.
fn cluster_name(connection: &Connection) -> String {
    let current = || client::kubeconfig(connection.kubeconfig.as_deref()).ok()??.current_context;
    connection.context.clone().or_else(current).unwrap_or_else(|| "this cluster".to_owned())
}
