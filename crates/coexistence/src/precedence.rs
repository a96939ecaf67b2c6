//! Another FerroLB in the cluster that serves the same Services: which of the two serves them.
//!
//! Each installation elects its leader by a Lease of its own, which says what it serves and lives as long as the
//! installation does. The one whose Lease was created first has precedence, whichever replica leads and whether or not it
//! runs at the moment: if the other one took its place at each restart, all addresses would change twice. Only a Lease that
//! was not renewed for an hour counts for nothing. Replicas of one installation have one Lease, so they never wait for
//! each other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, Client};
use kubekit::events::{Notice, Publisher};
use kubekit::lease::Leads;
use kubekit::{Change, Source, Version, send_if_new, watch_as};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

/// The labels of the Leases that FerroLB's controllers elect their leaders by.
const LABELS: [(&str, &str); 2] =
    [("app.kubernetes.io/name", "ferrolb"), ("app.kubernetes.io/component", "controller")];
/// The annotation with the class of Services that an installation serves; without it, those of none.
const CLASS: &str = "ferrolb.io/load-balancer-class";

/// Who does not renew its Lease for so long does not run at the moment. A leader renews it twice a second; while a Pod is
/// replaced, it stands still for some seconds.
const AWAY_AFTER: Duration = Duration::from_secs(30);
/// Whose Lease was not renewed for so long is not there any more.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// The Lease of this installation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What this installation may do beside others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing yet: it is not known whether there are others.
    #[default]
    Unknown,
    /// It serves.
    First,
    /// It waits for another one.
    Behind(Elder),
}

/// Another installation that serves the same Services and has precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elder {
    /// The Lease that it elects its leader by.
    pub lease: LeaseName,
    /// Whether it runs at the moment.
    pub runs: bool,
}

/// The labels and the annotations that the Lease of an installation is to have which serves this class.
pub fn marks(class: Option<&str>) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    (LABELS.into_iter().map(text).collect(), class.map(|class| text((CLASS, class))).into_iter().collect())
}

/// Where this installation stands, each time that it changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Precedence {
    standing: watch::Receiver<Standing>,
    first: watch::Receiver<bool>,
}

impl Precedence {
    /// Follows the Leases of all installations, in a task of its own. Where it may not look at Leases of other namespaces,
    /// there are no others.
    pub fn follow(client: &Client, own: LeaseName, class: Option<String>) -> Self {
        let labels = LABELS.map(|(key, value)| format!("{key}={value}")).join(",");
        let source = Source::labelled(Api::<Lease>::all(client.clone()), labels).or_none();
        let changes = watch_as(source, |lease| Entry::read(&lease));
        let (told, standing) = watch::channel(Standing::Unknown);
        let (tell_first, first) = watch::channel(false);
        tokio::spawn(tell(changes, Installations::new(own, class), told, tell_first));
        Self { standing, first }
    }

    /// Whoever leads and comes first among the installations.
    pub fn first(&self, leads: Leads) -> Leads {
        leads.only_while(self.first.clone())
    }

    /// Whom it waits for, if it does.
    pub fn elder(&self) -> Option<Elder> {
        match &*self.standing.borrow() {
            Standing::Behind(elder) => Some(elder.clone()),
            Standing::Unknown | Standing::First => None,
        }
    }

    /// Tells about its own Pod each time that it waits for another one, for ever.
    pub async fn tell(mut self, pod: Option<ObjectReference>, publisher: &Publisher) {
        let mut before = None;
        loop {
            let elder = self.elder().map(|elder| elder.lease);
            if let Some(pod) = pod.as_ref().filter(|_| elder != before) {
                publisher.publish(pod.clone(), notice(elder.as_ref()));
            }
            before = elder;
            if self.standing.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

fn notice(elder: Option<&LeaseName>) -> Notice {
    match elder {
        Some(LeaseName { namespace, name }) => Notice::warning(
            "FerroLBWaits",
            format!(
                "FerroLB in namespace {namespace} serves the same Services, and is older by its Lease {name}: this one waits \
                 and gives no addresses until that one is uninstalled, or one of the two has a loadBalancerClass"
            ),
        ),
        None => Notice::normal(
            "FerroLBServes",
            "No older FerroLB serves the same Services any more: this one does",
        ),
    }
}

async fn tell(
    changes: impl Stream<Item = Change<Entry>>,
    mut installations: Installations,
    told: watch::Sender<Standing>,
    tell_first: watch::Sender<bool>,
) {
    let mut changes = std::pin::pin!(changes);
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(change) => installations.take_in(change, Instant::now()),
                None => return,
            },
            // That nothing happens to the Lease of another one is news, too.
            () = sleep(AWAY_AFTER / 2) => {}
        }
        let standing = installations.standing(Instant::now(), Timestamp::now());
        send_if_new(&tell_first, standing == Standing::First);
        if send_if_new(&told, standing.clone()) {
            log(&standing);
        }
    }
}

