//! What reservations come to have, change by change, is what they have where all are decided from scratch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipam::{
    AddressRequest, Allocator, Assignment, Families, Family, Quota, Record, Refusal, Request, Reservation,
    ReservationKey, ServiceKey, Wanted,
};
use objects::{Labels, NodeName, Requirement, Selector};
use pools::{Allocation, PoolSpec, Pools};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::fixtures::*;

#[derive(Debug, Clone)]
enum Change {
    /// A reservation comes or says something else.
    Put {
        number: u8,
        created: u8,
        wanted: Wanted,
    },
    /// The API server has the status of one.
    Recorded(u8),
    /// Somebody writes a status by hand.
    Written {
        number: u8,
        ip: IpAddr,
    },
    Removed(u8),
    /// A service is decided, by what somebody wrote into its status.
    Assign {
        service: u8,
        addresses: AddressRequest,
        written: Vec<IpAddr>,
    },
    Release(u8),
    /// A service of others has these.
    Elsewhere {
        service: u8,
        ips: BTreeSet<IpAddr>,
    },
    Nodes(BTreeSet<IpAddr>),
    /// Which of the sets of pools there is.
    Pools(u8),
    /// Whether a namespace has the label that a pool selects.
    Labels {
        namespace: u8,
        selected: bool,
    },
}

fn namespace(number: u8) -> &'static str {
    if number.is_multiple_of(2) { "one" } else { "two" }
}

fn reservation(number: u8) -> ReservationKey {
    ReservationKey::new(namespace(number), format!("r{number}"))
}

