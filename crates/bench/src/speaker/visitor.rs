//! New connections to an address, each with a request and its answer, as many as are asked for and without waiting
//! for one another.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// A path of which the server keeps no log.
const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200";
/// A connection that takes longer has failed. Long enough for one packet in a row to be lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// One connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) began: SystemTime,
    /// How long it took until the answer was there, or why there was none.
    pub(crate) outcome: Result<Duration, ErrorKind>,
}

impl Visit {
    /// When it succeeded.
    pub(crate) fn answered(&self) -> Option<SystemTime> {
        Some(self.began + self.outcome.ok()?)
    }
}

/// Makes a connection to port 80 of `address` `every` so often until `ends`, from the network that the calling
/// thread is in. Those under way are waited for.
pub(crate) fn visit(
    address: Ipv4Addr,
    every: Duration,
    visits: &Mutex<Vec<Visit>>,
    ends: &AtomicBool,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let at = SocketAddr::from((address, 80));
    runtime.block_on(async {
        let mut ticks = interval(every);
        let mut under_way = JoinSet::new();
        let record = |visit| visits.lock().unwrap_or_else(PoisonError::into_inner).push(visit);
        while !ends.load(Ordering::Relaxed) {
            tokio::select! {
                _ = ticks.tick() => { under_way.spawn(one(at)); }
                Some(visit) = under_way.join_next() => record(visit.context("a connection")?),
            }
        }
        while let Some(visit) = under_way.join_next().await {
            record(visit.context("a connection")?);
        }
        Ok(())
    })
}

async fn one(at: SocketAddr) -> Visit {
    let (began, clock) = (SystemTime::now(), Instant::now());
    let outcome = match timeout(PATIENCE, request(at)).await {
        Ok(Ok(())) => Ok(clock.elapsed()),
        Ok(Err(error)) => Err(error.kind()),
        Err(_) => Err(ErrorKind::TimedOut),
    };
    Visit { began, outcome }
}

async fn request(at: SocketAddr) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    // Thousands of connections that have ended and linger would leave no port for others.
    socket.set_zero_linger()?;
    let mut stream = socket.connect(at).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = [0; ANSWER.len()];
    stream.read_exact(&mut answer).await?;
    if answer == ANSWER { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}
