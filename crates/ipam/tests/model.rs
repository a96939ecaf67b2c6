//! Random operations on the allocator and on a model so simple that it is plainly right, side by side.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::{Allocator, Families, Family, Pool, PoolName, Port, Protocol, Request, ServiceKey, Tenancy, Wish};
use objects::Labels;
use proptest::prelude::*;

/// Pools as plain lists of addresses, services as a plain list of holders; every answer is a scan.
#[derive(Default)]
struct Model {
    pools: BTreeMap<PoolName, Vec<IpAddr>>,
    held: BTreeMap<ServiceKey, (Vec<IpAddr>, Request)>,
}

impl Model {
    fn pool_of(&self, ips: &[IpAddr]) -> Option<&PoolName> {
        self.pools.iter().find(|(_, all)| ips.iter().all(|ip| all.contains(ip))).map(|(name, _)| name)
    }

    fn may_have(&self, ip: IpAddr, request: &Request) -> bool {
        self.held.values().filter(|(ips, _)| ips.contains(&ip)).all(|(_, other)| {
            request.tenancy.sharing_key.is_some()
                && request.tenancy == other.tenancy
                && request.ports.is_disjoint(&other.ports)
        })
    }

    fn candidate(&self, pool: &PoolName, family: Family, request: &Request) -> Option<IpAddr> {
        let mut of_family = self.pools[pool].iter().filter(|&&ip| Family::of(ip) == family);
        of_family.find(|&&ip| self.may_have(ip, request)).copied()
    }

    fn assign(&mut self, key: &ServiceKey, request: &Request, current: &[IpAddr]) -> Option<Vec<IpAddr>> {
        self.held.remove(key);
        let ips = self.keep(request, current).or_else(|| self.find(request))?;
        self.held.insert(key.clone(), (ips.clone(), request.clone()));
        Some(ips)
    }

    fn keep(&self, request: &Request, current: &[IpAddr]) -> Option<Vec<IpAddr>> {
        let families: Vec<Family> = current.iter().map(|&ip| Family::of(ip)).collect();
        let fits = match request.families {
            Families::Single(family) => families == [family],
            Families::RequireDual => families.len() == 2,
            Families::PreferDual { .. } => !families.is_empty(),
        };
        let pool = self.pool_of(current)?;
        let wished = match &request.wish {
            Wish::From(name) => name == pool,
            Wish::Exactly { ips, .. } => ips == current,
            Wish::Anything => true,
            Wish::Unreadable { pool: from, .. } => from.as_ref().is_none_or(|from| from == pool),
        };
        if !(fits && wished && current.iter().all(|&ip| self.may_have(ip, request))) {
            return None;
        }
        let mut ips = current.to_vec();
        let completes = matches!(request.families, Families::PreferDual { .. })
            && ips.len() == 1
            && matches!(request.wish, Wish::Anything | Wish::From(_));
        if completes {
            ips.extend(self.candidate(pool, families[0].other(), request));
            ips.sort();
        }
        Some(ips)
    }

