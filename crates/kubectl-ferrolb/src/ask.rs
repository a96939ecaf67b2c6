//! `/status` of the programs, by way of the API server's Pod proxy.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use introspection::{
    ControllerStatus, Document, SpeakerStatus, Status, TOKEN_AUDIENCE, TOKEN_HEADER, TRACE_PATH, Trace,
};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::client::{Failure, Why};
use crate::programs::Program;

/// So many are asked at once.
const AT_ONCE: usize = 16;
/// How long a token is good for: the shortest that the API server makes.
const TOKEN_SECONDS: i64 = 600;

/// A token is used again for so long, well within that.
const TOKEN_REUSED: Duration = Duration::from_mins(4);

/// What is said where a program does not accept a token.
const TOKEN_REFUSED: &str = "it does not accept the token";

/// The tokens that were made, by namespace and service account. Who looks again and again makes a new one now and then only.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<(String, String), (Instant, String)>>);

impl Tokens {
    /// One that is good for a while yet, else a new one.
    async fn of(&self, client: &Client, (namespace, account): (&str, &str)) -> Result<String, String> {
        let key = (namespace.to_owned(), account.to_owned());
        let kept = self.lock().get(&key).cloned();
        if let Some((made, token)) = kept
            && made.elapsed() < TOKEN_REUSED
        {
            return Ok(token);
        }
        let made = token(client, (namespace, account)).await?;
        self.lock().insert(key, (Instant::now(), made.clone()));
        Ok(made)
    }

    /// Uses none of them again: a service account may have been made anew.
    fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), (Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What programs are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// What they know.
    Status,
    /// Speakers: who answers for this address on the LAN.
    Trace(IpAddr),
}

impl fmt::Display for Question {
    /// As a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("/status"),
            Self::Trace(ip) => write!(f, "{TRACE_PATH}?ip={ip}"),
        }
    }
}

/// What a program said, or why it said nothing.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) program: Program,
    pub(crate) document: Result<Document, String>,
}

impl Told {
    /// What it said, of a controller.
    pub(crate) fn controller(&self) -> Option<&ControllerStatus> {
        match self.document.as_ref().ok().map(|document| &document.status) {
            Some(Status::ControllerStatus(status)) => Some(status),
            Some(Status::SpeakerStatus(_) | Status::Trace(_)) | None => None,
        }
    }

    /// What it said, of a speaker.
    pub(crate) fn speaker(&self) -> Option<&SpeakerStatus> {
        match self.document.as_ref().ok().map(|document| &document.status) {
            Some(Status::SpeakerStatus(status)) => Some(status),
            Some(Status::ControllerStatus(_) | Status::Trace(_)) | None => None,
        }
    }

    /// What it said, asked who answers for an address.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        match self.document.as_ref().ok().map(|document| &document.status) {
            Some(Status::Trace(trace)) => Some(trace),
            Some(Status::ControllerStatus(_) | Status::SpeakerStatus(_)) | None => None,
        }
    }

    /// Why it said nothing, in a sentence that names it.
    pub(crate) fn failure(&self) -> Option<String> {
        let why = self.document.as_ref().err()?;
        Some(format!("Pod {}/{} cannot be asked: {why}", self.program.namespace, self.program.pod))
    }
}

/// Asks all of them, in the same order. One that does not answer within `patience` is not waited for; where that is zero,
/// none is asked.
pub(crate) async fn ask(
    client: &Client,
    programs: &[Program],
    question: &Question,
    patience: Duration,
    tokens: &Tokens,
) -> Vec<Told> {
    if patience.is_zero() {
        let unasked = |program: &Program| Told {
            program: program.clone(),
            document: Err("that is not wanted (--pod-timeout 0)".to_owned()),
        };
        return programs.iter().map(unasked).collect();
    }
    let mut by_account: BTreeMap<(&str, &str), Result<String, String>> = BTreeMap::new();
    for program in programs.iter().filter(|program| program.secure && program.phase == "Running") {
        let account = (program.namespace.as_str(), program.service_account.as_str());
        if let Entry::Vacant(entry) = by_account.entry(account) {
            entry.insert(tokens.of(client, account).await);
        }
    }
    let asked = programs.iter().map(|program| {
        let account = (program.namespace.as_str(), program.service_account.as_str());
        let token = by_account.get(&account).filter(|_| program.secure).cloned();
        async move {
            let document = match timeout(patience, ask_one(client, program, question, token)).await {
                Ok(document) => document,
                Err(_) => Err(format!("it does not answer within {} s", patience.as_secs())),
            };
            Told { program: program.clone(), document }
        }
    });
    // Collected, as the compiler cannot tell of a borrowing iterator that it may be sent to another thread.
    let asked: Vec<_> = asked.collect();
    let told: Vec<Told> = futures::stream::iter(asked).buffered(AT_ONCE).collect().await;
    let refused = |told: &Told| told.document.as_ref().is_err_and(|why| why.starts_with(TOKEN_REFUSED));
    if told.iter().any(refused) {
        tokens.forget();
    }
    told
}

