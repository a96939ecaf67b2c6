//! Speakers and routers in a simulated world: the real pure crates ([`speaker_core`], [`peering`], [`bgp`], [`bfd`]) on nodes,
//! and routers that read what they say by another's decoder, keep routes of peers that restart (RFC 4724), and forget those
//! of peers that are silent.
//!
//! ```text
//! cargo test -p sim routers                                   a hundred seeds
//! ROUTER_SEEDS=10000 cargo test --release -p sim routers      as every night; with ROUTER_SEEDS=300..800 those seeds
//! ROUTER_SEED=17 cargo test -p sim routers -- --nocapture     one seed, with its trace
//! ```
//!
//! A world has parts, and each shows something else:
//!
//! 1. things happen: nodes without power, cut links, programs killed, routers switched off, objects that change. No router
//!    has a route to a node that is gone for longer than it takes to see that;
//! 2. all is mended and nothing happens: every router has the routes that follow from the objects, and no others;
//! 3. objects change: no session ends, and no route goes for a change of its attributes;
//! 4. programs are replaced one by one: no router that keeps routes loses one;
//! 5. one leaves: its routes are marked first (RFC 8326), then withdrawn.

mod check;
mod objects;
mod plan;
mod router;
mod speaker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::random::message;
use crate::{Failure, Violation};
use plan::Plan;
use world::World;

/// Runs the world of a seed; its story, or what is wrong with it.
pub fn simulate(seed: u64) -> Result<String, Failure> {
    let mut random = StdRng::seed_from_u64(seed);
    let plan = Plan::draw(&mut random);
    let heading = format!("{:?}\n", plan.setup);
    let mut world = World::new(&plan.setup, seed);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run(&plan)));
    let story = format!("{heading}{}", world.trace());
    let what = match ran {
        Ok(Ok(())) => return Ok(story),
        Ok(Err(Violation(what))) => what,
        Err(panic) => format!("panic: {}", message(&*panic)),
    };
    let again = format!("ROUTER_SEED={seed} cargo test -p sim routers -- --nocapture");
    Err(Failure { seed, what, story, again })
}
