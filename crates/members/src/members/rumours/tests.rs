//! Others, driven by hand, tell one member of others and of itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use foca::{Header, Identity as _, Member, Message};

use super::*;
use crate::config::Role;
use crate::fixtures::{ms, names};
use crate::frame::{Body, Hello, Payload};
use crate::identity::Generations;
use crate::parts::ProfileVersion;
use crate::profile::Brief;
use crate::seal::FrameEncryption;
use crate::session::Cookie;
use crate::{BootId, Preset, Profile};

const NOW: u64 = 1_790_000_000_000;

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 7946))
}

fn identity(name: &str, generation: u64) -> Identity {
    let boot = BootId(name.bytes().map(u128::from).sum());
    Identity { name: name.into(), address: address(2), boot, generation, role: Role::Speaker }
}

/// The member `us`, which `other`, that is listed, and others speak to by hand.
struct Us {
    members: Members,
    now: Instant,
    sent: Vec<Body>,
}

/// One that speaks by hand.
struct TestPeer {
    identity: Identity,
    encryption: FrameEncryption,
}

impl TestPeer {
    fn of(identity: Identity) -> Self {
        let encryption = FrameEncryption::new(identity.name.clone(), identity.boot, Vec::new());
        Self { identity, encryption }
    }

    /// A message of SWIM with which this one tells `us` of others.
    fn swim(&self, us: &Members, about: Vec<Identity>) -> Body {
        self.tell(us, Message::Gossip, about.into_iter().map(Member::alive).collect())
    }

    fn tell(&self, us: &Members, message: Message<Identity>, about: Vec<Member<Identity>>) -> Body {
        let (src, dst) = (self.identity.clone(), us.swim.identity().clone());
        let header = Header { src, src_incarnation: 0, dst, message };
        let mut message = postcard::to_allocvec(&header).unwrap();
        message.extend(u16::try_from(about.len()).unwrap().to_be_bytes());
        message.extend(about.into_iter().flat_map(|member| postcard::to_allocvec(&member).unwrap()));
        Body::Swim(message)
    }
}

impl Us {
    fn new() -> (Self, TestPeer) {
        let now = Instant::now();
        let config = crate::Config {
            name: "us".into(),
            address: address(1),
            boot: BootId(1),
            generation: NOW,
            preset: Preset::Default,
            keys: Vec::new(),
            profile: Profile::default(),
        };
        let mut us = Members::new(config, [1; 32], now);
        us.set_peers([("other".into(), address(2))].into(), now);
        us.take_part(now);
        let mut us = Self { members: us, now, sent: Vec::new() };
        let mut other = TestPeer::of(identity("other", NOW));
        us.meet(&mut other).unwrap();
        assert_eq!(us.members.members(), &names(&["us", "other"]));
        us.sent.clear();
        (us, other)
    }

    fn collect(&mut self) {
        while let Some(transmit) = self.members.poll_transmit() {
            // They are not sealed, so it does not matter for whom they are.
            let opened =
                FrameEncryption::new("any".into(), BootId(9), Vec::new()).open(&transmit.frame).unwrap();
            self.sent.push(Payload::decode(&opened.payload).unwrap().body);
        }
    }

    fn hear(&mut self, peer: &mut TestPeer, body: Body) -> Result<&'static str, Refusal> {
        let Identity { name: from, generation, .. } = peer.identity.clone();
        let payload = Payload { from, generation, profile: ProfileVersion::of_an_earlier_member(0), body };
        let frame = peer.encryption.seal(&"us".into(), &payload.encode());
        let result = self.members.handle(peer.identity.address, &frame, self.now);
        self.members.poll(self.now);
        self.collect();
        result
    }

    /// An introduction with the proof that it takes.
    fn hello(&self, peer: &TestPeer) -> Hello {
        Hello {
            identity: peer.identity.clone(),
            profile: Brief::default(),
            cookie: Cookie([0; 16]),
            echo: Some(self.members.cookies.make(&peer.identity.name, self.now)),
            reply: false,
            known: None,
            late: false,
        }
    }

    fn meet(&mut self, peer: &mut TestPeer) -> Result<&'static str, Refusal> {
        let hello = self.hello(peer);
        self.hear(peer, Body::Hello(hello))
    }
}

