//! Random operations on the allocator and on a model so simple that it is plainly right, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::{
    AddressRequest, Allocator, Families, Family, PoolName, Port, Protocol, Quota, Record, Request,
    ReservationKey, ServiceKey, Sharing,
};
use objects::{Labels, NodeName, Requirement, Selector};
use pools::{Allocation, Pool, PoolSpec, Pools, Presence};
use proptest::prelude::*;

use crate::fixtures::pool;

/// Services as a plain list of holders; every answer is a scan.
#[derive(Default)]
struct Model {
    pools: Pools,
    reserved: BTreeSet<IpAddr>,
    held: BTreeMap<ServiceKey, Held>,
    /// That of the service whose turn it is.
    namespace: String,
}

#[derive(Clone)]
struct Held {
    ips: Vec<IpAddr>,
    pool: PoolName,
    request: Request,
}

impl Model {
    fn pool_of(&self, ips: &[IpAddr], recorded: Option<&PoolName>) -> Option<&Pool> {
        let holds =
            |ip: &IpAddr| self.held.values().find(|held| held.ips.contains(ip)).map(|held| &held.pool);
        self.pools.pool_of(ips, ips.iter().find_map(holds).or(recorded))
    }

    fn may_have(&self, ip: IpAddr, request: &Request) -> bool {
        let free = self.held.values().filter(|held| held.ips.contains(&ip)).all(|held| {
            request.sharing.key.is_some()
                && request.sharing == held.request.sharing
                && request.ports.is_disjoint(&held.request.ports)
        });
        free && !self.reserved.contains(&ip)
    }

    /// Whether the namespace may have these addresses too.
    fn within_quota(&self, pool: &Pool, ips: &[IpAddr]) -> bool {
        let of_namespace = self
            .held
            .iter()
            .filter(|(key, held)| *key.namespace == *self.namespace && held.pool == pool.name);
        let before: BTreeSet<IpAddr> = of_namespace.flat_map(|(_, held)| held.ips.iter().copied()).collect();
        let after: BTreeSet<IpAddr> = before.iter().chain(ips).copied().collect();
        after == before
            || match pool.quota {
                Quota::Unlimited => true,
                Quota::AtMost(most) => after.len() <= most as usize,
                Quota::Unreadable => false,
            }
    }

    fn admits(pool: &Pool, request: &Request) -> bool {
        pool.presence == Presence::Present
            && pool.allocation.as_ref().is_none_or(|allocation| allocation.admits_service(&request.labels))
    }

    fn keeps(pool: &Pool, request: &Request, record: &Record) -> bool {
        match pool.presence {
            Presence::Present => Self::admits(pool, request),
            Presence::Deleted => record.pool.as_ref() == Some(&pool.name),
        }
    }

    fn candidate(
        &self,
        pool: &Pool,
        family: Family,
        request: &Request,
        former: &[IpAddr],
        beside: &[IpAddr],
    ) -> Option<IpAddr> {
        if pool.presence == Presence::Deleted {
            return None;
        }
        let of_pool = |ip: &IpAddr| self.pool_of(&[*ip], None).is_some_and(|its| its.name == pool.name);
        let usable = |ip: &IpAddr| Family::of(*ip) == family && of_pool(ip) && self.may_have(*ip, request);
        let kept =
            self.held.values().filter(|held| held.pool == pool.name).flat_map(|held| &held.ips).copied();
        let extra: BTreeSet<IpAddr> = kept.filter(|ip| !expand(pool).contains(ip)).collect();
        let ip = former.iter().copied().chain(expand(pool)).chain(extra).find(|ip| usable(ip))?;
        let all: Vec<IpAddr> = beside.iter().copied().chain([ip]).collect();
        self.within_quota(pool, &all).then_some(ip)
    }

