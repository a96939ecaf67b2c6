//! Lists and watches as the API server sends them. The objects in them stay text here, so that all of this is compiled once
//! and not for each kind.

use std::error::Error;
use std::io;

use futures::{AsyncBufReadExt, StreamExt, future, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::{ListParams, WatchParams};
use kube::core::{Request, Status};
use kube::{Client, Result};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Where objects are listed and watched: a kind, maybe in one namespace.
pub(super) struct Endpoint {
    client: Client,
    request: Request,
}

/// What comes of a watch, line by line; nothing more when it ends or is broken off.
pub(super) type Lines = BoxStream<'static, Result<String>>;

impl Endpoint {
    pub(super) fn new(client: Client, path: &str) -> Self {
        Self { client, request: Request::new(path) }
    }

    /// A [`Page`] of a list.
    pub(super) async fn list(&self, parameters: &ListParams) -> Result<String> {
        let mut request = self.request.list(parameters).map_err(kube::Error::BuildRequest)?;
        request.extensions_mut().insert("list");
        self.client.request_text(request).await
    }

    /// The [`Event`]s after a version.
    pub(super) async fn watch(&self, parameters: &WatchParams, version: &str) -> Result<Lines> {
        let mut request = self.request.watch(parameters, version).map_err(kube::Error::BuildRequest)?;
        request.extensions_mut().insert("watch");
        let lines = self.client.request_stream(request).await?.lines();
        Ok(lines.filter_map(|line| future::ready(unless_broken_off(line))).boxed())
    }
}

/// A connection that is closed in the midst of an answer is no error: a watch has no end of its own.
fn unless_broken_off(line: io::Result<String>) -> Option<Result<String>> {
    match line {
        Err(error) if is_broken_off(&error) => None,
        line => Some(line.map_err(kube::Error::ReadEvents)),
    }
}

/// Whether the other side ended it. What reads chunks says so in words only.
fn is_broken_off(error: &io::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::UnexpectedEof)
            || error.to_string().contains("unexpected EOF during chunk")
        {
            return true;
        }
        // Of an error within an error of input or output, the source is that of the inner one.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// One answer to a list: some of the objects, and where the others are.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    pub(super) metadata: ListMeta,
    #[serde(borrow, deserialize_with = "null_as_none")]
    pub(super) items: Vec<&'a RawValue>,
}

fn null_as_none<'de: 'a, 'a, D>(deserializer: D) -> std::result::Result<Vec<&'a RawValue>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl<'a> Page<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self> {
        serde_json::from_str(text).map_err(kube::Error::SerdeError)
    }
}

/// What a line of a watch says.
pub(super) enum Event<'a> {
    /// An object was made or changed.
    Applied(&'a str),
    Deleted(&'a str),
    /// Nothing happened up to this version.
    Bookmark(String),
    Error(Box<Status>),
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    type_: Type,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Type {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata {
    resource_version: String,
}

impl<'a> Event<'a> {
    /// `None` where the line is not complete: the watch was broken off within it.
    pub(super) fn read(line: &'a str) -> Result<Option<Self>> {
        match Self::parse(line) {
            Ok(event) => Ok(Some(event)),
            Err(error) if error.is_eof() => Ok(None),
            Err(error) => match serde_json::from_str::<Status>(line) {
                Ok(status) => Err(kube::Error::Api(Box::new(status))),
                Err(_) => Err(kube::Error::SerdeError(error)),
            },
        }
    }

    fn parse(line: &'a str) -> serde_json::Result<Self> {
        let Line { type_, object } = serde_json::from_str(line)?;
        let object = object.get();
        Ok(match type_ {
            Type::Added | Type::Modified => Self::Applied(object),
            Type::Deleted => Self::Deleted(object),
            Type::Bookmark => {
                Self::Bookmark(serde_json::from_str::<Bookmark>(object)?.metadata.resource_version)
            }
            Type::Error => Self::Error(serde_json::from_str(object)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_event_an_error_or_was_broken_off() {
        let object = r#"{"metadata":{"resourceVersion":"7"}}"#;
        let line = |kind: &str| format!(r#"{{"type":"{kind}","object":{object}}}"#);
        assert!(matches!(Event::read(&line("ADDED")), Ok(Some(Event::Applied(it))) if it == object));
        assert!(matches!(Event::read(&line("DELETED")), Ok(Some(Event::Deleted(it))) if it == object));
        assert!(matches!(Event::read(&line("BOOKMARK")), Ok(Some(Event::Bookmark(it))) if it == "7"));
        assert!(matches!(Event::read(&line("ADDED")[..30]), Ok(None)));
        assert!(Event::read(&line("PRAISED")).is_err());
        let status = r#"{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"old"}"#;
        let error = format!(r#"{{"object":{status},"type":"ERROR"}}"#);
        assert!(matches!(Event::read(&error), Ok(Some(Event::Error(it))) if it.code == 410));
        assert!(matches!(Event::read(status), Err(kube::Error::Api(it)) if it.code == 410));
    }

    #[test]
    fn a_list_of_none_may_be_null() {
        for items in ["null", "[]"] {
            let text = format!(r#"{{"metadata":{{"resourceVersion":"9"}},"items":{items}}}"#);
            let page = Page::read(&text).unwrap();
            assert!(page.items.is_empty() && page.metadata.resource_version.as_deref() == Some("9"));
        }
        assert!(matches!(Page::read("{}"), Err(kube::Error::SerdeError(_))));
    }

    #[test]
    fn a_connection_that_ends_is_no_error() {
        let eof = || io::Error::from(io::ErrorKind::UnexpectedEof);
        assert!(is_broken_off(&eof()) && is_broken_off(&io::Error::other(eof())));
        assert!(is_broken_off(&io::Error::other("unexpected EOF during chunk size line")));
        assert!(!is_broken_off(&io::Error::from(io::ErrorKind::ConnectionReset)));
    }
}
