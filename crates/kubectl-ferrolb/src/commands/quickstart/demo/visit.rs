//! One HTTP request from where the command runs, and what its outcome means.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Line;
use crate::output::Tone;

/// So long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// So much of an answer is read.
const LONGEST: usize = 64 << 10;
/// So much of it is shown.
const SHOWN: usize = 80;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// The first line.
    pub(super) text: String,
}

/// Where the command runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Here {
    /// The address from which the request goes out.
    pub(super) own: Option<IpAddr>,
    /// The LANs of the nodes, as speakers say.
    pub(super) prefixes: Vec<IpNet>,
}

/// What an outcome means.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) lines: Vec<Line>,
    pub(super) problem: bool,
}

/// Asks for `/`, and answers with what came back, or why nothing did.
pub(super) async fn visit(to: SocketAddr) -> Result<Answered, String> {
    let exchange = async {
        let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let host = match to {
            SocketAddr::V4(it) => it.ip().to_string(),
            SocketAddr::V6(it) => format!("[{}]", it.ip()),
        };
        let request = Request::get("/")
            .header(header::HOST, host)
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), LONGEST).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let text = String::from_utf8_lossy(&body);
            let first = text.lines().next().unwrap_or_default().trim();
            Ok(Answered { status, text: first.chars().take(SHOWN).collect() })
        };
        // The connection is driven for as long as the answer takes; how it ends is seen by the answer.
        tokio::pin!(answer);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    };
    timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

/// The address of this machine from which packets go there. Nothing is sent.
pub(super) fn own_address(to: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(SocketAddr::new(to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What an outcome means, where this text is expected if it is known what is.
pub(super) fn judge(
    ip: IpAddr,
    outcome: &Result<Answered, String>,
    expected: Option<&str>,
    here: &Here,
) -> Judged {
    const WHAT: &str = "Answer";
    let line = |text: String, tone| Line { what: WHAT, text, tone };
    let to_do = |text: String| Line { what: "  to do", text, tone: Tone::Plain };
    let url = match ip {
        IpAddr::V4(ip) => format!("http://{ip}/"),
        IpAddr::V6(ip) => format!("http://[{ip}]/"),
    };
    match outcome {
        Ok(Answered { status, text }) if expected.is_none_or(|expected| text == expected) => {
            let said = format!("{url} asked from this machine: HTTP {status}, {text:?}");
            Judged { lines: vec![line(said, Tone::Good)], problem: false }
        }
        Ok(Answered { status, text }) => {
            let said = format!("{url} is answered by something else: HTTP {status}, {text:?}");
            let remedy =
                "see what is between this machine and the nodes (a proxy, a router that answers), or ask \
                          from another: curl "
                    .to_owned();
            Judged { lines: vec![line(said, Tone::Bad), to_do(remedy + &url)], problem: true }
        }
        Err(why) => {
            let on_lan = here
                .prefixes
                .iter()
                .find(|prefix| prefix.contains(&ip) && here.own.is_some_and(|own| prefix.contains(&own)));
            let said = format!("{url} asked from this machine: {why}");
            if let Some(prefix) = on_lan {
                let remedy = format!(
                    "this machine is on {prefix}, too: see whether kube-proxy runs on the node that announces, and \
                     whether a firewall or network policy is between: curl {url} on a node tells"
                );
                return Judged { lines: vec![line(said, Tone::Bad), to_do(remedy)], problem: true };
            }
            let from = here.own.map_or("without a route there".to_owned(), |own| format!("at {own}"));
            let hint = format!(
                "this machine, {from}, is not on the LAN of the nodes as far as their speakers tell, and what is \
                 announced there has to be routed to reach others. That is no failure of FerroLB: ask from a host of \
                 the LAN or on a node: curl {url}"
            );
            let hint = Line { what: "  hint", text: hint, tone: Tone::Plain };
            Judged { lines: vec![line(said, Tone::Warn), hint], problem: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use tokio::net::TcpSocket;

    use super::*;

    /// What is made of a server that says this.
    async fn visited(answer: &'static str) -> Result<Answered, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET / HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let outcome = visit(address).await;
        server.join().unwrap();
        outcome
    }

    #[tokio::test]
    async fn an_answer_is_read_with_its_status_and_its_first_line() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello\nworld\n";
        let text = "hello".to_owned();
        assert_eq!(visited(answer).await, Ok(Answered { status: 200, text }));
        let empty = visited("HTTP/1.1 404 Not Found\r\n\r\n").await;
        assert_eq!(empty, Ok(Answered { status: 404, text: String::new() }));
    }

    #[tokio::test]
    async fn what_is_no_answer_says_why() {
        assert!(visited("220 smtp.example.com\r\n").await.is_err());
        assert!(visited("").await.is_err());
        // Bound, so that nobody else listens there, and not listened at.
        let nobody = TcpSocket::new_v4().unwrap();
        nobody.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let refused = visit(nobody.local_addr().unwrap()).await.unwrap_err();
        assert!(refused.contains("refused"), "{refused}");
    }

    #[test]
    fn nothing_is_a_problem_on_the_lan_and_a_hint_elsewhere() {
        let ip: IpAddr = "192.0.2.200".parse().unwrap();
        let here = |own: &str| Here {
            own: own.parse().ok(),
            prefixes: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
        };
        let silent: Result<Answered, String> = Err("no answer within 5 s".to_owned());
        let near = judge(ip, &silent, None, &here("192.0.2.7"));
        assert!(near.problem && near.lines[1].text.contains("192.0.2.0/24"), "{near:?}");
        for own in ["198.51.100.1", "nowhere"] {
            let far = judge(ip, &silent, None, &here(own));
            assert!(!far.problem && far.lines[1].text.contains("no failure of FerroLB"), "{far:?}");
            assert!(far.lines[0].text.contains("no answer within 5 s"), "{far:?}");
        }
        let beyond = judge("203.0.113.1".parse().unwrap(), &silent, None, &here("192.0.2.7"));
        assert!(!beyond.problem, "the address is of another LAN: {beyond:?}");
    }

    #[test]
    fn an_answer_of_somebody_else_is_a_problem_where_it_is_known_what_is_to_come() {
        let ip: IpAddr = "2001:db8::1".parse().unwrap();
        let answer = Ok(Answered { status: 200, text: "router".to_owned() });
        let judged = |expected| judge(ip, &answer, expected, &Here::default());
        assert!(!judged(Some("router")).problem && !judged(None).problem);
        let other = judged(Some("FerroLB demo"));
        assert!(other.problem && other.lines[0].text.contains("http://[2001:db8::1]/"), "{other:?}");
    }

    #[test]
    fn the_own_address_is_of_the_family_of_the_other() {
        assert_eq!(own_address(Ipv4Addr::LOCALHOST.into()), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
