//! The socket that a session sends from.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use bfd::config::{FIRST_SOURCE_PORT, SENT_TTL, SINGLE_HOP_PORT};
use nix::net::if_::if_nametoindex;
use rand::RngExt;
use socket2::{Domain, Protocol, Socket, Type};

use super::Way;

/// Network control: what says whether paths work goes first.
const PRECEDENCE: u32 = 0xc0;
/// So many ports are tried until one is free.
const ATTEMPTS: u32 = 64;
/// Nothing is expected on these sockets.
const RECEIVE_BUFFER: usize = 0;

/// Sends the control packets of one session, all from one port, which no other session has (RFC 5881 section 4).
pub(super) struct Sender {
    socket: UdpSocket,
    local: SocketAddr,
}

impl Sender {
    /// To this port of the peer.
    pub(super) fn open(way: &Way, port: u16) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..ATTEMPTS {
            let from = rand::rng().random_range(FIRST_SOURCE_PORT..=u16::MAX);
            match connect(way, from, port) {
                Ok(socket) => {
                    let local = socket.local_addr()?;
                    return Ok(Self { socket, local });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The socket of another process, which sends to `peer`.
    pub(super) fn resume(socket: UdpSocket, peer: IpAddr) -> io::Result<Self> {
        if socket.peer_addr()?.ip() != peer {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is connected to somebody else"));
        }
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    /// The socket, for another process.
    pub(super) fn handed_over(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// The address that packets come from.
    pub(super) fn local(&self) -> IpAddr {
        self.local.ip()
    }

    /// The port that packets come from.
    pub(super) fn port(&self) -> u16 {
        self.local.port()
    }

    /// Sends a packet. That nobody listened at the peer is no error: the socket tells of an earlier packet instead of sending
    /// this one.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        match self.socket.send(packet) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.socket.send(packet),
            sent => sent,
        }
        .map(drop)
    }
}

/// The address that the kernel has packets to the peer come from.
pub(super) fn local_address(way: &Way) -> io::Result<IpAddr> {
    Ok(connect(way, 0, SINGLE_HOP_PORT)?.local_addr()?.ip())
}

fn connect(way: &Way, from: u16, port: u16) -> io::Result<UdpSocket> {
    let Way { peer, source, interface, vrf } = way;
    let peer = SocketAddr::new(*peer, port);
    let socket = Socket::new(Domain::for_address(peer), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if let Some(device) = interface.as_ref().or(vrf.as_ref()) {
        socket.bind_device(Some(device.as_str().as_bytes()))?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let (peer, any) = match peer {
        SocketAddr::V4(_) => {
            socket.set_ttl_v4(SENT_TTL.into())?;
            socket.set_tos_v4(PRECEDENCE)?;
            (peer, IpAddr::from(Ipv4Addr::UNSPECIFIED))
        }
        SocketAddr::V6(v6) => {
            socket.set_unicast_hops_v6(SENT_TTL.into())?;
            socket.set_tclass_v6(PRECEDENCE)?;
            let scope = match interface {
                Some(name) if v6.ip().is_unicast_link_local() => if_nametoindex(name.as_str())?,
                _ => 0,
            };
            (SocketAddrV6::new(*v6.ip(), port, 0, scope).into(), IpAddr::from(Ipv6Addr::UNSPECIFIED))
        }
    };
    socket.bind(&SocketAddr::new(source.unwrap_or(any), from).into())?;
    socket.connect(&peer.into())?;
    Ok(socket.into())
}
