//! What happens to clusters, and what each of it may cost.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Error, bail};
use e2e::Role;
use lab::NodeId;

use crate::judge::SILENT_AT_MOST;

/// What happens to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeFault {
    /// Its power is cut, and comes back.
    PowerOff,
    /// Its cable is pulled, and put back.
    Cable,
    /// Its firewall drops gossip that arrives.
    GossipIn,
    /// Its firewall drops gossip that leaves.
    GossipOut,
    /// Its firewall drops gossip in both directions.
    GossipBoth,
    /// A rule that drops gossip comes and goes every second.
    FlappingRule,
    /// Its firewall drops what it sends to the API server.
    ApiCut,
    /// The speaker's process is killed.
    KillSpeaker,
    /// The speaker's process is stopped for some seconds.
    FreezeSpeaker,
    /// The file system of the containers' logs is full when the speaker is killed and starts again.
    DiskFull,
    /// It is drained and cordoned.
    Drain,
    /// The advertisement leaves it out.
    Excluded,
}

/// What happens to the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClusterFault {
    /// All controllers are killed.
    KillControllers,
    /// All controllers are stopped for some seconds.
    FreezeControllers,
    /// The API server is killed, and started later.
    ApiServer,
    /// etcd gets the data back that it had when the script began.
    Restore,
    /// The gossip's key is replaced, in three steps.
    KeyRotation,
    /// The Secret with the gossip's key is deleted, and made again by Helm.
    KeyLoss,
    /// Helm upgrades the release, and rolls it back.
    Upgrade,
    /// All Pods of the speakers are replaced.
    Rollout,
    /// Thousands of questions a second for addresses that nobody has, and for those of the Services.
    Flood,
    /// A range is added to the pool, and taken away.
    PoolEdit,
    /// The pool is deleted, and created again.
    PoolGone,
    /// The advertisement is deleted, and created again.
    AdvertisementGone,
    /// Services come and go while the controllers are killed.
    Churn,
}

/// A kind of fault, without a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One that happens to one node.
    Node(NodeFault),
    /// One that happens to the cluster.
    Cluster(ClusterFault),
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// To this node.
    Node(NodeFault, NodeId),
    /// To the cluster.
    Cluster(ClusterFault),
}

