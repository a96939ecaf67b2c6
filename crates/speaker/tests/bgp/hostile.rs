//! Routers that do what they should not: on loopback, so this needs neither root nor a router.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bgp::config::{Families, HoldTime, SessionConfig, Timers};
use bgp::route::{Attributes, Prefix, Routes};
use bgp::session::{Past, State};
use bgp::wire::header::keepalive;
use bgp::wire::notification::Code;
use bgp::wire::open::{Capabilities, Multiprotocol, Open};
use objects::Family;

use crate::process::{DEADLINE, wait_for};
use crate::received::resident;
use crate::{Speaker, config, routes};

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;
const REFRESH: u8 = 5;
/// Buffers, and what the runtime keeps.
const MOST_BYTES: u64 = 8 << 20;

/// A router that listens on loopback.
struct Router {
    listener: TcpListener,
    config: SessionConfig,
}

impl Router {
    fn new(name: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = SessionConfig {
            name: name.into(),
            port: port.try_into().unwrap(),
            timers: Timers::new(Some(Duration::from_secs(6)), None, Some(Duration::from_secs(1))).unwrap(),
            families: Families::Only(Family::V4),
            ..config(Ipv4Addr::LOCALHOST.into(), None)
        };
        Self { listener, config }
    }

    /// Waits for the connection of the speaker, and for its OPEN.
    fn accept(&self) -> TcpStream {
        let (mut stream, _) = wait_for("a connection", || self.listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(read(&mut stream).unwrap().0, OPEN);
        stream
    }

    /// Waits for a connection, and agrees to all.
    fn establish(&self) -> TcpStream {
        let mut stream = self.accept();
        stream.write_all(&[open(64_513), keepalive()].concat()).unwrap();
        assert_eq!(read(&mut stream).unwrap().0, KEEPALIVE);
        stream
    }
}

/// A router that does nothing but live, and counts the signs of life of the speaker.
struct Well {
    heard: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Well {
    fn start(router: Router) -> Self {
        let (heard, ends): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
        let (count, end) = (Arc::clone(&heard), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut stream = router.establish();
            while !end.load(Ordering::Relaxed) {
                match read(&mut stream) {
                    Some((KEEPALIVE, _)) => {
                        count.fetch_add(1, Ordering::Relaxed);
                        stream.write_all(&keepalive()).unwrap();
                    }
                    Some((UPDATE, _)) => {}
                    other => panic!("the session ends: {other:?}"),
                }
            }
        });
        Self { heard, ends, thread }
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn open(asn: u32) -> Vec<u8> {
    let multiprotocol = Multiprotocol::Said(Some(Families::Only(Family::V4)));
    let capabilities =
        Capabilities { multiprotocol, route_refresh: true, four_octet_asn: true, ..Capabilities::default() };
    let router_id = Ipv4Addr::new(192, 0, 2, 1).try_into().unwrap();
    let hold = HoldTime::from_seconds(90).unwrap();
    Open { asn: asn.try_into().unwrap(), hold, router_id, capabilities }.emit()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16][..], &length, &[kind], body].concat()
}

/// An UPDATE of 4096 octets.
fn long_update() -> Vec<u8> {
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfc, 1, 0x40, 3, 4, 192, 0, 2, 1];
    let length = u8::try_from(attributes.len()).unwrap();
    let mut body = [&[0, 0, 0, length][..], &attributes].concat();
    while body.len() + 5 <= 4077 {
        body.extend([32, 10, 1, 2, 3]);
    }
    message(UPDATE, &body)
}

/// The kind and the body of the next message; `None` once there are no more.
fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 19];
    stream.read_exact(&mut header).ok()?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![0; length - 19];
    stream.read_exact(&mut body).ok()?;
    Some((header[18], body))
}

/// Why the speaker ends a session.
fn notification(stream: &mut TcpStream) -> Option<Code> {
    std::iter::from_fn(|| read(stream))
        .find_map(|(kind, body)| (kind == NOTIFICATION).then(|| Code(body[0], body[1])))
}

