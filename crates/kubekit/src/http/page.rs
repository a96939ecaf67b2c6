//! What is answered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use introspection::TRACE_PATH;
use prometheus_client::registry::Registry;

use super::connections::Answer;
use super::pace::Pace;
use super::status::{NoStatus, StatusPage};
use super::trace::{NoTrace, TracePage};
use super::{Content, Readiness};
use crate::watchdog::Watchdog;

/// So long what was rendered is good for all who ask.
const FRESH: Duration = Duration::from_millis(250);
/// Between two answers with metrics, which may have a megabyte.
const APART: Duration = Duration::from_millis(20);

/// What can be asked for.
#[derive(Debug)]
pub(super) struct Page {
    readiness: Readiness,
    watchdog: Watchdog,
    registry: Registry,
    status: StatusPage,
    trace: TracePage,
    rendered: Mutex<Option<(Instant, Bytes)>>,
    pace: Pace,
}

/// Answers everything, to everybody.
pub(super) async fn answer<B>(page: Arc<Page>, request: Request<B>) -> Answer {
    match request.uri().path() {
        "/metrics" => page.metrics(request.method()).await,
        "/status" => page.status(request.method()).await,
        TRACE_PATH => page.trace(&request).await,
        "/healthz" | "/readyz" => page.probe(&request),
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics, /status and /trace\n"),
    }
}

impl Page {
    pub(super) fn new(content: Content) -> Self {
        let Content { readiness, watchdog, metrics: registry, status, trace, namespace: _ } = content;
        let (status, trace) = (StatusPage::new(status), TracePage::new(trace));
        Self {
            readiness,
            watchdog,
            registry,
            status,
            trace,
            rendered: Mutex::default(),
            pace: Pace::new(APART),
        }
    }

    /// Answers probes only.
    pub(super) fn probe<B>(&self, request: &Request<B>) -> Answer {
        match request.uri().path() {
            "/healthz" | "/readyz" if !is_read(request.method()) => not_allowed(),
            "/healthz" => {
                let stuck = self.watchdog.look(Instant::now());
                let stuck: Vec<String> = stuck.iter().map(ToString::to_string).collect();
                ok_unless(StatusCode::INTERNAL_SERVER_ERROR, "stuck", &stuck)
            }
            "/readyz" => ok_unless(StatusCode::SERVICE_UNAVAILABLE, "waiting for", &self.readiness.missing()),
            _ => text(StatusCode::NOT_FOUND, "there are /healthz and /readyz\n"),
        }
    }

