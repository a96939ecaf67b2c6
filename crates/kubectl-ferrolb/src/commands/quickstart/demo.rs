//! `quickstart --demo`: a web server behind a Service, looked at from its address to its answer.
//!
//! ```text
//! apply --> address --> ready Pod --> announced --> who answers on the LAN --> one HTTP request from here
//! ```
//!
//! Each step has a deadline, and says what is in its way; what follows from it is not tried then.

mod delete;
mod manifests;
mod pods;
mod visit;

use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use translation::Origin;

use self::manifests::{LABEL_OF_NAME, MANAGED_BY, MANAGER, NAME, PORT};
use self::pods::Pods;
use self::visit::visit;
use super::{LOOK_AGAIN, PATIENCE};
use crate::ask::Told;
use crate::client::{self, Failure, Why};
use crate::cluster::Cluster;
use crate::commands::services::places;
use crate::commands::{explain, trace};
use crate::look::Look;
use crate::options::Quickstart;
use crate::output::{Page, Tone, cell};
use crate::survey::{Health, Surveyed, list};

/// So long the speakers are asked again where the LAN has not heard of an address that was just announced.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// The demo of a namespace.
pub(super) struct Demo<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    image: &'a str,
    timeout: Duration,
}

/// What was seen of it, in that order.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) lines: Vec<Line>,
    /// What `explain` says, where that is what is in the way.
    pub(super) explained: Option<Page>,
    pub(super) problem: bool,
    /// What could not be looked at.
    pub(super) failures: Vec<String>,
}

/// One thing that was seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// Why a step was the last.
#[derive(Debug)]
enum Stop {
    /// Something is in the way, and what to do.
    Problem { what: &'static str, why: String, remedy: Option<String> },
    /// What is in the way is what `explain` says.
    Explained { what: &'static str, why: String, page: Page },
    /// Something could not be looked at.
    Unseen(Vec<String>),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Unseen(vec![failure.to_string()])
    }
}

impl Seen {
    fn saw(&mut self, what: &'static str, text: impl Into<String>, tone: Tone) {
        self.lines.push(Line { what, text: text.into(), tone });
    }

    fn stop(&mut self, stop: Stop) {
        match stop {
            Stop::Problem { what, why, remedy } => {
                self.saw(what, why, Tone::Bad);
                remedy.into_iter().for_each(|remedy| self.saw("  to do", remedy, Tone::Plain));
                self.problem = true;
            }
            Stop::Explained { what, why, page } => {
                self.saw(what, why, Tone::Bad);
                self.explained = Some(page);
                self.problem = true;
            }
            Stop::Unseen(failures) => self.failures.extend(failures),
        }
    }

    /// Puts it on a page.
    pub(super) fn tell(&self, page: &mut Page) {
        for Line { what, text, tone } in &self.lines {
            page.field(*what, cell(text, *tone));
        }
        self.explained.iter().for_each(|explained| page.append(explained.clone()));
    }
}

impl<'a> Demo<'a> {
    pub(super) fn new(cluster: &'a Cluster, options: &'a Quickstart, namespace: &'a str) -> Self {
        let timeout = Duration::from_secs(options.demo.timeout);
        Self { cluster, namespace, image: &options.demo.image, timeout }
    }

    /// The objects that it is.
    pub(super) fn objects(&self) -> [Value; 2] {
        let class = self.cluster.rules().class;
        [
            manifests::deployment(self.namespace, self.image),
            manifests::service(self.namespace, class.as_deref()),
        ]
    }

    /// Makes it, or makes it what it should be, and looks at it.
    pub(super) async fn run(&self) -> Seen {
        let mut seen = Seen::default();
        if let Err(stop) = Box::pin(self.steps(&mut seen)).await {
            seen.stop(stop);
        }
        if !seen.lines.is_empty() {
            let namespace = self.namespace;
            seen.saw(
                "Remove it",
                format!("kubectl ferrolb quickstart --demo-delete -n {namespace}"),
                Tone::Plain,
            );
        }
        seen
    }

    async fn steps(&self, seen: &mut Seen) -> Result<(), Stop> {
        let [deployment, service] = self.objects();
        // Nothing is made where one of both is somebody else's.
        let (has_deployment, has_service) =
            (self.is_there::<Deployment>().await?, self.is_there::<Service>().await?);
        self.put::<Deployment>(seen, &deployment, has_deployment).await?;
        self.put::<Service>(seen, &service, has_service).await?;
        let ips = self.address().await?;
        seen.saw("Address", list(&ips), Tone::Good);
        let pod = self.ready_pod().await?;
        seen.saw("Pod", pod, Tone::Good);
        let (look, surveyed) = self.announced(seen).await?;
        for ip in ips {
            let of_nodes = surveyed
                .key
                .as_ref()
                .and_then(|key| look.allocation.fates.get(key))
                .is_some_and(|fate| fate.observed.origin == Origin::NodePool);
            if !of_nodes {
                self.traced(ip, seen).await;
            }
            let outcome = visit(SocketAddr::new(ip, PORT)).await;
            let expected = manifests::text(self.namespace, self.image);
            let here = visit::Here { own: visit::own_address(ip), prefixes: prefixes(&look.speakers) };
            let judged = visit::judge(ip, &outcome, expected.as_deref(), &here);
            seen.problem |= judged.problem;
            seen.lines.extend(judged.lines);
        }
        Ok(())
    }

