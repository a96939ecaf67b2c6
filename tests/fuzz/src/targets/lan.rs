//! An interface that announces one address and hears anything.

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use layer2::{Arp, ArpFrame, Begin, Effect, MacAddr, Ndp, NdpFrame, Order, Port, Protocol, Stance};

use super::structured;

/// What happens next.
#[derive(Debug, Arbitrary)]
enum Step {
    /// A frame comes.
    Frame(Vec<u8>),
    /// So many milliseconds pass.
    Time(u16),
    /// The address is taken over, again perhaps.
    Order { takeover: u8, probe: bool, stance: u8 },
    /// It is given up.
    Withdraw,
}

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// Frames from strangers on a LAN with IPv4.
pub fn arp(bytes: &[u8]) {
    let Some(steps) = structured::<Vec<Step>>(bytes) else { return };
    play(Arp { mac: OURS }, [192, 0, 2, 1].into(), steps, |frame| {
        if let Ok(read) = ArpFrame::parse(frame) {
            assert_eq!(ArpFrame::parse(&read.emit()), Ok(read));
        }
    });
}

/// The same with IPv6.
pub fn ndp(bytes: &[u8]) {
    let Some(steps) = structured::<Vec<Step>>(bytes) else { return };
    let link_local = "fe80::1".parse().expect("an address");
    let vip = "2001:db8::1".parse().expect("an address");
    play(Ndp { mac: OURS, link_local }, vip, steps, |frame| {
        if let Ok(read) = NdpFrame::parse(frame) {
            assert_eq!(NdpFrame::parse(&read.emit()), Ok(read));
        }
    });
}

/// No frame makes it panic or go round for ever, and each is answered by one at most. `check` looks at each by itself.
fn play<P: Protocol>(protocol: P, vip: P::Ip, steps: Vec<Step>, check: impl Fn(&[u8])) {
    let mut now = Instant::now();
    let mut port = Port::new(protocol, Some(Duration::from_secs(30)), 1, now);
    for step in steps {
        match step {
            Step::Frame(frame) => {
                check(&frame);
                let before = sent(&mut port, now);
                assert!(before < 1000, "it speaks for ever");
                _ = port.handle(&frame, now, now);
                assert!(sent(&mut port, now) <= 1, "more than one frame for one");
            }
            Step::Time(millis) => now += Duration::from_millis(millis.into()),
            Step::Order { takeover, probe, stance } => {
                let stance = match stance % 4 {
                    0 => Stance::Alone,
                    1 => Stance::Yields,
                    _ => Stance::Insists(stance.into()),
                };
                let begin = if probe { Begin::Probe } else { Begin::Announce };
                port.set_orders([(vip, Order { takeover: takeover.into(), begin, stance })].into(), now);
            }
            Step::Withdraw => port.set_orders([].into(), now),
        }
    }
}

fn sent<P: Protocol>(port: &mut Port<P>, now: Instant) -> usize {
    let effects = std::iter::from_fn(|| port.poll(now));
    effects.filter(|effect| matches!(effect, Effect::Send(_))).take(1000).count()
}
