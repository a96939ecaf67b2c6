//! Everything that reads what comes from the network or the API server, fed by libFuzzer. `FERROLB_FUZZ_TARGET` says
//! which; see README.md.

#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

/// The one that is asked for. Otherwise their names are printed, for whoever runs them all.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("FERROLB_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    let Some((_, target)) = found else {
        TARGETS.iter().for_each(|(name, _)| println!("{name}"));
        std::process::exit(0);
    };
    *target
});

fuzz_target!(|input: &[u8]| TARGET(input));
