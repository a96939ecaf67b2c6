//! A packet socket for ARP or NDP on one interface.
#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the C library, in the types that it wants"
)]

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime};

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use nix::{cmsg_space, setsockopt_impl, sockopt_impl};
use socket2::{SockFilter, Socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::closing::ClosedLater;
use crate::packet_socket::{JUMP_EQUAL, JUMP_GREATER, LOAD_BYTE, LOAD_HALF, LOAD_WORD, PACKET_TYPE, RETURN};
use crate::{kernel, packet_socket};

/// What to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listen {
    /// ARP.
    Arp,
    /// Neighbour solicitations and advertisements.
    Ndp,
}

/// Which frames the interface is to take off the wire. What a promiscuous one takes besides, the filters drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reception {
    /// Those that it takes to be for this host.
    Own,
    /// All. It lasts for as long as the socket does.
    Promiscuous,
}

sockopt_impl!(
    /// What an interface takes off the wire for this socket, see packet(7).
    Membership,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_ADD_MEMBERSHIP,
    libc::packet_mreq
);

/// A frame that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Its length in bytes, as far as the buffer goes.
    pub(super) length: usize,
    /// How long ago it reached this host.
    pub(super) age: Duration,
}

/// Receives the frames of one protocol that reach an interface, and sends whole frames.
#[derive(Debug)]
pub(super) struct PacketSocket(AsyncFd<ClosedLater>);

impl PacketSocket {
    /// Opens a socket on the interface with this index. Needs `CAP_NET_RAW`.
    ///
    /// Only with its filter in place is it bound to the interface and to the protocol.
    pub(super) fn open(index: u32, listen: Listen, reception: Reception) -> io::Result<Self> {
        let socket = packet_socket::unbound()?;
        match listen {
            Listen::Arp => socket.attach_filter(&ARP)?,
            Listen::Ndp => socket.attach_filter(&NDP)?,
        }
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        let protocol = match listen {
            Listen::Arp => libc::ETH_P_ARP as u16,
            Listen::Ndp => libc::ETH_P_IPV6 as u16,
        };
        socket.bind(&kernel::packet_address(index, protocol)?)?;
        match reception {
            Reception::Own => {}
            Reception::Promiscuous => setsockopt(&socket, Membership, &promiscuous(index)?)?,
        }
        Ok(Self(kernel::register(socket.into())?))
    }

    /// Waits for a frame. Cancel safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0.async_io(Interest::READABLE, |socket| receive(socket, buffer)).await
    }

    /// Sends a frame, waiting for room if there is none. Cancel safe.
    pub(super) async fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |socket| socket.send(frame)).await.map(drop)
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Received> {
    // On 32 bits, musl adds the timestamp in the other form; where there is no room for both, all that was received is refused.
    let mut control = cmsg_space!(TimeSpec, TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let received = message.cmsgs()?.find_map(|about| match about {
        ControlMessageOwned::ScmTimestampns(at) => Some(SystemTime::UNIX_EPOCH + Duration::from(at)),
        _ => None,
    });
    // The kernel stamps by the wall clock. Where that was set back meanwhile, no age is known.
    let age = received.and_then(|at| SystemTime::now().duration_since(at).ok());
    Ok(Received { length: message.bytes, age: age.unwrap_or_default() })
}

// Classic BPF programs that let through what the interface itself would take: not what is for others on a
// promiscuous interface, not a VLAN's that is not ours, not our own. The kernel numbers these kinds: to
// this host is 0, broadcast 1, multicast 2; what comes after that is none of our business.

const PACKET_BROADCAST: u32 = libc::PACKET_BROADCAST as u32;
const PACKET_MULTICAST: u32 = libc::PACKET_MULTICAST as u32;
const ETHERTYPE: u32 = 12;
const ARP_TYPE: u32 = libc::ETH_P_ARP.cast_unsigned();
const IPV6_TYPE: u32 = libc::ETH_P_IPV6.cast_unsigned();

/// ARP, to this host or to all.
const ARP: [SockFilter; 6] = [
    SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE),
    SockFilter::new(JUMP_GREATER, 3, 0, PACKET_BROADCAST),
    SockFilter::new(LOAD_HALF, 0, 0, ETHERTYPE),
    SockFilter::new(JUMP_EQUAL, 0, 1, ARP_TYPE),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
    SockFilter::new(RETURN, 0, 0, 0),
];

/// Neighbour solicitations and advertisements from this link, to this host or a group.
const NDP: [SockFilter; 11] = {
    const NEXT_HEADER_AND_HOP_LIMIT: u32 = 14 + 6;
    const ICMPV6_FROM_THIS_LINK: u32 = (libc::IPPROTO_ICMPV6 as u32) << 8 | 255;
    const ICMPV6_TYPE: u32 = 14 + 40;
    const SOLICITATION: u32 = 135;
    const ADVERTISEMENT: u32 = 136;
    [
        SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_GREATER, 8, 0, PACKET_MULTICAST),
        SockFilter::new(LOAD_HALF, 0, 0, ETHERTYPE),
        SockFilter::new(JUMP_EQUAL, 0, 6, IPV6_TYPE),
        SockFilter::new(LOAD_HALF, 0, 0, NEXT_HEADER_AND_HOP_LIMIT),
        SockFilter::new(JUMP_EQUAL, 0, 4, ICMPV6_FROM_THIS_LINK),
        SockFilter::new(LOAD_BYTE, 0, 0, ICMPV6_TYPE),
        SockFilter::new(JUMP_EQUAL, 1, 0, SOLICITATION),
        SockFilter::new(JUMP_EQUAL, 0, 1, ADVERTISEMENT),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
};

fn promiscuous(index: u32) -> io::Result<libc::packet_mreq> {
    let mr_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let mr_type = libc::PACKET_MR_PROMISC as libc::c_ushort;
    Ok(libc::packet_mreq { mr_ifindex, mr_type, mr_alen: 0, mr_address: [0; 8] })
}
