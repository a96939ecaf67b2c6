//! `/status` of the programs, by way of the API server's Pod proxy.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use introspection::{
    ControllerStatus, DhcpServers, Document, SpeakerStatus, Status, TOKEN_AUDIENCE, TOKEN_HEADER, TRACE_PATH,
    Trace,
};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::timeout;

use crate::client::{Failure, Why};
use crate::output::some;
use crate::programs::Program;

/// So many are asked at once.
const AT_ONCE: usize = 16;
/// How long a token is good for: the shortest that the API server makes.
const TOKEN_SECONDS: i64 = 600;

/// A token is used again for so long, well within that.
const TOKEN_REUSED: Duration = Duration::from_mins(4);

/// The tokens that were made, by namespace and service account. Who looks again and again makes a new one now and then only.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<(String, String), (Instant, String)>>);

impl Tokens {
    /// One that is good for a while yet, else a new one.
    async fn of(&self, client: &Client, (namespace, account): (&str, &str)) -> Result<String, Silence> {
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
    /// Speakers: which DHCP servers there are, and what they offer to who would like this address, if there is one.
    DhcpServers(Option<Ipv4Addr>),
}

impl fmt::Display for Question {
    /// As a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("/status"),
            Self::Trace(ip) => write!(f, "{TRACE_PATH}?ip={ip}"),
            Self::DhcpServers(None) => write!(f, "{TRACE_PATH}?dhcp"),
            Self::DhcpServers(Some(ip)) => write!(f, "{TRACE_PATH}?dhcp={ip}"),
        }
    }
}

/// What a program said, or why it said nothing.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) program: Program,
    pub(crate) document: Result<Document, Silence>,
}

/// Why a program said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Whoever asks lacks a right, in the words of [`Failure`].
    Forbidden(String),
    /// It does not run.
    Down(String),
    /// It does not accept the token.
    TokenRefused(String),
    /// It is not reached, or does not answer in time: its node may be down.
    NoAnswer(String),
    /// Anything else: it may be down, or of a version that cannot be asked that.
    Other(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenRefused(why) => write!(f, "it does not accept the token: {why}"),
            Self::Down(why) => write!(f, "it does not run: {why}"),
            Self::Forbidden(why) | Self::NoAnswer(why) | Self::Other(why) => f.write_str(why),
        }
    }
}

impl From<String> for Silence {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

impl From<Failure> for Silence {
    fn from(failure: Failure) -> Self {
        if failure.why == Why::Forbidden {
            Self::Forbidden(failure.to_string())
        } else {
            Self::Other(failure.to_string())
        }
    }
}

impl Told {
    /// What keeps a program from being ready that is not.
    pub(crate) fn not_ready(&self) -> String {
        let waits_for = self.document.as_ref().map(|it| it.waiting_for.join(", ")).unwrap_or_default();
        match (&self.program.down, &self.program.waits_for) {
            (Some(why), _) => why.clone(),
            (None, _) if !waits_for.is_empty() => format!("waits for {waits_for}"),
            (None, Some(waits_for)) => format!("waits for {waits_for}"),
            (None, None) if self.program.leaves => {
                "it is being deleted, and its kubelet has not ended it yet".to_owned()
            }
            (None, None) => match &self.document {
                Err(Silence::NoAnswer(why)) => format!("its Pod runs, and gives no answer: {why}"),
                Ok(_) | Err(_) => "its Pod runs, and does not say what it waits for".to_owned(),
            },
        }
    }

    /// Why it gives no answer, though its Pod is ready by what the API says.
    pub(crate) fn unanswered(&self) -> Option<&str> {
        match &self.document {
            Err(Silence::NoAnswer(why)) if self.program.ready => Some(why),
            Ok(_) | Err(_) => None,
        }
    }

    /// What it said, of a controller.
    pub(crate) fn controller(&self) -> Option<&ControllerStatus> {
        match self.document.as_ref().ok().map(|document| &document.status) {
            Some(Status::ControllerStatus(status)) => Some(status),
            Some(Status::SpeakerStatus(_) | Status::Trace(_) | Status::DhcpServers(_)) | None => None,
        }
    }

