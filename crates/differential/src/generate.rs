//! Random scenarios.
//!
//! What MetalLB leaves to chance is kept out: every pinned pool has a priority of its own, and at most one pool
//! of each family is open to everybody. A priority below zero is that of the only pinned pool.

mod pools;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use self::pools::POOLS;
use crate::service::Service;
use crate::side::CLASS;
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
        if world.restless && world.rng.random_bool(0.5) {
            steps.push(Step::Restart { meanwhile: Vec::new() });
        }
        steps.extend(world.step());
    }
    steps.truncate(length);
    Scenario { class: world.class, steps }
}

/// What has been written so far.
struct World {
    rng: StdRng,
    class: Option<&'static str>,
    /// Whether pool 0 is open in both families, else in IPv4 only and pool 1 in IPv6.
    one_open_pool: bool,
    priorities: Priorities,
    /// Few addresses, and many that would share them.
    crowded: bool,
    /// Whether the controllers are restarted again and again.
    restless: bool,
    /// Pools by number, as they were written last; the name changes when one is replaced by another.
    pools: BTreeMap<u8, Object>,
    /// Pools that have been deleted.
    gone_pools: BTreeMap<u8, Object>,
    services: BTreeMap<u8, Service>,
    /// Services that have been deleted and are held by a finalizer.
    held: BTreeSet<u8>,
}

/// Which pools are pinned, and how they rank.
#[derive(Clone, Copy)]
enum Priorities {
    /// Several, each with a priority of its own.
    Distinct([i32; 3]),
    /// Only one, with a priority below zero.
    Negative(i32),
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let class = rng.random_bool(0.15).then_some(CLASS);
        let one_open_pool = rng.random_bool(0.6);
        let orders = [
            Priorities::Distinct([1, 5, 0]),
            Priorities::Distinct([0, 1, 5]),
            Priorities::Distinct([5, 0, 1]),
            Priorities::Distinct([2, 1, 3]),
            Priorities::Negative(-1),
        ];
        let priorities = pick(&mut rng, &orders);
        let crowded = rng.random_bool(0.4);
        let restless = rng.random_bool(0.5);
        Self {
            rng,
            class,
            one_open_pool,
            priorities,
            crowded,
            restless,
            pools: BTreeMap::new(),
            gone_pools: BTreeMap::new(),
            services: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    fn step(&mut self) -> Option<Step> {
        match self.rng.random_range(0..100) {
            0..18 => Some(self.create_service()),
            18..28 => self.edit_service(),
            28..37 => self.change_families(),
            37..43 => self.annotate_service(),
            43..50 => self.delete_service(),
            50..56 => self.release_service(),
            56..62 => {
                let pool = self.rng.random_range(0..POOLS);
                Some(self.write_pool(pool))
            }
            62..70 => self.change_pool_families(),
            70..74 => self.delete_pool(),
            74..81 => self.bring_pool_back(),
            81..87 => self.remake_pool(),
            87..90 => self.rename_pool(),
            90..92 => self.replace_pool(),
            92..94 => Some(self.label_namespace()),
            94..97 => self.edit_status(),
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

    fn label_namespace(&mut self) -> Step {
        let name = pick(&mut self.rng, &["a", "b"]).to_owned();
        let labels = ["gold", "silver"].into_iter().filter(|_| self.rng.random_bool(0.5));
        let labels: BTreeMap<&str, &str> = labels.map(|label| (label, "yes")).collect();
        namespace(name, json!(labels))
    }
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