    /// Whether there is one that this command has made. One that somebody else has made is in the way.
    async fn is_there<K>(&self) -> Result<bool, Stop>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let Some(there) = client::get(&api, self.namespace, NAME).await? else { return Ok(false) };
        if is_ours(&there) {
            return Ok(true);
        }
        Err(Stop::Problem {
            what: kind_of::<K>(),
            why: format!("{}/{NAME} is there already, and this command has not made it", self.namespace),
            remedy: Some("take another namespace: -n NAMESPACE".to_owned()),
        })
    }

    /// Creates an object, or makes the one that is there the same.
    async fn put<K>(&self, seen: &mut Seen, object: &Value, is_there: bool) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let namespace = self.namespace;
        let api: Api<K> = Api::namespaced(self.cluster.client.clone(), namespace);
        let verb = if is_there { "patch" } else { "create" };
        let failure = |why| Failure {
            verb,
            resource: client::resource::<K>(),
            namespace: Some(namespace.to_owned()),
            why,
        };
        let done = if is_there {
            let parameters = PatchParams::apply(MANAGER).force();
            api.patch(NAME, &parameters, &Patch::Apply(object)).await
        } else {
            let object: K = serde_json::from_value(object.clone())
                .map_err(|error| failure(Why::Other(error.to_string())))?;
            let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            api.create(&parameters, &object).await
        };
        match done.map_err(|error| Why::of(&error)) {
            Ok(_) => {
                let how = if is_there { "is there already" } else { "created" };
                seen.saw(kind_of::<K>(), format!("{namespace}/{NAME} {how}"), Tone::Plain);
                Ok(())
            }
            Err(Why::NotFound) if !is_there => Err(Stop::Problem {
                what: kind_of::<K>(),
                why: format!("there is no namespace {namespace}"),
                remedy: Some(format!("kubectl create namespace {namespace}, or -n ANOTHER")),
            }),
            Err(why) => Err(failure(why).into()),
        }
    }

    /// The addresses of the Service, once it has some.
    async fn address(&self) -> Result<Vec<IpAddr>, Stop> {
        let patience = PATIENCE.min(self.timeout);
        let found = until(patience, "the Service has an address", async || {
            let (_, surveyed) = self.look().await?;
            let ips = |it: Surveyed| it.addresses.iter().map(|it| it.ip).collect::<Vec<_>>();
            Ok(surveyed.map(ips).filter(|ips| !ips.is_empty()))
        });
        match found.await? {
            Some(ips) => Ok(ips),
            None => Err(self.explained("Address", "none", patience).await),
        }
    }

    /// The Pod that is ready, once there is one.
    async fn ready_pod(&self) -> Result<String, Stop> {
        let deployments: Api<Deployment> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let labels = format!("{LABEL_OF_NAME}={NAME},{MANAGED_BY}={MANAGER}");
        let mut last = None;
        let found = until(self.timeout, "its Pod is ready", async || {
            let deployment = client::get(&deployments, self.namespace, NAME).await?;
            let pods: Vec<Pod> =
                client::list(&self.cluster.client, Some(self.namespace), Some(&labels)).await?;
            match pods::judge(deployment.as_ref(), &pods, self.image, self.namespace) {
                Pods::Ready(pod) => Ok(Some(pod)),
                Pods::Waiting { why, remedy } => {
                    last = Some((why, remedy));
                    Ok(None)
                }
            }
        });
        if let Some(pod) = found.await? {
            return Ok(pod);
        }
        let (why, remedy) = last.unwrap_or_default();
        let why = format!("none is ready after {} s: {why}", self.timeout.as_secs());
        Err(Stop::Problem { what: "Pod", why, remedy: Some(remedy) })
    }

    /// Who announces the Service, once somebody does.
    async fn announced(&self, seen: &mut Seen) -> Result<(Look, Surveyed), Stop> {
        let patience = PATIENCE.min(self.timeout);
        let mut unknown = vec![];
        let found = until(patience, "its address is announced", async || {
            let (look, surveyed) = self.look().await?;
            let Some(surveyed) = surveyed else { return Ok(None) };
            unknown = if surveyed.health == Health::Unknown { look.unasked.clone() } else { vec![] };
            let announced = surveyed.health == Health::Announced && surveyed.unserved.is_none();
            Ok(announced.then_some((look, surveyed)))
        });
        let Some((look, surveyed)) = found.await? else {
            if !unknown.is_empty() {
                return Err(Stop::Unseen(unknown));
            }
            return Err(self.explained("Announced", "by nobody", patience).await);
        };
        for address in &surveyed.addresses {
            let by = match (&address.node, address.interfaces.as_slice()) {
                (None, _) if address.is_routed() => format!("{} by {}", address.ip, list(&places(address))),
                (None, _) => format!("{} by a node", address.ip),
                (Some(node), []) => format!("{} by node {node}", address.ip),
                (Some(node), interfaces) => format!("{} by node {node} on {}", address.ip, list(interfaces)),
            };
            seen.saw("Announced", by, Tone::Good);
        }
        Ok((look, surveyed))
    }

    /// Has the speakers ask who answers for an address.
    async fn traced(&self, ip: IpAddr, seen: &mut Seen) {
        let end = Instant::now() + HEARD_WITHIN.min(self.timeout);
        loop {
            let (traced, failures) = trace::ask_all(self.cluster, ip).await;
            if traced.problem && failures.is_empty() && Instant::now() < end {
                sleep(LOOK_AGAIN).await;
                continue;
            }
            let tone = if traced.problem { Tone::Bad } else { Tone::Good };
            seen.saw("On the LAN", traced.finding, tone);
            traced.remedy.into_iter().for_each(|remedy| seen.saw("  to do", remedy, Tone::Plain));
            seen.problem |= traced.problem;
            seen.failures.extend(failures);
            return;
        }
    }

    /// A look at everything, and what it says of the Service if that is one of FerroLB's.
    async fn look(&self) -> Result<(Look, Option<Surveyed>), Stop> {
        let look = Look::at(self.cluster).await;
        if !look.failures.is_empty() {
            return Err(Stop::Unseen(look.failures));
        }
        let ours = |it: &&Surveyed| it.namespace == self.namespace && it.name == NAME;
        let surveyed = look.services.iter().find(ours).cloned();
        Ok((look, surveyed))
    }

    /// What `explain` says of the Service.
    async fn explained(&self, what: &'static str, outcome: &str, patience: Duration) -> Stop {
        match Box::pin(explain::run(self.cluster, Some(self.namespace), NAME)).await {
            Ok(answer) if answer.failures.is_empty() => {
                let waiting = answer.machine["waiting"].as_str();
                let silent = || answer.machine["addresses"][0]["silent"].as_str();
                let note = || answer.machine["notes"][0].as_str();
                // What pools of nodes refuse, the controller alone knows, and says in an event.
                let notes =
                    || answer.machine["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let refused = || notes().find_map(refusal);
                let why = refused().or(waiting).or_else(silent).or_else(note).unwrap_or("as is said below");
                let why = format!("{outcome} after {} s: {why}", patience.as_secs());
                Stop::Explained { what, why, page: answer.page }
            }
            Ok(answer) => Stop::Unseen(answer.failures),
            Err(error) => Stop::Unseen(vec![client::one_line(&error)]),
        }
    }
}