    fn assign(
        &mut self,
        key: &ServiceKey,
        request: &Request,
        record: &Record,
        former: &[IpAddr],
    ) -> Option<Held> {
        self.namespace = key.namespace.to_string();
        let before = self.held.remove(key);
        let held =
            before.map_or_else(Record::default, |held| Record { ips: held.ips, pool: Some(held.pool) });
        let former: Vec<IpAddr> = held.ips.iter().chain(former).copied().collect();
        let (ips, pool) = match self.keep(request, record).or_else(|| self.keep(request, &held)) {
            Some((ips, pool)) => self.complete(request, record, ips, &pool, &former),
            None => {
                let (ips, pool) = self.find(request, record, &former)?;
                self.complete(request, record, ips, &pool, &former)
            }
        }?;
        let held = Held { ips, pool, request: request.clone() };
        self.held.insert(key.clone(), held.clone());
        Some(held)
    }

    fn keep(&self, request: &Request, record: &Record) -> Option<(Vec<IpAddr>, PoolName)> {
        let mut ips = record.ips.clone();
        ips.sort();
        let families: Vec<Family> = ips.iter().map(|&ip| Family::of(ip)).collect();
        if families.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        let (needed, primary) = match request.families {
            Families::Single(family) => (vec![family], family),
            Families::RequireDual => (vec![Family::V4, Family::V6], Family::V4),
            Families::PreferDual { primary } => (vec![Family::V4, Family::V6], primary),
        };
        ips.retain(|ip| needed.contains(&Family::of(*ip)));
        let mut alternatives = vec![ips.clone()];
        if ips.len() == 2 {
            let alone =
                |family| ips.iter().copied().filter(|ip| Family::of(*ip) == family).collect::<Vec<_>>();
            alternatives.extend([alone(primary), alone(primary.other())]);
        }
        for (index, ips) in alternatives.into_iter().enumerate().filter(|(_, ips)| !ips.is_empty()) {
            let Some(pool) = self.pool_of(&ips, record.pool.as_ref()) else { continue };
            if !Self::keeps(pool, request, record) || !ips.iter().all(|ip| self.may_have(*ip, request)) {
                continue;
            }
            let requested = match &request.addresses {
                AddressRequest::From(name) => *name == pool.name,
                AddressRequest::Exactly { ips: wanted, .. } => {
                    let fits = !matches!((request.families, &ips[..]), (Families::RequireDual, [_]));
                    fits && *wanted == ips
                }
                AddressRequest::Anything => true,
                // There is none here.
                AddressRequest::Reserved(_) => ips.len() == 2 || request.families != Families::RequireDual,
                AddressRequest::Unreadable { pool: from, .. } => {
                    let enough = ips.len() == 2 || request.families != Families::RequireDual;
                    enough && from.as_ref().is_none_or(|from| *from == pool.name)
                }
            };
            if requested {
                return Some((ips, pool.name.clone()));
            }
            if index == 0 {
                return None;
            }
        }
        None
    }

    fn complete(
        &self,
        request: &Request,
        record: &Record,
        mut ips: Vec<IpAddr>,
        pool: &PoolName,
        former: &[IpAddr],
    ) -> Option<(Vec<IpAddr>, PoolName)> {
        let open = matches!(request.addresses, AddressRequest::Anything | AddressRequest::From(_));
        if ips.len() == 2 || !open || matches!(request.families, Families::Single(_)) {
            return Some((ips, pool.clone()));
        }
        let missing = Family::of(ips[0]).other();
        match self.candidate(self.pools.get(pool).unwrap(), missing, request, former, &ips) {
            Some(second) => ips.push(second),
            None if request.families == Families::RequireDual => {
                return self.find(request, record, former);
            }
            None => {}
        }
        ips.sort();
        Some((ips, pool.clone()))
    }