#[test]
fn who_is_known_only_by_what_others_say_is_asked_and_no_member_before_it_answers() {
    let (mut us, mut other) = Us::new();
    while us.members.poll_event().is_some() {}
    let body = other.swim(&us.members, vec![identity("new", NOW)]);
    assert_eq!(us.hear(&mut other, body), Ok("swim"));
    assert_eq!(us.members.members(), &names(&["us", "other"]));
    assert_eq!(us.members.poll_event(), None);
    let asked = us.sent.iter().any(|body| matches!(body, Body::Hello(hello) if hello.reply));
    assert!(asked, "{:?}", us.sent);

    us.meet(&mut TestPeer::of(identity("new", NOW))).unwrap();
    assert_eq!(us.members.members(), &names(&["us", "other", "new"]));
    let events: Vec<_> = std::iter::from_fn(|| us.members.poll_event()).collect();
    assert_eq!(events.iter().filter(|event| **event == Event::Joined("new".into())).count(), 1);
}

#[test]
fn who_is_listed_is_believed_to_live_by_what_others_say() {
    let (mut us, mut other) = Us::new();
    let body = other.swim(&us.members, vec![identity("new", NOW)]);
    us.hear(&mut other, body).unwrap();
    us.members.set_peers([("other".into(), address(2)), ("new".into(), address(3))].into(), us.now);
    assert_eq!(us.members.members(), &names(&["us", "other", "new"]));

    let (mut us, mut other) = Us::new();
    us.members.set_peers([("other".into(), address(2)), ("new".into(), address(3))].into(), us.now);
    assert_eq!(us.members.members(), &names(&["us", "other"]));
    let body = other.swim(&us.members, vec![identity("new", NOW)]);
    us.hear(&mut other, body).unwrap();
    assert_eq!(us.members.members(), &names(&["us", "other", "new"]));
}

#[test]
fn one_may_tell_of_a_limited_number_that_nobody_else_knows() {
    let (mut us, mut other) = Us::new();
    let mut refused = 0;
    for round in 0..50 {
        let about = (0..10).map(|number| identity(&format!("made-up-{round}-{number}"), NOW)).collect();
        let body = other.swim(&us.members, about);
        refused += usize::from(us.hear(&mut other, body) == Err(Refusal::TooMany));
    }
    assert!(refused > 40, "{refused}");
    assert!(
        us.members.peers.len() <= EACH + 1 && us.members.swim.count() <= EACH + 2,
        "{}",
        us.members.peers.len()
    );
    assert_eq!(us.members.members(), &names(&["us", "other"]));

    // Those who do not answer are found dead and forgotten, and then there is room again.
    for _ in 0..12_000 {
        us.now += ms(50);
        us.members.poll(us.now);
        us.collect();
        us.hear(&mut other, Body::Heartbeat).unwrap();
    }
    assert_eq!(us.members.peers.len(), 1);
    assert!(!std::iter::from_fn(|| us.members.poll_event()).any(|event| matches!(event, Event::Lost { .. })));
}

#[test]
fn a_generation_that_no_clock_gave_is_refused_wherever_it_is() {
    let (mut us, mut other) = Us::new();
    for absurd in [u64::MAX, u64::MAX - 1, u64::MAX / 2, NOW * 10] {
        let mut victim = TestPeer::of(identity("victim", absurd));
        assert_eq!(us.meet(&mut victim), Err(Refusal::FarAhead));
        let body = other.swim(&us.members, vec![identity("victim", absurd)]);
        assert_eq!(us.hear(&mut other, body), Err(Refusal::FarAhead));
        let dead = Body::Dead(identity("victim", absurd));
        assert_eq!(us.hear(&mut other, dead), Err(Refusal::FarAhead));
        // Nor does anybody make us take it.
        let hello = Hello { known: Some(absurd), ..us.hello(&other) };
        assert_eq!(us.hear(&mut other, Body::Hello(hello)), Err(Refusal::FarAhead));
    }
    assert!(us.members.swim.identity().generation < NOW + 10);
    assert!(us.meet(&mut TestPeer::of(identity("victim", NOW))).is_ok());
    assert_eq!(us.members.members(), &names(&["us", "other", "victim"]));
}

#[test]
fn who_is_impersonated_by_the_greatest_generation_that_is_believed_can_object() {
    let (mut us, _) = Us::new();
    let greatest = NOW + 300 * 365 * 24 * 60 * 60 * 1000;
    us.meet(&mut TestPeer::of(identity("victim", greatest))).unwrap();
    us.now += ms(1);
    let mut victim = TestPeer::of(Identity { boot: BootId(77), ..identity("victim", greatest + 1) });
    us.meet(&mut victim).unwrap();
    assert_eq!(us.members.peers[&NodeName::from("victim")].identity, Some(victim.identity));
}

