//! What there is to see, for the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use members::LinkState;
use objects::NodeName;

use super::queue::Event;
use super::{LOOK, Wiring, World};
use crate::cluster::Alive;
use crate::faults::LanId;
use crate::host::Kind;
use crate::invariants::{Belief, Place, Right, Sight};
use crate::node::Node;

impl World {
    pub(super) fn look(&mut self) {
        self.after(LOOK, Event::Look);
        if self.lan.weather.loss > 0.0 {
            self.judge.lossy(self.now);
        }
        if !self.lost_paths.is_empty() {
            self.judge.patchy(self.now);
        }
        if self.lost_paths.len() > 1 || !self.lost_paths.keys().all(|path| self.is_made_good(*path)) {
            self.judge.unsteady(self.now);
        }
        for host in &self.hosts {
            if let Kind::Squatter(Some((vip, _))) = host.kind {
                self.judge.contested(self.lan_of(host.station), vip, self.now);
            }
        }
        if !std::mem::take(&mut self.changed) && self.judge.is_content(self.now) {
            return;
        }
        let parts: BTreeSet<usize> = (0..self.lan.stations()).filter_map(|it| self.lan.part(it)).collect();
        self.judge.forget_all_but(&parts);
        for part in parts {
            self.look_at(part);
        }
    }

    fn look_at(&mut self, part: usize) {
        let here: Vec<Place> = self.places_in(part);
        let takes_part = |node: usize| self.nodes[node].awake().is_some_and(|it| !it.is_stopping());
        let mut alive: Vec<usize> = here.iter().map(|it| it.node).filter(|node| takes_part(*node)).collect();
        alive.dedup();
        let group = self.gossip_group(&here);
        if group.is_none() {
            self.judge.torn(part, self.now);
        }
        let hears_all = group.is_some() && self.lost_paths.is_empty();
        let changes = self.cluster.log.len();
        let outdated = |node: usize| self.nodes[node].is_outdated(changes);
        if (0..self.nodes.len()).any(outdated) {
            self.judge.outdated(self.now);
        }
        let agree = !self.judge.is_torn(part, self.now) && !self.judge.is_outdated(self.now);
        let (elected, somebody) = match group.filter(|_| agree) {
            Some(group) => (Some(self.cluster.announcers(&group)), BTreeSet::new()),
            // Who is not heard cannot be asked to give anything up.
            None if self.judge.is_outdated(self.now)
                && (!hears_all || self.judge.is_torn(part, self.now)) =>
            {
                (None, BTreeSet::new())
            }
            None => (None, self.somebody_can_answer(part, &here)),
        };
        let lan = if part == self.lan.second() { LanId::Second } else { LanId::First };
        let right = |vip: IpAddr| {
            let contested = self.judge.is_contested(lan, vip, self.now);
            let Some(elected) = &elected else {
                return Right::Torn { somebody: !contested && somebody.contains(&vip) };
            };
            let should = elected.get(&vip).and_then(|(name, interfaces)| {
                let nic = |place: &&Place| {
                    let node = &self.nodes[place.node];
                    let nic = node.nics.iter().find(|nic| nic.station == place.station);
                    node.name == *name && nic.is_some_and(|nic| interfaces.contains(&nic.name))
                };
                Some(here.iter().find(nic)?.node)
            });
            match should {
                Some(should)
                    if contested && !self.answers_in(&here, vip).iter().any(|it| it.node != should) =>
                {
                    // It may, and it need not.
                    Right::Elected(self.answers_in(&here, vip).first().map(|_| should))
                }
                should => Right::Elected(should),
            }
        };
        let sight = |vip: IpAddr| {
            let answer = self.answers_in(&here, vip);
            let stands_in = |it: &Place| self.nodes[it.node].awake().is_some_and(|it| it.stands_in(vip));
            Sight {
                part,
                vip,
                carries_gossip: lan == LanId::First,
                alive: &alive,
                right: right(vip),
                standby: answer.iter().any(stands_in),
                answer,
                beliefs: self.beliefs(part, vip),
            }
        };
        let sights: Vec<Sight<'_>> = self.cluster.vips().iter().map(|vip| sight(*vip)).collect();
        self.judge.look(part, &sights, &self.meetings, self.now);
    }

