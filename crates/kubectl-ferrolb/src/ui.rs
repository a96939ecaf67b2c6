//! `kubectl ferrolb ui`: a page in the browser that shows all of it, and goes on showing it.
//!
//! ```text
//! cluster --> watching.rs: looks again and again --> view.rs: what is seen --+--> page/: HTML --> http.rs --> browser
//!                                                    timeline.rs: what moved --+                     |
//!                                                                                                access.rs: for whom
//! ```
//!
//! The page is served on this machine's loopback address and by the user's own rights; nothing runs in the cluster, and
//! nothing is written there. It is HTML, made here; a little script puts a new version of it into the place of the old
//! one, and all of it works without. Every text from the cluster is untrusted: [`maud`] escapes what goes into HTML, and
//! [`page`] takes out what would turn the direction of writing.

mod access;
mod browser;
mod http;
mod page;
mod query;
#[cfg(test)]
mod sample;
mod timeline;
mod view;
mod watching;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use self::access::Access;
use self::watching::Hub;
use crate::answer::Answer;
use crate::cluster::Cluster;
use crate::options::Connection;
use crate::output::Page;

/// A page that can be served.
#[derive(Debug)]
pub struct Ui {
    listener: TcpListener,
    access: Arc<Access>,
    connection: Connection,
    port: u16,
}

/// Serves the page until somebody stops the program.
pub(crate) async fn run(
    connection: &Connection,
    port: Option<u16>,
    no_browser: bool,
) -> anyhow::Result<Answer> {
    // Where there is nothing to talk to, that is said at once, and not in a browser.
    Cluster::open(connection).await?;
    let ui = Ui::listen(connection.clone(), port).await?;
    eprintln!("The page is at {}", ui.url());
    eprintln!("It is for whoever has this address, on this machine only. Ctrl-C ends it.");
    if !no_browser && let Err(why) = browser::open(&ui.url_for_browser()) {
        eprintln!("No browser was opened ({why}): open that address yourself.");
    }
    tokio::select! {
        () = ui.serve() => {}
        stopped = tokio::signal::ctrl_c() => stopped.context("waiting for Ctrl-C")?,
    }
    Ok(Answer::object("Ui", &(), Page::default()))
}

impl Ui {
    /// Takes a port of the loopback address, a free one where none is given.
    pub(crate) async fn listen(connection: Connection, port: Option<u16>) -> anyhow::Result<Self> {
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
        let listener = TcpListener::bind(bind).await.with_context(|| match port {
            Some(port) => format!("port {port} of this machine cannot be had: choose another --port"),
            None => "no port of this machine can be had".to_owned(),
        })?;
        let port = listener.local_addr().context("finding out which port it is")?.port();
        Ok(Self { listener, access: Arc::new(Access::new()?), connection, port })
    }

    /// Where the page is: a secret, for whoever knows it may read the page.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.access.token())
    }

    /// An address that leads to the page once: other users of this machine can see what a browser is started with.
    pub fn url_for_browser(&self) -> String {
        format!("http://127.0.0.1:{}/open/{}", self.port, self.access.ticket())
    }

    /// Looks at the cluster and serves the page, for ever.
    pub async fn serve(self) {
        let hub = Arc::new(Hub::new(&self.connection));
        tokio::select! {
            () = watching::watch(Arc::clone(&hub), self.connection) => {}
            () = http::serve(self.listener, self.access, hub, http::PATIENCE) => {}
        }
    }
}
