//! One task that takes part in the gossip of the speakers: a UDP socket around [`members`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use members::{Event, LinkState, Preset, Profile, Role};
use objects::NodeName;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

/// What the task must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of this member: its node for a speaker, anything that no node is called for an observer.
    pub name: NodeName,
    /// Where to listen, and where the others reach us: an address of this host and a port. An address that is
    /// not there yet is waited for.
    pub bind: SocketAddr,
    /// Whether we are counted.
    pub role: Role,
    /// How fast we judge.
    pub preset: Preset,
    /// One secret a file; the first seals, all open. They are read again when they change. Without any,
    /// frames are not sealed.
    pub key_files: Vec<PathBuf>,
    /// What we tell everybody of ourselves.
    pub profile: Profile,
}

/// The members at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The live ones, this one included unless it observes.
    pub members: BTreeSet<NodeName>,
    /// Whether enough of the others has been heard to act on this, see [`members::Members::settled`].
    pub settled: bool,
    /// What the live ones tell of themselves, as far as it is known.
    pub profiles: BTreeMap<NodeName, Profile>,
}

/// What can be counted. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {}

impl Metrics {
    /// Makes the metrics visible.
    pub fn register(&self, _registry: &mut Registry) {}
}

/// Speaks with the task, which ends when all clones of this are dropped.
#[derive(Debug, Clone)]
pub struct Handle {
    view: watch::Receiver<Arc<View>>,
}

/// Starts the task, within a tokio runtime. Fails when a key file cannot be read or is no good.
///
/// The events come in order. The receiver must keep up: while it does not, the task goes on but holds back
/// further events, unbounded in number only by what happens to members.
pub fn start(_config: Config, _metrics: Metrics) -> anyhow::Result<(Handle, mpsc::Receiver<Event>)> {
    todo!()
}

impl Handle {
    /// The members, now and whenever something changes.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Whom the cluster lists, see [`members::Members::set_peers`].
    pub async fn set_peers(&self, _peers: BTreeMap<NodeName, SocketAddr>) {
        todo!()
    }

    /// What we tell everybody of ourselves from now on.
    pub async fn set_profile(&self, _profile: Profile) {
        todo!()
    }

    /// Whether there is a link to the others; while there is none, nobody is judged.
    pub async fn set_link(&self, _state: LinkState) {
        todo!()
    }

    /// We have taken over what `node`, that is [leaving](Event::Leaving), answered for.
    pub async fn confirm_leave(&self, _node: NodeName) {
        todo!()
    }

    /// Says goodbye and waits until every live member has confirmed, or their time is up; returns who has not.
    pub async fn leave(&self) -> BTreeSet<NodeName> {
        todo!()
    }
}
