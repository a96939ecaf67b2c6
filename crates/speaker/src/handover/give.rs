//! The old end: waits for the next speaker, and gives it the sessions when this one is asked to stop.

use std::os::fd::AsFd;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::Meeting;
use super::channel::Channel;
use super::message::Message;
use crate::bgp::{self, Outgoing};

/// How long the next speaker may take to read everything and get ready. Sessions stand still meanwhile, those with the shortest
/// hold time, 3 s, among them.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// How long it may take until it sends for BFD. This one goes on doing so meanwhile.
const STARTED_WITHIN: Duration = Duration::from_secs(1);

/// How sessions are asked for. There is one request in the life of a process.
#[derive(Debug, Clone)]
pub struct Sessions(pub(crate) mpsc::Sender<bgp::Request>);

impl Sessions {
    /// With what [`bgp::run_from`] is asked by it.
    pub fn channel() -> (Self, mpsc::Receiver<bgp::Request>) {
        let (requests, asked) = mpsc::channel(1);
        (Self(requests), asked)
    }
}

/// The next speaker, which waits.
#[derive(Debug)]
pub struct Successor(Channel);

impl Meeting {
    /// Lets the next speaker come, until it is needed; then that, if it has come and is not gone again, as one that does not get
    /// ready is. Of several the last, for it is the one that is wanted.
    pub async fn successor(self, needed: oneshot::Receiver<()>) -> Option<Successor> {
        if self.keys().is_empty() {
            warn!("without a key of the gossip no sessions are handed over to the next speaker");
            return None;
        }
        let listener = match self.listen() {
            Ok(listener) => listener,
            Err(error) => {
                warn!(%error, "no sessions can be handed over to the next speaker");
                return None;
            }
        };
        let mut waiting: Option<Channel> = None;
        let waits = async {
            // One that comes goes on being asked who it is while another one goes.
            let mut next = pin!(self.next(&listener));
            loop {
                let gone = async {
                    match &mut waiting {
                        Some(channel) => channel.closed().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = gone => {
                        info!("the next speaker is gone before the end of this one");
                        waiting = None;
                    }
                    come = &mut next => {
                        match come {
                            Ok(channel) => {
                                info!("the next speaker waits for the end of this one");
                                waiting = Some(channel);
                            }
                            Err(error) => warn!(error = format!("{error:#}"), "somebody is not the next speaker"),
                        }
                        next.set(self.next(&listener));
                    }
                }
            }
        };
        tokio::select! {
            _ = needed => {}
            () = waits => {}
        }
        waiting.map(Successor)
    }

    async fn next(&self, listener: &UnixListener) -> anyhow::Result<Channel> {
        let (stream, _) = accept(listener).await;
        // Read anew: keys may have been rotated.
        Channel::with_successor(stream, &self.keys()).await
    }
}

/// What goes wrong with one connection is over soon.
async fn accept(listener: &UnixListener) -> (tokio::net::UnixStream, tokio::net::unix::SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                debug!(%error, "the next speaker cannot connect");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

impl Successor {
    /// Gives it all sessions. Whether it has them: then they have ended here, or do so at once; else they are as they were.
    pub async fn give(mut self, sessions: &Sessions) -> bool {
        let given = self.try_to_give(sessions).await;
        match given {
            Ok(count) => {
                info!(sessions = count, "the next speaker goes on with the BGP sessions");
                // When this process ends, and with it all that others would be in the way of, it is closed.
                self.0.keep_open();
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                warn!(error, "the next speaker does not go on with the BGP sessions");
                false
            }
        }
    }

    async fn try_to_give(&mut self, Sessions(requests): &Sessions) -> anyhow::Result<usize> {
        let (sessions, asked) = oneshot::channel();
        let (taken, has_taken) = oneshot::channel();
        let request = bgp::Request { sessions, taken: has_taken };
        requests.try_send(request).ok().context("there are no sessions any more")?;
        let outgoing = asked.await?;
        let count = outgoing.sessions.len();
        timeout(READY_WITHIN, self.offer(outgoing)).await.context("it is not ready in time")??;
        // It is the other's from here on, whatever comes back.
        let started = timeout(STARTED_WITHIN, self.0.receive()).await;
        if !matches!(started, Ok(Ok((Message::Started, _)))) {
            warn!("the next speaker does not say that it has the sessions");
        }
        _ = taken.send(bgp::Taken);
        Ok(count)
    }

    async fn offer(&mut self, Outgoing { sessions, bfd }: Outgoing) -> anyhow::Result<()> {
        let Self(channel) = self;
        for (form, socket) in sessions {
            channel.send(&Message::Bgp(Box::new(form)), Some(socket.as_fd())).await?;
        }
        for (form, socket) in bfd.listeners {
            channel.send(&Message::Listener(form), Some(socket.as_fd())).await?;
        }
        for (form, socket) in bfd.sessions {
            channel.send(&Message::Bfd(Box::new(form)), Some(socket.as_fd())).await?;
        }
        channel.send(&Message::Complete, None).await?;
        let (answer, _) = channel.receive().await?;
        ensure!(matches!(answer, Message::Ready), "it does not get ready");
        channel.send(&Message::Go, None).await
    }
}
