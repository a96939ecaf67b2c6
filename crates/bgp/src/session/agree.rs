//! What this end says of itself, and what follows from what the peer says.

use std::net::IpAddr;

use objects::Family;

use crate::config::{Families, HoldTime, SessionConfig, SessionKind, Transport};
use crate::rib_out::{Agreement, NextHops};
use crate::session::{Local, Past};
use crate::wire::attributes::{AsnWidth, Context};
use crate::wire::notification::Notification;
use crate::wire::open::{Capabilities, GracefulRestart, Multiprotocol, Open, multiprotocol_capabilities};

/// The OPEN of this end.
pub(super) fn open(config: &SessionConfig, past: Past) -> Open {
    let graceful_restart = config.graceful_restart.map(|time| GracefulRestart {
        restarting: past == Past::Restarted,
        time,
        families: Some(config.families),
        // The node forwards whether or not this process runs. One that has just started does not: routers that keep routes
        // to it would send it what it drops.
        has_forwarded: past != Past::Fresh,
    });
    Open {
        asn: config.asns.told(),
        hold: config.timers.hold(),
        router_id: config.router_id,
        capabilities: Capabilities {
            multiprotocol: Multiprotocol::Said(Some(config.families)),
            route_refresh: true,
            extended_next_hop: knows_extended_next_hop(config),
            four_octet_asn: true,
            graceful_restart,
        },
    }
}

/// Whether IPv4 prefixes may have an IPv6 next hop: where there may be no other.
fn knows_extended_next_hop(config: &SessionConfig) -> bool {
    config.transport.family() == Family::V6 && config.families.contain(Family::V4)
}

/// What is known of a peer that has said who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) hold: HoldTime,
    pub(super) agreement: Agreement,
    /// Whether it takes IPv6 next hops for IPv4 prefixes, as this end does (RFC 8950).
    pub(super) extended: bool,
    /// Whether it keeps the routes when the connection is lost (RFC 4724).
    pub(super) keeps_routes: bool,
}

/// What both ends agree on, or what the peer is to be told (RFC 4271 section 6.2).
pub(super) fn agree(config: &SessionConfig, local: Local, open: Open) -> Result<Peer, Notification> {
    let Open { asn, hold, router_id, capabilities } = open;
    let bad_as = || Notification::new(Notification::BAD_PEER_AS).with(&asn.number().to_be_bytes());
    let kind = config.asns.accept(asn).ok_or_else(bad_as)?;
    // RFC 6286 section 2.2
    if kind == SessionKind::Internal && router_id == config.router_id {
        return Err(Notification::new(Notification::BAD_IDENTIFIER));
    }
    let theirs = capabilities.multiprotocol.families();
    let families = theirs.and_then(|theirs| theirs.common(config.families)).ok_or_else(|| {
        let wanted = multiprotocol_capabilities(Multiprotocol::Said(Some(config.families)));
        Notification::new(Notification::UNSUPPORTED_CAPABILITY).with(&wanted)
    })?;
    let asn_width = if capabilities.four_octet_asn { AsnWidth::Four } else { AsnWidth::Two };
    let extended = capabilities.extended_next_hop && knows_extended_next_hop(config);
    Ok(Peer {
        hold: hold.min_of(config.timers.hold()),
        agreement: Agreement {
            families,
            next_hops: next_hops(config, families, local, extended),
            context: Context { kind, asn: config.asns.told(), asn_width },
        },
        extended,
        keeps_routes: config.graceful_restart.is_some() && capabilities.graceful_restart.is_some(),
    })
}

/// The next hops that this end has for prefixes of each family.
pub(super) fn next_hops(
    config: &SessionConfig,
    families: Families,
    local: Local,
    extended: bool,
) -> NextHops {
    let Local { address, other } = local;
    let numbered = !matches!(config.transport, Transport::Interface(_));
    let v4 = match address {
        IpAddr::V4(_) => Some(address),
        IpAddr::V6(_) => {
            other.filter(|other| numbered && other.is_ipv4()).or_else(|| extended.then_some(address))
        }
    };
    let v6 = match (address, other) {
        (IpAddr::V6(v6), _) | (IpAddr::V4(_), Some(IpAddr::V6(v6))) => Some(v6),
        (IpAddr::V4(_), _) => None,
    };
    NextHops {
        v4: v4.filter(|_| families.contain(Family::V4)),
        v6: v6.filter(|_| families.contain(Family::V6)),
    }
}
