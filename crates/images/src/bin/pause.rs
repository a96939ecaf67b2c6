//! Process 1 of a Pod: holds its namespaces, reaps what is orphaned, ends when told to.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

fn main() -> nix::Result<()> {
    // Blocked signals are kept for `wait`, and those that are ignored by default are no exception.
    let signals: SigSet = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    while signals.wait()? == Signal::SIGCHLD {
        reap()?;
    }
    Ok(())
}

/// One signal may stand for several children.
fn reap() -> nix::Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
}
