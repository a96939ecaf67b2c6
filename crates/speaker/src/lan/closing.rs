//! Closes sockets on a thread of its own.
//!
//! The kernel takes milliseconds to forget a packet socket or the membership of a group, and longer while interfaces are
//! made or removed. When a node loses many interfaces at once, that would add up to a pause in which this program
//! neither answers nor is heard by its peers.

use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use socket2::Socket;

/// So many sockets may wait to be closed: a few for each interface of a large node. What is more is closed at once, by
/// whoever wants it closed.
const WAITING: usize = 1024;

/// Closes `socket` soon, without a pause for the caller.
pub(super) fn close(socket: Socket) {
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
