//! The sockets of one interface.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use mdns::PORT;
use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Of all that is sent (RFC 6762 section 11).
const TTL: u32 = 255;

sockopt_impl!(
    /// The interface by which packets to groups leave, see ip(7).
    MulticastInterface,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MULTICAST_IF,
    libc::ip_mreqn
);

/// One for each family that can be had, of the group on one interface.
pub(super) struct Sockets {
    index: u32,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    /// Becomes a member of the groups on the interface with this number. Fails where neither is to be had.
    pub(super) fn open(index: u32) -> io::Result<Self> {
        let v4 = open_v4(index);
        match (v4, open_v6(index)) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok(Self { index, v4: v4.ok(), v6: v6.ok() }),
        }
    }

    /// Waits for a packet. Cancel safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            tokio::select! {
                () = readable(self.v4.as_ref()) => {}
                () = readable(self.v6.as_ref()) => {}
            }
            for socket in self.v4.iter().chain(&self.v6) {
                match socket.try_recv_from(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // What came of something that was sent before.
                    Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
                    received => return received,
                }
            }
        }
    }

    /// Sends to all, by each family that has an address here; fails where none has.
    pub(super) async fn send_to_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        if let Some(socket) = &self.v4 {
            sent = socket.send_to(bytes, SocketAddrV4::new(GROUP_V4, PORT)).await.map(drop);
        }
        if let Some(socket) = &self.v6 {
            let to = SocketAddrV6::new(GROUP_V6, PORT, 0, self.index);
            sent = sent.or(socket.send_to(bytes, to).await.map(drop));
        }
        sent
    }

    /// Sends to one.
    pub(super) async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let socket = socket.as_ref().ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.send_to(bytes, to).await.map(drop)
    }
}

async fn readable(socket: Option<&UdpSocket>) {
    match socket {
        // An error is met by whoever reads.
        Some(socket) => _ = socket.readable().await,
        None => std::future::pending().await,
    }
}

fn open_v4(index: u32) -> io::Result<UdpSocket> {
    let socket = shared(Domain::IPV4)?;
    // Else it would hear what comes by other interfaces on which any program of this node is a member.
    socket.set_multicast_all_v4(false)?;
    socket.bind(&SocketAddrV4::new(GROUP_V4, PORT).into())?;
    socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
    let any = libc::in_addr { s_addr: 0 };
    let imr_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let interface = libc::ip_mreqn { imr_multiaddr: any, imr_address: any, imr_ifindex };
    setsockopt(&socket, MulticastInterface, &interface)?;
    socket.set_multicast_ttl_v4(TTL)?;
    socket.set_ttl_v4(TTL)?;
    // Programs on this node ask as well.
    socket.set_multicast_loop_v4(true)?;
    UdpSocket::from_std(socket.into())
}

fn open_v6(index: u32) -> io::Result<UdpSocket> {
    let socket = shared(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.set_multicast_all_v6(false)?;
    socket.bind(&SocketAddrV6::new(GROUP_V6, PORT, 0, index).into())?;
    socket.join_multicast_v6(&GROUP_V6, index)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(TTL)?;
    socket.set_unicast_hops_v6(TTL)?;
    socket.set_multicast_loop_v6(true)?;
    UdpSocket::from_std(socket.into())
}

/// A socket that shares its port with other programs.
fn shared(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}
