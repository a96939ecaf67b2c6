//! Asking and visiting for as long as something is done, and what was seen meanwhile.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use e2e::arp::Mac;
use lab::{Host, Lab};

use crate::asker::{Answer, Asker};
use crate::visitor::{self, Visit};

/// What is asked and visited.
#[derive(Debug, Clone)]
pub(crate) struct Watch<'a> {
    /// The addresses to ask for, one after the other.
    pub(crate) addresses: &'a [Ipv4Addr],
    /// How often a question is asked.
    pub(crate) asked_every: Duration,
    /// Addresses for which somebody of this kind answered last are only asked for when no others are left.
    pub(crate) done: Done,
    /// How often a connection is made to the first of them; none for never.
    pub(crate) visited_every: Option<Duration>,
}

/// Whose answer says that an address is where it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    By(Mac),
    NotBy(Mac),
}

impl Done {
    pub(crate) fn is(self, by: Mac) -> bool {
        match self {
            Self::By(mac) => by == mac,
            Self::NotBy(mac) => by != mac,
        }
    }
}

/// What was seen so far, in order.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    answers: Mutex<Vec<Answer>>,
    visits: Mutex<Vec<Visit>>,
}

impl Seen {
    pub(crate) fn answers(&self) -> MutexGuard<'_, Vec<Answer>> {
        lock(&self.answers)
    }

    pub(crate) fn visits(&self) -> MutexGuard<'_, Vec<Visit>> {
        lock(&self.visits)
    }
}

impl Watch<'_> {
    /// Watches while `act` runs.
    pub(crate) fn during<T>(&self, lab: &Lab, act: impl FnOnce(&Seen) -> Result<T>) -> Result<(T, Seen)> {
        let asker = Asker::open(lab)?;
        let (seen, ends, done) = (Seen::default(), AtomicBool::new(false), Mutex::default());
        let result = thread::scope(|scope| {
            let asks = scope.spawn(|| self.ask(&asker, &done, &ends));
            let listens = scope.spawn(|| self.listen(&asker, &seen, &done, &ends));
            let visits = scope.spawn(|| match (self.visited_every, self.addresses) {
                (Some(every), [first, ..]) => {
                    lab.in_network(Host::Client, || visitor::visit(*first, every, &seen.visits, &ends))
                }
                _ => Ok(()),
            });
            let result = {
                // Dropped also if `act` panics, or the scope would wait for ever.
                let _end = SetOnDrop(&ends);
                act(&seen)
            };
            for thread in [asks, listens, visits] {
                thread.join().map_err(|_| anyhow!("a thread that watches panicked"))??;
            }
            result
        })?;
        Ok((result, seen))
    }

    fn ask(&self, asker: &Asker, done: &Mutex<BTreeSet<Ipv4Addr>>, ends: &AtomicBool) -> Result<()> {
        loop {
            let all_done = lock(done).len() == self.addresses.len();
            for address in self.addresses {
                if ends.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if all_done || !lock(done).contains(address) {
                    asker.ask(*address)?;
                    thread::sleep(self.asked_every);
                }
            }
        }
    }

    fn listen(
        &self,
        asker: &Asker,
        seen: &Seen,
        done: &Mutex<BTreeSet<Ipv4Addr>>,
        ends: &AtomicBool,
    ) -> Result<()> {
        while !ends.load(Ordering::Relaxed) {
            let Some(answer) = asker.next()? else { continue };
            if self.done.is(answer.by) {
                lock(done).insert(answer.address);
            } else {
                lock(done).remove(&answer.address);
            }
            seen.answers().push(answer);
        }
        Ok(())
    }
}

/// Sets a flag when it is dropped, which it is also when its owner fails or panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
