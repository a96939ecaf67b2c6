//! What happens to the world.

use std::collections::BTreeSet;

use members::Absence;

use super::World;
use super::queue::Event;
use crate::cluster::{self, Change};
use crate::faults::{Edit, Fault};
use crate::node::AfterDeparture;
use crate::speaker::Input;

impl World {
    pub(super) fn suffer(&mut self, fault: Fault) {
        self.note("", format_args!("-- {fault}"));
        self.judge.disturbed(self.now);
        if fault.moves_addresses(self.setup.preset) {
            self.judge.moved(self.now);
        }
        self.happen_now(&fault);
    }

    pub(super) fn happen_now(&mut self, fault: &Fault) {
        match *fault {
            Fault::PowerOff(number) => {
                let node = &mut self.nodes[number];
                node.power = false;
                node.kill();
                self.lan.plug(number, false);
            }
            Fault::PowerOn(number) => {
                let node = &mut self.nodes[number];
                node.power = true;
                let cable = node.cable;
                self.lan.plug(number, cable);
                let after = self.up_to(500);
                self.after(after, Event::Boot(number));
            }
            Fault::Kill(number, pause) => {
                self.nodes[number].kill();
                self.after(pause, Event::Boot(number));
            }
            Fault::Restart(number, pause) => {
                self.stop(number, Absence::Open, AfterDeparture::StartAnother(pause));
            }
            Fault::Replace(number, pause) => {
                self.stop(number, Absence::Brief, AfterDeparture::StartAnother(pause));
            }
            Fault::Drain(number) => self.stop(number, Absence::Open, AfterDeparture::PowerOff),
            Fault::Stall(number, time) => {
                let node = &mut self.nodes[number];
                if node.stalled.is_none() && node.speaker.is_some() {
                    node.stalled = Some(Vec::new());
                    let boot = node.boots;
                    self.after(
                        time,
                        Event::Resume { node: number, boot, moves: fault.moves_addresses(self.setup.preset) },
                    );
                }
            }
            Fault::Unplug(number) => self.cable(number, false),
            Fault::Plug(number) => self.cable(number, true),
            Fault::UnplugClient(client) => self.lan.plug(self.nodes.len() + client, false),
            Fault::PlugClient(client) => self.lan.plug(self.nodes.len() + client, true),
            Fault::Cut(switch) => self.lan.join(switch, false),
            Fault::Mend(switch) => self.lan.join(switch, true),
            Fault::Forget(switch) => self.lan.forget(switch),
            Fault::StepClock(number, by) => self.nodes[number].clock += by,
            Fault::Weather(weather) => self.lan.weather = weather,
            Fault::Change(ref edit) => self.edit(edit),
        }
        self.rewired();
    }

    pub(super) fn stop(&mut self, number: usize, absence: Absence, after: AfterDeparture) {
        self.nodes[number].after_departure = after;
        self.feed(number, Input::Stop(absence));
    }

    pub(super) fn cable(&mut self, number: usize, plugged: bool) {
        let node = &mut self.nodes[number];
        node.cable = plugged;
        let carrier = node.power && plugged;
        self.lan.plug(number, carrier);
        let after = self.up_to(5);
        self.after(after, Event::Link(number));
    }

    /// Something was plugged in or out.
    pub(super) fn rewired(&mut self) {
        self.meetings.update(&self.lan, self.nodes.len() + self.clients.len(), self.now);
    }

    pub(super) fn edit(&mut self, edit: &Edit) {
        let names = |numbers: &BTreeSet<usize>| numbers.iter().map(|n| self.nodes[*n].name.clone()).collect();
        let change = match *edit {
            Edit::ToggleService(number) => match self.cluster.services.get(&cluster::key(number)) {
                Some(service) => Change::ServiceGone(service.key.clone()),
                None => Change::Service(cluster::service(number)),
            },
            Edit::Endpoints(number, ref nodes) => Change::Endpoints(cluster::key(number), names(nodes)),
            Edit::Readdress(number) | Edit::Policy(number, _) | Edit::IrrelevantServiceLabel(number, _) => {
                let Some(service) = self.cluster.services.get(&cluster::key(number)) else { return };
                Change::Service(edit.of_service(service.clone()))
            }
            Edit::ToggleExclusion(number)
            | Edit::ToggleNetwork(number)
            | Edit::IrrelevantLabel(number, _) => {
                let node = self.cluster.nodes[&self.nodes[number].name].clone();
                Change::Node(edit.of_node(node))
            }
        };
        self.cluster.change(change);
        let upto = Some(self.cluster.log.len());
        for node in 0..self.nodes.len() {
            let (after, boot) = (self.up_to(30), self.nodes[node].boots);
            self.after(after, Event::Changes { node, boot, upto });
        }
    }
}
