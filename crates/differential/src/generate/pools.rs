//! Random pools, and what happens to them.

use bench::stage::SYSTEM;
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::{Priorities, World, pick, some};
use crate::step::{Id, Kind, Manager, Object, Step};

pub(super) const POOLS: u8 = 6;

impl World {
    pub(super) fn maybe_pool(&mut self, pool: u8) -> Option<Step> {
        let chance = if pool == 0 { 0.9 } else { 0.4 };
        self.rng.random_bool(chance).then(|| self.write_pool(pool))
    }

    pub(super) fn write_pool(&mut self, pool: u8) -> Step {
        let name = self.pools.get(&pool).map_or_else(|| format!("p{pool}"), |before| before.id.name.clone());
        let object = self.pool(pool, name);
        self.put(pool, object)
    }

    /// Applies it, by one field manager or another.
    fn put(&mut self, pool: u8, mut object: Object) -> Step {
        object.manager = pick(&mut self.rng, &[Manager::Usual, Manager::Other]);
        self.gone_pools.remove(&pool);
        self.pools.insert(pool, object.clone());
        Step::Apply(object)
    }

    fn pool(&mut self, pool: u8, name: String) -> Object {
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
                // Some are written with bits of a host, which mean nothing.
                format!("10.{pool}.1.{}/30", self.rng.random_range(0..4)),
                format!("10.{pool}.2.254-10.{pool}.3.1"),
                format!("10.{pool}.4.{}/28", pick(&mut self.rng, &[0, 0, 5, 15])),
            ];
            addresses.extend(self.entries(&entries));
        }
        if v6 {
            let entries = [
                format!("fd00:{pool}:2::5/128"),
                format!("fd00:{pool}::1:1-fd00:{pool}::1:2"),
                format!("fd00:{pool}::{}/126", pick(&mut self.rng, &["", "", "2"])),
                // A small one must not follow this.
                format!("fd00:{pool}:1::/64"),
            ];
            addresses.extend(self.entries(&entries));
        }
        let auto_assign = match pool {
            0 => true,
            1 => !self.one_open_pool,
            2 => self.rng.random_bool(0.9),
            3..5 => matches!(self.priorities, Priorities::Distinct(_)) && self.rng.random_bool(0.9),
            _ => false,
        };
        let mut spec = json!({"addresses": addresses, "autoAssign": auto_assign});
        if self.rng.random_bool(0.2) {
            spec["avoidBuggyIPs"] = true.into();
        }
        if (2..5).contains(&pool) || (pool == 5 && self.rng.random_bool(0.3)) {
            spec["serviceAllocation"] = self.service_allocation(pool);
        }
        Object::new(Id { kind: Kind::Pool, namespace: SYSTEM.to_owned(), name }, json!({"spec": spec}))
    }

    /// One or two of them. The first two are small.
    fn entries(&mut self, entries: &[String]) -> Vec<String> {
        if self.crowded { some(&mut self.rng, &entries[..2], 1) } else { some(&mut self.rng, entries, 2) }
    }

    fn service_allocation(&mut self, pool: u8) -> Value {
        let priority = match self.priorities {
            Priorities::Distinct(priorities) => priorities[usize::from(pool) % 3],
            Priorities::Negative(priority) => priority,
        };
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

    pub(super) fn delete_pool(&mut self) -> Option<Step> {
        let pool = self.existing_pool()?;
        let before = self.pools.remove(&pool)?;
        self.gone_pools.insert(pool, before.clone());
        Some(Step::Delete(before.id))
    }

    /// One that was deleted a while ago is made again as it was.
    pub(super) fn bring_pool_back(&mut self) -> Option<Step> {
        let gone: Vec<u8> = self.gone_pools.keys().copied().collect();
        let pool = *gone.choose(&mut self.rng)?;
        let object = self.gone_pools.remove(&pool)?;
        Some(self.put(pool, object))
    }

    /// One is deleted and made again as it was, as tools for deployment do.
    pub(super) fn remake_pool(&mut self) -> Option<Step> {
        let pool = self.existing_pool()?;
        let object = self.pools.get(&pool)?.clone();
        let delete = Step::Delete(object.id.clone());
        Some(Step::AtOnce(vec![delete, self.put(pool, object)]))
    }

    /// The same pool has another name at once.
    pub(super) fn rename_pool(&mut self) -> Option<Step> {
        let pool = self.existing_pool()?;
        let old = self.pools.get(&pool)?.clone();
        let new = Object::new(Id { name: other_name(&old.id.name, pool), ..old.id.clone() }, old.manifest);
        Some(Step::AtOnce(vec![Step::Delete(old.id), self.put(pool, new)]))
    }

    /// Another that has the same addresses, or some of them, is there for a while before the old one goes.
    pub(super) fn replace_pool(&mut self) -> Option<Step> {
        let pool = self.existing_pool()?;
        let old = self.pools.remove(&pool)?.id;
        let new = self.pool(pool, other_name(&old.name, pool));
        self.pools.insert(pool, new.clone());
        Some(Step::Replace { old, new })
    }

    /// A pool loses its IPv6 addresses, or gets some.
    pub(super) fn change_pool_families(&mut self) -> Option<Step> {
        let pool = self.existing_pool()?;
        let mut object = self.pools.get(&pool)?.clone();
        let addresses = object.manifest["spec"]["addresses"].as_array_mut()?;
        let before = addresses.len();
        addresses.retain(|entry| !is_v6(entry));
        if addresses.is_empty() || (!self.one_open_pool && pool < 2) {
            return None;
        }
        if addresses.len() == before {
            let small = format!("fd00:{pool}::/126");
            addresses.push(small.into());
        }
        Some(self.put(pool, object))
    }

    fn existing_pool(&mut self) -> Option<u8> {
        let pools: Vec<u8> = self.pools.keys().copied().collect();
        pools.choose(&mut self.rng).copied()
    }
}

fn other_name(name: &str, pool: u8) -> String {
    let first = if name.starts_with('p') { 'q' } else { 'p' };
    format!("{first}{pool}")
}

fn is_v6(entry: &Value) -> bool {
    entry.as_str().is_some_and(|entry| entry.contains(':'))
}
