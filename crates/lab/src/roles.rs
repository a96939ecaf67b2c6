//! Hidden subcommands: what a copy of this program does inside a lab.
//!
//! A program that starts labs calls [`run_if_asked`] first thing in its `main`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, process};

use anyhow::{Context, Result, bail, ensure};

use crate::{init, keeper};

/// The first argument of a process that plays a role.
pub(crate) const MARK: &str = "lab-role";
/// Names a program that plays roles, for programs that do not.
pub const PROGRAM_VARIABLE: &str = "FERROLB_LAB_BIN";

static PLAYS_ROLES: AtomicBool = AtomicBool::new(false);

/// Plays the role that the arguments name, and does not return then. Without one, the program goes on, and the library
/// knows that it may start copies of it.
pub fn run_if_asked() {
    let arguments: Vec<String> = env::args_os().map(|text| text.to_string_lossy().into_owned()).collect();
    if arguments.get(1).is_some_and(|first| first == MARK) {
        let Err(error) = play(&arguments[2..]) else { process::exit(0) };
        eprintln!("{} {}: {error:#}", MARK, arguments[2..].join(" "));
        process::exit(1);
    }
    PLAYS_ROLES.store(true, Ordering::Relaxed);
}

fn play(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["keeper"] => keeper::run(),
        ["init", lab] => init::run(&lab.parse()?, None),
        ["init", lab, host] => init::run(&lab.parse()?, Some(host.parse()?)),
        _ => bail!("no such role"),
    }
}

/// The program to start for a role.
pub(crate) fn program() -> Result<PathBuf> {
    if PLAYS_ROLES.load(Ordering::Relaxed) {
        // Not by its name: cargo may have put a newer program there meanwhile.
        return Ok("/proc/self/exe".into());
    }
    let path = env::var_os(PROGRAM_VARIABLE).map(PathBuf::from).with_context(|| {
        format!("{PROGRAM_VARIABLE} is not set: run these tests with `cargo xtask test`, or after `cargo build -p lab` with {PROGRAM_VARIABLE}=$PWD/target/debug/lab")
    })?;
    ensure!(path.is_file(), "{PROGRAM_VARIABLE} names {}, which does not exist", path.display());
    Ok(path)
}