/// Addresses that nobody is meant to announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// All of them; the Services keep them.
    Announcements,
    /// Those of the pool that is deleted; the Services lose them.
    Pool,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 25] = [
        Self::Node(NodeFault::PowerOff),
        Self::Node(NodeFault::Cable),
        Self::Node(NodeFault::GossipIn),
        Self::Node(NodeFault::GossipOut),
        Self::Node(NodeFault::GossipBoth),
        Self::Node(NodeFault::FlappingRule),
        Self::Node(NodeFault::ApiCut),
        Self::Node(NodeFault::KillSpeaker),
        Self::Node(NodeFault::FreezeSpeaker),
        Self::Node(NodeFault::DiskFull),
        Self::Node(NodeFault::Drain),
        Self::Node(NodeFault::Excluded),
        Self::Cluster(ClusterFault::KillControllers),
        Self::Cluster(ClusterFault::FreezeControllers),
        Self::Cluster(ClusterFault::ApiServer),
        Self::Cluster(ClusterFault::Restore),
        Self::Cluster(ClusterFault::KeyRotation),
        Self::Cluster(ClusterFault::KeyLoss),
        Self::Cluster(ClusterFault::Upgrade),
        Self::Cluster(ClusterFault::Rollout),
        Self::Cluster(ClusterFault::Flood),
        Self::Cluster(ClusterFault::PoolEdit),
        Self::Cluster(ClusterFault::PoolGone),
        Self::Cluster(ClusterFault::AdvertisementGone),
        Self::Cluster(ClusterFault::Churn),
    ];
    /// Those that a lab endures which others use too: nothing is restored, drained or upgraded, and each is over soon.
    pub const SHORT: [Self; 8] = [
        Self::Node(NodeFault::Cable),
        Self::Node(NodeFault::GossipIn),
        Self::Node(NodeFault::GossipOut),
        Self::Node(NodeFault::KillSpeaker),
        Self::Node(NodeFault::FreezeSpeaker),
        Self::Cluster(ClusterFault::KillControllers),
        Self::Cluster(ClusterFault::Flood),
        Self::Cluster(ClusterFault::PoolEdit),
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node(NodeFault::PowerOff) => "power-off",
            Self::Node(NodeFault::Cable) => "cable",
            Self::Node(NodeFault::GossipIn) => "gossip-in",
            Self::Node(NodeFault::GossipOut) => "gossip-out",
            Self::Node(NodeFault::GossipBoth) => "gossip-both",
            Self::Node(NodeFault::FlappingRule) => "flapping-rule",
            Self::Node(NodeFault::ApiCut) => "api-cut",
            Self::Node(NodeFault::KillSpeaker) => "kill-speaker",
            Self::Node(NodeFault::FreezeSpeaker) => "freeze-speaker",
            Self::Node(NodeFault::DiskFull) => "disk-full",
            Self::Node(NodeFault::Drain) => "drain",
            Self::Node(NodeFault::Excluded) => "excluded",
            Self::Cluster(ClusterFault::KillControllers) => "kill-controllers",
            Self::Cluster(ClusterFault::FreezeControllers) => "freeze-controllers",
            Self::Cluster(ClusterFault::ApiServer) => "api-server",
            Self::Cluster(ClusterFault::Restore) => "restore",
            Self::Cluster(ClusterFault::KeyRotation) => "key-rotation",
            Self::Cluster(ClusterFault::KeyLoss) => "key-loss",
            Self::Cluster(ClusterFault::Upgrade) => "upgrade",
            Self::Cluster(ClusterFault::Rollout) => "rollout",
            Self::Cluster(ClusterFault::Flood) => "flood",
            Self::Cluster(ClusterFault::PoolEdit) => "pool-edit",
            Self::Cluster(ClusterFault::PoolGone) => "pool-gone",
            Self::Cluster(ClusterFault::AdvertisementGone) => "advertisement-gone",
            Self::Cluster(ClusterFault::Churn) => "churn",
        }
    }

    /// The fault of this kind that happens to `node`, if it happens to nodes.
    pub fn at(self, node: NodeId) -> Fault {
        match self {
            Self::Node(fault) => Fault::Node(fault, node),
            Self::Cluster(fault) => Fault::Cluster(fault),
        }
    }

    /// How many seconds it lasts before it is undone.
    pub fn lasts(self) -> RangeInclusive<u64> {
        match self {
            Self::Node(NodeFault::FreezeSpeaker) | Self::Cluster(ClusterFault::Flood) => 2..=8,
            Self::Node(NodeFault::PowerOff | NodeFault::ApiCut) => 5..=35,
            Self::Node(_) | Self::Cluster(ClusterFault::ApiServer) => 5..=20,
            Self::Cluster(_) => 3..=10,
        }
    }

    /// Whether nothing else is done at the same time: it waits for Pods itself, or what it costs would hide what others
    /// do.
    pub fn is_alone(self) -> bool {
        match self {
            Self::Node(NodeFault::Drain)
            | Self::Cluster(
                ClusterFault::Restore
                | ClusterFault::KeyRotation
                | ClusterFault::KeyLoss
                | ClusterFault::Upgrade
                | ClusterFault::Rollout
                | ClusterFault::PoolGone
                | ClusterFault::AdvertisementGone,
            ) => true,
            Self::Node(_) | Self::Cluster(_) => false,
        }
    }

    /// Whether it is made by way of the API server.
    fn needs_api(self) -> bool {
        match self {
            Self::Node(NodeFault::Excluded | NodeFault::DiskFull)
            | Self::Cluster(ClusterFault::PoolEdit | ClusterFault::Churn) => true,
            Self::Node(_) | Self::Cluster(_) => self.is_alone(),
        }
    }

    /// Whether the two can be done at the same time, to different nodes.
    pub fn goes_with(self, other: Self) -> bool {
        let stops_api = |kind| kind == Self::Cluster(ClusterFault::ApiServer);
        let both = |one: Self, two: Self| stops_api(one) && two.needs_api();
        self != other && !self.is_alone() && !other.is_alone() && !both(self, other) && !both(other, self)
    }

    /// The longest that an address may go without an answer because of it, on a machine that does other things besides.
    pub fn silence(self) -> Duration {
        let millis = match self {
            Self::Node(
                NodeFault::PowerOff
                | NodeFault::Cable
                | NodeFault::KillSpeaker
                | NodeFault::FreezeSpeaker
                | NodeFault::DiskFull,
            ) => 2000,
            // The Pods that were replaced since the backup end, all at once, and those of the backup start.
            Self::Cluster(ClusterFault::Restore) => 30_000,
            // Nothing has to be found out: no more than where nothing happens.
            Self::Node(_) | Self::Cluster(_) => return SILENT_AT_MOST,
        };
        Duration::from_millis(millis)
    }

    /// What nobody is meant to announce meanwhile.
    pub fn withdraws(self) -> Option<Withdrawn> {
        match self {
            Self::Cluster(ClusterFault::PoolGone) => Some(Withdrawn::Pool),
            Self::Cluster(ClusterFault::AdvertisementGone) => Some(Withdrawn::Announcements),
            Self::Node(_) | Self::Cluster(_) => None,
        }
    }
}

