//! Real tasks on the loopback interface.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gossip::{Absence, Config, Event, Handle, Metrics, News, Preset, Profile, Trouble};
use objects::NodeName;
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// A machine that stalls under load must not fail the tests: they look at what happens, not at how soon.
const PATIENCE: Duration = Duration::from_secs(30);

/// One process: its own runtime, so that it can be killed.
struct Node {
    handle: Handle,
    news: mpsc::Receiver<News>,
    /// What was read of the news and not looked at yet.
    events: VecDeque<Event>,
    registry: Registry,
    runtime: Runtime,
}

fn name(number: u8) -> NodeName {
    format!("node-{number}").into()
}

/// Tests run side by side, each with a network of its own.
fn address(network: u8, number: u8) -> SocketAddr {
    let id = std::process::id().to_be_bytes();
    SocketAddr::from(([127, id[3] | 1, network, number], 7946))
}

fn peers(network: u8, count: u8) -> BTreeMap<NodeName, SocketAddr> {
    (1..=count).map(|number| (name(number), address(network, number))).collect()
}

fn start(network: u8, number: u8, count: u8, key_files: Vec<PathBuf>) -> Node {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut registry = Registry::default();
    let config = Config {
        name: name(number),
        bind: address(network, number),
        preset: Preset::Relaxed,
        key_files,
        profile: Profile::new([number]).unwrap(),
    };
    let metrics = Metrics::default();
    metrics.register(&mut registry);
    let (handle, news) = runtime.block_on(async { gossip::start(config, metrics) }).unwrap();
    handle.set_peers(peers(network, count));
    Node { handle, news, events: VecDeque::new(), registry, runtime }
}

fn start_member(network: u8, number: u8, count: u8, key_files: Vec<PathBuf>) -> Node {
    let node = start(network, number, count, key_files);
    node.handle.take_part();
    node
}

fn start_all(network: u8, count: u8) -> Vec<Node> {
    (1..=count).map(|number| start_member(network, number, count, vec![])).collect()
}

/// Binds to an address as soon as it is free.
fn bind_soon(address: SocketAddr) -> std::net::UdpSocket {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match std::net::UdpSocket::bind(address) {
            Ok(socket) => return socket,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Node {
    /// Waits until exactly these are members, and that is settled.
    fn sees(&self, numbers: &[u8]) {
        let wanted: BTreeSet<_> = numbers.iter().copied().map(name).collect();
        let mut view = self.handle.view();
        let waiting = async {
            let seen = view.wait_for(|view| view.settled && view.members == wanted);
            tokio::time::timeout(PATIENCE, seen).await.map(drop)
        };
        let result = self.runtime.block_on(waiting);
        assert!(result.is_ok(), "wanted {wanted:?}, is {:?}", self.handle.view().borrow());
    }

    /// Waits for an event.
    fn hears(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let (news, events) = (&mut self.news, &mut self.events);
        let waiting = async {
            loop {
                match events.pop_front() {
                    Some(event) if wanted(&event) => return event,
                    Some(_) => {}
                    None => events.extend(news.recv().await.expect("the task goes on").events),
                }
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, waiting).await }).unwrap()
    }

    /// Waits until it says this of its socket.
    fn says(&self, wanted: Option<Trouble>) {
        let mut trouble = self.handle.trouble();
        let said = trouble.wait_for(|trouble| *trouble == wanted);
        let said = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, said).await.is_ok() });
        assert!(said, "wanted {wanted:?}");
    }

    /// Ends it without a word.
    fn kill(self) {
        self.runtime.shutdown_timeout(PATIENCE);
    }

    fn metric(&self, line: &str) -> Option<u64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }
}

#[test]
fn who_is_killed_is_missed_and_one_who_starts_again_is_welcome() {
    let mut nodes = start_all(1, 4);
    nodes.iter().for_each(|node| node.sees(&[1, 2, 3, 4]));
    nodes.pop().unwrap().kill();
    nodes.iter().for_each(|node| node.sees(&[1, 2, 3]));
    let lost = nodes[0].hears(|event| matches!(event, Event::Lost { .. }));
    assert!(
        matches!(lost, Event::Lost { node, confirmed_by } if node == name(4) && !confirmed_by.is_empty())
    );
    assert_eq!(nodes[0].metric("ferrolb_gossip_members_lost_total"), Some(1));
    assert_eq!(nodes[0].metric("ferrolb_gossip_members "), Some(3));

    nodes.push(start_member(1, 4, 4, vec![]));
    nodes.iter().for_each(|node| node.sees(&[1, 2, 3, 4]));
    nodes[0].hears(|event| *event == Event::Returned(name(4)));
}

