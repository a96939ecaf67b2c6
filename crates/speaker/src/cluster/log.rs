//! What is logged: all that happens, as long as there is little about one thing, and of the rest how much there was.
//!
//! Others can make some of it happen as often as they can send: hosts on the LAN by what they claim, tenants by endpoints that
//! come and go, and nodes by what they tell of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use objects::text::listed;
use placement::{InterfaceName, Interfaces, NodeName, ServiceKey};
use timers::{Journal, LogLines};
use tracing::{info, warn};

use crate::Metrics;

/// A Service that changes hands has so many lines of each kind at once, and then one in this time.
const CHANGES: (u32, Duration) = (10, Duration::from_mins(1));
/// An address that another host has, or claims, so many: who does so goes on.
const CLAIMS: (u32, Duration) = (3, Duration::from_mins(10));
/// Disputes with a node, and what is given up.
const DISPUTES: (u32, Duration) = (5, Duration::from_mins(1));
/// How many addresses a line names.
const FEW: usize = 8;

/// What was logged lately.
pub(super) struct Log {
    changes: Journal<(&'static str, ServiceKey)>,
    claims: Journal<(&'static str, IpAddr)>,
    disputes: BTreeMap<NodeName, LogLines>,
    conceded: LogLines,
    metrics: Metrics,
}

impl Log {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            changes: Journal::new(CHANGES.0, CHANGES.1),
            claims: Journal::new(CLAIMS.0, CLAIMS.1),
            disputes: BTreeMap::new(),
            conceded: LogLines::new(DISPUTES.0, DISPUTES.1),
            metrics,
        }
    }

    /// Says how much was left out of what has come to rest.
    pub(super) fn poll(&mut self, now: Instant) {
        while let Some(((what, service), left_out)) = self.changes.poll(now) {
            info!(what, %service, left_out, "of changes of who announces a Service, so many were left out here");
        }
        while let Some(((what, vip), left_out)) = self.claims.poll(now) {
            info!(what, %vip, left_out, "of claims of an address by others, so many were left out here");
        }
    }

    /// When to call [`Self::poll`], if ever.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.changes.poll_timeout().into_iter().chain(self.claims.poll_timeout()).min()
    }

    pub(super) fn elected(&mut self, service: &ServiceKey, vips: &[IpAddr]) {
        if let Some(left_out) = self.admit("elected", service) {
            info!(%service, vips = listed(vips), left_out = some(left_out), "elected to announce");
        }
    }

    pub(super) fn no_longer_elected(&mut self, service: &ServiceKey, vips: &[IpAddr], why: &str) {
        if let Some(left_out) = self.admit("noLongerElected", service) {
            let (vips, left_out) = (listed(vips), some(left_out));
            info!(%service, vips, why, left_out, "no longer elected to announce");
        }
    }

    /// Where a Service is announced from this node by layer 2, if it is.
    pub(super) fn interfaces(&mut self, service: &ServiceKey, interfaces: Option<&Interfaces>) {
        let what = if interfaces.is_some() { "announcing" } else { "noLongerAnnouncing" };
        let Some(left_out) = self.admit(what, service) else { return };
        let left_out = some(left_out);
        match interfaces {
            Some(Interfaces::All) => info!(%service, interfaces = "all", left_out, "announcing"),
            Some(Interfaces::Only(names)) => {
                info!(%service, interfaces = listed(names.iter()), left_out, "announcing");
            }
            None => info!(%service, left_out, "no longer announcing"),
        }
    }

    /// What a port has found out about others who have an address.
    pub(super) fn claim(&mut self, interface: &InterfaceName, report: &layer2::Report) {
        let (what, vip, by, message) = match report {
            layer2::Report::Taken { vip, by } => {
                ("taken", vip, by, "not announcing, somebody else has the address")
            }
            layer2::Report::Claimed { vip, by } => {
                ("claimed", vip, by, "somebody else claims an address that is announced")
            }
            layer2::Report::Held { vip, by } => {
                ("held", vip, by, "not announcing, a speaker whose gossip is not heard has the address")
            }
            layer2::Report::Rival { vip, by } => {
                ("rival", vip, by, "a speaker whose gossip is not heard answers for the same address")
            }
            layer2::Report::PeerAnswers { vip, by } => {
                ("peer", vip, by, "a speaker's node goes on answering for an address that was taken over")
            }
            layer2::Report::SameLan { .. }
            | layer2::Report::Free { .. }
            | layer2::Report::Spoken { .. }
            | layer2::Report::Answered { .. }
            | layer2::Report::Silent { .. } => return,
        };
        match self.claims.admit((what, *vip), Instant::now()) {
            Some(left_out) => warn!(%vip, %interface, %by, left_out = some(left_out), "{message}"),
            None => self.metrics.line_left_out(),
        }
    }

    /// What is given up by now is these, because other speakers ask for it.
    pub(super) fn conceded(&mut self, vips: &BTreeSet<IpAddr>) {
        let Ok(left_out) = self.conceded.admit(Instant::now()) else {
            self.metrics.line_left_out();
            return;
        };
        let left_out = some(left_out);
        if vips.is_empty() {
            info!(left_out, "no address is given up any more");
            return;
        }
        let (count, first) = (vips.len(), listed(vips.iter().take(FEW)));
        warn!(
            count,
            first,
            left_out,
            "giving up addresses: other speakers have seen changes of the cluster that have not come here"
        );
    }

    /// Other speakers are asked to give these up.
    pub(super) fn disputed(&mut self, by_node: BTreeMap<NodeName, BTreeSet<IpAddr>>) {
        for (node, vips) in by_node {
            let lines = self.disputes.entry(node.clone());
            let lines = lines.or_insert_with(|| LogLines::new(DISPUTES.0, DISPUTES.1));
            let Ok(left_out) = lines.admit(Instant::now()) else {
                self.metrics.line_left_out();
                continue;
            };
            let (count, first, left_out) = (vips.len(), listed(vips.iter().take(FEW)), some(left_out));
            warn!(
                %node,
                count,
                first,
                left_out,
                "asking a speaker to give up addresses, unless it has seen the latest changes"
            );
        }
    }

    /// Whether to write a line of this kind about a Service, and how many were left out before.
    fn admit(&mut self, what: &'static str, service: &ServiceKey) -> Option<u64> {
        let left_out = self.changes.admit((what, service.clone()), Instant::now());
        if left_out.is_none() {
            self.metrics.line_left_out();
        }
        left_out
    }
}

/// So many, if any.
fn some(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}