/// A token that is good for reading documents, and for nothing else.
async fn token(client: &Client, (namespace, account): (&str, &str)) -> Result<String, String> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![TOKEN_AUDIENCE.to_owned()],
            expiration_seconds: Some(TOKEN_SECONDS),
            bound_object_ref: None,
        },
        ..TokenRequest::default()
    };
    let made = api.create_token_request(account, &PostParams::default(), &request).await;
    let made = made.map_err(|error| {
        let (resource, why) = ("serviceaccounts/token", Why::of(&error));
        // A right is on all accounts of a namespace.
        let resource =
            if why == Why::Forbidden { resource.to_owned() } else { format!("{resource} of {account}") };
        Failure { verb: "create", resource, namespace: Some(namespace.to_owned()), why }.to_string()
    })?;
    made.status.map(|status| status.token).ok_or_else(|| "the API server made no token".to_owned())
}

async fn ask_one(
    client: &Client,
    program: &Program,
    question: &Question,
    token: Option<Result<String, String>>,
) -> Result<Document, String> {
    let Program { namespace, pod, port, secure, phase, .. } = program;
    if phase != "Running" {
        return Err(format!("it is not running, but {phase}"));
    }
    let scheme = if *secure { "https:" } else { "" };
    let path = format!("/api/v1/namespaces/{namespace}/pods/{scheme}{pod}:{port}/proxy{question}");
    let mut request = http::Request::get(path);
    if let Some(token) = token {
        request = request.header(TOKEN_HEADER, token?);
    }
    let request = request.body(Vec::new()).map_err(|error| error.to_string())?;
    let text = client.request_text(request).await.map_err(|error| refused(&error, namespace))?;
    let document: Document =
        serde_json::from_str(&text).map_err(|error| format!("its answer cannot be read: {error}"))?;
    if document.api_version != introspection::API_VERSION {
        let (theirs, ours) = (document.api_version, introspection::API_VERSION);
        return Err(format!("its answer is of version {theirs}, and this program reads {ours}"));
    }
    Ok(document)
}

/// Why there is no answer. The API server's own refusals have a reason; a program's are a word of text.
fn refused(error: &kube::Error, namespace: &str) -> String {
    let kube::Error::Api(status) = error else {
        return match Why::of(error) {
            Why::Unreachable(why) => format!("the API server cannot be reached: {why}"),
            why => format!("{why:?}"),
        };
    };
    let text = status.message.trim();
    match status.code {
        403 if text.contains("pods/proxy") || text.contains("cannot") => {
            let (resource, namespace) = ("pods/proxy".to_owned(), Some(namespace.to_owned()));
            Failure { verb: "get", resource, namespace, why: Why::Forbidden }.to_string()
        }
        401 | 403 => format!("{TOKEN_REFUSED}: {text}"),
        404 if text.contains("/metrics") || text.contains("/healthz") => {
            "it runs a version that cannot be asked that".to_owned()
        }
        404 => "it is gone".to_owned(),
        429 if text.starts_with("asked too often") => text.to_owned(),
        503 if text.starts_with("not started") => text.to_owned(),
        code => format!("the API server does not reach it ({code}: {text})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, text: &str) -> String {
        let status = kube::core::Status::failure(text, "").with_code(code);
        refused(&kube::Error::Api(status.boxed()), "lb")
    }

    #[test]
    fn each_reason_for_silence_has_a_word_of_its_own() {
        for (code, text, expected) in [
            (
                403,
                "pods \"s-1\" is forbidden: User \"u\" cannot get resource \"pods/proxy\"",
                "may not get pods/proxy",
            ),
            (401, "Unauthorized", "does not accept the token"),
            (403, "Authorization denied for user \"u\"", "does not accept the token"),
            (404, "there is /metrics", "cannot be asked that"),
            (404, "there are /metrics and /status", "cannot be asked that"),
            (404, "there are /healthz, /readyz and /metrics", "cannot be asked that"),
            (429, "asked too often, try again in a few seconds", "asked too often, try"),
            (404, "pods \"s-1\" not found", "it is gone"),
            (503, "not started yet, waiting for: MetalLB to go", "not started yet"),
            (503, "error trying to reach service: dial tcp: connection refused", "does not reach it (503"),
        ] {
            let said = answered(code, text);
            assert!(said.contains(expected), "{code} {text}: {said}");
        }
    }
}
