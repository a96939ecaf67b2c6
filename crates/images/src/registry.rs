//! A registry over a directory of image archives, the part of the OCI distribution specification 1.1
//! that pulling needs; where it is asked to, it takes what is pushed as well.
//!
//! It stands in for every registry at once: container runtimes that use it as a mirror add the
//! registry they mean as `?ns=`, which is not looked at, so `library/nginx` is the `nginx` of
//! docker.io and `x/y` is that of ghcr.io. Blobs are read from the archives where they lie.
//!
//! Archives may be added, replaced and removed at any time, best by renaming: every request
//! compares the directory with what is known and reads again what changed.

mod pushes;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use std::{fs, io};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;

use self::pushes::Pushes;
use crate::layout::{Archive, Blob, INDEX, MANIFEST, MAX_JSON, read_blobs};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// Container runtimes read a layer in one go; few large reads serve it with the least work.
const CHUNK: usize = 256 << 10;

/// Serves all `*.tar` archives of the directory until the listener fails.
pub async fn serve(listener: TcpListener, directory: PathBuf) -> io::Result<()> {
    axum::serve(listener, router(directory, None)).await
}

/// Serves the same, and what is pushed: that is held in memory for as long as this runs, and goes before what archives hold.
pub async fn serve_and_take(listener: TcpListener, directory: PathBuf) -> io::Result<()> {
    let pushes = Pushes::default();
    let take = post(pushes::push).patch(pushes::push).put(pushes::push);
    let take = Router::new()
        .route("/v2/{*rest}", take)
        // A layer is as large as it is.
        .layer(DefaultBodyLimit::disable())
        .with_state(pushes.clone());
    axum::serve(listener, router(directory, Some(pushes)).merge(take)).await
}

fn router(directory: PathBuf, pushes: Option<Pushes>) -> Router {
    let version = || async { [(API_VERSION, "registry/2.0")] };
    Router::new()
        .route("/v2", get(version))
        .route("/v2/", get(version))
        .route("/v2/{*rest}", get(pull))
        .with_state(Arc::new(Store { directory, known: Mutex::default(), pushes }))
}

/// `GET` and `HEAD` of `<name>/manifests/<tag or digest>` and `<name>/blobs/<digest>`.
async fn pull(State(store): State<Arc<Store>>, UrlPath(path): UrlPath<String>) -> Response {
    let Some(wanted) = Wanted::parse(&path) else {
        return not_found("UNSUPPORTED", &path, "only manifests and blobs are served");
    };
    if let Some(pushed) = store.pushes.as_ref().and_then(|pushes| pushes.find(wanted)) {
        return pushed;
    }
    let Some((digest, place)) = store.find(wanted) else {
        return match wanted {
            Wanted::Manifest { .. } => not_found("MANIFEST_UNKNOWN", &path, "no archive holds this image"),
            Wanted::Blob { .. } => not_found("BLOB_UNKNOWN", &path, "no archive holds this blob"),
        };
    };
    let answer = match wanted {
        Wanted::Manifest { .. } => manifest(digest, &place).await,
        Wanted::Blob { .. } => blob(digest, &place).await,
    };
    answer.unwrap_or_else(|error| {
        tracing::warn!(archive = %place.archive.display(), %error, "image archive cannot be read");
        failure(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &error.to_string())
    })
}

#[derive(Clone, Copy)]
enum Wanted<'a> {
    Manifest { repository: &'a str, reference: &'a str },
    Blob { digest: &'a str },
}

impl<'a> Wanted<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let (subject, last) = path.rsplit_once('/')?;
        match subject.rsplit_once('/')? {
            (repository, "manifests") => Some(Self::Manifest { repository, reference: last }),
            (_, "blobs") => Some(Self::Blob { digest: last }),
            _ => None,
        }
    }
}

