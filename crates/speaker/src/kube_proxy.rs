//! Asks kube-proxy whether it serves Services of policy Local, at their `healthCheckNodePort`, as cloud load balancers do: it
//! answers 200 once the rules of the node lead to an endpoint here, and 503 as long as none do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use futures::StreamExt;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use placement::ServiceKey;
use speaker_core::announce::bgp::ProxyAnswer;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// As many answers may wait; then no more is asked, and nothing is lost.
pub(crate) const ANSWERS: usize = 64;
/// About so many Services it is asked at a time.
const AT_ONCE: usize = 16;
/// Who has not said that it serves a Service is asked again after that.
const AGAIN: Duration = Duration::from_millis(50);
/// It is on this node.
const PATIENCE: Duration = Duration::from_secs(1);

/// The Services to ask about, with their ports; those that have none need no answer.
pub(crate) type Asked = BTreeMap<ServiceKey, Option<NonZeroU16>>;

/// Asks about Services for as long as somebody may want to know. kube-proxy may listen on all addresses of the node or on that
/// one by which the cluster knows it.
pub(crate) async fn follow(
    mut asked: watch::Receiver<Asked>,
    node: IpAddr,
    answers: mpsc::Sender<(ServiceKey, ProxyAnswer)>,
) {
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), node];
    // Of these it was told that they are not served yet.
    let mut told = BTreeSet::new();
    loop {
        let now = asked.borrow_and_update().clone();
        told.retain(|service| now.contains_key(service));
        if now.is_empty() {
            if asked.changed().await.is_err() {
                return;
            }
            continue;
        }
        let each = now.into_iter().map(|(service, port)| ask_about(addresses, service, port));
        let mut rounds = futures::stream::iter(each).buffer_unordered(AT_ONCE);
        while let Some((service, answer)) = rounds.next().await {
            let news = match answer {
                Some(ProxyAnswer::Serves) => true,
                Some(ProxyAnswer::NotYet) => told.insert(service.clone()),
                None => false,
            };
            if let Some(answer) = answer.filter(|_| news)
                && answers.send((service, answer)).await.is_err()
            {
                return;
            }
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            changed = asked.changed() => if changed.is_err() { return },
        }
    }
}

/// What is answered about a Service.
async fn ask_about(
    addresses: [IpAddr; 3],
    service: ServiceKey,
    port: Option<NonZeroU16>,
) -> (ServiceKey, Option<ProxyAnswer>) {
    let answer = match port {
        Some(port) => ask(&addresses, port).await,
        None => Some(ProxyAnswer::Serves),
    };
    (service, answer)
}

/// What is answered on a port of one of these addresses; `None` where nobody does.
async fn ask(addresses: &[IpAddr], port: NonZeroU16) -> Option<ProxyAnswer> {
    for address in addresses {
        let asked = timeout(PATIENCE, status(SocketAddr::new(*address, port.get()))).await;
        match asked.ok().flatten() {
            Some(StatusCode::OK) => return Some(ProxyAnswer::Serves),
            Some(_) => return Some(ProxyAnswer::NotYet),
            None => {}
        }
    }
    None
}

async fn status(to: SocketAddr) -> Option<StatusCode> {
    let stream = TcpStream::connect(to).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get("/").header(header::HOST, to.to_string()).body(Empty::<Bytes>::new()).ok()?;
    let answer = async move { sender.send_request(request).await.ok().map(|answer| answer.status()) };
    // The connection ends when nobody asks for anything more.
    tokio::join!(answer, connection).0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;
    use axum::routing::get;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Longer than anything here should take.
    const DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn kube_proxy_is_asked_until_it_serves() {
        let serves = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&serves);
        let answer = move || {
            let serves = shared.load(Ordering::Relaxed);
            async move { if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE } }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = NonZeroU16::new(listener.local_addr().unwrap().port());
        // Bound, so that nobody else listens there, and not listened at.
        let nobody = TcpSocket::new_v4().unwrap();
        nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let closed = NonZeroU16::new(nobody.local_addr().unwrap().port());
        tokio::spawn(axum::serve(listener, Router::new().route("/", get(answer))).into_future());

        let [web, odd, silent] = ["web", "odd", "silent"].map(|name| ServiceKey::new("prod", name));
        let all = [(web.clone(), port), (odd.clone(), None), (silent.clone(), closed)].into();
        let (wanted, asked) = watch::channel(all);
        let (sender, mut answers) = mpsc::channel(ANSWERS);
        let task = tokio::spawn(follow(asked, Ipv4Addr::LOCALHOST.into(), sender));
        let mut next = async || timeout(DEADLINE, answers.recv()).await.unwrap().unwrap();
        let first = BTreeMap::from([next().await, next().await]);
        assert_eq!(first, [(web.clone(), ProxyAnswer::NotYet), (odd.clone(), ProxyAnswer::Serves)].into());
        wanted.send_modify(|asked| _ = asked.remove(&odd));
        serves.store(true, Ordering::Relaxed);
        loop {
            let (service, answer) = next().await;
            assert_ne!(service, silent, "nobody answers for it");
            if (service, answer) == (web.clone(), ProxyAnswer::Serves) {
                break;
            }
        }
        drop(wanted);
        timeout(DEADLINE, task).await.unwrap().unwrap();
    }
}
