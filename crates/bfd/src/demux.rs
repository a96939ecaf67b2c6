//! Which session a packet is for (RFC 5880 section 6.3, RFC 5881 section 3, RFC 5883 section 3).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;

use crate::packet::Packet;

/// Between whom packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// Over one hop: the peer's address on an interface, given by its index.
    One {
        /// The peer.
        peer: IpAddr,
        /// Where its packets arrive.
        interface: u32,
    },
    /// Over several: both addresses.
    Many {
        /// The peer.
        peer: IpAddr,
        /// This end.
        local: IpAddr,
    },
}

/// The sessions of this end, each by its discriminator and by its path.
#[derive(Debug, Default)]
pub struct Demux {
    paths: BTreeMap<Path, NonZeroU32>,
    sessions: BTreeMap<NonZeroU32, Path>,
}

impl Demux {
    /// A session on this path, with a discriminator near `wanted` that is not in use. On a path that has one already, that
    /// one's.
    pub fn add(&mut self, path: Path, wanted: NonZeroU32) -> NonZeroU32 {
        if let Some(&known) = self.paths.get(&path) {
            return known;
        }
        let mut free = wanted;
        while self.sessions.contains_key(&free) {
            free = free.checked_add(1).unwrap_or(NonZeroU32::MIN);
        }
        self.paths.insert(path, free);
        self.sessions.insert(free, path);
        free
    }

    /// There is no such session any more.
    pub fn remove(&mut self, discriminator: NonZeroU32) {
        if let Some(path) = self.sessions.remove(&discriminator) {
            self.paths.remove(&path);
        }
    }

    /// The session on this path, if there is one.
    pub fn at(&self, path: &Path) -> Option<NonZeroU32> {
        self.paths.get(path).copied()
    }

    /// The session that a packet from `path` is for, if any. A packet that names a session has to come on its path, too:
    /// else anybody who guesses a discriminator could speak for the peer.
    pub fn find(&self, packet: &Packet, path: &Path) -> Option<NonZeroU32> {
        let on_path = self.at(path)?;
        packet.yours.is_none_or(|yours| yours == on_path).then_some(on_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(interface: u32) -> Path {
        Path::One { peer: IpAddr::from([192, 0, 2, 1]), interface }
    }

    fn packet(yours: u32) -> Packet {
        let mut bytes = [0x20, 0x40, 3, 24, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        bytes[8..12].copy_from_slice(&yours.to_be_bytes());
        Packet::parse(&bytes).unwrap()
    }

    #[test]
    fn a_packet_is_for_the_session_on_its_path_that_it_names() {
        let mut demux = Demux::default();
        let first = demux.add(path(1), NonZeroU32::MAX);
        let second = demux.add(path(2), NonZeroU32::MAX);
        assert_eq!((first.get(), second.get()), (u32::MAX, 1));
        assert_eq!(demux.add(path(1), NonZeroU32::MIN), first);
        for (interface, yours, found) in [
            (1, 0, Some(first)),
            (1, u32::MAX, Some(first)),
            (2, 1, Some(second)),
            (1, 1, None),
            (3, 0, None),
            (3, 1, None),
        ] {
            assert_eq!(demux.find(&packet(yours), &path(interface)), found, "{interface} {yours}");
        }
        demux.remove(first);
        assert_eq!(demux.find(&packet(0), &path(1)), None);
        assert_eq!(demux.find(&packet(0), &path(2)), Some(second));
    }
}
