//! An interface that announces one address and hears anything.

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use layer2::{Begin, Effect, Order, Port, Protocol};

/// What happens next.
#[derive(Debug, Arbitrary)]
pub enum Step {
    /// A frame comes.
    Frame(Vec<u8>),
    /// So many milliseconds pass.
    Time(u16),
    /// The address is taken over, again perhaps.
    Order { takeover: u8, probe: bool },
    /// It is given up.
    Withdraw,
}

/// No frame makes it panic or go round for ever, and each is answered by one at most. `check` looks at each by itself.
pub fn play<P: Protocol>(protocol: P, vip: P::Ip, steps: Vec<Step>, check: impl Fn(&[u8])) {
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
            Step::Order { takeover, probe } => {
                let begin = if probe { Begin::Probe } else { Begin::Announce };
                port.set_orders([(vip, Order { takeover: takeover.into(), begin })].into(), now);
            }
            Step::Withdraw => port.set_orders([].into(), now),
        }
    }
}

fn sent<P: Protocol>(port: &mut Port<P>, now: Instant) -> usize {
    let effects = std::iter::from_fn(|| port.poll(now));
    effects.filter(|effect| matches!(effect, Effect::Send(_))).take(1000).count()
}
