//! Requests to addresses, as users' browsers would make them.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, thread};

use anyhow::{Result, anyhow, ensure};
use lab::{Host, wait_until};

use crate::{Cluster, SOON};

/// How often one address is visited, where the number of visits does not matter.
const PER_SECOND: u32 = 10;
/// As long as a client waits before it sends the first packet of a connection again: what is lost shows.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
/// Between any two packets of an answer. Who was cut off hears nothing, however long the wait; a busy machine may stand
/// still for a second.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How many visits can be under way. While some wait in vain, others still go out on time.
const AT_ONCE: usize = 64;

/// Requests that the client made, each by a new connection.
#[derive(Debug, Default)]
pub struct Visits {
    /// How many were answered with 200.
    pub answered: usize,
    /// What became of the others.
    pub failed: Vec<Failure>,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// From the first one to the last.
    pub took: Duration,
}

/// A request that was not answered with 200.
#[derive(Debug)]
pub struct Failure {
    /// When it was begun.
    pub at: SystemTime,
    /// Whom it was for.
    pub place: SocketAddr,
    /// What came instead of an answer.
    pub trouble: Trouble,
}

/// What can happen to a request.
#[derive(Debug)]
pub enum Trouble {
    /// Its first packet was lost, or the answer to that.
    Unheard,
    /// Whatever else.
    Failed(io::Error),
}

impl Visits {
    /// That there were some, and that none failed.
    pub fn must_all_succeed(&self) -> Result<()> {
        ensure!(self.answered > 0 && self.failed.is_empty(), "{self}: {:?}", self.failed);
        Ok(())
    }

    /// The same for so many that a machine which is busy with all of them drops a first packet now and then: one of
    /// 1000, which is what comes in a few milliseconds. No connection is cut.
    pub fn none_may_be_cut(&self) -> Result<()> {
        let unheard = self.failed.iter().filter(|it| matches!(it.trouble, Trouble::Unheard)).count();
        let few = unheard <= self.answered / 1000;
        ensure!(few && unheard == self.failed.len() && self.answered > 0, "{self}: {:?}", self.failed);
        Ok(())
    }

    /// The same, but for connections under way when a router spreads anew: it moves some to nodes that know nothing of them, and
    /// each lasts a few milliseconds.
    pub fn none_may_fail_but_moved(&self, moved: usize) -> Result<()> {
        let few = self.failed.len() <= moved;
        ensure!(few && self.answered > 0, "{self}: {:?}", self.failed);
        Ok(())
    }

    /// How many were answered in a second.
    pub fn per_second(&self) -> f64 {
        let answered = u32::try_from(self.answered).unwrap_or(u32::MAX);
        f64::from(answered) / self.took.as_secs_f64()
    }

    fn add(&mut self, other: Self) {
        let Self { answered, failed, slowest, took } = other;
        self.answered += answered;
        self.failed.extend(failed);
        self.slowest = self.slowest.max(slowest);
        self.took = self.took.max(took);
    }
}

/// As long as a request may be under way on a busy machine.
const UNDER_WAY_FOR: Duration = Duration::from_secs(1);
/// Of all requests, in thousandths, if that is more than one for each move: what is under way to one address, for each
/// of about ten moves.
const LOST_AT_MOST: usize = 20;

impl fmt::Display for Visits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, failed, slowest, took } = self;
        let (failed, rate) = (failed.len(), self.per_second());
        write!(
            f,
            "{answered} visits answered in {took:.1?}, {rate:.0} a second, the slowest in {slowest:.1?}; {failed} failed"
        )
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

    /// That no request was lost but a few that were under way when one of the `addresses` went to another node, as the
    /// LAN was told since `since`. Nothing on a LAN hands over connections: the packets of one go on to a node that knows
    /// nothing of it.
    pub fn only_moves_may_cost(
        &self,
        visits: &Visits,
        addresses: &[Ipv4Addr],
        since: SystemTime,
    ) -> Result<()> {
        let mut moves = Vec::new();
        for address in addresses {
            let claims = self.claims_since(*address, since)?;
            let pairs = claims.windows(2).filter(|pair| pair[0].1 != pair[1].1);
            moves.extend(pairs.map(|pair| pair[1].0));
        }
        for failure in &visits.failed {
            let under_way = failure.at - UNDER_WAY_FOR..failure.at + UNDER_WAY_FOR;
            ensure!(moves.iter().any(|at| under_way.contains(at)), "lost while nothing moved: {failure:?}");
        }
        let at_most = moves.len().max(visits.answered * LOST_AT_MOST / 1000);
        ensure!(visits.failed.len() <= at_most, "too many in {} moves: {visits}", moves.len());
        Ok(())
    }

    /// Lets the client visit `address` over and over while `act` runs.
    pub fn while_visiting<T>(
        &self,
        address: Ipv4Addr,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Visits)> {
        self.while_visiting_all(&[SocketAddr::new(IpAddr::V4(address), 80)], PER_SECOND, act)
    }

    /// Lets the client visit `places` in turn, `per_second` times a second, while `act` runs. Who must wait for an
    /// answer does not keep the next ones from being sent.
    pub fn while_visiting_all<T>(
        &self,
        places: &[SocketAddr],
        per_second: u32,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Visits)> {
        thread::scope(|scope| {
            let (end, ended) = sync_channel(0);
            let visit = || Ok(visit_in_turn(places, per_second, ended));
            let visits = scope.spawn(|| self.lab.in_network(Host::Client, visit));
            // If it panics, `end` is dropped too, and so the visits end.
            let result = act();
            drop(end);
            let visits = visits.join().map_err(|_| anyhow!("the thread that visits panicked"))??;
            Ok((result?, visits))
        })
    }
}

/// Visits the places one after the other until whoever tells the end is gone.
fn visit_in_turn(places: &[SocketAddr], per_second: u32, ended: Receiver<Infallible>) -> Visits {
    let began = Instant::now();
    thread::scope(|scope| {
        // Holds nothing: when nobody is free to make a visit, the next ones wait for their turn.
        let (due, turns) = sync_channel(0);
        let turns = Arc::new(Mutex::new(turns));
        let visitors = (0..AT_ONCE).map(|_| {
            let turns = Arc::clone(&turns);
            scope.spawn(move || visit_when_due(&turns))
        });
        let visitors: Vec<_> = visitors.collect();
        for (turn, place) in (0..).zip(places.iter().cycle()) {
            let at = began + Duration::from_secs(1) * turn / per_second;
            match ended.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => due.send(*place).expect("visitors outlive their turns"),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        drop(due);
        let mut all = Visits::default();
        for visitor in visitors {
            all.add(visitor.join().expect("a visit does not panic"));
        }
        Visits { took: began.elapsed(), ..all }
    })
}

fn visit_when_due(turns: &Mutex<Receiver<SocketAddr>>) -> Visits {
    let mut visits = Visits::default();
    let next = || turns.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(place) = next() {
        let (at, began) = (SystemTime::now(), Instant::now());
        match visit(place) {
            Ok(()) => {
                visits.answered += 1;
                visits.slowest = visits.slowest.max(began.elapsed());
            }
            Err(trouble) => visits.failed.push(Failure { at, place, trouble }),
        }
    }
    visits
}

fn visit(place: SocketAddr) -> Result<(), Trouble> {
    let connection =
        TcpStream::connect_timeout(&place, CONNECTED_WITHIN).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Trouble::Unheard,
            _ => Trouble::Failed(error),
        })?;
    request(connection).map_err(Trouble::Failed)
}

fn request(mut connection: TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(ANSWERED_WITHIN))?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(io::Error::other(format!("it answered {answer:?}")))
}