fn service(number: u8) -> ServiceKey {
    ServiceKey::new(namespace(number), format!("s{number}"))
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        3 => (0u8..7).prop_map(|last| IpAddr::from([10, 0, 0, last])),
        1 => (0u16..4).prop_map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])),
    ]
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let both = ((0u8..7), (0u16..4)).prop_map(|(four, six)| {
        vec![IpAddr::from([10, 0, 0, four]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, six])]
    });
    let families = prop_oneof![Just(vec![]), Just(vec![Family::V4]), Just(vec![Family::V6])];
    prop_oneof![
        2 => ip().prop_map(|ip| Wanted::Addresses(vec![ip])),
        1 => both.prop_map(Wanted::Addresses),
        2 => (families, prop_oneof![Just("p"), Just("q")])
            .prop_map(|(families, pool)| Wanted::AnyOf { pool: pool.into(), families }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let addresses = prop_oneof![
        2 => Just(AddressRequest::Anything),
        1 => ip().prop_map(|ip| AddressRequest::Exactly { ips: vec![ip], pool: None }),
        2 => (0u8..6).prop_map(|number| AddressRequest::Reserved(reservation(number))),
    ];
    prop_oneof![
        6 => (0u8..6, 0u8..3, wanted()).prop_map(|(number, created, wanted)| Change::Put { number, created, wanted }),
        6 => (0u8..6).prop_map(Change::Recorded),
        1 => (0u8..6, ip()).prop_map(|(number, ip)| Change::Written { number, ip }),
        2 => (0u8..6).prop_map(Change::Removed),
        6 => (0u8..6, addresses, vec(ip(), 0..2))
            .prop_map(|(service, addresses, written)| Change::Assign { service, addresses, written }),
        3 => (0u8..6).prop_map(Change::Release),
        1 => (6u8..8, btree_set(ip(), 0..3)).prop_map(|(service, ips)| Change::Elsewhere { service, ips }),
        1 => btree_set(ip(), 0..2).prop_map(Change::Nodes),
        1 => (0u8..4).prop_map(Change::Pools),
        1 => (0u8..2, any::<bool>()).prop_map(|(namespace, selected)| Change::Labels { namespace, selected }),
    ]
}

fn pools_of(number: u8, most: u32) -> Pools {
    let limited = |entries: &[&str]| PoolSpec { quota: Quota::AtMost(most), ..pool("p", entries) };
    let chosen = Allocation {
        namespace_selectors: vec![Selector::from_iter([Requirement::equals("may", "yes")])],
        ..Allocation::default()
    };
    match number {
        0 => Pools::new([limited(&["10.0.0.0-10.0.0.4", "fd00::/127"])]),
        1 => Pools::new([pool("p", &["10.0.0.0-10.0.0.2"]), pool("q", &["10.0.0.3-10.0.0.6", "fd00::/126"])]),
        2 => Pools::new([PoolSpec {
            allocation: Some(chosen),
            ..pool("p", &["10.0.0.0-10.0.0.4", "fd00::/127"])
        }]),
        _ => Pools::new([pool("q", &["10.0.0.0/32"]), limited(&["10.0.0.1-10.0.0.6"])]),
    }
}

/// The cluster as it is, with the allocator that was told of each change.
struct Cluster {
    allocator: Allocator,
    pools: Pools,
    nodes: BTreeMap<IpAddr, NodeName>,
    labels: BTreeMap<String, Labels>,
    reservations: BTreeMap<ReservationKey, Reservation>,
    elsewhere: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
    /// What each reservation has, by what was said of those that were decided.
    outcomes: Outcomes,
}

type Outcomes = BTreeMap<ReservationKey, Result<Assignment, Refusal>>;

impl Cluster {
    fn new(most: u32) -> Self {
        let pools = pools_of(0, most);
        let mut allocator = Allocator::default();
        allocator.set_pools(pools.clone());
        Self {
            allocator,
            pools,
            nodes: BTreeMap::new(),
            labels: BTreeMap::new(),
            reservations: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        }
    }

    /// As the controller does: what is freed is offered to those that wait.
    fn apply(&mut self, change: Change, most: u32) {
        match change {
            Change::Put { number, created, wanted } => {
                let key = reservation(number);
                let record = self.reservations.get(&key).map(|it| it.record.clone()).unwrap_or_default();
                let created = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(created.into()));
                self.put(Reservation { key, created, wanted, service_selectors: vec![], record });
            }
            Change::Recorded(number) => {
                let Some(known) = self.reservations.get(&reservation(number)).cloned() else { return };
                let record = match &self.outcomes[&known.key] {
                    Ok(Assignment { ips, pool }) => Record { ips: ips.clone(), pool: Some(pool.clone()) },
                    Err(_) if matches!(known.wanted, Wanted::AnyOf { .. }) => return,
                    Err(_) => Record::default(),
                };
                self.put(Reservation { record, ..known });
            }
            Change::Written { number, ip } => {
                let Some(known) = self.reservations.get(&reservation(number)).cloned() else { return };
                self.put(Reservation { record: Record { ips: vec![ip], pool: None }, ..known });
            }
            Change::Removed(number) => {
                let key = reservation(number);
                self.reservations.remove(&key);
                self.outcomes.remove(&key);
                self.allocator.remove_reservation(&key);
            }
            Change::Assign { service: number, addresses, written } => {
                let key = service(number);
                let addresses = match addresses {
                    AddressRequest::Reserved(name) if name.namespace != key.namespace => {
                        AddressRequest::Anything
                    }
                    other => other,
                };
                self.assign(&key, addresses, Record { ips: written, pool: None });
            }
            Change::Release(number) => {
                if self.allocator.release(&service(number)).is_some() {
                    self.allocator.retry_reservations();
                }
            }
            Change::Elsewhere { service: number, ips } => {
                if self.allocator.set_elsewhere(&service(number), ips.clone()) {
                    self.allocator.retry_reservations();
                }
                self.elsewhere.insert(service(number), ips);
            }
            Change::Nodes(ips) => {
                self.nodes = ips.into_iter().map(|ip| (ip, NodeName::new("n1"))).collect();
                let holders = self.allocator.set_reserved(self.nodes.clone());
                self.allocator.retry_reservations();
                self.settle();
                holders.iter().for_each(|key| self.decide_again(key));
            }
            Change::Pools(number) => {
                self.pools = pools_of(number, most);
                self.allocator.set_pools(self.pools.clone());
                self.allocator.retry_reservations();
                self.settle();
                self.decide_all_again();
            }
            Change::Labels { namespace: number, selected } => {
                let labels = Labels::from_iter(selected.then(|| ("may".into(), "yes".into())));
                self.labels.insert(namespace(number).to_owned(), labels);
                self.allocator.touch_reservations_of(namespace(number));
                self.settle();
                self.decide_all_again();
            }
        }
        self.settle();
    }

    fn put(&mut self, reservation: Reservation) {
        self.reservations.insert(reservation.key.clone(), reservation.clone());
        self.allocator.put_reservation(reservation);
    }

    fn assign(&mut self, key: &ServiceKey, addresses: AddressRequest, record: Record) {
        let families = Families::PreferDual { primary: Family::V4 };
        let labels = self.labels.get(&*key.namespace).cloned().unwrap_or_default();
        let request = Request { addresses, families, ..request() };
        if self.allocator.assign(key, &labels, &request, &record, &[]).freed {
            self.allocator.retry_reservations();
        }
    }

    fn decide_again(&mut self, key: &ServiceKey) {
        let held = self.allocator.assignment(key).cloned();
        let record = held.map(|it| Record { ips: it.ips, pool: Some(it.pool) }).unwrap_or_default();
        self.assign(key, AddressRequest::Anything, record);
    }

    fn decide_all_again(&mut self) {
        let holders: BTreeSet<ServiceKey> = self.allocator.holders().map(|(key, _)| key.clone()).collect();
        holders.iter().for_each(|key| self.decide_again(key));
    }

    fn settle(&mut self) {
        self.outcomes.extend(self.allocator.settle_reservations(&self.labels).outcomes);
        assert!(!self.allocator.has_reservations_due());
    }

    /// One that knows nothing but how the cluster is now.
    fn decided_anew(&self) -> (Allocator, Outcomes) {
        let mut allocator = Allocator::default();
        allocator.set_pools(self.pools.clone());
        allocator.set_reserved(self.nodes.clone());
        for (key, ips) in &self.elsewhere {
            allocator.set_elsewhere(key, ips.clone());
        }
        let request = Request { families: Families::PreferDual { primary: Family::V4 }, ..request() };
        for (key, Assignment { ips, pool }) in self.allocator.holders() {
            let record = Record { ips: ips.clone(), pool: Some(pool.clone()) };
            let labels = self.labels.get(&*key.namespace).cloned().unwrap_or_default();
            allocator.adopt(key, &labels, &request, &record);
        }
        let outcomes = allocator.set_reservations(self.reservations.values().cloned(), &self.labels);
        (allocator, outcomes)
    }
}