#[test]
fn whatever_one_is_told_to_outlive_the_others_understand_it_afterwards() {
    let century = 100 * 365 * 24 * 60 * 60 * 1000;
    let now = Instant::now();
    let clocks = [0, NOW - 5, NOW, NOW + 600_000];
    for (victim, other) in clocks.into_iter().flat_map(|one| clocks.map(|other| (one, other))) {
        let [victim, other] = [victim, other].map(|first| Generations::new(first, now));
        let greatest = |by: &Generations, claim: Claim, centuries: u64| {
            let greatest = by.first() + centuries * century;
            assert!(by.allow(claim, greatest, now) && !by.allow(claim, greatest + 1, now));
            greatest
        };
        let said = greatest(&other, Claim::Another, 1);
        assert!(victim.allow(Claim::Hearer, said, now), "what others believe of one, one can outlive");
        let adopted = greatest(&victim, Claim::Hearer, 2) + 1;
        assert!(other.allow(Claim::Speaker, adopted, now), "and they understand whoever has");
    }
}

#[test]
fn what_somebody_has_said_itself_others_may_say_of_it() {
    let (mut us, mut other) = Us::new();
    let far = NOW + 150 * 365 * 24 * 60 * 60 * 1000;
    let mut victim = TestPeer::of(identity("victim", far));
    let body = other.swim(&us.members, vec![victim.identity.clone()]);
    assert_eq!(us.hear(&mut other, body), Err(Refusal::FarAhead), "nobody knows that yet");
    us.meet(&mut victim).unwrap();
    let body = other.swim(&us.members, vec![victim.identity.clone()]);
    assert!(us.hear(&mut other, body).is_ok());
    let later = Identity { generation: far + 1, ..victim.identity };
    let body = other.swim(&us.members, vec![later]);
    assert_eq!(us.hear(&mut other, body), Err(Refusal::FarAhead));
}

#[test]
fn a_stall_is_told_of_once_however_many_frames_of_strangers_are_read_after_it() {
    let (mut us, _) = Us::new();
    us.members.poll(us.now);
    while us.members.poll_event().is_some() {}
    us.now += ms(1500);
    for _ in 0..50 {
        let _ = us.meet(&mut TestPeer::of(identity("stranger", NOW)));
        us.now += ms(1);
    }
    us.members.poll(us.now);
    let events = std::iter::from_fn(|| us.members.poll_event());
    assert_eq!(events.filter(|event| matches!(event, Event::Stalled(_))).count(), 1);
}

#[test]
fn a_clock_that_is_absurd_itself_breaks_nothing() {
    let now = Instant::now();
    for first in [0, NOW, u64::MAX / 2, u64::MAX] {
        let generations = Generations::new(first, now);
        let later = now + ms(1000);
        for claim in [Claim::Another, Claim::Hearer, Claim::Speaker] {
            assert!(generations.allow(claim, generations.first() + 1000, later));
            assert!(generations.allow(claim, 0, later) && !generations.allow(claim, u64::MAX, later));
        }
        assert!(identity("us", generations.first()).renew().is_some());
    }
    assert!(
        Generations::new(0, now).allow(Claim::Another, NOW, now),
        "ours has not been set since it began in 1970"
    );
}

#[test]
fn a_recording_of_an_earlier_start_gets_few_answers() {
    let (mut us, _) = Us::new();
    let mut earlier = TestPeer::of(Identity { boot: BootId(88), ..identity("other", NOW - 1) });
    for _ in 0..1000 {
        assert_eq!(us.hear(&mut earlier, Body::Heartbeat), Err(Refusal::Unproven));
    }
    let sent = us.sent.len();
    assert!((1..=20).contains(&sent), "{sent}");
}

/// Ways to make `us` begin another life, told by `other`.
const WAYS: [fn(&Us, &TestPeer) -> Body; 6] = [
    |us, _| Body::Dead(us.members.swim.identity().clone()),
    |us, other| {
        let known = Some(us.members.swim.identity().generation + 1000);
        Body::Hello(Hello { known, ..us.hello(other) })
    },
    |us, other| {
        let dead = Member::down(us.members.swim.identity().clone());
        other.tell(&us.members, Message::Gossip, vec![dead])
    },
    |us, other| other.tell(&us.members, Message::TurnUndead, vec![]),
    |us, other| other.suspect(&us.members, u16::MAX),
    |us, other| other.suspect(&us.members, u16::MAX - 1),
];

