//! What there is to see, for the judge.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::queue::Event;
use super::{LOOK, World};
use crate::invariants::{Belief, Sight};

impl World {
    pub(super) fn look(&mut self) {
        self.after(LOOK, Event::Look);
        if self.lan.weather.loss > 0.0 {
            self.judge.lossy(self.now);
        }
        let nodes = self.nodes.len();
        let stations = nodes + self.clients.len();
        let parts: BTreeSet<usize> = (0..stations).filter_map(|station| self.lan.part(station)).collect();
        for part in parts {
            let here = |station: &usize| self.lan.part(*station) == Some(part);
            let awake: Vec<_> =
                (0..nodes).filter(here).filter_map(|node| Some((node, self.nodes[node].awake()?))).collect();
            let candidates = awake.iter().filter(|(_, speaker)| !speaker.is_stopping());
            let alive: Vec<usize> = candidates.map(|(node, _)| *node).collect();
            let names = alive.iter().map(|node| self.nodes[*node].name.clone()).collect();
            let announcers = self.cluster.announcers(&names).clone();
            let clients: Vec<usize> = (nodes..stations).filter(here).collect();
            let sight = |vip: IpAddr| {
                let announcer = announcers.get(&vip);
                let belief = |station: &usize| {
                    let client = station - nodes;
                    let at = self.node_with(self.clients[client].known(vip)?)?;
                    Some(Belief { client, station: *station, at })
                };
                let should = announcer.and_then(|name| self.nodes.iter().position(|it| it.name == *name));
                Sight {
                    part,
                    vip,
                    alive: &alive,
                    should,
                    lent: awake.iter().any(|(node, it)| Some(*node) == should && it.stands_in(vip)),
                    answer: awake.iter().filter(|(_, it)| it.answers(vip)).map(|(node, _)| *node).collect(),
                    beliefs: clients.iter().filter_map(belief).collect(),
                }
            };
            let sights: Vec<Sight<'_>> = self.cluster.vips().map(sight).collect();
            self.judge.look(part, &sights, &self.meetings, self.now);
        }
    }
}
