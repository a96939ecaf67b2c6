//! How many frames go out in a time, and which come first.

use super::*;

#[test]
fn takeovers_are_paced_and_the_first_frame_of_each_address_comes_first() {
    let mut bench = Bench::new(ARP);
    bench.port.set_frame_gap(crate::frame_gap(1));
    let vips = (0..120).map(|last| (Ipv4Addr::new(198, 51, 100, last), 1, Begin::Announce));
    bench.order(&vips.collect::<Vec<_>>());
    bench.advance(ms(1_000));
    let times = bench.times(Purpose::Takeover);
    assert_eq!(times.len(), 240);
    assert!(
        times.iter().all(|from| times.iter().filter(|at| (*from..from + 100).contains(*at)).count() <= 60)
    );
    let firsts: BTreeSet<_> =
        bench.sent(Purpose::Takeover)[..120].iter().map(|(_, frame)| frame[28..32].to_vec()).collect();
    assert_eq!(firsts.len(), 120);
}
