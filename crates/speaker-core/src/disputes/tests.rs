use super::*;

const VIP: &str = "192.0.2.1";

/// Some speaker, what it knows of the others, and whom it would elect.
struct Fixture {
    disputes: Disputes,
    me: NodeName,
    members: BTreeSet<NodeName>,
    told: BTreeMap<NodeName, NodeProfile>,
    announcer: Option<NodeName>,
    interfaces: Option<Interfaces>,
    used: bool,
    now: Instant,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn vip() -> IpAddr {
    VIP.parse().expect("an address")
}

fn versions(version: u64) -> Versions {
    Versions([version; Kind::COUNT])
}

/// n2, which has seen everything up to this version.
fn fixture(version: u64) -> Fixture {
    let mut it = Fixture {
        disputes: Disputes::default(),
        me: "n2".into(),
        members: ["n1", "n2", "n3"].map(NodeName::from).into(),
        told: BTreeMap::new(),
        announcer: Some("n1".into()),
        interfaces: None,
        used: true,
        now: Instant::now(),
    };
    it.see(version);
    it
}

impl Fixture {
    fn see(&mut self, version: u64) {
        use Kind::{Advertisements, EndpointSlices, Nodes, Pools, Services};
        for kind in [Services, EndpointSlices, Nodes, Pools, Advertisements] {
            self.disputes.seen(kind, Seen { complete: version, newest: version });
        }
        self.follow();
    }

    fn follow(&mut self) {
        let disputing = self.told.iter().filter(|(_, told)| !told.disputed.by_node.is_empty());
        let others = Others {
            me: &self.me,
            members: &self.members,
            disputing: &disputing.map(|(node, _)| node.clone()).collect(),
            told: &|node| self.told.get(node),
            announcer: &|_| self.announcer.as_ref(),
            interfaces: &|_| self.interfaces.as_ref(),
            used: &|_| self.used,
        };
        self.disputes.follow(&others, self.now);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.disputes.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let before = self.disputes.deadline();
            self.follow();
            assert_ne!(self.disputes.deadline(), before, "nothing is left undone");
        }
        self.now = end;
    }

    /// n1 is to announce the address, which n2 did, or for which it has this place.
    fn moved(&mut self, from_here: bool, place: Option<usize>) {
        let moved = Moved { vip: vip(), to: "n1".into(), interfaces: Interfaces::All, from_here, place };
        self.disputes.moved(moved, self.now);
    }

    fn asks_at(&self) -> Option<Duration> {
        self.disputes.watched().get(&vip()).map(|watch| watch.ask - self.now)
    }

    /// The LAN is asked, and nobody answers.
    fn find_silence(&mut self) {
        let ask = self.disputes.watched()[&vip()].ask;
        self.now = ask + ms(200);
        self.disputes.silent(vip());
        self.pass(ms(100));
    }

    /// The LAN is asked on two interfaces, and somebody answers on one of them.
    fn find_an_answer_and_silence(&mut self) {
        let ask = self.disputes.watched()[&vip()].ask;
        self.now = ask + ms(5);
        self.disputes.answered(vip(), Some(&"n1".into()), self.now);
        self.now = ask + ms(240);
        self.disputes.silent(vip());
        self.pass(ms(400));
    }

    fn asks(&self, node: &str) -> bool {
        self.disputes.disputed().by_node.contains_key(&NodeName::from(node))
    }

    /// `node` asks n2 to give the address up, or does no more.
    fn is_asked_by(&mut self, node: &str, version: Option<u64>) {
        let told = self.told.entry(node.into()).or_default();
        told.disputed = match version {
            Some(version) => {
                Disputed { versions: versions(version), by_node: [(self.me.clone(), [vip()].into())].into() }
            }
            None => Disputed::default(),
        };
        self.follow();
    }

    fn concedes(&self) -> bool {
        self.disputes.conceded().contains(&vip())
    }
}

#[test]
fn an_address_that_nobody_answers_for_a_second_after_a_peer_was_to_begin_is_disputed() {
    let mut it = fixture(7);
    it.moved(true, None);
    assert_eq!(it.asks_at(), Some(ms(1000)));
    it.find_silence();
    assert!(it.asks("n1") && it.disputes.disputed().versions == versions(7));

    let mut it = fixture(7);
    it.moved(true, None);
    it.disputes.answered(vip(), Some(&"n1".into()), it.now);
    assert_eq!(it.asks_at(), None, "it is heard to begin");

    let mut it = fixture(7);
    it.moved(true, None);
    it.disputes.answered(vip(), Some(&"n3".into()), it.now);
    assert!(it.asks_at().is_some(), "who had it before may say so once more");
    it.now += ms(1000);
    it.disputes.answered(vip(), None, it.now);
    assert_eq!(it.asks_at(), None, "somebody answers");
    it.pass(ms(5000));
    assert!(!it.asks("n1"));
}

