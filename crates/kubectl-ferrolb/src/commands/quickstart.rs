//! `kubectl ferrolb quickstart`: from Services that wait to addresses that answer, with the evidence that they are free.

mod choice;
mod demo;
mod dhcp;
mod from;
mod lan;
mod proposal;
mod rivals;
mod sweep;

use std::io::{self, BufRead, IsTerminal};
use std::ops::ControlFlow;
use std::time::Duration;

use api::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, NodeAddressPool,
};
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt};
use pools::Range;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::demo::{Demo, Seen};
use self::proposal::{NoProposal, propose};
use super::manifests;
use crate::answer::Answer;
use crate::client::{Failure, Why};
use crate::cluster::Cluster;
use crate::look::Look;
use crate::options::Quickstart;
use crate::output::{Page, Style, Tone, cell};
use crate::survey::{Health, list};

/// So long the Services that wait are waited for, once there is a pool.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What was found out, and done.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    /// One line for each step.
    evidence: Vec<Evidence>,
    /// Why nothing is proposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// What is proposed, as manifests.
    objects: Vec<Value>,
    applied: bool,
}

#[derive(Debug, Serialize)]
struct Evidence {
    what: &'static str,
    found: String,
}

impl Found {
    fn saw(&mut self, what: &'static str, found: impl Into<String>) {
        self.evidence.push(Evidence { what, found: found.into() });
    }

    fn page(&self) -> Page {
        let mut page = Page::default();
        self.evidence.iter().for_each(|it| page.field(it.what, &it.found));
        page
    }
}

/// Proposes a pool, and makes it if that is wanted; with `--demo` a Service in the namespace that is given, too.
pub(crate) async fn run(
    cluster: &Cluster,
    namespace: Option<&str>,
    options: &Quickstart,
) -> anyhow::Result<Answer> {
    if let Some(source) = options.from {
        return Box::pin(from::run(cluster, options, source)).await;
    }
    let namespace = namespace.unwrap_or(&cluster.default_namespace);
    let mut found = Found::default();
    if options.demo.delete {
        let seen = demo::delete(cluster, namespace).await;
        return Ok(with_demo(found, Page::default(), seen));
    }
    let look = Look::at(cluster).await;
    let proposed = if options.demo.wanted && options.range.is_none() && cluster.serves_node_pools() {
        Err(NoProposal::Done("Services may get the addresses of nodes (NodeAddressPool)".to_owned()))
    } else {
        propose(cluster, &look, options, &mut found).await
    };
    match proposed {
        Ok(range) => found.objects = objects(cluster, &look, options, range),
        Err(NoProposal::Done(why)) if options.demo.wanted => found.saw("Pool", why),
        Err(NoProposal::Done(why)) => {
            found.saw("Nothing to do", why);
            return Ok(Answer::object("Quickstart", &found, found.page()));
        }
        Err(NoProposal::Refused(why, remedy)) => {
            return Ok(refused(found, why, &[remedy]));
        }
        Err(NoProposal::Unseen(failures)) => {
            return Ok(Answer::object("Quickstart", &found, found.page()).not_seen(failures));
        }
    }
    let demo = options.demo.wanted.then(|| Demo::new(cluster, options, namespace));
    let pools = found.objects.len();
    found.objects.extend(demo.iter().flat_map(Demo::objects));
    if options.dry_run {
        return manifests::answer(&found.objects);
    }
    let mut page = match make(cluster, options, &mut found, pools).await? {
        ControlFlow::Continue(page) => page,
        ControlFlow::Break(answer) => return Ok(answer),
    };
    if let Some(demo) = demo {
        let seen = Box::pin(demo.run()).await;
        return Ok(with_demo(found, page, seen));
    }
    let waiting = served(cluster, &mut page).await;
    Ok(Answer::object("Quickstart", &found, page).problem_if(waiting))
}

/// Makes the first `count` of the objects, once all of them were shown and somebody has said yes, unless `--yes` does. The page
/// that says so goes on, or the answer ends there.
async fn make(
    cluster: &Cluster,
    options: &Quickstart,
    found: &mut Found,
    count: usize,
) -> anyhow::Result<ControlFlow<Answer, Page>> {
    let mut page = found.page();
    if !options.yes {
        page.raw(manifests::yaml(&found.objects)?);
        eprint!("{}", page.render(Style::default()));
        page = Page::default();
        if !confirmed()? {
            page.line("Nothing was applied. --yes applies it without asking, --dry-run only shows it.");
            let answer = Answer::object("Quickstart", &found, page).problem_if(true);
            return Ok(ControlFlow::Break(answer));
        }
    }
    for object in &found.objects[..count] {
        match create(cluster, object).await {
            Ok(title) => page.field("Created", title),
            Err(failure) => {
                let answer = Answer::object("Quickstart", &found, page).not_seen([failure.to_string()]);
                return Ok(ControlFlow::Break(answer));
            }
        }
    }
    found.applied = true;
    Ok(ControlFlow::Continue(page))
}

