//! FerroLB itself: its image, and its installation from the chart in this repository.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{Lab, ui};

/// The namespace of FerroLB, the one that MetalLB's documentation uses.
pub const NAMESPACE: &str = "metallb-system";

/// Builds FerroLB's image (`cargo xtask image`) and returns its archive.
pub fn build_image() -> Result<PathBuf> {
    let task = ui::task("building FerroLB's image", Duration::from_secs(90));
    let mut cargo = ::images::programs::cargo();
    // Its progress stays visible: the first build takes minutes.
    cargo.args(["xtask", "image"]).current_dir(workspace()).stdout(Stdio::null());
    let status = cargo.status().context("starting `cargo xtask image`")?;
    ensure!(status.success(), "`cargo xtask image` failed");
    task.done();
    Ok(workspace().join("target/image/ferrolb.tar"))
}

/// Puts `image` into the lab's registry and installs the chart, waiting until all of FerroLB is ready.
pub fn install(lab: &Lab, image: &Path) -> Result<()> {
    install_with(lab, image, &[])
}

/// The same with these values, each as `name=value`.
pub fn install_with(lab: &Lab, image: &Path, values: &[&str]) -> Result<()> {
    let task = ui::task("installing FerroLB with Helm", Duration::from_secs(10));
    lab.publish(image)?;
    let chart = folder();
    let install = ["install", "ferrolb", &chart, "--namespace", NAMESPACE, "--create-namespace"];
    let set = values.iter().copied().flat_map(|value| ["--set", value]);
    lab.helm(install.into_iter().chain(["--wait", "--timeout=120s"]).chain(set))?;
    task.done();
    Ok(())
}

/// Changes values of the installed chart, each as `name=value`, and waits until all of FerroLB is ready.
pub fn set<'a>(lab: &Lab, values: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let set = values.into_iter().flat_map(|value| ["--set", value]);
    let values: Vec<&str> = ["--reuse-values"].into_iter().chain(set).collect();
    upgrade(lab, &values)
}

/// Gives all values of the installed chart their defaults, and waits until all of FerroLB is ready.
pub fn reset(lab: &Lab) -> Result<()> {
    upgrade(lab, &["--reset-values"])
}

fn upgrade(lab: &Lab, values: &[&str]) -> Result<()> {
    let chart = folder();
    let upgrade = ["upgrade", "ferrolb", &chart, "--namespace", NAMESPACE, "--wait", "--timeout=120s"];
    lab.helm([&upgrade[..], values].concat()).map(drop)
}

fn folder() -> String {
    workspace().join("charts/ferrolb").display().to_string()
}

/// The root of the repository that this program was built from.
pub(crate) fn workspace() -> PathBuf {
    ::images::programs::workspace()
}
