//! What follows from the objects of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use placement::{
    Abilities, Advertisement, AdvertisementName, Endpoints, Node, NodeName, PoolName, Pools, Prefixes,
    Service, ServiceKey, SliceKey,
};
use pools::PoolSpec;

use super::Core;
use crate::configuration::ConfigurationNews;
use crate::input::Changes;
use crate::output::{Gossip, Output};

impl Core {
    pub(super) fn services(&mut self, changes: Changes<ServiceKey, Service>) {
        for (key, service) in changes.each {
            self.touch(&key);
            match service {
                Some(service) => self.placement.set_service(service),
                None => self.placement.remove_service(&key),
            }
        }
    }

    pub(super) fn endpoints(&mut self, changes: Changes<SliceKey, (ServiceKey, Endpoints)>) {
        for (slice, endpoints) in changes.each {
            match endpoints {
                Some((service, endpoints)) => {
                    self.touch(&service);
                    self.placement.set_endpoints(&slice, &service, endpoints);
                }
                None => {
                    if !self.missing.is_empty() {
                        self.bgp.look_again();
                    }
                    self.placement.remove_endpoints(&slice);
                }
            }
        }
    }

    /// A Service may be announced otherwise than before. Once nothing is missing, `placement` tells which those are.
    fn touch(&mut self, service: &ServiceKey) {
        if !self.missing.is_empty() {
            self.touched.insert(service.clone());
        }
    }

    pub(super) fn nodes(&mut self, changes: Changes<NodeName, Node>) {
        for (name, node) in changes.each {
            match node {
                Some(node) => self.placement.set_node(node),
                None => {
                    self.placement.remove_node(&name);
                    self.stale.known_macs |= self.peers.forget(&name);
                    self.placement.set_conceded(&name, &BTreeSet::new());
                    self.placement.set_kept(&name, &BTreeSet::new());
                    self.placement.set_abilities(name.clone(), Abilities::Unknown);
                    self.placement.set_prefixes(name, Prefixes::new());
                }
            }
        }
    }

    pub(super) fn pools(&mut self, changes: Changes<PoolName, PoolSpec>) {
        let mut different = false;
        for (name, pool) in changes.each {
            different |= match pool {
                Some(pool) => self.pools.insert(name, pool.clone()) != Some(pool),
                None => {
                    let news = self.configuration.valid("IPAddressPool", name.as_str());
                    self.configured(news);
                    self.pools.remove(&name).is_some()
                }
            };
        }
        if different {
            let pools = Pools::new(self.pools.values().cloned());
            for pool in pools.iter() {
                let faults: Vec<_> = pool.faults.iter().map(ToString::to_string).collect();
                let news = self.configuration.assess("IPAddressPool", pool.name.as_str(), &faults);
                self.configured(news);
            }
            self.placement.set_pools(pools);
            self.bgp.look_again();
        }
    }

    pub(super) fn advertisements(
        &mut self,
        changes: Changes<AdvertisementName, (Advertisement, Vec<String>)>,
    ) {
        for (name, advertisement) in changes.each {
            let news = match advertisement {
                Some((advertisement, faults)) => {
                    self.placement.set_advertisement(advertisement);
                    self.configuration.assess("L2Advertisement", name.as_str(), &faults)
                }
                None => {
                    self.placement.remove_advertisement(&name);
                    self.configuration.valid("L2Advertisement", name.as_str())
                }
            };
            self.configured(news);
        }
    }

    pub(super) fn configured(&mut self, news: Option<ConfigurationNews>) {
        self.stale.problems |= news.is_some();
        self.outputs.extend(news.map(Output::Configuration));
    }

    pub(super) fn addresses(&mut self, addresses: BTreeMap<NodeName, BTreeSet<IpAddr>>) {
        if self.published.addresses.as_ref() != Some(&addresses) {
            self.gossip(Gossip::SetAddresses(addresses.clone()));
            self.published.addresses = Some(addresses);
        }
    }

    pub(super) fn listed(&mut self, mut peers: BTreeMap<NodeName, SocketAddr>) {
        peers.remove(&self.node);
        self.stale.known_macs |= self.peers.set_listed(peers.keys().cloned().collect());
        if self.published.peers.as_ref() != Some(&peers) {
            self.gossip(Gossip::SetPeers(peers.clone()));
            self.published.peers = Some(peers);
        }
    }
}