#[test]
fn where_nothing_was_found_out_or_something_else_has_come_nothing_is_disputed() {
    let mut it = fixture(7);
    it.moved(true, None);
    it.pass(ms(5000));
    assert!(!it.asks("n1"), "nobody could ask");
    for other in [None, Some("n2"), Some("n3")] {
        let mut it = fixture(7);
        it.moved(true, None);
        it.announcer = other.map(NodeName::from);
        it.follow();
        assert_eq!(it.asks_at(), None, "{other:?}");
    }
    let mut it = fixture(7);
    it.moved(true, None);
    it.members.remove(&NodeName::from("n1"));
    it.follow();
    assert_eq!(it.asks_at(), None, "it is gone");
}

#[test]
fn the_next_in_rank_look_too_one_after_the_other_and_no_others() {
    let asks_at = |place| {
        let mut it = fixture(7);
        it.moved(false, place);
        it.asks_at()
    };
    assert_eq!(
        [0, 1, 3, 4].map(|place| asks_at(Some(place))),
        [Some(ms(1150)), Some(ms(1300)), Some(ms(1600)), None]
    );
    assert_eq!(asks_at(None), None, "it may not announce it");
}

#[test]
fn what_a_peer_gives_up_is_disputed_until_it_has_caught_up() {
    let mut it = fixture(7);
    it.disputes.raise("n1".into(), vip(), it.now);
    it.told.entry("n1".into()).or_default().conceded = [vip()].into();
    it.pass(ms(60_000));
    it.see(9);
    assert!(it.asks("n1") && it.disputes.disputed().versions == versions(7), "as of when it was raised");
    it.told.entry("n1".into()).or_default().conceded = [].into();
    it.follow();
    assert!(!it.asks("n1"));
}

#[test]
fn what_a_peer_does_not_give_up_is_forgotten_and_not_raised_again_at_once() {
    let mut it = fixture(7);
    it.disputes.raise("n1".into(), vip(), it.now);
    it.pass(ms(2900));
    assert!(it.asks("n1"));
    it.pass(ms(200));
    it.disputes.raise("n1".into(), vip(), it.now);
    assert!(!it.asks("n1"));
    it.pass(ms(5000));
    it.disputes.raise("n1".into(), vip(), it.now);
    assert!(it.asks("n1"));
    it.used = false;
    it.follow();
    assert!(!it.asks("n1"), "there is nothing to announce any more");
}

/// n1 answers for what n2 announces, and after that n1 tells this.
fn unnoticed(told: NodeProfile) -> Vec<Conflict> {
    let mut it = fixture(7);
    let conflict = Conflict { vip: vip(), interface: "eth0".into(), by: layer2::MacAddr([2, 0, 0, 0, 0, 1]) };
    it.interfaces = Some(Interfaces::All);
    it.disputes.answers_too("n1".into(), conflict, it.now);
    it.told.insert("n1".into(), told);
    it.pass(ms(299));
    assert_eq!(it.disputes.take_unnoticed(), [], "it may still react");
    it.pass(ms(1));
    let unnoticed = it.disputes.take_unnoticed();
    it.pass(ms(60_000));
    assert_eq!(it.disputes.take_unnoticed(), [], "once is enough");
    unnoticed
}

#[test]
fn a_peer_that_answers_too_and_does_not_react_to_that_may_not_hear_us() {
    let nothing = NodeProfile::default;
    assert_eq!(unnoticed(nothing()).len(), 1);
    assert_eq!(unnoticed(NodeProfile { conceded: [vip()].into(), ..nothing() }), []);
    let by_node: BTreeMap<NodeName, BTreeSet<IpAddr>> = [("n2".into(), [vip()].into())].into();
    let disputed = |version| Disputed { versions: versions(version), by_node: BTreeMap::clone(&by_node) };
    let asks_back = |version| NodeProfile { disputed: disputed(version), ..NodeProfile::default() };
    assert_eq!(unnoticed(asks_back(6)), [], "it asks the same of us, and will follow");
    assert_eq!(unnoticed(asks_back(7)).len(), 1, "it has seen as much, and neither follows the other");
}