impl Fault {
    /// Without the node.
    pub fn kind(self) -> Kind {
        match self {
            Self::Node(fault, _) => Kind::Node(fault),
            Self::Cluster(fault) => Kind::Cluster(fault),
        }
    }

    /// The node that it happens to, if it is one.
    pub fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(_, node) => Some(node),
            Self::Cluster(_) => None,
        }
    }

    /// Whether a container with this program may be started again on the node called `node` because of it.
    pub fn restarts(self, role: Role, node: &str) -> bool {
        match self {
            Self::Node(NodeFault::PowerOff, at) => at.to_string() == node,
            Self::Node(NodeFault::KillSpeaker | NodeFault::DiskFull, at) => {
                role == Role::Speaker && at.to_string() == node
            }
            Self::Cluster(ClusterFault::KillControllers | ClusterFault::Churn) => role == Role::Controller,
            Self::Cluster(ClusterFault::Restore) => true,
            Self::Node(_, _) | Self::Cluster(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        self.node().map_or(Ok(()), |node| write!(f, " {node}"))
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match Self::ALL.into_iter().find(|kind| kind.name() == text) {
            Some(kind) => Ok(kind),
            None => bail!("there are {}", Self::ALL.map(Self::name).join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_read_by_its_name() {
        let names: BTreeSet<_> = Kind::ALL.map(Kind::name).into();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Kind>().unwrap(), kind);
        }
        assert!("earthquake".parse::<Kind>().is_err());
    }

    #[test]
    fn nothing_is_asked_of_an_api_server_that_is_down() {
        let down = Kind::Cluster(ClusterFault::ApiServer);
        assert!(down.goes_with(Kind::Node(NodeFault::PowerOff)));
        assert!(!down.goes_with(Kind::Node(NodeFault::Excluded)));
        assert!(!Kind::Cluster(ClusterFault::Churn).goes_with(down));
    }

    #[test]
    fn only_what_ends_a_process_explains_its_restart() {
        let [n1, n2]: [NodeId; 2] = ["n1", "n2"].map(|name| name.parse().unwrap());
        let kill = Fault::Node(NodeFault::KillSpeaker, n1);
        assert!(kill.restarts(Role::Speaker, "n1"));
        assert!(!kill.restarts(Role::Speaker, "n2") && !kill.restarts(Role::Controller, "n1"));
        assert!(Fault::Node(NodeFault::PowerOff, n2).restarts(Role::Controller, "n2"));
        assert!(!Fault::Node(NodeFault::FreezeSpeaker, n1).restarts(Role::Speaker, "n1"));
    }
}
