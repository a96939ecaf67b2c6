//! Reports of the dead: a speaker that was killed cannot delete what it reported of Services, and its Pod, whose end would
//! take the reports along, may stay. Who announces a Service on the LAN now has what nodes that are gone reported of it
//! removed. To routers every node announces, so there the first live node by name has all such reports removed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use objects::text::label_value;
use placement::{NodeName, ServiceKey};

/// What others do about their reports after a change, they have done by then: who says goodbye deletes them itself.
const SETTLE: Duration = Duration::from_secs(1);

/// Which reports to remove: those of these Services, by other nodes than these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOver {
    /// Services that are announced on the LAN from here.
    pub services: BTreeSet<ServiceKey>,
    /// Whether reports on what routers are told are to be removed too, whichever Services they are about.
    pub routed: bool,
    /// The nodes whose reports are theirs: members, those that are away for a moment, and our own.
    pub alive: BTreeSet<NodeName>,
}

impl LeftOver {
    /// Whether a report is among them that has the names of its Service, of the namespace and of the node in labels, each
    /// as far as it [fits](label_value).
    pub fn contains(&self, service: &str, namespace: &str, node: &str) -> bool {
        let is =
            |key: &ServiceKey| label_value(&key.name) == service && label_value(&key.namespace) == namespace;
        self.services.iter().any(is) && self.is_dead(node)
    }

    /// Whether reports of a node are those of a dead one, which has its name in a label as far as that fits.
    pub fn is_dead(&self, node: &str) -> bool {
        !node.is_empty() && !self.alive.iter().any(|alive| label_value(alive.as_str()) == node)
    }
}

/// Of which Services somebody else may have left reports.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// What is to be looked at,
    to_look_at: Looks,
    /// and what is being looked at.
    looked_at: Option<Looks>,
    /// The nodes that were alive when that was last known.
    alive: BTreeSet<NodeName>,
    /// Whether it is known now.
    known: bool,
    /// When to look; nothing while there is nothing to look at or nothing known.
    due: Option<Instant>,
}

/// The Services on the LAN, and whether those that routers are told of, that are worth a look.
#[derive(Debug, Clone, Default)]
struct Looks {
    services: BTreeSet<ServiceKey>,
    routed: bool,
}

impl Looks {
    fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.routed
    }
}

impl Suspects {
    /// A Service is announced on the LAN from here from now on.
    pub(crate) fn came(&mut self, service: ServiceKey, now: Instant) {
        self.to_look_at.services.insert(service);
        self.settle(now);
    }

    /// A Service is announced on the LAN from here no longer.
    pub(crate) fn went(&mut self, service: &ServiceKey) {
        self.to_look_at.services.remove(service);
        self.looked_at.iter_mut().for_each(|looks| _ = looks.services.remove(service));
        self.due = self.due.filter(|_| !self.to_look_at.is_empty());
    }

