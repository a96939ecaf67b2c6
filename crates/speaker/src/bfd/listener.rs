//! The sockets that packets of all peers arrive at.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bfd::config::{ECHO_PORT, Hops, MULTI_HOP_PORT, SENT_TTL};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv4RecvTtl, Ipv6RecvHopLimit, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, getsockopt, recvmsg, setsockopt};
use nix::{getsockopt_impl, sockopt_impl};
use objects::{Family, InterfaceName};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tracing::{debug, info, warn};

use super::Way;
use super::filter::{self, Expected};
use super::handover::ListenerForm;
use super::peer::Peer;

/// Room for what arrives while the thread waits for its turn, as far as the kernel allows.
const RECEIVE_BUFFER: usize = 1 << 20;
/// So many packets are read before what is due is done, however many there are. It is more than the buffer can hold, so
/// everything is read that was there when reading began.
const AT_ONCE: usize = 4096;
/// So many echo packets are sent back before that. Who sends more loses them.
const ECHOES_AT_ONCE: usize = 64;
/// As if a router had forwarded it: what has the greatest TTL is sent back once more.
const SENT_BACK_TTL: u32 = SENT_TTL as u32 - 1;
/// A packet may be longer, and nothing is to be read from what follows.
const LENGTH: usize = 64;

sockopt_impl!(
    /// What is known of the memory of a socket, in the order of linux/sock_diag.h.
    Memory,
    GetOnly,
    libc::SOL_SOCKET,
    SO_MEMINFO,
    [u32; 9]
);

/// Of asm-generic/socket.h.
const SO_MEMINFO: libc::c_int = 55;
/// How many packets were dropped, in that: `SK_MEMINFO_DROPS`.
const DROPS: usize = 8;

/// Where packets arrive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Door {
    pub(super) port: u16,
    pub(super) family: Family,
    /// A socket of no VRF gets no packet of one.
    pub(super) vrf: Option<InterfaceName>,
}

/// Something that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    /// The index of the interface that it came by.
    pub(super) interface: u32,
    /// The TTL or hop limit that it had left.
    pub(super) ttl: u8,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: BTreeMap<Door, Listening>,
    /// Those that cannot be had at present.
    refused: BTreeSet<Door>,
}

#[derive(Debug)]
struct Listening {
    socket: UdpSocket,
    /// Whose packets are let through.
    expected: Vec<Expected>,
    /// How many packets the kernel has dropped that were told of.
    dropped: u32,
}

/// What arrives at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Control packets over this many hops; the smallest TTL is each session's own.
    Control(Hops),
    /// Echo packets of routers that send them to the address of this end, as FRR does by IPv6.
    Echo,
}

/// What becomes of something that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    SentBack,
}

impl Door {
    pub(super) fn of(hops: Hops, way: &Way) -> Self {
        Self::at(hops.port(), way)
    }

    pub(super) fn of_echo(way: &Way) -> Self {
        Self::at(ECHO_PORT, way)
    }

    fn at(port: u16, way: &Way) -> Self {
        let family = if way.peer.is_ipv4() { Family::V4 } else { Family::V6 };
        Self { port, family, vrf: way.vrf.clone() }
    }

    fn program(&self, expected: &[Expected]) -> Vec<SockFilter> {
        match self.kind() {
            Kind::Control(_) => filter::control(expected),
            Kind::Echo => filter::echo(expected),
        }
    }

    fn kind(&self) -> Kind {
        match self.port {
            ECHO_PORT => Kind::Echo,
            MULTI_HOP_PORT => Kind::Control(Hops::Many { least_ttl: 0 }),
            _ => Kind::Control(Hops::One),
        }
    }
}

impl Listeners {
    /// Those that another process had.
    pub(super) fn resume(sockets: BTreeMap<Door, UdpSocket>) -> Self {
        let listening = |socket| {
            let dropped = getsockopt(&socket, Memory).map_or(0, |memory| memory[DROPS]);
            Listening { socket, expected: vec![], dropped }
        };
        let open = sockets.into_iter().map(|(door, socket)| (door, listening(socket))).collect();
        Self { open, refused: BTreeSet::new() }
    }

    /// Each of them, for another process. One that cannot be duplicated is opened anew there.
    pub(super) fn handed_over(&self) -> Vec<(ListenerForm, OwnedFd)> {
        let each = self.open.iter().map(|(door, it)| (ListenerForm::of(door), it.socket.as_fd()));
        each.filter_map(|(form, socket)| Some((form, socket.try_clone_to_owned().ok()?))).collect()
    }

    /// Each of them, to be waited for.
    pub(super) fn iter(&self) -> impl Iterator<Item = &UdpSocket> {
        self.open.values().map(|it| &it.socket)
    }

