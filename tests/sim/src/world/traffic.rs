//! What goes over the LAN: what speakers send, and what clients ask and request.

use std::net::IpAddr;
use std::time::Duration;

use layer2::{MacAddr, Report};
use objects::NodeName;

use super::queue::Event;
use super::{Station, World};
use crate::host::{Kind, TRACKING};
use crate::lan::StationId;
use crate::node::Node;
use crate::speaker::{Input, Output};
use crate::story;

/// A foreign host that has been there for so long is found.
const FOUND: Duration = Duration::from_secs(1);

impl World {
    pub(super) fn feed(&mut self, number: usize, input: Input) {
        let node = &mut self.nodes[number];
        if let Some(inbox) = &mut node.stalled {
            inbox.push(input);
            return;
        }
        let Some(speaker) = &mut node.speaker else { return };
        let outputs = speaker.handle(input, node.clock.at(self.start, self.now));
        self.changed |= speaker.has_changed();
        let next = speaker.poll_timeout().map(|at| node.clock.when(self.start, at).max(self.now));
        if let Some(next) = next
            && node.wake.is_none_or(|wake| next < wake)
        {
            node.wake = Some(next);
            self.at(next, Event::Wake(number));
        }
        for output in outputs {
            self.carry_out(number, output);
        }
    }

    pub(super) fn carry_out(&mut self, number: usize, output: Output) {
        match output {
            Output::Datagram(to, payload) => {
                let Some(to) = self.nodes.iter().position(|node| node.gossip == to) else { return };
                let station = |node: usize| self.nodes[node].nics[0].station;
                if self.lan.connected(station(number), station(to))
                    && !self.nodes[number].gossip_fault.outbound_blocked
                    && !self.lost_paths.contains_key(&(number, to))
                {
                    let from = self.nodes[number].gossip;
                    let [last, more] = self.lan.weather.fate(&mut self.random);
                    if let Some(more) = more {
                        self.after(more, Event::Datagram { to, from, payload: payload.clone() });
                    }
                    if let Some(last) = last {
                        self.after(last, Event::Datagram { to, from, payload });
                    }
                }
            }
            Output::Frame(nic, frame) => self.send(self.nodes[number].nics[nic].station, frame),
            Output::Gossip(event) => {
                self.note_of(number, story::event(&event));
                match event {
                    members::Event::Overdue(_) => self.judge.moved(None, self.now),
                    // By the word of others, which may take longer than all else.
                    members::Event::Joined(by) | members::Event::Returned(by)
                        if self.is_known_by_hearsay(&by, number) =>
                    {
                        self.judge.unsteady(self.now);
                    }
                    _ => {}
                }
            }
            Output::Trouble(trouble) => self.note_of(number, story::trouble(trouble)),
            Output::Unsteady(nics) => {
                self.note_of(number, story::unsteady(&nics));
                self.judge.moved(Some(number), self.now);
            }
            Output::Conceded(vips) => self.note_of(number, story::conceded(&vips)),
            Output::Disputed(by_node) => self.note_of(number, story::disputed(&by_node)),
            Output::Lan(nic, report) => self.reported(number, nic, report),
            Output::Departed => {
                self.note_of(number, "departs");
                let after = self.up_to(50);
                let boot = self.nodes[number].boots;
                self.after(after, Event::Exit { node: number, boot });
            }
        }
    }

    /// Whether what that node says to the one of this number may be lost, or what it needs to hear of that one to be believed,
    /// and others carry the word.
    fn is_known_by_hearsay(&self, name: &NodeName, to: usize) -> bool {
        let is_lost = |(from, node): (usize, &Node)| {
            node.is_shaky() || [(from, to), (to, from)].iter().any(|path| self.lost_paths.contains_key(path))
        };
        let mut that = self.nodes.iter().enumerate().filter(|(_, node)| node.name == *name);
        self.nodes[to].is_shaky() || that.any(is_lost)
    }

    fn note_of(&mut self, number: usize, what: impl std::fmt::Display) {
        self.trace.note(self.now, &self.nodes[number].name, what);
    }

