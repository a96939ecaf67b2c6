//! `kubectl ferrolb status`.

mod leader;
mod problems;
mod remarks;
mod routers;
mod starting;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use introspection::PeerState;
use serde::Serialize;

use self::leader::{Leader, leader};
use self::problems::Finder;
pub(crate) use self::routers::{Routers, lacking as lacking_for_routers, warnings as routers_warnings};
use super::foreign;
use super::pools::{self, PoolRow};
use crate::answer::{Answer, Exit};
use crate::ask::Told;
use crate::cluster::Cluster;
use crate::installations::Another;
use crate::look::Look;
use crate::options::Connection;
use crate::output::{Page, Tone, cell, some};
use crate::programs::Part;
use crate::surroundings;
use crate::survey::Health;

/// So many are named of those that have the same reason.
const NAMED: usize = 3;
/// Between two looks while all is not well.
const AGAIN: Duration = Duration::from_secs(2);
/// So many problems are shown; `services --problems` shows all.
const PROBLEMS: usize = 20;
/// So many pools are shown.
const POOLS: usize = 6;

/// One screen. For how many seconds to wait until all is well, if at all.
pub(crate) async fn run(connection: &Connection, wait: Option<u64>) -> anyhow::Result<Answer> {
    let end = Instant::now() + Duration::from_secs(wait.unwrap_or(0));
    loop {
        let looked = async {
            let cluster = Cluster::open(connection).await?;
            Ok::<_, anyhow::Error>(once(&cluster).await)
        };
        let answer = looked.await;
        let well = answer.as_ref().is_ok_and(|answer| answer.exit == Exit::Fine);
        if well || Instant::now() + AGAIN > end {
            return answer;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) controllers: Programs,
    pub(crate) leader: Option<String>,
    pub(crate) speakers: Programs,
    pub(crate) pools: Vec<PoolRow>,
    pub(crate) services: Services,
    /// Where there are sessions with routers, or are to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bgp: Option<Routers>,
    pub(crate) problems: Vec<Problem>,
    /// Objects that only the programs know not to be in force.
    #[serde(skip)]
    refused: usize,
    pub(crate) warnings: Vec<String>,
    /// Services that another load balancer is asked to serve.
    pub(crate) others: Vec<String>,
    pub(crate) not_seen: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Programs {
    pub(crate) ready: usize,
    pub(crate) all: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Services {
    pub(crate) all: usize,
    pub(crate) addresses: usize,
    pub(crate) announced: usize,
    pub(crate) waiting: usize,
    pub(crate) silent: usize,
    pub(crate) conflicts: usize,
    pub(crate) starting: usize,
    pub(crate) unknown: usize,
}

/// Something that somebody should see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    pub(crate) about: String,
    pub(crate) reason: String,
    pub(crate) remedy: Option<String>,
}

async fn once(cluster: &Cluster) -> Answer {
    let look = Look::at(cluster).await;
    let summary = Summary::of(cluster, &look).await;
    let page = summary.page(cluster, &look);
    let problem = !summary.problems.is_empty();
    let not_seen = summary.not_seen.clone();
    Answer::object("Status", &summary, page).problem_if(problem).not_seen(not_seen).with_failures_on_page()
}

fn programs(cluster: &Cluster, part: Part) -> Programs {
    let ready = cluster.of_part(part).filter(|program| program.ready).count();
    Programs { ready, all: cluster.of_part(part).count() }
}

fn services(look: &Look) -> Services {
    let mut counts = Services { all: look.services.len(), ..Services::default() };
    for service in &look.services {
        counts.addresses += service.addresses.len();
        counts.waiting += usize::from(service.health == Health::Waiting);
        counts.starting += usize::from(service.health == Health::Starting && service.addresses.is_empty());
        for address in &service.addresses {
            match address.health {
                Health::Announced => counts.announced += 1,
                Health::Silent => counts.silent += 1,
                Health::Conflict => counts.conflicts += 1,
                Health::Starting => counts.starting += 1,
                Health::Unknown | Health::Waiting => counts.unknown += 1,
            }
        }
    }
    counts
}

impl Summary {
    /// All that is told of a look.
    pub(crate) async fn of(cluster: &Cluster, look: &Look) -> Self {
        let (leader, nobody, lease_failure) = match leader(cluster, look).await {
            Leader::Pod(pod) => (Some(pod), None, None),
            Leader::Nobody(why) => (None, Some(why), None),
            Leader::Unknown(failure) => (None, None, failure),
        };
        let mut summary = Self {
            controllers: programs(cluster, Part::Controller),
            speakers: programs(cluster, Part::Speaker),
            leader,
            pools: pools::rows(look),
            services: services(look),
            bgp: Routers::of(look),
            ..Self::default()
        };
        summary.not_seen.extend(look.failures.iter().chain(&look.unasked).cloned().chain(lease_failure));
        summary.others = foreign::found(&look.snapshot, None);
        let class = &look.snapshot.rules.class;
        let beside =
            cluster.others.iter().filter(|it| it.conflict(&cluster.system, class.as_deref()).is_none());
        summary.others.extend(beside.map(Another::remark));
        let (events, beside, unread) = futures::join!(
            starting::events(cluster, look),
            surroundings::found(cluster),
            surroundings::unread(cluster)
        );
        let found = Finder::find(cluster, look, &summary.pools, nobody, &events);
        (summary.problems, summary.warnings) = (found.problems, found.warnings);
        let refused = states::problems(cluster, &summary.problems).await;
        summary.refused = refused.iter().map(|it| &it.about).collect::<BTreeSet<_>>().len();
        summary.problems.extend(refused);
        summary.warnings.extend(beside.into_iter().chain(unread));
        summary
    }

    fn page(&self, cluster: &Cluster, look: &Look) -> Page {
        let mut page = Page::default();
        let seen = cluster.programs.is_ok();
        let count = |it: &Programs| {
            if seen { format!("{}/{} ready", it.ready, it.all) } else { "not known".to_owned() }
        };
        let leader = self.leader.as_ref().map_or_else(
            || "no leader known".to_owned(),
            |pod| {
                let node = cluster.of_part(Part::Controller).find(|it| it.pod == *pod);
                let node = node.and_then(|it| it.node.as_ref());
                node.map_or_else(|| format!("leader {pod}"), |node| format!("leader {pod} ({node})"))
            },
        );
        page.field("Controller", format!("{}, {leader}", count(&self.controllers)));
        page.field("Speakers", format!("{}, {}", count(&self.speakers), hearing(look)));
        if let Some(routers) = &self.bgp {
            page.field("BGP", routers.text());
        }
        let known = look.failures.is_empty();
        if known {
            page.field("Pools", self.pools_line());
            let rejected = self.refused
                + self.pools.iter().filter(|pool| !pool.faults.is_empty()).count()
                + look.snapshot.advertisements.iter().filter(|it| !it.read().1.is_empty()).count()
                + routers::not_in_force(look).len();
            page.field(
                "Config",
                match rejected {
                    0 => "all in force".to_owned(),
                    1 => "1 object not in force".to_owned(),
                    many => format!("{many} objects not in force"),
                },
            );
        }
        if !look.services.is_empty() || known {
            page.field("Services", self.services.text());
        }
        self.others.iter().for_each(|other| page.field(cell("Others", Tone::Dim), cell(other, Tone::Dim)));
        let problems = together(&self.problems);
        for (about, reason, remedy) in problems.iter().take(PROBLEMS) {
            let arrow = remedy.map(|remedy| format!("\n-> {remedy}")).unwrap_or_default();
            page.field(cell("PROBLEM", Tone::Bad), format!("{}: {reason}{arrow}", some(about, NAMED)));
        }
        if problems.len() > PROBLEMS {
            let more = problems.len() - PROBLEMS;
            page.field("", format!("and {more} more: kubectl ferrolb services -A --problems"));
        }
        for warning in self.warnings.iter().take(PROBLEMS) {
            page.field(cell("WARNING", Tone::Warn), warning);
        }
        for missing in &self.not_seen {
            page.field(cell("NOT SEEN", Tone::Warn), missing);
        }
        if self.problems.is_empty() && self.not_seen.is_empty() {
            page.line(cell("OK", Tone::Good));
        }
        page
    }

    fn pools_line(&self) -> String {
        if self.pools.is_empty() {
            return "none".to_owned();
        }
        let text = |pool: &PoolRow| {
            let families = [(pool.v4, "v4"), (pool.v6, "v6")].into_iter();
            let known = families.filter_map(|(count, family)| Some((count?, family)));
            let some = known.filter(|(count, _)| count.in_use > 0 || count.free > 0);
            let counts: Vec<String> =
                some.map(|(count, family)| format!("{} {family}", count.text())).collect();
            format!("{} {}", pool.name, if counts.is_empty() { "-".to_owned() } else { counts.join(" ") })
        };
        let mut pools: Vec<String> = self.pools.iter().take(POOLS).map(text).collect();
        if self.pools.len() > POOLS {
            pools.push(format!("and {} more", self.pools.len() - POOLS));
        }
        format!("{} (in use/all)", pools.join(", "))
    }
}

impl Services {
    /// In one line.
    pub(crate) fn text(&self) -> String {
        let addresses =
            if self.addresses == 1 { "1 address" } else { &format!("{} addresses", self.addresses) };
        let mut parts = vec![format!("{} announced", self.announced)];
        for (count, what) in [
            (self.starting, "on the way"),
            (self.silent, "without announcer"),
            (self.conflicts, "in conflict"),
            (self.unknown, "not known"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let waiting = if self.waiting > 0 {
            format!("; {} waiting for an address", self.waiting)
        } else {
            String::new()
        };
        format!("{}, {addresses}: {}{waiting}", self.all, parts.join(", "))
    }
}

/// Those together that have the same reason: what they are about, the reason, and what to do.
pub(crate) fn together(problems: &[Problem]) -> Vec<(Vec<&str>, &str, Option<&str>)> {
    let mut together: Vec<(Vec<&str>, &str, Option<&str>)> = Vec::new();
    let mut seen: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
    for Problem { about, reason, remedy } in problems {
        let key = (but_for_address(reason), remedy.as_deref());
        let index = *seen.entry(key).or_insert(together.len());
        match together.get_mut(index) {
            Some((abouts, _, _)) => abouts.push(about),
            None => together.push((vec![about], reason, key.1)),
        }
    }
    // Of more than one, no address stands for all.
    for (abouts, reason, _) in &mut together {
        if abouts.len() > 1 {
            *reason = but_for_address(reason);
        }
    }
    together
}

/// A reason without the address that it begins with.
fn but_for_address(reason: &str) -> &str {
    match reason.split_once(": ") {
        Some((address, rest)) if address.parse::<IpAddr>().is_ok() => rest,
        Some(_) | None => reason,
    }
}

/// How the speakers hear each other.
pub(crate) fn hearing(look: &Look) -> String {
    let speakers: Vec<_> = look.speakers.iter().filter_map(Told::speaker).collect();
    if speakers.is_empty() {
        return "nobody can be asked who hears whom".to_owned();
    }
    let deaf = speakers
        .iter()
        .filter(|speaker| speaker.peers.items.iter().any(|peer| peer.state == PeerState::NotHeard));
    match (deaf.count(), speakers.len() == look.speakers.len()) {
        (0, true) => "each hears all others".to_owned(),
        (0, false) => format!("those {} that can be asked hear all others", speakers.len()),
        (1, _) => "1 does not hear all others".to_owned(),
        (some, _) => format!("{some} do not hear all others"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_with_the_same_reason_are_one_line_however_many_there_are() {
        let problem = |about: &str, reason: &str| Problem {
            about: about.to_owned(),
            reason: reason.to_owned(),
            remedy: None,
        };
        let problems = [
            problem("a/1", "no pool"),
            problem("a/2", "another"),
            problem("a/3", "no pool"),
            problem("a/4", "no pool"),
            problem("a/5", "no pool"),
        ];
        let shown: Vec<String> = together(&problems)
            .iter()
            .map(|(about, reason, _)| format!("{}: {reason}", some(about, NAMED)))
            .collect();
        assert_eq!(shown, ["a/1, a/3, a/4 and 1 more: no pool", "a/2: another"]);
        let silent = [
            problem("a/1", "192.0.2.1: no live speaker"),
            problem("a/2", "fd00::2: no live speaker"),
            problem("a/3", "192.0.2.3: not announced"),
        ];
        let shown: Vec<_> =
            together(&silent).into_iter().map(|(about, reason, _)| (about.len(), reason)).collect();
        assert_eq!(shown, [(2, "no live speaker"), (1, "192.0.2.3: not announced")]);
    }
}