/// Tells the log.
fn log(standing: &Standing) {
    match standing {
        Standing::Unknown => {}
        Standing::First => info!("no older FerroLB serves the same Services"),
        Standing::Behind(Elder { lease: LeaseName { namespace, name }, runs }) => {
            warn!(
                namespace,
                lease = name,
                runs,
                "an older FerroLB serves the same Services: no addresses are given out here until it is uninstalled"
            );
        }
    }
}

/// What a Lease says of an installation.
#[derive(Debug, Clone)]
struct Entry {
    lease: LeaseName,
    created: Option<Timestamp>,
    class: Option<String>,
    renewed: Option<Timestamp>,
    version: Version,
}

impl Entry {
    fn read(lease: &Lease) -> Self {
        let Lease { metadata, spec } = lease;
        let class = metadata.annotations.as_ref().and_then(|annotations| annotations.get(CLASS));
        Self {
            lease: LeaseName {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                name: metadata.name.clone().unwrap_or_default(),
            },
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            class: class.filter(|class| !class.is_empty()).cloned(),
            renewed: spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
            version: Version::of(lease),
        }
    }

    /// What decides between two: which is older, and for those of the same second their names. A Lease that has not been
    /// made yet is the youngest.
    fn age(&self) -> (bool, Option<Timestamp>, &LeaseName) {
        (self.created.is_none(), self.created, &self.lease)
    }
}

/// The installations that there are.
struct Installations {
    own: LeaseName,
    class: Option<String>,
    /// With since when each Lease has been as it is; `None` until the list is complete.
    all: Option<BTreeMap<LeaseName, (Entry, Instant)>>,
}

impl Installations {
    fn new(own: LeaseName, class: Option<String>) -> Self {
        Self { own, class, all: None }
    }

    fn take_in(&mut self, change: Change<Entry>, now: Instant) {
        let mut all = self.all.take().unwrap_or_default();
        let timed = |entry: Entry, before: &BTreeMap<LeaseName, (Entry, Instant)>| {
            let same = before.get(&entry.lease).filter(|(known, _)| known.version == entry.version);
            let since = same.map_or(now, |(_, since)| *since);
            (entry.lease.clone(), (entry, since))
        };
        match change {
            Change::Reset(list) => all = list.into_iter().map(|entry| timed(entry, &all)).collect(),
            Change::Apply(entry) => all.extend([timed(entry, &all)]),
            Change::Delete(entry) => _ = all.remove(&entry.lease),
        }
        self.all = Some(all);
    }

