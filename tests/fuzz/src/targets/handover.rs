//! What passes for the speaker before may hand over: octets at the socket, and sessions that are nearly right.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The most that a session says at once (RFC 4271 section 4.1).
const LONGEST: usize = 4096;
/// Values that are at a border of something.
static VALUES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let numbers = [0, 1, 2, 3, 255, 256, 65_535, 65_536, 23_456, 4_294_967_295, u64::MAX].map(Value::from);
    let texts = [
        "",
        "n",
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "0.0.0.0/0",
        "::/0",
        "198.51.100.1/33",
        "198.51.100.7/24",
        "2001:db8::1/128",
        "\u{202e}\n",
    ];
    let others =
        [Value::Null, true.into(), false.into(), json!([]), json!({}), Value::from(-1), Value::from(0.5)];
    let long = [json!("x".repeat(300)), json!(vec![0; 300]), json!({"secs": 9, "nanos": 999_999_999})];
    numbers.into_iter().chain(texts.map(Value::from)).chain(others).chain(long).collect()
});
/// Messages that make sense.
static MESSAGES: LazyLock<[Value; 2]> = LazyLock::new(|| {
    let bgp: Value = serde_json::from_str(include_str!("handover/bgp.json")).expect("it is JSON");
    let bfd: Value = serde_json::from_str(include_str!("handover/bfd.json")).expect("it is JSON");
    assert!(go_on_with_bgp(&bgp["Bgp"]["session"], &[]) && go_on_with_bfd(&bfd["Bfd"]["session"]));
    assert!(speaker::fuzzing::handover_take(bgp.to_string().as_bytes()));
    [bgp, bfd]
});

#[derive(Debug, Arbitrary)]
enum Input {
    /// Octets at the socket.
    Octets,
    /// A message as text.
    Text,
    /// A session of BGP or BFD that is changed.
    Changed { is_bfd: bool, edits: Vec<Edit> },
}

/// A change of the value at a place, counted among all.
#[derive(Debug, Arbitrary)]
struct Edit {
    place: u8,
    change: Change,
}

#[derive(Debug, Arbitrary)]
enum Change {
    /// It is one of [`VALUES`].
    Known(u8),
    Number(u64),
    Text(String),
    /// It is what is at another place.
    Copy(u8),
    /// One more of what it holds.
    Repeat(u8),
    /// It holds nothing of this place any more.
    Remove(u8),
}

/// What is not taken up for the choice are the octets, and what the router says to the session.
pub fn play(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok(input) = Input::arbitrary(&mut bytes) else { return };
    let rest = bytes.take_rest();
    match input {
        Input::Octets => speaker::fuzzing::handover_read(rest),
        Input::Text => take(rest, &[]),
        Input::Changed { is_bfd, edits } => {
            let mut message = MESSAGES[usize::from(is_bfd)].clone();
            edits.iter().take(8).for_each(|edit| edit.make(&mut message));
            take(message.to_string().as_bytes(), rest);
        }
    }
}

/// What makes no sense is refused; with the rest there is a session.
fn take(message: &[u8], received: &[u8]) {
    speaker::fuzzing::handover_take(message);
    let Ok(message) = serde_json::from_slice::<Value>(message) else { return };
    go_on_with_bgp(&message["Bgp"]["session"], received);
    go_on_with_bfd(&message["Bfd"]["session"]);
}

fn read<T: DeserializeOwned>(snapshot: &Value) -> Option<T> {
    T::deserialize(snapshot).ok()
}

/// Whether there is a session.
fn go_on_with_bgp(snapshot: &Value, received: &[u8]) -> bool {
    use bgp::session::{Farewell, Input, Output, Session, State};
    let mut now = Instant::now();
    let Some(Ok(mut session)) = read(snapshot).map(|it| Session::resume(it, 1, now)) else { return false };
    let again = session.snapshot(now).expect("nothing has happened to it");
    assert!(Session::resume(again, 1, now).is_ok(), "it can be handed on");
    let inputs = received.chunks(64).map(Input::Received);
    let step = |session: &mut Session| {
        while let Some(output) = session.poll_output() {
            if let Output::Changed(transition) = output {
                assert!(!transition.why.to_string().chars().any(char::is_control));
            }
        }
        while let Some(message) = session.poll_update() {
            assert!(message.len() <= LONGEST);
        }
    };
    step(&mut session);
    for input in inputs {
        session.handle(input, now);
        step(&mut session);
    }
    for _ in 0..8 {
        now = session.poll_timeout().map_or(now, |at| at.max(now));
        session.handle(Input::Time, now);
        step(&mut session);
    }
    session.handle(Input::Stop(Farewell::Cease), now);
    step(&mut session);
    assert_eq!(session.state(), State::Idle);
    true
}

/// Whether there is a session.
fn go_on_with_bfd(snapshot: &Value) -> bool {
    use bfd::packet::Packet;
    use bfd::session::{Input, Output, Session};
    let mut now = Instant::now();
    let Some(Ok(mut session)) = read(snapshot).map(|it| Session::resume(it, 1, now)) else { return false };
    let again = session.snapshot().expect("it is up");
    assert!(Session::resume(again, 1, now).is_ok(), "it can be handed on");
    for _ in 0..16 {
        now = session.poll_timeout().map_or(now, |at| at.max(now)) + Duration::from_micros(1);
        session.handle(Input::Time, now);
        while let Some(output) = session.poll_output() {
            if let Output::Send(packet) = output {
                assert!(Packet::parse(&packet).is_ok());
            }
        }
        assert!(session.poll_timeout().is_none_or(|at| at > now), "it would spin");
    }
    true
}

impl Edit {
    fn make(&self, message: &mut Value) {
        let all = places(message);
        let at = |place: u8| all[usize::from(place) % all.len()].as_str();
        let copied = match self.change {
            Change::Copy(other) => message.pointer(at(other)).cloned(),
            _ => None,
        };
        let Some(value) = message.pointer_mut(at(self.place)) else { return };
        match &self.change {
            Change::Known(index) => *value = VALUES[usize::from(*index) % VALUES.len()].clone(),
            Change::Number(number) => *value = (*number).into(),
            Change::Text(text) => *value = text.as_str().into(),
            Change::Copy(_) => *value = copied.unwrap_or_default(),
            Change::Repeat(times) => {
                if let Some(list) = value.as_array_mut()
                    && let Some(last) = list.last().cloned()
                {
                    list.extend(std::iter::repeat_n(last, (*times).into()));
                }
            }
            Change::Remove(index) => match value {
                Value::Array(list) => drop(list.pop()),
                Value::Object(map) => {
                    let key = map.keys().nth(usize::from(*index) % map.len().max(1)).cloned();
                    key.and_then(|key| map.remove(&key));
                }
                _ => {}
            },
        }
    }
}

/// Pointers to all values, the message itself first.
fn places(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut add = |key: &str, within: &Value| {
        all.extend(places(within).into_iter().map(|it| format!("/{key}{it}")));
    };
    match value {
        Value::Array(list) => list.iter().take(4).enumerate().for_each(|(key, it)| add(&key.to_string(), it)),
        Value::Object(map) => map.iter().for_each(|(key, it)| add(key, it)),
        _ => {}
    }
    all
}
