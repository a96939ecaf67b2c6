//! One task that takes part in the gossip of the speakers: a UDP socket around [`members`].
//!
//! ```text
//! Handle --commands--> task (Members inside) --view, events--> whoever acts on them
//!                        |  ^
//!                        v  |
//!                     UDP socket
//! ```

mod keys;
mod metrics;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use members::BootId;
use objects::NodeName;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use keys::KeyFiles;
pub use members::{Event, LinkState, Preset, Profile, Role};
pub use metrics::Metrics;
use task::{Command, Ends};

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

/// How many commands may wait. They are worked off at once, so whoever gives one hardly ever waits.
const COMMANDS: usize = 64;
/// How many events may wait to be read. When there are more, they wait in the task, which goes on: there are
/// no more of them than members come and go.
const EVENTS: usize = 256;

/// Speaks with the task, which ends when all clones of this are dropped.
#[derive(Debug, Clone)]
pub struct Handle {
    view: watch::Receiver<Arc<View>>,
    commands: mpsc::Sender<Command>,
}

/// Starts the task, within a tokio runtime. Fails when a key is no good, or there is none where there should be.
///
/// The events come in the order in which they happened, each after the view that goes with it.
pub fn start(config: Config, metrics: Metrics) -> anyhow::Result<(Handle, mpsc::Receiver<Event>)> {
    let mut keys = KeyFiles::new(config.key_files);
    let first_keys = keys.changed()?.unwrap_or_default();
    if first_keys.is_empty() {
        warn!("the gossip is not sealed: whoever is on the network can take part (see --gossip-key-file)");
    }
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let members_config = members::Config {
        name: config.name,
        address: config.bind,
        boot: BootId(rand::random()),
        generation: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
        role: config.role,
        preset: config.preset,
        keys: first_keys,
        profile: config.profile,
    };
    let (view, to_see) = watch::channel(Arc::default());
    let (commands, to_obey) = mpsc::channel(COMMANDS);
    let (events, to_tell) = mpsc::channel(EVENTS);
    let ends = Ends { commands: to_obey, view, events };
    tokio::spawn(task::run(members_config, keys, ends, metrics));
    Ok((Handle { view: to_see, commands }, to_tell))
}

impl Handle {
    /// The members, now and whenever something changes.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Whom the cluster lists, see [`members::Members::set_peers`].
    pub async fn set_peers(&self, peers: BTreeMap<NodeName, SocketAddr>) {
        self.command(Command::Peers(peers)).await;
    }

    /// What we tell everybody of ourselves from now on.
    pub async fn set_profile(&self, profile: Profile) {
        self.command(Command::Profile(profile)).await;
    }

    /// Whether there is a link to the others; while there is none, nobody is judged.
    pub async fn set_link(&self, state: LinkState) {
        self.command(Command::Link(state)).await;
    }

    /// Whatever `node`, that is [leaving](Event::Leaving), answered for is in good hands as far as we have to do
    /// with it.
    pub async fn confirm_leave(&self, node: NodeName) {
        self.command(Command::ConfirmLeave(node)).await;
    }

    /// Says goodbye and waits until every live member has confirmed, or their time is up; returns who has not.
    pub async fn leave(&self) -> BTreeSet<NodeName> {
        let (departed, wait) = oneshot::channel();
        self.command(Command::Leave(departed)).await;
        wait.await.unwrap_or_default()
    }

    /// The task lives for as long as there is a handle, so it is there.
    async fn command(&self, command: Command) {
        _ = self.commands.send(command).await;
    }
}
