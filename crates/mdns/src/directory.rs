//! Which Service has which name, and where this node answers for it.
//!
//! Every Service with an address has `NAME.NAMESPACE.local`, and no other can have that. Besides, it may ask for a name with
//! one label by an annotation: of several that ask for the same, the oldest has it. All speakers see the same Services, so
//! they agree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use objects::text::quoted;
use placement::{InterfaceName, ServiceKey};
use timers::Budget;

use crate::{Name, Report};

/// The owner of a Service is told of other hosts that have its name three times at once, and then once in each period.
const TOLD: u32 = 3;
const TOLD_EACH: Duration = Duration::from_mins(1);

/// A Service as far as names go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// When it was made, in seconds since 1970; later if that is not known.
    pub created: Option<i64>,
    /// Its addresses.
    pub vips: BTreeSet<IpAddr>,
    /// The name that it asks for besides its own, as it was written.
    pub requested: Option<Box<str>>,
}

/// What is to be answered for on one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// All names with all their addresses, announced from here or not.
    pub known: Arc<BTreeMap<Name, BTreeSet<IpAddr>>>,
    /// The names of which this node announces addresses here, with those.
    pub here: BTreeMap<Name, BTreeSet<IpAddr>>,
}

/// An interface of this node: its number and its name.
pub type Interface = (u32, InterfaceName);

/// What the owner of a Service is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// One word in camel case.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// All names of all Services with addresses, and where this node announces these.
#[derive(Debug)]
pub struct Directory {
    /// The annotation by which Services ask for names, as messages call it.
    annotation: &'static str,
    services: BTreeMap<ServiceKey, Listed>,
    /// What each interface announces, by any protocol.
    announced: BTreeMap<Interface, BTreeSet<IpAddr>>,
    /// Those that say nothing at present.
    muted: BTreeSet<Interface>,
    /// Addresses that this node speaks for, on each interface: the LAN was asked, or need not be.
    spoken: BTreeMap<InterfaceName, BTreeSet<IpAddr>>,
    owners: BTreeMap<Name, ServiceKey>,
    known: Arc<BTreeMap<Name, BTreeSet<IpAddr>>>,
    /// Whether names, and whether what is answered for where, may be different by now.
    stale_names: bool,
    stale: bool,
    /// Why Services do not have the names that they ask for, as their owners were told.
    refused: BTreeMap<ServiceKey, Refused>,
    /// Hosts that have names, and the last one that was told of.
    taken: BTreeMap<(Name, InterfaceName), Taken>,
    notices: VecDeque<(ServiceKey, Notice)>,
}

/// Why a Service does not have the name that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    notice: Notice,
    told: bool,
}

#[derive(Debug)]
struct Taken {
    by: Option<IpAddr>,
    told: Option<IpAddr>,
    budget: Budget,
}

impl Directory {
    /// Knows of no Service yet. Messages call the annotation by this name.
    pub fn new(annotation: &'static str) -> Self {
        Self {
            annotation,
            services: BTreeMap::new(),
            announced: BTreeMap::new(),
            muted: BTreeSet::new(),
            spoken: BTreeMap::new(),
            owners: BTreeMap::new(),
            known: Arc::default(),
            stale_names: false,
            stale: false,
            refused: BTreeMap::new(),
            taken: BTreeMap::new(),
            notices: VecDeque::new(),
        }
    }

    /// A Service is like this now, or is gone or has no address.
    pub fn set_service(&mut self, key: ServiceKey, listed: Option<Listed>) {
        let different = match listed {
            Some(listed) => self.services.insert(key, listed.clone()).as_ref() != Some(&listed),
            None => self.services.remove(&key).is_some(),
        };
        self.stale_names |= different;
    }

