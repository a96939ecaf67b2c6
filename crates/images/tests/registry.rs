//! The registry as a container runtime sees it: over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use images::{Archive, Config, ImageSpec, Tree, registry, write_image};
use serde_json::Value;
use tokio::runtime::Runtime;

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A registry over a directory of its own; both go away with it.
struct Registry {
    directory: tempfile::TempDir,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Registry {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(registry::serve(listener, directory.path().to_owned()));
        Self { directory, address, _runtime: runtime }
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    fn add(&self, file: &str, names: &[&str], content: &str) -> Archive {
        image(&self.directory.path().join(file), names, content)
    }
}

fn image(path: &Path, names: &[&str], content: &str) -> Archive {
    let mut files = Tree::new();
    files.file("/content", 0o644, content);
    let names = names.iter().map(|name| name.parse().unwrap()).collect();
    write_image(&ImageSpec { names, files, config: Config::default() }, path).unwrap()
}

fn digest(archive: &Archive) -> &str {
    archive.images.values().next().unwrap()
}

#[test]
fn an_image_is_pulled_by_tag_then_by_digest_then_blob_by_blob() {
    let registry = Registry::start();
    let archive = registry.add("a.tar", &["nginx", "ghcr.io/x/y:1"], "hello");
    assert_eq!(registry.get("/v2/").status, 200);

    let head = registry.ask("HEAD", "/v2/library/nginx/manifests/latest?ns=docker.io");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), Some("application/vnd.oci.image.manifest.v1+json"));
    assert_eq!(head.header("docker-content-digest"), Some(digest(&archive)));

    let by_digest = registry.get(&format!("/v2/library/nginx/manifests/{}", digest(&archive)));
    assert_eq!(head.header("content-length").unwrap(), by_digest.body.len().to_string());
    assert_eq!(registry.get("/v2/x/y/manifests/1?ns=ghcr.io").body, by_digest.body);

    let manifest = by_digest.json();
    for blob in [&manifest["config"], &manifest["layers"][0]] {
        let path = format!("/v2/library/nginx/blobs/{}", blob["digest"].as_str().unwrap());
        let (head, answer) = (registry.ask("HEAD", &path), registry.get(&path));
        for answer in [&head, &answer] {
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-length").unwrap(), blob["size"].to_string());
            assert_eq!(answer.header("docker-content-digest"), blob["digest"].as_str());
        }
        assert!(head.body.is_empty());
        assert_eq!(answer.body.len().to_string(), blob["size"].to_string());
    }
}

#[test]
fn what_is_not_there_is_a_404_that_says_so() {
    let registry = Registry::start();
    let archive = registry.add("a.tar", &["nginx"], "hello");
    std::fs::write(registry.directory.path().join("b.tar"), "no archive").unwrap();
    for (path, code) in [
        ("/v2/library/nginx/manifests/1.0", "MANIFEST_UNKNOWN"),
        ("/v2/nginx/manifests/latest", "MANIFEST_UNKNOWN"),
        ("/v2/library/nginx/manifests/sha256:00", "MANIFEST_UNKNOWN"),
        ("/v2/library/nginx/blobs/sha256:00", "BLOB_UNKNOWN"),
        ("/v2/library/nginx/tags/list", "UNSUPPORTED"),
        ("/v2/x", "UNSUPPORTED"),
    ] {
        let answer = registry.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["errors"][0]["code"], code, "{path}");
    }
    let path = format!("/v2/library/nginx/manifests/{}", digest(&archive));
    assert_eq!(registry.get(&path).status, 200, "a broken neighbour does not matter");
    assert_eq!(registry.ask("DELETE", &path).status, 405);
}

#[test]
fn archives_come_change_and_go_while_the_registry_runs() {
    let registry = Registry::start();
    let path = "/v2/library/app/manifests/latest";
    assert_eq!(registry.get(path).status, 404);

    let first = registry.add("app.tar", &["app"], "one");
    assert_eq!(registry.get(path).header("docker-content-digest"), Some(digest(&first)));

    let second = registry.add("app.tar", &["app"], "two");
    assert_ne!(digest(&first), digest(&second));
    assert_eq!(registry.get(path).header("docker-content-digest"), Some(digest(&second)));

    std::fs::remove_file(&second.path).unwrap();
    assert_eq!(registry.get(path).status, 404);
}

#[test]
fn the_newest_archive_gives_a_name_its_meaning() {
    let registry = Registry::start();
    let old = registry.add("z.tar", &["app"], "one");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    std::fs::File::options().write(true).open(&old.path).unwrap().set_modified(long_ago).unwrap();
    let new = registry.add("a.tar", &["app"], "two");
    let answer = registry.get("/v2/library/app/manifests/latest");
    assert_eq!(answer.header("docker-content-digest"), Some(digest(&new)));
}
