//! The LANs: stations on switches that learn, switches on a core, and the weather. The second LAN, where there is one, is
//! a switch of its own.
//!
//! ```text
//!               core
//!             /      \        trunks, each of which can be cut
//!      switch 0      switch 1           second LAN
//!      /  |  \        /  |      cables     /  |  \         cables, each of which can be pulled
//!     stations       stations             stations
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
    pub(crate) fn fate(&self, random: &mut StdRng) -> [Option<Duration>; 2] {
        if self.loss > 0.0 && random.random_bool(self.loss) {
            return [None; 2];
        }
        let twice = self.duplicates > 0.0 && random.random_bool(self.duplicates);
        let mut copy = || self.delay + self.jitter.mul_f64(random.random());
        [Some(copy()), twice.then(copy)]
    }
}

/// Where a station is found in all lists of stations.
pub(crate) type StationId = usize;

#[derive(Debug)]
pub(crate) struct Lan {
    stations: Vec<Station>,
    /// The last two are the core, and that of the second LAN.
    switches: Vec<Switch>,
    pub(crate) weather: Weather,
}

#[derive(Debug)]
struct Station {
    switch: usize,
    plugged: bool,
    /// Whether its port lets anything through: it does not when it is put into another VLAN, and the carrier stays.
    served: bool,
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
    /// As many switches, all of them joined, the second LAN, and no station yet.
    pub(crate) fn new(switches: usize, weather: Weather) -> Self {
        let switch = |joined| Switch { joined, ..Switch::default() };
        let switches = std::iter::repeat_n(true, switches + 1).chain([false]).map(switch).collect();
        Self { stations: Vec::new(), switches, weather }
    }

    /// One more station, plugged in.
    pub(crate) fn add(&mut self, switch: usize) -> StationId {
        self.stations.push(Station { switch, plugged: true, served: true });
        self.stations.len() - 1
    }

    /// How many stations there are.
    pub(crate) fn stations(&self) -> usize {
        self.stations.len()
    }

    /// The switch of the second LAN.
    pub(crate) fn second(&self) -> usize {
        self.switches.len() - 1
    }

    /// The switch that a station hangs on.
    pub(crate) fn switch_of(&self, station: StationId) -> usize {
        self.stations[station].switch
    }

    /// Whether anything comes from and to a station.
    pub(crate) fn is_served(&self, station: StationId) -> bool {
        let Station { plugged, served, .. } = self.stations[station];
        plugged && served
    }

    /// The port of a station lets frames through, or no longer.
    pub(crate) fn serve(&mut self, station: StationId, served: bool) {
        self.stations[station].served = served;
    }

    /// Plugs a station in or out. A switch forgets what was behind a port that goes down.
    pub(crate) fn plug(&mut self, station: StationId, plugged: bool) {
        let Station { switch, plugged: before, .. } = &mut self.stations[station];
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
        let switch = self.stations[station].switch;
        self.is_served(station).then(|| if self.switches[switch].joined { self.core() } else { switch })
    }

    pub(crate) fn connected(&self, one: StationId, other: StationId) -> bool {
        self.part(one).is_some_and(|part| self.part(other) == Some(part))
    }

    /// Brings a frame from a station through the switches, which learn from it; the stations that it reaches.
    pub(crate) fn forward(
        &mut self,
        from: StationId,
        source: MacAddr,
        destination: MacAddr,
    ) -> Vec<StationId> {
        let mut reached = Vec::new();
        if self.is_served(from) {
            let switch = self.stations[from].switch;
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
        let table = &mut self.switches[at].table;
        table.insert(source, from);
        if let Some(known) = table.get(&destination).copied() {
            return self.leave(at, known, from, (source, destination), reached);
        }
        if at == self.core() {
            for switch in 0..at {
                if self.switches[switch].joined {
                    self.leave(at, Link::Switch(switch), from, (source, destination), reached);
                }
            }
            return;
        }
        let here =
            self.stations.iter().enumerate().filter(|(_, it)| it.switch == at && it.plugged && it.served);
        reached.extend(here.map(|(station, _)| station).filter(|it| Link::Station(*it) != from));
        if self.switches[at].joined {
            self.leave(at, Link::Switch(self.core()), from, (source, destination), reached);
        }
    }

    /// Through one port of a switch, unless it came from there.
    fn leave(
        &mut self,
        at: usize,
        link: Link,
        from: Link,
        ends: (MacAddr, MacAddr),
        reached: &mut Vec<StationId>,
    ) {
        match link {
            _ if link == from => {}
            Link::Station(station) if self.is_served(station) => reached.push(station),
            Link::Station(_) => {}
            Link::Switch(next) => self.cross(next, Link::Switch(at), ends, reached),
        }
    }

    fn core(&self) -> usize {
        self.switches.len() - 2
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

    #[test]
    fn the_second_lan_is_apart_and_a_port_that_lets_nothing_through_keeps_its_carrier() {
        let mut lan = lan();
        let (three, four) = (lan.add(lan.second()), lan.add(lan.second()));
        assert_eq!(lan.forward(0, A, MacAddr::BROADCAST), [1, 2]);
        assert_eq!(lan.forward(three, B, MacAddr::BROADCAST), [four]);
        lan.serve(four, false);
        assert_eq!(lan.forward(three, B, MacAddr::BROADCAST), []);
        assert_eq!(lan.part(four), None);
    }
}
