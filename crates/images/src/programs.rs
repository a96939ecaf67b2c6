//! Static programs of this workspace, for images that hold nothing else.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{Error, Platform, cross};

/// Builds programs of a package of this workspace for this machine's platform, in the profile `image`, and returns where each
/// is. Cargo's own progress goes to standard error.
///
/// The bytes depend on the sources, `Cargo.lock` and the toolchain, not on where the checkout or the
/// registry's cache lie. The target is added to the toolchain when it is missing.
pub fn build<const N: usize>(package: &str, names: [&str; N]) -> Result<[PathBuf; N], Error> {
    build_for(Platform::HOST, package, names)
}

/// The same for any platform. For another one than this machine's, the compilers are those of [`cross`].
pub fn build_for<const N: usize>(
    platform: Platform,
    package: &str,
    names: [&str; N],
) -> Result<[PathBuf; N], Error> {
    let workspace = workspace();
    let mut flags = remapped(&workspace)?;
    for flag in [SORTED, NO_TABLE_OF_UNWINDING] {
        flags.rust.push(SEPARATOR);
        flags.rust.push(flag);
    }
    flags.rust.push(SEPARATOR);
    flags.rust.push("-Clink-arg=-T");
    flags.rust.push(workspace.join(NO_UNWINDING));
    let mut cargo = if platform == Platform::HOST {
        ensure_target()?;
        let mut cargo = cargo();
        cargo.arg("build");
        cargo
    } else {
        cross::cargo(platform, &mut flags.rust)?
    };
    cargo
        .args(["--locked", "--profile", "image", "--target", platform.target(), "--package", package])
        .arg("--message-format=json-render-diagnostics")
        .args(names.iter().flat_map(|name| ["--bin", name]))
        .current_dir(&workspace)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.rust)
        .env(format!("CFLAGS_{}", platform.target().replace('-', "_")), flags.c)
        .env("SOURCE_DATE_EPOCH", "0")
        .stderr(Stdio::inherit());
    let output = run(&mut cargo)?;
    let messages = serde_json::Deserializer::from_slice(&output).into_iter::<Message>();
    let mut built: BTreeMap<_, _> = messages
        .filter_map(|message| {
            let Message { target, executable } = message.ok()?;
            Some((target?.name, executable?))
        })
        .collect();
    Ok(names
        .map(|name| built.remove(name).expect("cargo fails when it cannot build a program it is asked for")))
}

/// Cargo, started by a program that cargo may have started. Told of that package, as its children are, build scripts
/// that look at such variables would run again, and much be built anew, each time another one asks.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let names = env::vars_os().map(|(name, _)| name);
    let of_package = |name: &OsString| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
    };
    names.filter(of_package).for_each(|name| _ = cargo.env_remove(name));
    cargo
}

/// The root of the workspace that this crate was built from.
pub fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the crate lies two directories below the workspace").to_owned()
}

/// A line of `cargo build --message-format=json`; those of other kinds lack the fields.
#[derive(Deserialize)]
struct Message {
    target: Option<MessageTarget>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
}

/// Keeps the functions of a crate together. The kernel maps the neighbours of each page that a program touches; without
/// this, functions that are never called lie everywhere between those that are, and count as memory in use.
const SORTED: &str = "-Clink-arg=-Wl,--sort-section=name";

/// A linker script that leaves the tables for unwinding out of a program, see there. A backtrace, which is read from them, is
/// empty; the message of a panic and its place in the sources are not.
const NO_UNWINDING: &str = "crates/images/assets/no-unwinding.ld";

/// Nor an index of these tables, which the linker could not make of what is left.
const NO_TABLE_OF_UNWINDING: &str = "-Clink-arg=-Wl,--no-eh-frame-hdr";

/// What CARGO_ENCODED_RUSTFLAGS separates by; CFLAGS does by spaces.
pub(crate) const SEPARATOR: &str = "\u{1f}";

struct Flags {
    rust: OsString,
    c: OsString,
}

/// Compiler flags that keep this machine's paths out of the programs.
fn remapped(workspace: &Path) -> Result<Flags, Error> {
    let cargo_home =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let mut flags = Flags { rust: OsString::new(), c: OsString::new() };
    let mut add = |from: &Path, to: &str| {
        for (list, flag, separator) in
            [(&mut flags.rust, "--remap-path-prefix=", SEPARATOR), (&mut flags.c, "-ffile-prefix-map=", " ")]
        {
            if !list.is_empty() {
                list.push(separator);
            }
            list.push(flag);
            list.push(from);
            list.push("=");
            list.push(to);
        }
    };
    cargo_home.iter().for_each(|home| add(home, "/cargo"));
    add(workspace, "/src");
    // Where the toolchain has the sources of the standard library, the compiler names those in the place of the path that
    // the library was built with.
    let (sources, built_as) = standard_library()?;
    add(&sources, &built_as);
    Ok(flags)
}

/// Where the sources of the standard library are or would be, and the path that it was built with.
fn standard_library() -> Result<(PathBuf, String), Error> {
    let rustc = |arguments: &[&str]| run(Command::new("rustc").args(arguments).current_dir(workspace()));
    let sysroot = rustc(&["--print", "sysroot"])?;
    let sources = Path::new(String::from_utf8_lossy(&sysroot).trim()).join("lib/rustlib/src/rust");
    let version = rustc(&["--version", "--verbose"])?;
    let version = String::from_utf8_lossy(&version).into_owned();
    let hash = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    Ok((sources, format!("/rustc/{hash}")))
}

/// Adds the target of this machine's platform to the toolchain when it is missing.
pub fn ensure_target() -> Result<(), Error> {
    add_target(Platform::HOST)
}

/// Adds the target of a platform to the toolchain when it is missing.
pub(crate) fn add_target(platform: Platform) -> Result<(), Error> {
    let (mut rustc, target) = (Command::new("rustc"), platform.target());
    let directory =
        run(rustc.args(["--print", "target-libdir", "--target", target]).current_dir(workspace()))?;
    if Path::new(String::from_utf8_lossy(&directory).trim()).exists() {
        return Ok(());
    }
    run(Command::new("rustup").args(["target", "add", target]).current_dir(workspace())).map(drop)
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>, Error> {
    let output = command.output();
    let failed = |reason: String| {
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
        Error::Command { command: words.join(" ".as_ref()).to_string_lossy().into_owned(), reason }
    };
    match output {
        Err(error) => Err(failed(error.to_string())),
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<_> = stderr.lines().collect();
            let end = lines[lines.len().saturating_sub(8)..].join("\n");
            Err(failed(if end.is_empty() { output.status.to_string() } else { end }))
        }
    }
}
