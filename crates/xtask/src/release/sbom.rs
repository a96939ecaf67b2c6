//! Bills of materials of what is released, by cargo-cyclonedx, one for each program and platform.
//!
//! The image holds one that is made without that tool, which each machine would have to build first. Both have to name the
//! same crates.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use images::{Platform, programs};
use serde::Deserialize;
use serde_json::Value;

use super::plugins::{NAME as PLUGIN, TARGETS};
use super::save;
use crate::dependencies;

const VERSION: &str = "0.5.9";

/// Writes them as `ferrolb-linux-amd64.cdx.json` and so on.
pub(super) fn write(assets: &Path) -> Result<()> {
    let tool = ensure_tool()?;
    let image = Platform::ALL.map(|platform| {
        let target = TARGETS.into_iter().find(|target| target.triple == platform.target());
        ("ferrolb", target.expect("the plugin is released for all platforms of the image"))
    });
    for (package, target) in image.into_iter().chain(TARGETS.map(|target| (PLUGIN, target))) {
        let name = format!("{package}-{}.cdx", target.name);
        let bill = bill(&tool, package, target.triple, &name)?;
        let linked = dependencies::linked(package, target.triple)?;
        let linked = linked.iter().map(|(one, _)| (one.name.as_str(), one.version.as_str()));
        let differences = differences(&bill, &linked.collect())?;
        ensure!(differences.is_empty(), "{name} is not what cargo links: {}", differences.join(", "));
        let text = serde_json::to_string_pretty(&bill).context("writing JSON")?;
        save(&assets.join(format!("{name}.json")), text.as_bytes())?;
    }
    Ok(())
}

/// Installs the tool unless it is there, and returns where it is.
fn ensure_tool() -> Result<PathBuf> {
    let home = images::cache().join(format!("cargo-cyclonedx-{VERSION}"));
    let program = home.join("bin/cargo-cyclonedx");
    if !program.exists() {
        eprintln!("installing cargo-cyclonedx {VERSION} into {}", home.display());
        let mut install = programs::cargo();
        install.args(["install", "--quiet", "--locked", "--version", VERSION, "--root"]).arg(&home);
        let status = install.arg("cargo-cyclonedx").current_dir(programs::workspace()).status();
        ensure!(status.context("starting cargo")?.success(), "cargo-cyclonedx cannot be installed");
    }
    Ok(program)
}

/// Has the tool write the bill of one crate. It writes one beside each crate of the workspace, of which none is left there.
fn bill(tool: &Path, package: &str, target: &str, name: &str) -> Result<Value> {
    let members = members()?;
    let written = |member: &Member| member.manifest_path.with_file_name(format!("{name}.json"));
    let mut cyclonedx = Command::new(tool);
    cyclonedx.args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--no-build-deps"]);
    cyclonedx.args(["--target", target, "--override-filename", name]);
    // The same sources give the same bytes.
    cyclonedx.env("SOURCE_DATE_EPOCH", "0").current_dir(programs::workspace());
    let output = cyclonedx.output().context("starting cargo-cyclonedx")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted = members.iter().find(|member| member.name == package).context("there is no such crate")?;
    let text = fs::read_to_string(written(wanted));
    members.iter().for_each(|member| _ = fs::remove_file(written(member)));
    ensure!(output.status.success(), "cargo-cyclonedx: {}", said.trim());
    let text =
        text.with_context(|| format!("cargo-cyclonedx has not written {}", written(wanted).display()))?;
    let text = without_paths(&text, &programs::workspace());
    serde_json::from_str(&text).context("reading what cargo-cyclonedx has written")
}

/// With the path that programs are built with in the place of this machine's.
fn without_paths(text: &str, workspace: &Path) -> String {
    text.replace(&format!("path+file://{}/", workspace.display()), "path+file:///src/")
}

/// Crates that only one of the two names.
fn differences(bill: &Value, linked: &BTreeSet<(&str, &str)>) -> Result<Vec<String>> {
    let components = bill["components"].as_array().context("the bill has no components")?;
    let named = [&bill["metadata"]["component"]].into_iter().chain(components);
    let named: BTreeSet<(&str, &str)> =
        named.filter_map(|one| Some((one["name"].as_str()?, one["version"].as_str()?))).collect();
    Ok(named.symmetric_difference(linked).map(|(name, version)| format!("{name} {version}")).collect())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Member>,
}

/// A crate of the workspace.
#[derive(Deserialize)]
struct Member {
    name: String,
    manifest_path: PathBuf,
}

fn members() -> Result<Vec<Member>> {
    let mut cargo = programs::cargo();
    cargo.args(["metadata", "--format-version=1", "--locked", "--no-deps"]);
    let output = cargo.current_dir(programs::workspace()).output().context("starting cargo")?;
    ensure!(output.status.success(), "`cargo metadata`: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("reading what `cargo metadata` says")?;
    Ok(metadata.packages)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_crate_that_is_missing_or_of_another_version_is_told() {
        let component = |name: &str, version: &str| json!({"name": name, "version": version});
        let bill = json!({
            "metadata": {"component": component("ferrolb", "1.0.0")},
            "components": [component("tokio", "1.1.0"), component("ring", "0.17.0")],
        });
        let same = BTreeSet::from([("ferrolb", "1.0.0"), ("tokio", "1.1.0"), ("ring", "0.17.0")]);
        assert_eq!(differences(&bill, &same).unwrap(), [""; 0]);
        let others =
            BTreeSet::from([("ferrolb", "1.0.0"), ("tokio", "1.2.0"), ("ring", "0.17.0"), ("kube", "5.0.0")]);
        assert_eq!(differences(&bill, &others).unwrap(), ["kube 5.0.0", "tokio 1.1.0", "tokio 1.2.0"]);
        assert!(differences(&json!({}), &same).is_err());
    }

    #[test]
    fn the_path_of_the_checkout_is_left_out() {
        let text = r#"{"bom-ref": "path+file:///home/me/lb/crates/ipam#0.1.0"}"#;
        let expected = r#"{"bom-ref": "path+file:///src/crates/ipam#0.1.0"}"#;
        assert_eq!(without_paths(text, Path::new("/home/me/lb")), expected);
    }

    #[test]
    fn both_programs_are_crates_of_the_workspace() {
        let names: BTreeSet<String> = members().unwrap().into_iter().map(|member| member.name).collect();
        assert!(names.contains("ferrolb") && names.contains(PLUGIN), "{names:?}");
    }
}
