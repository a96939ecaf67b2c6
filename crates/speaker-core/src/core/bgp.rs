//! What follows for the announcing by BGP.

use std::collections::BTreeSet;
use std::fmt::Display;

use peering::Faults;
use placement::{ServiceKey, Unadvertised, Unannounced};

use super::Core;
use crate::announce::bgp::{BgpNews, Change, PROTOCOL, Told};
use crate::output::{Notice, Output};

impl Core {
    /// What is announced by BGP is brought up to date, where something is different about these Services.
    pub(super) fn settle_bgp(&mut self, services: &BTreeSet<ServiceKey>) {
        for news in self.bgp.settle(&self.placement, services, self.now) {
            match news {
                BgpNews::Sessions(sessions) => self.outputs.push_back(Output::BgpSessions(sessions)),
                BgpNews::Secrets(secrets) => self.outputs.push_back(Output::BgpSecrets(secrets)),
                BgpNews::Plan(Change::Routes(peer, routes)) => {
                    self.outputs.push_back(Output::BgpRoutes(peer, routes));
                }
                BgpNews::Plan(Change::Service { service, before, now }) => {
                    self.told_routers(service, before, now);
                }
                BgpNews::AskProxy(service, asking) => {
                    self.outputs.push_back(Output::AskProxy(service, asking));
                }
                BgpNews::ProxyOverdue(services) => self.outputs.push_back(Output::ProxyOverdue(services)),
                BgpNews::Faults(of_peers, of_advertisements) => {
                    self.faults("BGPPeer", &of_peers);
                    self.faults("BGPAdvertisement", &of_advertisements);
                }
            }
        }
        if !self.published.bgp_complete && self.bgp.is_complete() {
            self.published.bgp_complete = true;
            self.outputs.push_back(Output::BgpStatusesComplete);
        }
    }

    /// A Service is announced to other peers than before, or with other addresses.
    fn told_routers(&mut self, service: ServiceKey, before: Told, Told { peers, vips }: Told) {
        if before.peers.is_empty() {
            let message = format!("announcing from node {:?} with protocol {PROTOCOL:?}", self.node.as_str());
            self.notice(service.clone(), Notice::normal("nodeAssigned", message));
        }
        self.outputs.push_back(Output::BgpStatus { service, peers, before: before.vips, vips });
    }

    /// All that is wrong with the objects of a kind.
    fn faults<K: Display>(&mut self, kind: &'static str, faults: &Faults<K>) {
        let faults: Vec<(String, &Vec<String>)> =
            faults.iter().map(|(name, faults)| (name.to_string(), faults)).collect();
        let before = self.configuration.invalid(kind).map(str::to_owned);
        let valid: Vec<String> =
            before.filter(|name| faults.iter().all(|(invalid, _)| invalid != name)).collect();
        for name in valid {
            let news = self.configuration.valid(kind, &name);
            self.configured(news);
        }
        for (name, faults) in faults {
            let news = self.configuration.assess_anew(kind, &name, faults);
            self.configured(news);
        }
    }

    /// Whether advertisements are for a Service, but none for layer 2.
    pub(super) fn is_for_bgp_alone(&self, service: &ServiceKey) -> bool {
        let unadvertised = Err(Unannounced::Unadvertised(Unadvertised::NoAdvertisement));
        self.placement.assignments(service).any(|(_, outcome)| *outcome == unadvertised)
            && self.bgp.concerns(&self.placement, service)
    }
}
