//! Sessions that are up, on their way from one process to the next on the same node: their state, and the sockets that packets
//! of each leave from and those of all arrive at, so that not one is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::Context;
use bfd::session::{Session, Snapshot};
use objects::Family;
use serde::{Deserialize, Serialize};

use super::Way;
use super::listener::Door;
use super::sender::Sender;

/// What another process needs to go on with the sessions. This one may go on meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) sessions: Vec<(SessionForm, OwnedFd)>,
    pub(crate) listeners: Vec<(ListenerForm, OwnedFd)>,
}

/// What this process is to go on with.
#[derive(Default)]
pub(crate) struct Incoming {
    pub(super) sessions: BTreeMap<Way, Before>,
    pub(super) listeners: BTreeMap<Door, UdpSocket>,
}

/// A session of the other process. It begins here only when its packets are sent and read, for it does not bear a pause.
pub(super) struct Before {
    pub(super) session: Snapshot,
    pub(super) sender: Sender,
}

/// A session in plain values.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionForm {
    peer: IpAddr,
    source: Option<IpAddr>,
    interface: Option<String>,
    vrf: Option<String>,
    session: Snapshot,
}

/// Where packets arrive, in plain values.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerForm {
    port: u16,
    is_ipv6: bool,
    vrf: Option<String>,
}

impl SessionForm {
    pub(super) fn of(Way { peer, source, interface, vrf }: &Way, session: Snapshot) -> Self {
        let (interface, vrf) = (interface.as_ref(), vrf.as_ref());
        Self {
            peer: *peer,
            source: *source,
            interface: interface.map(|it| it.as_str().to_owned()),
            vrf: vrf.map(|it| it.as_str().to_owned()),
            session,
        }
    }
}

impl ListenerForm {
    pub(super) fn of(Door { port, family, vrf }: &Door) -> Self {
        let vrf = vrf.as_ref().map(|it| it.as_str().to_owned());
        Self { port: *port, is_ipv6: *family == Family::V6, vrf }
    }
}

impl Incoming {
    /// Leaves out the sessions of other ways than these.
    pub(crate) fn keep(&mut self, ways: &BTreeSet<Way>) {
        self.sessions.retain(|way, _| ways.contains(way));
    }

    pub(crate) fn add_session(&mut self, form: SessionForm, socket: OwnedFd) -> anyhow::Result<()> {
        let SessionForm { peer, source, interface, vrf, session } = form;
        let way = Way { peer, source, interface: interface.map(Into::into), vrf: vrf.map(Into::into) };
        // To refuse what makes no sense while that can be said.
        Session::resume(session.clone(), 0, Instant::now())?;
        let sender = Sender::resume(socket.into(), peer).context("the socket of a BFD session")?;
        self.sessions.insert(way, Before { session, sender });
        Ok(())
    }

    pub(crate) fn add_listener(&mut self, form: ListenerForm, socket: OwnedFd) -> anyhow::Result<()> {
        let ListenerForm { port, is_ipv6, vrf } = form;
        let family = if is_ipv6 { Family::V6 } else { Family::V4 };
        let socket = UdpSocket::from(socket);
        let bound = socket.local_addr().context("a socket that BFD listens at")?;
        anyhow::ensure!(bound.port() == port && bound.is_ipv6() == is_ipv6, "BFD does not listen at {bound}");
        socket.set_nonblocking(true)?;
        self.listeners.insert(Door { port, family, vrf: vrf.map(Into::into) }, socket);
        Ok(())
    }
}