    fn find(&self, request: &Request, record: &Record, former: &[IpAddr]) -> Option<(Vec<IpAddr>, PoolName)> {
        let admits = |pool: &&Pool| Self::admits(pool, request);
        let pools: Vec<&Pool> = match &request.addresses {
            AddressRequest::Unreadable { .. } | AddressRequest::Reserved(_) => return None,
            AddressRequest::Exactly { ips, .. } => {
                let families: Vec<Family> = ips.iter().map(|&ip| Family::of(ip)).collect();
                let fits = match request.families {
                    Families::Single(family) => families == [family],
                    Families::RequireDual | Families::PreferDual { .. } => families.len() == 2,
                };
                let pool = self.pool_of(ips, record.pool.as_ref()).filter(admits)?;
                let granted =
                    fits && ips.iter().all(|&ip| self.may_have(ip, request)) && self.within_quota(pool, ips);
                return granted.then(|| (ips.clone(), pool.name.clone()));
            }
            AddressRequest::From(name) => vec![self.pools.get(name).filter(admits)?],
            AddressRequest::Anything => {
                if let Some(regained) = self.regain(request, record, former) {
                    return Some(regained);
                }
                let mut all: Vec<&Pool> =
                    self.pools.iter().filter(|p| p.auto_assign).filter(admits).collect();
                all.sort_by_key(|pool| match &pool.allocation {
                    Some(allocation) => (0, allocation.rank()),
                    None => (1, (false, 0)),
                });
                all
            }
        };
        // Pinned pools that have one family of two come before open ones that have both.
        let (pinned, open): (Vec<&Pool>, Vec<&Pool>) =
            pools.into_iter().partition(|p| p.allocation.is_some());
        [pinned, open].into_iter().find_map(|tier| self.first_fit(&tier, request, former))
    }

    fn regain(
        &self,
        request: &Request,
        record: &Record,
        former: &[IpAddr],
    ) -> Option<(Vec<IpAddr>, PoolName)> {
        let of = |family| former.iter().copied().find(|ip| Family::of(*ip) == family);
        let ips = match request.families {
            Families::Single(family) => vec![of(family)?],
            Families::RequireDual | Families::PreferDual { .. } => vec![of(Family::V4)?, of(Family::V6)?],
        };
        let pool = self.pool_of(&ips, record.pool.as_ref())?;
        let granted = Self::admits(pool, request)
            && ips.iter().all(|ip| self.may_have(*ip, request))
            && self.within_quota(pool, &ips);
        granted.then(|| (ips, pool.name.clone()))
    }