async fn blob(digest: String, place: &Place) -> io::Result<Response> {
    let size = place.blob.size.to_string();
    let body = Body::from_stream(ReaderStream::with_capacity(place.open().await?, CHUNK));
    let kind = "application/octet-stream".to_owned();
    Ok(([(CONTENT_TYPE, kind), (CONTENT_LENGTH, size), (DIGEST, digest)], body).into_response())
}

async fn manifest(digest: String, place: &Place) -> io::Result<Response> {
    if place.blob.size > MAX_JSON {
        return Err(io::Error::other(format!("a manifest of {} bytes is too long", place.blob.size)));
    }
    let mut content = Vec::new();
    place.open().await?.read_to_end(&mut content).await?;
    let head: ManifestHead = serde_json::from_slice(&content)?;
    let kind = head.media_type.unwrap_or_else(|| {
        // Optional in both kinds (manifest.md, image-index.md), which differ by their fields.
        if head.manifests.is_some() { INDEX } else { MANIFEST }.to_owned()
    });
    Ok(([(CONTENT_TYPE, kind), (DIGEST, digest)], content).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestHead {
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

fn not_found(code: &str, what: &str, why: &str) -> Response {
    failure(StatusCode::NOT_FOUND, code, &format!("{what}: {why}"))
}

fn failure(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"errors": [{"code": code, "message": message}]}))).into_response()
}

struct Store {
    directory: PathBuf,
    /// Held only while the directory is compared and, seldom, a changed archive's headers are read.
    known: Mutex<BTreeMap<PathBuf, Known>>,
    /// Nothing where pushing is refused.
    pushes: Option<Pushes>,
}

/// What is known of one file.
struct Known {
    stamp: Stamp,
    /// Nothing when the file is no image archive.
    content: Option<(Archive, BTreeMap<String, Blob>)>,
}

#[derive(Clone, PartialEq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

struct Place {
    archive: PathBuf,
    blob: Blob,
}

impl Store {
    fn find(&self, wanted: Wanted) -> Option<(String, Place)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = refresh(&mut known, &self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "images cannot be listed");
        }
        // The newest archive wins where several hold one name.
        let mut contents: Vec<_> =
            known.values().filter_map(|known| Some((&known.stamp, known.content.as_ref()?))).collect();
        contents.sort_by_key(|(stamp, _)| std::cmp::Reverse(stamp.modified));
        let digest = match wanted {
            Wanted::Blob { digest } => digest.to_owned(),
            Wanted::Manifest { reference, .. } if reference.starts_with("sha256:") => reference.to_owned(),
            Wanted::Manifest { repository, reference } => contents
                .iter()
                .flat_map(|(_, (archive, _))| &archive.images)
                .find(|(name, _)| name.repository() == repository && name.tag() == reference)
                .map(|(_, digest)| digest.clone())?,
        };
        let place = contents.iter().find_map(|(_, (archive, blobs))| {
            Some(Place { archive: archive.path.clone(), blob: *blobs.get(&digest)? })
        })?;
        Some((digest, place))
    }
}

/// Brings what is known up to date with the directory.
fn refresh(known: &mut BTreeMap<PathBuf, Known>, directory: &Path) -> io::Result<()> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "tar") {
            continue;
        }
        // A file may go away while the directory is read.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let stamp = Stamp { modified: metadata.modified().ok(), size: metadata.len(), inode: metadata.ino() };
        let unchanged = known.remove(&path).filter(|known| known.stamp == stamp);
        let now = unchanged.unwrap_or_else(|| {
            let content = read_blobs(&path)
                .inspect_err(|error| tracing::warn!(%error, "file is left out of the registry"))
                .ok();
            Known { stamp, content }
        });
        found.insert(path, now);
    }
    *known = found;
    Ok(())
}

impl Place {
    async fn open(&self) -> io::Result<impl tokio::io::AsyncRead + Unpin + use<>> {
        let mut file = tokio::fs::File::open(&self.archive).await?;
        file.seek(io::SeekFrom::Start(self.blob.offset)).await?;
        Ok(file.take(self.blob.size))
    }
}
