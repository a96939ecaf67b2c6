//! What happens to one node.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::Role;
use lab::{Host, NodeId};

use super::Actor;
use crate::fault::NodeFault;
use crate::site;

/// The port of the gossip, as the chart has it, and that of the API server, as the lab has it.
const GOSSIP: &str = "udp dport 7946";
const API_SERVER: &str = "tcp dport 6443";
/// How long a rule that comes and goes stays, and stays away.
const FLAPS_EVERY: Duration = Duration::from_secs(1);

/// Full once a program that starts has written a little.
const FULL_DISK: &str = "mount -t tmpfs -o size=8k,mode=755 tmpfs /var/log/pods";

#[derive(Clone, Copy)]
enum Direction {
    In,
    Out,
}

impl Actor<'_> {
    pub(super) fn begin_at(&self, fault: NodeFault, node: NodeId) -> Result<()> {
        let name = &node.to_string();
        match fault {
            NodeFault::PowerOff => self.lab.poweroff(node),
            NodeFault::Cable => self.lab.unplug(node),
            NodeFault::GossipIn => self.block(node, &[(Direction::In, GOSSIP)]),
            NodeFault::GossipOut => self.block(node, &[(Direction::Out, GOSSIP)]),
            NodeFault::GossipBoth => self.block(node, &[(Direction::In, GOSSIP), (Direction::Out, GOSSIP)]),
            NodeFault::ApiCut => self.block(node, &[(Direction::Out, API_SERVER)]),
            // It comes and goes while it lasts.
            NodeFault::FlappingRule => Ok(()),
            NodeFault::KillSpeaker => self.signal(Role::Speaker, node, "KILL"),
            NodeFault::FreezeSpeaker => self.signal(Role::Speaker, node, "STOP"),
            NodeFault::DiskFull => {
                self.lab.run(Host::Node(node), ["sh", "-c", FULL_DISK])?;
                self.signal(Role::Speaker, node, "KILL")
            }
            NodeFault::Drain => {
                let drain = ["drain", name, "--ignore-daemonsets", "--delete-emptydir-data", "--force"];
                self.kubectl(&[&drain[..], &["--timeout=90s"]].concat()).map(drop)
            }
            NodeFault::Excluded => self.lab.apply(&site::advertisement(Some(name)).to_string()).map(drop),
        }
    }

    pub(super) fn undo_at(&self, fault: NodeFault, node: NodeId) -> Result<()> {
        let name = &node.to_string();
        match fault {
            NodeFault::PowerOff => self.lab.poweron(node),
            NodeFault::Cable => self.lab.plug(node),
            NodeFault::GossipIn
            | NodeFault::GossipOut
            | NodeFault::GossipBoth
            | NodeFault::ApiCut
            | NodeFault::FlappingRule => self.unblock(node),
            NodeFault::KillSpeaker => Ok(()),
            NodeFault::FreezeSpeaker => self.signal(Role::Speaker, node, "CONT"),
            NodeFault::DiskFull => {
                self.lab.run(Host::Node(node), ["umount", "-l", "/var/log/pods"])?;
                // Its log is where nobody finds it.
                let field = format!("spec.nodeName={name}");
                let labels = "app.kubernetes.io/component=speaker";
                self.kubectl(&["delete", "pods", "-l", labels, "--field-selector", &field, "--wait=false"])
                    .map(drop)
            }
            NodeFault::Drain => self.kubectl(&["uncordon", name]).map(drop),
            NodeFault::Excluded => self.lab.apply(&site::advertisement(None).to_string()).map(drop),
        }
    }

    /// Lets a rule come and go.
    pub(super) fn flap(&self, node: NodeId, lasts: Duration) -> Result<()> {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            self.block(node, &[(Direction::In, GOSSIP), (Direction::Out, GOSSIP)])?;
            thread::sleep(FLAPS_EVERY);
            self.unblock(node)?;
            thread::sleep(FLAPS_EVERY);
        }
        Ok(())
    }

    /// Drops what a node gets or sends.
    fn block(&self, node: NodeId, what: &[(Direction, &str)]) -> Result<()> {
        let chain = |(direction, what): &(Direction, &str)| {
            let hook = match direction {
                Direction::In => "input",
                Direction::Out => "output",
            };
            format!("chain {hook} {{ type filter hook {hook} priority 0; {what} drop; }};")
        };
        let chains: String = what.iter().map(chain).collect();
        let rules = format!("table inet soak {{ {chains} }}");
        self.lab.run(Host::Node(node), ["nft", &rules]).map(drop)
    }

    /// Drops nothing any more.
    fn unblock(&self, node: NodeId) -> Result<()> {
        // Deleting what is not there would be an error, so it is made first.
        let rules = "add table inet soak; delete table inet soak";
        self.lab.run(Host::Node(node), ["nft", rules]).map(drop)
    }
}