    fn standing(&self, now: Instant, clock: Timestamp) -> Standing {
        let Some(all) = &self.all else { return Standing::Unknown };
        let own = all.get(&self.own).map(|(entry, _)| entry);
        let older = |entry: &Entry| own.is_none_or(|own| entry.age() < own.age());
        let elders = all.values().filter(|(entry, since)| {
            let unchanged = now.saturating_duration_since(*since) >= AWAY_AFTER;
            // Clocks differ, but whoever runs changes its Lease in half a minute, whatever its clock says.
            let abandoned = unchanged
                && entry.renewed.is_none_or(|renewed| clock.duration_since(renewed) >= ABANDONED_AFTER);
            entry.lease != self.own && entry.class == self.class && older(entry) && !abandoned
        });
        match elders.min_by(|(a, _), (b, _)| a.age().cmp(&b.age())) {
            None => Standing::First,
            Some((elder, since)) => Standing::Behind(Elder {
                lease: elder.lease.clone(),
                runs: now.saturating_duration_since(*since) < AWAY_AFTER,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A Lease that was created, and last renewed, in these seconds of an hour.
    fn entry(namespace: &str, created: u32, class: Option<&str>, renewed: u32) -> Entry {
        let at = |second: u32| format!("2026-01-01T10:{:02}:{:02}", second / 60, second % 60);
        let lease = json!({
            "metadata": {
                "namespace": namespace, "name": "ferrolb-controller", "creationTimestamp": at(created) + "Z",
                "resourceVersion": renewed.to_string(), "annotations": class.map(|class| json!({CLASS: class})),
            },
            "spec": {"renewTime": at(renewed) + ".000000Z"},
        });
        Entry::read(&serde_json::from_value(lease).unwrap())
    }

    fn own(namespace: &str, class: Option<&str>, all: Vec<Entry>, now: Instant) -> Installations {
        let own = LeaseName { namespace: namespace.to_owned(), name: "ferrolb-controller".to_owned() };
        let mut installations = Installations::new(own, class.map(str::to_owned));
        assert_eq!(installations.standing(now, clock(0)), Standing::Unknown);
        installations.take_in(Change::Reset(all), now);
        installations
    }

    fn clock(second: i64) -> Timestamp {
        "2026-01-01T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
    }

    fn behind(namespace: &str, runs: bool) -> Standing {
        let lease = LeaseName { namespace: namespace.to_owned(), name: "ferrolb-controller".to_owned() };
        Standing::Behind(Elder { lease, runs })
    }

    #[test]
    fn the_one_that_was_installed_first_serves_and_the_others_wait_for_it() {
        let now = Instant::now();
        let all = || vec![entry("b", 1, None, 9), entry("a", 2, None, 9), entry("c", 3, None, 9)];
        let standing = |namespace| own(namespace, None, all(), now).standing(now, clock(9));
        assert_eq!(standing("b"), Standing::First);
        assert_eq!(standing("a"), behind("b", true));
        assert_eq!(standing("c"), behind("b", true));
    }

    #[test]
    fn of_two_that_were_installed_in_the_same_second_exactly_one_serves() {
        let now = Instant::now();
        let all = || vec![entry("a", 1, None, 9), entry("b", 1, None, 9)];
        assert_eq!(own("a", None, all(), now).standing(now, clock(9)), Standing::First);
        assert_eq!(own("b", None, all(), now).standing(now, clock(9)), behind("a", true));
    }

    #[test]
    fn those_of_another_class_do_not_count() {
        let now = Instant::now();
        let all = || vec![entry("a", 1, None, 9), entry("b", 2, Some("x"), 9), entry("c", 3, Some("x"), 9)];
        assert_eq!(own("a", None, all(), now).standing(now, clock(9)), Standing::First);
        assert_eq!(own("b", Some("x"), all(), now).standing(now, clock(9)), Standing::First);
        assert_eq!(own("c", Some("x"), all(), now).standing(now, clock(9)), behind("b", true));
    }

    #[test]
    fn whose_lease_is_not_made_yet_is_the_youngest_and_alone_it_serves() {
        let now = Instant::now();
        let alone = own("a", None, vec![], now);
        assert_eq!(alone.standing(now, clock(0)), Standing::First);
        let beside = own("a", None, vec![entry("b", 1, None, 9)], now);
        assert_eq!(beside.standing(now, clock(9)), behind("b", true));
    }

    #[test]
    fn a_leader_that_is_replaced_gives_nobody_else_precedence() {
        let now = Instant::now();
        let mut young = own("b", None, vec![entry("a", 1, None, 9), entry("b", 2, None, 9)], now);
        let later = now + AWAY_AFTER;
        assert_eq!(young.standing(later, clock(60)), behind("a", false));
        young.take_in(Change::Apply(entry("a", 1, None, 70)), later);
        assert_eq!(young.standing(later, clock(70)), behind("a", true));
    }

    #[test]
    fn one_that_is_uninstalled_or_was_not_seen_for_an_hour_is_waited_for_no_longer() {
        let now = Instant::now();
        let older = entry("a", 1, None, 9);
        let mut young = own("b", None, vec![older.clone(), entry("b", 2, None, 9)], now);
        // A clock that is wrong alone decides nothing.
        assert_eq!(young.standing(now, clock(4000)), behind("a", true));
        assert_eq!(young.standing(now + AWAY_AFTER, clock(3000)), behind("a", false));
        assert_eq!(young.standing(now + AWAY_AFTER, clock(4000)), Standing::First);
        young.take_in(Change::Delete(older), now);
        assert_eq!(young.standing(now, clock(9)), Standing::First);
    }

    #[tokio::test]
    async fn who_leads_and_waits_for_another_does_not_act() {
        let now = Instant::now();
        let (happen, mut changes) = tokio::sync::mpsc::unbounded_channel();
        let changes = futures::stream::poll_fn(move |context| changes.poll_recv(context));
        let (told, standing) = watch::channel(Standing::Unknown);
        let (tell_first, first) = watch::channel(false);
        let own = LeaseName { namespace: "b".to_owned(), name: "ferrolb-controller".to_owned() };
        tokio::spawn(tell(changes, Installations::new(own, None), told, tell_first));
        let precedence = Precedence { standing, first };
        let mut leads = precedence.first(Leads::always());
        assert!(!leads.leads(now), "nothing is known");
        happen.send(Change::Reset(vec![entry("b", 2, None, 9)])).unwrap();
        leads.changed().await;
        assert!(leads.leads(now) && precedence.elder().is_none());
        happen.send(Change::Apply(entry("a", 1, None, 9))).unwrap();
        leads.changed().await;
        assert!(!leads.leads(now));
        assert!(notice(precedence.elder().map(|it| it.lease).as_ref()).message.contains("in namespace a"));
    }
}
