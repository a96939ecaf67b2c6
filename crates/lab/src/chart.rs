//! FerroLB itself: its image, and its installation from the chart in this repository.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{Lab, ui};

/// The namespace of FerroLB, the one that MetalLB's documentation uses.
pub const NAMESPACE: &str = "metallb-system";

/// Builds FerroLB's image (`cargo xtask image`) and returns its archive.
pub fn build_image() -> Result<PathBuf> {
    let task = ui::task("building FerroLB's image", Duration::from_secs(90));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Its progress stays visible: the first build takes minutes.
    cargo.args(["xtask", "image"]).current_dir(workspace()).stdout(Stdio::null());
    let status = cargo.status().context("starting `cargo xtask image`")?;
    ensure!(status.success(), "`cargo xtask image` failed");
    task.done();
    Ok(workspace().join("target/image/ferrolb.tar"))
}

/// Puts `image` into the lab's registry and installs the chart, waiting until all of FerroLB is ready.
pub fn install(lab: &Lab, image: &Path) -> Result<()> {
    let task = ui::task("installing FerroLB with Helm", Duration::from_secs(10));
    lab.publish(image)?;
    let chart = workspace().join("charts/ferrolb").display().to_string();
    lab.helm([
        "install",
        "ferrolb",
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout=120s",
    ])?;
    task.done();
    Ok(())
}

/// The root of the repository that this program was built from.
pub(crate) fn workspace() -> PathBuf {
    ::images::programs::workspace()
}
