//! What can go wrong, and what else happens.

use std::collections::BTreeSet;
use std::time::Duration;

use members::Preset;
use placement::TrafficPolicy;

use crate::lan::Weather;

/// Something that happens to the world. What makes no sense at the moment does nothing: to switch a node off
/// that is off. Nodes, clients, switches and Services go by their numbers, an interface by those of its node and its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A node loses its power.
    PowerOff(usize),
    /// A node boots: its speaker starts.
    PowerOn(usize),
    /// A speaker is killed, and started again by its node after this time.
    Kill(usize, Duration),
    /// A speaker is asked to stop, and the next one started this long after it has gone.
    Restart(usize, Duration),
    /// The same, and it says that it will be back; others only stand in for it meanwhile.
    Replace(usize, Duration),
    /// A node is drained and switched off as soon as its speaker has gone.
    Drain(usize),
    /// A speaker stands still for this long (SIGSTOP, SIGCONT).
    Stall(usize, Duration),
    /// The cable of an interface is pulled.
    Unplug(usize, usize),
    /// The cable of an interface is put back.
    Plug(usize, usize),
    /// The LAN of an interface is lost, as when its port is put into another VLAN: the carrier stays.
    Isolate(usize, usize),
    /// The LAN of an interface is found again.
    Rejoin(usize, usize),
    /// The firewall of a node drops the gossip from others, or that of the node, or both.
    Block(usize, Direction),
    /// It lets that through again.
    Unblock(usize, Direction),
    /// The gossip from one node to another is lost on its way.
    Lose(usize, usize),
    /// It is lost no more.
    Deliver(usize, usize),
    /// A speaker is killed, and another program takes its port for the gossip before it starts again.
    TakePort(usize, Duration),
    /// The other program ends.
    FreePort(usize),
    /// A node gets another key than the others.
    OtherKey(usize),
    /// A node gets the key of the others.
    SameKey(usize),
    /// A node gets another address; its speaker starts again after this time, when that is noticed.
    Renumber(usize, Duration),
    /// A foreign host comes that has the first address of a Service, on one of the LANs.
    Squat(LanId, u16),
    /// The foreign host goes.
    Vacate(LanId),
    /// The cable of a client is pulled.
    UnplugClient(usize),
    /// The cable of a client is put back.
    PlugClient(usize),
    /// A switch is cut off from the others.
    Cut(usize),
    /// A switch is joined with the others again.
    Mend(usize),
    /// A switch forgets what it has learned.
    Forget(usize),
    /// A node is cut off from the API server: its speaker learns nothing new.
    CutApi(usize),
    /// It is not any more.
    HealApi(usize),
    /// The wall clock of a node is set forth or back by so many milliseconds.
    StepClock(usize, i64),
    /// The weather changes.
    Weather(Weather),
    /// Something in the cluster changes.
    Change(Edit),
}

/// What a firewall drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What comes.
    In,
    /// What goes.
    Out,
    /// All of it.
    Both,
}

/// One of the LANs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LanId {
    /// The one that the gossip goes through.
    First,
    /// The other.
    Second,
}

/// A change of an object in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A Service is deleted, or created if there is none.
    ToggleService(u16),
    /// A Service is given other addresses, or those that it had at first.
    Readdress(u16),
    /// A Service has endpoints on these nodes and nowhere else.
    Endpoints(u16, BTreeSet<usize>),
    /// A Service is given another traffic policy.
    Policy(u16, TrafficPolicy),
    /// A node is excluded by its label, or is no longer.
    ToggleExclusion(usize),
    /// A node's network becomes unavailable, or available.
    ToggleNetwork(usize),
    /// A label of a node changes that nobody asks for.
    IrrelevantLabel(usize, u32),
    /// A label of a Service changes that nobody asks for.
    IrrelevantServiceLabel(u16, u32),
}

impl Fault {
    /// Whether addresses may move by it, with a preset that tolerates stalls of some length.
    pub(crate) fn moves_addresses(&self, preset: Preset) -> bool {
        match self {
            Self::Stall(_, time) => *time > tolerated_stall(preset),
            Self::UnplugClient(_)
            | Self::PlugClient(_)
            | Self::Forget(_)
            | Self::StepClock(..)
            | Self::CutApi(_)
            | Self::Weather(_)
            | Self::Lose(..)
            | Self::Deliver(..)
            | Self::Change(Edit::IrrelevantLabel(..) | Edit::IrrelevantServiceLabel(..)) => false,
            Self::PowerOff(_)
            | Self::PowerOn(_)
            | Self::Kill(..)
            | Self::Restart(..)
            | Self::Replace(..)
            | Self::Drain(_)
            | Self::Unplug(..)
            | Self::Plug(..)
            | Self::Isolate(..)
            | Self::Rejoin(..)
            | Self::Block(..)
            | Self::Unblock(..)
            | Self::TakePort(..)
            | Self::FreePort(_)
            | Self::OtherKey(_)
            | Self::SameKey(_)
            | Self::Renumber(..)
            | Self::HealApi(_)
            | Self::Squat(..)
            | Self::Vacate(_)
            | Self::Cut(_)
            | Self::Mend(_)
            | Self::Change(_) => true,
        }
    }

    /// The node that it is about, if it is about one alone.
    pub(crate) fn of_node(&self) -> Option<usize> {
        match *self {
            Self::PowerOff(node)
            | Self::PowerOn(node)
            | Self::Kill(node, _)
            | Self::Restart(node, _)
            | Self::Replace(node, _)
            | Self::Drain(node)
            | Self::Stall(node, _)
            | Self::Unplug(node, _)
            | Self::Plug(node, _)
            | Self::Isolate(node, _)
            | Self::Rejoin(node, _)
            | Self::Block(node, _)
            | Self::Unblock(node, _)
            | Self::TakePort(node, _)
            | Self::FreePort(node)
            | Self::OtherKey(node)
            | Self::SameKey(node)
            | Self::Renumber(node, _)
            | Self::CutApi(node)
            | Self::HealApi(node)
            | Self::StepClock(node, _) => Some(node),
            Self::Lose(..)
            | Self::Deliver(..)
            | Self::Squat(..)
            | Self::Vacate(_)
            | Self::UnplugClient(_)
            | Self::PlugClient(_)
            | Self::Cut(_)
            | Self::Mend(_)
            | Self::Forget(_)
            | Self::Weather(_)
            | Self::Change(_) => None,
        }
    }
}

/// For so long may a speaker stand still without being held dead.
pub(crate) fn tolerated_stall(preset: Preset) -> Duration {
    match preset {
        Preset::Relaxed => Duration::from_millis(1500),
        Preset::Default => Duration::from_millis(300),
        Preset::Fast => Duration::from_millis(100),
    }
}
