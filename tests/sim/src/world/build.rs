//! What a world is made of.

use std::collections::BTreeMap;
use std::time::Duration;

use layer2::MacAddr;
use rand::RngExt;

use super::queue::Event;
use super::{Station, Wiring, World};
use crate::client::{Client, Traffic};
use crate::host::{Host, Kind};
use crate::lan::StationId;
use crate::node::Nic;

impl World {
    /// Plugs everything in.
    pub(super) fn build(&mut self) {
        let switches = self.setup.switches;
        let second = self.lan.second();
        for node in 0..self.nodes.len() {
            let switch = (self.stations.len()) % switches;
            self.add_nic(node, switch);
        }
        for _ in 0..self.setup.clients {
            let switch = self.stations.len() % switches;
            self.add_client(switch);
        }
        match self.setup.wiring {
            Wiring::One => {}
            Wiring::TwoLans => {
                (0..self.nodes.len()).for_each(|node| self.add_nic(node, second));
                self.add_client(second);
            }
            Wiring::TwiceOnOne => {
                (0..self.nodes.len()).for_each(|node| self.add_nic(node, node % switches));
            }
        }
        let lans = if self.setup.wiring == Wiring::TwoLans { vec![0, second] } else { vec![0] };
        for switch in lans {
            let host = self.add_host("foreign host", Kind::Squatter(None), switch);
            self.lan.plug(self.hosts[host].station, false);
            if self.setup.proxy {
                self.add_host("router", Kind::Proxy, switch);
            }
            if self.setup.tracking {
                let host =
                    self.add_host("switch", Kind::Tracker { known: BTreeMap::new(), last: None }, switch);
                let after = self.up_to(700);
                self.after(after, Event::Track(host));
            }
        }
        if self.setup.drift {
            for node in &mut self.nodes {
                node.clock.drift = self.random.random_range(-500..=500);
            }
        }
    }

    fn add_nic(&mut self, node: usize, switch: usize) {
        let nics = self.nodes[node].nics.len();
        let station = self.add(Station::Nic { node, nic: nics }, switch);
        let number = |number: usize| u8::try_from(number).expect("there are few");
        self.nodes[node].nics.push(Nic::new(number(node + 1), number(nics), station));
    }

    fn add_client(&mut self, switch: usize) {
        let client = self.clients.len();
        let station = self.add(Station::Client(client), switch);
        let traffic = if client.is_multiple_of(2) { Traffic::Confirms } else { Traffic::OneWay };
        let reachable = Duration::from_secs_f64(self.random.random_range(15.0..45.0));
        let number = u8::try_from(client + 1).expect("there are few");
        self.clients.push(Client::new(number, station, traffic, reachable));
    }

    fn add_host(&mut self, name: &str, kind: Kind, switch: usize) -> usize {
        let host = self.hosts.len();
        let station = self.add(Station::Host(host), switch);
        let mac = MacAddr([2, 0, 0, 2, 0, u8::try_from(host).expect("there are few")]);
        self.hosts.push(Host { name: name.to_owned(), mac, station, kind });
        host
    }

    fn add(&mut self, whose: Station, switch: usize) -> StationId {
        self.stations.push(whose);
        self.lan.add(switch)
    }
}