/// Nothing is written, for a reason, and what to do one after the other.
fn refused(mut found: Found, why: String, steps: &[String]) -> Answer {
    let mut page = found.page();
    page.field(cell("REFUSED", Tone::Bad), cell(&why, Tone::Bad));
    for (index, step) in steps.iter().enumerate() {
        page.field(if index == 0 { "  to do" } else { "" }, step);
    }
    (found.refusal, found.remedy) = (Some(why), Some(steps.join("; ")));
    Answer::object("Quickstart", &found, page).problem_if(true)
}

/// The answer that ends with what was seen of the demo.
fn with_demo(mut found: Found, mut page: Page, seen: Seen) -> Answer {
    seen.tell(&mut page);
    seen.lines.into_iter().for_each(|line| found.saw(line.what, line.text));
    Answer::object("Quickstart", &found, page).problem_if(seen.problem).not_seen(seen.failures)
}

/// What is to be made: a pool, and an advertisement unless there is one for every pool.
fn objects(cluster: &Cluster, look: &Look, options: &Quickstart, range: Range) -> Vec<Value> {
    let metadata = json!({"name": options.pool, "namespace": cluster.system});
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": metadata,
        "spec": {"addresses": [entry(range)]},
    });
    let for_all = |it: &L2Advertisement| {
        let spec = &it.spec;
        spec.ip_address_pools.is_empty()
            && spec.ip_address_pool_selectors.is_empty()
            && spec.service_selectors.is_empty()
            && spec.node_selectors.is_empty()
            && spec.interfaces.is_empty()
    };
    let advertisement = (!look.snapshot.advertisements.iter().any(for_all)).then(|| {
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": metadata,
            "spec": {"ipAddressPools": [options.pool]},
        })
    });
    std::iter::once(pool).chain(advertisement).collect()
}

/// A range as a pool lists it: a single address is one with a prefix length.
fn entry(range: Range) -> String {
    if range.size() > 1 { range.to_string() } else { format!("{range}/{}", range.shortest_prefix()) }
}

/// Asks whoever sits at the terminal; nobody says yes where there is none.
fn confirmed() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Apply? [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Creates an object. What is there already is left as it is: somebody else has made it meanwhile.
async fn create(cluster: &Cluster, object: &Value) -> Result<String, Failure> {
    let kind = match object["kind"].as_str() {
        Some("IPAddressPool") => ApiResource::erase::<IPAddressPool>(&()),
        Some("NodeAddressPool") => ApiResource::erase::<NodeAddressPool>(&()),
        Some("BGPPeer") => ApiResource::erase::<BGPPeer>(&()),
        Some("BGPAdvertisement") => ApiResource::erase::<BGPAdvertisement>(&()),
        Some("Community") => ApiResource::erase::<Community>(&()),
        Some("BFDProfile") => ApiResource::erase::<BFDProfile>(&()),
        _ => ApiResource::erase::<L2Advertisement>(&()),
    };
    let failure = |why| Failure {
        verb: "create",
        resource: format!("{}.{}", kind.plural, kind.group),
        namespace: Some(cluster.system.clone()),
        why,
    };
    let object: DynamicObject =
        serde_json::from_value(object.clone()).map_err(|error| failure(Why::Other(error.to_string())))?;
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.system, &kind);
    api.create(&PostParams::default(), &object).await.map_err(|error| failure(Why::of(&error)))?;
    let addresses = object.data["spec"]["addresses"].as_array();
    let addresses: Vec<&str> = addresses.into_iter().flatten().filter_map(Value::as_str).collect();
    let colon = if addresses.is_empty() { "" } else { ": " };
    Ok(format!("{} {}{colon}{}", kind.kind, object.name_any(), list(&addresses)))
}

/// What became of the Services that want addresses, once that has settled. Whether one has a problem.
async fn served(cluster: &Cluster, page: &mut Page) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        let look = Look::at(cluster).await;
        let unsettled = look.services.iter().any(|it| it.health != Health::Announced);
        if unsettled && Instant::now() < end {
            sleep(LOOK_AGAIN).await;
            continue;
        }
        if look.services.is_empty() {
            page.line("Services of type LoadBalancer get addresses from now on. Try one:");
            page.line("  kubectl create deployment web --image=nginx --port=80");
            page.line("  kubectl expose deployment web --type=LoadBalancer");
        }
        for service in &look.services {
            let ips: Vec<String> = service.addresses.iter().map(|address| address.ip.to_string()).collect();
            let tone = if service.is_problem() { Tone::Bad } else { Tone::Good };
            let text = format!("{}  {}", service.health.word(), ips.join(" "));
            page.field(service.title(), cell(text.trim_end(), tone));
        }
        if unsettled {
            page.line("Not all is well yet: kubectl ferrolb status says why.");
        }
        return unsettled;
    }
}
