//! What happens to the world.

use std::net::SocketAddr;
use std::time::Duration;

use members::Absence;
use objects::NodeName;

use super::queue::Event;
use super::{Acquaintance, World};
use crate::faults::{Edit, Fault, LanId};
use crate::host::Kind;
use crate::node::AfterDeparture;
use crate::speaker::Input;

impl World {
    pub(super) fn suffer(&mut self, fault: Fault) {
        self.note("", format_args!("-- {fault}"));
        self.judge.disturbed(fault.of_node(), self.now);
        if self.moves_addresses(&fault) {
            self.judge.moved(fault.of_node(), self.now);
        }
        self.happen_now(&fault);
    }

    /// Whether addresses may move by that. Who goes by the LAN alone, since the gossip is torn, does not wait for one that
    /// stands still, however short.
    fn moves_addresses(&self, fault: &Fault) -> bool {
        fault.moves_addresses(self.setup.preset)
            || matches!(fault, Fault::Stall(..)) && self.judge.is_torn_anywhere(self.now)
    }

    pub(super) fn happen_now(&mut self, fault: &Fault) {
        match *fault {
            Fault::PowerOff(number) => {
                let node = &mut self.nodes[number];
                node.power = false;
                node.kill();
                self.connect(number);
            }
            Fault::PowerOn(number) => {
                self.nodes[number].power = true;
                self.connect(number);
                let after = self.up_to(500);
                self.after(after, Event::Boot(number));
            }
            Fault::Kill(number, pause) => self.kill(number, pause),
            Fault::Restart(number, pause) => {
                self.stop(number, Absence::Open, AfterDeparture::StartAnother(pause));
            }
            Fault::Replace(number, pause) => {
                self.stop(number, Absence::Brief, AfterDeparture::StartAnother(pause));
            }
            Fault::Drain(number) => self.stop(number, Absence::Open, AfterDeparture::PowerOff),
            Fault::Stall(number, time) => {
                let moves = self.moves_addresses(fault);
                let node = &mut self.nodes[number];
                if node.stalled.is_none() && node.speaker.is_some() {
                    node.stalled = Some(Vec::new());
                    let boot = node.boots;
                    self.after(time, Event::Resume { node: number, boot, moves });
                }
            }
            Fault::Unplug(number, nic) => self.cable(number, nic, false),
            Fault::Plug(number, nic) => self.cable(number, nic, true),
            Fault::Isolate(number, nic) => self.lan.serve(self.nodes[number].nics[nic].station, false),
            Fault::Rejoin(number, nic) => self.lan.serve(self.nodes[number].nics[nic].station, true),
            Fault::UnplugClient(client) => self.lan.plug(self.clients[client].station, false),
            Fault::PlugClient(client) => self.lan.plug(self.clients[client].station, true),
            Fault::CutApi(number) => self.nodes[number].api_cut = true,
            Fault::HealApi(number) => {
                self.nodes[number].api_cut = false;
                let (boot, after) = (self.nodes[number].boots, self.up_to(1000));
                self.after(after, Event::Peers { node: number, boot });
                self.after(after, Event::Changes { node: number, boot, upto: None });
            }
            Fault::Cut(switch) => self.lan.join(switch, false),
            Fault::Mend(switch) => self.lan.join(switch, true),
            Fault::Forget(switch) => self.lan.forget(switch),
            Fault::StepClock(number, by) => self.nodes[number].clock.ahead += by,
            Fault::Weather(weather) => self.lan.weather = weather,
            Fault::Squat(lan, service) => self.squat(lan, service),
            Fault::Vacate(lan) => self.vacate(lan),
            Fault::Change(ref edit) => self.edit(edit),
            Fault::Block(..)
            | Fault::Unblock(..)
            | Fault::Lose(..)
            | Fault::Deliver(..)
            | Fault::TakePort(..)
            | Fault::FreePort(_)
            | Fault::OtherKey(_)
            | Fault::SameKey(_)
            | Fault::Renumber(..) => self.disturb_gossip(fault),
        }
        self.rewired();
    }

