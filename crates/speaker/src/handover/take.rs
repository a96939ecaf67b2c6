//! The new end: waits for the sessions of the speaker before, and for its end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::Meeting;
use super::channel::Channel;
use super::message::Message;
use crate::bgp::Incoming;

/// From the first session to the word that they are ours: longer than the other end waits for.
const GIVEN_WITHIN: Duration = Duration::from_secs(5);
/// A speaker that stops has ended by then: kubelet sees to it.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// More sessions and listeners than a node has: whoever names more makes no sense.
const MOST: usize = 4096;
/// The speaker before that is replaced has closed its addresses by then. Whoever listens there for longer is worth a word.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
/// How often to look whether an address is free.
const RETRY: Duration = Duration::from_millis(50);

/// The speaker before this one on the node, which runs.
#[derive(Debug)]
pub struct Predecessor(Channel);

/// The speaker before, whose sessions are ours now.
#[derive(Debug)]
pub struct Taken(Channel);

impl Meeting {
    /// The speaker before, if there is one.
    pub async fn predecessor(&self) -> Option<Predecessor> {
        let stream = match StdUnixStream::connect_addr(&self.address().ok()?) {
            Ok(stream) => stream,
            // Nobody is there, in most cases.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
            Err(error) => {
                warn!(%error, "the speaker before, if there is one, cannot be asked for its sessions");
                return None;
            }
        };
        match self.meet(stream).await {
            Ok(channel) => Some(Predecessor(channel)),
            Err(error) => {
                let error = format!("{error:#}");
                warn!(error, "the speaker before does not hand over its sessions");
                None
            }
        }
    }

    async fn meet(&self, stream: StdUnixStream) -> anyhow::Result<Channel> {
        stream.set_nonblocking(true)?;
        Channel::with_predecessor(UnixStream::from_std(stream)?, &self.keys()).await
    }
}

impl Predecessor {
    #[cfg(any(test, fuzzing))]
    pub(super) fn on(channel: Channel) -> Self {
        Self(channel)
    }

    /// Waits until it gives its sessions. `None` if it ends without, or gives what makes no sense.
    pub async fn sessions(self) -> Option<(Incoming, Taken)> {
        let Self(mut channel) = self;
        let first = channel.receive().await;
        let Ok(first) = first else {
            info!("the speaker before has ended, and handed over nothing");
            return None;
        };
        let received = timeout(GIVEN_WITHIN, receive(&mut channel, first)).await;
        match received.context("they do not come in time").flatten() {
            Ok(incoming) => Some((incoming, Taken(channel))),
            Err(error) => {
                let error = format!("{error:#}");
                warn!(error, "the sessions of the speaker before cannot be gone on with");
                None
            }
        }
    }
}

type Received = (Message, Option<std::os::fd::OwnedFd>);

async fn receive(channel: &mut Channel, first: Received) -> anyhow::Result<Incoming> {
    let (mut incoming, mut next, mut count) = (Incoming::default(), first, 0);
    loop {
        count += 1;
        ensure!(count <= MOST, "there is no end of them");
        match next {
            (Message::Bgp(form), Some(socket)) => incoming.add_session(*form, socket)?,
            (Message::Bfd(form), Some(socket)) => incoming.bfd.add_session(*form, socket)?,
            (Message::Listener(form), Some(socket)) => incoming.bfd.add_listener(form, socket)?,
            (Message::Complete, _) => break,
            (_, None) => bail!("a socket is missing"),
            (_, Some(_)) => bail!("a message comes out of turn"),
        }
        next = channel.receive().await?;
    }
    channel.send(&Message::Ready, None).await?;
    match channel.receive().await?.0 {
        Message::Go => Ok(incoming),
        _ => bail!("a message comes out of turn"),
    }
}

impl Taken {
    /// The sessions have been gone on with. Waits for the end of the speaker before.
    pub async fn started(self) {
        let Self(mut channel) = self;
        _ = channel.send(&Message::Started, None).await;
        if timeout(GONE_WITHIN, channel.closed()).await.is_err() {
            warn!("the speaker before does not end");
        }
    }
}

/// Waits until nobody listens at these addresses: the speaker before does as long as it runs, whether or not it can hand anything
/// over.
pub(crate) async fn until_free(addresses: impl IntoIterator<Item = SocketAddr>) {
    for address in addresses {
        let (began, mut told) = (Instant::now(), false);
        while kubekit::http::listen(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            if began.elapsed() > ENDED_WITHIN && !std::mem::replace(&mut told, true) {
                warn!(%address, "waiting for whoever listens there to end, as the speaker before does when it is replaced");
            }
            sleep(RETRY).await;
        }
    }
}
