//! A world and what happens in it, drawn from a seed.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::{Violation, World, plan};

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
    /// The command that tries it again.
    pub again: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what, story, again } = self;
        write!(f, "{story}seed {seed}: {what}\n{again}")
    }
}

/// Runs the world of a seed; its story, or what is wrong with it.
pub fn simulate(seed: u64) -> Result<String, Failure> {
    let mut random = StdRng::seed_from_u64(seed);
    let setup = plan::setup(&mut random);
    let heading = format!("{setup:?}\n");
    let plan = plan::plan(&mut random, &setup, START, START + TROUBLE);
    let mut world = World::new(setup, seed);
    world.plan(plan);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run(START + TROUBLE + END)));
    let story = format!("{heading}{}", world.trace());
    let what = match ran {
        Ok(Ok(())) => return Ok(story),
        Ok(Err(Violation(what))) => what,
        Err(panic) => format!("panic: {}", message(&*panic)),
    };
    let again = format!("SIM_SEED={seed} cargo test -p sim invariants -- --nocapture");
    Err(Failure { seed, what, story, again })
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of an unknown kind")
}
