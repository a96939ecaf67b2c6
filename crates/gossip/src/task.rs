//! The one task that owns the members: reads, calls, flushes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use members::{
    BootId, Config as MembersConfig, Event, Keys, LinkState, Members, News, OtherKeys, Reporter, View,
};
use objects::NodeName;
use objects::text::listed;
use timers::Journal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tracing::{info, trace, warn};

use crate::commands::{Commands, Listen, Receiver};
use crate::metrics::Metrics;
use crate::socket::Socket;
use crate::{Config, Trouble};

/// Frames that are taken in before timers get their turn.
const BATCH: usize = 256;

/// So many lines about events of one kind and member are logged at once, and then one in this time.
const LINES_AT_ONCE: u32 = 10;
const LINES_EACH: std::time::Duration = std::time::Duration::from_mins(1);

/// The state of the task.
pub(crate) struct Task {
    members: Members,
    socket: Socket,
    /// Whether there is a link to the others, as far as we were told.
    link: LinkState,
    /// What the members know of that.
    told_link: LinkState,
    keys: watch::Receiver<Keys>,
    metrics: Metrics,
    view: watch::Sender<Arc<View>>,
    trouble: watch::Sender<Option<Trouble>>,
    /// Whether nothing is received but what is sealed with other keys.
    other_keys: OtherKeys,
    reporter: Reporter,
    /// What of the events is logged, by kind and member: whoever has the key can make some happen as often as it can send.
    journal: Journal<(&'static str, Option<NodeName>)>,
    reports: mpsc::Sender<News>,
    /// News for which there was no room yet.
    backlog: VecDeque<News>,
    /// Who waits for our departure; and how that went, once it has happened.
    leavers: Vec<oneshot::Sender<BTreeSet<NodeName>>>,
    departed: Option<BTreeSet<NodeName>>,
}

impl Task {
    pub(crate) fn new(
        config: Config,
        mut keys: watch::Receiver<Keys>,
        metrics: Metrics,
        (view, trouble): (watch::Sender<Arc<View>>, watch::Sender<Option<Trouble>>),
        reports: mpsc::Sender<News>,
    ) -> Self {
        let Config { name, bind, preset, key_files: _, profile } = config;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let members = MembersConfig {
            name,
            address: bind,
            boot: BootId(rand::random()),
            generation: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            preset,
            keys: keys.borrow_and_update().clone(),
            profile,
        };
        Self {
            members: Members::new(members, rand::random(), Instant::now()),
            socket: Socket::new(bind),
            link: LinkState::Up,
            told_link: LinkState::Up,
            keys,
            metrics,
            view,
            trouble,
            other_keys: OtherKeys::default(),
            reporter: Reporter::default(),
            journal: Journal::new(LINES_AT_ONCE, LINES_EACH),
            reports,
            backlog: VecDeque::new(),
            leavers: Vec::new(),
            departed: None,
        }
    }

    /// Runs until nobody can command any more.
    pub(crate) async fn run(mut self, mut commands: Receiver) {
        let reports = self.reports.clone();
        self.reporter.look_again();
        loop {
            self.follow_link();
            self.flush();
            self.publish_trouble();
            let due = [self.members.poll_timeout(), self.journal.poll_timeout()].into_iter().flatten().min();
            tokio::select! {
                () = self.socket.ready() => self.receive(),
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => self.receive(),
                Ok(()) = self.keys.changed() => self.members.set_keys(self.keys.borrow_and_update().clone()),
                // There is room for news again, or there is no reader any more.
                _ = reports.reserve(), if !self.backlog.is_empty() => {}
                commands = commands.receive() => match commands {
                    Some(commands) => self.dispatch(commands),
                    None => return,
                },
            }
        }
    }

    /// Takes in what has arrived, and then does what is due: so a charge that was heard in time is not taken for
    /// silent because we come late.
    fn receive(&mut self) {
        let mut buffer = [0; 2 * Members::MAX_FRAME];
        for _ in 0..BATCH {
            let Some((from, frame)) = self.socket.receive(&mut buffer) else { break };
            let result = self.members.handle(from, frame, Instant::now());
            trace!(%from, ?result, "frame");
            self.other_keys.received(&result, Instant::now());
            self.metrics.received(result);
        }
        let now = Instant::now();
        if self.members.poll_timeout().is_some_and(|due| due <= now) {
            self.members.poll(now);
        }
    }

    fn dispatch(&mut self, commands: Commands) {
        let now = Instant::now();
        let Commands {
            listen,
            link,
            addresses,
            peers,
            profile,
            take_part,
            confirm_leave,
            answer,
            leave,
            mut leavers,
        } = commands;
        for done in answer {
            let _nobody_waits = done.send(());
        }
        match listen {
            Some(Listen::At(address)) => {
                self.socket.listen_at(Some(address));
                self.members.set_address(address, now);
            }
            Some(Listen::Nowhere) => self.socket.listen_at(None),
            None => {}
        }
        self.link = link.unwrap_or(self.link);
        self.follow_link();
        if let Some(addresses) = addresses {
            self.members.set_addresses(addresses, now);
        }
        if let Some(peers) = peers {
            self.members.set_peers(peers, now);
        }
        if let Some(profile) = profile {
            self.members.set_profile(profile, now);
        }
        if take_part {
            self.members.take_part(now);
            self.reporter.look_again();
        }
        confirm_leave.iter().for_each(|node| self.members.confirm_leave(node));
        self.leavers.append(&mut leavers);
        if let Some(absence) = leave {
            self.members.leave(absence, now);
        }
    }