    /// Whether somebody else hears both ends of a lost path, and carries the word: one that stands still, or cannot gossip
    /// itself, does not.
    fn is_made_good(&self, (from, to): (usize, usize)) -> bool {
        let part = |node: usize| self.lan.part(self.nodes[node].nics[0].station);
        (0..self.nodes.len()).any(|other| {
            let node = &self.nodes[other];
            other != from
                && other != to
                && part(other) == part(to)
                && !node.is_shaky()
                && node.awake().is_some_and(|speaker| !speaker.is_stopping())
        })
    }

    /// The interfaces there of nodes whose speakers do not stand still.
    fn places_in(&self, part: usize) -> Vec<Place> {
        let nodes = self.nodes.iter().enumerate().filter(|(_, node)| node.awake().is_some());
        let places =
            nodes.flat_map(|(node, it)| it.nics.iter().map(move |nic| Place { node, station: nic.station }));
        places.filter(|place| self.lan.part(place.station) == Some(part)).collect()
    }

    /// The interfaces of these that answer for `vip`.
    fn answers_in(&self, here: &[Place], vip: IpAddr) -> Vec<Place> {
        let answers = |place: &&Place| {
            let node = &self.nodes[place.node];
            let nic = node.nics.iter().position(|nic| nic.station == place.station);
            nic.zip(node.awake()).is_some_and(|(nic, speaker)| speaker.answers(nic, vip))
        };
        here.iter().filter(answers).copied().collect()
    }

    /// Those that hear each other, if all that are here do.
    fn gossip_group(&self, here: &[Place]) -> Option<BTreeMap<NodeName, Alive>> {
        let part = |node: usize| self.lan.part(self.nodes[node].nics[0].station);
        let Some(first) = here.first() else { return Some(BTreeMap::new()) };
        let group = part(first.node)?;
        if here.iter().any(|it| part(it.node) != Some(group)) {
            return None;
        }
        let awake = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].awake().is_some() && part(*node) == Some(group));
        let awake: Vec<usize> = awake.collect();
        let lost = self.lost_paths.keys().filter(|(from, to)| awake.contains(from) && awake.contains(to));
        // Others carry the word where one path is lost.
        let torn = lost.count() > usize::from(awake.len() > 2);
        if torn || awake.iter().any(|node| self.nodes[*node].is_shaky()) {
            return None;
        }
        let alive = awake.into_iter().map(|node| &self.nodes[node]);
        let taking_part =
            |node: &Node| node.awake().filter(|it| !it.is_stopping()).map(|it| it.kept().clone());
        let alive = alive.filter_map(|node| Some((node.name.clone(), (node.carriers(), taking_part(node)?))));
        Some(alive.collect())
    }

    /// The addresses that somebody must answer for there in the end, though not all hear each other: some node there
    /// may and can. Of two interfaces on one LAN the first answers while it has a carrier; that it reaches nobody cannot
    /// be told from all others being gone.
    fn somebody_can_answer(&mut self, part: usize, here: &[Place]) -> BTreeSet<IpAddr> {
        let everybody = (0..self.nodes.len()).filter(|node| self.nodes[*node].speaker.is_some());
        // The one that is elected may announce an address elsewhere only.
        if part == self.lan.second()
            && !everybody.into_iter().all(|node| here.iter().any(|it| it.node == node))
        {
            return BTreeSet::new();
        }
        let mut vips = BTreeSet::new();
        for place in here {
            let node = &self.nodes[place.node];
            let can = node.awake().is_some_and(|it| !it.is_stopping() && !it.is_in_trouble())
                && !node.is_outdated(self.cluster.log.len())
                && node.nics[0].carrier() == LinkState::Up
                && (self.setup.wiring != Wiring::TwiceOnOne || node.nics[0].station == place.station);
            let name = node.nics.iter().find(|nic| nic.station == place.station).map(|nic| nic.name.clone());
            if let Some(name) = name.filter(|_| can) {
                let alone = [(node.name.clone(), (node.carriers(), BTreeSet::new()))].into();
                let announcers = self.cluster.announcers(&alone);
                let here = announcers.iter().filter(|(_, (_, interfaces))| interfaces.contains(&name));
                vips.extend(here.map(|(vip, _)| *vip));
            }
        }
        vips
    }

    fn beliefs(&self, part: usize, vip: IpAddr) -> Vec<Belief> {
        let belief = |(client, it): (usize, &crate::client::Client)| {
            if self.lan.part(it.station) != Some(part) {
                return None;
            }
            let (node, nic) = self.nic_with(it.known(vip)?)?;
            let at = Place { node, station: self.nodes[node].nics[nic].station };
            Some(Belief { client, station: it.station, at })
        };
        self.clients.iter().enumerate().filter_map(belief).collect()
    }
}
