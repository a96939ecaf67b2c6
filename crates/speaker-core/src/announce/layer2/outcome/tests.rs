use placement::{Announcement, Takeover};

use super::*;
use crate::interfaces::{Lan, Purpose, Unfit};

const VIP: &str = "192.0.2.1";

fn vip() -> IpAddr {
    VIP.parse().expect("an address")
}

fn links(interfaces: &[(&str, Result<(), Unfit>)]) -> Links {
    let link = |(name, arp): &(&str, Result<(), Unfit>)| {
        let arp = arp.map(|()| layer2::Arp { mac: MacAddr([2, 0, 0, 0, 0, 1]) });
        Link {
            name: (*name).into(),
            purpose: Purpose::Lan,
            mac: None,
            arp,
            ndp: Err(Unfit::Down),
            lan: Lan::default(),
        }
    };
    (1..).zip(interfaces.iter().map(link)).collect()
}

/// The outcomes, and a clock.
struct Fixture {
    outcomes: Outcomes,
    now: Instant,
}

impl std::ops::Deref for Fixture {
    type Target = Outcomes;

    fn deref(&self) -> &Outcomes {
        &self.outcomes
    }
}

impl std::ops::DerefMut for Fixture {
    fn deref_mut(&mut self) -> &mut Outcomes {
        &mut self.outcomes
    }
}

impl Fixture {
    fn judge<'a>(
        &mut self,
        announcements: &Announcements,
        services: impl Iterator<Item = (&'a ServiceKey, &'a [IpAddr], &'a Interfaces)>,
    ) -> Vec<(ServiceKey, Notice)> {
        self.outcomes.judge(announcements, services, self.now)
    }
}

fn blank() -> Fixture {
    Fixture { outcomes: Outcomes::new("n1".into()), now: Instant::now() }
}

fn outcomes(interfaces: &[(&str, Result<(), Unfit>)]) -> Fixture {
    let mut it = blank();
    it.interfaces(&links(interfaces));
    it
}

/// On eth0, where the LAN has nothing against the address.
fn spoken() -> Fixture {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    it.spoken(vip(), "eth0".into());
    it
}

fn conflict() -> Conflict {
    Conflict { vip: vip(), interface: "eth0".into(), by: MacAddr([2, 0, 0, 0, 0, 9]) }
}

/// The reasons and messages told when one Service is to be announced.
fn judge(it: &mut Fixture, history: History, interfaces: &Interfaces) -> Vec<(&'static str, String)> {
    let key = ServiceKey::new("default", "web");
    let announcement = Announcement { interfaces: interfaces.clone(), takeover: Takeover(1), history };
    let announcements = Announcements::from([(vip(), announcement)]);
    let vips = [vip()];
    let mut notices = it.judge(&announcements, [(&key, &vips[..], interfaces)].into_iter());
    it.now += SETTLE;
    let now = it.now;
    notices.extend(it.poll(now));
    notices.into_iter().map(|(_, notice)| (notice.reason, notice.message)).collect()
}

fn reasons(it: &mut Fixture, history: History) -> Vec<&'static str> {
    judge(it, history, &Interfaces::All).into_iter().map(|(reason, _)| reason).collect()
}

#[test]
fn an_assignment_is_told_once_and_again_when_it_comes_anew() {
    let mut it = spoken();
    let told = judge(&mut it, History::Announced, &Interfaces::All);
    let expected = "announcing from node \"n1\" with protocol \"layer2\"".to_owned();
    assert_eq!(told, [("nodeAssigned", expected)]);
    assert!(reasons(&mut it, History::Announced).is_empty());
    it.forget(&ServiceKey::new("default", "web"));
    assert_eq!(reasons(&mut it, History::Announced), ["nodeAssigned"]);
}

#[test]
fn nothing_is_told_before_the_interfaces_are_known() {
    let mut it = blank();
    it.spoken(vip(), "eth0".into());
    assert!(reasons(&mut it, History::Announced).is_empty());
}

