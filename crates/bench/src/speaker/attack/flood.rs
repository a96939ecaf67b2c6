//! What strangers do to a web server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// An attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Connections that ask for metrics again and again without waiting for answers.
    Pipelined,
    /// Connections that never finish what they ask.
    HalfOpen,
}

const PIPELINED: usize = 2000;
const HALF_OPEN: usize = 10_000;
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n";
/// What a connection asks before it reads anything.
const AT_ONCE: usize = 64;
const HALF: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: be";
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
const AGAIN_AFTER: Duration = Duration::from_millis(10);
const GLANCE: Duration = Duration::from_millis(100);

impl Kind {
    fn connections(self) -> usize {
        match self {
            Self::Pipelined => PIPELINED,
            Self::HalfOpen => HALF_OPEN,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipelined => write!(f, "{PIPELINED} that pipeline"),
            Self::HalfOpen => write!(f, "{HALF_OPEN} half-open"),
        }
    }
}

/// Attacks until `ends`, from the network that the calling thread is in. A connection that is closed is made again.
pub(super) fn flood(kind: Kind, at: SocketAddr, ends: &AtomicBool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut attackers = JoinSet::new();
        for _ in 0..kind.connections() {
            attackers.spawn(async move {
                loop {
                    if attack(kind, at).await.is_err() {
                        sleep(AGAIN_AFTER).await;
                    }
                }
            });
        }
        while !ends.load(Ordering::Relaxed) {
            sleep(GLANCE).await;
        }
    });
    Ok(())
}

async fn attack(kind: Kind, at: SocketAddr) -> io::Result<()> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Those that have ended would leave no port for others.
    socket.set_zero_linger()?;
    let mut stream = timeout(CONNECTED_WITHIN, socket.connect(at)).await??;
    match kind {
        Kind::Pipelined => stream.write_all(&REQUEST.repeat(AT_ONCE)).await?,
        Kind::HalfOpen => stream.write_all(HALF).await?,
    }
    let mut answer = [0; 4096];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What the first connection of an attack says within a moment.
    fn said(kind: Kind) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, ends) = (listener.local_addr().unwrap(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| flood(kind, at, &ends));
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            let mut bytes = Vec::new();
            assert!(stream.read_to_end(&mut bytes).is_err(), "it stays open");
            ends.store(true, Ordering::Relaxed);
            String::from_utf8(bytes).unwrap()
        })
    }

    #[test]
    fn one_kind_asks_often_and_the_other_never_to_the_end() {
        assert_eq!(said(Kind::Pipelined).matches("\r\n\r\n").count(), AT_ONCE);
        assert_eq!(said(Kind::HalfOpen).as_bytes(), HALF);
    }
}
