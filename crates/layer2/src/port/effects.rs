//! What a port wants done: frames, memberships, reports.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use crate::MacAddr;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a frame.
    Send(Transmission),
    /// Become a member of a multicast group.
    Join(Ipv6Addr),
    /// Be a member no longer.
    Leave(Ipv6Addr),
    /// Tell whoever gave the orders.
    Report(Report),
    /// Tell whoever [inquired](crate::Port::inquire) who answers for an address.
    Answered(Answered),
}

/// Who answers for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The address.
    pub vip: IpAddr,
    /// Whether this port does, which hears no questions of its own.
    pub here: bool,
    /// The other stations that do.
    pub by: BTreeSet<MacAddr>,
}

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmission {
    /// The address that it is about.
    pub vip: IpAddr,
    /// What it is for.
    pub purpose: Purpose,
    /// All of it, from the Ethernet header on.
    pub frame: Vec<u8>,
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody asked.
    Answer,
    /// The address was taken over lately.
    Takeover,
    /// Switches should not forget it.
    Refresh,
    /// A foreign host claims it.
    Defence,
    /// Somebody may have it.
    Probe,
    /// Somebody wants to know who has it.
    Inquiry,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Somebody else has the address. It is not announced; the LAN is asked again from time to time, but
    /// this is told again only when it is another that has it.
    Taken {
        /// The address.
        vip: IpAddr,
        /// Who has it.
        by: MacAddr,
    },
    /// The LAN was asked, nobody has the address, and it is announced now.
    Free {
        /// The address.
        vip: IpAddr,
    },
    /// A foreign host claims an address that is announced; that was defended.
    Claimed {
        /// The address.
        vip: IpAddr,
        /// Who claims it.
        by: MacAddr,
    },
    /// A peer whose gossip is not heard answers for the address. It is not answered for here; the LAN is asked again in a
    /// few seconds.
    Held {
        /// The address.
        vip: IpAddr,
        /// Which of its stations.
        by: MacAddr,
    },
    /// A peer whose gossip is not heard claims an address that is announced here, or a station that may be one that was
    /// never heard: one of the two must yield, or go on and say so: see [`Stance`].
    Rival {
        /// The address.
        vip: IpAddr,
        /// Which of its stations.
        by: MacAddr,
    },
    /// A peer that is heard goes on answering for the address some seconds after it was taken over here: its kernel has the
    /// address, or it goes by other objects of the cluster. Told once.
    PeerAnswers {
        /// The address.
        vip: IpAddr,
        /// Which of its stations.
        by: MacAddr,
    },
    /// Somebody answers for an address that is watched; or a peer that is heard does so for one that is announced here, and
    /// has done so for a while.
    Answered {
        /// The address.
        vip: IpAddr,
        /// Who answers.
        by: MacAddr,
    },
    /// Nobody answers for an address that was watched.
    Silent {
        /// The address.
        vip: IpAddr,
    },
    /// Another interface of this node is heard here: both are on one LAN. Told once.
    SameLan {
        /// Its address.
        by: MacAddr,
    },
    /// The takeover was announced for the first time, or need not be.
    Spoken {
        /// The address.
        vip: IpAddr,
        /// Which takeover.
        takeover: u64,
    },
}