    /// Who has no socket is as isolated as one without a cable: it judges nobody, and asks the others when it hears again.
    fn follow_link(&mut self) {
        let link = if self.socket.is_refused() { LinkState::Down } else { self.link };
        if std::mem::replace(&mut self.told_link, link) != link {
            self.members.set_link(link, Instant::now());
        }
    }

    /// Brings out whatever the members have to say.
    fn flush(&mut self) {
        while let Some(((what, about), left_out)) = self.journal.poll(Instant::now()) {
            let node = about.as_ref().map(NodeName::as_str);
            info!(what, node, left_out, "of events of the gossip, so many were left out here");
        }
        while let Some(transmit) = self.members.poll_transmit() {
            match self.socket.send(transmit.to, &transmit.frame) {
                Ok(()) => self.metrics.sent(transmit.kind),
                Err(error) => {
                    trace!(to = %transmit.to, %error, "frame not sent");
                    self.metrics.not_sent();
                }
            }
        }
        // Who has no socket learns nothing, and what it knew before stays known; but it may want to go.
        if (!self.socket.is_refused() || !self.leavers.is_empty())
            && let Some(news) = self.reporter.poll(&mut self.members)
        {
            self.publish(news);
        }
        while let Some(news) = self.backlog.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(news)) = self.reports.try_send(news) {
                self.backlog.push_front(news);
                break;
            }
        }
        if let Some(unconfirmed) = &self.departed {
            for done in self.leavers.drain(..) {
                let _nobody_waits = done.send(unconfirmed.clone());
            }
        }
    }

    fn publish_trouble(&self) {
        let trouble = if self.socket.is_refused() {
            Some(Trouble::Unbound)
        } else {
            // Looked at with every timer of the members: several times a second.
            self.other_keys.prevail(Instant::now()).then_some(Trouble::OtherKey)
        };
        self.trouble.send_if_modified(|current| std::mem::replace(current, trouble) != trouble);
    }

    fn publish(&mut self, news: News) {
        for event in &news.events {
            self.log(event);
            if let Event::Departed { unconfirmed } = event {
                self.departed = Some(unconfirmed.clone());
            }
        }
        self.metrics.view(news.view.members.len(), news.view.settled);
        self.metrics.judged(self.members.counters());
        self.metrics.deaths_put_off(self.members.deaths_put_off());
        self.view.send_if_modified(|current| {
            let changed = *current != news.view;
            if changed {
                *current = Arc::clone(&news.view);
            }
            changed
        });
        // Nobody may want to read them.
        if !self.reports.is_closed() {
            self.backlog.push_back(news);
        }
    }

    /// Writes a line, unless there were too many of its kind about that member lately.
    fn log(&mut self, event: &Event) {
        let (what, about) = match event {
            Event::Joined(node) => ("joined", Some(node)),
            Event::Returned(node) => {
                self.metrics.returned();
                ("returned", Some(node))
            }
            Event::Lost { node, .. } => {
                self.metrics.lost();
                ("lost", Some(node))
            }
            Event::Confirmed { node, .. } => ("confirmed", Some(node)),
            Event::Replaced(node) => ("replaced", Some(node)),
            Event::Leaving { node, .. } => ("leaving", Some(node)),
            Event::Overdue(node) => {
                self.metrics.overdue();
                ("overdue", Some(node))
            }
            Event::Profile(node) => ("profile", Some(node)),
            Event::WrongAddress { node, .. } => ("wrongAddress", Some(node)),
            Event::PresumedDead => ("presumedDead", None),
            Event::Stalled(_) => {
                self.metrics.stalled();
                ("stalled", None)
            }
            Event::Departed { .. } => ("departed", None),
        };
        match self.journal.admit((what, about.cloned()), Instant::now()) {
            Some(left_out) => write(event, (left_out > 0).then_some(left_out)),
            None => self.metrics.line_left_out(),
        }
    }
}

/// Writes a line about an event, of whose kind so many were left out before.
fn write(event: &Event, left_out: Option<u64>) {
    match event {
        Event::Joined(node) => info!(%node, left_out, "member joined"),
        Event::Returned(node) => {
            info!(%node, left_out, "member is back, and may have been alive all along");
        }
        Event::Lost { node, confirmed_by } => {
            info!(%node, confirmed_by = listed(confirmed_by), left_out, "member lost");
        }
        Event::Confirmed { node, confirmed_by } => {
            info!(%node, confirmed_by = listed(confirmed_by), left_out, "loss confirmed");
        }
        Event::Replaced(node) => info!(%node, left_out, "member starts anew"),
        Event::Leaving { node, absence } => info!(%node, %absence, left_out, "member leaves"),
        Event::Overdue(node) => warn!(%node, left_out, "member is not back in time"),
        Event::Profile(node) => tracing::debug!(%node, left_out, "profile known"),
        Event::WrongAddress { node, from } => warn!(
            %node, %from, left_out,
            "refusing what is said in the name of a member from where the API server does not list it"
        ),
        Event::PresumedDead => warn!(left_out, "others held us dead, and know better now"),
        Event::Stalled(time) => warn!(?time, left_out, "this process stood still"),
        Event::Departed { unconfirmed } => info!(unconfirmed = listed(unconfirmed), "we have left"),
    }
}