#[test]
fn every_interface_that_was_looked_at_is_named_with_its_fault() {
    let mut it = outcomes(&[("eth0", Err(Unfit::Down)), ("eth1", Ok(()))]);
    let only = Interfaces::only(["eth0", "eth7"].map(Into::into));
    let told = judge(&mut it, History::Announced, &only);
    assert_eq!(told[0].0, "announceFailed");
    let expected = "no interface will do for 192.0.2.1 (eth0: it is down; eth7: no such interface)";
    assert!(told[0].1.ends_with(expected), "{told:?}");
    it.interfaces(&links(&[("eth7", Ok(()))]));
    it.free(vip(), "eth7".into());
    assert_eq!(judge(&mut it, History::Announced, &only)[0].0, "nodeAssigned");
}

#[test]
fn a_host_that_claims_an_address_under_ever_new_names_fills_no_memory() {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    for number in 0..100 {
        let by = MacAddr([2, 0, 0, 0, 1, number]);
        let now = it.now;
        assert!(it.claimed(&Conflict { by, ..conflict() }, now));
    }
    assert_eq!(it.claims[&vip()].len(), MOST_HOSTS);
    let (by, now) = (MacAddr([2, 0, 0, 0, 1, 99]), it.now);
    assert!(!it.claimed(&Conflict { by, ..conflict() }, now), "the latest is known");
}

#[test]
fn a_foreign_host_that_goes_on_claiming_an_address_is_told_of_once() {
    let mut it = spoken();
    judge(&mut it, History::Announced, &Interfaces::All);
    let now = it.now;
    assert_eq!([it.claimed(&conflict(), now), it.claimed(&conflict(), now)], [true, false]);
    it.judge(&Announcements::new(), std::iter::empty());
    assert!(it.claimed(&conflict(), now), "it was given up in between");
}

#[test]
fn a_new_address_waits_for_the_answer_of_the_lan() {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    assert!(reasons(&mut it, History::New).is_empty());
    it.taken(conflict());
    let told = judge(&mut it, History::New, &Interfaces::All);
    assert_eq!(told[0].0, "addressConflict");
    assert!(told[0].1.contains("02:00:00:00:00:09"), "{told:?}");
    assert!(!it.is_announced(&ServiceKey::new("default", "web")));
    it.free(vip(), "eth0".into());
    assert_eq!(reasons(&mut it, History::New), ["nodeAssigned"]);
}

#[test]
fn all_interfaces_of_a_conflict_are_named() {
    let mut it = outcomes(&[("eth0", Ok(())), ("eth1", Ok(()))]);
    it.taken(conflict());
    it.taken(Conflict { interface: "eth1".into(), ..conflict() });
    let told = judge(&mut it, History::New, &Interfaces::All);
    assert!(told[0].1.contains("on eth0") && told[0].1.contains("on eth1"), "{told:?}");
    it.free(vip(), "eth1".into());
    assert!(judge(&mut it, History::Announced, &Interfaces::All).is_empty(), "nobody else has it");
    it.taken(Conflict { by: MacAddr([2, 0, 0, 0, 0, 8]), ..conflict() });
    let told = judge(&mut it, History::Announced, &Interfaces::All);
    assert!(told[0].1.contains("where nobody has it, it is announced"), "{told:?}");
}

#[test]
fn a_conflict_is_told_once_whichever_interface_is_done_first() {
    for first_free in [true, false] {
        let mut it = outcomes(&[("eth0", Ok(())), ("eth1", Ok(()))]);
        let answers: [fn(&mut Fixture); 2] = [|it| it.free(vip(), "eth1".into()), |it| it.taken(conflict())];
        let (key, vips) = (ServiceKey::new("default", "web"), [vip()]);
        let announcement =
            Announcement { interfaces: Interfaces::All, takeover: Takeover(1), history: History::New };
        let announcements = Announcements::from([(vip(), announcement)]);
        let mut told = Vec::new();
        for number in 0..2 {
            answers[if first_free { number } else { 1 - number }](&mut it);
            told.extend(it.judge(&announcements, [(&key, &vips[..], &Interfaces::All)].into_iter()));
            it.now += SETTLE / 4;
        }
        let later = it.deadline().expect("it is told soon");
        told.extend(it.poll(later));
        let told: Vec<_> = told.into_iter().map(|(_, notice)| notice.reason).collect();
        let expected: &[_] =
            if first_free { &["nodeAssigned", "addressConflict"] } else { &["addressConflict"] };
        assert_eq!(told, expected);
        assert_eq!(it.deadline(), None);
    }
}

