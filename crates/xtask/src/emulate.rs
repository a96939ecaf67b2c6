//! `cargo xtask emulate`: programs for other processors, run on this machine by QEMU's user-mode emulation.
//!
//! That goes as far as the C library and system calls that QEMU knows: the programs say their versions, the controller gives
//! addresses at a real API server of this machine, and the unit tests of what reads the network pass. A speaker needs more
//! (`SO_TIMESTAMPNS`), so it is not run.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use images::{Platform, cross, programs};
use lab::debian::{self, Package};
use lab::tools::{Program, Tools};

/// What to build and run.
#[derive(Debug, Args)]
pub(crate) struct EmulateArgs {
    /// Platforms: linux/arm64, linux/arm/v7
    #[arg(long, value_delimiter = ',', default_value = "linux/arm64,linux/arm/v7")]
    platform: Vec<Platform>,
}

/// The programs of the image and of the plugin, and how each is asked for its version.
const PROGRAMS: [(&str, &[&str]); 2] =
    [("ferrolb", &["--version"]), ("kubectl-ferrolb", &["version", "--client"])];

/// What reads and writes the formats of the network and what seals it, without a socket.
const CODECS: [&str; 8] = ["bfd", "bgp", "dhcp", "layer2", "mdns", "members", "placement", "pools"];

/// The component tests that the emulated controller goes through.
const CONTROLLER_TESTS: [&str; 3] = ["allocation::", "families::", "secure_metrics::"];

/// Builds everything for each platform, and runs it.
pub(crate) fn run(arguments: &EmulateArgs) -> Result<()> {
    let emulators = arguments.platform.iter().map(|platform| emulator(*platform));
    debian::ensure(&emulators.collect::<Result<Vec<_>>>()?)?;
    Tools::ensure(&[Program::KubeApiserver, Program::Etcd])?;
    for platform in &arguments.platform {
        emulate(*platform).with_context(|| format!("as {platform}"))?;
    }
    Ok(())
}

fn emulate(platform: Platform) -> Result<()> {
    let emulator = emulator(platform)?.file;
    for (name, arguments) in PROGRAMS {
        let [program] = programs::build_for(platform, name, [name])?;
        let said = output(Command::new(emulator).arg(&program).args(arguments))?;
        ensure!(said.contains(env!("CARGO_PKG_VERSION")), "{name} says that it is {said:?}");
        println!("{platform}: {name}: {}", said.trim());
        if name == "ferrolb" {
            succeed(&mut controller_tests(emulator, &program))?;
        }
    }
    succeed(&mut cross::test(platform, &CODECS, emulator)?)
}

/// The component tests of this machine, with an emulated controller.
fn controller_tests(emulator: &str, program: &Path) -> Command {
    let mut cargo = programs::cargo();
    cargo
        .args(["test", "--locked", "--package", "ferrolb", "--test", "controller", "--"])
        .args(CONTROLLER_TESTS)
        .env("FERROLB", program)
        .env("FERROLB_EMULATOR", emulator)
        .current_dir(programs::workspace());
    cargo
}

/// What runs programs of a platform here: a program of a Debian package.
fn emulator(platform: Platform) -> Result<Package> {
    let file = match platform {
        Platform::Arm64 => "qemu-aarch64-static",
        Platform::ArmV7 => "qemu-arm-static",
        Platform::Amd64 => "qemu-x86_64-static",
    };
    ensure!(platform != Platform::HOST, "{platform} is this machine's platform: nothing is to be emulated");
    Ok(Package { name: "qemu-user-static", file })
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {stderr}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::{Cli, Task};

    #[test]
    fn both_kinds_of_boards_are_emulated_unless_others_are_named_and_this_machine_never() {
        let platforms =
            |words: &[&str]| match Cli::try_parse_from([&["cargo xtask", "emulate"], words].concat()) {
                Ok(Cli { task: Task::Emulate(arguments) }) => arguments.platform,
                other => panic!("{other:?}"),
            };
        assert_eq!(platforms(&[]), [Platform::Arm64, Platform::ArmV7]);
        assert_eq!(platforms(&["--platform", "linux/arm/v7"]), [Platform::ArmV7]);
        assert!(emulator(Platform::HOST).is_err());
        assert_eq!(emulator(Platform::ArmV7).unwrap().file, "qemu-arm-static");
    }

    #[test]
    fn what_is_to_be_tested_is_there() {
        let workspace = programs::workspace();
        for package in CODECS {
            let source = workspace.join("crates").join(package).join("src");
            assert!(source.is_dir(), "there is no crate {package}");
        }
        for module in CONTROLLER_TESTS {
            let file = module.trim_end_matches("::");
            let path = workspace.join("crates/ferrolb/tests/controller").join(file).with_extension("rs");
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(text.contains("#[test]"), "{file} has no tests");
        }
    }

    #[test]
    fn the_controller_under_test_is_the_emulated_one() {
        let command = controller_tests("qemu-arm-static", Path::new("/target/ferrolb"));
        let variables: BTreeMap<_, _> = command.get_envs().collect();
        assert_eq!(variables["FERROLB".as_ref() as &std::ffi::OsStr], Some("/target/ferrolb".as_ref()));
        let fixture = programs::workspace().join("crates/ferrolb/tests/controller/fixture.rs");
        let fixture = fs::read_to_string(fixture).unwrap();
        for variable in ["FERROLB", "FERROLB_EMULATOR"] {
            assert!(fixture.contains(&format!("\"{variable}\"")), "tests do not ask for {variable}");
        }
    }

    #[test]
    fn tests_for_another_platform_are_built_by_its_compiler_and_run_by_the_emulator() {
        // Without installing that compiler.
        let command =
            cross::test_with(Path::new("/zig/bin"), Platform::Arm64, &["bgp", "bfd"], "qemu").unwrap();
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let expected = "test --locked --target aarch64-unknown-linux-musl --lib --package bgp --package bfd";
        assert_eq!(words.join(" "), expected);
        let variables: BTreeMap<_, _> = command.get_envs().collect();
        let runner = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER";
        assert_eq!(variables[runner.as_ref() as &std::ffi::OsStr], Some("qemu".as_ref()));
    }
}