#[test]
fn a_router_that_floods_ends_neither_its_own_session_nor_that_of_another() {
    let attributes = Arc::new(Attributes::default());
    let route = |number: u32| {
        (Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 + number).into()), Arc::clone(&attributes))
    };
    let many: Routes = (0..10_000).map(route).collect();
    let unclear = message(UPDATE, &[0, 0, 0, 3, 0x40, 1, 9]);
    let floods = [
        ("UPDATEs", long_update()),
        ("UPDATEs that make no sense", unclear),
        ("signs of life", keepalive()),
        ("requests for everything", message(REFRESH, &[0, 1, 0, 1])),
    ];
    for (what, one) in floods {
        let (well, floods) = (Router::new("well"), Router::new("floods"));
        let mut speaker = Speaker::start(Past::Fresh);
        speaker.hold([well.config.clone(), floods.config.clone()], &many);
        let well = Well::start(well);
        let mut stream = floods.establish();
        speaker.wait_until("both are established", |all| {
            all.values().filter(|it| it.state == State::Established).count() == 2
        });
        let opens = speaker.opens();
        // It reads what it is told, as otherwise it would be the one that is stuck.
        let mut reads = stream.try_clone().unwrap();
        let reader = std::thread::spawn(move || while read(&mut reads).is_some() {});
        let (before, heard, block) = (resident(), well.heard(), one.repeat((1 << 16) / one.len()));
        let (mut sent, began) = (0, Instant::now());
        while well.heard() < heard + 4 {
            assert!(began.elapsed() < DEADLINE, "{what}: nothing is heard any more");
            stream.write_all(&block).unwrap();
            sent += block.len();
        }
        let after = resident();
        println!("{what}: {} MB, {before} bytes before, {after} after", sent >> 20);
        assert!(after < before + MOST_BYTES, "{what}: {before} bytes before, {after} after");
        speaker.wait_until("both are established", |all| {
            all.values().all(|it| it.state == State::Established && it.announced == many.len())
        });
        assert_eq!(speaker.opens(), opens, "{what}: no session has ended");
        stream.shutdown(Shutdown::Both).unwrap();
        reader.join().unwrap();
        well.end();
    }
}

#[test]
fn a_session_comes_up_octet_by_octet() {
    let router = Router::new("slow");
    let mut speaker = Speaker::start(Past::Fresh);
    speaker.hold([router.config.clone()], &routes(&["203.0.113.0/24"], 7));
    let mut stream = router.accept();
    for octet in [open(64_513), keepalive(), long_update(), keepalive()].concat() {
        stream.write_all(&[octet]).unwrap();
    }
    speaker.wait_until("it is established", |all| {
        all.values().all(|it| it.state == State::Established && it.announced == 1)
    });
    assert!(std::iter::from_fn(|| read(&mut stream)).any(|(kind, _)| kind == UPDATE));
}

#[test]
fn a_router_hears_what_is_wrong_even_while_it_goes_on_talking() {
    let junk = vec![0xff_u8; 200_000];
    let mut marker = keepalive();
    marker[5] = 0;
    let with_length = |length: u16| [&[0xff; 16][..], &length.to_be_bytes(), &[UPDATE]].concat();
    let open_with = |body: &[u8]| message(OPEN, body);
    for (what, first, code) in [
        ("a marker that is none", marker, Code(1, 1)),
        ("a length of 18", with_length(18), Code(1, 2)),
        ("a length of 4097", with_length(4097), Code(1, 2)),
        ("a message of no type", message(0, &[]), Code(1, 3)),
        ("another version", open_with(&[3, 0xfc, 1, 0, 90, 192, 0, 2, 1, 0]), Code(2, 1)),
        ("AS 0", open_with(&[4, 0, 0, 0, 90, 192, 0, 2, 1, 0]), Code(2, 2)),
        ("AS 23456 in place of its own", open_with(&[4, 0x5b, 0xa0, 0, 90, 192, 0, 2, 1, 0]), Code(2, 2)),
        ("router ID 0.0.0.0", open_with(&[4, 0xfc, 1, 0, 90, 0, 0, 0, 0, 0]), Code(2, 3)),
        ("a hold time of 2 s", open_with(&[4, 0xfc, 1, 0, 2, 192, 0, 2, 1, 0]), Code(2, 6)),
        ("an UPDATE in place of an OPEN", long_update(), Code(5, 1)),
        (
            "a capability that ends too late",
            open_with(&[4, 0xfc, 1, 0, 90, 192, 0, 2, 1, 4, 2, 2, 65, 9]),
            Code(2, 0),
        ),
    ] {
        let router = Router::new("wrong");
        let mut speaker = Speaker::start(Past::Fresh);
        speaker.hold([router.config.clone()], &routes(&["203.0.113.0/24"], 7));
        let mut stream = router.accept();
        let mut sink = stream.try_clone().unwrap();
        let octets = [&first[..], &junk].concat();
        // It fails once the speaker has closed the connection.
        let writer = std::thread::spawn(move || _ = sink.write_all(&octets));
        assert_eq!(notification(&mut stream), Some(code), "{what}");
        writer.join().unwrap();
        drop(stream);
        speaker.wait_until("it is tried for again", |all| all.values().all(|it| !it.why.is_empty()));
        router.accept();
    }
}