#[test]
fn a_goodbye_waits_for_those_who_take_over() {
    let mut nodes = start_all(2, 3);
    nodes.iter().for_each(|node| node.sees(&[1, 2, 3]));
    let leaver = nodes.pop().unwrap();
    let handle = leaver.handle.clone();
    let leaving = leaver.runtime.spawn(async move { handle.leave(Absence::Brief).await });
    for node in &mut nodes {
        node.hears(|event| *event == Event::Leaving { node: name(3), absence: Absence::Brief });
        node.sees(&[1, 2]);
    }
    assert!(!leaving.is_finished(), "nobody has confirmed");
    for node in &nodes {
        node.handle.confirm_leave(name(3));
    }
    assert_eq!(leaver.runtime.block_on(leaving).unwrap(), [].into());
}

#[test]
fn profiles_are_told_and_told_again_when_they_change() {
    let nodes = start_all(3, 2);
    nodes.iter().for_each(|node| node.sees(&[1, 2]));
    for profile in [vec![2], vec![7; Profile::MAX]] {
        let profile = Profile::new(profile).unwrap();
        nodes[1].handle.set_profile(profile.clone());
        let mut view = nodes[0].handle.view();
        let seen = async {
            let known = view.wait_for(|view| view.profiles.get(&name(2)) == Some(&profile));
            tokio::time::timeout(PATIENCE, known).await.is_ok()
        };
        assert!(nodes[0].runtime.block_on(seen));
    }
}

#[test]
fn keys_change_under_a_running_task() {
    let directory = tempfile::tempdir().unwrap();
    let file = |number: u8| directory.path().join(number.to_string());
    let write = |number: u8, secret: &str| std::fs::write(file(number), secret).unwrap();
    (1..=2).for_each(|number| write(number, "the first of the secrets"));
    let nodes: Vec<_> = (1..=2).map(|number| start_member(4, number, 2, vec![file(number)])).collect();
    nodes.iter().for_each(|node| node.sees(&[1, 2]));
    write(1, "another of the secrets");
    nodes.iter().zip(1..).for_each(|(node, number)| node.sees(&[number]));
    assert!(nodes[0].metric("ferrolb_gossip_frames_refused_total{reason=\"unknownKey\"}").is_some());
    write(2, "another of the secrets");
    nodes.iter().for_each(|node| node.sees(&[1, 2]));
}

#[test]
fn a_key_file_that_is_no_good_is_said_at_the_start() {
    let config = Config {
        name: name(1),
        bind: address(5, 1),
        preset: Preset::Default,
        key_files: vec!["/no/such/file".into()],
        profile: Profile::default(),
    };
    let error = gossip::start(config, Metrics::default()).unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/file"));
}

#[test]
fn an_address_that_is_taken_is_waited_for() {
    let taken = std::net::UdpSocket::bind(address(6, 1)).unwrap();
    let nodes = start_all(6, 2);
    nodes[1].sees(&[2]);
    drop(taken);
    nodes.iter().for_each(|node| node.sees(&[1, 2]));
}

/// What the API server lists: each where it started.
fn listed(network: u8, count: u8) -> BTreeMap<NodeName, BTreeSet<IpAddr>> {
    (1..=count).map(|number| (name(number), [address(network, number).ip()].into())).collect()
}