    /// What each interface is to announce now, and which of them say nothing at present.
    pub fn set_announced(
        &mut self,
        announced: BTreeMap<Interface, BTreeSet<IpAddr>>,
        muted: BTreeSet<Interface>,
    ) {
        self.stale |= std::mem::replace(&mut self.muted, muted) != self.muted;
        if self.announced == announced {
            return;
        }
        self.announced = announced;
        let ordered = |name: &InterfaceName, vip: &IpAddr| {
            self.announced.iter().any(|((_, other), vips)| other == name && vips.contains(vip))
        };
        self.spoken.retain(|name, vips| {
            vips.retain(|vip| ordered(name, vip));
            !vips.is_empty()
        });
        let announced = &self.announced;
        self.taken.retain(|(_, interface), _| announced.keys().any(|(_, name)| name == interface));
        self.stale = true;
    }

    /// Somebody wants to be told again what is to be answered for.
    pub fn look_again(&mut self) {
        self.stale = true;
    }

    /// This node speaks for an address on an interface.
    pub fn spoken(&mut self, interface: InterfaceName, vip: IpAddr) {
        self.stale |= self.spoken.entry(interface).or_default().insert(vip);
    }

    /// This node speaks no longer for an address on an interface, since somebody else does.
    pub fn silent(&mut self, interface: &InterfaceName, vip: IpAddr) {
        self.stale |= self.spoken.get_mut(interface).is_some_and(|vips| vips.remove(&vip));
    }

    /// What the responder of an interface says.
    pub fn reported(&mut self, interface: InterfaceName, report: Report, now: Instant) {
        match report {
            Report::Announced(name) => {
                if let Some(taken) = self.taken.get_mut(&(name, interface)) {
                    (taken.by, taken.told) = (None, None);
                }
            }
            Report::Taken { name, by } => {
                let Some(service) = self.owners.get(&name) else { return };
                let key = (name.clone(), interface.clone());
                let taken = self.taken.entry(key).or_insert_with(|| Taken {
                    by: None,
                    told: None,
                    budget: Budget::new(TOLD, TOLD_EACH),
                });
                taken.by = Some(by);
                if taken.told != taken.by && taken.budget.take(now).is_ok() {
                    taken.told = taken.by;
                    let message = format!(
                        "the host {by} on the LAN of {interface} has the name {name}: it is not answered for there until that \
                         host gives it up",
                    );
                    self.notices.push_back((service.clone(), Notice { reason: "nameConflict", message }));
                }
            }
        }
    }

    /// Something for the owner of a Service.
    pub fn poll_notice(&mut self) -> Option<(ServiceKey, Notice)> {
        self.notices.pop_front()
    }

    /// What is to be answered for on each interface that announces anything or could, if that may be different by now.
    pub fn poll(&mut self) -> Option<BTreeMap<Interface, Wanted>> {
        if std::mem::take(&mut self.stale_names) {
            self.give_names();
            self.stale = true;
        }
        if !std::mem::take(&mut self.stale) {
            return None;
        }
        self.tell_refused();
        let none = BTreeSet::new();
        let wanted = self.announced.iter().map(|(interface, vips)| {
            let spoken = self.spoken.get(&interface.1).filter(|_| !self.muted.contains(interface));
            let spoken = spoken.unwrap_or(&none);
            let here = |all: &BTreeSet<IpAddr>| -> BTreeSet<IpAddr> {
                all.iter().copied().filter(|ip| vips.contains(ip) && spoken.contains(ip)).collect()
            };
            let named = self.known.iter().map(|(name, all)| (name.clone(), here(all)));
            let here: BTreeMap<_, _> = named.filter(|(_, here)| !here.is_empty()).collect();
            let wanted = Wanted { known: Arc::clone(&self.known), here };
            (interface.clone(), wanted)
        });
        Some(wanted.collect())
    }

