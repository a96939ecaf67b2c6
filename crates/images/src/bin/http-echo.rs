//! An HTTP server that answers everything with one text. It stands in for `hashicorp/http-echo` and
//! takes that program's flags and environment, with one dash or two.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Answers every HTTP request with one text.
#[derive(Parser)]
#[command(name = "http-echo", version)]
struct Options {
    /// What to answer; a line feed is added.
    #[arg(long, env = "ECHO_TEXT", allow_hyphen_values = true)]
    text: String,
    /// Where to listen: ADDRESS:PORT, or :PORT for all addresses.
    #[arg(long, default_value = ":5678")]
    listen: String,
    /// The status of every answer.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status_code: u16,
}

struct Answer {
    status: StatusCode,
    body: String,
}

const APP_NAME: HeaderName = HeaderName::from_static("x-app-name");

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse_from(env::args_os().map(two_dashes));
    let answer =
        Answer { status: StatusCode::from_u16(options.status_code)?, body: format!("{}\n", options.text) };
    let stop = told_to_stop()?;
    let listener =
        listen(&options.listen).await.with_context(|| format!("cannot listen on {}", options.listen))?;
    log(format_args!("listening on {}", listener.local_addr()?));
    let app = Router::new()
        .route("/health", get(|| async { axum::Json(serde_json::json!({"status": "ok"})) }))
        .fallback(echo)
        .with_state(Arc::new(answer))
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

async fn echo(
    State(answer): State<Arc<Answer>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let field = |name| {
        request.headers().get(name).map_or(Cow::default(), |value| String::from_utf8_lossy(value.as_bytes()))
    };
    let (host, agent) = (field(header::HOST), field(header::USER_AGENT));
    let (method, uri, version) = (request.method(), request.uri(), request.version());
    let (status, length) = (answer.status.as_u16(), answer.body.len());
    log(format_args!("{host} {client} \"{method} {uri} {version:?}\" {status} {length} {agent:?}"));
    (answer.status, [(APP_NAME, "http-echo")], answer.body.clone()).into_response()
}

/// Nobody may be reading, which is no reason to stop.
fn log(line: std::fmt::Arguments) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The program that this one stands in for is written in Go, whose flags take one dash or two.
fn two_dashes(argument: OsString) -> OsString {
    let flag = argument.to_str().and_then(|text| text.strip_prefix('-'));
    match flag {
        Some(flag) if ["text", "listen", "status-code", "version"].contains(&name(flag)) => {
            format!("--{flag}").into()
        }
        _ => argument,
    }
}

fn name(flag: &str) -> &str {
    flag.split('=').next().unwrap_or(flag)
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else {
        return TcpListener::bind(address).await;
    };
    match TcpListener::bind(format!("[::]:{port}")).await {
        // Not every machine has IPv6.
        Err(error) if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
            TcpListener::bind(format!("0.0.0.0:{port}")).await
        }
        bound => bound,
    }
}

/// Process 1 is not ended by a signal that it does not handle.
fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_with_one_dash_or_two() {
        for arguments in [
            ["-text=a b", "-listen=:80", "-status-code=404"].as_slice(),
            &["--text=a b", "--listen", ":80", "--status-code", "404"],
            &["-text", "a b", "-listen", ":80", "-status-code", "404"],
        ] {
            let line = ["http-echo"].iter().chain(arguments).map(OsString::from).map(two_dashes);
            let options = Options::parse_from(line);
            assert_eq!((&*options.text, &*options.listen, options.status_code), ("a b", ":80", 404));
        }
    }

    #[test]
    fn a_text_may_begin_with_a_dash() {
        let options =
            Options::parse_from(["http-echo", "-text", "-hello"].map(OsString::from).map(two_dashes));
        assert_eq!(options.text, "-hello");
    }
}