    fn first_fit(
        &self,
        pools: &[&Pool],
        request: &Request,
        former: &[IpAddr],
    ) -> Option<(Vec<IpAddr>, PoolName)> {
        let found =
            |pool: &Pool, family, beside: &[IpAddr]| self.candidate(pool, family, request, former, beside);
        let both = || {
            pools.iter().find_map(|p| {
                let v4 = found(p, Family::V4, &[])?;
                Some((vec![v4, found(p, Family::V6, &[v4])?], p.name.clone()))
            })
        };
        let one = |family| pools.iter().find_map(|p| Some((vec![found(p, family, &[])?], p.name.clone())));
        match request.families {
            Families::Single(family) => one(family),
            Families::RequireDual => both(),
            Families::PreferDual { primary } => {
                both().or_else(|| one(primary)).or_else(|| one(primary.other()))
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Operation {
    /// The service is decided anew, with what it holds or with what somebody wrote into its object.
    Assign {
        service: u8,
        request: Request,
        written: Option<Record>,
        former: Vec<IpAddr>,
    },
    Release {
        service: u8,
    },
    SetPools(Vec<PoolSpec>),
    SetReserved(BTreeSet<IpAddr>),
}

fn key(service: u8) -> ServiceKey {
    ServiceKey::new(if service.is_multiple_of(2) { "ns" } else { "other" }, format!("s{service}"))
}

fn v4() -> impl Strategy<Value = IpAddr> {
    (0u8..2, 0u8..7).prop_map(|(c, d)| IpAddr::from([10, 0, c, d]))
}

fn v6() -> impl Strategy<Value = IpAddr> {
    (0u16..5).prop_map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]))
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    prop_oneof![
        v4().prop_map(|a| vec![a]),
        v6().prop_map(|a| vec![a]),
        (v4(), v6()).prop_map(|(a, b)| vec![a, b])
    ]
}

fn pool_name() -> impl Strategy<Value = PoolName> {
    (0u8..4).prop_map(|p| PoolName::new(format!("p{p}")))
}

fn request() -> impl Strategy<Value = Request> {
    let families = prop_oneof![
        3 => Just(Families::Single(Family::V4)),
        1 => Just(Families::Single(Family::V6)),
        1 => Just(Families::RequireDual),
        1 => Just(Families::PreferDual { primary: Family::V4 }),
        1 => Just(Families::PreferDual { primary: Family::V6 }),
    ];
    let wanted = prop_oneof![
        4 => Just(AddressRequest::Anything),
        1 => addresses().prop_map(|ips| AddressRequest::Exactly { ips, pool: None }),
        1 => pool_name().prop_map(AddressRequest::From),
        1 => Just(AddressRequest::Reserved(ReservationKey::new("ns", "r"))),
        1 => proptest::option::of(pool_name())
            .prop_map(|pool| AddressRequest::Unreadable { why: "?".into(), pool }),
    ];
    let key = prop_oneof![Just(None), Just(Some("k")), Just(Some("l"))];
    let backend = prop_oneof![3 => Just(""), 1 => Just("app=web")];
    let ports = proptest::collection::btree_set(1u16..4, 1..3);
    let labels = prop_oneof![Just(Labels::new()), Just(Labels::from([("gold".into(), "yes".into())]))];
    (families, wanted, key, backend, ports, labels).prop_map(
        |(families, addresses, key, backend, ports, labels)| Request {
            labels,
            families,
            addresses,
            sharing: Sharing { key: key.map(Into::into), backend: backend.into(), ..Sharing::default() },
            ports: ports.into_iter().map(|number| Port { protocol: Protocol::Tcp, number }).collect(),
        },
    )
}

/// Pools cut from the same few addresses, some of which two of them list and some of which cannot be read, so that
/// services pass from one to another, stay where they are, or lose what they have.
fn pools() -> impl Strategy<Value = Vec<PoolSpec>> {
    let entry = prop_oneof![
        6 => (0u8..2, 0u8..7, 0u8..5).prop_map(|(c, d, length)| format!("10.0.{c}.{d}-10.0.{c}.{}", (d + length).min(6))),
        3 => (0u16..5, 0u16..3).prop_map(|(first, length)| format!("fd00::{first}-fd00::{}", (first + length).min(4))),
        1 => Just("10.0.0.1".to_owned()),
    ];
    let allocation = prop_oneof![
        4 => Just(None),
        1 => (-1i64..3, any::<bool>()).prop_map(|(priority, gold)| Some(Allocation {
            priority,
            service_selectors: gold
                .then(|| Selector::from_iter([Requirement::equals("gold", "yes")]))
                .into_iter()
                .collect(),
            ..Allocation::default()
        })),
    ];
    let flags =
        (prop_oneof![4 => Just(true), 1 => Just(false)], prop_oneof![3 => Just(false), 1 => Just(true)]);
    let quota = prop_oneof![
        4 => Just(Quota::Unlimited),
        2 => (0u32..4).prop_map(Quota::AtMost),
        1 => Just(Quota::Unreadable),
    ];
    let presence = prop_oneof![6 => Just(Presence::Present), 1 => Just(Presence::Deleted)];
    let parts = (proptest::collection::vec(entry, 0..4), flags, allocation, 0i64..3, presence, quota);
    proptest::collection::vec(parts, 0..4).prop_map(|pools| {
        let spec = |(n, (entries, (auto_assign, avoid_buggy_ips), allocation, at, presence, quota))| {
            let entries: &Vec<String> = &entries;
            let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
            let plain: PoolSpec = pool(&format!("p{n}"), &entries);
            PoolSpec { auto_assign, avoid_buggy_ips, allocation, created: Some(at), presence, quota, ..plain }
        };
        pools.into_iter().enumerate().map(spec).collect()
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let record =
        (addresses(), proptest::option::of(pool_name())).prop_map(|(ips, pool)| Record { ips, pool });
    let written =
        prop_oneof![4 => Just(None), 1 => record.prop_map(Some), 1 => Just(Some(Record::default()))];
    let former = prop_oneof![3 => Just(vec![]), 1 => addresses()];
    prop_oneof![
        12 => (0u8..8, request(), written, former).prop_map(|(service, request, written, former)| {
            Operation::Assign { service, request, written, former }
        }),
        2 => (0u8..8).prop_map(|service| Operation::Release { service }),
        1 => pools().prop_map(Operation::SetPools),
        1 => proptest::collection::btree_set(prop_oneof![v4(), v6()], 0..3).prop_map(Operation::SetReserved),
    ]
}

/// All addresses that a pool gives out, in its order.
fn expand(pool: &Pool) -> Vec<IpAddr> {
    let all = |range: &pools::Range| -> Vec<IpAddr> {
        let next = |ip: &IpAddr| pools::successor(*ip).filter(|ip| range.contains(*ip));
        std::iter::successors(Some(range.first()), next).collect()
    };
    pool.ranges.iter().flat_map(all).filter(|ip| !pool.leaves_out(*ip)).collect()
}

fn check_counters(allocator: &Allocator, model: &Model) {
    for pool in model.pools.iter() {
        for family in [Family::V4, Family::V6] {
            let held = |mine: bool| {
                let of = model.held.values().filter(move |held| (held.pool == pool.name) == mine);
                of.flat_map(|held| held.ips.iter().copied()).filter(|ip| Family::of(*ip) == family).collect()
            };
            let (mine, elsewhere): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) = (held(true), held(false));
            let left = expand(pool).into_iter().filter(|ip| {
                Family::of(*ip) == family
                    && ![&mine, &elsewhere, &model.reserved].iter().any(|taken| taken.contains(ip))
            });
            let usage = allocator.usage(&pool.name, family);
            assert_eq!(
                (usage.in_use, usage.available),
                (mine.len() as u128, left.count() as u128),
                "{pool:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_allocator_does_what_the_model_does(operations in proptest::collection::vec(operation(), 1..60)) {
        let (mut allocator, mut model) = (Allocator::default(), Model::default());
        for operation in operations {
            match operation {
                Operation::Assign { service, request, written, former } => {
                    let key = key(service);
                    let held = model.held.get(&key).map(|held| Record {
                        ips: held.ips.clone(),
                        pool: Some(held.pool.clone()),
                    });
                    let record = written.or(held).unwrap_or_default();
                    let decision = allocator.assign(&key, &Labels::new(), &request, &record, &former);
                    let expected = model.assign(&key, &request, &record, &former);
                    let given = decision.outcome.as_ref().ok().map(|a| (a.ips.clone(), a.pool.clone()));
                    let expected = expected.map(|held| (held.ips, held.pool));
                    prop_assert_eq!(given, expected, "{:?} with {:?}: {:?}", request, record, decision);
                }
                Operation::Release { service } => {
                    allocator.release(&key(service));
                    model.held.remove(&key(service));
                }
                Operation::SetPools(specs) => {
                    model.pools = Pools::new(specs);
                    let displaced = allocator.set_pools(model.pools.clone());
                    let before = std::mem::take(&mut model.held);
                    let mut gone = Vec::new();
                    for (key, held) in before {
                        match model.pool_of(&held.ips, Some(&held.pool)).map(|pool| pool.name.clone()) {
                            Some(pool) => _ = model.held.insert(key, Held { pool, ..held }),
                            None => gone.push(key),
                        }
                    }
                    prop_assert_eq!(&displaced, &gone);
                }
                Operation::SetReserved(ips) => {
                    let nodes = ips.iter().map(|ip| (*ip, NodeName::from("n1"))).collect();
                    let holders = allocator.set_reserved(nodes);
                    let concerned = model.held.iter().filter(|(_, held)| held.ips.iter().any(|ip| ips.contains(ip)));
                    prop_assert_eq!(holders, concerned.map(|(key, _)| key.clone()).collect::<Vec<_>>());
                    model.reserved = ips;
                }
            }
            check_counters(&allocator, &model);
        }
    }
}
