//! Random scenarios.
//!
//! What MetalLB leaves to chance is kept out: every pinned pool has a priority of its own, and at most one pool
//! of each family is open to everybody.

use std::collections::BTreeMap;

use bench::stage::SYSTEM;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::service::{Service, Spelling, Stack, Wish};
use crate::side::{CLASS, NAMESPACES, ingress};
use crate::step::{Id, Kind, Object, Step};

/// A story to be told to both controllers.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// The class that both serve.
    pub(crate) class: Option<&'static str>,
    pub(crate) steps: Vec<Step>,
}

/// Always the same one for a seed.
pub(crate) fn scenario(seed: u64, length: usize) -> Scenario {
    let mut world = World::new(seed);
    let mut steps: Vec<Step> = (0..POOLS).filter_map(|pool| world.maybe_pool(pool)).collect();
    while steps.len() < length {
        steps.extend(world.step());
    }
    Scenario { class: world.class, steps }
}

const POOLS: u8 = 6;
const SERVICES: u8 = 6;

/// What has been written so far.
struct World {
    rng: StdRng,
    class: Option<&'static str>,
    /// Whether pool 0 is open in both families, else in IPv4 only and pool 1 in IPv6.
    one_open_pool: bool,
    priorities: [u8; 3],
    /// Few addresses, and many that would share them.
    crowded: bool,
    /// Pools by number; the name changes when one is replaced by another.
    pools: BTreeMap<u8, PoolName>,
    services: BTreeMap<u8, Service>,
}

