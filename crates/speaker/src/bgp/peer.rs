//! One session: the task that owns it and its connection.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bgp::session::{Farewell, HeldBack, Input, Local, Output, Past, Session, State, Transition};
use futures::FutureExt;
use objects::Family;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout_at;
use tracing::{debug, info, warn};

use super::attempts::Attempts;
use super::beside::{Beside, found_within};
use super::connect::connect;
use super::discovery::{self, Router, Trouble, Whereabouts};
use super::handover::{Resumed, SessionForm};
use super::metrics::{BgpMetrics, PeerLabels};
use super::next_hop::other;
use super::{PeerAddress, Peering, Status, Statuses};

/// So much may wait to be written. UPDATEs are made when there is room for them: what changes meanwhile falls together.
const WAITING: usize = 64 * 1024;
/// So much is read at once. Nothing of it is kept but the beginning of a message.
const READ: usize = 16 * 1024;

/// So much of what nobody wants to read any more is read, so that the last words get through: a connection that is closed with
/// something unread in it is reset, and the peer may lose what it was sent last.
const LEFT_OVER: usize = 1 << 20;

/// How often to look for an address that can be the next hop of routes that have none, or whose next hop is another one than
/// the address of the connection, and may be gone.
const LOOK: Duration = Duration::from_secs(10);

/// A session that begins later than this after the first ones follows none of another process: its peer is new. Where both begin
/// at once, the BGP session of FRR had better be first, which begins BFD anew once it is up.
const FOLLOWS: Duration = Duration::from_secs(5);

/// What a session is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    /// It is to be like this.
    Hold(Peering),
    /// It is to end, like this.
    End(Farewell),
    /// Another process may go on with it: it says as what, and stands still until it is told something else.
    StandStill(Answers),
    /// Another process goes on with it: it ends here without a word.
    Vanish,
}

/// Where sessions say as what another process can go on with them. One that is not established has nothing to say.
#[derive(Debug, Clone)]
pub(super) struct Answers(pub(super) mpsc::Sender<Option<(SessionForm, OwnedFd)>>);

impl PartialEq for Answers {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// What a session needs to know of others, and tells them.
pub(super) struct Surroundings {
    /// When the first sessions began.
    pub(super) began: Instant,
    pub(super) beside: Beside,
    pub(super) whereabouts: Whereabouts,
    pub(super) statuses: watch::Sender<Statuses>,
    pub(super) metrics: BgpMetrics,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, Local)>> + Send>>;

pub(super) struct Peer {
    session: Session,
    orders: watch::Receiver<Order>,
    ends: bool,
    /// Whether it waits for what another process makes of it.
    stands_still: bool,
    beside: Beside,
    /// Until when BFD comes first, see [`found_within`].
    bfd_first: Option<Instant>,
    whereabouts: Whereabouts,
    /// The router of the connection, where it was found by an interface.
    router: Option<Router>,
    connecting: Option<Connecting>,
    attempts: Attempts,
    stream: Option<TcpStream>,
    local: Option<IpAddr>,
    to_write: Vec<u8>,
    statuses: watch::Sender<Statuses>,
    why: String,
    held_back: Vec<String>,
    /// When to look for a next hop, where one is missing or may be gone.
    look_at: Option<Instant>,
    metrics: BgpMetrics,
    labels: PeerLabels,
}

/// What has happened.
enum News {
    Ordered,
    /// Nobody is there any more who would give orders.
    Abandoned,
    Connected(io::Result<(TcpStream, Local)>),
    /// Something can be read or written.
    Ready,
    /// BFD may have something to say.
    Beside,
    /// The router may have been found or lost.
    Whereabouts,
    Due,
}

impl Peer {
    pub(super) fn new(
        Peering { config, routes }: Peering,
        orders: watch::Receiver<Order>,
        past: Past,
        surroundings: Surroundings,
    ) -> Self {
        let mut session = Session::new((*config).clone(), past, rand::random());
        let now = Instant::now();
        session.handle(Input::Routes(routes), now);
        session.handle(Input::RoutesComplete, now);
        session.handle(Input::Start, now);
        let bfd_first = match past {
            Past::Restarted if now - surroundings.began < FOLLOWS => {
                config.bfd.map(|profile| now + found_within(&profile))
            }
            Past::Restarted | Past::Fresh | Past::Connected => None,
        };
        Self { bfd_first, ..Self::with(session, orders, surroundings) }
    }

