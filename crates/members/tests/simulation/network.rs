//! Members over a network in virtual time: loss, delay, partitions, stalls, power-off. Seeded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use members::{BootId, Config, Event, Key, Keys, LinkState, Members, Preset, Profile};
use objects::NodeName;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn name(number: usize) -> NodeName {
    format!("node-{number}").into()
}

/// What the network does to frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Of a hundred frames, so many are lost.
    pub(crate) loss_percent: f64,
    /// Each frame takes this long,
    pub(crate) delay: Duration,
    /// and up to this much more.
    pub(crate) jitter: Duration,
}

impl Weather {
    pub(crate) const FINE: Self =
        Self { loss_percent: 0.0, delay: Duration::from_micros(200), jitter: Duration::from_micros(300) };
    /// What the goals name.
    pub(crate) const BAD: Self =
        Self { loss_percent: 2.0, delay: Duration::from_micros(200), jitter: Duration::from_millis(20) };
}

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It is listed, and takes part as soon as it is settled.
    Speaker,
    /// It is listed, but does not know enough yet.
    Beginner,
    /// It only wants to know.
    Controller,
}

/// One process, or the place where one was.
pub(crate) struct Node {
    members: Option<Members>,
    pub(crate) address: SocketAddr,
    /// How often one was started here, which also orders the starts.
    boots: u64,
    pub(crate) part: Part,
    /// Whether nobody hears it, though it hears them.
    pub(crate) unheard: bool,
    /// What arrived while it stood still.
    inbox: Vec<(SocketAddr, Vec<u8>)>,
    stalled: bool,
    /// When it is to be polled next, as far as that is in the queue.
    polled_at: Option<Duration>,
    pub(crate) sent: u64,
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl Node {
    /// The clock of this node jumps, so that the next start seems to come before or after others.
    pub(crate) fn set_boots(&mut self, boots: u64) {
        self.boots = boots;
    }
}

enum Step {
    Poll(usize),
    Deliver { to: usize, from: SocketAddr, frame: Vec<u8> },
    Resume(usize),
    Confirm { by: usize, leaver: NodeName },
}

struct Entry(Duration, u64, Step);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub(crate) struct Network {
    start: Instant,
    now: Duration,
    random: StdRng,
    preset: Preset,
    pub(crate) keys: Keys,
    pub(crate) weather: Weather,
    pub(crate) nodes: Vec<Node>,
    /// Places that belong to another node by now.
    moved: BTreeMap<usize, usize>,
    /// Frames pass between nodes on the same side only.
    sides: Vec<u8>,
    /// A path by which nothing arrives: from whom, and to whom.
    pub(crate) lost_path: Option<(usize, usize)>,
    queue: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    /// What happened, when, according to whom.
    pub(crate) events: Vec<(Duration, usize, Event)>,
    /// How long a member takes until it confirms a goodbye; `None`: it never does.
    pub(crate) confirm_after: Option<Duration>,
    /// Every frame that was sent, if wanted.
    pub(crate) record: Option<Vec<(usize, SocketAddr, Vec<u8>)>>,
}

impl Network {
    /// Of `count` nodes that are all running and know of each other from the start.
    pub(crate) fn new(count: usize, preset: Preset, weather: Weather, seed: u64) -> Self {
        let mut network = Self::empty(count, preset, weather, seed);
        for number in 0..count {
            network.boot(number);
        }
        network
    }

    /// Of places for `count` nodes, of which none runs.
    pub(crate) fn empty(count: usize, preset: Preset, weather: Weather, seed: u64) -> Self {
        let mut network = Self {
            start: Instant::now(),
            now: Duration::ZERO,
            random: StdRng::seed_from_u64(seed),
            preset,
            keys: vec![Key::new(b"a secret of the simulation").expect("long enough")],
            weather,
            nodes: Vec::new(),
            moved: BTreeMap::new(),
            sides: Vec::new(),
            lost_path: None,
            queue: BinaryHeap::new(),
            sequence: 0,
            events: Vec::new(),
            confirm_after: Some(ms(5)),
            record: None,
        };
        for _ in 0..count {
            network.add(Part::Speaker);
        }
        network
    }

