use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::*;
use crate::options::Connection;
use crate::ui::sample::Sample;

struct Server {
    address: SocketAddr,
    access: Arc<Access>,
    hub: Arc<Hub>,
}

async fn server() -> Server {
    server_with(PATIENCE).await
}

async fn server_with(patience: Duration) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let access = Arc::new(Access::new().unwrap());
    let hub =
        Arc::new(Hub::new(&Connection { context: Some("homelab".to_owned()), ..Connection::default() }));
    let view = Sample::default().view().await;
    hub.show(|it| *it = view);
    tokio::spawn(serve(listener, Arc::clone(&access), Arc::clone(&hub), patience));
    Server { address, access, hub }
}

impl Server {
    /// Asks with these lines of a request, and returns all of the answer.
    async fn ask(&self, lines: &str) -> String {
        let (address, request) = (self.address, format!("{lines}\r\nConnection: close\r\n\r\n"));
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        asked.await.unwrap()
    }

    async fn get(&self, file: &str) -> String {
        self.ask(&format!("GET /{}/{file} HTTP/1.1\r\nHost: {}", self.access.token(), self.address)).await
    }
}

#[tokio::test]
async fn the_page_and_its_files_are_served_with_headers_that_keep_others_out() {
    let server = server().await;
    for (file, kind, part) in [
        ("", "text/html", "All is well"),
        ("live", "text/html", "All is well"),
        ("style.css", "text/css", "prefers-color-scheme"),
        ("page.js", "text/javascript", "use strict"),
        ("icon.svg", "image/svg+xml", "<svg"),
    ] {
        let answer = server.get(file).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{file}: {answer}");
        assert!(answer.contains(&format!("content-type: {kind}")), "{file}: {answer}");
        assert!(answer.contains(part), "{file}: {answer}");
        for (name, value) in HEADERS {
            assert!(answer.contains(&format!("{name}: {value}")), "{file} {name}: {answer}");
        }
        assert!(!answer.contains("access-control"), "{file}: {answer}");
    }
}

#[tokio::test]
async fn strangers_learn_nothing() {
    let server = server().await;
    let (token, address) = (server.access.token().to_owned(), server.address);
    for (lines, status) in [
        (format!("GET / HTTP/1.1\r\nHost: {address}"), "404"),
        (format!("GET /live HTTP/1.1\r\nHost: {address}"), "404"),
        (format!("GET /{token}x/ HTTP/1.1\r\nHost: {address}"), "404"),
        (format!("GET /{token}/secret HTTP/1.1\r\nHost: {address}"), "404"),
        (format!("GET /{token}/ HTTP/1.1\r\nHost: evil.example"), "421"),
        (format!("GET /{token}/ HTTP/1.1\r\nX: y"), "421"),
        (format!("POST /{token}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0"), "405"),
        (format!("GET /{token}/live HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Site: cross-site"), "403"),
    ] {
        let answer = server.ask(&lines).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines}: {answer}");
        assert!(!answer.contains("homelab") && !answer.contains("rack1-a"), "{lines}: {answer}");
        assert!(!answer.to_lowercase().contains(&format!("location: /{token}")), "{lines}: {answer}");
    }
}

#[tokio::test]
async fn a_browser_is_led_to_the_page_once() {
    let server = server().await;
    let line = format!("GET /open/{} HTTP/1.1\r\nHost: {}", server.access.ticket(), server.address);
    let first = server.ask(&line).await;
    assert!(first.starts_with("HTTP/1.1 303 "), "{first}");
    assert!(first.contains(&format!("location: /{}/", server.access.token())), "{first}");
    let second = server.ask(&line).await;
    assert!(second.starts_with("HTTP/1.1 410 "), "{second}");
    assert!(!second.contains(server.access.token()), "{second}");
}

#[tokio::test]
async fn who_waits_for_news_hears_them_when_there_are_some_and_not_before() {
    let server = server().await;
    let (version, _) = server.hub.version();
    let file = format!("live?after={}", version.number);
    let news = server.get(&file);
    let change = async {
        // The same again is no news.
        server.hub.show(|_| {});
        tokio::task::yield_now().await;
        let view = Sample { problems: true, ..Sample::default() }.view().await;
        server.hub.show(|it| *it = view);
    };
    let (news, ()) = tokio::join!(news, change);
    assert!(news.starts_with("HTTP/1.1 200 "), "{news}");
    assert!(news.contains("3 problems") && !news.contains("<html"), "{news}");
    assert!(news.contains(&format!("ferrolb-version: {}", version.number + 1)), "{news}");
}

#[tokio::test]
async fn who_waits_in_vain_is_told_that_all_is_as_it_was() {
    let server = server_with(Duration::from_millis(10)).await;
    let (version, _) = server.hub.version();
    let answer = server.get(&format!("live?after={}", version.number)).await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
}

#[tokio::test]
async fn a_drain_is_told_by_the_last_look() {
    let server = server().await;
    let before = server.get("?drain=rack1-a").await;
    assert!(before.contains("That cannot be told: nothing has been seen yet"), "{before}");
    let (cluster, look) = Sample::default().look();
    server.hub.looked(cluster, look);
    let told = server.get("?drain=rack1-a").await;
    assert!(told.contains("If rack1-a is drained, then switched off"), "{told}");
    assert!(told.contains("to another node") || told.contains("Nothing would change"), "{told}");
    // The sample's API server cannot be asked for the Pods that stay.
    assert!(told.contains("All endpoints on rack1-a count as evicted"), "{told}");
    let unknown = server.get("?drain=nobody").await;
    assert!(unknown.contains("there is no node nobody"), "{unknown}");
}
