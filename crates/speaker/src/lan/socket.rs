//! A packet socket for ARP on one interface. All `unsafe` of this crate is here.
#![expect(unsafe_code, reason = "no library makes the address that binds a packet socket")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the C library, in the types that it wants"
)]

use std::io::{self, Read};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// Receives the ARP requests that reach an interface, and sends whole frames.
#[derive(Debug)]
pub(super) struct PacketSocket(AsyncFd<Socket>);

impl PacketSocket {
    /// Opens a socket on the interface with this index. Needs `CAP_NET_RAW`.
    ///
    /// It is made for no protocol, and so receives nothing before the filter is in place; only then it is
    /// bound to the interface and to ARP. It leaves the interface's promiscuity alone.
    pub(super) fn open(index: u32) -> io::Result<Self> {
        let socket = Self::unbound()?;
        socket.attach_filter(&arp_requests())?;
        socket.bind(&arp_on(index)?)?;
        // SAFETY: the socket owns its descriptor, and `AsyncFd` owns the socket: nobody can close or replace
        // it meanwhile.
        Ok(Self(unsafe { AsyncFd::register(socket)? }))
    }

    /// A socket that receives nothing.
    pub(super) fn unbound() -> io::Result<Socket> {
        Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(0)))
    }

    /// Waits for a frame and returns its length. Cancel safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.async_io(Interest::READABLE, |mut socket| socket.read(buffer)).await
    }

    /// Sends a frame, waiting for room if there is none. Cancel safe.
    pub(super) async fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |socket| socket.send(frame)).await.map(drop)
    }
}

/// A classic BPF program that lets ARP requests through which the interface itself would take: addressed to
/// it or broadcast, not to others on a promiscuous interface, not of a VLAN that is not ours, not our own.
fn arp_requests() -> [SockFilter; 8] {
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const JUMP_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const ETHERTYPE: u32 = 12;
    const OPERATION: u32 = 20;
    const REQUEST: u32 = 1;
    const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
    const ARP: u32 = libc::ETH_P_ARP.cast_unsigned();
    let packet_broadcast = u32::from(libc::PACKET_BROADCAST);
    [
        SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE),
        // To this host is 0 and broadcast 1; what comes after that is none of our business.
        SockFilter::new(JUMP_GREATER, 5, 0, packet_broadcast),
        SockFilter::new(LOAD_HALF, 0, 0, ETHERTYPE),
        SockFilter::new(JUMP_EQUAL, 0, 3, ARP),
        SockFilter::new(LOAD_HALF, 0, 0, OPERATION),
        SockFilter::new(JUMP_EQUAL, 0, 1, REQUEST),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The address of "ARP on this interface".
fn arp_on(index: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the platform's socket address types.
    let address: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ARP as u16).to_be();
    address.sll_ifindex = index;
    // SAFETY: the storage holds a `sockaddr_ll`, and the length is that of the type.
    Ok(unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) })
}
