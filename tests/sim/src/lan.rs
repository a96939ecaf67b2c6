//! The LAN: stations on switches that learn, switches on a core, and the weather.
//!
//! ```text
//!               core
//!             /      \        trunks, each of which can be cut
//!      switch 0      switch 1
//!      /  |  \        /  |      cables, each of which can be pulled
//!     stations       stations
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use layer2::MacAddr;
use rand::RngExt;
use rand::rngs::StdRng;

/// What the LAN does to frames and datagrams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// The part of them that is lost.
    pub loss: f64,
    /// The part of them that comes twice.
    pub duplicates: f64,
    /// How long each takes at least,
    pub delay: Duration,
    /// and how much longer at most; they overtake each other by it.
    pub jitter: Duration,
}

impl Weather {
    /// A LAN as it should be.
    pub const FINE: Self = Self {
        loss: 0.0,
        duplicates: 0.0,
        delay: Duration::from_micros(100),
        jitter: Duration::from_micros(300),
    };
    /// The worst that the presets promise to stand.
    pub const BAD: Self = Self {
        loss: 0.02,
        duplicates: 0.02,
        delay: Duration::from_micros(100),
        jitter: Duration::from_millis(20),
    };

    /// When the copies of a frame arrive, counted from when it was sent.
    pub(crate) fn fate(&self, random: &mut StdRng) -> Vec<Duration> {
        if random.random_bool(self.loss) {
            return Vec::new();
        }
        let copies = if random.random_bool(self.duplicates) { 2 } else { 1 };
        (0..copies).map(|_| self.delay + self.jitter.mul_f64(random.random())).collect()
    }
}

/// Where a station is found in all lists of stations.
pub(crate) type StationId = usize;

#[derive(Debug)]
pub(crate) struct Lan {
    stations: Vec<Station>,
    /// The last one is the core.
    switches: Vec<Switch>,
    pub(crate) weather: Weather,
}

#[derive(Debug)]
struct Station {
    switch: usize,
    plugged: bool,
}

#[derive(Debug, Default)]
struct Switch {
    table: BTreeMap<MacAddr, Link>,
    /// Whether its trunk to the core is whole.
    joined: bool,
}

/// A port of a switch, by what is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Station(StationId),
    Switch(usize),
}

impl Lan {
    /// As many switches, all of them joined, and no station yet.
    pub(crate) fn new(switches: usize, weather: Weather) -> Self {
        let switches = (0..=switches).map(|_| Switch { joined: true, ..Switch::default() }).collect();
        Self { stations: Vec::new(), switches, weather }
    }

    /// One more station, plugged in.
    pub(crate) fn add(&mut self, switch: usize) -> StationId {
        self.stations.push(Station { switch, plugged: true });
        self.stations.len() - 1
    }

    pub(crate) fn is_plugged(&self, station: StationId) -> bool {
        self.stations[station].plugged
    }

    /// Plugs a station in or out. A switch forgets what was behind a port that goes down.
    pub(crate) fn plug(&mut self, station: StationId, plugged: bool) {
        let Station { switch, plugged: before } = &mut self.stations[station];
        *before = plugged;
        self.switches[*switch].table.retain(|_, link| *link != Link::Station(station));
    }

    /// Cuts or mends the trunk of a switch.
    pub(crate) fn join(&mut self, switch: usize, joined: bool) {
        self.switches[switch].joined = joined;
        let core = self.core();
        self.switches[switch].table.retain(|_, link| *link != Link::Switch(core));
        self.switches[core].table.retain(|_, link| *link != Link::Switch(switch));
    }

    /// A switch forgets all that it has learned.
    pub(crate) fn forget(&mut self, switch: usize) {
        self.switches[switch].table.clear();
    }

    /// Which part of the LAN a station is in: those in one part reach each other. `None` if it is unplugged.
    pub(crate) fn part(&self, station: StationId) -> Option<usize> {
        let Station { switch, plugged } = self.stations[station];
        plugged.then(|| if self.switches[switch].joined { self.core() } else { switch })
    }

    pub(crate) fn connected(&self, one: StationId, other: StationId) -> bool {
        self.part(one).is_some() && self.part(one) == self.part(other)
    }

    /// Brings a frame from a station through the switches, which learn from it; the stations that it reaches.
    pub(crate) fn forward(
        &mut self,
        from: StationId,
        source: MacAddr,
        destination: MacAddr,
    ) -> Vec<StationId> {
        let mut reached = Vec::new();
        let Station { switch, plugged } = self.stations[from];
        if plugged {
            self.cross(switch, Link::Station(from), (source, destination), &mut reached);
        }
        reached
    }

    fn cross(
        &mut self,
        at: usize,
        from: Link,
        (source, destination): (MacAddr, MacAddr),
        reached: &mut Vec<StationId>,
    ) {
        self.switches[at].table.insert(source, from);
        let links = match self.switches[at].table.get(&destination) {
            Some(known) => vec![*known],
            None => self.links(at),
        };
        for link in links.into_iter().filter(|link| *link != from) {
            match link {
                Link::Station(station) => reached.push(station),
                Link::Switch(next) => self.cross(next, Link::Switch(at), (source, destination), reached),
            }
        }
    }

    /// Where a frame goes whose destination `at` does not know.
    fn links(&self, at: usize) -> Vec<Link> {
        if at == self.core() {
            let joined = (0..at).filter(|switch| self.switches[*switch].joined);
            return joined.map(Link::Switch).collect();
        }
        let here = self.stations.iter().enumerate().filter(|(_, it)| it.switch == at && it.plugged);
        let trunk = self.switches[at].joined.then(|| Link::Switch(self.core()));
        here.map(|(station, _)| Link::Station(station)).chain(trunk).collect()
    }

    fn core(&self) -> usize {
        self.switches.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    /// Stations 0 and 1 on the first switch, 2 on the second.
    fn lan() -> Lan {
        let mut lan = Lan::new(2, Weather::FINE);
        for switch in [0, 0, 1] {
            lan.add(switch);
        }
        lan
    }

    #[test]
    fn switches_flood_what_they_do_not_know_and_learn() {
        let mut lan = lan();
        assert_eq!(lan.forward(0, A, MacAddr::BROADCAST), [1, 2]);
        assert_eq!(lan.forward(2, B, A), [0]);
        assert_eq!(lan.forward(1, MacAddr([2; 6]), B), [2]);
        lan.forget(0);
        assert_eq!(lan.forward(1, MacAddr([2; 6]), A), [0]);
    }

    #[test]
    fn a_cut_trunk_parts_the_lan_and_what_was_learned_by_it_is_forgotten() {
        let mut lan = lan();
        lan.forward(0, A, MacAddr::BROADCAST);
        lan.join(1, false);
        assert!(lan.connected(0, 1) && !lan.connected(0, 2));
        assert_eq!(lan.forward(2, B, A), []);
        lan.join(1, true);
        assert_eq!(lan.forward(2, B, A), [0]);
    }

    #[test]
    fn nothing_comes_from_or_to_a_station_that_is_unplugged() {
        let mut lan = lan();
        lan.plug(1, false);
        assert_eq!(lan.forward(0, A, MacAddr::BROADCAST), [2]);
        assert_eq!(lan.forward(1, B, MacAddr::BROADCAST), []);
        assert!(!lan.connected(0, 1) && !lan.connected(1, 1));
    }
}
