//! Objects come, change and go: the part of the [`Index`] that changes go into.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;
use std::vec;

use api::{ConfigurationState, IPAddressPool, L2Advertisement};
use ipam::ServiceKey;
use kube::ResourceExt;
use kubekit::Change;
use objects::Labels;
use slim::{Namespace, Node};

use crate::bgp_objects::BgpChange;
use crate::entry::{Entry, Seen, Source, Updated};
use crate::index::decide::overwritten_notice;
use crate::index::reservations::named;
use crate::index::{Index, List};

/// A full list of Services that is being taken in.
#[derive(Debug)]
pub(super) struct Listing {
    services: vec::IntoIter<Seen>,
    /// Those that were known and have not been met in it.
    missing: BTreeSet<ServiceKey>,
}

impl Index {
    /// Takes in a change of Services. A full list may be long: [`Self::decide`] does the work, and until it has
    /// ([`Self::is_listing`]) other changes of Services should wait.
    pub(crate) fn services(&mut self, change: Change<Seen>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.take_in_list(usize::MAX);
        match change {
            Change::Apply(service) => self.put(service, Source::Watch),
            Change::Delete(service) => self.remove(&service.key),
            Change::Reset(list) => {
                let missing = self.services.keys().cloned().collect();
                self.listing = Some(Listing { services: list.into_iter(), missing });
            }
        }
        self.proceed(deciding);
    }

    /// Whether a full list of Services is still being taken in.
    pub(crate) fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Takes in a part of a full list, as many as `most` Services. Returns how many more could have been.
    pub(super) fn take_in_list(&mut self, most: usize) -> usize {
        let Some(mut listing) = self.listing.take() else { return most };
        let mut left = most;
        while left > 0
            && let Some(service) = listing.services.next()
        {
            left -= 1;
            listing.missing.remove(&service.key);
            self.put(service, Source::List);
        }
        if listing.services.len() > 0 {
            self.listing = Some(listing);
            return 0;
        }
        let deciding = self.decides();
        listing.missing.iter().for_each(|key| self.remove(key));
        self.seen(List::Services, Source::List);
        self.proceed(deciding);
        left
    }

    /// Takes in a change of pools. What follows for Services, follows with [`Self::settle_pools`].
    pub(crate) fn pools(&mut self, change: Change<IPAddressPool>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.seen(List::Pools, source(&change));
        self.pools.change(change, now);
        self.proceed(deciding);
    }

    /// Whether there are changes of pools that nothing has followed from yet.
    pub(crate) fn has_pools_to_settle(&self) -> bool {
        self.pools.have_changed()
    }

    /// Works out what follows from all changes of pools that have come. That costs more than one of them, so it is not
    /// done for each of many.
    pub(crate) fn settle_pools(&mut self, now: Instant) {
        self.now = now;
        if self.pools.work_out() && self.decides() {
            self.pools_changed();
        }
        self.proceed(self.decides());
    }

    /// Takes in a change of advertisements.
    pub(crate) fn advertisements(&mut self, change: Change<L2Advertisement>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.advertisements.change(change);
        self.proceed(deciding);
    }

    /// Takes in a change of objects about BGP.
    pub(crate) fn bgp(&mut self, change: BgpChange, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.bgp.change(change);
        self.proceed(deciding);
    }

    /// Takes in a change of what the speakers report of their BGP sessions.
    pub(crate) fn bgp_sessions(&mut self, change: Change<ConfigurationState>) {
        self.bgp.sessions.change(change);
    }

    /// Whether it matters what the speakers report of their BGP sessions.
    pub(crate) fn follows_bgp_sessions(&self) -> bool {
        self.bgp.has_peers()
    }

    /// Nobody follows them any more.
    pub(crate) fn forget_bgp_sessions(&mut self) {
        self.bgp.sessions.forget();
    }

    /// Takes in a change of namespaces, whose labels pools can select.
    pub(crate) fn namespaces(&mut self, change: Change<Namespace>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        let source = source(&change);
        for (name, namespace) in self.namespaces.update(change, ResourceExt::name_any) {
            let labels = namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
            self.set_labels(name, labels);
        }
        self.seen(List::Namespaces, source);
        self.proceed(deciding);
    }

    /// Takes in a change of nodes, whose addresses are never given out.
    pub(crate) fn nodes(&mut self, change: Change<Node>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.seen(List::Nodes, source(&change));
        let (mut changed, mut moved) = (false, false);
        for (name, node) in self.nodes.update(change, |node| node.name_any().into()) {
            moved |= self.set_node(&name, node.as_ref());
            changed |= match node {
                Some(node) => {
                    let ips: Vec<IpAddr> = node.status.ips().collect();
                    self.node_ips.insert(name, ips.clone()) != Some(ips)
                }
                None => self.node_ips.remove(&name).is_some(),
            };
        }
        if changed {
            self.pools.set_reserved(self.reserved());
            if deciding {
                self.reserved_changed();
            }
        }
        if moved && deciding {
            self.nodes_changed();
        }
        self.proceed(deciding);
    }

    fn put(&mut self, service: Seen, source: Source) {
        let key = service.key.clone();
        if self.services.get(&key).is_some_and(|entry| entry.uid != service.uid) {
            // One of the same name was deleted and made again, and the watch missed the gap.
            self.remove(&key);
        }
        self.set_node_ports(&key, Some(&service));
        let named_before = self.named_reservation(&key).cloned();
        let changed = match self.services.get_mut(&key) {
            Some(entry) => {
                let Updated { changed, undone } = entry.update(service, source, self.now);
                if let Some(undone) = undone {
                    self.overwrites += 1;
                    let notice = undone.warn.then(|| (entry.reference(&key), overwritten_notice()));
                    self.notices.extend(notice);
                }
                changed
            }
            None => {
                self.services.insert(key.clone(), Entry::new(service));
                true
            }
        };
        self.reservation_named(&key, named_before.as_ref());
        if changed && self.decides() {
            self.make_due(&key);
            // At the start there are warnings only about what is written anyway: a restart is no change.
            self.warn(&key);
        }
    }

    fn remove(&mut self, key: &ServiceKey) {
        self.set_node_ports(key, None);
        let Some(entry) = self.services.remove(key) else { return };
        if let Some(reservation) = named(&entry) {
            self.unname(key, reservation);
        }
        self.freed |= self.node_pools.release(key);
        self.waiting.remove(&(entry.created, key.clone()));
        self.freed |= self.allocator.release(key).is_some();
        self.freed |= self.allocator.set_elsewhere(key, []);
    }

    fn set_labels(&mut self, namespace: String, labels: Labels) {
        if self.namespace_labels.get(&namespace) == Some(&labels) {
            return;
        }
        self.allocator.touch_reservations_of(&namespace);
        let first = ServiceKey::new(namespace.as_str(), "");
        let inside = self.services.range(first..).map(|(key, _)| key);
        let inside: Vec<_> = inside.take_while(|key| *key.namespace == *namespace).cloned().collect();
        if labels.is_empty() {
            self.namespace_labels.remove(&namespace);
        } else {
            self.namespace_labels.insert(namespace, labels);
        }
        if self.decides() {
            inside.iter().for_each(|key| self.make_due(key));
        }
    }
}

/// Where a change comes from.
pub(super) fn source<K>(change: &Change<K>) -> Source {
    match change {
        Change::Reset(_) => Source::List,
        Change::Apply(_) | Change::Delete(_) => Source::Watch,
    }
}