    fn reported(&mut self, number: usize, nic: usize, report: Report) {
        let node = &self.nodes[number];
        let (station, on) = (node.nics[nic].station, node.nics[nic].name.to_string());
        let lan = self.lan_of(station);
        let what = story::report(&report, &on, |mac| self.name_of(mac));
        self.note_of(number, &what);
        match report {
            Report::Spoken { vip, .. } => self.judge.spoken(station, lan, vip, self.now),
            Report::Free { vip } => {
                let has_it = |host: &&crate::host::Host| {
                    let there = self.meetings.since(station, host.station).map(|since| since + FOUND);
                    matches!(host.kind, Kind::Squatter(Some((own, since)))
                        if own == vip && since + FOUND < self.now && there.is_some_and(|there| there < self.now))
                };
                if !self.setup.ignore_conflicts && self.hosts.iter().any(|host| has_it(&host)) {
                    let name = self.nodes[number].name.to_string();
                    self.judge.overlooked(&name, vip, self.now);
                }
            }
            Report::Rival { vip, by } => {
                if let Some((by, its)) = self.nic_with(by) {
                    let pair = (station, self.nodes[by].nics[its].station);
                    self.judge.found_out(vip, pair, &self.meetings, self.now);
                }
            }
            Report::Held { .. }
            | Report::PeerAnswers { .. }
            | Report::Answered { .. }
            | Report::Silent { .. }
            | Report::SameLan { .. } => {}
            // Nobody has told it of that one.
            Report::Taken { by, .. } if !self.nodes[number].awake().is_some_and(|it| it.knows(by)) => {}
            Report::Taken { by, .. } | Report::Claimed { by, .. } => {
                // What one has said that is dead, or out of reach again, may be read late, by one that stood
                // still and never met it.
                if let Some((by, its)) = self.nic_with(by)
                    && self.nodes[by].speaker.is_some()
                    && self.lan.connected(station, self.nodes[by].nics[its].station)
                {
                    self.judge.violate(format!(
                        "{} took a peer for a foreign host: {what}",
                        self.nodes[number].name
                    ));
                }
            }
        }
    }

    /// Sends a frame into the LAN.
    pub(super) fn send(&mut self, from: StationId, frame: Vec<u8>) {
        let (destination, source) = ends(&frame);
        for to in self.lan.forward(from, source, destination) {
            for after in self.lan.weather.fate(&mut self.random).into_iter().flatten() {
                self.after(after, Event::Frame { to, frame: frame.clone() });
            }
        }
    }

    pub(super) fn receive(&mut self, to: StationId, frame: Vec<u8>) {
        if !self.lan.is_served(to) {
            return;
        }
        let (destination, _) = ends(&frame);
        match self.stations[to] {
            Station::Nic { node, nic } => {
                let it = &self.nodes[node];
                if it.speaker.as_ref().is_some_and(|speaker| speaker.receives(nic, destination)) {
                    let received = it.clock.at(self.start, self.now);
                    self.feed(node, Input::Frame(nic, frame, received));
                }
            }
            Station::Client(client) => {
                if let Some(vip) = self.clients[client].hear(&frame, self.now) {
                    self.changed = true;
                    let at = self.clients[client].known(vip).map(|mac| self.name_of(mac));
                    let what = story::belief(vip, &at.unwrap_or_default());
                    self.note(format_args!("client {client}"), what);
                }
            }
            Station::Host(host) => {
                let host = &mut self.hosts[host];
                if host.receives(destination)
                    && let Some((longest, answer)) = host.hear(&frame)
                {
                    let from = host.station;
                    let after = longest.mul_f64(rand::RngExt::random(&mut self.random));
                    self.after(after, Event::Send { from, frame: answer });
                }
            }
        }
    }

    /// A switch asks one of those that it tracks.
    pub(super) fn track(&mut self, host: usize) {
        self.after(TRACKING, Event::Track(host));
        if let Some(probe) = self.hosts[host].track() {
            self.send(self.hosts[host].station, probe);
        }
    }

    /// A client sends a request to each address, and does what else is due.
    pub(super) fn request(&mut self, number: usize) {
        self.after(self.setup.request_interval, Event::Request { client: number });
        let station = self.clients[number].station;
        let mut questions = self.clients[number].poll(self.now);
        for at in 0..self.cluster.vips().len() {
            let vip = self.cluster.vips()[at];
            let (to, question) = self.clients[number].request(vip, self.now);
            questions.extend(question);
            match to {
                None => self.requests.waited += 1,
                Some(mac) if self.is_served(station, mac, vip) => {
                    self.requests.served += 1;
                    self.clients[number].answered(vip, self.now);
                }
                Some(_) => self.requests.lost += 1,
            }
        }
        for question in questions {
            self.send(station, question);
        }
    }

    /// Whether what a client sends to that station gets to an endpoint of `vip`.
    fn is_served(&self, client: StationId, mac: MacAddr, vip: IpAddr) -> bool {
        let Some((node, nic)) = self.nic_with(mac) else { return false };
        let node = &self.nodes[node];
        self.lan.connected(client, node.nics[nic].station) && self.cluster.serves(&node.name, vip)
    }
}

/// The destination and the source of a frame.
fn ends(frame: &[u8]) -> (MacAddr, MacAddr) {
    let mac = |at: usize| MacAddr(frame[at..at + 6].try_into().expect("six bytes"));
    (mac(0), mac(6))
}
