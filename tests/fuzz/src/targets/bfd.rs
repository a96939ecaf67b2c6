//! What anybody may send to a BFD session.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use bfd::config::{Config, Hops, Interval, Role};
use bfd::frame::Heard;
use bfd::packet::{LENGTH, Packet};
use bfd::session::{Input, Output, Session};

/// A frame, and pieces of 25 bytes: a packet, and how many milliseconds later the next one comes.
pub fn play(bytes: &[u8]) {
    if let Some(heard) = Heard::parse(bytes) {
        assert!(heard.payload.len() <= bytes.len());
    }
    let interval = |millis| Interval::try_from(Duration::from_millis(millis)).unwrap();
    let config = Config {
        transmit: interval(50),
        receive: interval(50),
        multiplier: NonZeroU8::MIN,
        echo: Some(interval(50)),
        role: Role::Active,
        hops: Hops::One,
    };
    let mut now = Instant::now();
    let mut session = Session::new(config, NonZeroU32::MIN, 1, now);
    for piece in bytes.chunks(LENGTH + 1) {
        let (packet, pause) = piece.split_at(piece.len().min(LENGTH));
        session.handle(Input::EchoReturned(packet), now);
        if let Ok(packet) = Packet::parse(packet) {
            assert_eq!(Packet::parse(&packet.emit()), Ok(packet));
            session.handle(Input::Received { packet, ttl: 255 }, now);
        }
        now += Duration::from_millis(pause.first().copied().unwrap_or(1).into());
        session.handle(Input::Time, now);
        while let Some(output) = session.poll_output() {
            if let Output::Send(bytes) = output {
                assert!(Packet::parse(&bytes).is_ok());
            }
        }
        assert!(session.poll_timeout().is_none_or(|at| at > now), "it would spin");
    }
}
