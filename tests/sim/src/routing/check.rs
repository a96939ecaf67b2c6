//! What must hold in each part of a world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bgp::judge::Told;
use bgp::route::{Community, Prefix};

use super::plan::{Incident, Plan, Touches};
use super::speaker::Speaker;
use super::world::{Fault, World};
use crate::Violation;

/// How long sessions may take to come back once all is mended: the longest back-off, and a connection that is lost before.
const MENDED: Duration = Duration::from_secs(40);
/// How long anything may take while all is well.
const AT_ONCE: Duration = Duration::from_millis(500);
/// How long a speaker may take from its start to a session in which all is said.
const STARTED: Duration = Duration::from_secs(3);
/// What packets under way and whole ticks add to the time in which a router sees that a node is gone.
const SLACK: Duration = Duration::from_millis(300);

impl World {
    /// Everything that the plan has, or what does not hold.
    pub(super) fn run(&mut self, plan: &Plan) -> Result<(), Violation> {
        self.pass(STARTED)?;
        self.every_router_knows_what_it_should("at first")?;
        let start = self.now;
        for (at, incident) in &plan.trouble {
            self.run_until(start + *at, no_router_relies_on_who_is_gone)?;
            match incident {
                Incident::Fault(fault) => self.fault(*fault),
                Incident::Edit(edit) => self.edit(edit),
            }
        }
        self.mend();
        self.pass(MENDED)?;
        self.every_router_knows_what_it_should("after all was mended")?;
        self.change_objects(plan)?;
        for node in 0..self.nodes.len() {
            self.replace(node)?;
        }
        self.leave(0)
    }

    fn pass(&mut self, time: Duration) -> Result<(), Violation> {
        self.run_until(self.now + time, no_router_relies_on_who_is_gone)
    }

    fn mend(&mut self) {
        let cut: Vec<_> = self.cut.keys().copied().collect();
        cut.into_iter().for_each(|(node, router)| self.fault(Fault::Mend(node, router)));
        for node in 0..self.nodes.len() {
            self.fault(Fault::PowerOn(node));
        }
    }

    fn change_objects(&mut self, plan: &Plan) -> Result<(), Violation> {
        let ended = self.ended();
        for (edit, touches) in &plan.edits {
            let withdrawn = self.withdrawn();
            self.edit(edit);
            self.pass(AT_ONCE)?;
            self.every_router_knows_what_it_should("after a change of the objects")?;
            if *touches == Touches::Attributes && self.withdrawn() != withdrawn {
                return violation(format_args!("a route was withdrawn for a change of attributes: {edit:?}"));
            }
        }
        if self.ended() != ended {
            return violation("a session ended although only routes changed");
        }
        Ok(())
    }

    /// Whoever keeps routes over a restart of a program loses none of them.
    fn replace(&mut self, node: usize) -> Result<(), Violation> {
        let routers = 0..self.routers.len();
        let keeping = routers.filter(|it| self.objects.setup().routers[*it].graceful_restart);
        let before: Vec<_> = keeping.map(|router| (router, self.prefixes(node, router))).collect();
        self.fault(Fault::Replace(node, Duration::from_secs(5)));
        self.run_until(self.now + Duration::from_secs(5) + STARTED, |world| {
            let lost =
                before.iter().find(|(router, before)| !world.prefixes(node, *router).is_superset(before));
            match lost {
                None => Ok(()),
                Some((router, _)) => violation(format_args!(
                    "router-{router} lost routes although node-{node} only got another program"
                )),
            }
        })?;
        self.every_router_knows_what_it_should("after a program was replaced")
    }

    /// Routes are marked before they go.
    fn leave(&mut self, node: usize) -> Result<(), Violation> {
        let routers = 0..self.routers.len();
        let before: Vec<_> = routers.clone().map(|router| self.prefixes(node, router)).collect();
        self.fault(Fault::Leave(node));
        self.pass(AT_ONCE)?;
        let mark = Community::GRACEFUL_SHUTDOWN.value();
        for (router, before) in before.iter().enumerate() {
            let known = self.routers[router].routes(node);
            let marked = |told: &&Told| told.communities.contains(&mark);
            if !before.iter().all(|prefix| known.get(prefix).is_some_and(marked)) {
                return violation(format_args!(
                    "node-{node} leaves, and router-{router} was not told so first"
                ));
            }
        }
        self.pass(Duration::from_secs(4))?;
        match routers.into_iter().find(|router| !self.prefixes(node, *router).is_empty()) {
            None => Ok(()),
            Some(router) => violation(format_args!("node-{node} has left, and router-{router} has routes")),
        }
    }

    fn every_router_knows_what_it_should(&self, when: &str) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            for router in 0..self.routers.len() {
                let expected = self.objects.expected(node, router);
                let is_settled = self.nodes[node].speaker.as_ref().is_some_and(|it| it.is_settled(router));
                if self.objects.connects(node, router) && !is_settled {
                    return violation(format_args!("{when}: node-{node} has not told router-{router} all"));
                }
                let routes = self.routers[router].routes(node);
                let known: BTreeMap<Prefix, BTreeSet<u32>> = routes
                    .iter()
                    .map(|(it, told)| (*it, told.communities.iter().copied().collect()))
                    .collect();
                if known != expected {
                    return violation(format_args!(
                        "{when}: router-{router} knows of node-{node} {known:?}, and should {expected:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn prefixes(&self, node: usize, router: usize) -> BTreeSet<Prefix> {
        self.routers[router].routes(node).into_keys().collect()
    }

    fn ended(&self) -> usize {
        self.nodes.iter().filter_map(|it| it.speaker.as_ref()).map(Speaker::ended).sum()
    }

    fn withdrawn(&self) -> usize {
        let of_router = |router: &super::router::Router| -> usize {
            (0..self.nodes.len()).map(|node| router.withdrawn(node)).sum()
        };
        self.routers.iter().map(of_router).sum()
    }
}

fn no_router_relies_on_who_is_gone(world: &World) -> Result<(), Violation> {
    for ((node, router), (since, within)) in &world.unreachable {
        let gone = world.now - *since;
        if gone > *within + SLACK && !world.routers[*router].routes(*node).is_empty() {
            return violation(format_args!(
                "router-{router} has routes by way of node-{node}, which it cannot reach for {gone:?}; it should know after {within:?}"
            ));
        }
    }
    Ok(())
}

fn violation(what: impl ToString) -> Result<(), Violation> {
    Err(Violation(what.to_string()))
}
