//! FerroLB's controller and MetalLB's, told the same random stories: where what they make of it differs, the
//! story is cut down to the steps that matter.
//!
//! `cargo xtask differential` builds everything and starts this.

mod compare;
mod excused;
mod generate;
mod outcome;
mod parting;
mod service;
mod shrink;
mod side;
mod step;
mod wanted;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bench::contender::Contender;
use clap::Parser;
use lab::tools::{Program, Tools};

use crate::compare::{Arena, Patience, Tally, Verdict};
use crate::generate::{Scenario, scenario};
use crate::outcome::Difference;
use crate::wanted::WANTED;

/// Compare the outcomes of FerroLB's controller with those of MetalLB's, for random manifests and changes.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask differential")]
struct Cli {
    /// The program `ferrolb` to compare [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    ferrolb: Option<PathBuf>,
    /// How many stories
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    seeds: u64,
    /// How many steps each has
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    steps: usize,
    /// The first story; the same number is always the same story
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Print a difference as it was found, without looking for a shorter way to it
    #[arg(long)]
    no_shrink: bool,
    /// Print the stories, and do nothing else
    #[arg(long)]
    print: bool,
    /// Print the differences that are known and wanted, and do nothing else
    #[arg(long)]
    wanted: bool,
}

impl Cli {
    fn stories(&self) -> impl Iterator<Item = (u64, Scenario)> + use<> {
        let steps = self.steps;
        (self.seed..self.seed + self.seeds).map(move |seed| (seed, scenario(seed, steps)))
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    if cli.wanted {
        WANTED.iter().for_each(|wanted| println!("{:?}: {}; {}", wanted.how, wanted.what, wanted.why));
        return Ok(ExitCode::SUCCESS);
    }
    if cli.print {
        cli.stories().for_each(|(seed, story)| print(&format!("seed {seed}"), &story));
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        result = compare(cli) => result,
        stop = kubekit::stop_requested() => {
            stop.context("waiting for signals")?;
            // By now everything that was started has been dropped, which ends it.
            bail!("interrupted")
        }
    }
}

async fn compare(cli: Cli) -> Result<ExitCode> {
    let tools = Tools::ensure(&[Program::MetallbController])?;
    let metallb = Contender::MetalLb(tools.path(Program::MetallbController).to_owned());
    let beside = || env::current_exe().map(|this| this.with_file_name("ferrolb"));
    let ferrolb = cli.ferrolb.clone().map_or_else(beside, Ok).context("finding the program `ferrolb`")?;
    let mut arena = Arena::start(Contender::FerroLb(ferrolb), metallb).await?;
    let (mut different, mut cut_short, mut tally) = (Vec::new(), 0, Tally::default());
    for (seed, scenario) in cli.stories() {
        let (verdict, this) = arena.play(&scenario, Patience::NORMAL).await?;
        tally += this;
        match verdict {
            Verdict::Same => println!("seed {seed}: the same"),
            Verdict::Chance { at, why } => {
                cut_short += 1;
                println!("seed {seed}: the same until {why} after step {at}");
            }
            Verdict::Different { at, differences } => {
                different.push(seed);
                println!("seed {seed}: different after step {at}");
                show(&differences);
                if !cli.no_shrink {
                    minimise(&mut arena, &scenario, at).await?;
                }
            }
        }
    }
    println!(
        "{} stories: {} different {different:?}, {cut_short} cut short by chance; MetalLB had to be woken {} times, \
         FerroLB gave back {} addresses and left {} Services alone that were being deleted",
        cli.seeds,
        different.len(),
        tally.woken,
        tally.given_back,
        tally.deleting,
    );
    Ok(if different.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Looks for the fewest steps after which there still is a difference, and prints them.
async fn minimise(arena: &mut Arena, scenario: &Scenario, at: usize) -> Result<()> {
    let class = scenario.class;
    let mut last = Vec::new();
    let steps = shrink::shrink(scenario.steps[..=at].to_vec(), async |steps| {
        let shorter = Scenario { class, steps: steps.to_vec() };
        let verdict = arena.play(&shorter, Patience::LONG).await?.0;
        let Verdict::Different { differences, .. } = verdict else { return anyhow::Ok(false) };
        last = differences;
        Ok(true)
    })
    .await?;
    if last.is_empty() {
        println!("it did not come again: what was seen depends on the moment");
        return Ok(());
    }
    print(&format!("{} steps are enough", steps.len()), &Scenario { class, steps });
    show(&last);
    println!("---");
    Ok(())
}

fn print(title: &str, Scenario { class, steps }: &Scenario) {
    println!("--- {title}{}", class.map_or_else(String::new, |class| format!(", class {class}")));
    steps.iter().for_each(|step| println!("{step}"));
}

fn show(differences: &[Difference]) {
    differences.iter().for_each(|difference| println!("{difference}"));
}
