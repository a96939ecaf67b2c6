//! Memberships of multicast groups on one interface.
//!
//! The kernel tells of them by MLD, so that switches pass on what is sent to the group. The packets
//! themselves come through the packet socket: the sockets here receive nothing.

use std::io;
use std::net::Ipv6Addr;

use layer2::Shards;
use socket2::{Domain, Socket, Type};

use super::closing::ClosedLater;

/// The groups that this node is a member of on an interface for as long as this lives.
#[derive(Debug)]
pub(super) struct Memberships {
    index: u32,
    shards: Shards,
    sockets: Vec<ClosedLater>,
}

impl Memberships {
    /// A member of no group on the interface with this number.
    pub(super) fn new(index: u32) -> Self {
        Self { index, shards: Shards::default(), sockets: Vec::new() }
    }

    /// Becomes a member of `group`.
    pub(super) fn join(&mut self, group: Ipv6Addr) -> io::Result<()> {
        let Some(shard) = self.shards.join(group) else { return Ok(()) };
        let index = self.index;
        let joined = self.socket(shard).and_then(|socket| socket.join_multicast_v6(&group, index));
        if joined.is_err() {
            self.shards.leave(group);
        }
        joined
    }

    /// Is a member of `group` no longer.
    pub(super) fn leave(&mut self, group: Ipv6Addr) {
        if let Some(socket) = self.shards.leave(group).and_then(|shard| self.sockets.get(shard)) {
            // It fails when the interface is gone, and the membership with it.
            _ = socket.leave_multicast_v6(&group, self.index);
        }
    }

    fn socket(&mut self, shard: usize) -> io::Result<&Socket> {
        while self.sockets.len() <= shard {
            self.sockets.push(Socket::new(Domain::IPV6, Type::DGRAM, None)?.into());
        }
        Ok(&self.sockets[shard])
    }
}
