//! Requests to an address, as a user's browser would make them.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow, ensure};
use lab::{Host, wait_until};

use crate::{Cluster, SOON};

const VISITED_EVERY: Duration = Duration::from_millis(100);

/// Requests that the client made one after the other.
#[derive(Debug, Default)]
pub struct Visits {
    /// How many were answered with 200.
    pub answered: usize,
    /// When the others were sent, and what became of them.
    pub failed: Vec<(SystemTime, String)>,
}

impl Visits {
    /// That there were some, and that none failed.
    pub fn must_all_succeed(&self) -> Result<()> {
        let Self { answered, failed } = self;
        ensure!(*answered > 0 && failed.is_empty(), "{answered} visits succeeded, these failed: {failed:?}");
        Ok(())
    }
}

impl Cluster {
    /// Asks a host to get `http://address/`, which must be answered with 200. Returns what was answered, headers first.
    pub fn visit(&self, host: Host, address: Ipv4Addr) -> Result<String> {
        let url = format!("http://{address}/");
        self.lab.run(host, ["curl", "-sSi", "--fail", "--connect-timeout", "1", "--max-time", "2", &url])
    }

    /// Waits until `address` answers the client with 200.
    pub fn wait_for_answer(&self, address: Ipv4Addr, patience: Duration) -> Result<String> {
        wait_until(&format!("{address} answers"), patience, || self.visit(Host::Client, address))
    }

    /// The same from a pod, by any URL.
    pub fn wait_for_answer_to_pod(&self, url: &str) -> Result<String> {
        wait_until(&format!("{url} answers a pod"), SOON, || {
            let curl = ["exec", "shell", "--", "curl", "-sSi", "--fail", "--max-time", "2", url];
            self.kubectl(curl)
        })
    }

    /// Lets the client visit `address` over and over, each time by a new connection, while `act` runs.
    pub fn while_visiting<T>(
        &self,
        address: Ipv4Addr,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Visits)> {
        let ends = AtomicBool::new(false);
        let visit = || {
            let mut visits = Visits::default();
            while !ends.load(Ordering::Relaxed) {
                let at = SystemTime::now();
                match self.visit(Host::Client, address) {
                    Ok(_) => visits.answered += 1,
                    Err(error) => visits.failed.push((at, format!("{error:#}"))),
                }
                thread::sleep(VISITED_EVERY);
            }
            visits
        };
        thread::scope(|scope| {
            let visits = scope.spawn(visit);
            let result = {
                // Dropped also if `act` panics, or the scope would wait for ever.
                let _end = SetOnDrop(&ends);
                act()
            };
            let visits = visits.join().map_err(|_| anyhow!("the thread that visits panicked"))?;
            Ok((result?, visits))
        })
    }
}

/// Sets a flag when it is dropped, which it is also when its owner fails or panics.
#[derive(Debug)]
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