    /// One more place; its number.
    pub(crate) fn add(&mut self, part: Part) -> usize {
        let number = self.nodes.len();
        let [high, low] = u16::try_from(number).expect("not so many").to_be_bytes();
        let address = SocketAddr::from(([10, 0, high, low], 7946));
        self.nodes.push(Node {
            members: None,
            address,
            boots: 0,
            part,
            unheard: false,
            inbox: Vec::new(),
            stalled: false,
            polled_at: None,
            sent: 0,
            refused: BTreeMap::new(),
        });
        self.sides.push(0);
        number
    }

    /// Starts a new process on a node and tells it of all speakers.
    pub(crate) fn boot(&mut self, number: usize) {
        let seed = self.random.random();
        let boot = BootId(self.random.random());
        let node = &mut self.nodes[number];
        node.boots += 1;
        let config = Config {
            name: name(number),
            address: node.address,
            boot,
            // Time passes from one start to the next.
            generation: 1000 * node.boots,
            preset: self.preset,
            keys: self.keys.clone(),
            profile: Profile::new(format!("profile of {number}").into_bytes()).expect("short"),
        };
        let now = self.start + self.now;
        node.members = Some(Members::new(config, seed, now));
        node.stalled = false;
        node.inbox.clear();
        let peers = self.nodes.iter().enumerate().filter(|(_, node)| node.part != Part::Controller);
        let peers = peers.map(|(number, node)| (name(number), node.address)).collect();
        self.with(number, |members, now| members.set_peers(peers, now));
    }

