//! A UDP socket that is there sooner or later, and survives whatever the network does.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// How often to try to bind.
const RETRY: Duration = Duration::from_millis(500);
/// Room for what everybody says at the same moment: when a partition heals, each of hundreds has something to say.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The socket, as far as there is one.
#[derive(Debug)]
pub(crate) struct Socket {
    bind: SocketAddr,
    state: State,
    complained: bool,
}

#[derive(Debug)]
enum State {
    Bound(UdpSocket),
    /// To be tried again then.
    Unbound(Instant),
}

impl Socket {
    /// Not there yet.
    pub(crate) fn new(bind: SocketAddr) -> Self {
        Self { bind, state: State::Unbound(Instant::now()), complained: false }
    }

    /// Waits until there may be something to receive, which takes for ever while the address is not there. Can be
    /// dropped at any time.
    pub(crate) async fn ready(&mut self) {
        loop {
            match &self.state {
                State::Bound(socket) => match socket.readable().await {
                    Ok(()) => return,
                    Err(error) => self.fail(&error),
                },
                State::Unbound(at) => {
                    sleep_until(*at).await;
                    match bind(self.bind) {
                        Ok(socket) => {
                            info!(address = %self.bind, "gossip listens");
                            self.state = State::Bound(socket);
                            self.complained = false;
                        }
                        Err(error) => self.fail(&error),
                    }
                }
            }
        }
    }

    /// What has arrived, if anything.
    pub(crate) fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> Option<(SocketAddr, &'a [u8])> {
        let State::Bound(socket) = &self.state else { return None };
        match socket.try_recv_from(buffer) {
            Ok((length, from)) => Some((from, &buffer[..length])),
            Err(error) if error.kind() == ErrorKind::WouldBlock || is_passing(&error) => None,
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// Sends, or does not: whoever has something important to say says it again.
    pub(crate) fn send(&self, to: SocketAddr, frame: &[u8]) -> io::Result<()> {
        match &self.state {
            State::Bound(socket) => socket.try_send_to(frame, to).map(drop),
            State::Unbound(_) => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        if !self.complained {
            warn!(address = %self.bind, %error, "gossip cannot listen, and tries again");
            self.complained = true;
        }
        self.state = State::Unbound(Instant::now() + RETRY);
    }
}

/// Whether the same socket works again when the network does.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The kernel gives what it may; less will do in most clusters.
    let _less = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
