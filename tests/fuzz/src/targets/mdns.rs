//! What anybody may send to an interface with a name, and what tenants may ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use mdns::{Destination, Effect, Message, Name, Packet, Record, Responder, Wanted};

use super::structured;

/// What happens next.
#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// A message comes, from this port.
    Message(&'a [u8], u16),
    /// A question or an answer about our name, with these flags, class, time to live and address.
    About { flags: u16, class: u16, kind: u8, ttl: u8, last: u8 },
    /// So many milliseconds pass.
    Time(u16),
    /// The addresses are announced here, or elsewhere, or there are none any more.
    Want { known: bool, here: bool },
    /// Somebody asks for this name.
    Name(&'a str),
}

const VIP: [u8; 4] = [192, 0, 2, 10];

/// No message makes it panic, go round for ever, or say more than it may.
pub fn play(bytes: &[u8]) {
    let Some(steps) = structured::<Vec<Step<'_>>>(bytes) else { return };
    let web = Name::of_label("web").expect("a label");
    let mut now = Instant::now();
    let mut responder = Responder::new(1, now);
    let mut told = BTreeMap::new();
    for step in steps {
        let most = match step {
            Step::Message(bytes, port) => {
                let from =
                    SocketAddr::new([192, 0, 2, 77].into(), if port % 2 == 0 { mdns::PORT } else { port });
                _ = responder.handle(Packet { bytes, from }, now);
                3
            }
            Step::About { flags, class, kind, ttl, last } => {
                let bytes = about(flags, class, kind, ttl, last);
                let from = SocketAddr::new([192, 0, 2, 77].into(), mdns::PORT);
                _ = responder.handle(Packet { bytes: &bytes, from }, now);
                3
            }
            Step::Time(millis) => {
                now += Duration::from_millis(millis.into());
                3
            }
            Step::Want { known, here } => {
                let names = || BTreeMap::from([(web.clone(), BTreeSet::from([IpAddr::from(VIP)]))]);
                let known = if known { names() } else { BTreeMap::new() };
                let here = if here { names() } else { BTreeMap::new() };
                responder.set_wanted(&Wanted { known: Arc::new(known), here }, now);
                3
            }
            Step::Name(text) => {
                if let Ok(name) = Name::of_label(text) {
                    assert_eq!(Name::of_label(name.as_str()), Ok(name));
                }
                0
            }
        };
        let mut sent = 0;
        while let Some(effect) = responder.poll(now) {
            let Effect::Send { to, purpose: _, bytes } = effect else { continue };
            sent += 1;
            assert!(sent <= most.max(3), "it speaks for ever");
            let message = Message::parse(&bytes).expect("it is written as it is read");
            if to == Destination::Group && message.is_response {
                for record in message.answers.iter().filter(|record| record.ttl > 0) {
                    let before = record.address().and_then(|ip| told.insert(ip, now));
                    assert!(
                        before.is_none_or(|at| now - at >= Duration::from_millis(250)),
                        "twice: {record:?}"
                    );
                }
            }
        }
        assert!(responder.poll_timeout().is_none_or(|at| at > now), "it would spin");
    }
}

fn about(flags: u16, class: u16, kind: u8, ttl: u8, last: u8) -> Vec<u8> {
    let is_response = flags & 0x8000 != 0;
    let counts: [u8; 4] = if is_response { [0, 1, 0, 0] } else { [1, kind % 2, last % 2, 0] };
    let mut bytes = [&[0, 0][..], &(flags & 0x8200).to_be_bytes()].concat();
    counts.iter().for_each(|count| bytes.extend([0, *count]));
    let name = b"\x03web\x05local\0";
    if !is_response {
        bytes.extend_from_slice(name);
        bytes.extend([0, kind]);
        bytes.extend((class & 0x8003).to_be_bytes());
    }
    for _ in 0..counts[1] + counts[2] {
        bytes.extend_from_slice(name);
        bytes.extend([0, 1, 0, 1, 0, 0, 0, ttl, 0, 4, VIP[0], VIP[1], VIP[2], last]);
    }
    debug_assert!(
        Message::parse(&bytes)
            .is_ok_and(|message| message.answers.iter().all(|it: &Record<'_>| it.kind == 1))
    );
    bytes
}