    /// What it said, of a speaker.
    pub(crate) fn speaker(&self) -> Option<&SpeakerStatus> {
        match self.document.as_ref().ok().map(|document| &document.status) {
            Some(Status::SpeakerStatus(status)) => Some(status),
            Some(Status::ControllerStatus(_) | Status::Trace(_) | Status::DhcpServers(_)) | None => None,
        }
    }

    /// What it said, asked who answers for an address.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        match self.document.as_ref().ok().map(|document| &document.status) {
            Some(Status::Trace(trace)) => Some(trace),
            Some(Status::ControllerStatus(_) | Status::SpeakerStatus(_) | Status::DhcpServers(_)) | None => {
                None
            }
        }
    }

    /// What it said, asked which DHCP servers there are.
    pub(crate) fn dhcp_servers(&self) -> Option<&DhcpServers> {
        match self.document.as_ref().ok().map(|document| &document.status) {
            Some(Status::DhcpServers(servers)) => Some(servers),
            Some(Status::ControllerStatus(_) | Status::SpeakerStatus(_) | Status::Trace(_)) | None => None,
        }
    }
}

/// Why programs said nothing, in sentences that name them: those together for which it is the same. Of one that does not
/// run it is known that it has nothing to say.
pub(crate) fn failures<'a>(told: impl IntoIterator<Item = &'a Told>) -> Vec<String> {
    let silent = told.into_iter().filter_map(|told| Some((told, told.document.as_ref().err()?)));
    grouped(silent.filter(|(_, why)| !matches!(why, Silence::Down(_))))
}

/// The same of those that could not be asked since a right is missing.
pub(crate) fn forbidden<'a>(told: impl IntoIterator<Item = &'a Told>) -> Vec<String> {
    let silent = told.into_iter().filter_map(|told| Some((told, told.document.as_ref().err()?)));
    grouped(silent.filter(|(_, why)| matches!(why, Silence::Forbidden(_))))
}

fn grouped<'a>(silent: impl Iterator<Item = (&'a Told, &'a Silence)>) -> Vec<String> {
    /// So many are named of those for which it is the same.
    const NAMED: usize = 3;
    let mut by_reason: Vec<(&Silence, Vec<String>)> = Vec::new();
    for (Told { program, .. }, why) in silent {
        let pod = format!("{}/{}", program.namespace, program.pod);
        match by_reason.iter_mut().find(|(other, _)| *other == why) {
            Some((_, pods)) => pods.push(pod),
            None => by_reason.push((why, vec![pod])),
        }
    }
    let told = |(why, pods): (&Silence, Vec<String>)| {
        let (noun, names) = (if pods.len() == 1 { "Pod" } else { "Pods" }, some(&pods, NAMED));
        format!("{noun} {names} cannot be asked: {why}")
    };
    by_reason.into_iter().map(told).collect()
}

