//! Connections within bounds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::pace::Pace;

pub(super) type Answer = Response<Full<Bytes>>;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many are open at a time.
    connections: usize,
    /// The time between two that begin, in the order in which they came.
    apart: Option<Duration>,
    /// For a handshake, for the headers of a request, and between two requests.
    idle: Duration,
    /// For all that it asks.
    lifetime: Duration,
    /// How often it may ask.
    requests: usize,
}

/// The headers of a request: a token may have some kilobytes.
const MOST_HEADER_BYTES: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;
/// When nothing can be accepted, as with no files left.
const RETRY: Duration = Duration::from_millis(50);

impl Limits {
    /// A connection costs little, and a probe may be behind it.
    pub(super) const PLAIN: Self = Self {
        connections: 512,
        apart: None,
        idle: Duration::from_secs(5),
        lifetime: Duration::from_secs(30),
        requests: 32,
    };
    /// A handshake costs a signature, and no probe is behind it.
    pub(super) const SECURE: Self =
        Self { connections: 64, apart: Some(Duration::from_millis(5)), ..Self::PLAIN };

    /// Waits for a handshake, though not for long.
    pub(super) async fn shake_hands<S>(self, hands: impl Future<Output = io::Result<S>>) -> Option<S> {
        timeout(self.idle, hands).await.ok()?.ok()
    }

    /// Answers what is asked on a connection, until it has had its time or its number of requests.
    pub(super) async fn talk<S, F>(self, stream: S, answer: impl Fn(Request<Incoming>) -> F)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future<Output = Answer>,
    {
        let asked = AtomicUsize::new(0);
        let service = service_fn(|request| {
            let last = asked.fetch_add(1, Ordering::Relaxed) + 1 >= self.requests;
            let answer = answer(request);
            async move {
                let mut answer = answer.await;
                if last {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle)
            .max_buf_size(MOST_HEADER_BYTES)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        match timeout(self.lifetime, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "connection ended"),
            Err(_) => debug!("connection ended: it has had its time"),
        }
    }
}

/// Serves all connections, for ever.
///
/// All that come are taken at once, also those that then wait for their turn: in the kernel's queue nobody's place depends on how
/// many others the same host has made, and those that were closed long ago are waited for.
pub(super) async fn serve<F>(listener: TcpListener, limits: Limits, serve: impl Fn(TcpStream, Limits) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut tasks, mut open) = (JoinSet::new(), Open::default());
    let turn = limits.apart.map(|apart| Arc::new(Pace::new(apart)));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if open.count() >= limits.connections {
                        open.evict();
                    }
                    let (turn, served) = (turn.clone(), serve(stream, limits));
                    let task = tasks.spawn(async move {
                        if let Some(turn) = turn {
                            turn.pass().await;
                        }
                        served.await;
                    });
                    open.add(source(peer.ip()), task);
                    // It may have asked already.
                    yield_now().await;
                }
                Err(error) => {
                    debug!(%error, "connection not accepted");
                    sleep(RETRY).await;
                }
            },
            Some(ended) = tasks.join_next_with_id() => {
                open.remove(ended.map_or_else(|error| error.id(), |(task, ())| task));
            }
        }
    }
}

/// The connections that are open, by who has made them, the oldest first.
#[derive(Debug, Default)]
struct Open {
    sources: HashMap<IpAddr, BTreeMap<u64, AbortHandle>>,
    tasks: HashMap<Id, (IpAddr, u64)>,
    next: u64,
}

impl Open {
    fn count(&self) -> usize {
        self.tasks.len()
    }

    fn add(&mut self, source: IpAddr, task: AbortHandle) {
        self.tasks.insert(task.id(), (source, self.next));
        self.sources.entry(source).or_default().insert(self.next, task);
        self.next += 1;
    }

    fn remove(&mut self, task: Id) -> Option<AbortHandle> {
        let (source, number) = self.tasks.remove(&task)?;
        let of_source = self.sources.get_mut(&source)?;
        let task = of_source.remove(&number);
        if of_source.is_empty() {
            self.sources.remove(&source);
        }
        task
    }

    /// Closes the oldest of the source that has most.
    fn evict(&mut self) {
        let oldest = |of_source: &BTreeMap<u64, AbortHandle>| {
            let (number, task) = of_source.first_key_value()?;
            Some(((of_source.len(), Reverse(*number)), task.id()))
        };
        let first = self.sources.values().filter_map(oldest).max_by_key(|(rank, _)| *rank);
        if let Some(task) = first.and_then(|(_, id)| self.remove(id)) {
            task.abort();
        }
    }
}

/// Who sends: a host has all addresses of an IPv6 network.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;
    use crate::http::listen::listen;

    #[tokio::test]
    async fn the_oldest_of_whoever_has_most_goes_first() {
        let [flood, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let mut tasks = JoinSet::new();
        let mut open = Open::default();
        let mut numbers = Vec::new();
        for from in [other, flood, flood, other, flood] {
            let task = tasks.spawn(std::future::pending::<()>());
            numbers.push(task.id());
            open.add(from, task);
        }
        let mut evicted = |open: &mut Open| {
            open.evict();
            let gone = numbers.iter().position(|id| !open.tasks.contains_key(id)).unwrap();
            numbers.remove(gone);
            gone
        };
        assert_eq!(evicted(&mut open), 1, "the oldest of the flood, not the oldest of all");
        assert_eq!(evicted(&mut open), 0, "with two each, the oldest");
        assert_eq!(evicted(&mut open), 0, "the flood has most again");
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn whoever_comes_is_served_soon_while_another_host_makes_connections_and_closes_them() {
        let listener = listen(([0, 0, 0, 0], 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        // From an address of its own: all of 127.0.0.0/8 is this host.
        let connect = async move |from: [u8; 4]| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((from, 0).into()).unwrap();
            socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
        };
        for _ in 0..1000 {
            drop(connect([127, 0, 0, 2]).await);
        }
        tokio::spawn(serve(listener, Limits::SECURE, |mut stream, _| async move {
            _ = stream.write_all(b"served").await;
        }));
        let flood = tokio::spawn(async move {
            loop {
                drop(connect([127, 0, 0, 2]).await);
                sleep(Duration::from_millis(1)).await;
            }
        });
        let mut answer = String::new();
        // The thousand that came before would take five seconds, one after the other.
        let answered = async { connect([127, 0, 0, 3]).await.read_to_string(&mut answer).await };
        timeout(Duration::from_secs(4), answered).await.expect("it waits for the flood").unwrap();
        assert_eq!(answer, "served");
        flood.abort();
    }

    #[test]
    fn a_host_is_one_source_whatever_its_address_in_its_network() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