#[derive(Clone)]
struct PoolName(String);

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let class = rng.random_bool(0.15).then_some(CLASS);
        let one_open_pool = rng.random_bool(0.6);
        let orders = [[1, 5, 0], [0, 1, 5], [5, 0, 1], [2, 1, 3]];
        let priorities = pick(&mut rng, &orders);
        let crowded = rng.random_bool(0.4);
        Self {
            rng,
            class,
            one_open_pool,
            priorities,
            crowded,
            pools: BTreeMap::new(),
            services: BTreeMap::new(),
        }
    }

    fn step(&mut self) -> Option<Step> {
        match self.rng.random_range(0..100) {
            0..35 => Some(self.create_service()),
            35..56 => self.edit_service(),
            56..66 => self.delete_service(),
            66..79 => {
                let pool = self.rng.random_range(0..POOLS);
                Some(self.write_pool(pool))
            }
            79..83 => self.delete_pool(),
            83..86 => self.replace_pool(),
            86..90 => Some(self.label_namespace()),
            90..95 => self.edit_status(),
            _ => Some(self.restart()),
        }
    }

    fn restart(&mut self) -> Step {
        let mut meanwhile = Vec::new();
        for _ in 0..self.rng.random_range(0..=3) {
            meanwhile.extend(self.step().filter(|step| !matches!(step, Step::Restart { .. })));
        }
        Step::Restart { meanwhile }
    }

    fn maybe_pool(&mut self, pool: u8) -> Option<Step> {
        let chance = if pool == 0 { 0.9 } else { 0.4 };
        self.rng.random_bool(chance).then(|| self.write_pool(pool))
    }

    fn write_pool(&mut self, pool: u8) -> Step {
        let name = self.pools.entry(pool).or_insert_with(|| PoolName(format!("p{pool}"))).clone();
        Step::Apply(self.pool(pool, &name))
    }

    fn pool(&mut self, pool: u8, name: &PoolName) -> Object {
        let (v4, v6) = match (pool, self.one_open_pool) {
            (0, false) => (true, false),
            (1, false) => (false, true),
            _ => pick(
                &mut self.rng,
                &[(true, true), (true, true), (true, false), (true, false), (false, true)],
            ),
        };
        let mut addresses = Vec::new();
        if v4 {
            let entries = [
                format!(
                    "10.{pool}.0.1-10.{pool}.0.{}",
                    self.rng.random_range(1..=if self.crowded { 2 } else { 4 })
                ),
                format!("10.{pool}.0.9/32"),
                format!("10.{pool}.1.0/30"),
                format!("10.{pool}.2.254-10.{pool}.3.1"),
                format!("10.{pool}.4.0/28"),
            ];
            addresses.extend(self.entries(&entries));
        }
        if v6 {
            let entries = [
                format!("fd00:{pool}:2::5/128"),
                format!("fd00:{pool}::1:1-fd00:{pool}::1:2"),
                format!("fd00:{pool}::/126"),
                // A small one must not follow this.
                format!("fd00:{pool}:1::/64"),
            ];
            addresses.extend(self.entries(&entries));
        }
        let auto_assign = match pool {
            0 => true,
            1 => !self.one_open_pool,
            2..5 => self.rng.random_bool(0.9),
            _ => false,
        };
        let mut spec = json!({"addresses": addresses, "autoAssign": auto_assign});
        if self.rng.random_bool(0.2) {
            spec["avoidBuggyIPs"] = true.into();
        }
        if (2..5).contains(&pool) || (pool == 5 && self.rng.random_bool(0.3)) {
            spec["serviceAllocation"] = self.service_allocation(pool);
        }
        Object::new(
            Id { kind: Kind::Pool, namespace: SYSTEM.to_owned(), name: name.0.clone() },
            json!({"spec": spec}),
        )
    }

    /// One or two of them. The first two are small.
    fn entries(&mut self, entries: &[String]) -> Vec<String> {
        if self.crowded { some(&mut self.rng, &entries[..2], 1) } else { some(&mut self.rng, entries, 2) }
    }

    fn service_allocation(&mut self, pool: u8) -> Value {
        let priority = self.priorities[usize::from(pool) % 3];
        let mut allocation = json!({"priority": priority});
        let rng = &mut self.rng;
        if rng.random_bool(0.4) {
            allocation["namespaces"] = pick(rng, &[json!(["a"]), json!(["b"]), json!(["a", "b"])]);
        }
        // Some namespace has each of these labels at any time.
        if rng.random_bool(0.3) {
            let label = pick(rng, &["gold", "silver"]);
            allocation["namespaceSelectors"] = json!([{"matchLabels": {label: "yes"}}]);
        }
        if rng.random_bool(0.4) {
            let selectors = [
                json!([{"matchLabels": {"app": "web"}}]),
                json!([{"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}]),
                json!([{"matchLabels": {"app": "none"}}, {"matchLabels": {"app": "db"}}]),
                json!([{"matchExpressions": [{"key": "app", "operator": "Exists"}]}]),
            ];
            allocation["serviceSelectors"] = pick(rng, &selectors);
        }
        allocation
    }

    fn delete_pool(&mut self) -> Option<Step> {
        let pool = self.existing_pool()?;
        let PoolName(name) = self.pools.remove(&pool)?;
        Some(Step::Delete(Id { kind: Kind::Pool, namespace: SYSTEM.to_owned(), name }))
    }

    fn replace_pool(&mut self) -> Option<Step> {
        let pool = self.existing_pool()?;
        let PoolName(old) = self.pools.remove(&pool)?;
        let first = if old.starts_with('p') { 'q' } else { 'p' };
        let name = PoolName(format!("{first}{pool}"));
        self.pools.insert(pool, name.clone());
        let new = self.pool(pool, &name);
        Some(Step::Replace { old: Id { name: old, ..new.id.clone() }, new })
    }

    fn existing_pool(&mut self) -> Option<u8> {
        let pools: Vec<u8> = self.pools.keys().copied().collect();
        pools.choose(&mut self.rng).copied()
    }

    fn label_namespace(&mut self) -> Step {
        let name = pick(&mut self.rng, &["a", "b"]).to_owned();
        let labels = ["gold", "silver"].into_iter().filter(|_| self.rng.random_bool(0.5));
        let labels: BTreeMap<&str, &str> = labels.map(|label| (label, "yes")).collect();
        namespace(name, json!(labels))
    }

    fn create_service(&mut self) -> Step {
        let number = self.rng.random_range(0..SERVICES);
        let mut service = self.random_service();
        if let (Some(_), Some(before)) = (self.class, self.services.get(&number)) {
            // A Service that leaves the class is cleaned up by FerroLB only.
            (service.type_, service.class) = (before.type_, before.class);
        }
        self.services.insert(number, service);
        self.write_service(number)
    }

    fn edit_service(&mut self) -> Option<Step> {
        let number = self.existing_service()?;
        let mut service = self.services.get(&number)?.clone();
        let other = self.random_service();
        for _ in 0..self.rng.random_range(1..=2) {
            let other = other.clone();
            match self.rng.random_range(0..8) {
                0 => service.stack = self.other_policy(service.stack),
                1 => service.ports = other.ports,
                2 => service.app = other.app,
                3 => (service.local, service.selector) = (other.local, other.selector),
                4 => service.key = other.key,
                5 | 6 => (service.wish, service.spelling) = (other.wish, other.spelling),
                _ if self.class.is_none() => service.type_ = other.type_,
                _ => {}
            }
        }
        self.services.insert(number, service);
        Some(self.write_service(number))
    }

    fn delete_service(&mut self) -> Option<Step> {
        let number = self.existing_service()?;
        self.services.remove(&number);
        Some(Step::Delete(service_name(number)))
    }

    fn edit_status(&mut self) -> Option<Step> {
        let number = self.existing_service()?;
        let ips = match self.rng.random_range(0..6) {
            0 => Vec::new(),
            1 => vec!["203.0.113.7".to_owned()],
            2 => vec![self.v4(), self.v6()],
            3 => vec![self.v6()],
            4 => vec![self.v4(), self.v4()],
            _ => vec![self.v4()],
        };
        Some(Step::Status { service: service_name(number), ingress: ingress(&ips) })
    }

    fn existing_service(&mut self) -> Option<u8> {
        let services: Vec<u8> = self.services.keys().copied().collect();
        services.choose(&mut self.rng).copied()
    }

    fn random_service(&mut self) -> Service {
        let class = match (self.class, self.rng.random_range(0..10)) {
            (Some(class), 0..8) => Some(class),
            (None, 0) => Some("example.com/other"),
            _ => None,
        };
        let (wish, spelling) = (self.wish(), self.spelling());
        let rng = &mut self.rng;
        Service {
            type_: pick(
                rng,
                &["LoadBalancer", "LoadBalancer", "LoadBalancer", "LoadBalancer", "ClusterIP", "NodePort"],
            ),
            stack: pick(
                rng,
                &[
                    Stack::Single("IPv4"),
                    Stack::Single("IPv4"),
                    Stack::Single("IPv4"),
                    Stack::Single("IPv6"),
                    Stack::Prefer("IPv4"),
                    Stack::Prefer("IPv4"),
                    Stack::Prefer("IPv6"),
                    Stack::Require("IPv4"),
                    Stack::Require("IPv6"),
                ],
            ),
            ports: some(rng, &[("TCP", 80), ("TCP", 443), ("UDP", 80), ("TCP", 8080)], 2),
            app: pick(rng, &["web", "db", "other"]),
            selector: pick(rng, &["x", "y"]),
            local: rng.random_bool(0.25),
            key: if self.crowded {
                pick(rng, &[None, Some("k1"), Some("k1"), Some("k1"), Some("k2"), Some("k2")])
            } else {
                pick(rng, &[None, None, Some("k1"), Some("k1"), Some("k2"), Some("")])
            },
            wish,
            spelling,
            class,
        }
    }

    /// Primary families cannot change.
    fn other_policy(&mut self, stack: Stack) -> Stack {
        let (Stack::Single(primary) | Stack::Prefer(primary) | Stack::Require(primary)) = stack;
        pick(&mut self.rng, &[Stack::Single(primary), Stack::Prefer(primary), Stack::Require(primary)])
    }

    fn wish(&mut self) -> Wish {
        match self.rng.random_range(0..24) {
            0..3 => Wish::Pool(self.any_pool()),
            3..7 => Wish::Ips(self.ips()),
            7 => Wish::PoolAndIps(self.any_pool(), self.ips()),
            8 | 9 => Wish::Field(self.ips()),
            10 => Wish::FieldAndIps(self.ips(), self.ips()),
            _ => Wish::Nothing,
        }
    }

    fn any_pool(&mut self) -> String {
        let names: Vec<String> = self.pools.values().map(|name| name.0.clone()).collect();
        match names.choose(&mut self.rng) {
            Some(name) if self.rng.random_bool(0.9) => name.clone(),
            _ => (pick(&mut self.rng, &["missing", ""])).to_owned(),
        }
    }

    fn ips(&mut self) -> String {
        match self.rng.random_range(0..16) {
            0..7 => self.v4(),
            7 | 8 => self.v6(),
            9..11 => {
                let pool = self.rng.random_range(0..POOLS);
                format!("{},{}", self.v4_of(pool), self.v6_of(pool))
            }
            11 => format!("{} , {}", self.v6(), self.v4()),
            12 => format!("::ffff:{}", self.v4()),
            13 => format!("{},{}", self.v4(), self.v4()),
            14 => format!(" {} ", self.v4()),
            _ => {
                (pick(&mut self.rng, &["nonsense", "203.0.113.9", "10.0.0.1,", "", "10.0.0.1/32"])).to_owned()
            }
        }
    }

    fn v4(&mut self) -> String {
        let pool = self.rng.random_range(0..POOLS);
        self.v4_of(pool)
    }

    fn v6(&mut self) -> String {
        let pool = self.rng.random_range(0..POOLS);
        self.v6_of(pool)
    }

    fn v4_of(&mut self, pool: u8) -> String {
        let (third, fourth) = pick(
            &mut self.rng,
            &[(0, 1), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (4, 0), (4, 2), (2, 255), (0, 9)],
        );
        format!("10.{pool}.{third}.{fourth}")
    }

    fn v6_of(&mut self, pool: u8) -> String {
        let rest = pick(&mut self.rng, &["::", "::1", "::1", "::1:1", ":1::7", ":2::5"]);
        format!("fd00:{pool}{rest}")
    }

    fn spelling(&mut self) -> Spelling {
        match self.rng.random_range(0..10) {
            0 => Spelling::Old,
            1 if self.rng.random_bool(0.3) => Spelling::OldBesideEmpty,
            _ => Spelling::New,
        }
    }

    fn write_service(&mut self, number: u8) -> Step {
        let service = self.services.get_mut(&number).expect("it was just put there");
        if let (Stack::Prefer(primary), true) = (service.stack, service.wish.is_for_one_address()) {
            service.stack = Stack::Single(primary);
        }
        Step::Apply(Object::new(service_name(number), service.manifest()))
    }
}

fn service_name(number: u8) -> Id {
    let namespace = NAMESPACES[usize::from(number % 2)].to_owned();
    Id { kind: Kind::Service, namespace, name: format!("s{number}") }
}

fn namespace(name: String, labels: Value) -> Step {
    let name = Id { kind: Kind::Namespace, namespace: String::new(), name };
    Step::Apply(Object::new(name, json!({"metadata": {"labels": labels}})))
}

fn pick<T: Clone>(rng: &mut StdRng, from: &[T]) -> T {
    from.choose(rng).expect("there is something to choose from").clone()
}

/// At least one and at most so many, in their order.
fn some<T: Clone>(rng: &mut StdRng, from: &[T], most: usize) -> Vec<T> {
    let count = rng.random_range(1..=most);
    let mut chosen = rand::seq::index::sample(rng, from.len(), count).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().map(|i| from[i].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_scenario_every_time() {
        let (one, again) = (scenario(7, 30), scenario(7, 30));
        assert_eq!(one.steps, again.steps);
        assert_eq!(one.steps.len(), 30);
        assert_ne!(one.steps, scenario(8, 30).steps);
    }
}