#[test]
fn what_nobody_knows_is_left_out_of_account() {
    let router = Router::new("new");
    let mut speaker = Speaker::start(Past::Fresh);
    speaker.hold([router.config.clone()], &routes(&["203.0.113.0/24"], 7));
    let mut stream = router.accept();
    // Extended messages, role, ADD-PATH for both directions, enhanced route refresh, LLGR, one that nobody has defined; and a
    // restart capability with the N bit.
    let capabilities = [
        &[1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfc, 1, 6, 0, 9, 1, 0, 69, 4, 0, 1, 1, 3, 70, 0][..],
        &[71, 7, 0, 1, 1, 0x80, 0, 0, 60, 250, 3, 1, 2, 3, 64, 6, 0x40, 120, 0, 1, 1, 0x80],
    ]
    .concat();
    let length = u8::try_from(capabilities.len()).unwrap();
    let head = [4, 0xfc, 1, 0, 90, 192, 0, 2, 1, length + 2, 2, length];
    let unknown = [0xc0, 222, 3, 1, 2, 3, 0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1];
    let attributes = u8::try_from(unknown.len()).unwrap();
    let update = [&[0, 0, 0, attributes][..], &unknown, &[24, 198, 51, 100]].concat();
    let begin_of_refresh = message(REFRESH, &[0, 1, 1, 1]);
    let all = [message(OPEN, &[&head[..], &capabilities].concat()), keepalive(), message(UPDATE, &update)];
    stream.write_all(&[all.concat(), begin_of_refresh, keepalive()].concat()).unwrap();
    let mut kinds = std::iter::from_fn(|| read(&mut stream)).map(|(kind, _)| kind);
    assert!(kinds.any(|kind| kind == UPDATE));
    speaker.wait_until("it is established", |all| all.values().all(|it| it.state == State::Established));
}

#[test]
fn what_is_to_be_corrected_is_told_where_the_session_is_looked_for() {
    let says = |answer: &dyn Fn(TcpStream), words: &str| {
        let router = Router::new("router");
        let mut speaker = Speaker::start(Past::Fresh);
        speaker.hold([router.config.clone()], &routes(&["203.0.113.0/24"], 7));
        answer(router.accept());
        speaker.wait_until(words, |all| all.values().any(|it| it.why.contains(words)));
    };
    says(&drop::<TcpStream>, "it may have no neighbor with the address of this node");
    says(
        &|mut stream| {
            stream.write_all(&open(7)).unwrap();
            assert_eq!(notification(&mut stream), Some(Code(2, 2)));
        },
        "the router is in AS 7, and spec.peerASN is 64513",
    );
    says(
        &|mut stream| stream.write_all(&message(NOTIFICATION, &[2, 2, 0xfc, 0])).unwrap(),
        "the router expects this node in another AS than 64512",
    );
    says(
        &|mut stream| stream.write_all(&message(NOTIFICATION, &[6, 5])).unwrap(),
        "the router has no neighbor with the address and the AS of this node",
    );
}

#[test]
fn a_router_that_is_connected_to_and_says_nothing_disturbs_nobody() {
    let (well, silent) = (Router::new("well"), Router::new("silent"));
    let mut speaker = Speaker::start(Past::Fresh);
    let all = [well.config.clone(), silent.config.clone()];
    speaker.hold(all.clone(), &routes(&["203.0.113.0/24"], 7));
    let well = Well::start(well);
    let mut stream = silent.accept();
    stream.write_all(&open(64_513)[..20]).unwrap();
    wait_for("signs of life", || (well.heard() >= 4).then_some(()));
    // Nor does the end of it.
    speaker.hold([all[0].clone()], &routes(&["203.0.113.0/24"], 7));
    assert_eq!(notification(&mut stream), Some(Code(6, 2)));
    let heard = well.heard();
    wait_for("signs of life", || (well.heard() > heard).then_some(()));
    speaker.wait_until("one is left", |all| all.len() == 1);
    well.end();
}