    fn find(&self, request: &Request) -> Option<Vec<IpAddr>> {
        let pools: Vec<&PoolName> = match &request.wish {
            Wish::Unreadable { .. } => return None,
            Wish::Exactly { ips, .. } => {
                let families: Vec<Family> = ips.iter().map(|&ip| Family::of(ip)).collect();
                let fits = match request.families {
                    Families::Single(family) => families == [family],
                    Families::RequireDual | Families::PreferDual { .. } => families.len() == 2,
                };
                let granted =
                    fits && self.pool_of(ips).is_some() && ips.iter().all(|&ip| self.may_have(ip, request));
                return granted.then(|| ips.clone());
            }
            Wish::From(name) => vec![self.pools.get_key_value(name)?.0],
            Wish::Anything => self.pools.keys().collect(),
        };
        let found = |pool: &PoolName, family| self.candidate(pool, family, request);
        let both = || pools.iter().find_map(|p| Some(vec![found(p, Family::V4)?, found(p, Family::V6)?]));
        let one = |family| pools.iter().find_map(|p| Some(vec![found(p, family)?]));
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
    /// The service is decided anew, with what it holds or with what somebody wrote into its status.
    Assign {
        service: u8,
        request: Request,
        written: Option<Vec<IpAddr>>,
    },
    Release {
        service: u8,
    },
    SetPools(Vec<Pool>),
}

fn key(service: u8) -> ServiceKey {
    ServiceKey::new("ns", format!("s{service}"))
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

fn request() -> impl Strategy<Value = Request> {
    let families = prop_oneof![
        3 => Just(Families::Single(Family::V4)),
        1 => Just(Families::Single(Family::V6)),
        1 => Just(Families::RequireDual),
        1 => Just(Families::PreferDual { primary: Family::V4 }),
        1 => Just(Families::PreferDual { primary: Family::V6 }),
    ];
    let wish = prop_oneof![
        4 => Just(Wish::Anything),
        1 => addresses().prop_map(|ips| Wish::Exactly { ips, pool: None }),
        1 => (0u8..4).prop_map(|p| Wish::From(PoolName::new(format!("p{p}")))),
        1 => (0u8..4).prop_map(|p| Wish::Unreadable {
            why: "?".into(),
            pool: p.checked_sub(1).map(|p| PoolName::new(format!("p{p}"))),
        }),
    ];
    let key = prop_oneof![Just(None), Just(Some("k")), Just(Some("l"))];
    let backend = prop_oneof![3 => Just(""), 1 => Just("app=web")];
    let ports = proptest::collection::btree_set(1u16..4, 1..3);
    (families, wish, key, backend, ports).prop_map(|(families, wish, key, backend, ports)| Request {
        labels: Labels::new(),
        families,
        wish,
        tenancy: Tenancy { sharing_key: key.map(Into::into), backend: backend.into() },
        ports: ports.into_iter().map(|number| Port { protocol: Protocol::Tcp, number }).collect(),
    })
}

/// One to three pools, cut from the same few addresses in different ways, so that services pass from one
/// to another.
fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let cuts = [
        vec![vec!["10.0.0.0-10.0.0.3", "fd00::-fd00::1"], vec!["10.0.1.0-10.0.1.2"]],
        vec![vec!["10.0.1.0-10.0.1.4", "10.0.0.0-10.0.0.2"], vec!["fd00::-fd00::3"]],
        vec![vec!["10.0.0.0-10.0.0.6", "fd00::2-fd00::4", "10.0.1.3-10.0.1.3"]],
        vec![
            vec!["10.0.0.0-10.0.0.0"],
            vec!["10.0.0.1-10.0.0.1", "fd00::-fd00::"],
            vec!["10.0.1.0-10.0.1.6"],
        ],
    ];
    (0..cuts.len(), 0u8..3).prop_map(move |(cut, shift)| {
        let pool = |(i, ranges): (usize, &Vec<&str>)| Pool {
            name: PoolName::new(format!("p{}", (i + usize::from(shift)) % 4)),
            ranges: ranges.iter().map(|r| r.parse().unwrap()).collect(),
            auto_assign: true,
            avoid_buggy_ips: false,
            allocation: None,
        };
        cuts[cut].iter().enumerate().map(pool).collect()
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let written = prop_oneof![4 => Just(None), 1 => addresses().prop_map(Some), 1 => Just(Some(Vec::new()))];
    prop_oneof![
        8 => (0u8..8, request(), written)
            .prop_map(|(service, request, written)| Operation::Assign { service, request, written }),
        2 => (0u8..8).prop_map(|service| Operation::Release { service }),
        1 => pools().prop_map(Operation::SetPools),
    ]
}

fn expand(pool: &Pool) -> Vec<IpAddr> {
    let all = |range: &ipam::Range| -> Vec<IpAddr> {
        match (range.first(), range.last()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits()..=b.to_bits()).map(|n| IpAddr::V4(n.into())).collect()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits()..=b.to_bits()).map(|n| IpAddr::V6(n.into())).collect()
            }
            _ => unreachable!("a range has one family"),
        }
    };
    pool.ranges.iter().flat_map(all).collect()
}

fn check_counters(allocator: &Allocator, model: &Model) {
    for (name, all) in &model.pools {
        for family in [Family::V4, Family::V6] {
            let in_use: BTreeSet<IpAddr> = (model.held.values().flat_map(|(ips, _)| ips))
                .filter(|ip| all.contains(ip) && Family::of(**ip) == family)
                .copied()
                .collect();
            let total = all.iter().filter(|ip| Family::of(**ip) == family).count() as u128;
            let usage = allocator.usage(name, family);
            assert_eq!(usage.in_use, in_use.len() as u128, "{name} {family}");
            assert_eq!(usage.available, total - usage.in_use, "{name} {family}");
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
                Operation::Assign { service, request, written } => {
                    let key = key(service);
                    let held = model.held.get(&key).map(|(ips, _)| ips.clone()).unwrap_or_default();
                    let current = written.unwrap_or(held);
                    let decision = allocator.assign(&key, &Labels::new(), &request, &current);
                    let expected = model.assign(&key, &request, &current);
                    let given = decision.outcome.as_ref().ok().map(|a| a.ips.clone());
                    prop_assert_eq!(given, expected, "{:?} with {:?}: {:?}", request, current, decision);
                }
                Operation::Release { service } => {
                    allocator.release(&key(service));
                    model.held.remove(&key(service));
                }
                Operation::SetPools(pools) => {
                    model.pools = pools.iter().map(|pool| (pool.name.clone(), expand(pool))).collect();
                    let displaced = allocator.set_pools(pools);
                    let kept = |ips: &[IpAddr]| model.pool_of(ips).is_some();
                    let gone: Vec<ServiceKey> =
                        model.held.iter().filter(|(_, (ips, _))| !kept(ips)).map(|(k, _)| k.clone()).collect();
                    prop_assert_eq!(&displaced, &gone);
                    model.held.retain(|key, _| !gone.contains(key));
                }
            }
            check_counters(&allocator, &model);
        }
    }
}