    fn disturb_gossip(&mut self, fault: &Fault) {
        match *fault {
            Fault::Block(number, direction) => self.nodes[number].gossip_fault.set(direction, true),
            Fault::Unblock(number, direction) => self.nodes[number].gossip_fault.set(direction, false),
            Fault::Lose(from, to) => {
                let met = self.acquaintance(from, to);
                self.lost_paths.entry((from, to)).or_insert(met);
            }
            Fault::Deliver(from, to) => {
                let met = self.lost_paths.remove(&(from, to));
                // Two that hear each other for the first time announce what they have, for neither knows what the other did before.
                if met.is_some_and(|met| met.is_none() || met != self.acquaintance(from, to)) {
                    self.judge.unsteady(self.now);
                }
            }
            Fault::TakePort(number, pause) => {
                self.nodes[number].gossip_fault.port_taken = true;
                self.kill(number, pause);
            }
            Fault::FreePort(number) => {
                self.nodes[number].gossip_fault.port_taken = false;
                self.retry_socket(number, 500);
            }
            Fault::OtherKey(number) => self.rekey(number, true),
            Fault::SameKey(number) => self.rekey(number, false),
            Fault::Renumber(number, pause) => {
                let node = &mut self.nodes[number];
                let SocketAddr::V4(before) = node.gossip else { return };
                let [a, b, c, d] = before.ip().octets();
                node.gossip = SocketAddr::from(([a, b, c, d ^ 0x80], before.port()));
                node.gossip_fault.address_gone = true;
                self.retry_socket(number, 5);
                self.after(pause, Event::Restart(number));
                for node in 0..self.nodes.len() {
                    let (after, boot) = (self.up_to(1000), self.nodes[node].boots);
                    self.after(after, Event::Peers { node, boot });
                }
            }
            _ => {}
        }
    }

    /// The speakers of these nodes, if each has heard the other.
    fn acquaintance(&self, one: usize, other: usize) -> Option<Acquaintance> {
        let heard = |by: usize, of: usize| {
            let of = &self.nodes[of];
            self.nodes[by].speaker.as_ref().is_some_and(|speaker| speaker.knows(of.nics[0].mac))
        };
        let both = heard(one, other) && heard(other, one);
        both.then(|| Acquaintance([one, other].map(|node| self.nodes[node].boots)))
    }

    fn kill(&mut self, number: usize, pause: Duration) {
        self.nodes[number].kill();
        self.after(pause, Event::Boot(number));
    }

    /// A speaker whose node has another address starts anew with that one.
    pub(super) fn restart(&mut self, number: usize) {
        if self.nodes[number].gossip_fault.address_gone {
            self.judge.moved(Some(number), self.now);
            self.nodes[number].kill();
            self.boot(number);
        }
    }

    /// A speaker tries to have its socket, within so many milliseconds.
    fn retry_socket(&mut self, number: usize, within: u64) {
        let after = self.up_to(within);
        self.after(after, Event::Socket(number));
    }

    fn rekey(&mut self, number: usize, other: bool) {
        self.nodes[number].gossip_fault.other_key = other;
        let keys = self.nodes[number].keys(self.setup.sealed);
        self.feed(number, Input::Keys(keys));
    }

    fn squat(&mut self, lan: LanId, service: u16) {
        let vip = self.cluster.first_vip(service);
        let Some(host) = self.squatter(lan) else { return };
        self.hosts[host].kind = Kind::Squatter(Some((vip, self.now)));
        let station = self.hosts[host].station;
        self.lan.plug(station, true);
        for frame in self.hosts[host].announcements() {
            self.send(station, frame);
        }
    }

    fn vacate(&mut self, lan: LanId) {
        let Some(host) = self.squatter(lan) else { return };
        self.hosts[host].kind = Kind::Squatter(None);
        self.lan.plug(self.hosts[host].station, false);
    }

    fn squatter(&self, lan: LanId) -> Option<usize> {
        let there = |host: &crate::host::Host| {
            matches!(host.kind, Kind::Squatter(_)) && self.lan_of(host.station) == lan
        };
        self.hosts.iter().position(there)
    }

    fn stop(&mut self, number: usize, absence: Absence, after: AfterDeparture) {
        self.nodes[number].after_departure = after;
        self.feed(number, Input::Stop(absence));
    }

    fn cable(&mut self, number: usize, nic: usize, plugged: bool) {
        self.nodes[number].nics[nic].cable = plugged;
        self.connect(number);
        let after = self.up_to(5);
        self.after(after, Event::Link(number));
    }

    /// Brings the carriers of a node in line with its power and its cables.
    fn connect(&mut self, number: usize) {
        let node = &self.nodes[number];
        for nic in &node.nics {
            self.lan.plug(nic.station, node.power && nic.cable);
        }
    }

    /// Something was plugged in or out.
    pub(super) fn rewired(&mut self) {
        self.changed = true;
        self.meetings.update(&self.lan, self.now);
    }

    fn edit(&mut self, edit: &Edit) {
        let names: Vec<NodeName> = self.nodes.iter().map(|node| node.name.clone()).collect();
        self.cluster.edit(edit, &names);
        let upto = Some(self.cluster.log.len());
        for node in 0..self.nodes.len() {
            let (after, boot) = (self.up_to(30), self.nodes[node].boots);
            self.after(after, Event::Changes { node, boot, upto });
        }
    }
}
