//! `cargo xtask fuzz`: feeds every parser with what it has not seen.
//!
//! libFuzzer needs a program that counts which branches are taken. The compiler can do that on any toolchain, by a pass of
//! LLVM; what only nightly ones do, to look for faults in memory, finds nothing in crates without `unsafe`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use images::programs;
use lab::debian;

/// What to feed, and for how long.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// How long each target is fed, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
    /// With how many inputs, if there is time for so many
    #[arg(long, value_name = "NUMBER")]
    inputs: Option<u32>,
    /// How many are fed at a time [default: one for each processor]
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
    /// What the order of the inputs follows from [default: another one in every run]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
    /// Write the inputs that matter into tests/fuzz/seeds, from where every run begins
    #[arg(long)]
    keep: bool,
    /// These targets only
    targets: Vec<String>,
}

impl FuzzArgs {
    /// What is run with the other tests: the same inputs in every run and on every machine, so that a change is not refused
    /// for what another one has brought.
    pub(crate) const IN_TESTS: Self = Self {
        seconds: 60,
        inputs: Some(200_000),
        jobs: None,
        seed: Some(1),
        keep: false,
        targets: Vec::new(),
    };
}

/// Branches, comparisons and where they are: what cargo-fuzz asks the compiler for. `fuzzing` opens what only the targets
/// call.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// What CARGO_ENCODED_RUSTFLAGS separates by.
const SEPARATOR: &str = "\u{1f}";
/// Longer inputs find nothing that these do not, and are slow.
const LONGEST: &str = "-max_len=4096";
/// Seeds that are kept of each target: a start, not a store.
const KEPT: usize = 24;

pub(crate) fn run(arguments: &FuzzArgs) -> Result<()> {
    debian::ensure(debian::FOR_FUZZING)?;
    let fuzzer = Fuzzer::build()?;
    let all = fuzzer.targets()?;
    let unknown = arguments.targets.iter().find(|target| !all.contains(target));
    ensure!(unknown.is_none(), "no target {unknown:?}; there are {}", all.join(", "));
    let wanted = if arguments.targets.is_empty() { all } else { arguments.targets.clone() };
    let jobs = arguments.jobs.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let (queue, results) = (Mutex::new(VecDeque::from(wanted)), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(target) = { queue.lock().expect("nobody panics with it").pop_front() } {
                    let result = fuzzer.feed(&target, arguments);
                    match &result {
                        Ok(figures) => println!("{target}: {figures}"),
                        Err(error) => println!("{target}: {error:#}"),
                    }
                    results.lock().expect("nobody panics with it").push(result);
                }
            });
        }
    });
    let results = results.into_inner().expect("nobody panics with it");
    ensure!(results.iter().all(Result::is_ok), "something was found");
    Ok(())
}

/// The program with all targets in it.
struct Fuzzer {
    program: PathBuf,
    /// Where what belongs to it is kept.
    folder: PathBuf,
    seeds: PathBuf,
}

