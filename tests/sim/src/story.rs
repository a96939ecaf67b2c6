//! What happens, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use layer2::{MacAddr, Report};
use members::{Absence, Event};
use objects::{InterfaceName, NodeName};
use speaker_core::Trouble;

use crate::faults::{Direction, Edit, Fault, LanId};
use crate::lan::Weather;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff(node) => write!(f, "{} loses its power", Node(*node)),
            Self::PowerOn(node) => write!(f, "{} has power", Node(*node)),
            Self::Kill(node, pause) => {
                write!(f, "the speaker of {} is killed, and started again after {pause:.3?}", Node(*node))
            }
            Self::Restart(node, pause) => {
                write!(f, "the speaker of {} is asked to stop, the next comes {pause:.3?} later", Node(*node))
            }
            Self::Replace(node, pause) => {
                write!(f, "the speaker of {} is replaced, the next comes {pause:.3?} later", Node(*node))
            }
            Self::Drain(node) => write!(f, "{} is drained, to be switched off", Node(*node)),
            Self::Stall(node, time) => {
                write!(f, "the speaker of {} stands still for {time:.3?}", Node(*node))
            }
            Self::Unplug(node, nic) => write!(f, "the cable of {} is pulled", Interface(*node, *nic)),
            Self::Plug(node, nic) => write!(f, "the cable of {} is put back", Interface(*node, *nic)),
            Self::Isolate(node, nic) => {
                write!(f, "{} is put into another VLAN, and keeps its carrier", Interface(*node, *nic))
            }
            Self::Rejoin(node, nic) => write!(f, "{} is put back into its VLAN", Interface(*node, *nic)),
            Self::Block(node, direction) => {
                write!(f, "the firewall of {} drops the gossip {}", Node(*node), direction.name())
            }
            Self::Unblock(node, direction) => {
                write!(f, "the firewall of {} lets the gossip {} through", Node(*node), direction.name())
            }
            Self::Lose(from, to) => {
                write!(f, "the gossip from {} to {} is lost on its way", Node(*from), Node(*to))
            }
            Self::Deliver(from, to) => {
                write!(f, "the gossip from {} to {} arrives again", Node(*from), Node(*to))
            }
            Self::TakePort(node, pause) => write!(
                f,
                "the speaker of {} is killed, and another program takes its port before it starts again after {pause:.3?}",
                Node(*node)
            ),
            Self::FreePort(node) => write!(f, "the port for the gossip is free on {}", Node(*node)),
            Self::OtherKey(node) => write!(f, "{} gets another key than the others", Node(*node)),
            Self::SameKey(node) => write!(f, "{} gets the key of the others", Node(*node)),
            Self::Renumber(node, pause) => {
                write!(f, "{} gets another address, which is noticed after {pause:.3?}", Node(*node))
            }
            Self::CutApi(node) => write!(f, "{} is cut off from the API server", Node(*node)),
            Self::HealApi(node) => write!(f, "{} reaches the API server again", Node(*node)),
            Self::Squat(lan, service) => {
                write!(
                    f,
                    "a foreign host comes with the address of service-{service}, on the {} LAN",
                    lan.name()
                )
            }
            Self::Vacate(lan) => write!(f, "the foreign host on the {} LAN goes", lan.name()),
            Self::UnplugClient(client) => write!(f, "the cable of client {client} is pulled"),
            Self::PlugClient(client) => write!(f, "the cable of client {client} is put back"),
            Self::Cut(switch) => write!(f, "switch {switch} is cut off from the others"),
            Self::Mend(switch) => write!(f, "switch {switch} is joined with the others again"),
            Self::Forget(switch) => write!(f, "switch {switch} forgets what it has learned"),
            Self::StepClock(node, by) => write!(f, "the wall clock of {} steps by {by} ms", Node(*node)),
            Self::Weather(Weather { loss, jitter, .. }) => {
                write!(
                    f,
                    "the LAN loses {:.0} % of all frames from now on, and delays them by up to {jitter:?}",
                    loss * 100.0
                )
            }
            Self::Change(edit) => write!(f, "{edit}"),
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToggleService(number) => write!(f, "service-{number} is deleted, or created"),
            Self::Readdress(number) => write!(f, "service-{number} gets other addresses, or its first"),
            Self::Endpoints(number, nodes) => {
                write!(f, "service-{number} has endpoints on")?;
                if nodes.is_empty() {
                    return write!(f, " no node");
                }
                nodes.iter().try_for_each(|node| write!(f, " {}", Node(*node)))
            }
            Self::Policy(number, policy) => {
                write!(f, "service-{number} gets the traffic policy {policy:?}")
            }
            Self::ToggleExclusion(node) => {
                write!(f, "{} is excluded by its label, or is no longer", Node(*node))
            }
            Self::ToggleNetwork(node) => {
                write!(f, "the network of {} becomes unavailable, or available", Node(*node))
            }
            Self::IrrelevantLabel(node, value) => write!(f, "{} is labelled irrelevant={value}", Node(*node)),
            Self::IrrelevantServiceLabel(number, value) => {
                write!(f, "service-{number} is labelled irrelevant={value}")
            }
        }
    }
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::In => "that comes",
            Self::Out => "that goes",
            Self::Both => "both ways",
        }
    }
}