    /// Packets of these peers are let through, and no others.
    pub(super) fn expect<'a>(&mut self, peers: impl Iterator<Item = &'a Peer> + Clone) {
        for (door, it) in &mut self.open {
            let here: Vec<Expected> = peers.clone().filter_map(|peer| peer.expected(door)).collect();
            if here == it.expected {
                continue;
            }
            match SockRef::from(&it.socket).attach_filter(&door.program(&here)) {
                Ok(()) => it.expected = here,
                Err(error) => debug!(port = door.port, %error, "BFD has the filter that it had"),
            }
        }
    }

    /// How many packets the kernel has dropped since this was asked last.
    pub(super) fn dropped(&mut self) -> u64 {
        let new = |it: &mut Listening| {
            let now = getsockopt(&it.socket, Memory).map_or(it.dropped, |memory| memory[DROPS]);
            u64::from(now.wrapping_sub(std::mem::replace(&mut it.dropped, now)))
        };
        self.open.values_mut().map(new).sum()
    }

    /// Whether this door cannot be had at present.
    pub(super) fn refuse(&self, door: &Door) -> bool {
        self.refused.contains(door)
    }

    /// These are wanted, and no others.
    pub(super) fn open(&mut self, wanted: BTreeSet<Door>) {
        self.open.retain(|door, _| wanted.contains(door));
        self.refused.retain(|door| wanted.contains(door));
        for door in wanted {
            if self.open.contains_key(&door) {
                continue;
            }
            let (port, family) = (door.port, door.family);
            match listen(&door) {
                Ok(socket) => {
                    if self.refused.remove(&door) {
                        info!(port, %family, "BFD listens");
                    }
                    self.open.insert(door, Listening { socket, expected: vec![], dropped: 0 });
                }
                Err(error) => {
                    if self.refused.insert(door) {
                        let hint = "another program on this node may speak BFD";
                        warn!(port, %family, %error, hint, "BFD cannot listen, and tries again");
                    }
                }
            }
        }
    }

    /// Hands over what has arrived.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Kind, Datagram<'_>) -> Fate) {
        self.open.retain(|door, Listening { socket, .. }| {
            let at_once = match door.kind() {
                Kind::Control(_) => AT_ONCE,
                Kind::Echo => ECHOES_AT_ONCE,
            };
            for _ in 0..at_once {
                let mut buffer = [0; LENGTH];
                match receive(socket, &mut buffer) {
                    Ok(Some(datagram)) => {
                        if take(door.kind(), datagram) == Fate::SentBack {
                            send_back(socket, &datagram);
                        }
                    }
                    Ok(None) | Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => return true,
                    Err(error) => {
                        warn!(port = door.port, %error, "BFD listens anew");
                        return false;
                    }
                }
            }
            true
        });
    }
}

fn listen(door: &Door) -> io::Result<UdpSocket> {
    let (domain, any) = match door.family {
        Family::V4 => (Domain::IPV4, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        Family::V6 => (Domain::IPV6, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if let Some(vrf) = &door.vrf {
        socket.bind_device(Some(vrf.as_str().as_bytes()))?;
    }
    match door.family {
        Family::V4 => {
            setsockopt(&socket, Ipv4RecvTtl, &true)?;
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        }
        Family::V6 => {
            socket.set_only_v6(true)?;
            setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        }
    }
    if door.kind() == Kind::Echo {
        match door.family {
            Family::V4 => socket.set_ttl_v4(SENT_BACK_TTL)?,
            Family::V6 => socket.set_unicast_hops_v6(SENT_BACK_TTL)?,
        }
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.attach_filter(&door.program(&[]))?;
    socket.bind(&SocketAddr::new(any, door.port).into())?;
    Ok(socket.into())
}

/// What is lost was lost on the way.
fn send_back(socket: &UdpSocket, datagram: &Datagram<'_>) {
    let Datagram { bytes, from, interface, .. } = *datagram;
    let to = match from {
        IpAddr::V6(from) if from.is_unicast_link_local() => {
            SocketAddrV6::new(from, ECHO_PORT, 0, interface).into()
        }
        from => SocketAddr::new(from, ECHO_PORT),
    };
    _ = socket.send_to(bytes, to);
}

/// The next one; `None` where the kernel does not say all about it that has to be known.
fn receive<'a>(socket: &UdpSocket, buffer: &'a mut [u8; LENGTH]) -> nix::Result<Option<Datagram<'a>>> {
    let mut control = cmsg_space!(libc::c_int, libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let length = message.bytes;
    let from = message.address.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
        v4.or_else(|| from.as_sockaddr_in6().map(|it| IpAddr::from(it.ip())))
    });
    let (mut ttl, mut arrival) = (None, None);
    for about in message.cmsgs().into_iter().flatten() {
        match about {
            ControlMessageOwned::Ipv4Ttl(left) | ControlMessageOwned::Ipv6HopLimit(left) => {
                ttl = u8::try_from(left).ok();
            }
            ControlMessageOwned::Ipv4PacketInfo(it) => {
                let to = Ipv4Addr::from(u32::from_be(it.ipi_addr.s_addr));
                arrival = u32::try_from(it.ipi_ifindex).ok().map(|interface| (IpAddr::from(to), interface));
            }
            ControlMessageOwned::Ipv6PacketInfo(it) => {
                arrival = Some((IpAddr::from(it.ipi6_addr.s6_addr), it.ipi6_ifindex));
            }
            _ => {}
        }
    }
    let (Some(from), Some(ttl), Some((to, interface))) = (from, ttl, arrival) else { return Ok(None) };
    Ok(Some(Datagram { bytes: &buffer[..length], from, to, interface, ttl }))
}
