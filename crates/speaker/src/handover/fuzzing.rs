//! What the fuzz target calls: what another process may write to the socket where speakers meet.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::LazyLock;

use gossip::{Key, Keys};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::channel::Channel;
use super::message::Message;
use super::take::Predecessor;
use crate::bgp::Incoming;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("there are descriptors"));
/// A connection to 127.0.0.1.
static CONNECTION: LazyLock<(TcpStream, TcpStream)> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a loopback");
    let near = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    (near, listener.accept().expect("somebody connects").0)
});

/// Each end reads this from somebody who then says no more. Nobody gets to know it, or anything, by that.
pub fn read(octets: &[u8]) {
    let keys: Keys = Key::new(&[7; 32]).into_iter().collect();
    RUNTIME.block_on(async {
        let (end, _teller) = told(octets);
        assert!(Channel::with_successor(end, &keys).await.is_err());
        let (end, _teller) = told(octets);
        assert!(Channel::with_predecessor(end, &keys).await.is_err());
        let (end, _teller) = told(octets);
        let channel = Channel::with_same_user(end).expect("it is this process");
        let given = Predecessor::on(channel).sessions().await;
        assert!(given.is_none_or(|(incoming, _)| incoming.is_empty()), "a session came without a socket");
    });
}

/// An end, and the other, which is read from no more.
fn told(octets: &[u8]) -> (UnixStream, StdUnixStream) {
    let (teller, end) = UnixStream::pair().expect("there are descriptors");
    let mut teller = teller.into_std().expect("it is open");
    _ = teller.write_all(octets);
    _ = teller.shutdown(Shutdown::Write);
    (end, teller)
}

/// Takes in a message that comes with a connection. Whether it makes sense.
pub fn take(message: &[u8]) -> bool {
    let Ok(message) = serde_json::from_slice(message) else { return false };
    let _runtime = RUNTIME.enter();
    let mut incoming = Incoming::default();
    let taken = match message {
        Message::Bgp(form) => incoming.add_session(*form, socket()),
        Message::Bfd(form) => incoming.bfd.add_session(*form, socket()),
        Message::Listener(form) => incoming.bfd.add_listener(form, socket()),
        _ => return false,
    };
    taken.is_ok()
}

fn socket() -> OwnedFd {
    CONNECTION.0.as_fd().try_clone_to_owned().expect("there are descriptors")
}