    /// Gives each name to the Service whose it is, or to the oldest that asks for it.
    fn give_names(&mut self) {
        let mut owners: BTreeMap<Name, &ServiceKey> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        let mut asking: Vec<_> = self.services.iter().collect();
        asking.sort_by_key(|(key, listed)| (listed.created.unwrap_or(i64::MAX), *key));
        for (key, listed) in asking {
            if let Ok(name) = Name::of_service(key) {
                owners.insert(name, key);
            }
            let Some(text) = &listed.requested else { continue };
            let refusal = match Name::of_label(text) {
                Ok(name) => match owners.get(&name) {
                    None => {
                        owners.insert(name, key);
                        continue;
                    }
                    Some(other) => {
                        let by = if other.namespace == key.namespace {
                            format!("Service {}", other.name)
                        } else {
                            "a Service of another namespace".to_owned()
                        };
                        let annotation = self.annotation;
                        let message = format!(
                            "annotation {annotation}: {by}, which is older, has the name {name} already"
                        );
                        Notice { reason: "nameTaken", message }
                    }
                },
                Err(error) => {
                    let (annotation, text) = (self.annotation, quoted(text));
                    let message = format!(
                        "annotation {annotation} cannot be used: {text} is no name: {error}; write one label, such as web \
                         or web.local"
                    );
                    Notice { reason: "nameInvalid", message }
                }
            };
            let before = self.refused.get(key).filter(|before| before.notice == refusal);
            let told = before.is_some_and(|before| before.told);
            refused.insert(key.clone(), Refused { notice: refusal, told });
        }
        let known = owners
            .iter()
            .filter_map(|(name, key)| Some((name.clone(), self.services.get(*key)?.vips.clone())));
        self.known = Arc::new(known.collect());
        self.owners = owners.into_iter().map(|(name, key)| (name, key.clone())).collect();
        self.refused = refused;
        self.taken.retain(|(name, _), _| self.known.contains_key(name));
    }

