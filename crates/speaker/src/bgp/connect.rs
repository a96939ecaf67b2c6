//! The TCP connection of a session, with all that has to be set before it is opened.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bgp::config::{Password, SessionConfig};
use bgp::session::Local;
use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::discovery::interface;
use super::next_hop::other;

/// Packets leave as if from next door: routers that check for that (RFC 5082) want it.
const TTL: u32 = 255;
/// Network control: what keeps sessions alive goes first (RFC 4271 appendix E).
const PRECEDENCE: u32 = 0xc0;

sockopt_impl!(
    /// The password of a TCP connection, see tcp(7).
    Md5,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_MD5SIG,
    Md5Key
);

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
#[expect(unreachable_pub, reason = "the macro makes a public item of the option")]
pub struct Md5Key {
    /// `struct sockaddr_storage`: of the peer.
    address: [u8; 128],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: i32,
    key: [u8; Password::MOST],
}

impl Md5Key {
    fn new(peer: IpAddr, password: &Password) -> Self {
        let mut address = [0; 128];
        let family = match peer {
            IpAddr::V4(_) => libc::AF_INET,
            IpAddr::V6(_) => libc::AF_INET6,
        };
        let family = u16::try_from(family).expect("families are small numbers");
        address[..2].copy_from_slice(&family.to_ne_bytes());
        // After the port, which is of no account; of IPv6 also after the flow label.
        match peer {
            IpAddr::V4(v4) => address[4..8].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => address[8..24].copy_from_slice(&v6.octets()),
        }
        let secret = password.expose();
        let mut key = [0; Password::MOST];
        key[..secret.len()].copy_from_slice(secret);
        let key_length = u16::try_from(secret.len()).expect("passwords are short");
        Self { address, flags: 0, prefix_length: 0, key_length, interface: 0, key }
    }
}

/// Opens the connection to the peer, which is there. Whether it takes too long is for others to say.
pub(super) async fn connect(config: &SessionConfig, to: SocketAddr) -> io::Result<(TcpStream, Local)> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match to {
        SocketAddr::V4(_) => {
            socket.set_ttl_v4(TTL)?;
            socket.set_tos_v4(PRECEDENCE)?;
        }
        SocketAddr::V6(_) => {
            socket.set_unicast_hops_v6(TTL)?;
            socket.set_tclass_v6(PRECEDENCE)?;
        }
    }
    if let Some(device) = interface(config).or(config.vrf.as_ref()) {
        socket.bind_device(Some(device.as_str().as_bytes()))?;
    }
    if let Some(password) = &config.password {
        setsockopt(&socket, Md5, &Md5Key::new(to.ip(), password))?;
    }
    if let Some(source) = config.transport.source() {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream = socket.connect(to).await?;
    let address = stream.local_addr()?.ip();
    Ok((stream, Local { address, other: other(address, None) }))
}
