//! Takes part in the gossip of the speakers: a task with a UDP socket around [`members`].
//!
//! ```text
//!   UDP <------> +------+ <-- commands -- Handle (set_peers, take_part, set_link, listen_at, confirm_leave, leave)
//!   key files -> | task | --- news ----> mpsc: who came and went, why, and who is a member after that
//!   clock -----> +------+ --- view ----> watch: who is a member now, for those who need not know why
//! ```
//!
//! Everything is decided in [`members`]. The task owns it and does what it says; see its documentation for what the
//! events mean.

mod commands;
mod keys;
mod metrics;
mod socket;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use commands::Listen;
pub use keys::keys_in;
pub use members::{Absence, Event, Key, Keys, LinkState, News, Preset, Profile, ProfileError, Proof, View};
pub use metrics::Metrics;
use objects::NodeName;
use task::Task;
use tokio::sync::{mpsc, oneshot, watch};

/// News that wait to be read. More are kept within the task until there is room, so it never waits for a
/// reader; there are no more than members come and go.
const NEWS: usize = 64;

/// What the task must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of this member: its node for a speaker, anything that no node is called for an observer.
    pub name: NodeName,
    /// Where to listen, and where the others reach us: an address of this host and a port. An address that is
    /// not there yet is waited for. See [`Handle::listen_at`] for one that changes.
    pub bind: SocketAddr,
    /// How fast we judge.
    pub preset: Preset,
    /// One secret a file, of 16 bytes or more; white space at its end does not count. The first seals, all open.
    /// They are read again every few seconds. One that is missing counts as none, as long as there is another:
    /// that is how keys are rotated. Without any file, frames are not sealed.
    pub key_files: Vec<PathBuf>,
    /// What we tell everybody of ourselves at first.
    pub profile: Profile,
}

/// Why the gossip does not work, as far as can be seen from here. While it is [`Unbound`](Self::Unbound) nobody is
/// judged, and the view stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The socket cannot be had: another program has the port, or the address is not of this host; or there is no
    /// address.
    Unbound,
    /// All that is received is sealed with other keys.
    OtherKey,
}

/// Speaks with the task, which ends when all clones of this are dropped. Nothing here fails or waits (but for
/// [`leave`](Self::leave)): a task that is no more takes no commands, and the view does not change any more. Of
/// commands that come faster than the task takes them, the latest of each kind counts, and each confirmation.
#[derive(Debug, Clone)]
pub struct Handle {
    view: watch::Receiver<Arc<View>>,
    trouble: watch::Receiver<Option<Trouble>>,
    commands: commands::Sender,
}

/// Starts the task, within a tokio runtime. Fails when a key file cannot be read, its secret is too short, or there
/// is none of them.
///
/// The news come in order, none is left out, and nobody waits for their reader. Each brings what happened together with
/// the view after it. Drop the receiver if you do not read it.
pub fn start(config: Config, metrics: Metrics) -> anyhow::Result<(Handle, mpsc::Receiver<News>)> {
    let keys = keys::watch(&config.key_files)?;
    let (commands, to_do) = commands::channel();
    let (reports, news) = mpsc::channel(NEWS);
    let (publish, view) = watch::channel(Arc::default());
    let (publish_trouble, trouble) = watch::channel(None);
    let task = Task::new(config, keys, metrics, (publish, publish_trouble), reports);
    tokio::spawn(task.run(to_do));
    Ok((Handle { view, trouble, commands }, news))
}

impl Handle {
    /// The members, now and whenever something changes.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Why the gossip does not work, or that it does.
    pub fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.trouble.clone()
    }

    /// Whom the cluster lists, see [`members::Members::set_peers`].
    pub fn set_peers(&self, peers: BTreeMap<NodeName, SocketAddr>) {
        self.commands.send(|it| it.peers = Some(peers));
    }

    /// From where everybody may speak, see [`members::Members::set_addresses`].
    pub fn set_addresses(&self, addresses: BTreeMap<NodeName, BTreeSet<IpAddr>>) {
        self.commands.send(|it| it.addresses = Some(addresses));
    }

    /// What we tell everybody of ourselves from now on.
    pub fn set_profile(&self, profile: Profile) {
        self.commands.send(|it| it.profile = Some(profile));
    }

    /// From now on we are a member, see [`members::Members::take_part`]; before, we only observe.
    pub fn take_part(&self) {
        self.commands.send(|it| it.take_part = true);
    }

    /// Whether there is a link to the others; while there is none, nobody is judged.
    pub fn set_link(&self, state: LinkState) {
        self.commands.send(|it| it.link = Some(state));
    }

    /// This host has another address: listens there from now on, and tells the others. `None` while it has none: that is
    /// [`Trouble::Unbound`].
    pub fn listen_at(&self, address: Option<SocketAddr>) {
        self.commands.send(|it| it.listen = Some(address.map_or(Listen::Nowhere, Listen::At)));
    }

    /// We have taken over what `node`, that is [leaving](Event::Leaving), answered for.
    pub fn confirm_leave(&self, node: NodeName) {
        self.commands.send(|it| _ = it.confirm_leave.insert(node));
    }

    /// Waits until the task has answered, which it does at once as long as it runs; for ever, when it is no more.
    pub async fn answers(&self) {
        let (done, answered) = oneshot::channel();
        self.commands.send(|it| it.answer.push(done));
        if answered.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Says goodbye, and whether we shall be back; waits until every live member has confirmed, or five seconds are over;
    /// returns who has not. The first goodbye counts.
    pub async fn leave(&self, absence: Absence) -> BTreeSet<NodeName> {
        let (done, departed) = oneshot::channel();
        self.commands.send(|it| {
            it.leave.get_or_insert(absence);
            it.leavers.push(done);
        });
        departed.await.unwrap_or_default()
    }
}
