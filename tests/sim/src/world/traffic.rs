//! What goes over the LAN: what speakers send, and what clients ask and request.

use std::net::IpAddr;

use layer2::{MacAddr, Report};

use super::World;
use super::queue::Event;
use crate::lan::StationId;
use crate::speaker::{Input, Output};

impl World {
    pub(super) fn feed(&mut self, number: usize, input: Input) {
        let node = &mut self.nodes[number];
        if let Some(inbox) = &mut node.stalled {
            inbox.push(input);
            return;
        }
        let Some(speaker) = &mut node.speaker else { return };
        let outputs = speaker.handle(input, self.start + self.now);
        let next = speaker.poll_timeout().map(|at| at.saturating_duration_since(self.start).max(self.now));
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
        let name = self.nodes[number].name.clone();
        match output {
            Output::Datagram(to, payload) => {
                let to = self.nodes.iter().position(|node| node.gossip == to).expect("all are nodes");
                if self.lan.connected(number, to) {
                    let from = self.nodes[number].gossip;
                    for after in self.lan.weather.fate(&mut self.random) {
                        self.after(after, Event::Datagram { to, from, payload: payload.clone() });
                    }
                }
            }
            Output::Frame(frame) => self.send(number, frame),
            Output::Gossip(event) => {
                self.note(name, format_args!("{event:?}"));
                if matches!(event, members::Event::Overdue(_)) {
                    self.judge.moved(self.now);
                }
            }
            Output::Lan(report) => {
                self.note(&name, format_args!("{report:?}"));
                match report {
                    Report::Spoken { vip, .. } => self.judge.spoken(number, vip, self.now),
                    Report::Free { .. }
                    | Report::Held { .. }
                    | Report::Rival { .. }
                    | Report::SameLan { .. } => {}
                    Report::Taken { by, .. } | Report::Claimed { by, .. } => {
                        let by = self.node_with(by).expect("only nodes have addresses");
                        // What one has said that is dead, or out of reach again, may be read late, by one that stood
                        // still and never met it.
                        if self.nodes[by].speaker.is_some() && self.lan.connected(number, by) {
                            self.judge.violate(format!("{name} took a fellow for a stranger: {report:?}"));
                        }
                    }
                }
            }
            Output::Departed => {
                self.note(name, "departs");
                let after = self.up_to(50);
                let boot = self.nodes[number].boots;
                self.after(after, Event::Exit { node: number, boot });
            }
        }
    }

    /// Sends a frame into the LAN.
    pub(super) fn send(&mut self, from: StationId, frame: Vec<u8>) {
        let (destination, source) = ends(&frame);
        for to in self.lan.forward(from, source, destination) {
            for after in self.lan.weather.fate(&mut self.random) {
                self.after(after, Event::Frame { to, frame: frame.clone() });
            }
        }
    }

    pub(super) fn receive(&mut self, to: StationId, frame: Vec<u8>) {
        if !self.lan.is_plugged(to) {
            return;
        }
        let (destination, _) = ends(&frame);
        if let Some(node) = self.nodes.get(to) {
            if node.speaker.as_ref().is_some_and(|speaker| speaker.receives(destination)) {
                self.feed(to, Input::Frame(frame, self.start + self.now));
            }
            return;
        }
        self.clients[to - self.nodes.len()].hear(&frame, self.now);
    }

    /// A client sends a request to each address, and does what else is due.
    pub(super) fn request(&mut self, number: usize) {
        self.after(self.setup.request_interval, Event::Request { client: number });
        let station = self.nodes.len() + number;
        let mut questions = self.clients[number].poll(self.now);
        for vip in self.cluster.vips().collect::<Vec<_>>() {
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

    pub(super) fn is_served(&self, client: StationId, mac: MacAddr, vip: IpAddr) -> bool {
        let node = self.node_with(mac).expect("only nodes say that they have addresses");
        self.lan.connected(client, node) && self.cluster.serves(&self.nodes[node].name, vip)
    }

    pub(super) fn node_with(&self, mac: MacAddr) -> Option<usize> {
        self.nodes.iter().position(|node| node.mac == mac)
    }
}

/// The destination and the source of a frame.
fn ends(frame: &[u8]) -> (MacAddr, MacAddr) {
    let mac = |at: usize| MacAddr(frame[at..at + 6].try_into().expect("six bytes"));
    (mac(0), mac(6))
}
