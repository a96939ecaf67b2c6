//! The echo server as its users see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(arguments: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-echo"));
    let mut process =
        command.args(["-listen", "127.0.0.1:0"]).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    Server { process, address }
}

fn get(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_path_gives_the_text_with_the_status_that_was_asked_for() {
    let server = start(&["-text=hello world", "-status-code=201"]);
    for path in ["/", "/any/where?x=y"] {
        let answer = get(&server, path);
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhello world\n"), "{answer}");
    }
    assert!(get(&server, "/health").ends_with(r#"{"status":"ok"}"#));
}

#[test]
fn a_request_to_stop_ends_it_without_an_error() {
    let mut server = start(&["-text=x"]);
    let id = Pid::from_raw(server.process.id().try_into().unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    assert!(server.process.wait().unwrap().success());
}
