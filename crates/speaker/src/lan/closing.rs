//! Sockets that are closed on a thread of their own.
//!
//! The kernel takes milliseconds to forget a packet socket or the membership of a group, and longer while interfaces are
//! made or removed. When a node loses many interfaces at once, that would add up to a pause in which this program
//! neither answers nor is heard by its peers.

use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use socket2::Socket;

/// So many sockets may wait to be closed: a few for each interface of a large node. What is more is closed at once, by
/// whoever wants it closed.
const WAITING: usize = 1024;

/// A socket that is closed soon after this is dropped, without a pause for whoever drops it.
#[derive(Debug)]
pub(crate) struct ClosedLater(
    /// There until this is dropped.
    Option<Socket>,
);

impl From<Socket> for ClosedLater {
    fn from(socket: Socket) -> Self {
        Self(Some(socket))
    }
}

impl Deref for ClosedLater {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        self.0.as_ref().expect("there until this is dropped")
    }
}

impl AsRawFd for ClosedLater {
    fn as_raw_fd(&self) -> RawFd {
        (**self).as_raw_fd()
    }
}

impl Drop for ClosedLater {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(close);
    }
}

fn close(socket: Socket) {
    static CLOSER: OnceLock<Option<SyncSender<Socket>>> = OnceLock::new();
    let start = || {
        let (closer, to_close) = sync_channel::<Socket>(WAITING);
        let close_all = move || to_close.into_iter().for_each(drop);
        thread::Builder::new().name("closing".to_owned()).spawn(close_all).ok().map(|_| closer)
    };
    if let Some(closer) = CLOSER.get_or_init(start)
        && let Err(TrySendError::Full(socket) | TrySendError::Disconnected(socket)) = closer.try_send(socket)
    {
        drop(socket);
    }
}