    /// Goes on with the session of another process.
    pub(super) fn resume(
        Resumed { session, stream, unsent, router }: Resumed,
        orders: watch::Receiver<Order>,
        surroundings: Surroundings,
    ) -> Self {
        let local = stream.local_addr().ok().map(|it| it.ip());
        let why = "taken over from the speaker before".to_owned();
        let new = Self::with(session, orders, surroundings);
        Self { stream: Some(stream), local, to_write: unsent, router, why, ..new }
    }

    fn with(
        session: Session,
        mut orders: watch::Receiver<Order>,
        Surroundings { began: _, mut beside, whereabouts, statuses, metrics }: Surroundings,
    ) -> Self {
        orders.mark_unchanged();
        let labels = PeerLabels::of(&session);
        beside.follow(session.config(), router(&whereabouts));
        Self {
            session,
            orders,
            ends: false,
            stands_still: false,
            beside,
            bfd_first: None,
            whereabouts,
            router: None,
            connecting: None,
            attempts: Attempts::default(),
            stream: None,
            local: None,
            to_write: Vec::new(),
            statuses,
            why: String::new(),
            held_back: vec![],
            look_at: None,
            metrics,
            labels,
        }
    }

    /// Until it is told to end.
    pub(super) async fn run(mut self) {
        let mut buffer = vec![0; READ];
        loop {
            self.follow();
            self.tell();
            if self.ends && self.session.state() == State::Idle {
                break;
            }
            match self.next().await {
                News::Ordered if matches!(*self.orders.borrow(), Order::Vanish) => break,
                News::Ordered => self.obey(),
                News::Abandoned => break,
                News::Connected(Ok((stream, local))) => {
                    self.stream = Some(stream);
                    self.local = Some(local.address);
                    self.session.handle(Input::Connected(local), Instant::now());
                }
                News::Connected(Err(error)) => {
                    let peer = PeerAddress::of(self.session.config());
                    debug!(peer = %self.session.config().name, address = %peer, %error, "no BGP connection");
                    self.session.handle(Input::Disconnected, Instant::now());
                }
                News::Beside => {
                    let now = Instant::now();
                    if self.beside.has_failed() {
                        self.session.handle(Input::BfdDown, now);
                    }
                    if self.beside.has_come_up() {
                        self.session.handle(Input::Reachable, now);
                    }
                }
                News::Whereabouts => self.look(),
                News::Ready => {
                    self.exchange(&mut buffer);
                    // A router that sends without a pause would keep this task running, and all others waiting.
                    tokio::task::yield_now().await;
                }
                News::Due => self.due(Instant::now()),
            }
        }
        self.statuses.send_modify(|statuses| {
            statuses.remove(&self.session.config().name);
        });
        self.metrics.forget(&self.labels);
    }

    /// Orders come first, and what can be read comes before anybody is held to be silent.
    async fn next(&mut self) -> News {
        if self.stands_still {
            return match self.orders.changed().await {
                Ok(()) => News::Ordered,
                Err(_) => News::Abandoned,
            };
        }
        let due = self.session.poll_timeout().into_iter().chain(self.look_at).min();
        let interest = if self.to_write.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let stream = self.stream.as_ref();
        let ready = async {
            match stream {
                Some(stream) => drop(stream.ready(interest).await),
                None => std::future::pending().await,
            }
        };
        let connecting = async {
            match &mut self.connecting {
                Some(connecting) => connecting.await,
                None => std::future::pending().await,
            }
        };
        let news = tokio::select! {
            biased;
            changed = self.orders.changed() => {
                if changed.is_ok() { News::Ordered } else { News::Abandoned }
            }
            () = self.beside.changed() => News::Beside,
            () = self.whereabouts.changed() => News::Whereabouts,
            () = ready => News::Ready,
            result = connecting => News::Connected(result),
            () = kubekit::due(due) => News::Due,
        };
        if let News::Connected(result) = &news {
            self.connecting = None;
            self.attempts.end(result);
        }
        news
    }