#[test]
fn what_changes_to_and_fro_is_told_seldom_and_how_it_is_in_the_end() {
    let mut it = spoken();
    let mut told = reasons(&mut it, History::Announced).len();
    for _ in 0..60 {
        it.held(conflict());
        told += reasons(&mut it, History::Announced).len();
        it.now += Duration::from_secs(5);
        it.free(vip(), "eth0".into());
        told += reasons(&mut it, History::Announced).len();
        it.now += Duration::from_secs(5);
    }
    assert!((6..=17).contains(&told), "{told} events in ten minutes");
    it.held(conflict());
    let mut last = reasons(&mut it, History::Announced);
    for _ in 0..2 {
        it.now = it.deadline().unwrap_or(it.now);
        let now = it.now;
        last.extend(it.poll(now).into_iter().map(|(_, notice)| notice.reason));
    }
    assert_eq!(it.deadline(), None);
    assert!(it.by_service.values().all(|record| record.told == record.now), "{last:?}");
}

#[test]
fn what_comes_of_a_service_is_not_known_before_the_lan_was_asked() {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    let v6: IpAddr = "2001:db8::1".parse().expect("an address");
    let is_known = |it: &Fixture| it.is_known(&[vip(), v6], &Interfaces::All);
    assert!(reasons(&mut it, History::Announced).is_empty());
    assert!(!is_known(&it), "NDP does not work, and the LAN was not asked by ARP");
    assert!(it.spoken(vip(), "eth0".into()));
    assert_eq!(reasons(&mut it, History::Announced), ["nodeAssigned"]);
    assert!(is_known(&it) && !it.spoken(vip(), "eth0".into()));
}

#[test]
fn each_address_of_a_service_is_for_itself() {
    let mut it = spoken();
    let key = ServiceKey::new("default", "web");
    let v6: IpAddr = "2001:db8::1".parse().expect("an address");
    let announcement = |takeover| Announcement {
        interfaces: Interfaces::All,
        takeover: Takeover(takeover),
        history: History::Announced,
    };
    let announcements = Announcements::from([(vip(), announcement(1)), (v6, announcement(2))]);
    let judge = |it: &mut Fixture| {
        let vips = [vip(), v6];
        let mut notices = it.judge(&announcements, [(&key, &vips[..], &Interfaces::All)].into_iter());
        it.now += SETTLE;
        let now = it.now;
        notices.extend(it.poll(now));
        notices.into_iter().map(|(_, notice)| notice.reason).collect::<Vec<_>>()
    };
    let mut silent = outcomes(&[("eth0", Ok(()))]);
    assert_eq!(judge(&mut silent), ["announceFailed"], "the LAN was not asked for the other one yet");
    assert!(!silent.is_announced(&key));
    silent.spoken(vip(), "eth0".into());
    assert_eq!(judge(&mut silent), ["nodeAssigned"]);
    assert_eq!(judge(&mut it), ["announceFailed", "nodeAssigned"], "NDP does not work");
    assert!(it.is_announced(&key));
    it.taken(conflict());
    assert_eq!(judge(&mut it), ["addressConflict"]);
    assert!(!it.is_announced(&key));
    it.free(vip(), "eth0".into());
    assert_eq!(judge(&mut it), ["nodeAssigned"]);
}

#[test]
fn an_address_that_an_unheard_peer_answers_for_is_told_as_such() {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    it.held(conflict());
    assert_eq!(reasons(&mut it, History::Announced), ["peerUnheard"]);
    assert_eq!(it.contested(), [vip()].into(), "who takes over from here must ask");
    it.free(vip(), "eth0".into());
    assert!(it.contested().is_empty());
    assert_eq!(reasons(&mut it, History::Announced), ["nodeAssigned"]);
}

#[test]
fn an_address_that_an_unheard_peer_answers_for_on_one_interface_is_announced_on_another() {
    let mut it = outcomes(&[("eth0", Ok(())), ("eth1", Ok(()))]);
    it.held(conflict());
    it.free(vip(), "eth1".into());
    let notices = reasons(&mut it, History::Announced);
    assert_eq!(notices, ["peerUnheard", "nodeAssigned"]);
    assert!(it.is_announced(&ServiceKey::new("default", "web")));
}
