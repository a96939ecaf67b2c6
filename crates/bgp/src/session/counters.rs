//! How many messages there were.

use crate::wire::header::Kind;

/// Messages of a session, since it was configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Those of this end.
    pub sent: PerKind,
    /// Those of the peer.
    pub received: PerKind,
    /// UPDATEs of the peer with attributes that make no sense.
    pub treated_as_withdrawn: u64,
}

/// Numbers of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerKind {
    /// OPEN
    pub opens: u64,
    /// UPDATE
    pub updates: u64,
    /// NOTIFICATION
    pub notifications: u64,
    /// KEEPALIVE
    pub keepalives: u64,
    /// ROUTE-REFRESH
    pub route_refreshes: u64,
}

impl PerKind {
    /// All together.
    pub fn total(self) -> u64 {
        let Self { opens, updates, notifications, keepalives, route_refreshes } = self;
        opens + updates + notifications + keepalives + route_refreshes
    }

    pub(super) fn count(&mut self, kind: Kind) {
        *match kind {
            Kind::Open => &mut self.opens,
            Kind::Update => &mut self.updates,
            Kind::Notification => &mut self.notifications,
            Kind::Keepalive => &mut self.keepalives,
            Kind::RouteRefresh => &mut self.route_refreshes,
        } += 1;
    }
}
