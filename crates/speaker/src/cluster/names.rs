//! What happens is told to the directory of names, and what that says goes to the interfaces and to owners of Services.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use api::names::MDNS_NAME;
use kubekit::events::Notice;
use layer2::TransmitPolicy;
use mdns::{Directory, Listed};
use placement::{InterfaceName, Prefix, ServiceKey};
use speaker_core::Links;
use speaker_core::announce::layer2::Ports;
use tokio::sync::watch;
use tracing::warn;

use super::Cluster;
use super::carry_out::reference;
use crate::mdns::{Serve, Served};
use crate::objects::SeenService;

/// The names of Services on the LAN.
pub(super) struct Names {
    directory: Directory,
    /// By the number of the interface.
    prefixes: BTreeMap<u32, BTreeSet<Prefix>>,
    served: watch::Sender<Served>,
}

impl Names {
    pub(super) fn new(served: watch::Sender<Served>) -> Self {
        Self { directory: Directory::new(MDNS_NAME), prefixes: BTreeMap::new(), served }
    }

    /// A Service is like this now, or is gone.
    pub(super) fn set_service(&mut self, key: &ServiceKey, seen: Option<&SeenService>) {
        let listed = seen.and_then(|seen| {
            let service = seen.service.as_ref()?;
            let vips = service.vips.iter().copied().collect();
            Some(Listed { created: service.created, vips, requested: seen.mdns_name.clone() })
        });
        self.directory.set_service(key.clone(), listed);
    }

    pub(super) fn set_links(&mut self, links: &Links) {
        let prefixes = links.iter().map(|(index, link)| (*index, link.lan.prefixes.clone()));
        self.prefixes = prefixes.collect();
        self.directory.look_again();
    }

    /// What each port is to do.
    pub(super) fn set_ports(&mut self, ports: &Ports) {
        let mut announced: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let mut muted = BTreeSet::new();
        for (port, orders) in ports {
            let interface = (port.index, port.name.clone());
            if orders.transmit_policy == TransmitPolicy::Muted {
                muted.insert(interface.clone());
            }
            announced.entry(interface).or_default().extend(orders.vips.keys().copied());
        }
        self.directory.set_announced(announced, muted);
    }

    /// What a port says.
    pub(super) fn port(&mut self, interface: &InterfaceName, report: &layer2::Report) {
        match *report {
            layer2::Report::Free { vip } | layer2::Report::Spoken { vip, .. } => {
                self.directory.spoken(interface.clone(), vip);
            }
            layer2::Report::Taken { vip, .. } | layer2::Report::Held { vip, .. } => {
                self.directory.silent(interface, vip);
            }
            layer2::Report::Claimed { .. }
            | layer2::Report::Rival { .. }
            | layer2::Report::PeerAnswers { .. }
            | layer2::Report::Answered { .. }
            | layer2::Report::Silent { .. }
            | layer2::Report::SameLan { .. } => {}
        }
    }

    /// What becomes of a name on an interface.
    pub(super) fn reported(&mut self, interface: InterfaceName, report: mdns::Report, now: Instant) {
        self.directory.reported(interface, report, now);
    }

    /// Tells the interfaces what has changed for them.
    fn publish(&mut self) {
        let Some(wanted) = self.directory.poll() else { return };
        let served = wanted.into_iter().map(|(interface, wanted)| {
            let prefixes = self.prefixes.get(&interface.0).cloned().unwrap_or_default();
            (interface, Serve { wanted, prefixes })
        });
        kubekit::send_if_new(&self.served, served.collect());
    }
}

impl Cluster {
    /// Tells the interfaces, and the owners of Services, what follows from what has changed.
    pub(super) fn publish_names(&mut self) {
        let Some(names) = &mut self.names else { return };
        names.publish();
        while let Some((service, mdns::Notice { reason, message })) = names.directory.poll_notice() {
            warn!(%service, reason, message, "a name is not answered for");
            if let Some(uid) = self.uids.get(&service) {
                self.outputs.publisher.publish(reference(&service, uid), Notice::warning(reason, message));
            }
        }
    }
}
