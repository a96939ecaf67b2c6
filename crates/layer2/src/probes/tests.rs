//! What is asked, and what comes of the answers.

use super::*;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Ask(u8),
    Free(u8),
}

fn follow(probes: &mut Probes<u8>, start: Instant) -> Vec<(u128, Step)> {
    let mut steps = Vec::new();
    while let Some(now) = probes.silence_timeout().into_iter().chain(probes.question_timeout()).min() {
        let free = probes.poll_silence(now).map(Step::Free);
        let step = free.or_else(|| probes.poll_question(now).map(Step::Ask));
        steps.push(((now - start).as_millis(), step.expect("something is due")));
    }
    steps
}

#[test]
fn silence_after_three_questions_means_that_the_address_is_free() {
    let start = Instant::now();
    let mut probes = Probes::new(0);
    probes.begin(1, Care::New, start);
    assert!(probes.contains(1));
    let expected = [(0, Step::Ask(1)), (100, Step::Ask(1)), (200, Step::Ask(1)), (300, Step::Free(1))];
    assert_eq!(follow(&mut probes, start), expected);
    assert!(!probes.contains(1));
}

#[test]
fn a_conflict_at_any_time_before_that_means_that_it_is_taken() {
    for asked in 1..=3 {
        let start = Instant::now();
        let mut probes = Probes::new(0);
        probes.begin(1, Care::New, start);
        for _ in 0..asked {
            assert_eq!(probes.poll_question(probes.question_timeout().unwrap()), Some(1));
        }
        let heard = start + ms(299);
        assert_eq!(probes.taken(1, A, heard), Found::News);
        assert_eq!(probes.taken(1, B, heard), Found::Nothing);
        assert!(probes.contains(1));
        assert_eq!(probes.question_timeout(), Some(heard + AGAIN));
    }
}

#[test]
fn a_taken_address_is_asked_for_again_and_told_of_again_only_when_another_has_it() {
    let start = Instant::now();
    let mut probes = Probes::new(0);
    probes.begin(1, Care::New, start);
    let mut now = start;
    for (by, found) in [(A, Found::News), (A, Found::Nothing), (B, Found::News), (B, Found::Nothing)] {
        assert_eq!(probes.poll_question(now), Some(1));
        assert_eq!(probes.taken(1, by, now), found);
        now += AGAIN;
    }
    let steps = follow(&mut probes, now);
    assert_eq!(steps.last(), Some(&(300, Step::Free(1))));
    assert_eq!(steps.len(), 4);
}

#[test]
fn a_withdrawn_address_and_one_never_probed_cause_nothing() {
    let start = Instant::now();
    let mut probes = Probes::new(0);
    probes.begin(1, Care::New, start);
    probes.withdraw(1);
    assert_eq!(probes.taken(1, A, start), Found::Nothing);
    assert_eq!(probes.taken(2, A, start), Found::Nothing);
    assert_eq!(probes.question_timeout(), None);
}

#[test]
fn a_takeover_asks_twice_and_is_free_after_80_ms() {
    let start = Instant::now();
    let mut probes = Probes::new(0);
    probes.begin(1, Care::Takeover, start);
    let expected = [(0, Step::Ask(1)), (40, Step::Ask(1)), (80, Step::Free(1))];
    assert_eq!(follow(&mut probes, start), expected);
}

#[test]
fn what_a_peer_holds_is_asked_for_again_soon_and_at_once_when_a_peer_is_heard_again() {
    let start = Instant::now();
    let mut probes = Probes::new(0);
    probes.begin(1, Care::Takeover, start);
    probes.poll_question(start);
    assert_eq!([probes.held(1, A, start), probes.held(1, A, start)], [Found::News, Found::Nothing]);
    assert_eq!(probes.question_timeout(), Some(start + LOOK));
    probes.look_again(start + ms(7));
    assert_eq!(probes.poll_question(start + ms(7)), Some(1));
    probes.wait(2, start);
    probes.withdraw(1);
    assert_eq!(probes.question_timeout(), Some(start + LOOK));
    probes.begin(2, Care::New, start);
    probes.begin(2, Care::Takeover, start);
    assert_eq!(follow(&mut probes, start).len(), 4, "more care stays");
}

fn asked(steps: &[(u128, Step)], address: u8) -> usize {
    steps.iter().filter(|(_, step)| *step == Step::Ask(address)).count()
}

#[test]
fn of_many_addresses_that_are_taken_over_at_once_each_is_asked_for_once() {
    let start = Instant::now();
    let mut probes = Probes::new(0);
    for (count, expected) in [(16, 2), (17, 1), (3, 2)] {
        (0..count).for_each(|address| probes.begin(address, Care::Takeover, start));
        probes.begin(100, Care::New, start);
        let steps = follow(&mut probes, start);
        assert!((0..count).all(|address| asked(&steps, address) == expected), "{count}: {steps:?}");
        assert_eq!(asked(&steps, 100), 3);
    }
}

#[test]
fn when_an_unheard_peer_has_one_of_many_addresses_the_others_are_asked_for_twice() {
    let start = Instant::now();
    let crowd = || {
        let mut probes = Probes::new(0);
        (0..20).for_each(|address| probes.begin(address, Care::Takeover, start));
        assert_eq!((probes.poll_question(start), probes.poll_question(start)), (Some(0), Some(1)));
        probes
    };
    let mut probes = crowd();
    assert_eq!(probes.held(0, A, start), Found::News);
    probes.withdraw(0);
    let steps = follow(&mut probes, start);
    assert_eq!(asked(&steps, 1), 1, "once more: {steps:?}");
    assert!((2..20).all(|address| asked(&steps, address) == 2), "{steps:?}");

    let mut probes = crowd();
    assert_eq!(probes.taken(0, A, start), Found::News);
    probes.withdraw(0);
    let steps = follow(&mut probes, start);
    assert!((2..20).all(|address| asked(&steps, address) == 1), "a foreign host has that one: {steps:?}");
}
