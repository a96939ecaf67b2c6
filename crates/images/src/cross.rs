//! Compilers for other platforms than this machine's: zig's, which brings musl for all of them, by way of cargo-zigbuild.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::programs::{self, SEPARATOR, add_target, run, workspace};
use crate::{Error, Platform};

/// What is installed, with the checksum of each package.
const REQUIREMENTS: &str = "crates/images/assets/compilers.txt";

/// Cargo for a platform, as far as the command that builds; compiler flags that it needs are added to `flags`.
pub(crate) fn cargo(platform: Platform, flags: &mut OsString) -> Result<Command, Error> {
    let bin = ensure()?;
    ensure_library(platform)?;
    command(&bin, platform, "zigbuild", flags)
}

/// Cargo that builds the unit tests of these packages for a platform, and has each program run by `emulator`, which is told
/// its path.
pub fn test(platform: Platform, packages: &[&str], emulator: &str) -> Result<Command, Error> {
    let bin = ensure()?;
    ensure_library(platform)?;
    test_with(&bin, platform, packages, emulator)
}

/// The same with the compilers that are there, whether or not they are.
pub fn test_with(
    bin: &Path,
    platform: Platform,
    packages: &[&str],
    emulator: &str,
) -> Result<Command, Error> {
    let mut flags = OsString::new();
    let mut cargo = command(bin, platform, "test", &mut flags)?;
    let runner = format!("CARGO_TARGET_{}_RUNNER", platform.target().replace('-', "_").to_uppercase());
    cargo
        .args(["--locked", "--target", platform.target(), "--lib"])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .current_dir(workspace())
        .env(runner, emulator)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        // What is random is tried on this machine's own processor.
        .env("PROPTEST_CASES", "32");
    Ok(cargo)
}

fn command(bin: &Path, platform: Platform, subcommand: &str, flags: &mut OsString) -> Result<Command, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([bin.to_owned()].into_iter().chain(env::split_paths(&path)))
        .map_err(|error| failed(bin, &error.to_string()))?;
    let mut cargo = Command::new(bin.join("cargo-zigbuild"));
    let plain = programs::cargo();
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => cargo.env(name, value),
            None => cargo.env_remove(name),
        };
    }
    cargo.arg(subcommand).env("PATH", path).env("CARGO_ZIGBUILD_CACHE_DIR", cache().join("zigbuild"));
    match platform {
        Platform::Amd64 | Platform::Arm64 => {}
        Platform::ArmV7 => {
            // Not every place that Rust is installed from has its standard library, so it is built everywhere: the same
            // sources are to give the same bytes. The compiler wants to be told that this is known to be unstable.
            cargo.args(["-Z", "build-std=std,panic_abort"]).env("RUSTC_BOOTSTRAP", "1");
            // musl comes with the compiler; libatomic, which mimalloc asks for on 32 bits, is part of its runtime.
            if !flags.is_empty() {
                flags.push(SEPARATOR);
            }
            flags.push("-Clink-self-contained=no");
            cargo.env("DEP_ATOMIC", "c");
        }
    }
    Ok(cargo)
}

/// Adds to the toolchain what the standard library for a platform is, or is built of.
fn ensure_library(platform: Platform) -> Result<(), Error> {
    match platform {
        Platform::Amd64 | Platform::Arm64 => add_target(platform),
        Platform::ArmV7 => {
            let rust_src = ["component", "add", "rust-src"];
            run(Command::new("rustup").args(rust_src).current_dir(workspace())).map(drop)
        }
    }
}

/// Installs the compilers unless they are there, and returns where their programs are.
fn ensure() -> Result<PathBuf, Error> {
    let requirements = workspace().join(REQUIREMENTS);
    let text = fs::read(&requirements).map_err(Error::io(&requirements))?;
    let digest = crate::layout::digest(&text);
    let home = cache().join(format!("zig-{}", &digest["sha256:".len()..][..12]));
    let bin = home.join("bin");
    if bin.join("cargo-zigbuild").exists() {
        return Ok(bin);
    }
    eprintln!("installing the compilers for other platforms into {}", home.display());
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))
        .map_err(|error| failed(&home, &format!("{error}; on Debian: apt-get install python3-venv")))?;
    run(Command::new(bin.join("pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"])
        .args(["--require-hashes", "--requirement"])
        .arg(&requirements))?;
    Ok(bin)
}

fn failed(what: &Path, reason: &str) -> Error {
    Error::Command { command: what.display().to_string(), reason: reason.to_owned() }
}

/// Where what is built or fetched survives, as that of the lab does.
pub fn cache() -> PathBuf {
    let home = || env::home_dir().map(|home| home.join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(env::temp_dir).join("ferrolb")
}