    /// Answers with metrics, when it is time.
    pub(super) async fn metrics(&self, method: &Method) -> Answer {
        if !is_read(method) {
            return not_allowed();
        }
        self.pace.pass().await;
        match self.rendered(Instant::now()) {
            Ok(text) => {
                let mut answer = Response::new(Full::new(text));
                // Some of upstream's counters have names that OpenMetrics does not allow. The older format takes all.
                let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, prometheus);
                answer
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// Answers with what the program knows, when it is time.
    pub(super) async fn status(&self, method: &Method) -> Answer {
        if !is_read(method) {
            return not_allowed();
        }
        self.pace.pass().await;
        match self.status.document().await {
            Ok(document) => json(document),
            Err(NoStatus::NotStarted) => {
                let missing = self.readiness.missing().join(", ");
                text(StatusCode::SERVICE_UNAVAILABLE, format!("not started yet, waiting for: {missing}\n"))
            }
            Err(NoStatus::Failed(why)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")),
        }
    }

    /// Answers who answers for an address on the LAN, unless that is asked for too often.
    pub(super) async fn trace<B>(&self, request: &Request<B>) -> Answer {
        if !is_read(request.method()) {
            return not_allowed();
        }
        let (code, why) = match self.trace.of(request.uri().query()).await {
            Ok(document) => return json(document),
            Err(NoTrace::NotHere) => (StatusCode::NOT_FOUND, "a speaker is to be asked that".to_owned()),
            Err(NoTrace::Unreadable(why)) => (StatusCode::BAD_REQUEST, why),
            Err(NoTrace::TooOften) => {
                (StatusCode::TOO_MANY_REQUESTS, "asked too often, try again in a few seconds".to_owned())
            }
            Err(NoTrace::NotStarted) => {
                let missing = self.readiness.missing().join(", ");
                (StatusCode::SERVICE_UNAVAILABLE, format!("not started yet, waiting for: {missing}"))
            }
            Err(NoTrace::Failed(why)) => (StatusCode::INTERNAL_SERVER_ERROR, why),
        };
        text(code, format!("{why}\n"))
    }

    fn rendered(&self, now: Instant) -> Result<Bytes, std::fmt::Error> {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, text)) = &*rendered
            && now.saturating_duration_since(*at) < FRESH
        {
            return Ok(text.clone());
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        let text = Bytes::from(text);
        *rendered = Some((now, text.clone()));
        Ok(text)
    }
}

/// A document.
fn json(text: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An answer in a few words.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn ok_unless<S: AsRef<str>>(failure: StatusCode, what: &str, faults: &[S]) -> Answer {
    if faults.is_empty() {
        return text(StatusCode::OK, "ok\n");
    }
    let faults: Vec<&str> = faults.iter().map(AsRef::as_ref).collect();
    text(failure, format!("{what}: {}\n", faults.join(", ")))
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn not_allowed() -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    fn page() -> (Page, Counter) {
        let (counter, mut metrics) = (Counter::default(), Registry::default());
        metrics.register("asked", "Help", counter.clone());
        let readiness = Readiness::waiting_for(["pools", "services"]);
        let (status, _) = crate::http::status::channel();
        let namespace = "metallb-system".to_owned();
        let content =
            Content { readiness, watchdog: Watchdog::default(), metrics, status, trace: None, namespace };
        (Page::new(content), counter)
    }

    async fn probe(page: &Page, method: Method, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let answer = page.probe(&request);
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn probes_say_what_is_missing_and_what_is_stuck() {
        let (page, _) = page();
        assert_eq!(probe(&page, Method::GET, "/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(
            probe(&page, Method::GET, "/readyz").await,
            (503, "waiting for: pools, services\n".to_owned())
        );
        for what in ["pools", "services"] {
            page.readiness.reached(what);
        }
        assert_eq!(probe(&page, Method::GET, "/readyz?verbose").await.0, 200);
        let stuck = page.watchdog.task_with("index", Duration::ZERO);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(
            probe(&page, Method::GET, "/healthz").await,
            (500, "stuck: index (no progress for 0 s)\n".to_owned())
        );
        drop(stuck);
        assert_eq!(probe(&page, Method::HEAD, "/healthz").await.0, 200);
        assert_eq!(probe(&page, Method::POST, "/healthz").await.0, 405);
        for elsewhere in ["/", "/metrics", "/healthz/x"] {
            let expected = (404, "there are /healthz and /readyz\n".to_owned());
            assert_eq!(probe(&page, Method::GET, elsewhere).await, expected, "{elsewhere}");
        }
    }

    #[test]
    fn metrics_are_rendered_a_few_times_a_second_for_all() {
        let (page, counter) = page();
        let start = Instant::now();
        let shown = |at: Duration| {
            let text = page.rendered(start + at).unwrap();
            String::from_utf8(text.to_vec()).unwrap().contains("asked_total 1")
        };
        assert!(!shown(Duration::ZERO));
        counter.inc();
        assert!(!shown(FRESH / 2));
        assert!(shown(FRESH));
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_sent_at_a_pace_and_who_gives_up_costs_no_time() {
        let (page, _) = page();
        let start = tokio::time::Instant::now();
        page.metrics(&Method::GET).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        let gives_up = tokio::time::timeout(APART / 4, page.metrics(&Method::GET));
        assert!(gives_up.await.is_err());
        page.metrics(&Method::GET).await;
        // Timers have the resolution of a millisecond.
        assert!(start.elapsed() < APART + Duration::from_millis(2), "{:?}", start.elapsed());
        page.metrics(&Method::GET).await;
        assert!(start.elapsed() >= 2 * APART);
    }
}
