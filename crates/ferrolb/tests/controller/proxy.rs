//! An API server that misbehaves: a proxy that passes requests on, or does something else to them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::fixture::Cluster;

/// What the proxy does to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// Passes them on.
    None,
    /// Refuses writes, as a server under load does.
    Throttle,
    /// Answers every watch with the end of history.
    Expire,
    /// Takes them and never answers.
    Hang,
    /// Answers no watch and no list.
    Blind,
    /// Answers no watch and refuses writes, but answers lists.
    BlindAndThrottle,
    /// Passes requests on, but nothing more of the watches that are under way, as if their connections were dead.
    Mute,
    /// Refuses every request whose path has this in it, as where a right is missing.
    Forbid(&'static str),
}

/// The variable that makes every API server slow, for all controllers: it holds each write and each message of a watch for up
/// to so many milliseconds, each for another time. What fails then expects two things in an order that nobody promises.
const DELAYS: &str = "FERROLB_TEST_DELAYS";

/// A running proxy. It ends with the runtime.
pub(crate) struct Proxy {
    port: u16,
    mischief: watch::Sender<Mischief>,
    statuses: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    mischief: watch::Receiver<Mischief>,
    statuses: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts one in front of a cluster.
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mischief, receiver) = watch::channel(Mischief::None);
        let statuses = Arc::new(AtomicUsize::new(0));
        let refused = Arc::new(AtomicUsize::new(0));
        let shared = Shared {
            client: cluster.client.clone(),
            mischief: receiver,
            statuses: Arc::clone(&statuses),
            refused: Arc::clone(&refused),
        };
        let router = Router::new().fallback(pass).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, mischief, statuses, refused }
    }

    /// One that does nothing but hold everything for a while, where somebody wants that.
    pub(crate) async fn slow(cluster: &Cluster) -> Option<Self> {
        if longest_delay().is_zero() { None } else { Some(Self::start(cluster).await) }
    }

    /// From now on. Reads and watches that are under way are cut off. A write that was passed on is answered: whoever sees what
    /// it wrote may call this before the answer is there, and it would be made again.
    pub(crate) fn set(&self, mischief: Mischief) {
        self.mischief.send_replace(mischief);
    }

    /// How many writes of a Service's status have come through.
    pub(crate) fn status_writes(&self) -> usize {
        self.statuses.load(Ordering::SeqCst)
    }

    /// How many writes were refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// A kubeconfig that leads through the proxy.
    pub(crate) fn kubeconfig(&self, cluster: &Cluster) -> PathBuf {
        let path = cluster.server.kubeconfig().with_extension(format!("proxy-{}", self.port));
        // Another controller may be reading it at this moment.
        if path.exists() {
            return path;
        }
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\n\
             users: [{{name: c, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n",
            self.port
        );
        fs::write(&path, text).unwrap();
        path
    }
}

async fn pass(State(mut shared): State<Shared>, request: Request) -> Response {
    let mischief = *shared.mischief.borrow_and_update();
    let query = request.uri().query().unwrap_or_default();
    let (is_watch, writes) = (query.contains("watch=true"), request.method() == Method::PATCH);
    match mischief {
        Mischief::Throttle | Mischief::BlindAndThrottle if writes => {
            shared.refused.fetch_add(1, Ordering::SeqCst);
            return (StatusCode::TOO_MANY_REQUESTS, [("Retry-After", "1")], "slow down").into_response();
        }
        Mischief::Expire if is_watch => {
            let expired = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","reason":"Expired","code":410}}"#;
            return format!("{expired}\n").into_response();
        }
        Mischief::Blind | Mischief::BlindAndThrottle
            if is_watch || (mischief == Mischief::Blind && request.method() == Method::GET) =>
        {
            _ = shared.mischief.changed().await;
            return StatusCode::BAD_GATEWAY.into_response();
        }
        Mischief::Forbid(path) if request.uri().path().contains(path) => {
            shared.refused.fetch_add(1, Ordering::SeqCst);
            let refusal = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no right","reason":"Forbidden","code":403}"#;
            return (StatusCode::FORBIDDEN, refusal).into_response();
        }
        Mischief::Hang => std::future::pending().await,
        Mischief::None
        | Mischief::Throttle
        | Mischief::Expire
        | Mischief::Blind
        | Mischief::BlindAndThrottle
        | Mischief::Mute
        | Mischief::Forbid(_) => {}
    }
    if writes && request.uri().path().ends_with("/status") && request.uri().path().contains("/services/") {
        shared.statuses.fetch_add(1, Ordering::SeqCst);
    }
    let reads = request.method() == Method::GET;
    let held = if is_held(&request) { delay() } else { Duration::ZERO };
    tokio::time::sleep(held).await;
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let request = Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let answer = tokio::select! {
        answer = shared.client.send(request) => answer,
        _ = shared.mischief.changed(), if reads => return StatusCode::BAD_GATEWAY.into_response(),
    };
    match answer {
        Ok(response) if is_watch => response.map(|body| until_changed(body, shared.mischief)).into_response(),
        Ok(response) => response.map(Body::new).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// A watch that ends when something else is to be done; if that is [`Mischief::Mute`], it only says nothing any more.
fn until_changed(body: kube::client::Body, mut mischief: watch::Receiver<Mischief>) -> Body {
    use futures::{FutureExt, StreamExt};
    let ends = mischief.clone();
    let change = async move { _ = mischief.changed().await };
    let silence = async move {
        if *ends.borrow() == Mischief::Mute {
            std::future::pending::<()>().await;
        }
    };
    let silence = silence.into_stream().filter_map(async |()| None);
    let late = |message| {
        let due = Instant::now() + delay();
        async move {
            tokio::time::sleep_until(due.into()).await;
            message
        }
    };
    // As many as a server sends at once: each is late by itself, and they stay in order.
    let spoken = Body::new(body).into_data_stream().map(late).buffered(1000).take_until(Box::pin(change));
    Body::from_stream(spoken.chain(Box::pin(silence)))
}

/// Whether it is a write to be held. Leases come in time: whoever leads is not what is looked for.
fn is_held(request: &Request) -> bool {
    request.method() != Method::GET && !request.uri().path().contains("/leases")
}

/// Up to the longest, each time another one.
fn delay() -> Duration {
    let random = RandomState::new().build_hasher().finish();
    longest_delay() * u32::try_from(random % 1_000).unwrap() / 1_000
}

fn longest_delay() -> Duration {
    let milliseconds = env::var(DELAYS).map_or(0, |text| text.parse().expect("a number of milliseconds"));
    Duration::from_millis(milliseconds)
}