#[test]
fn nobody_speaks_for_another_from_elsewhere_but_who_moves_is_heard_at_once() {
    let mut nodes = start_all(10, 3);
    nodes.iter().for_each(|node| node.sees(&[1, 2, 3]));
    nodes.iter().for_each(|node| node.handle.set_addresses(listed(10, 3)));
    // One that holds the secret, which here is none, and has the name of another.
    let attacker = start(10, 98, 3, vec![]);
    let config = Config {
        name: name(1),
        bind: address(10, 97),
        preset: Preset::Relaxed,
        key_files: vec![],
        profile: Profile::new([66]).unwrap(),
    };
    let (impostor, _) =
        attacker.runtime.block_on(async { gossip::start(config, Metrics::default()) }).unwrap();
    impostor.set_peers(peers(10, 3));
    impostor.take_part();
    let from = address(10, 97).ip();
    nodes[1].hears(|event| *event == Event::WrongAddress { node: name(1), from });
    assert!(nodes[1].metric("ferrolb_gossip_frames_refused_total{reason=\"wrongAddress\"}") > Some(0));

    // The one whose name it is moves, and nobody has listed it there yet.
    nodes[0].handle.listen_at(Some(address(10, 99)));
    let _the_former_address = bind_soon(address(10, 1));
    let profile = Profile::new([42]).unwrap();
    nodes[0].handle.set_profile(profile.clone());
    for node in &nodes[1..] {
        let mut view = node.handle.view();
        let known = view.wait_for(|view| view.profiles.get(&name(1)) == Some(&profile));
        assert!(node.runtime.block_on(async { tokio::time::timeout(PATIENCE, known).await.is_ok() }));
        node.sees(&[1, 2, 3]);
        assert_eq!(node.metric("ferrolb_gossip_members_lost_total"), Some(0));
    }
}

#[test]
fn a_member_moves_to_another_address_and_is_missed_by_nobody() {
    let nodes = start_all(8, 2);
    nodes.iter().for_each(|node| node.sees(&[1, 2]));
    nodes[0].handle.listen_at(Some(address(8, 99)));
    let _the_former_address = bind_soon(address(8, 1));
    // As long as the other one does not know, it judges: who is heard no more at the old address must be heard at the new one.
    let profile = Profile::new([42]).unwrap();
    nodes[1].handle.set_profile(profile.clone());
    let mut view = nodes[0].handle.view();
    let told = view.wait_for(|view| view.profiles.get(&name(2)) == Some(&profile));
    nodes[0].runtime.block_on(async {
        tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
    });

    // The list that this one has is out of date; the others know better.
    let late = start_member(8, 3, 3, vec![]);
    nodes[1].handle.set_peers(peers(8, 3));
    nodes.iter().chain([&late]).for_each(|node| node.sees(&[1, 2, 3]));
    nodes.iter().for_each(|node| assert_eq!(node.metric("ferrolb_gossip_members_lost_total"), Some(0)));
}

#[test]
fn who_has_no_address_judges_nobody_and_is_back_at_the_next_one() {
    let mut nodes = start_all(9, 2);
    nodes.iter().for_each(|node| node.sees(&[1, 2]));
    nodes[0].handle.listen_at(None);
    nodes[0].says(Some(Trouble::Unbound));
    nodes[1].sees(&[2]);
    // The other one needs as long to find that as this one would to find the same of the other.
    std::thread::sleep(2 * Preset::Relaxed.timing().verdict());
    nodes[0].sees(&[1, 2]);
    nodes[0].handle.listen_at(Some(address(9, 99)));
    nodes[0].says(None);
    nodes[0].hears(|event| *event == Event::PresumedDead);
    nodes[1].hears(|event| *event == Event::Returned(name(1)));
    nodes.iter().for_each(|node| node.sees(&[1, 2]));
    assert_eq!(nodes[0].metric("ferrolb_gossip_members_lost_total"), Some(0));
}

#[test]
fn an_observer_sees_all_and_is_told_who_found_a_death() {
    let mut nodes = start_all(7, 3);
    nodes.iter().for_each(|node| node.sees(&[1, 2, 3]));
    let mut observer = start(7, 9, 3, vec![]);
    observer.sees(&[1, 2, 3]);
    nodes.pop().unwrap().kill();
    let start = Instant::now();
    let both = [1, 2].map(name).into();
    observer.hears(|event| match event {
        Event::Lost { node, confirmed_by } | Event::Confirmed { node, confirmed_by } => {
            *node == name(3) && *confirmed_by == both
        }
        _ => false,
    });
    println!("confirmed by both after {:?}", start.elapsed());
    nodes.iter().for_each(|node| node.sees(&[1, 2]));
}
