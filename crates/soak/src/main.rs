//! Plays a script of faults in a lab with FerroLB. `cargo xtask soak` builds everything and starts this.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::Parser;
use e2e::objects;
use lab::{Lab, Options, chart};
use soak::fault::Kind;
use soak::{Outcome, Plan, report};

/// Play a bad month in a lab, and tell what FerroLB made of it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask soak")]
struct Cli {
    /// The image of FerroLB
    #[arg(long, value_name = "PATH", hide = true)]
    image: PathBuf,
    /// How long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// What the script is made of; the report says it [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Make faults of these kinds only
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    only: Vec<Kind>,
    /// Where to leave FerroLB's logs when something is violated [default: target/soak/SEED]
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
}

fn main() -> ExitCode {
    match soak(Cli::parse()) {
        Ok(Outcome { verdict, .. }) if verdict.violations.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(Cli { image, minutes, seed, only, logs }: Cli) -> Result<Outcome> {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = seed.unwrap_or_else(|| now().as_secs());
    let kinds = if only.is_empty() { Kind::ALL.to_vec() } else { only };
    let logs = logs.unwrap_or_else(|| PathBuf::from(format!("target/soak/{seed}")));
    let lab = Lab::start(Options { name: "soak".parse()?, ..Options::default() })?;
    chart::install(&lab, &image)?;
    lab.apply(objects::BACKEND)?;
    e2e::wait_until_well(&lab)?;
    let plan = Plan { time: Duration::from_mins(minutes), seed, kinds };
    eprintln!("seed {seed}, {minutes} minutes");
    let outcome = soak::run(&lab, &plan, Some(&logs)).context("playing the script")?;
    println!("seed {seed}, {minutes} minutes\n\n{}", report::render(&outcome.verdict, &outcome.seen));
    if !outcome.verdict.violations.is_empty() {
        println!("FerroLB's logs are in {}", logs.display());
    }
    Ok(outcome)
}
