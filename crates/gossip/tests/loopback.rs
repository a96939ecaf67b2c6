//! Some members on one machine, each at an address of the loopback interface.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use gossip::{Config, Event, Handle, Metrics, Preset, Profile, Role, View};
use objects::NodeName;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What takes a moment may take this long on a machine that does other things besides.
const SOON: Duration = Duration::from_secs(20);

/// Where members listen: each at an address of its own, with one port that is free on all of them.
struct Network {
    port: u16,
}

impl Network {
    fn new() -> Self {
        let free = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        Self { port: free.local_addr().unwrap().port() }
    }

    fn address(&self, number: u8) -> SocketAddr {
        SocketAddr::new(IpAddr::from([127, 0, 7, number]), self.port)
    }

    fn start(&self, number: u8, role: Role, key_files: Vec<PathBuf>) -> Member {
        let config = Config {
            name: name(number),
            bind: self.address(number),
            role,
            preset: Preset::Default,
            key_files,
            profile: Profile::new([number]).unwrap(),
        };
        let (handle, events) = gossip::start(config, Metrics::default()).unwrap();
        Member { handle, events }
    }

    async fn introduce(&self, members: &[&Member], numbers: &[u8]) {
        let peers: BTreeMap<_, _> = numbers.iter().map(|n| (name(*n), self.address(*n))).collect();
        for member in members {
            member.handle.set_peers(peers.clone()).await;
        }
    }
}

fn name(number: u8) -> NodeName {
    format!("n{number}").into()
}

fn names(numbers: &[u8]) -> BTreeSet<NodeName> {
    numbers.iter().map(|number| name(*number)).collect()
}

struct Member {
    handle: Handle,
    events: mpsc::Receiver<Event>,
}

impl Member {
    async fn sees(&self, numbers: &[u8]) {
        let (mut view, expected) = (self.handle.view(), names(numbers));
        let right = |view: &std::sync::Arc<View>| view.settled && view.members == expected;
        let seen = timeout(SOON, view.wait_for(right)).await.is_ok();
        assert!(seen, "not {expected:?} but {:?}", self.handle.view().borrow());
    }

    async fn hears(&mut self, what: impl Fn(&Event) -> bool) -> Event {
        let heard = async {
            loop {
                let event = self.events.recv().await.expect("the task goes on");
                if what(&event) {
                    return event;
                }
            }
        };
        timeout(SOON, heard).await.expect("the event comes")
    }
}

#[tokio::test]
async fn members_find_each_other_and_notice_who_goes_with_and_without_a_word() {
    let network = Network::new();
    let [one, two, mut three] = [1, 2, 3].map(|number| network.start(number, Role::Speaker, vec![]));
    let mut observer = network.start(9, Role::Observer, vec![]);
    network.introduce(&[&one, &two, &three, &observer], &[1, 2, 3]).await;
    for member in [&one, &two, &three, &observer] {
        member.sees(&[1, 2, 3]).await;
    }
    assert_eq!(three.handle.view().borrow().profiles[&name(1)].as_bytes(), [1]);

    let leave = async { timeout(SOON, two.handle.leave()).await.expect("the goodbye ends") };
    let confirm = async {
        three.hears(|event| *event == Event::Leaving(name(2))).await;
        three.handle.confirm_leave(name(2)).await;
    };
    let confirm_too = async {
        one.sees(&[1, 3]).await;
        one.handle.confirm_leave(name(2)).await;
    };
    let (unconfirmed, (), ()) = tokio::join!(leave, confirm, confirm_too);
    assert!(unconfirmed.is_empty(), "{unconfirmed:?} did not confirm");
    three.sees(&[1, 3]).await;

    drop(one);
    three.sees(&[3]).await;
    observer.sees(&[3]).await;
    let lost = observer.hears(|event| matches!(event, Event::Lost { .. } | Event::Confirmed { .. })).await;
    assert!(matches!(lost, Event::Lost { node, .. } if node == name(1)));

    let one = network.start(1, Role::Speaker, vec![]);
    network.introduce(&[&one, &three], &[1, 3]).await;
    one.sees(&[1, 3]).await;
    three.sees(&[1, 3]).await;
}

#[tokio::test]
async fn keys_are_rotated_while_members_go_on_and_who_has_none_stays_outside() {
    let network = Network::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |file: &str| folder.path().join(file);
    fs::write(path("first"), [1; 32]).unwrap();
    let files = || vec![path("new"), path("first")];
    let mut one = network.start(1, Role::Speaker, files());
    let two = network.start(2, Role::Speaker, files());
    let outsider = network.start(3, Role::Speaker, vec![]);
    network.introduce(&[&one, &two, &outsider], &[1, 2, 3]).await;
    one.sees(&[1, 2]).await;
    two.sees(&[1, 2]).await;
    outsider.sees(&[3]).await;

    fs::write(path("new"), [2; 32]).unwrap();
    // Once both have read it, the first may go.
    tokio::time::sleep(Duration::from_secs(5)).await;
    fs::remove_file(path("first")).unwrap();
    let third = network.start(4, Role::Speaker, vec![path("new")]);
    network.introduce(&[&one, &two, &third], &[1, 2, 4]).await;
    for member in [&one, &two, &third] {
        member.sees(&[1, 2, 4]).await;
    }
    while let Ok(event) = one.events.try_recv() {
        assert!(!matches!(event, Event::Lost { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_no_good_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    fs::write(&short, "secret").unwrap();
    for files in [vec![short], vec![folder.path().join("missing")]] {
        let config = Config {
            name: name(1),
            bind: ([127, 0, 0, 1], 0).into(),
            role: Role::Speaker,
            preset: Preset::Default,
            key_files: files.clone(),
            profile: Profile::default(),
        };
        let error = gossip::start(config, Metrics::default()).err().expect("it is refused");
        assert!(format!("{error:#}").contains(&files[0].display().to_string()), "{error:#}");
    }
}