    fn obey(&mut self) {
        let order = self.orders.borrow_and_update().clone();
        let now = Instant::now();
        self.stands_still = matches!(order, Order::StandStill(_));
        match order {
            Order::Vanish => {}
            // There is room for one answer of each session.
            Order::StandStill(Answers(answers)) => _ = answers.try_send(self.handed_over(now)),
            Order::End(farewell) => {
                self.ends = true;
                self.session.handle(Input::Stop(farewell), now);
            }
            Order::Hold(Peering { config, routes }) => {
                self.session.handle(Input::Routes(routes), now);
                self.whereabouts.follow(&config);
                self.beside.follow(&config, router(&self.whereabouts));
                if *config != *self.session.config() {
                    self.session.handle(Input::Configure(Box::new((*config).clone())), now);
                    let labels = PeerLabels::of(&self.session);
                    if labels != self.labels {
                        self.metrics.forget(&std::mem::replace(&mut self.labels, labels));
                    }
                }
            }
        }
    }

    /// As what another process can go on with the session, if it can.
    fn handed_over(&self, now: Instant) -> Option<(SessionForm, OwnedFd)> {
        let socket = self.stream.as_ref()?.as_fd().try_clone_to_owned().ok()?;
        let session = self.session.snapshot(now).filter(|_| !self.ends)?;
        Some((SessionForm { session, unsent: self.to_write.clone() }, socket))
    }

    /// Does what the session wants done, and makes UPDATEs as long as there is room for them.
    fn follow(&mut self) {
        loop {
            while let Some(output) = self.session.poll_output() {
                match output {
                    Output::Connect => self.connect(),
                    Output::Send(message) => self.to_write.extend(message),
                    Output::Close => self.close(),
                    Output::Changed(transition) => self.changed(&transition),
                }
            }
            if self.to_write.len() >= WAITING {
                return;
            }
            match self.session.poll_update() {
                Some(message) => self.to_write.extend(message),
                // The last of them may have been what the session waited for, to end.
                None if self.session.has_outputs() => {}
                None => return,
            }
        }
    }

    /// Begins to connect, if it is known where to.
    fn connect(&mut self) {
        let config = self.session.config().clone();
        let port = config.port.get();
        self.router = None;
        let to = match (config.transport.peer(), self.whereabouts.now()) {
            (Some(peer), _) => SocketAddr::new(peer, port),
            (None, Some(Ok(router))) => {
                self.router = Some(router);
                SocketAddrV6::new(router.address, port, 0, router.interface.get()).into()
            }
            (None, Some(Err(_)) | None) => {
                return self.session.handle(Input::Disconnected, Instant::now());
            }
        };
        self.attempts.begin(Instant::now());
        let bfd_first = self.bfd_first.map(|until| timeout_at(until.into(), self.beside.up()));
        self.connecting = Some(
            async move {
                if let Some(bfd) = bfd_first {
                    // A router that speaks no BFD is a peer all the same.
                    _ = bfd.await;
                }
                connect(&config, to).await
            }
            .boxed(),
        );
    }

    /// The router behind the interface of this session may be another one.
    fn look(&mut self) {
        let news = self.whereabouts.look();
        let now = Instant::now();
        let found = router(&self.whereabouts);
        if news == discovery::News::Lost || found.is_some() && self.router.is_some() && found != self.router {
            self.session.handle(Input::Disconnected, now);
        }
        if news == discovery::News::Found {
            self.session.handle(Input::Reachable, now);
        }
        let config = self.session.config().clone();
        self.beside.follow(&config, found);
    }

    fn changed(&mut self, transition: &Transition) {
        let (Transition { from, to, why }, config) = (transition, self.session.config());
        let advice = transition.advice(config).map(|advice| format!("; {advice}")).unwrap_or_default();
        self.why = format!("{why}{advice}");
        let (peer, address) = (&config.name, PeerAddress::of(config));
        if *to == State::Established {
            info!(%peer, %address, "BGP session established");
        } else if *from == State::Established {
            warn!(%peer, %address, reason = %self.why, "BGP session ended");
        } else {
            debug!(%peer, %address, %from, %to, reason = %self.why, "BGP session");
        }
    }

