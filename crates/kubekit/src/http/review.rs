//! Who may have the metrics, `/status` and `/trace`: whom the API server knows and allows it.
//!
//! As controller-runtime does it, and so MetalLB: the token of a request goes to the API server for review, then whether
//! its owner has the right to the path. What it says is believed for a while, so scrapes don't depend on each other nor,
//! within that time, on the API server. Where it cannot be asked, there are no metrics, and nothing else suffers.
//!
//! The API server passes no credentials on to Pods, so whoever asks for `/status` or `/trace` through it has a token made that is for
//! nothing else ([`TOKEN_AUDIENCE`]), of a service account of this program's namespace: who may make those may read it.
//! Of other service accounts, as ever, those may that have the right to the path.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};
use introspection::{TOKEN_AUDIENCE, TOKEN_HEADER, TRACE_PATH};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use ring::digest::{SHA256, digest};
use timers::LogLines;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::connections::Answer;
use super::pace::Pace;
use super::page::{Page, text};
use crate::REQUEST_TIMEOUT;

/// How long it is believed who has a token, or that nobody has.
const KNOWN: Duration = Duration::from_mins(1);
/// How long it is believed that somebody may, or may not.
const ALLOWED: Duration = Duration::from_mins(5);
const DENIED: Duration = Duration::from_secs(30);
/// Between two that have to be asked about: strangers are not to make work for the API server.
const APART: Duration = Duration::from_millis(50);
/// Between two lines that say that the API server can't be asked: strangers are not to fill the log.
const LINES_APART: Duration = Duration::from_mins(1);
/// What is kept of each: more than come to scrape.
const MOST: usize = 256;

/// Asks the API server, and remembers.
pub(super) struct Reviewer {
    client: Client,
    /// How the names of users begin that may read `/status`.
    accounts: String,
    pace: Pace,
    users: Memory<Option<UserInfo>>,
    rights: Memory<bool>,
    failures: Mutex<LogLines>,
}

/// What comes of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Allowed,
    /// Nobody is known by the token, or there is none.
    Unknown,
    /// The user of this name is known and lacks the right.
    Denied(String),
    /// It cannot be found out.
    Unavailable,
}

/// What somebody shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A token for the API server.
    Bearer(&'a str),
    /// One that is for `/status` only.
    Status(&'a str),
}

/// Answers with metrics or `/status` whoever may have them.
pub(super) async fn answer<B>(reviewer: Arc<Reviewer>, page: Arc<Page>, request: Request<B>) -> Answer {
    let (path, method) = (request.uri().path(), request.method());
    let header = |name| request.headers().get(name);
    let bearer = bearer(header(AUTHORIZATION.as_str())).map(Token::Bearer);
    let token = match path {
        "/metrics" => bearer,
        "/status" | TRACE_PATH => {
            header(TOKEN_HEADER).and_then(|it| it.to_str().ok()).map(Token::Status).or(bearer)
        }
        _ => return text(StatusCode::NOT_FOUND, "there are /metrics, /status and /trace\n"),
    };
    let verb = method.as_str().to_ascii_lowercase();
    match reviewer.review(token, &verb, path).await {
        Verdict::Allowed if path == "/status" => page.status(method).await,
        Verdict::Allowed if path == TRACE_PATH => page.trace(&request).await,
        Verdict::Allowed => page.metrics(method).await,
        Verdict::Unknown => {
            let mut answer = text(StatusCode::UNAUTHORIZED, "Unauthorized\n");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
        Verdict::Denied(user) => {
            text(StatusCode::FORBIDDEN, format!("Authorization denied for user {user:?}\n"))
        }
        Verdict::Unavailable => {
            text(StatusCode::INTERNAL_SERVER_ERROR, "the API server cannot be asked who may have this\n")
        }
    }
}

/// The token in a header.
fn bearer(header: Option<&HeaderValue>) -> Option<&str> {
    let (scheme, token) = header?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl Reviewer {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        let (users, rights) = (Memory::default(), Memory::default());
        let accounts = format!("system:serviceaccount:{namespace}:");
        let failures = Mutex::new(LogLines::new(1, LINES_APART));
        Self { client, accounts, pace: Pace::new(APART), users, rights, failures }
    }

    async fn review(&self, token: Option<Token<'_>>, verb: &str, path: &str) -> Verdict {
        let Some(token) = token else { return Verdict::Unknown };
        match self.try_review(token, verb, path).await {
            Ok(verdict) => verdict,
            Err(error) => {
                let error = format!("{error:#}");
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                if let Ok(not_logged) = failures.admit(Instant::now()) {
                    warn!(
                        error,
                        not_logged, "nobody gets metrics or status: a review of who asks for them failed"
                    );
                }
                Verdict::Unavailable
            }
        }
    }

    async fn try_review(&self, token: Token<'_>, verb: &str, path: &str) -> anyhow::Result<Verdict> {
        let key = match token {
            Token::Bearer(token) => Key::of(token.as_bytes()),
            Token::Status(token) => Key::of(format!("{TOKEN_AUDIENCE} {token}").as_bytes()),
        };
        let user = match self.users.get(&key, Instant::now()) {
            Some(user) => user,
            None => {
                self.pace.pass().await;
                let user = self.who_has(token).await?;
                let good = user.is_some();
                self.users.put(key, user.clone(), good, Instant::now() + KNOWN);
                user
            }
        };
        let Some(user) = user else { return Ok(Verdict::Unknown) };
        let name = user.username.clone().unwrap_or_default();
        if matches!(token, Token::Status(_)) && name.starts_with(&self.accounts) {
            return Ok(Verdict::Allowed);
        }
        let spec = SubjectAccessReviewSpec {
            extra: user.extra,
            groups: user.groups,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some(verb.to_owned()),
            }),
            uid: user.uid,
            user: user.username,
            ..SubjectAccessReviewSpec::default()
        };
        let key = Key::of(&serde_json::to_vec(&spec)?);
        let may = match self.rights.get(&key, Instant::now()) {
            Some(may) => may,
            None => {
                let may = self.may(spec).await?;
                let time = if may { ALLOWED } else { DENIED };
                self.rights.put(key, may, may, Instant::now() + time);
                may
            }
        };
        Ok(if may { Verdict::Allowed } else { Verdict::Denied(name) })
    }

    async fn who_has(&self, token: Token<'_>) -> anyhow::Result<Option<UserInfo>> {
        let (token, audience) = match token {
            Token::Bearer(token) => (token, None),
            Token::Status(token) => (token, Some(TOKEN_AUDIENCE.to_owned())),
        };
        let audiences = audience.clone().map(|audience| vec![audience]);
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = self.create(review).await?.status.unwrap_or_default();
        if let Some(error) = status.error.filter(|error| !error.is_empty()) {
            debug!(error, "token refused");
        }
        // An API server that knows of no audiences names none, and the token may be for something else.
        let meant = audience.is_none_or(|it| status.audiences.unwrap_or_default().contains(&it));
        Ok(status.user.filter(|_| meant && status.authenticated == Some(true)))
    }

    async fn may(&self, spec: SubjectAccessReviewSpec) -> anyhow::Result<bool> {
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let status = self.create(review).await?.status.unwrap_or_default();
        Ok(status.allowed && status.denied != Some(true))
    }

    async fn create<K>(&self, review: K) -> anyhow::Result<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + serde::Serialize,
    {
        let api = Api::all(self.client.clone());
        Ok(timeout(REQUEST_TIMEOUT, api.create(&PostParams::default(), &review)).await??)
    }
}