/// What is the same however many others wait besides: a refusal for want of addresses tells how many are in use.
fn essence(outcomes: &Outcomes) -> BTreeMap<&ReservationKey, Result<&Assignment, String>> {
    let essence = |why: &Refusal| match why {
        Refusal::NothingLeft(_) => "nothing left".to_owned(),
        other => other.to_string(),
    };
    outcomes.iter().map(|(key, outcome)| (key, outcome.as_ref().map_err(essence))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_decided_change_by_change_is_what_is_decided_from_scratch(
        changes in vec(change(), 1..40),
        most in 1u32..5,
    ) {
        let mut cluster = Cluster::new(most);
        for change in changes {
            cluster.apply(change.clone(), most);
            let (scratch, outcomes) = cluster.decided_anew();
            let assignments = |allocator: &Allocator| -> BTreeMap<ServiceKey, Assignment> {
                allocator.holders().map(|(key, it)| (key.clone(), it.clone())).collect()
            };
            prop_assert_eq!(assignments(&cluster.allocator), assignments(&scratch), "the same is held");
            prop_assert_eq!(essence(&cluster.outcomes), essence(&outcomes), "after {:?}", change);
            let reserved: Vec<_> = cluster.allocator.reservations().collect();
            prop_assert_eq!(reserved, scratch.reservations().collect::<Vec<_>>());
            for (pool, family) in [("p", Family::V4), ("p", Family::V6), ("q", Family::V4), ("q", Family::V6)] {
                let pool = pool.into();
                prop_assert_eq!(cluster.allocator.usage(&pool, family), scratch.usage(&pool, family));
                let unused = scratch.unused_reserved(&pool, family);
                prop_assert_eq!(cluster.allocator.unused_reserved(&pool, family), unused);
            }
        }
    }
}

#[test]
fn a_service_that_changes_concerns_no_reservation_but_the_one_that_it_has() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/16"])]);
    let recorded = |number: u8| {
        let wanted = vec![IpAddr::from([10, 0, 1, number])];
        let record = Record { ips: wanted.clone(), pool: Some("p".into()) };
        let key = reservation(number);
        Reservation {
            key,
            created: None,
            wanted: Wanted::Addresses(wanted),
            service_selectors: vec![],
            record,
        }
    };
    let none = BTreeMap::new();
    assert_eq!(allocator.set_reservations((0..200).map(recorded), &none).len(), 200);
    assert!(!allocator.has_reservations_due());
    let decide = |allocator: &mut Allocator, service: &ServiceKey, addresses: AddressRequest| {
        let request = Request { addresses, ..request() };
        allocator.assign(service, &Labels::new(), &request, &Record::default(), &[]).outcome.unwrap();
        allocator.settle_reservations(&none).outcomes.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(decide(&mut allocator, &service(1), AddressRequest::Anything), []);
    let naming = AddressRequest::Reserved(reservation(7));
    assert_eq!(decide(&mut allocator, &service(7), naming), [reservation(7)]);
    allocator.release(&service(7));
    allocator.retry_reservations();
    assert_eq!(
        allocator.settle_reservations(&none).outcomes.into_keys().collect::<Vec<_>>(),
        [reservation(7)]
    );
    allocator
        .put_reservation(Reservation { service_selectors: vec![Selector::from_iter([])], ..recorded(9) });
    assert_eq!(
        allocator.settle_reservations(&none).outcomes.into_keys().collect::<Vec<_>>(),
        [reservation(9)]
    );
    // One that waits for what another has is told when that goes.
    let late =
        Reservation { key: ReservationKey::new("one", "late"), record: Record::default(), ..recorded(3) };
    allocator.put_reservation(late.clone());
    assert!(allocator.settle_reservations(&none).outcomes[&late.key].is_err());
    allocator.remove_reservation(&reservation(3));
    let settled = allocator.settle_reservations(&none);
    assert!(settled.freed && settled.outcomes[&late.key].is_ok(), "{settled:?}");
    assert_eq!(settled.outcomes.len(), 1);
}
