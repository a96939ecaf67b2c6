//! How long requests fail after a node is lost that served some of them. Its address moves, but kube-proxy goes on
//! choosing the endpoint that died with it until somebody withdraws that.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use lab::wait_until;

use crate::fault::Fault;
use crate::outage::BACK_WITHIN;
use crate::site::Site;
use crate::visitor::Visit;
use crate::watch::{Done, Watch};

const ASKED_EVERY: Duration = Duration::from_millis(50);
/// Not too often: a client that soon uses a port again meets what the node remembers of the connection that failed, and
/// is sent to the dead endpoint once more, for two minutes. That is conntrack's doing.
const VISITED_EVERY: Duration = Duration::from_millis(20);
/// FerroLB leaves endpoints alone when more than a third of the nodes are lost within a minute.
const APART: Duration = Duration::from_mins(1);
/// When no request failed that was begun within this time, none will: longer than a request may take.
const QUIET: Duration = Duration::from_secs(6);
/// Kubernetes alone takes 20 s and more in the lab, and 40 elsewhere.
const QUIET_WITHIN: Duration = Duration::from_mins(3);

/// Switches the victim off, which announces an address and has one of three endpoints behind it, and on again. Returns
/// how long after the fault the last request was begun that failed.
pub(crate) fn last_failure(site: &Site) -> Result<Duration> {
    let address = site.serve_everywhere()?;
    let victim = site.victim_mac();
    let watch = Watch {
        addresses: &[address],
        asked_every: ASKED_EVERY,
        done: Done::By(victim),
        visited_every: Some(VISITED_EVERY),
    };
    let (fault, seen) = watch.during(&site.lab, |seen| {
        wait_until("the address is where it should be", BACK_WITHIN, || {
            site.is_steady(&seen.answers())?;
            is_quiet(&seen.visits(), SystemTime::now())
        })?;
        let fault = SystemTime::now();
        Fault::PowerOff.inject(site)?;
        std::thread::sleep(QUIET);
        wait_until("requests succeed again, all of them", QUIET_WITHIN, || {
            is_quiet(&seen.visits(), SystemTime::now())
        })?;
        Ok(fault)
    })?;
    Fault::PowerOff.heal(site)?;
    e2e::wait_until_well(&site.lab)?;
    std::thread::sleep(APART.saturating_sub(fault.elapsed().unwrap_or_default()));
    Ok(last_failed_after(&seen.visits(), fault))
}

/// That requests have been made for a while, and of late they have succeeded and none has failed.
fn is_quiet(visits: &[Visit], now: SystemTime) -> Result<()> {
    ensure!(visits.iter().any(|visit| visit.began <= now - QUIET), "the first has only just been made");
    let late = || visits.iter().filter(|visit| visit.began > now - QUIET);
    ensure!(late().any(|visit| visit.outcome.is_ok()), "none succeeds");
    let failed = late().filter(|visit| visit.outcome.is_err()).count();
    ensure!(failed == 0, "{failed} failed");
    Ok(())
}

fn last_failed_after(visits: &[Visit], fault: SystemTime) -> Duration {
    let failed = visits.iter().filter(|visit| visit.outcome.is_err());
    failed.filter_map(|visit| visit.began.duration_since(fault).ok()).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn requests_fail_until_the_last_that_did_was_begun() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let visit = |seconds, outcome| Visit { began: at(seconds), outcome };
        let (well, lost) = (Ok(Duration::from_millis(3)), Err(ErrorKind::TimedOut));
        // The last one took longest.
        let visits =
            [visit(99, lost), visit(101, well), visit(103, lost), visit(104, well), visit(102, lost)];
        assert_eq!(last_failed_after(&visits, at(100)), Duration::from_secs(3));
        assert_eq!(last_failed_after(&visits, at(104)), Duration::ZERO);
        assert!(is_quiet(&visits, at(108)).is_err());
        is_quiet(&visits, at(109)).unwrap();
        assert!(is_quiet(&visits, at(110)).is_err(), "none has succeeded since");
    }
}
