//! Two members whose frames are changed, dropped, repeated and made up on the way.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use members::{BootId, Config, Event, Members, Preset, Profile};
use placement::NodeProfile;

use super::structured;

#[derive(Debug, Arbitrary)]
enum Step {
    /// The next frame arrives.
    Deliver,
    /// The next frame is lost.
    Lose,
    /// The next frame arrives twice.
    Repeat,
    /// The next frame arrives with this byte changed.
    Change { at: u16, by: u8 },
    /// The next frame arrives cut short.
    Cut(u16),
    /// Something arrives at one of them that nobody has sent.
    Frame { to: bool, frame: Vec<u8> },
    /// The same from somewhere else.
    Elsewhere { to: bool, from: u8, frame: Vec<u8> },
    /// The next frame arrives from somewhere else.
    Move(u8),
    /// One of them moves.
    Address { of: bool, last: u8 },
    /// The cluster lists this one there.
    List { to: bool, last: u8 },
    /// So many milliseconds pass.
    Time(u8),
}

struct Pair {
    members: [Members; 2],
    under_way: VecDeque<(usize, Vec<u8>)>,
    now: Instant,
}

fn address(number: usize) -> SocketAddr {
    ([192, 0, 2, if number == 0 { 1 } else { 2 }], 7946).into()
}

/// One of a few places.
fn place(last: u8) -> SocketAddr {
    ([192, 0, 2, last % 4], 7946).into()
}

fn name(number: usize) -> objects::NodeName {
    format!("n{number}").as_str().into()
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let member = |number: usize| {
            let config = Config {
                name: format!("n{number}").as_str().into(),
                address: address(number),
                boot: BootId(1 + number as u128),
                generation: 1,
                preset: Preset::Default,
                // No seals: what a stranger may say must not be the only thing that is tried.
                keys: vec![],
                profile: Profile::default(),
            };
            let mut members = Members::new(config, [number as u8; 32], now);
            let other = 1 - number;
            members.set_peers([(format!("n{other}").as_str().into(), address(other))].into(), now);
            members.take_part(now);
            members
        };
        Self { members: [member(0), member(1)], under_way: VecDeque::new(), now }
    }

    fn deliver(&mut self, to: usize, frame: &[u8]) {
        self.deliver_from(address(1 - to), to, frame);
    }

    fn deliver_from(&mut self, from: SocketAddr, to: usize, frame: &[u8]) {
        _ = self.members[to].handle(from, frame, self.now);
    }

    fn step(&mut self, step: Step) {
        let next = match step {
            Step::Frame { to, ref frame } => return self.deliver(to.into(), frame),
            Step::Elsewhere { to, from, ref frame } => {
                return self.deliver_from(place(from), to.into(), frame);
            }
            Step::Address { of, last } => {
                return self.members[usize::from(of)].set_address(place(last), self.now);
            }
            Step::List { to, last } => {
                let places =
                    [0, 1].map(|number| (name(number), [address(number).ip(), place(last).ip()].into()));
                return self.members[usize::from(to)].set_addresses(places.into(), self.now);
            }
            Step::Time(millis) => {
                self.now += Duration::from_millis(millis.into());
                for members in &mut self.members {
                    if members.poll_timeout().is_some_and(|due| due <= self.now) {
                        members.poll(self.now);
                    }
                }
                return;
            }
            _ => self.under_way.pop_front(),
        };
        let Some((to, mut frame)) = next else { return };
        match step {
            Step::Lose
            | Step::Frame { .. }
            | Step::Elsewhere { .. }
            | Step::Address { .. }
            | Step::List { .. }
            | Step::Time(_) => return,
            Step::Move(last) => return self.deliver_from(place(last), to, &frame),
            Step::Deliver => {}
            Step::Repeat => self.deliver(to, &frame),
            Step::Change { at, by } => {
                let at = usize::from(at) % frame.len();
                frame[at] ^= by;
            }
            Step::Cut(length) => frame.truncate(length.into()),
        }
        self.deliver(to, &frame);
    }

    /// What they say is sent off; what they heard is within bounds.
    fn follow(&mut self) {
        for (number, members) in self.members.iter_mut().enumerate() {
            while let Some(transmit) = members.poll_transmit() {
                assert!(transmit.frame.len() <= Members::MAX_FRAME);
                if transmit.to == address(1 - number) && self.under_way.len() < 1000 {
                    self.under_way.push_back((1 - number, transmit.frame));
                }
            }
            while let Some(event) = members.poll_event() {
                assert!(!matches!(event, Event::Departed { .. }), "nobody asked it to leave");
            }
            let own = format!("n{number}").as_str().into();
            assert!(members.members().contains(&own), "it takes part");
        }
    }
}

/// They survive it, and go on taking part.
pub fn play(bytes: &[u8]) {
    let Some(steps) = structured::<Vec<Step>>(bytes) else { return };
    let mut pair = Pair::new();
    for step in steps {
        pair.step(step);
        pair.follow();
    }
}

/// What a peer tells of itself.
pub fn told(bytes: &[u8]) {
    let told = NodeProfile::decode(bytes);
    // An interface that cannot announce is told by leaving it out, so it takes one round until nothing changes.
    let again = NodeProfile::decode(&told.encode(1 << 20));
    assert_eq!((&again.macs, &again.contested), (&told.macs, &told.contested));
    assert_eq!(NodeProfile::decode(&again.encode(1 << 20)), again, "what was understood can be told again");
    for most in [64, 512, Profile::MAX_BRIEF, Profile::MAX] {
        let encoded = told.encode(most);
        assert!(encoded.len() <= most, "{} of {most}", encoded.len());
        _ = NodeProfile::decode(&encoded);
        assert!(told.encode_unversioned(most).len() <= most);
    }
}
