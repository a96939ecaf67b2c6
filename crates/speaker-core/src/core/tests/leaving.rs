//! Goodbyes: those of peers, and our own.

use super::*;

fn leaving(absence: Absence) -> Input {
    let away = match absence {
        Absence::Brief => ["n2".into()].into(),
        Absence::Open => BTreeSet::new(),
    };
    happened(Event::Leaving { node: "n2".into(), absence }, View { away, ..view(&["n1"], true) })
}

#[test]
fn a_standby_answers_and_announces_only_when_the_peer_is_not_back() {
    let mut it = complete();
    it.after(leaving(Absence::Brief));
    let order = it.order("192.0.2.1");
    assert_eq!(order.begin, Begin::Answer);
    it.after(members(&["n1"]));
    let later = it.order("192.0.2.1");
    assert!(later.begin == Begin::Ask && later.takeover > order.takeover, "{later:?}");
}

#[test]
fn a_leaving_peer_may_go_once_its_addresses_are_announced_from_here() {
    let mut it = complete();
    let may_go = Output::Gossip(Gossip::ConfirmLeave("n2".into()));
    assert_eq!(it.after(leaving(Absence::Open)), ["192.0.2.1", "192.0.2.2"]);
    assert!(!it.said(&may_go));
    let Order { takeover, .. } = it.order("192.0.2.1");
    it.after(Input::Port("eth0".into(), Report::Spoken { vip: ip("192.0.2.1"), takeover }));
    assert!(it.said(&may_go));
    it.after(Input::Time);
    assert!(!it.said(&may_go), "once is enough");
}

#[test]
fn a_goodbye_that_comes_with_its_view_still_waits_for_the_takeover() {
    let mut it = complete();
    it.all([leaving(Absence::Open), members(&["n1"])]);
    assert!(!it.said(&Output::Gossip(Gossip::ConfirmLeave("n2".into()))));
    let soon = it.core.poll_timeout().expect("the leaver is not kept for ever");
    assert!(soon <= it.now + Duration::from_millis(500));
    it.now += Duration::from_millis(500);
    it.after(Input::Time);
    assert!(it.said(&Output::Gossip(Gossip::ConfirmLeave("n2".into()))));
}

#[test]
fn a_speaker_that_stops_only_answers_and_reports_nothing_any_more() {
    let mut it = complete();
    assert_eq!(it.after(Input::Stop), ["192.0.2.2"]);
    assert!(it.reported().is_empty() && it.said(&Output::LastStatuses));
    assert_eq!(it.transmit_policy(), TransmitPolicy::ReplyOnly, "who takes over is not overruled");
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.2"]);
}

#[test]
fn a_speaker_that_stops_before_its_lists_are_complete_has_nothing_to_report() {
    let mut it = fixture();
    it.after(Input::Stop);
    assert!(it.said(&Output::LastStatuses));
}

#[test]
fn what_a_leaving_peer_hands_over_is_not_asked_for_unless_it_was_contested() {
    for (contested, begin) in [(&[][..], Begin::Announce), (&["192.0.2.1"], Begin::Ask)] {
        let mut it = complete();
        let both = n2_tells(told(&[THEIRS], contested));
        it.after(seen(both));
        it.after(leaving(Absence::Open));
        assert_eq!(it.order("192.0.2.1").begin, begin);
    }
    let mut it = complete();
    it.after(members(&["n1"]));
    assert_eq!(it.order("192.0.2.1").begin, Begin::Ask, "it was lost");
}

#[test]
fn what_a_peer_that_is_away_did_not_answer_for_is_asked_for() {
    for (contested, begin) in [(&[][..], Begin::Answer), (&["192.0.2.1"], Begin::Ask)] {
        let mut it = complete();
        let both = n2_tells(told(&[THEIRS], contested));
        it.after(seen(both));
        it.after(leaving(Absence::Brief));
        assert_eq!(it.order("192.0.2.1").begin, begin);
    }
}

/// What it tells last is what those know who take over.
#[test]
fn a_speaker_that_stops_does_not_unsay_what_it_did_not_answer_for() {
    let mut it = complete();
    it.after(Input::Port("eth0".into(), Report::Taken { vip: ip("192.0.2.2"), by: FOREIGN }));
    it.now += Duration::from_secs(1);
    it.after(Input::Stop);
    assert!(!it.outputs.iter().any(|output| matches!(output, Output::Gossip(Gossip::SetProfile(_)))));
}

/// Its node may have another process by then, which is not heard.
#[test]
fn a_peer_that_leaves_is_heard_until_its_process_has_gone() {
    for absence in [Absence::Open, Absence::Brief] {
        let mut it = complete();
        let told = told(&[THEIRS], &[]);
        let with_profile = |input| match input {
            Input::Members(mut news) => {
                Arc::make_mut(&mut news.view).profiles.insert("n2".into(), told.clone());
                Input::Members(news)
            }
            other => other,
        };
        it.after(with_profile(members(&["n1", "n2"])));
        it.after(with_profile(leaving(absence)));
        assert_eq!(it.ordered_macs().contacts[&THEIRS], Contact::Leaving);
        let away: BTreeSet<_> = if absence == Absence::Brief { ["n2".into()].into() } else { [].into() };
        it.after(seen(View { away, ..view(&["n1"], true) }));
        assert_eq!(
            it.ordered_macs().contacts[&THEIRS],
            Contact::Leaving,
            "its last frames may be on their way"
        );
        it.now += Duration::from_millis(200);
        it.after(Input::Time);
        assert_eq!(it.ordered_macs().contacts[&THEIRS], Contact::Unheard);
    }
}

#[test]
fn a_peer_that_leaves_before_everything_is_known_here_need_not_wait() {
    let mut it = fixture();
    let mut still_there = view(&["n1"], true);
    still_there.profiles.insert("n2".into(), told(&[THEIRS], &[]));
    it.after(happened(Event::Leaving { node: "n2".into(), absence: Absence::Open }, still_there));
    assert!(it.said(&Output::Gossip(Gossip::ConfirmLeave("n2".into()))));
    let until = it.core.poll_timeout().expect("the goodbye ends");
    it.now = until;
    it.after(Input::Time);
    assert!(it.core.poll_timeout().is_none_or(|at| at > until), "nothing is due that is never done");
}