/// What something is remembered by: secrets are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(Vec<u8>);

impl Key {
    fn of(bytes: &[u8]) -> Self {
        Self(digest(&SHA256, bytes).as_ref().to_vec())
    }
}

/// Some answers for some time.
#[derive(Debug)]
struct Memory<V>(Mutex<HashMap<Key, Remembered<V>>>);

#[derive(Debug)]
struct Remembered<V> {
    value: V,
    good: bool,
    until: Instant,
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone> Memory<V> {
    fn get(&self, key: &Key, now: Instant) -> Option<V> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|entry| now < entry.until).map(|entry| entry.value.clone())
    }

    /// Where there is no room, what is no longer true goes, and then whoever was refused: those who may scrape are not
    /// to be driven out by strangers.
    fn put(&self, key: Key, value: V, good: bool, until: Instant) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MOST {
            let now = Instant::now();
            entries.retain(|_, entry| now < entry.until);
        }
        if entries.len() >= MOST {
            let soonest =
                entries.iter().min_by_key(|(_, entry)| (entry.good, entry.until)).map(|(key, _)| key.clone());
            soonest.map(|key| entries.remove(&key));
        }
        entries.insert(key, Remembered { value, good, until });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake::{self, Asked, Log, refusal};

    /// An API server where every token has an owner, who may do what these functions say of their name.
    fn reviewer(answer: impl FnMut(&Asked) -> (u16, Value) + Send + 'static) -> (Reviewer, Log) {
        let (client, log) = fake::api(answer);
        (Reviewer::new(client, "metallb-system"), log)
    }

    fn review(authenticated: bool, allowed: bool) -> impl FnMut(&Asked) -> (u16, Value) + Send {
        move |asked| match asked.path.rsplit_once('/').unwrap().1 {
            "tokenreviews" => {
                let user = json!({"username": "prometheus", "groups": ["system:authenticated"]});
                (
                    201,
                    json!({"spec": {}, "status": {"authenticated": authenticated, "user": user, "error": "why"}}),
                )
            }
            "subjectaccessreviews" => (201, json!({"spec": {}, "status": {"allowed": allowed}})),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn what_the_api_server_says_counts_and_is_asked_for_once() {
        for (authenticated, allowed, expected, asked) in [
            (true, true, Verdict::Allowed, 2),
            (true, false, Verdict::Denied("prometheus".to_owned()), 2),
            (false, true, Verdict::Unknown, 1),
        ] {
            let (reviewer, log) = reviewer(review(authenticated, allowed));
            for _ in 0..3 {
                assert_eq!(reviewer.review(Some(Token::Bearer("token")), "get", "/metrics").await, expected);
            }
            assert_eq!(log.all().len(), asked, "{expected:?}");
            reviewer.review(Some(Token::Bearer("another token")), "get", "/metrics").await;
            assert_eq!(log.all().len(), asked + 1, "another token of the same user");
        }
    }

    #[tokio::test]
    async fn without_a_token_nobody_is_asked() {
        let (reviewer, log) = reviewer(review(true, true));
        assert_eq!(reviewer.review(None, "get", "/metrics").await, Verdict::Unknown);
        assert!(log.all().is_empty());
    }

    #[tokio::test]
    async fn where_the_api_server_fails_there_are_no_metrics_and_it_is_asked_again() {
        let mut fails = true;
        let mut well = review(true, true);
        let (reviewer, _) = reviewer(move |asked| {
            if std::mem::take(&mut fails) { refusal(403, "Forbidden", "no right") } else { well(asked) }
        });
        assert_eq!(
            reviewer.review(Some(Token::Bearer("token")), "get", "/metrics").await,
            Verdict::Unavailable
        );
        assert_eq!(reviewer.review(Some(Token::Bearer("token")), "get", "/metrics").await, Verdict::Allowed);
    }

    #[tokio::test]
    async fn of_reviews_that_fail_one_in_a_minute_is_logged() {
        let (reviewer, _) = reviewer(|_| refusal(503, "ServiceUnavailable", "no etcd"));
        for number in 0..5 {
            let token = number.to_string();
            let verdict = reviewer.review(Some(Token::Bearer(&token)), "get", "/metrics").await;
            assert_eq!(verdict, Verdict::Unavailable);
        }
        let in_a_minute = Instant::now() + LINES_APART;
        assert_eq!(reviewer.failures.lock().unwrap().admit(in_a_minute), Ok(4), "the first was logged");
    }

    #[tokio::test]
    async fn a_token_for_the_status_is_good_for_accounts_of_this_namespace_and_for_whoever_has_the_right() {
        for (user, audiences, right, expected) in [
            ("system:serviceaccount:metallb-system:any", json!([TOKEN_AUDIENCE]), false, Verdict::Allowed),
            (
                "system:serviceaccount:other:any",
                json!([TOKEN_AUDIENCE]),
                false,
                Verdict::Denied("system:serviceaccount:other:any".to_owned()),
            ),
            ("system:serviceaccount:other:any", json!([TOKEN_AUDIENCE]), true, Verdict::Allowed),
            ("system:serviceaccount:metallb-system:any", json!(null), true, Verdict::Unknown),
            ("system:serviceaccount:metallb-system:any", json!(["other"]), true, Verdict::Unknown),
        ] {
            let status = json!({"authenticated": true, "user": {"username": user}, "audiences": audiences});
            let (reviewer, _) = reviewer(move |asked| {
                let reviews_token = asked.path.ends_with("tokenreviews");
                let status = if reviews_token { status.clone() } else { json!({"allowed": right}) };
                (201, json!({"spec": {}, "status": status}))
            });
            let verdict = reviewer.review(Some(Token::Status("token")), "get", "/status").await;
            assert_eq!(verdict, expected, "{user} {audiences}");
        }
    }

    #[tokio::test]
    async fn a_token_for_the_status_is_not_one_for_the_api_server() {
        let (reviewer, log) = reviewer(review(true, true));
        reviewer.review(Some(Token::Bearer("token")), "get", "/status").await;
        reviewer.review(Some(Token::Status("token")), "get", "/status").await;
        let reviews = log.all().into_iter().filter(|asked| asked.path.ends_with("tokenreviews")).count();
        assert_eq!(reviews, 2, "what is known of the one says nothing of the other");
    }

    #[test]
    fn a_token_is_read_from_its_header_only() {
        let of = |text: &str| bearer(Some(&HeaderValue::from_str(text).unwrap())).map(str::to_owned);
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer  abc ").as_deref(), Some("abc"));
        for other in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(of(other), None, "{other:?}");
        }
        assert_eq!(bearer(None), None);
    }

    #[test]
    fn strangers_drive_out_nobody_who_may_scrape() {
        let (memory, now) = (Memory::default(), Instant::now());
        let key = |number: usize| Key::of(&number.to_le_bytes());
        memory.put(key(0), true, true, now + KNOWN);
        for number in 1..4 * MOST {
            memory.put(key(number), false, false, now + 2 * KNOWN);
        }
        assert_eq!(memory.get(&key(0), now), Some(true));
        assert_eq!(memory.get(&key(4 * MOST - 1), now), Some(false), "the last of them is kept");
        assert_eq!(memory.get(&key(0), now + KNOWN), None, "nothing is believed for ever");
        assert!(memory.0.lock().unwrap().len() <= MOST);
    }
}
