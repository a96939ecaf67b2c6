//! The short form of `cargo xtask soak`: always the same script, of faults that are soon over.

use std::time::Duration;

use anyhow::ensure;
use soak::fault::Kind;
use soak::{Plan, report};

use crate::with_cluster;

/// Enough for each of the kinds.
const TIME: Duration = Duration::from_secs(110);

#[test]
fn faults_one_after_another_cost_no_more_than_each_may() {
    with_cluster(|cluster| {
        let plan = Plan { time: TIME, seed: 15, kinds: Kind::SHORT.to_vec() };
        let outcome = soak::run(&cluster.lab, &plan, None)?;
        let text = report::render(&outcome.verdict, &outcome.seen);
        eprintln!("{text}");
        ensure!(outcome.verdict.violations.is_empty(), "{text}");
        Ok(())
    });
}