/// Asks all of them, in the same order. One that does not answer within `patience` is not waited for; where that is zero,
/// none is asked. Tokens are made by the first client, and the second asks, which takes the first answer.
pub(crate) async fn ask(
    (client, once): (&Client, &Client),
    programs: &[Program],
    question: &Question,
    patience: Duration,
    tokens: &Tokens,
) -> Vec<Told> {
    if patience.is_zero() {
        let unasked = |program: &Program| Told {
            program: program.clone(),
            document: Err("that is not wanted (--pod-timeout 0)".to_owned().into()),
        };
        return programs.iter().map(unasked).collect();
    }
    let mut by_account: BTreeMap<(&str, &str), Result<String, Silence>> = BTreeMap::new();
    for program in programs.iter().filter(|program| program.secure && program.down.is_none()) {
        let account = (program.namespace.as_str(), program.service_account.as_str());
        if let Entry::Vacant(entry) = by_account.entry(account) {
            entry.insert(tokens.of(client, account).await);
        }
    }
    let asked = programs.iter().map(|program| {
        let account = (program.namespace.as_str(), program.service_account.as_str());
        let token = by_account.get(&account).filter(|_| program.secure).cloned();
        async move {
            let answer = timeout(patience, ask_one(once, program, question, token)).await;
            let in_time = answer.is_ok();
            let document = answer.unwrap_or_else(|_| {
                Err(Silence::NoAnswer(format!("it does not answer within {} s", patience.as_secs())))
            });
            let mut program = program.clone();
            // One that keeps whoever asks waiting would do so again.
            if !program.ready && document.is_err() && program.down.is_none() && in_time {
                program.waits_for = timeout(patience, readyz(once, &program)).await.ok().flatten();
            }
            Told { program, document }
        }
    });
    // Collected, as the compiler cannot tell of a borrowing iterator that it may be sent to another thread.
    let asked: Vec<_> = asked.collect();
    let told: Vec<Told> = futures::stream::iter(asked).buffered(AT_ONCE).collect().await;
    let refused = |told: &Told| matches!(told.document, Err(Silence::TokenRefused(_)));
    if told.iter().any(refused) {
        tokens.forget();
    }
    told
}

/// A token that is good for reading documents, and for nothing else.
async fn token(client: &Client, (namespace, account): (&str, &str)) -> Result<String, Silence> {
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
        Failure { verb: "create", resource, namespace: Some(namespace.to_owned()), why }
    })?;
    made.status
        .map(|status| status.token)
        .ok_or_else(|| Silence::Other("the API server made no token".to_owned()))
}

async fn ask_one(
    client: &Client,
    program: &Program,
    question: &Question,
    token: Option<Result<String, Silence>>,
) -> Result<Document, Silence> {
    let Program { namespace, pod, port, secure, down, .. } = program;
    if let Some(why) = down {
        return Err(Silence::Down(why.clone()));
    }
    let scheme = if *secure { "https:" } else { "" };
    let path = format!("/api/v1/namespaces/{namespace}/pods/{scheme}{pod}:{port}/proxy{question}");
    let mut request = http::Request::get(path);
    if let Some(token) = token {
        request = request.header(TOKEN_HEADER, token?);
    }
    let request = request.body(Vec::new()).map_err(|error| error.to_string())?;
    let text = client.request_text(request).await.map_err(|error| refused(&error, namespace))?;
    read(&text).map_err(Silence::Other)
}

/// What a program waits for that is not ready. It tells that to everybody, also where it cannot find out who asks.
async fn readyz(client: &Client, Program { namespace, pod, probes, .. }: &Program) -> Option<String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{probes}/proxy/readyz");
    let request = http::Request::get(path).body(Vec::new()).ok()?;
    match client.request_text(request).await {
        Err(kube::Error::Api(status)) => waits_for(status.code, &status.message),
        Ok(_) | Err(_) => None,
    }
}

/// What the answer of a program that is not ready says.
fn waits_for(code: u16, text: &str) -> Option<String> {
    let text = text.trim();
    let waits_for = text.strip_prefix("waiting for").filter(|_| code == 503)?;
    Some(waits_for.trim_start_matches(':').trim().to_owned()).filter(|it| !it.is_empty())
}

/// Reads a document; one of another version may have any fields, so its version is looked at first.
fn read(text: &str) -> Result<Document, String> {
    let unreadable = |error: serde_json::Error| format!("its answer cannot be read: {error}");
    let document: Value = serde_json::from_str(text).map_err(unreadable)?;
    let (theirs, ours) = (document["apiVersion"].as_str().unwrap_or("none"), introspection::API_VERSION);
    if theirs != ours {
        return Err(format!("its answer is of version {theirs}, and this program reads {ours}"));
    }
    serde_json::from_value(document).map_err(unreadable)
}

