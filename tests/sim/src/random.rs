//! A world and what happens in it, drawn from a seed.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use members::Preset;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::{Setup, Violation, Weather, World, faults};

/// For so long nothing happens at first, so that everybody finds each other.
const START: Duration = Duration::from_secs(3);
/// How long things happen.
const TROUBLE: Duration = Duration::from_secs(20);
/// At the end nothing happens any more, until all that was broken has been mended and the world found its place.
const END: Duration = Duration::from_secs(16);

/// A seed that violates an invariant, or makes something panic.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
    /// What led to it.
    pub story: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what, story } = self;
        write!(f, "{story}seed {seed}: {what}\nSIM_SEED={seed} cargo test -p sim random -- --nocapture")
    }
}

/// Runs the world of a seed; its story, or what is wrong with it.
pub fn simulate(seed: u64) -> Result<String, Failure> {
    let mut random = StdRng::seed_from_u64(seed);
    let setup = setup(&mut random);
    let heading = format!("{setup:?}\n");
    let preset = setup.preset;
    let mut world = World::new(setup, seed);
    world.plan(faults::plan(&mut random, world.size(), preset, START, START + TROUBLE));
    let ran = catch_unwind(AssertUnwindSafe(|| world.run(START + TROUBLE + END)));
    let story = format!("{heading}{}", world.trace());
    let what = match ran {
        Ok(Ok(())) => return Ok(story),
        Ok(Err(Violation(what))) => what,
        Err(panic) => format!("panic: {}", message(&*panic)),
    };
    Err(Failure { seed, what, story })
}

fn setup(random: &mut StdRng) -> Setup {
    let presets = [Preset::Default, Preset::Default, Preset::Fast, Preset::Relaxed];
    Setup {
        nodes: random.random_range(1..=6),
        clients: random.random_range(1..=3),
        switches: random.random_range(1..=3),
        services: random.random_range(1..=6),
        preset: *presets.choose(random).expect("there are some"),
        weather: if random.random_bool(0.3) { Weather::BAD } else { Weather::FINE },
        sealed: random.random_bool(0.1),
        request_interval: Duration::from_millis(100),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of an unknown kind")
}
