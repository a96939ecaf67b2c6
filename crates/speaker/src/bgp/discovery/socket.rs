//! The socket that router advertisements are sent and received by, on all interfaces: raw, which takes `CAP_NET_RAW`.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use bgp::discovery::{ADVERTISEMENT_TYPE, HOP_LIMIT};
use nix::cmsg_space;
use nix::sys::socket::sockopt::{Ipv6RecvHopLimit, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt};
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// All nodes of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// As long as an advertisement gets on an Ethernet. What is cut off is not valid, and counts for nothing.
const LENGTH: usize = 1500;

sockopt_impl!(
    /// Which types of ICMPv6 messages a raw socket receives (RFC 3542 section 3.2).
    TypeFilter,
    SetOnly,
    libc::IPPROTO_ICMPV6,
    ICMPV6_FILTER,
    BlockedTypes
);

/// Of linux/icmpv6.h.
const ICMPV6_FILTER: libc::c_int = 1;

/// `struct icmp6_filter`: a bit for each type that is not received.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(unreachable_pub, reason = "the macro makes a public item of the option")]
pub struct BlockedTypes([u32; 8]);

impl BlockedTypes {
    fn all_but(kind: u8) -> Self {
        let mut blocked = [u32::MAX; 8];
        blocked[usize::from(kind / 32)] &= !(1 << (kind % 32));
        Self(blocked)
    }
}

/// Something that has arrived.
pub(super) struct Heard {
    pub(super) from: Ipv6Addr,
    /// The index of the interface that it came by.
    pub(super) interface: u32,
    pub(super) hop_limit: u8,
    buffer: [u8; LENGTH],
    length: usize,
}

impl Heard {
    pub(super) fn octets(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// The kernel makes checksums and checks them.
pub(super) struct Socket(UdpSocket);

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::ICMPV6))?;
        setsockopt(&socket, TypeFilter, &BlockedTypes::all_but(ADVERTISEMENT_TYPE))?;
        setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
        socket.set_multicast_loop_v6(false)?;
        Ok(Self(UdpSocket::from_std(socket.into())?))
    }

    /// To all on the link of an interface.
    pub(super) async fn send(&self, message: &[u8], interface: NonZeroU32) -> io::Result<()> {
        let to = SocketAddrV6::new(ALL_NODES, 0, 0, interface.get());
        self.0.send_to(message, SocketAddr::from(to)).await.map(drop)
    }

    /// Waits for an advertisement. Cancel safe.
    pub(super) async fn receive(&self) -> io::Result<Heard> {
        loop {
            if let Some(heard) = self.0.async_io(Interest::READABLE, || receive(&self.0)).await? {
                return Ok(heard);
            }
        }
    }
}

/// `None` where the kernel does not say all about it that has to be known.
fn receive(socket: &UdpSocket) -> io::Result<Option<Heard>> {
    let mut buffer = [0; LENGTH];
    let mut control = cmsg_space!(libc::c_int, libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let (from, length) = (message.address.map(|it| it.ip()), message.bytes);
    let (mut hop_limit, mut interface) = (None, None);
    for about in message.cmsgs().into_iter().flatten() {
        match about {
            ControlMessageOwned::Ipv6HopLimit(left) => hop_limit = u8::try_from(left).ok(),
            ControlMessageOwned::Ipv6PacketInfo(it) => interface = Some(it.ipi6_ifindex),
            _ => {}
        }
    }
    let (Some(from), Some(hop_limit), Some(interface)) = (from, hop_limit, interface) else {
        return Ok(None);
    };
    Ok(Some(Heard { from, interface, hop_limit, buffer, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_is_received() {
        let BlockedTypes(blocked) = BlockedTypes::all_but(134);
        let received = |kind: u8| blocked[usize::from(kind / 32)] & (1 << (kind % 32)) == 0;
        assert_eq!((0..=u8::MAX).filter(|kind| received(*kind)).collect::<Vec<_>>(), [134]);
    }
}