/// Why there is no answer. The API server's own refusals have a reason; a program's are a word of text.
fn refused(error: &kube::Error, namespace: &str) -> Silence {
    let kube::Error::Api(status) = error else {
        return Silence::Other(Why::of(error).to_string());
    };
    let text = status.message.trim();
    match status.code {
        403 if text.contains("pods/proxy") || text.contains("cannot") => {
            let (resource, namespace) = ("pods/proxy".to_owned(), Some(namespace.to_owned()));
            Failure { verb: "get", resource, namespace, why: Why::Forbidden }.into()
        }
        401 | 403 => Silence::TokenRefused(text.to_owned()),
        404 if text.contains("/metrics") || text.contains("/healthz") => {
            Silence::Other("it runs a version that cannot be asked that".to_owned())
        }
        404 => Silence::Other("it is gone".to_owned()),
        429 if text.starts_with("asked too often") => Silence::Other(text.to_owned()),
        503 if text.starts_with("not started") => Silence::Other(text.to_owned()),
        500 if text.contains("who may have this") => Silence::Other(
            "it cannot find out at the API server who may ask it: does it reach the API server, and has its service account its roles?".to_owned(),
        ),
        code => Silence::NoAnswer(format!("the API server does not reach it ({code}: {text})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::speaker_on;

    fn answered(code: u16, text: &str) -> String {
        let status = kube::core::Status::failure(text, "").with_code(code);
        refused(&kube::Error::Api(status.boxed()), "lb").to_string()
    }

    #[test]
    fn programs_that_are_silent_for_one_reason_are_told_of_together() {
        let told = |node: &str, why: Silence| Told { program: speaker_on(node), document: Err(why) };
        let old = || Silence::Other("it runs a version that cannot be asked that".to_owned());
        let right = || Silence::Forbidden("missing right".to_owned());
        let all =
            [told("n1", old()), told("n2", right()), told("n3", old()), told("n4", old()), told("n5", old())];
        assert_eq!(
            failures(&all),
            [
                "Pods lb/s-n1, lb/s-n3, lb/s-n4 and 1 more cannot be asked: it runs a version that cannot be asked that",
                "Pod lb/s-n2 cannot be asked: missing right",
            ]
        );
        assert_eq!(forbidden(&all), ["Pod lb/s-n2 cannot be asked: missing right"]);
    }

    #[test]
    fn a_document_of_another_version_is_named_as_such_whatever_is_in_it() {
        let other = r#"{"apiVersion": "ferrolb.io/v9", "kind": "Orchestra", "version": 9}"#;
        assert!(read(other).unwrap_err().contains("of version ferrolb.io/v9, and this program reads"));
        assert!(read("[]").unwrap_err().contains("of version none"));
        assert!(read("<html>").unwrap_err().contains("cannot be read"));
        let odd = r#"{"apiVersion": "ferrolb.io/v1alpha1", "kind": "Orchestra", "version": "9"}"#;
        assert!(read(odd).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn what_a_program_waits_for_is_taken_from_its_own_answer_alone() {
        assert_eq!(waits_for(503, "waiting for: services, pools\n").as_deref(), Some("services, pools"));
        assert_eq!(waits_for(503, "error trying to reach service: dial tcp: connection refused"), None);
        assert_eq!(waits_for(503, "waiting for:"), None);
        assert_eq!(waits_for(403, "waiting for: nobody"), None);
    }

    #[test]
    fn who_does_not_run_is_not_among_those_that_could_not_be_asked() {
        let told = |why: Silence| Told { program: speaker_on("n1"), document: Err(why) };
        assert!(failures(&[told(Silence::Down("it ended".to_owned()))]).is_empty());
        assert_eq!(failures(&[told(Silence::Other("no answer".to_owned()))]).len(), 1);
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
            (500, "the API server cannot be asked who may have this", "has its service account its roles?"),
            (503, "error trying to reach service: dial tcp: connection refused", "does not reach it (503"),
        ] {
            let said = answered(code, text);
            assert!(said.contains(expected), "{code} {text}: {said}");
        }
    }
}
