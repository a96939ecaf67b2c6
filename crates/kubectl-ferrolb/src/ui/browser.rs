//! Opens a browser.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Opens an address in the user's browser, and does not wait for it.
pub(super) fn open(url: &str) -> anyhow::Result<()> {
    let mut command = command(url)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let program = command.get_program().display().to_string();
    command.spawn().map(drop).with_context(|| format!("starting {program}"))
}

#[cfg(target_os = "macos")]
fn command(url: &str) -> anyhow::Result<Command> {
    ensure!(env::var_os("SSH_CONNECTION").is_none(), "this is a session of SSH");
    let mut command = Command::new("open");
    command.arg(url);
    Ok(command)
}

#[cfg(windows)]
fn command(url: &str) -> anyhow::Result<Command> {
    ensure!(env::var_os("SSH_CONNECTION").is_none(), "this is a session of SSH");
    let mut command = Command::new("rundll32");
    command.args(["url.dll,FileProtocolHandler", url]);
    Ok(command)
}

#[cfg(not(any(target_os = "macos", windows)))]
fn command(url: &str) -> anyhow::Result<Command> {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    ensure!(set("DISPLAY") || set("WAYLAND_DISPLAY") || set("BROWSER"), "there is no display");
    let mut command = Command::new("xdg-open");
    command.arg(url);
    Ok(command)
}