    /// The owners of those Services are told that this node announces.
    fn tell_refused(&mut self) {
        for (key, refused) in self.refused.iter_mut().filter(|(_, refused)| !refused.told) {
            let Some(listed) = self.services.get(key) else { continue };
            let is_here = self.spoken.values().any(|vips| listed.vips.iter().any(|vip| vips.contains(vip)));
            if is_here {
                refused.told = true;
                self.notices.push_back((key.clone(), refused.notice.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOTATION: &str = "example.com/name";

    struct Bench(Directory);

    impl Bench {
        fn new() -> Self {
            let mut directory = Directory::new(ANNOTATION);
            directory.set_announced([((7, "eth0".into()), [ip(1), ip(2), ip(3)].into())].into(), [].into());
            (1..=3).for_each(|last| directory.spoken("eth0".into(), ip(last)));
            Self(directory)
        }

        fn service(&mut self, key: (&str, &str), created: i64, last: u8, requested: Option<&str>) {
            let requested = requested.map(Into::into);
            let listed = Listed { created: Some(created), vips: [ip(last)].into(), requested };
            self.0.set_service(ServiceKey::new(key.0, key.1), Some(listed));
        }

        /// The names on eth0, each with the last octet of its addresses.
        fn names(&mut self) -> Vec<(String, Vec<u8>)> {
            let wanted = self.0.poll().expect("something has changed");
            let last = |ip: &IpAddr| match ip {
                IpAddr::V4(v4) => v4.octets()[3],
                IpAddr::V6(v6) => v6.octets()[15],
            };
            let here = wanted.into_values().flat_map(|wanted| wanted.here);
            here.map(|(name, vips)| (name.to_string(), vips.iter().map(last).collect())).collect()
        }

        fn notices(&mut self) -> Vec<(String, &'static str, String)> {
            let notices = std::iter::from_fn(|| self.0.poll_notice());
            notices.map(|(key, it)| (key.to_string(), it.reason, it.message)).collect()
        }
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn pair(name: &str, last: u8) -> (String, Vec<u8>) {
        (name.to_owned(), vec![last])
    }

    #[test]
    fn a_service_has_its_own_name_and_the_one_it_asks_for() {
        let mut bench = Bench::new();
        bench.service(("prod", "web"), 1, 1, Some("shop"));
        assert_eq!(bench.names(), [pair("shop.local", 1), pair("web.prod.local", 1)]);
        assert_eq!(bench.notices(), []);
        assert_eq!(bench.0.poll(), None, "nothing has changed");
    }

    #[test]
    fn the_oldest_has_a_name_and_others_are_told_without_names_of_other_namespaces() {
        let mut bench = Bench::new();
        bench.service(("b", "new"), 20, 1, Some("web"));
        bench.service(("a", "old"), 10, 2, Some("web.local"));
        bench.service(("a", "newest"), 30, 3, Some("WEB"));
        let names = bench.names();
        assert!(names.contains(&pair("web.local", 2)), "{names:?}");
        let told = bench.notices();
        let [(newest, "nameTaken", by_name), (new, "nameTaken", by_another)] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!((newest.as_str(), new.as_str()), ("a/newest", "b/new"));
        assert_eq!(
            by_name,
            "annotation example.com/name: Service old, which is older, has the name web.local already"
        );
        assert!(
            by_another.contains("a Service of another namespace") && !by_another.contains("old,"),
            "{by_another}"
        );
        bench.service(("c", "other"), 40, 3, None);
        bench.names();
        assert_eq!(bench.notices(), [], "they know");
        bench.0.set_service(ServiceKey::new("a", "old"), None);
        assert!(bench.names().contains(&pair("web.local", 1)));
    }

    #[test]
    fn nobody_gets_the_name_of_a_service_of_another_namespace() {
        let mut bench = Bench::new();
        bench.service(("evil", "thief"), 1, 1, Some("web.prod"));
        bench.service(("prod", "web"), 2, 2, None);
        assert_eq!(bench.names(), [pair("thief.evil.local", 1), pair("web.prod.local", 2)]);
        let told = bench.notices();
        let [(_, "nameInvalid", message)] = &told[..] else { panic!("{told:?}") };
        assert!(message.starts_with("annotation example.com/name cannot be used: \"web.prod\""), "{message}");
    }

    #[test]
    fn only_what_is_spoken_for_here_is_answered_for_and_told_of() {
        let mut bench = Bench::new();
        bench.service(("prod", "web"), 1, 9, Some("not a name"));
        bench.service(("prod", "other"), 1, 1, None);
        assert_eq!(bench.names(), [pair("other.prod.local", 1)]);
        assert_eq!(bench.notices(), []);
        bench.0.silent(&"eth0".into(), ip(1));
        assert_eq!(bench.names(), []);
        bench.0.spoken("eth0".into(), ip(1));
        assert_eq!(bench.names(), [pair("other.prod.local", 1)]);
        let eth0 = || [((7, "eth0".into()), [ip(1)].into())].into();
        bench.0.set_announced(eth0(), [(7, "eth0".into())].into());
        assert_eq!(bench.names(), [], "muted");
        bench.0.set_announced(eth0(), [].into());
        assert_eq!(bench.names(), [pair("other.prod.local", 1)]);
        bench.0.set_announced([].into(), [].into());
        bench.0.set_announced(eth0(), [].into());
        assert_eq!(bench.names(), [], "the LAN is asked first");
    }

    #[test]
    fn a_host_that_has_a_name_is_told_once() {
        let mut bench = Bench::new();
        bench.service(("prod", "web"), 1, 1, None);
        bench.names();
        let name = Name::of_service(&ServiceKey::new("prod", "web")).unwrap();
        let (now, by) = (Instant::now(), ip(77));
        let taken = || Report::Taken { name: name.clone(), by };
        for _ in 0..3 {
            bench.0.reported("eth0".into(), taken(), now);
        }
        let told = bench.notices();
        let [(service, "nameConflict", message)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(service, "prod/web");
        assert!(
            message.starts_with("the host 192.0.2.77 on the LAN of eth0 has the name web.prod.local"),
            "{message}"
        );
        for _ in 0..100 {
            bench.0.reported("eth0".into(), Report::Announced(name.clone()), now);
            bench.0.reported("eth0".into(), taken(), now);
        }
        assert_eq!(bench.notices().len(), 2, "no flood of events");
    }
}
