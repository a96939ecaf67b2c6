//! The task: brings datagrams, time and commands to [`Members`], and carries out what follows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use members::{Counters, Event, LinkState, Members, Profile};
use objects::NodeName;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{debug, info, warn};

use crate::keys::KeyFiles;
use crate::{Metrics, View};

/// Between attempts to open the socket: the address may be on its way, and the last owner of the port on its
/// way out.
const REOPEN: Duration = Duration::from_millis(500);
/// Between looks at the files with the keys.
const KEYS_INTERVAL: Duration = Duration::from_secs(2);
/// So many frames are worked off before timers and commands have their turn.
const AT_ONCE: usize = 256;

/// What the handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Peers(BTreeMap<NodeName, SocketAddr>),
    Profile(Profile),
    Link(LinkState),
    ConfirmLeave(NodeName),
    Leave(oneshot::Sender<BTreeSet<NodeName>>),
}

/// How the task and whoever has a handle reach each other.
pub(crate) struct Ends {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) events: mpsc::Sender<Event>,
}

/// Runs until nobody has a handle any more. The member is born when there is a socket: until then, time does not
/// count.
pub(crate) async fn run(config: members::Config, keys: KeyFiles, ends: Ends, metrics: Metrics) {
    let bind = config.address;
    let mut socket = open(bind).await;
    let members = Members::new(config, rand::random(), Instant::now());
    let Ends { commands, view, events } = ends;
    let mut task = Task { members, keys, commands, view, events, metrics };
    while let Err(error) = task.speak(&socket).await {
        warn!(address = %bind, %error, "the gossip's socket is broken, opening another");
        sleep(REOPEN).await;
        socket = open(bind).await;
    }
}

/// Opens the socket, as soon as that can be done.
async fn open(bind: SocketAddr) -> UdpSocket {
    let mut told = None;
    loop {
        match UdpSocket::bind(bind).await {
            Ok(socket) => {
                info!(address = %bind, "takes part in the gossip");
                return socket;
            }
            Err(error) => {
                if told.replace(error.kind()) != Some(error.kind()) {
                    warn!(address = %bind, %error, "cannot listen to the gossip yet, trying again");
                }
                sleep(REOPEN).await;
            }
        }
    }
}

struct Task {
    members: Members,
    keys: KeyFiles,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<Arc<View>>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
}

/// What comes next.
enum Next {
    Frames,
    Command(Option<Command>),
    Due,
    Keys,
    Told,
    Broken(std::io::Error),
}

impl Task {
    /// Speaks through `socket` until it breaks, or for as long as anybody has a handle.
    async fn speak(&mut self, socket: &UdpSocket) -> std::io::Result<()> {
        let mut keys = interval(KEYS_INTERVAL);
        keys.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = [0; Members::MAX_FRAME + 1];
        let mut outbox = VecDeque::new();
        let mut leaving = None;
        let mut counters = Counters::default();
        loop {
            self.follow(socket, &mut outbox, &mut leaving, &mut counters);
            let due = self.members.poll_timeout();
            let next = tokio::select! {
                ready = socket.readable() => match ready {
                    Ok(()) => Next::Frames,
                    Err(error) => Next::Broken(error),
                },
                command = self.commands.recv() => Next::Command(command),
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => Next::Due,
                permit = self.events.reserve(), if !outbox.is_empty() => {
                    if let (Ok(permit), Some(event)) = (permit, outbox.pop_front()) {
                        permit.send(event);
                    }
                    Next::Told
                }
                _ = keys.tick() => Next::Keys,
            };
            match next {
                Next::Frames => self.receive(socket, &mut buffer)?,
                Next::Due => {
                    // What has arrived by now counts before what has not.
                    self.receive(socket, &mut buffer)?;
                    self.members.poll(Instant::now());
                }
                Next::Command(Some(command)) => self.obey(command, &mut leaving),
                Next::Command(None) => return Ok(()),
                Next::Keys => self.read_keys(),
                Next::Told => {}
                Next::Broken(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<()> {
        for _ in 0..AT_ONCE {
            match socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    let result = self.members.handle(from, &buffer[..length], Instant::now());
                    self.metrics.received(result);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // A link that goes down, or an answer that nobody listens: of no consequence for the others.
                Err(error) if error.raw_os_error().is_some() => {
                    debug!(%error, "receiving");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn obey(&mut self, command: Command, leaving: &mut Option<oneshot::Sender<BTreeSet<NodeName>>>) {
        let now = Instant::now();
        match command {
            Command::Peers(peers) => self.members.set_peers(peers, now),
            Command::Profile(profile) => self.members.set_profile(profile, now),
            Command::Link(state) => self.members.set_link(state, now),
            Command::ConfirmLeave(node) => self.members.confirm_leave(&node),
            Command::Leave(departed) => {
                *leaving = Some(departed);
                self.members.leave(now);
            }
        }
    }

    fn read_keys(&mut self) {
        match self.keys.changed() {
            Ok(Some(keys)) => {
                info!(keys = keys.len(), "the gossip's keys have changed");
                self.members.set_keys(keys);
            }
            Ok(None) => {}
            Err(error) => warn!(error = format!("{error:#}"), "the gossip's keys stay as they were"),
        }
    }

    /// Sends and tells what there is to send and tell.
    fn follow(
        &mut self,
        socket: &UdpSocket,
        outbox: &mut VecDeque<Event>,
        leaving: &mut Option<oneshot::Sender<BTreeSet<NodeName>>>,
        counters: &mut Counters,
    ) {
        while let Some(transmit) = self.members.poll_transmit() {
            match socket.try_send_to(&transmit.frame, transmit.to) {
                Ok(_) => self.metrics.sent(transmit.kind),
                // As good as lost on the way, which the protocol bears.
                Err(error) => {
                    debug!(to = %transmit.to, kind = transmit.kind, %error, "frame not sent");
                    self.metrics.not_sent();
                }
            }
        }
        let mut news = false;
        while let Some(event) = self.members.poll_event() {
            news = true;
            match event {
                Event::Departed { unconfirmed } => {
                    if let Some(departed) = leaving.take() {
                        // Who asked may have lost interest.
                        _ = departed.send(unconfirmed);
                    }
                }
                Event::Stalled(_) => {
                    self.metrics.stalled();
                    outbox.push_back(event);
                }
                event => outbox.push_back(event),
            }
        }
        if news || self.view.borrow().settled != self.members.settled() {
            self.show();
        }
        let now = self.members.counters();
        self.metrics.judged(std::mem::replace(counters, now), now);
    }

    fn show(&self) {
        let members = self.members.members();
        let profile = |node: &NodeName| Some((node.clone(), self.members.profile(node)?.clone()));
        let view = View {
            members: members.clone(),
            settled: self.members.settled(),
            profiles: members.iter().filter_map(profile).collect(),
        };
        self.metrics.members(view.members.len());
        self.view.send_if_modified(|current| {
            let different = **current != view;
            if different {
                *current = Arc::new(view);
            }
            different
        });
    }
}
