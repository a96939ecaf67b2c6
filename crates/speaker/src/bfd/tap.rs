//! The sockets that echo packets are sent and come back by: whole frames, see [`bfd::frame`].
#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the C library, in the types that it wants"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::num::NonZeroU32;

use bfd::frame::{Heard, Mac};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockaddrLike;
use objects::Family;
use socket2::Socket;
use tracing::debug;

use super::filter;
use super::peer::Peer;
use crate::{kernel, packet_socket};

/// So many frames are read before what is due is done, however many there are.
const AT_ONCE: usize = 4096;
/// Longer than what is looked for.
const LENGTH: usize = 256;

/// Where frames go and come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) interface: NonZeroU32,
    pub(super) family: Family,
}

/// All of them. They need `CAP_NET_RAW`.
#[derive(Debug, Default)]
pub(super) struct Taps(BTreeMap<Place, Tap>);

#[derive(Debug)]
struct Tap {
    socket: Socket,
    mac: Mac,
    /// The sessions whose packets are let through.
    expected: Vec<NonZeroU32>,
}

impl Taps {
    /// Each of them, to be waited for.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.0.values().map(|tap| &tap.socket)
    }

    /// Opens one, if it is not open, and tells the hardware address of the interface.
    pub(super) fn open(&mut self, place: Place) -> io::Result<Mac> {
        if let Some(tap) = self.0.get(&place) {
            return Ok(tap.mac);
        }
        let mac = hardware_address(place.interface)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "no Ethernet address"))?;
        self.0.insert(place, Tap { socket: open(place)?, mac, expected: vec![] });
        Ok(mac)
    }

    /// Frames of these sessions are let through, and no others.
    pub(super) fn expect<'a>(&mut self, peers: impl Iterator<Item = &'a Peer> + Clone) {
        for (place, tap) in &mut self.0 {
            let here = peers.clone().filter(|peer| peer.place() == Some(*place));
            let expected: Vec<NonZeroU32> = here.filter_map(Peer::discriminator).collect();
            if expected != tap.expected {
                match tap.socket.attach_filter(&filter::frames(place.family, &expected)) {
                    Ok(()) => tap.expected = expected,
                    Err(error) => debug!(%error, "a tap of BFD has the filter that it had"),
                }
            }
        }
    }

    /// These are needed, and no others.
    pub(super) fn retain(&mut self, needed: &BTreeSet<Place>) {
        self.0.retain(|place, _| needed.contains(place));
    }

    pub(super) fn send(&self, place: Place, frame: &[u8]) -> io::Result<()> {
        let tap = self.0.get(&place).ok_or(io::ErrorKind::NotConnected)?;
        tap.socket.send(frame).map(drop)
    }

    /// Hands over what has arrived.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Place, Heard<'_>)) {
        self.0.retain(|place, tap| {
            for _ in 0..AT_ONCE {
                let mut buffer = [0; LENGTH];
                match (&tap.socket).read(&mut buffer) {
                    Ok(length) => {
                        if let Some(heard) = Heard::parse(&buffer[..length]) {
                            take(*place, heard);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                    // Its interface is down: said once, and it goes on when that is up again.
                    Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                    Err(error) => {
                        debug!(%error, "BFD taps its interface anew");
                        return false;
                    }
                }
            }
            true
        });
    }
}

fn open(place: Place) -> io::Result<Socket> {
    let socket = packet_socket::unbound()?;
    socket.attach_filter(&filter::frames(place.family, &[]))?;
    let protocol = match place.family {
        Family::V4 => libc::ETH_P_IP as u16,
        Family::V6 => libc::ETH_P_IPV6 as u16,
    };
    socket.bind(&kernel::packet_address(place.interface.get(), protocol)?)?;
    Ok(socket)
}

fn hardware_address(interface: NonZeroU32) -> Option<Mac> {
    getifaddrs().ok()?.find_map(|it| {
        let address = it.address?;
        let is_it = if_nametoindex(it.interface_name.as_str()) == Ok(interface.get());
        address.family().filter(|_| is_it)?;
        address.as_link_addr()?.addr()
    })
}
