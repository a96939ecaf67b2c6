use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use gossip::{Key, Keys};
use tokio::net::UnixStream;

use super::channel::Channel;
use super::message::{Message, VERSION};
use super::*;

fn keys(seed: &[u8]) -> Keys {
    seed.iter().map(|&seed| Key::new(&[seed; 32]).unwrap()).collect()
}

fn pair() -> [Channel; 2] {
    let (a, b) = UnixStream::pair().unwrap();
    [a, b].map(|it| Channel::with_same_user(it).unwrap())
}

async fn met(old: &[u8], new: &[u8]) -> [anyhow::Result<Channel>; 2] {
    let (a, b) = UnixStream::pair().unwrap();
    let (old, new) = (keys(old), keys(new));
    let both = tokio::join!(Channel::with_successor(a, &old), Channel::with_predecessor(b, &new));
    both.into()
}

#[tokio::test]
async fn ends_that_have_a_key_in_common_know_each_other() {
    for (old, new) in [(&[1][..], &[1][..]), (&[1, 2], &[2]), (&[2], &[3, 2])] {
        assert!(met(old, new).await.iter().all(Result::is_ok), "{old:?} {new:?}");
    }
    for (old, new) in [(&[1][..], &[2][..]), (&[], &[]), (&[1], &[]), (&[], &[1])] {
        assert!(met(old, new).await.iter().all(Result::is_err), "{old:?} {new:?}");
    }
}

#[tokio::test]
async fn who_says_back_what_it_was_told_proves_nothing() {
    let (a, b) = UnixStream::pair().unwrap();
    let all = keys(&[1]);
    let liar = async {
        let mut liar = Channel::with_same_user(b).unwrap();
        let Message::Hello { challenge, .. } = liar.receive().await.unwrap().0 else { panic!() };
        // As the speaker before would say it.
        let proofs = vec![all[0].prove("the speaker before", &[challenge, challenge].concat())];
        let answer = Message::Answer { version: VERSION, challenge, proofs };
        liar.send(&answer, None).await.unwrap();
        liar.receive().await.is_err()
    };
    let (old, is_refused) = tokio::join!(Channel::with_successor(a, &all), liar);
    assert!(old.is_err() && is_refused);
}

#[tokio::test]
async fn another_version_parts_at_once() {
    let (a, b) = UnixStream::pair().unwrap();
    let hello = Message::Hello { version: VERSION + 1, challenge: [0; 32] };
    let mut other = Channel::with_same_user(a).unwrap();
    other.send(&hello, None).await.unwrap();
    let error = Channel::with_predecessor(b, &keys(&[1])).await.unwrap_err();
    assert!(error.to_string().contains("speaks version 2"), "{error}");
}

#[tokio::test]
async fn a_descriptor_goes_along_with_a_message() {
    let [mut a, mut b] = pair();
    let (mut reads, writes) = io::pipe().unwrap();
    let writes = OwnedFd::from(writes);
    // More than the kernel has room for.
    let proofs = vec![keys(&[1])[0].prove("", b""); 20_000];
    let send = async {
        a.send(&Message::Welcome { proofs }, Some(writes.as_fd())).await.unwrap();
        a.send(&Message::Complete, None).await.unwrap();
    };
    let receive = async { (b.receive().await.unwrap(), b.receive().await.unwrap()) };
    let ((), (first, second)) = tokio::join!(send, receive);
    assert!(matches!(second, (Message::Complete, None)));
    let (Message::Welcome { proofs }, Some(descriptor)) = first else { panic!() };
    assert_eq!(proofs.len(), 20_000);
    drop(writes);
    std::fs::File::from(descriptor).write_all(b"through").unwrap();
    let mut text = String::new();
    reads.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

/// What an end does that is told this, and then no more.
fn told(octets: &[u8]) -> [bool; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // The other end stays open, so that there is somebody to speak to.
        let [(old, _a), (new, _b)] = [(); 2].map(|()| {
            let (a, b) = UnixStream::pair().unwrap();
            let mut a = a.into_std().unwrap();
            a.write_all(octets).unwrap();
            a.shutdown(Shutdown::Write).unwrap();
            (b, a)
        });
        let all = keys(&[1]);
        let old = Channel::with_successor(old, &all).await.is_ok();
        [old, Channel::with_predecessor(new, &all).await.is_ok()]
    })
}