    /// Power goes out.
    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].members = None;
    }

    /// The process stands still for `time`.
    pub(crate) fn stall(&mut self, number: usize, time: Duration) {
        self.nodes[number].stalled = true;
        self.push(self.now + time, Step::Resume(number));
    }

    /// Puts nodes on a side; those of other sides cannot be reached.
    pub(crate) fn move_to(&mut self, numbers: impl IntoIterator<Item = usize>, side: u8) {
        numbers.into_iter().for_each(|number| self.sides[number] = side);
    }

    pub(crate) fn set_link(&mut self, number: usize, state: LinkState) {
        self.with(number, |members, now| members.set_link(state, now));
    }

    pub(crate) fn members(&self, number: usize) -> &Members {
        self.nodes[number].members.as_ref().expect("it runs")
    }

    /// The numbers of those that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|number| self.nodes[*number].members.is_some()).collect()
    }

    /// Whether everybody who runs sees exactly the speakers who run.
    pub(crate) fn agrees(&self) -> bool {
        let speakers = self.running().into_iter().filter(|number| self.nodes[*number].part == Part::Speaker);
        let speakers: BTreeSet<_> = speakers.map(name).collect();
        self.running().into_iter().all(|number| *self.members(number).members() == speakers)
    }

    /// What time it is.
    pub(crate) fn time(&self) -> Instant {
        self.start + self.now
    }

    /// Gives a node another address; where it is then.
    pub(crate) fn move_node(&mut self, number: usize) -> SocketAddr {
        let to = self.add(Part::Speaker);
        self.moved.insert(to, number);
        self.nodes[number].address = self.nodes[to].address;
        self.nodes[to].address
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse(entry)) = self.queue.peek()
            && entry.0 <= end
        {
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until `done`, asked once in a millisecond; how long that took, or `None` if it took longer
    /// than `limit`.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while !done(self) {
            if self.now > start + limit {
                return None;
            }
            self.run(ms(1));
        }
        Some(self.now.saturating_sub(start))
    }

    /// Calls something of a member, and does what it wants then.
    pub(crate) fn with<T>(
        &mut self,
        number: usize,
        call: impl FnOnce(&mut Members, Instant) -> T,
    ) -> Option<T> {
        let now = self.start + self.now;
        let node = &mut self.nodes[number];
        let members = node.members.as_mut()?;
        let result = call(members, now);
        if node.part == Part::Speaker && members.settled() {
            members.take_part(now);
        }
        let mut out = Vec::new();
        while let Some(transmit) = members.poll_transmit() {
            assert!(transmit.frame.len() <= Members::MAX_FRAME);
            node.sent += 1;
            out.push(transmit);
        }
        let mut confirm = Vec::new();
        while let Some(event) = members.poll_event() {
            if let (Event::Leaving { node: leaver, .. }, Some(after)) = (&event, self.confirm_after) {
                confirm.push((self.now + after, Step::Confirm { by: number, leaver: leaver.clone() }));
            }
            self.events.push((self.now, number, event));
        }
        // A departed process is gone.
        let timeout = members.poll_timeout().map(|at| at - self.start);
        let departed = timeout.is_none();
        let from = node.address;
        if !node.stalled
            && let Some(at) = timeout
            && node.polled_at.is_none_or(|polled_at| at < polled_at)
        {
            node.polled_at = Some(at);
            self.push(at, Step::Poll(number));
        }
        if departed {
            self.kill(number);
        }
        confirm.into_iter().for_each(|(at, step)| self.push(at, step));
        for transmit in out {
            if let Some(record) = &mut self.record {
                record.push((number, transmit.to, transmit.frame.clone()));
            }
            self.transmit(number, from, transmit.to, transmit.frame);
        }
        Some(result)
    }

    /// Brings a frame to where it should go, if the weather lets it.
    pub(crate) fn transmit(&mut self, number: usize, from: SocketAddr, to: SocketAddr, frame: Vec<u8>) {
        let std::net::IpAddr::V4(ip) = to.ip() else { return };
        let [_, _, high, low] = ip.octets();
        let to = usize::from(u16::from_be_bytes([high, low]));
        let to = self.moved.get(&to).copied().unwrap_or(to);
        if to >= self.nodes.len()
            || self.sides[number] != self.sides[to]
            || self.nodes[number].unheard
            || self.lost_path == Some((number, to))
            || self.random.random_range(0.0..100.0) < self.weather.loss_percent
        {
            return;
        }
        let jitter = self.random.random_range(Duration::ZERO..=self.weather.jitter);
        let at = self.now + self.weather.delay + jitter;
        self.push(at, Step::Deliver { to, from, frame });
    }

    fn push(&mut self, at: Duration, step: Step) {
        self.sequence += 1;
        self.queue.push(Reverse(Entry(at, self.sequence, step)));
    }

    fn step(&mut self) {
        let Some(Reverse(Entry(at, _, step))) = self.queue.pop() else { return };
        self.now = at;
        match step {
            Step::Poll(number) => {
                let node = &mut self.nodes[number];
                if node.polled_at == Some(at) {
                    node.polled_at = None;
                }
                if !node.stalled {
                    let due = self.start + at;
                    self.with(number, |members, now| {
                        if members.poll_timeout().is_some_and(|timeout| timeout <= due) {
                            members.poll(now);
                        }
                    });
                }
            }
            Step::Deliver { to, from, frame } => {
                let node = &mut self.nodes[to];
                if node.stalled {
                    node.inbox.push((from, frame));
                } else {
                    self.deliver(to, from, &frame);
                }
            }
            Step::Resume(number) => {
                self.nodes[number].stalled = false;
                self.nodes[number].polled_at = None;
                for (from, frame) in std::mem::take(&mut self.nodes[number].inbox) {
                    self.deliver(number, from, &frame);
                }
                self.with(number, Members::poll);
            }
            Step::Confirm { by, leaver } => {
                self.with(by, |members, _| members.confirm_leave(&leaver));
            }
        }
    }

    fn deliver(&mut self, to: usize, from: SocketAddr, frame: &[u8]) {
        if let Some(Err(refusal)) = self.with(to, |members, now| members.handle(from, frame, now)) {
            *self.nodes[to].refused.entry(refusal.as_str()).or_default() += 1;
        }
    }
}
