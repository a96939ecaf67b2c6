//! Established sessions on their way from one process to the next on the same node: the state of each and its connection, and
//! the BFD sessions beside them. Passwords and TTLs stay with the sockets.

use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Context, ensure};
use bgp::config::Transport;
use bgp::session::{Session, Snapshot};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::discovery::Router;
use crate::bfd;

/// Asks for all sessions, for another process to go on with. They stand still here until it is known what has come of it.
#[derive(Debug)]
pub struct Request {
    /// Where they go.
    pub(crate) sessions: oneshot::Sender<Outgoing>,
    /// That the other process has them, so that they end here without a word. Dropped: it has not, and they go on.
    pub(crate) taken: oneshot::Receiver<Taken>,
}

/// Another process has the sessions.
#[derive(Debug)]
pub(crate) struct Taken;

/// What another process needs to go on.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) sessions: Vec<(SessionForm, OwnedFd)>,
    pub(crate) bfd: bfd::Outgoing,
}

/// A session in plain values.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionForm {
    pub(super) session: Snapshot,
    /// What the session has said and the kernel had no room for.
    pub(super) unsent: Vec<u8>,
}

/// What this process is to go on with.
#[derive(Default)]
pub struct Incoming {
    pub(super) sessions: Vec<Resumed>,
    pub(crate) bfd: bfd::Incoming,
}

/// A session with its connection.
pub(super) struct Resumed {
    pub(super) session: Session,
    pub(super) stream: TcpStream,
    pub(super) unsent: Vec<u8>,
    /// The other end, where it was found by an interface.
    pub(super) router: Option<Router>,
}

impl Incoming {
    /// Takes in one session. Within a tokio runtime.
    pub(crate) fn add_session(&mut self, form: SessionForm, socket: OwnedFd) -> anyhow::Result<()> {
        let SessionForm { session, unsent } = form;
        let session = Session::resume(session, rand::random(), Instant::now())?;
        let stream = StdTcpStream::from(socket);
        stream.set_nonblocking(true).context("the connection of a BGP session")?;
        let other_end = stream.peer_addr().context("the connection of a BGP session")?;
        let router = match (&session.config().transport, other_end) {
            (Transport::Interface(_), SocketAddr::V6(v6)) => {
                let interface = NonZeroU32::new(v6.scope_id());
                interface.map(|interface| Router { address: *v6.ip(), interface })
            }
            _ => None,
        };
        let peer = session.config().transport.peer().or(router.map(|it| it.address.into()));
        ensure!(peer == Some(other_end.ip()), "a BGP session is connected to {other_end}");
        let stream = TcpStream::from_std(stream).context("the connection of a BGP session")?;
        self.sessions.push(Resumed { session, stream, unsent, router });
        Ok(())
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}
