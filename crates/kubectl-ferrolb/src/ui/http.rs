//! The web server: HTTP/1 on the loopback address, within bounds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::access::{self, Access, HEADERS, Refused};
use super::page;
use super::query::Query;
use super::watching::Hub;

/// As many connections are open at a time: several windows, each with some.
const CONNECTIONS: usize = 64;
/// For the headers of a request, and between two requests.
const IDLE: Duration = Duration::from_secs(30);
const MOST_HEADER_BYTES: usize = 32 * 1024;
/// How long a page waits for news at a time.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// When nothing can be accepted, as with no files left.
const RETRY: Duration = Duration::from_millis(50);

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");

type Answer = Response<Full<Bytes>>;

/// Answers whoever asks, for ever. Who waits for news is answered within `patience`.
pub(super) async fn serve(listener: TcpListener, access: Arc<Access>, hub: Arc<Hub>, patience: Duration) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(RETRY).await;
            continue;
        };
        let (access, hub) = (Arc::clone(&access), Arc::clone(&hub));
        tokio::spawn(async move {
            let service = service_fn(|request| async {
                Ok::<_, Infallible>(answer(&access, &hub, patience, request).await)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .max_buf_size(MOST_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            // Browsers close connections whenever they like.
            _ = connection.await;
            drop(permit);
        });
    }
}

async fn answer(access: &Access, hub: &Hub, patience: Duration, request: Request<Incoming>) -> Answer {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let file = match access.decide(request.method(), path, request.headers()) {
        access::Request::File(file) => file,
        access::Request::Enter => {
            let mut answer = answered(StatusCode::SEE_OTHER, "text/plain", "");
            if let Ok(location) = HeaderValue::try_from(format!("/{}/", access.token())) {
                answer.headers_mut().insert(LOCATION, location);
            }
            return answer;
        }
        access::Request::Refused(why) => return refused(why),
    };
    hub.visit();
    match file {
        "" => show(hub, &Query::read(query), page::document).await,
        "live" => {
            let query = Query::read(query);
            if let Some(after) = query.after
                && timeout(patience, hub.other_than(after)).await.is_err()
            {
                let (version, looked) = hub.version();
                let mut answer = answered(StatusCode::NO_CONTENT, "text/plain", "");
                stamp(&mut answer, version.number, looked);
                return answer;
            }
            show(hub, &query, page::fragment).await
        }
        "style.css" => answered(StatusCode::OK, "text/css; charset=utf-8", STYLE),
        "page.js" => answered(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => answered(StatusCode::OK, "image/svg+xml", ICON),
        _ => refused(Refused::NotFound),
    }
}

/// A page of what there is to show.
async fn show(hub: &Hub, query: &Query, page: fn(&page::Shown<'_>) -> String) -> Answer {
    let drain = match &query.drain {
        Some(node) => Some((node.as_str(), hub.drain(node).await)),
        None => None,
    };
    let (version, looked) = hub.version();
    let shown = page::Shown { version: version.number, view: &version.view, query, drain, looked };
    let mut answer = answered(StatusCode::OK, "text/html; charset=utf-8", page(&shown));
    stamp(&mut answer, version.number, looked);
    answer
}

/// Says which version an answer is, and when the cluster was last looked at.
fn stamp(answer: &mut Answer, number: u64, looked: Option<jiff::Timestamp>) {
    answer.headers_mut().insert("ferrolb-version", number.into());
    if let Some(looked) = looked.and_then(|looked| HeaderValue::try_from(looked.to_string()).ok()) {
        answer.headers_mut().insert("ferrolb-looked", looked);
    }
}

fn refused(why: Refused) -> Answer {
    let (status, text) = match why {
        Refused::Method => (StatusCode::METHOD_NOT_ALLOWED, "This page can only be read.\n"),
        Refused::Host => (StatusCode::MISDIRECTED_REQUEST, "This page is served to this machine only.\n"),
        Refused::OtherSite => (StatusCode::FORBIDDEN, "This page is not for other sites.\n"),
        Refused::UsedTicket => (
            StatusCode::GONE,
            "This address was good once. Take the one that `kubectl ferrolb ui` has printed; if it was not you who has \
             used this one, stop the program and start it again.\n",
        ),
        Refused::NotFound => (
            StatusCode::NOT_FOUND,
            "There is nothing here. Take the address that `kubectl ferrolb ui` has printed.\n",
        ),
    };
    answered(status, "text/plain; charset=utf-8", text)
}

fn answered(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests;
