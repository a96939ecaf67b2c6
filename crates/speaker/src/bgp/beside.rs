//! The BFD session beside a BGP session (RFC 5882 section 10.2), which ends as soon as the other one fails.

use std::future::pending;

use bgp::config::{Hops, SessionConfig, SessionKind};
use tokio::sync::watch;

use crate::bfd::{Distance, Statuses, Wanted, Way};

/// The BFD session that is wanted beside a BGP session, if one is.
pub(super) fn wanted(config: &SessionConfig) -> Option<(Way, Wanted)> {
    let distance = match (config.asns.kind(), config.hops) {
        (SessionKind::Internal, Hops::One | Hops::Many) => Distance::ByAddress,
        (SessionKind::External, Hops::One) => Distance::OneHop,
        (SessionKind::External, Hops::Many) => Distance::ManyHops,
    };
    let profile = config.bfd?;
    let (peer, source) = (config.transport.peer()?, config.transport.source());
    Some((Way { peer, source, interface: None, vrf: config.vrf.clone() }, Wanted { profile, distance }))
}

/// What BFD has to say of the way to one peer.
#[derive(Debug)]
pub(super) struct Beside {
    statuses: watch::Receiver<Statuses>,
    way: Option<Way>,
    /// Failures that were taken notice of.
    failures: u64,
}

impl Beside {
    pub(super) fn new(statuses: watch::Receiver<Statuses>, config: &SessionConfig) -> Self {
        let mut new = Self { statuses, way: None, failures: 0 };
        new.follow(config);
        new
    }

    /// The BGP session is like this from now on. What was before is of no account for another way.
    pub(super) fn follow(&mut self, config: &SessionConfig) {
        let way = wanted(config).map(|(way, _)| way);
        if way != self.way {
            self.way = way;
            self.failures = self.count();
        }
    }

    /// Waits until there may be something to say. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.way.is_none() || self.statuses.changed().await.is_err() {
            pending::<()>().await;
        }
    }

    /// Whether packets have ceased to get through since this was asked last. As long as they never did, nothing has ceased: a
    /// peer without BFD is a peer.
    pub(super) fn has_failed(&mut self) -> bool {
        let failures = self.count();
        // Less, where it is another session.
        failures > std::mem::replace(&mut self.failures, failures)
    }

    fn count(&mut self) -> u64 {
        let statuses = self.statuses.borrow_and_update();
        self.way.as_ref().and_then(|way| statuses.get(way)).map_or(0, |status| status.failures)
    }
}
