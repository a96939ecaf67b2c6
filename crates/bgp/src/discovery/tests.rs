use super::*;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

struct Bench {
    discovery: Discovery,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { discovery: Discovery::new(1), now: Instant::now() }
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<u8> {
        self.discovery.handle(input, self.now);
        std::iter::from_fn(|| self.discovery.poll_output()).map(|message| message[0]).collect()
    }

    fn hear(&mut self, from: Ipv6Addr, lifetime: u16) -> Vec<u8> {
        let mut octets = message::advertisement();
        octets[6..8].copy_from_slice(&lifetime.to_be_bytes());
        self.handle(Input::Received { from, hop_limit: HOP_LIMIT, octets: &octets })
    }

    /// Lets time pass until the next thing is due, in seconds.
    fn wait(&mut self) -> (f64, Vec<u8>) {
        let due = self.discovery.poll_timeout().expect("something is due");
        let waited = due - std::mem::replace(&mut self.now, due);
        (waited.as_secs_f64(), self.handle(Input::Time))
    }
}

const BOTH: [u8; 2] = [134, 133];
const ADVERTISED: [u8; 1] = [134];

#[test]
fn a_router_is_asked_for_until_it_is_heard_and_told_for_ever() {
    let mut bench = Bench::new();
    assert_eq!(bench.discovery.poll_timeout(), None);
    assert_eq!(bench.handle(Input::Up), BOTH);
    for _ in 0..3 {
        let (waited, sent) = bench.wait();
        assert!((3.0..=4.0).contains(&waited) && sent == BOTH, "{waited} {sent:?}");
    }
    assert_eq!(bench.discovery.router(), None);
    assert_eq!(bench.hear(ROUTER, 30), [0; 0], "it has heard of this end a moment ago");
    assert_eq!(bench.discovery.router(), Some(ROUTER));
    bench.wait();
    for _ in 0..3 {
        let (waited, sent) = bench.wait();
        assert!((7.5..=10.0).contains(&waited) && sent == ADVERTISED, "{waited} {sent:?}");
    }
}

#[test]
fn a_router_that_advertises_itself_is_answered_at_once_but_not_all_the_time() {
    let mut bench = Bench::new();
    bench.handle(Input::Up);
    bench.now += LEAST;
    assert_eq!(bench.hear(ROUTER, 30), ADVERTISED);
    for _ in 0..100 {
        assert_eq!(bench.hear(ROUTER, 30), [0; 0]);
    }
    bench.now += LEAST;
    assert_eq!(bench.hear(ROUTER, 30), ADVERTISED);
    bench.now += LEAST;
    assert_eq!(bench.hear(OTHER, 30), [0; 0], "it is not the one that counts");
    assert_eq!(bench.hear(ROUTER, 0), [0; 0], "another node may be one of these");
}

#[test]
fn what_cannot_be_sent_is_sent_a_second_later() {
    let mut bench = Bench::new();
    bench.handle(Input::Up);
    bench.handle(Input::NotSent);
    assert_eq!(bench.wait(), (1.0, BOTH.to_vec()));
}

#[test]
fn one_router_counts_until_it_is_overdue_or_a_default_router_is_heard() {
    let mut bench = Bench::new();
    bench.handle(Input::Up);
    bench.hear(OTHER, 0);
    assert_eq!(bench.discovery.router(), Some(OTHER));
    bench.hear(ROUTER, 30);
    assert_eq!(bench.discovery.router(), Some(ROUTER));
    bench.now += Duration::from_secs(30);
    for lifetime in [0, 30, 1800] {
        bench.hear(OTHER, lifetime);
        assert_eq!(bench.discovery.router(), Some(ROUTER));
    }
    bench.now += Duration::from_secs(1);
    bench.hear(OTHER, 0);
    assert_eq!(bench.discovery.router(), Some(OTHER));
}

#[test]
fn nothing_is_known_or_said_of_an_interface_that_is_down() {
    let mut bench = Bench::new();
    bench.hear(ROUTER, 30);
    assert_eq!(bench.discovery.router(), None);
    bench.handle(Input::Up);
    bench.hear(ROUTER, 30);
    bench.handle(Input::Down);
    assert_eq!((bench.discovery.router(), bench.discovery.poll_timeout()), (None, None));
    assert_eq!(bench.handle(Input::NotSent), [0; 0]);
    assert_eq!(bench.handle(Input::Up), BOTH, "as if it were another one");
}