/// Removes what [`Demo::run`] has made in a namespace, and nothing else.
pub(super) async fn delete(cluster: &Cluster, namespace: &str) -> Seen {
    delete::run(cluster, namespace).await
}

/// Whether this command has made an object.
fn is_ours(object: &impl ResourceExt) -> bool {
    object.labels().get(MANAGED_BY).is_some_and(|by| by == MANAGER)
}

fn kind_of<K: Resource<DynamicType = ()>>() -> &'static str {
    if K::kind(&()) == "Service" { "Service" } else { "Deployment" }
}

/// What an event says of why there is no address.
fn refusal(note: &str) -> Option<&str> {
    let said = note.strip_prefix("AllocationFailed at ")?.split_once(": ")?.1;
    Some(
        said.strip_prefix("Failed to allocate IP for ")
            .and_then(|it| Some(it.split_once(": ")?.1))
            .unwrap_or(said),
    )
}

/// The prefixes of the LANs that speakers are on.
fn prefixes(speakers: &[Told]) -> Vec<IpNet> {
    let interfaces = speakers.iter().filter_map(Told::speaker).flat_map(|it| &it.interfaces.items);
    let prefixes = interfaces.flat_map(|interface| &interface.prefixes);
    prefixes.filter_map(|prefix| Some(prefix.parse::<IpNet>().ok()?.trunc())).collect()
}

/// Tries until there is something, or nothing after so long; says on a terminal that it waits.
async fn until<T>(
    patience: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<Option<T>, Stop>,
) -> Result<Option<T>, Stop> {
    let end = Instant::now() + patience;
    let mut told = !io::stderr().is_terminal();
    loop {
        if let Some(found) = attempt().await? {
            return Ok(Some(found));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        if !told {
            eprintln!("Waiting until {what}, for {} s at most", patience.as_secs());
            told = true;
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_address_is_what_the_controller_says() {
        let note = "AllocationFailed at 2026-05-10T12:00:00Z: Failed to allocate IP for \"a/b\": port TCP/80 of node n1 is in use";
        assert_eq!(refusal(note), Some("port TCP/80 of node n1 is in use"));
        assert_eq!(refusal("AllocationFailed at 2026-05-10T12:00:00Z: other"), Some("other"));
        assert_eq!(refusal("nodeAssigned at 2026-05-10T12:00:00Z: x"), None);
    }
}
