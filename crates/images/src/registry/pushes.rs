//! What is pushed to a registry: the part of the OCI distribution specification 1.1 that takes blobs and manifests, held in
//! memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::{DIGEST, Wanted, failure, not_found};
use crate::layout;

/// What was pushed.
#[derive(Debug, Default, Clone)]
pub(super) struct Pushes(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    /// By digest, manifests among them.
    blobs: BTreeMap<String, Bytes>,
    /// The digest and the media type of each manifest, by repository and tag or digest.
    manifests: BTreeMap<(String, String), (String, String)>,
    /// Blobs of which not all has come yet.
    uploads: BTreeMap<u64, Vec<u8>>,
    begun: u64,
}

impl Pushes {
    /// The answer to a question for something that was pushed.
    pub(super) fn find(&self, wanted: Wanted<'_>) -> Option<Response> {
        let content = self.lock();
        let (digest, kind) = match wanted {
            Wanted::Blob { digest } => (digest.to_owned(), "application/octet-stream".to_owned()),
            Wanted::Manifest { repository, reference } => {
                content.manifests.get(&(repository.to_owned(), reference.to_owned())).cloned()?
            }
        };
        let blob = content.blobs.get(&digest)?.clone();
        let length = blob.len().to_string();
        Some(([(CONTENT_TYPE, kind), (CONTENT_LENGTH, length), (DIGEST, digest)], blob).into_response())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `POST`, `PATCH` and `PUT` of `<name>/blobs/uploads/[<upload>]`, and `PUT` of `<name>/manifests/<tag or digest>`.
pub(super) async fn push(
    State(pushes): State<Pushes>,
    UrlPath(path): UrlPath<String>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut content = pushes.lock();
    if let Some((name, upload)) = path.rsplit_once("/blobs/uploads/") {
        let wanted = digest_of(uri.query().unwrap_or_default());
        return match (method, upload) {
            (Method::POST, "") => content.begin(name, body, wanted),
            (Method::PATCH | Method::PUT, upload) => content.go_on(name, upload, body, wanted),
            _ => not_found("UNSUPPORTED", &path, "an upload begins with POST"),
        };
    }
    match (method, Wanted::parse(&path)) {
        (Method::PUT, Some(Wanted::Manifest { repository, reference })) => {
            let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            content.name(repository, reference, kind, body)
        }
        _ => not_found("UNSUPPORTED", &path, "only blobs and manifests are taken"),
    }
}

/// The digest that a query names, whose colon may be escaped.
fn digest_of(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("digest="))?;
    Some(value.replace("%3A", ":").replace("%3a", ":"))
}

impl Content {
    fn begin(&mut self, name: &str, body: Bytes, wanted: Option<String>) -> Response {
        self.begun += 1;
        let upload = self.begun;
        self.uploads.insert(upload, Vec::new());
        self.go_on(name, &upload.to_string(), body, wanted)
    }

    /// Takes more of a blob; all of it has come where its digest is named.
    fn go_on(&mut self, name: &str, upload: &str, body: Bytes, wanted: Option<String>) -> Response {
        let Some((upload, mut bytes)) =
            upload.parse().ok().and_then(|it| Some((it, self.uploads.remove(&it)?)))
        else {
            return not_found("BLOB_UPLOAD_UNKNOWN", upload, "no such upload is under way");
        };
        bytes.extend_from_slice(&body);
        let Some(wanted) = wanted else {
            let place = format!("/v2/{name}/blobs/uploads/{upload}");
            let range = format!("0-{}", bytes.len().saturating_sub(1));
            self.uploads.insert(upload, bytes);
            return (StatusCode::ACCEPTED, [(LOCATION, place), (RANGE, range)]).into_response();
        };
        let digest = layout::digest(&bytes);
        if digest != wanted {
            let why = format!("the content's digest is {digest}, not {wanted}");
            return failure(StatusCode::BAD_REQUEST, "DIGEST_INVALID", &why);
        }
        self.blobs.insert(digest.clone(), bytes.into());
        let place = format!("/v2/{name}/blobs/{digest}");
        (StatusCode::CREATED, [(LOCATION, place), (DIGEST, digest)]).into_response()
    }

    fn name(&mut self, repository: &str, reference: &str, kind: &str, body: Bytes) -> Response {
        let digest = layout::digest(&body);
        if reference.starts_with("sha256:") && reference != digest {
            let why = format!("the content's digest is {digest}, not {reference}");
            return failure(StatusCode::BAD_REQUEST, "DIGEST_INVALID", &why);
        }
        for reference in [reference, &digest] {
            let key = (repository.to_owned(), reference.to_owned());
            self.manifests.insert(key, (digest.clone(), kind.to_owned()));
        }
        self.blobs.insert(digest.clone(), body);
        let place = format!("/v2/{repository}/manifests/{digest}");
        (StatusCode::CREATED, [(LOCATION, place), (DIGEST, digest)]).into_response()
    }
}
