//! An API server for tests: a function that answers requests.

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A request as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
}

impl Asked {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }
}

/// What it was asked so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    pub(crate) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, which: impl Fn(&Asked) -> bool) -> usize {
        self.all().iter().filter(|asked| which(asked)).count()
    }
}

/// A client of an API server that answers so: a code, and what it says.
pub(crate) fn api(mut answer: impl FnMut(&Asked) -> (u16, Value) + Send + 'static) -> (Client, Log) {
    api_of_text(move |asked| {
        let (code, value) = answer(asked);
        (code, format!("{value}\n"))
    })
}

/// The same with the text of the answer, for watches.
pub(crate) fn api_of_text(answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> (Client, Log) {
    let log = Log::default();
    let (asked_so_far, answer) = (log.clone(), Arc::new(Mutex::new(answer)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (method, uri) = (request.method().clone(), request.uri());
        let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
        let asked = Asked { method, path, query };
        asked_so_far.0.lock().unwrap().push(asked.clone());
        let (code, text) = (*answer.lock().unwrap())(&asked);
        let response = Response::builder().status(code).body(Body::from(text.into_bytes())).unwrap();
        ready(Ok::<_, Infallible>(response))
    });
    (Client::new(service, "default"), log)
}

/// What an API server says when it refuses something.
pub(crate) fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (code, status)
}