impl Fuzzer {
    fn build() -> Result<Self> {
        let source = programs::workspace().join("tests/fuzz");
        let folder = programs::workspace().join("target/fuzz");
        let host = host()?;
        let mut cargo = programs::cargo();
        cargo.args(["build", "--release", "--locked", "--target", &host]).current_dir(&source);
        // With a target named, these are not for what runs while building.
        cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join(SEPARATOR)).env("CARGO_TARGET_DIR", &folder);
        let status = cargo.status().context("starting cargo")?;
        ensure!(status.success(), "building the fuzz targets failed");
        let program = folder.join(host).join("release/fuzz");
        Ok(Self { program, folder, seeds: source.join("seeds") })
    }

    fn targets(&self) -> Result<Vec<String>> {
        let mut command = Command::new(&self.program);
        // libFuzzer takes it for a fault that the program ends.
        command.arg(format!("-artifact_prefix={}/", self.folder.display())).arg(self.empty()?);
        let output = command.output().context("starting the fuzzer")?;
        let names: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        ensure!(
            !names.is_empty(),
            "the fuzzer names no targets: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(names)
    }

    /// An input, for a run that ends at the first.
    fn empty(&self) -> Result<PathBuf> {
        let path = self.folder.join("empty");
        fs::write(&path, []).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("FERROLB_FUZZ_TARGET", target).args([LONGEST, "-rss_limit_mb=1024", "-timeout=10"]);
        command
    }

    /// Feeds a target, and says what that came to.
    fn feed(&self, target: &str, arguments: &FuzzArgs) -> Result<String> {
        let corpus = self.folder.join("corpus").join(target);
        // What earlier runs found would make another order of it.
        let corpus =
            if arguments.seed.is_some() { emptied(corpus.with_extension("seeded"))? } else { make(corpus)? };
        let seeds = self.seeds.join(target);
        let artifacts = make(self.folder.join("artifacts"))?;
        let path = self.folder.join(format!("{target}.log"));
        let log = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let mut command = self.command(target);
        command.arg(format!("-max_total_time={}", arguments.seconds));
        command.args(arguments.inputs.map(|inputs| format!("-runs={inputs}")));
        command.args(arguments.seed.map(|seed| format!("-seed={seed}")));
        command.arg(format!("-artifact_prefix={}/{target}-", artifacts.display())).arg(&corpus);
        command.args(seeds.is_dir().then_some(&seeds));
        let both = log.try_clone().context("writing standard output and error to one file")?;
        let status = command.stdout(both).stderr(log).status().context("starting the fuzzer")?;
        let said = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        if !status.success() {
            let end = ending(&said).join("\n  ");
            bail!(
                "something was found; with the input named below, run FERROLB_FUZZ_TARGET={target} {} FILE\n  {end}",
                self.program.display()
            );
        }
        if arguments.keep {
            self.keep(target, &corpus)?;
        }
        figures(&said).context("the fuzzer gives no figures")
    }

    /// Puts the smallest inputs that take different branches where every run begins.
    fn keep(&self, target: &str, corpus: &Path) -> Result<()> {
        let merged = self.folder.join("merged").join(target);
        let merged = emptied(merged)?;
        let seeds = make(self.seeds.join(target))?;
        let output = self.command(target).arg("-merge=1").args([&merged, &seeds, corpus]).output();
        ensure!(output.context("starting the fuzzer")?.status.success(), "merging failed");
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&merged).context("reading what was merged")? {
            let entry = entry?;
            found.push((entry.metadata()?.len(), entry.path()));
        }
        found.sort();
        // Spread over all lengths: the longest reach deepest.
        let step = found.len().div_ceil(KEPT).max(1);
        for (_, path) in found.iter().rev().step_by(step) {
            let name = path.file_name().context("an input is a file")?;
            fs::copy(path, seeds.join(name)).context("keeping an input")?;
        }
        Ok(())
    }
}

/// What the fuzzer says at its end: what was found, and with which input, without the frames of the stack.
fn ending(said: &str) -> Vec<&str> {
    let is_frame = |line: &str| {
        let line = line.trim_start();
        line.starts_with("at ") || line.split(':').next().is_some_and(|index| index.parse::<u32>().is_ok())
    };
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('#') && !is_frame(line)).collect();
    lines[lines.len().saturating_sub(20)..].to_vec()
}

/// How many inputs were tried, and how many branches were taken.
fn figures(said: &str) -> Option<String> {
    let done = said.lines().find_map(|line| line.strip_prefix("Done "))?;
    let (tried, time) = done.split_once(" runs in ")?;
    let tried: u64 = tried.parse().ok()?;
    let seconds: u64 = time.split_whitespace().next()?.parse().ok()?;
    let last = said.lines().rev().find(|line| line.contains(" cov: "))?;
    let branches: u64 = last.split(" cov: ").nth(1)?.split_whitespace().next()?.parse().ok()?;
    let each_minute = tried * 60 / seconds.max(1);
    Some(format!("{tried} inputs, {each_minute} a minute, {branches} branches"))
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("starting rustc")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned);
    host.context("rustc does not say what it runs on")
}

fn make(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

fn emptied(folder: PathBuf) -> Result<PathBuf> {
    _ = fs::remove_dir_all(&folder);
    make(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_without_the_stack() {
        let said = "#2\tINITED cov: 12\nthread 'a' panicked at src/b.rs:1:2:\nno control characters\nstack backtrace:\n   \
                    0: main\n             at ./main.rs:1\nTest unit written to crash-1\n";
        let told = ["thread 'a' panicked at src/b.rs:1:2:", "no control characters", "stack backtrace:"];
        assert_eq!(ending(said), [&told[..], &["Test unit written to crash-1"]].concat());
    }

    #[test]
    fn figures_are_read_from_what_libfuzzer_says() {
        let said = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                    #900\tDONE   cov: 345 ft: 678 corp: 9/99b lim: 4 exec/s: 100 rss: 30Mb\n\
                    Done 900 runs in 30 second(s)\n";
        assert_eq!(figures(said).as_deref(), Some("900 inputs, 1800 a minute, 345 branches"));
        assert_eq!(figures("nothing"), None);
    }
}
