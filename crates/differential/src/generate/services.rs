//! Random Services, and what happens to them.

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::pools::POOLS;
use super::{World, pick, some};
use crate::service::{Service, Spelling, Stack, Wish};
use crate::side::{NAMESPACES, ingress};
use crate::step::{Id, Kind, Manager, Object, Step};

const SERVICES: u8 = 6;

impl World {
    pub(super) fn create_service(&mut self) -> Step {
        let number = self.rng.random_range(0..SERVICES);
        if self.held.remove(&number) {
            return Step::Release(service_name(number));
        }
        let mut service = self.random_service();
        if let (Some(_), Some(before)) = (self.class, self.services.get(&number)) {
            // A Service that leaves the class is cleaned up by FerroLB only.
            (service.type_, service.class) = (before.type_, before.class);
        }
        service.annotated = self.services.get(&number).is_some_and(|before| before.annotated);
        self.services.insert(number, service);
        self.write_service(number)
    }

    pub(super) fn edit_service(&mut self) -> Option<Step> {
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

    /// Families alone, and the policy.
    pub(super) fn change_families(&mut self) -> Option<Step> {
        let number = self.existing_service()?;
        let mut service = self.services.get(&number)?.clone();
        service.stack = self.other_policy(service.stack);
        self.services.insert(number, service);
        Some(self.write_service(number))
    }

    /// A field manager of its own asks for something, or for nothing any more. What the manifest asks for too, that one
    /// asks for from now on.
    pub(super) fn annotate_service(&mut self) -> Option<Step> {
        let number = self.existing_service()?;
        let before = self.services.get(&number)?;
        // Where there may be no second address, who prefers two does not ask for one.
        let prefers = matches!(before.stack, Stack::Prefer(_));
        let annotations = match self.rng.random_range(0..4) {
            0 if !(prefers && self.crowded) => json!({"metallb.io/loadBalancerIPs": self.ips()}),
            0 | 1 => json!({"metallb.io/allow-shared-ip": pick(&mut self.rng, &["k1", "k2"])}),
            2 => json!({"metallb.io/address-pool": self.any_pool()}),
            _ => json!({}),
        };
        self.services.get_mut(&number)?.annotated = annotations.get("metallb.io/loadBalancerIPs").is_some();
        let manifest = json!({"metadata": {"annotations": annotations}});
        Some(Step::Apply(Object { manager: Manager::Other, ..Object::new(service_name(number), manifest) }))
    }

    pub(super) fn delete_service(&mut self) -> Option<Step> {
        let number = self.existing_service()?;
        if self.services.remove(&number)?.finalizer {
            self.held.insert(number);
        }
        Some(Step::Delete(service_name(number)))
    }

    pub(super) fn release_service(&mut self) -> Option<Step> {
        let held: Vec<u8> = self.held.iter().copied().collect();
        let number = *held.choose(&mut self.rng)?;
        self.held.remove(&number);
        Some(Step::Release(service_name(number)))
    }

    pub(super) fn edit_status(&mut self) -> Option<Step> {
        let number = self.existing_service()?;
        if self.services.get(&number)?.class != self.class {
            // FerroLB gives nobody an address that a Service of another class has.
            return None;
        }
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
            annotated: false,
            finalizer: rng.random_bool(0.4),
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
        let names: Vec<String> = self.pools.values().map(|pool| pool.id.name.clone()).collect();
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
        let asks = service.annotated || service.wish.is_for_one_address();
        if let (Stack::Prefer(primary), true, true) = (service.stack, asks, self.crowded) {
            service.stack = Stack::Single(primary);
        }
        let name = service_name(number);
        let manifest = service.manifest(&name.namespace);
        Step::Apply(Object::new(name, manifest))
    }
}

fn service_name(number: u8) -> Id {
    let namespace = NAMESPACES[usize::from(number % 2)].to_owned();
    Id { kind: Kind::Service, namespace, name: format!("s{number}") }
}