    /// Reads what is there, and writes what there is room for.
    fn exchange(&mut self, buffer: &mut [u8]) {
        let Some(stream) = &self.stream else { return };
        let now = Instant::now();
        match stream.try_read(buffer) {
            Ok(0) => return self.session.handle(Input::Disconnected, now),
            Ok(length) => self.session.handle(Input::Received(&buffer[..length]), now),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return self.session.handle(Input::Disconnected, now),
        }
        let waited = self.to_write.len();
        if !self.write() {
            return self.session.handle(Input::Disconnected, now);
        }
        if self.to_write.len() < waited {
            self.session.handle(Input::Written, now);
        }
        if !self.to_write.is_empty() {
            self.session.handle(Input::Blocked, now);
        }
    }

    /// False where the connection is lost.
    fn write(&mut self) -> bool {
        let Some(stream) = &self.stream else { return true };
        while !self.to_write.is_empty() {
            match stream.try_write(&self.to_write) {
                Ok(written) => drop(self.to_write.drain(..written)),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// The kernel sends what was written; what it has no room for is lost, as it would be with a peer that is gone.
    fn close(&mut self) {
        self.write();
        if let Some(stream) = &self.stream {
            let mut buffer = vec![0; READ];
            let read = || stream.try_read(&mut buffer).ok().filter(|length| *length > 0);
            std::iter::from_fn(read).take(LEFT_OVER / READ).for_each(drop);
        }
        self.connecting = None;
        self.attempts.give_up(Instant::now());
        self.stream = None;
        self.router = None;
        self.local = None;
        self.to_write.clear();
    }

    fn due(&mut self, now: Instant) {
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            if let Some(address) = self.local {
                let other = other(address, self.session.borrowed_next_hop());
                self.session.handle(Input::Addresses(Local { address, other }), now);
            }
        }
        self.session.handle(Input::Time, now);
    }

    /// Brings up to date what is held back.
    fn hold_back(&mut self) {
        let held_back = self.session.held_back();
        let is_missing = held_back.iter().any(|(_, why)| *why == HeldBack::NoNextHop);
        let is_looked_for = is_missing || self.session.borrowed_next_hop().is_some();
        self.look_at = is_looked_for.then(|| self.look_at.unwrap_or_else(|| Instant::now() + LOOK));
        let local = self.local.map(|it| it.to_string()).unwrap_or_default();
        let words = |(family, why): (Family, HeldBack)| match why {
            HeldBack::NotExchanged => format!(
                "{family} routes are not announced: the router does not exchange them in this session"
            ),
            HeldBack::NoNextHop => match family {
                Family::V4 => format!(
                    "IPv4 routes are not announced: the router takes no IPv6 next hop for them (RFC 8950), and the interface of {local} has no IPv4 address to be one"
                ),
                Family::V6 => format!(
                    "IPv6 routes are not announced: the interface of {local} has no IPv6 address to be the next hop"
                ),
            },
        };
        let held_back: Vec<String> = held_back.into_iter().map(words).collect();
        if held_back != self.held_back {
            let peer = &self.session.config().name;
            held_back
                .iter()
                .for_each(|reason| warn!(%peer, %reason, "BGP session is of no use for some routes"));
            self.held_back = held_back;
        }
    }

    fn tell(&mut self) {
        self.hold_back();
        let trouble = match self.session.state() {
            State::Connect | State::Active => {
                let unreachable = self.trouble().map(|trouble| trouble.to_string());
                unreachable.or_else(|| self.attempts.trouble(self.session.config()))
            }
            State::Idle | State::OpenSent | State::OpenConfirm | State::Established => None,
        };
        let status = Status {
            state: self.session.state(),
            why: trouble.unwrap_or_else(|| self.why.clone()),
            local: self.local,
            held_back: self.held_back.clone(),
            announced: self.session.rib().announced(),
            address: PeerAddress::of(self.session.config()).to_string(),
            bfd: self.beside.status(),
        };
        // First, so that whoever sees a new status finds it counted.
        self.metrics.show(&self.labels, &self.session);
        let name = &self.session.config().name;
        self.statuses.send_if_modified(|statuses| {
            let is_new = statuses.get(name) != Some(&status);
            if is_new {
                statuses.insert(name.clone(), status);
            }
            is_new
        });
    }

    /// Why the router of this session cannot be connected to.
    fn trouble(&self) -> Option<Trouble> {
        self.whereabouts.now()?.err()
    }
}

/// The router behind the interface, where there is one.
fn router(whereabouts: &Whereabouts) -> Option<Router> {
    whereabouts.now()?.ok()
}
