//! What the task is asked to do and has not done yet.
//!
//! Of each thing only the latest is kept, so whoever asks never waits, and nothing piles up while the task is busy:
//! addresses, peers, profile, link, address and taking part are states, of which an earlier one is worth nothing once there is a
//! later one; confirmations are a set, which holds no more than members can leave; a goodbye is said once. So the task
//! can wait for whoever reads its news while that one commands it: neither waits for the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use members::{Absence, LinkState, Profile};
use objects::NodeName;
use tokio::sync::{mpsc, oneshot};

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    At(SocketAddr),
    /// This host has no address for it.
    Nowhere,
}

/// What is to be done, in the order of the fields: where we are comes before what we say.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    pub(crate) listen: Option<Listen>,
    pub(crate) link: Option<LinkState>,
    pub(crate) addresses: Option<BTreeMap<NodeName, BTreeSet<IpAddr>>>,
    pub(crate) peers: Option<BTreeMap<NodeName, SocketAddr>>,
    pub(crate) profile: Option<Profile>,
    pub(crate) take_part: bool,
    pub(crate) confirm_leave: BTreeSet<NodeName>,
    /// Who waits for a sign of life of the task: one at a time.
    pub(crate) answer: Vec<oneshot::Sender<()>>,
    /// For what the first goodbye is.
    pub(crate) leave: Option<Absence>,
    /// Who waits for it.
    pub(crate) leavers: Vec<oneshot::Sender<BTreeSet<NodeName>>>,
}

/// Asks the task. All clones ask the same one.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    commands: Arc<Mutex<Commands>>,
    /// Holds a token while there is anything to be done.
    wake: mpsc::Sender<()>,
}

/// What the task is asked.
#[derive(Debug)]
pub(crate) struct Receiver {
    commands: Arc<Mutex<Commands>>,
    wake: mpsc::Receiver<()>,
}

pub(crate) fn channel() -> (Sender, Receiver) {
    let commands = Arc::<Mutex<Commands>>::default();
    let (wake, woken) = mpsc::channel(1);
    (Sender { commands: Arc::clone(&commands), wake }, Receiver { commands, wake: woken })
}

impl Sender {
    /// Adds to what is to be done.
    pub(crate) fn send(&self, add: impl FnOnce(&mut Commands)) {
        add(&mut self.commands.lock().unwrap_or_else(PoisonError::into_inner));
        // Full: the task is about to look anyway. Closed: it is no more.
        let _told = self.wake.try_send(());
    }
}

impl Receiver {
    /// What is to be done now; `None` when nobody can ask for anything any more. Can be dropped at any time.
    pub(crate) async fn receive(&mut self) -> Option<Commands> {
        self.wake.recv().await?;
        Some(std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_states_the_latest_is_kept_and_of_confirmations_each() {
        let (sender, mut receiver) = channel();
        for turn in 0..10_000 {
            sender.send(|it| it.link = Some(LinkState::Down));
            sender.send(|it| {
                it.peers = Some([(format!("n{turn}").into(), ([192, 0, 2, 1], 7946).into())].into());
            });
            sender.send(|it| _ = it.confirm_leave.insert(format!("n{}", turn % 3).into()));
        }
        sender.send(|it| it.link = Some(LinkState::Up));
        let commands = receiver.receive().await.unwrap();
        assert_eq!(commands.link, Some(LinkState::Up));
        assert_eq!(commands.peers.unwrap().into_keys().collect::<Vec<_>>(), ["n9999".into()]);
        assert_eq!(commands.confirm_leave, ["n0", "n1", "n2"].map(NodeName::from).into());
        drop(sender);
        assert!(receiver.receive().await.is_none());
    }

    #[tokio::test]
    async fn what_was_asked_before_everybody_left_is_still_done() {
        let (sender, mut receiver) = channel();
        sender.send(|it| it.take_part = true);
        drop(sender);
        assert!(receiver.receive().await.is_some_and(|commands| commands.take_part));
        assert!(receiver.receive().await.is_none());
    }
}