#[test]
fn who_has_seen_less_gives_way_until_it_has_caught_up_or_is_not_asked_any_more() {
    let mut it = fixture(7);
    it.is_asked_by("n1", Some(7));
    assert!(!it.concedes(), "it has seen as much");
    it.is_asked_by("n1", Some(8));
    assert!(it.concedes());
    it.see(8);
    assert!(!it.concedes());
    it.is_asked_by("n1", Some(9));
    it.is_asked_by("n1", None);
    assert!(!it.concedes());
    it.is_asked_by("n1", Some(9));
    it.members.remove(&NodeName::from("n1"));
    it.follow();
    assert!(!it.concedes(), "who asked is gone");
}

#[test]
fn nothing_is_given_up_for_long_that_nobody_else_answers_for() {
    let mut it = fixture(7);
    it.is_asked_by("n1", Some(u64::MAX));
    assert_eq!((it.concedes(), it.asks_at()), (true, Some(ms(2000))));
    it.find_silence();
    assert!(!it.concedes());
    it.pass(ms(59_000));
    assert!(!it.concedes());
    it.pass(ms(2000));
    assert!(it.concedes(), "by now somebody may answer");

    let mut it = fixture(7);
    it.is_asked_by("n1", Some(u64::MAX));
    it.now += ms(2000);
    it.disputes.answered(vip(), None, it.now);
    assert_eq!((it.concedes(), it.asks_at()), (true, Some(ms(30_000))));
    it.find_silence();
    assert!(!it.concedes(), "it has fallen silent");
}

#[test]
fn whoever_asks_and_asks_no_more_time_and_again_leaves_nothing_unanswered_for_long() {
    for version in [8, u64::MAX] {
        let mut it = fixture(7);
        let (mut given_up, mut times) = (Duration::ZERO, 0);
        for _ in 0..100 {
            it.is_asked_by("n1", Some(version));
            if it.concedes() {
                (given_up, times) = (given_up + ms(1900), times + 1);
            }
            it.pass(ms(1900));
            it.is_asked_by("n1", None);
            it.pass(ms(100));
        }
        assert!(given_up <= 2 * TAKEN_OVER + 4 * TAKEN_OVER, "for {given_up:?} of 200 s");
        assert!(times > 2, "by now somebody may answer");
    }
}

#[test]
fn what_somebody_answers_for_may_be_given_up_as_often_as_that_is_asked() {
    let mut it = fixture(7);
    for _ in 0..20 {
        it.is_asked_by("n1", Some(8));
        it.pass(ms(2000));
        it.disputes.answered(vip(), Some(&"n1".into()), it.now);
        assert!(it.concedes());
        it.is_asked_by("n1", None);
    }
}

#[test]
fn who_knows_no_service_of_an_address_gives_it_up_as_often_as_it_is_asked() {
    let mut it = fixture(7);
    it.used = false;
    for _ in 0..20 {
        it.is_asked_by("n1", Some(8));
        assert!(it.concedes());
        it.pass(ms(1900));
        it.is_asked_by("n1", None);
    }
}

#[test]
fn of_two_that_give_way_to_each_other_the_first_by_name_goes_on() {
    for (other, concedes) in [("n1", true), ("n3", false)] {
        let mut it = fixture(7);
        it.is_asked_by(other, Some(8));
        it.told.entry(other.into()).or_default().conceded = [vip()].into();
        it.follow();
        assert_eq!(it.concedes(), concedes, "{other}");
    }
}

#[test]
fn after_a_restore_versions_count_anew_and_what_was_raised_before_is_forgotten() {
    let mut it = fixture(900);
    it.disputes.raise("n1".into(), vip(), it.now);
    it.see(500);
    assert!(!it.asks("n1"));
    it.disputes.raise("n1".into(), vip(), it.now);
    assert_eq!(it.disputes.disputed().versions, versions(500));
    it.is_asked_by("n3", Some(600));
    assert!(it.concedes());
}

#[test]
fn who_does_not_know_what_it_has_seen_disputes_nothing() {
    let mut it = fixture(0);
    it.disputes.raise("n1".into(), vip(), it.now);
    assert!(!it.asks("n1"));
}

#[test]
fn what_is_given_up_stays_so_while_it_is_answered_for_on_any_interface_that_it_was_announced_on() {
    let mut it = fixture(7);
    let interfaces = Interfaces::only(["eth1".into()]);
    it.interfaces = Some(interfaces.clone());
    it.is_asked_by("n1", Some(8));
    assert_eq!(it.disputes.watched()[&vip()].interfaces, interfaces);
    for _ in 0..5 {
        it.find_an_answer_and_silence();
        assert!(it.concedes());
    }
    // The silence on the other interface came last.
    it.find_silence();
    assert!(!it.concedes(), "nobody answers on any");
}