impl LanId {
    fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

/// What a speaker finds out about its peers.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Joined(node) => format!("{node} is a member"),
        Event::Returned(node) => format!("{node} is a member again, and may never have been gone"),
        Event::Lost { node, confirmed_by } => {
            let by: Vec<_> = confirmed_by.iter().map(ToString::to_string).collect();
            format!(
                "holds {node} dead, by the word of {}",
                if by.is_empty() { "gossip".into() } else { by.join(", ") }
            )
        }
        Event::Confirmed { node, confirmed_by } => {
            let by: Vec<_> = confirmed_by.iter().map(ToString::to_string).collect();
            format!("holds {node} dead, by the word of {}", by.join(", "))
        }
        Event::Leaving { node, absence: Absence::Open } => format!("{node} leaves"),
        Event::Leaving { node, absence: Absence::Brief } => format!("{node} leaves and will be back"),
        Event::Overdue(node) => format!("{node} is expected back no longer"),
        Event::WrongAddress { node, from } => format!("refuses {from}, which is not where {node} is listed"),
        Event::Replaced(node) => format!("another speaker has started on {node}"),
        Event::Profile(node) => format!("knows what {node} tells of itself"),
        Event::PresumedDead => "was held dead by others".into(),
        Event::Stalled(time) => format!("stood still for {time:.3?}"),
        Event::Departed { .. } => "departs".into(),
    }
}

/// Interfaces that failed often, and that another node is preferred to.
pub(crate) fn unsteady(interfaces: &[InterfaceName]) -> String {
    let names: Vec<_> = interfaces.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "all interfaces are steady".to_owned()
    } else {
        format!("unsteady: {}", names.join(", "))
    }
}

/// What a speaker finds out about its gossip.
pub(crate) fn trouble(trouble: Option<Trouble>) -> &'static str {
    match trouble {
        None => "its gossip works",
        Some(Trouble::Unbound) => "cannot have its socket for the gossip",
        Some(Trouble::OtherKey) => "hears nothing but another key",
    }
}

/// What a speaker finds out about the LAN behind an interface, where stations go by these names.
pub(crate) fn report(report: &Report, on: &str, name: impl Fn(MacAddr) -> String) -> String {
    match *report {
        Report::Taken { vip, by } => format!("{vip} on {on}: taken by {}, a foreign host", name(by)),
        Report::Free { vip } => format!("{vip} on {on}: nobody answers, so it is ours"),
        Report::Claimed { vip, by } => format!("{vip} on {on}: also claimed by {}, a foreign host", name(by)),
        Report::Held { vip, by } => format!("{vip} on {on}: held by {}, which is not heard", name(by)),
        Report::Rival { vip, by } => {
            format!("{vip} on {on}: also answered for by {}, which is not heard", name(by))
        }
        Report::PeerAnswers { vip, by } => format!("{vip} on {on}: {} goes on answering", name(by)),
        Report::Answered { vip, by } => format!("{vip} on {on}: {} answers for it", name(by)),
        Report::Silent { vip } => format!("{vip} on {on}: nobody answers for it"),
        Report::SameLan { by } => format!("{on} and {} are on one LAN", name(by)),
        Report::Spoken { vip, takeover: _ } => format!("{vip} on {on}: announced"),
    }
}

/// What a speaker gives up.
pub(crate) fn conceded(vips: &BTreeSet<IpAddr>) -> String {
    if vips.is_empty() {
        return "gives nothing up any more".to_owned();
    }
    format!("gives up {}, for others have seen more", list(vips))
}

/// What a speaker asks of others.
pub(crate) fn disputed(by_node: &BTreeMap<NodeName, BTreeSet<IpAddr>>) -> String {
    if by_node.is_empty() {
        return "asks nobody any more to give anything up".to_owned();
    }
    let of = |(node, vips): (&NodeName, &BTreeSet<IpAddr>)| format!("{node} to give up {}", list(vips));
    format!("asks {}", by_node.iter().map(of).collect::<Vec<_>>().join(", and "))
}

fn list(vips: &BTreeSet<IpAddr>) -> String {
    vips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// What a client learns.
pub(crate) fn belief(vip: IpAddr, at: &str) -> String {
    format!("believes {vip} to be at {at}")
}

struct Node(usize);

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{}", self.0 + 1)
    }
}

struct Interface(usize, usize);

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}'s eth{}", Node(self.0), self.1)
    }
}