    /// These nodes are alive, or that is not known. When one has died, all Services that are `announced` on the LAN from here,
    /// from the node `me`, are to be looked at; and what routers are told whenever it may be for this node to look.
    pub(crate) fn follow<'a>(
        &mut self,
        me: &NodeName,
        alive: Option<BTreeSet<NodeName>>,
        announced: impl Iterator<Item = &'a ServiceKey>,
        now: Instant,
    ) {
        let Some(alive) = alive else {
            (self.known, self.due) = (false, None);
            return;
        };
        let was_known = std::mem::replace(&mut self.known, true);
        if was_known && self.alive == alive {
            return;
        }
        let died = !self.alive.is_subset(&alive);
        if died {
            self.to_look_at.services.extend(announced.cloned());
        }
        if alive.first() != Some(me) {
            self.to_look_at.routed = false;
        } else if died || self.alive.first() != Some(me) {
            self.to_look_at.routed = true;
        }
        self.alive = alive;
        self.settle(now);
    }

    /// What [`Self::poll`] gave was looked at, or is to be looked at again then.
    pub(crate) fn looked(&mut self, again: Option<Instant>) {
        let Some(looked_at) = self.looked_at.take().filter(|_| again.is_some()) else { return };
        self.to_look_at.services.extend(looked_at.services);
        self.to_look_at.routed |= looked_at.routed;
        self.due = again.filter(|_| self.known && !self.to_look_at.is_empty());
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.looked_at.is_none())
    }

    /// What is to be looked at now: one thing after the other.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<LeftOver> {
        self.deadline().filter(|due| *due <= now)?;
        self.due = None;
        let looks = std::mem::take(&mut self.to_look_at);
        self.looked_at = Some(looks.clone());
        Some(LeftOver { services: looks.services, routed: looks.routed, alive: self.alive.clone() })
    }

    fn settle(&mut self, now: Instant) {
        self.due = (self.known && !self.to_look_at.is_empty()).then(|| now + SETTLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(service: &str) -> ServiceKey {
        ServiceKey::new("prod", service)
    }

    fn nodes(names: &[&str]) -> BTreeSet<NodeName> {
        names.iter().map(|name| NodeName::from(*name)).collect()
    }

    struct Fixture {
        suspects: Suspects,
        announced: BTreeSet<ServiceKey>,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self { suspects: Suspects::default(), announced: BTreeSet::new(), now: Instant::now() }
        }

        fn come(&mut self, services: &[&str]) {
            for service in services {
                self.announced.insert(key(service));
                self.suspects.came(key(service), self.now);
            }
        }

        fn go(&mut self, service: &str) {
            self.announced.remove(&key(service));
            self.suspects.went(&key(service));
        }

        fn live(&mut self, alive: Option<&[&str]>) {
            self.live_as("n0", alive);
        }

        fn live_as(&mut self, me: &str, alive: Option<&[&str]>) {
            self.suspects.follow(&me.into(), alive.map(nodes), self.announced.iter(), self.now);
        }

        /// What is looked at after some time.
        fn looked_at(&mut self) -> Vec<String> {
            assert_eq!(self.suspects.poll(self.now), None, "others may be about to delete them");
            self.now += SETTLE;
            let left_over = self.suspects.poll(self.now).map(|it| it.services);
            left_over.into_iter().flatten().map(|service| service.name.to_string()).collect()
        }
    }

    #[test]
    fn what_has_come_here_is_looked_at_once_and_everything_when_a_node_dies() {
        let mut it = Fixture::new();
        it.come(&["a", "b"]);
        it.live(Some(&["n1", "n2"]));
        assert_eq!(it.looked_at(), ["a", "b"]);
        it.suspects.looked(None);
        it.come(&["c"]);
        it.live(Some(&["n1", "n2", "n3"]));
        assert_eq!(it.looked_at(), ["c"]);
        it.suspects.looked(None);
        it.come(&["d"]);
        it.go("d");
        assert_eq!(it.suspects.deadline(), None);
        it.live(Some(&["n1", "n3"]));
        assert_eq!(it.looked_at(), ["a", "b", "c"]);
    }

    #[test]
    fn nothing_is_looked_at_while_nothing_is_known_of_the_others() {
        let mut it = Fixture::new();
        it.come(&["a"]);
        assert_eq!(it.suspects.deadline(), None);
        it.live(Some(&["n1", "n2"]));
        it.live(None);
        assert_eq!(it.suspects.deadline(), None);
        it.live(Some(&["n1", "n2"]));
        assert_eq!(it.looked_at(), ["a"]);
    }

    #[test]
    fn what_could_not_be_looked_at_is_looked_at_again_with_what_came_meanwhile() {
        let mut it = Fixture::new();
        it.live(Some(&["n1"]));
        it.come(&["a", "b"]);
        assert_eq!(it.looked_at(), ["a", "b"]);
        it.come(&["c"]);
        it.go("b");
        assert!(it.looked_at().is_empty(), "one thing after the other");
        it.suspects.looked(Some(it.now + SETTLE));
        assert_eq!(it.looked_at(), ["a", "c"]);
        it.come(&["d"]);
        it.suspects.looked(None);
        assert_eq!(it.looked_at(), ["d"], "it has not been looked at");
    }

    #[test]
    fn the_first_live_node_looks_at_what_routers_are_told() {
        let mut it = Fixture::new();
        let mut routed = |alive: &[&str]| {
            it.live_as("n2", Some(alive));
            it.now += SETTLE;
            let routed = it.suspects.poll(it.now).is_some_and(|it| it.routed);
            it.suspects.looked(None);
            routed
        };
        assert!(!routed(&["n1", "n2", "n3"]), "n1 does");
        assert!(routed(&["n2", "n3"]), "nobody else does");
        assert!(!routed(&["n2", "n3", "n4"]), "nobody has died");
        assert!(routed(&["n2", "n4"]));
        assert!(!routed(&["n1", "n2", "n4"]) && !routed(&["n1", "n2"]));
        it.live_as("n2", Some(&["n2"]));
        it.now += SETTLE;
        assert!(it.suspects.poll(it.now).unwrap().routed);
        it.suspects.looked(Some(it.now + SETTLE));
        it.live_as("n2", Some(&["n1", "n2"]));
        assert_eq!(it.suspects.deadline(), None, "it is for n1 to try again");
    }

    #[test]
    fn only_reports_of_nodes_that_are_gone_on_services_that_came_here_are_left_over() {
        let (long, longer) = ("n".repeat(70), "n".repeat(71));
        let left_over =
            LeftOver { services: [key("a")].into(), routed: false, alive: nodes(&["n1", "n2", &long]) };
        let contains = |node: &str, service: &str| left_over.contains(service, "prod", &label_value(node));
        assert!(contains("n3", "a") && contains(&longer, "a"));
        for (node, service) in [("n1", "a"), ("n2", "a"), (&*long, "a"), ("n3", "b"), ("", "a")] {
            assert!(!contains(node, service), "{node} {service}");
        }
        assert!(!left_over.contains("a", "test", "n3"), "another namespace");
    }
}