#[test]
fn nonsense_is_refused_at_once() {
    let long = [&u32::MAX.to_be_bytes()[..], &[b'{'; 100]].concat();
    let text = |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    let numbers = ["0"; 32].join(",");
    for octets in [
        vec![],
        vec![0, 0],
        vec![0; 4],
        long,
        text("{}"),
        text("\"Go\""),
        text("\"Ready\""),
        text("{\"Welcome\":{\"proofs\":[]}}"),
        text(&format!("{{\"Hello\":{{\"version\":1,\"challenge\":[{numbers}]}}}}")),
        text(&format!("{{\"Answer\":{{\"version\":1,\"challenge\":[{numbers}],\"proofs\":[[{numbers}]]}}}}")),
        text("[[[[[[["),
        (0..=255).collect(),
    ] {
        let began = Instant::now();
        assert_eq!(told(&octets), [false; 2], "{octets:?}");
        assert!(began.elapsed() < ACQUAINTED_WITHIN, "{octets:?}: {:?}", began.elapsed());
    }
}

async fn given(messages: Vec<(Message, Option<OwnedFd>)>) -> bool {
    let [mut a, b] = pair();
    let give = async move {
        let ends_at_once = messages.is_empty();
        for (message, descriptor) in messages {
            _ = a.send(&message, descriptor.as_ref().map(AsFd::as_fd)).await;
        }
        if !ends_at_once {
            _ = a.receive().await;
        }
    };
    let (given, ()) = tokio::join!(Predecessor::on(b).sessions(), give);
    given.is_some()
}

fn session(peer: &str) -> Message {
    let text = include_str!("tests/session.json").replace("127.0.0.1", peer);
    Message::Bgp(serde_json::from_str(&text).unwrap())
}

/// Both ends of a connection.
fn connection() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near.into(), listener.accept().unwrap().0)
}

#[tokio::test]
async fn what_does_not_belong_together_is_not_gone_on_with() {
    let end = || [(Message::Complete, None), (Message::Go, None)];
    let some = |first: Vec<(Message, Option<OwnedFd>)>| first.into_iter().chain(end()).collect::<Vec<_>>();
    let (near, _far) = connection();
    assert!(given(some(vec![(session("127.0.0.1"), Some(near))])).await);
    assert!(given(some(vec![])).await, "no session at all");
    let (near, _far) = connection();
    assert!(!given(some(vec![(session("127.0.0.2"), Some(near))])).await, "somebody else's connection");
    assert!(!given(some(vec![(session("127.0.0.1"), None)])).await, "no connection");
    let (_, writes) = io::pipe().unwrap();
    assert!(!given(some(vec![(session("127.0.0.1"), Some(writes.into()))])).await, "no connection");
    let (near, _far) = connection();
    assert!(!given(some(vec![(Message::Started, Some(near))])).await, "out of turn");
    assert!(!given(some(vec![(Message::Go, None)])).await, "out of turn");
    let (near, _far) = connection();
    let not_all = vec![(session("127.0.0.1"), Some(near)), (Message::Complete, None), (Message::Ready, None)];
    assert!(!given(not_all).await, "it is not said that it is ours");
    assert!(!given(vec![]).await);
}

#[test]
fn installations_on_one_node_do_not_meet() {
    let name = |namespace, node: &str, class| Meeting::new(namespace, &node.into(), class, vec![]).name;
    let all = [
        name("a", "n", None),
        name("b", "n", None),
        name("a", "m", None),
        name("a", "n", Some("c")),
        name(&"x".repeat(63), &"y".repeat(253), Some("z")),
    ];
    assert_eq!(std::collections::BTreeSet::from(all.clone()).len(), all.len());
    assert!(all.iter().all(|name| SocketAddr::from_abstract_name(name).is_ok()));
}