impl TestPeer {
    fn suspect(&self, us: &Members, incarnation: u16) -> Body {
        let suspect = Member::new(us.swim.identity().clone(), incarnation, foca::State::Suspect);
        self.tell(us, Message::Gossip, vec![suspect])
    }
}

#[test]
fn who_is_told_of_its_death_objects_at_once_and_to_a_thousand_deaths_a_few_times() {
    for (number, way) in WAYS.into_iter().enumerate() {
        let (mut us, mut other) = Us::new();
        while us.members.poll_event().is_some() {}
        let before = us.members.swim.identity().generation;
        let body = way(&us, &other);
        us.hear(&mut other, body).unwrap();
        assert!(us.members.swim.identity().generation > before, "{number}");
        let told = |body: &Body| matches!(body, Body::Hello(hello) if hello.identity.generation > before);
        assert!(us.sent.iter().any(told), "{number}");

        us.sent.clear();
        let mut lives = BTreeSet::from([us.members.swim.identity().generation]);
        for _ in 0..1000 {
            us.now += ms(1);
            let body = way(&us, &other);
            us.hear(&mut other, body).unwrap();
            lives.insert(us.members.swim.identity().generation);
        }
        assert!((5..=13).contains(&lives.len()), "{number}: {}", lives.len());
        let presumed = std::iter::from_fn(|| us.members.poll_event());
        let presumed = presumed.filter(|event| *event == Event::PresumedDead).count();
        assert!(presumed <= 13, "{number}: {presumed}");
        let hellos = us.sent.iter().filter(|body| matches!(body, Body::Hello(_))).count();
        assert!(hellos <= 60, "{number}: {hellos}");
        assert!(us.members.deaths_put_off() > 900, "{number}: {}", us.members.deaths_put_off());
    }
}

#[test]
fn who_objects_later_does_so_before_anybody_who_hears_it_gives_it_up() {
    for preset in [Preset::Relaxed, Preset::Default, Preset::Fast] {
        let silence = preset.timing().silence;
        let (mut rebirths, now) = (crate::rebirths::Rebirths::new(silence), Instant::now());
        let death = Death { generation: 1, held_dead: true };
        while rebirths.allow(death, now) {}
        assert!(rebirths.poll_timeout().is_some_and(|due| due <= now + silence / 2));
    }
}

#[test]
fn who_is_held_dead_in_lives_that_it_never_led_goes_beyond_what_is_believed_of_it() {
    let century = 100 * 365 * 24 * 60 * 60 * 1000;
    let told: [fn(&Us, &TestPeer, u64) -> Body; 3] = [
        |us, _, generation| Body::Dead(Identity { generation, ..us.members.swim.identity().clone() }),
        |us, other, generation| Body::Hello(Hello { known: Some(generation), ..us.hello(other) }),
        |_, _, generation| Body::Dead(identity("us", generation)),
    ];
    for (number, told) in told.into_iter().enumerate() {
        for forged in [NOW + 50, NOW + 10_000, NOW + century - 2, NOW + century + 600_000] {
            let (mut us, mut other) = Us::new();
            let body = told(&us, &other, forged);
            us.hear(&mut other, body).unwrap();
            let next = us.members.swim.identity().generation;
            for clock in [NOW - 600_000, NOW, NOW + 600_000] {
                let others = Generations::new(clock, us.now);
                assert!(others.allow(Claim::Speaker, next, us.now), "they understand it");
                assert!(others.allow(Claim::Hearer, next, us.now), "and can tell its next process of it");
                let later = us.now + ms(60_000);
                assert!(
                    !others.allow(Claim::Another, next + 1, later),
                    "{number}: nobody goes on from {forged}"
                );
            }
        }
    }

    let (mut us, mut other) = Us::new();
    let before = us.members.swim.identity().clone();
    us.hear(&mut other, Body::Dead(before.clone())).unwrap();
    assert_eq!(us.members.swim.identity().generation, before.generation + 1, "that life it has led");
    // However often it starts again, it does not come further.
    let generations = Generations::new(NOW, us.now);
    let beyond = generations.next(NOW, NOW + 1, us.now);
    let later = Generations::new(NOW + 1000, us.now);
    assert_eq!(later.next(NOW + 1000, beyond + 8, us.now), beyond + 1000);
}
