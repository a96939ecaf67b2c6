use placement::{Announcement, Takeover};

use super::*;
use crate::interfaces::{Purpose, Unfit};

const VIP: &str = "192.0.2.1";

fn vip() -> IpAddr {
    VIP.parse().expect("an address")
}

fn links(interfaces: &[(&str, Result<(), Unfit>)]) -> Links {
    let link = |(name, arp): &(&str, Result<(), Unfit>)| {
        let arp = arp.map(|()| layer2::Arp { mac: MacAddr([2, 0, 0, 0, 0, 1]) });
        Link { name: (*name).into(), purpose: Purpose::Lan, mac: None, arp, ndp: Err(Unfit::Down) }
    };
    (1..).zip(interfaces.iter().map(link)).collect()
}

fn outcomes(interfaces: &[(&str, Result<(), Unfit>)]) -> Outcomes {
    let mut it = Outcomes::new("n1".into());
    it.interfaces(&links(interfaces));
    it
}

fn conflict() -> Conflict {
    Conflict { vip: vip(), interface: "eth0".into(), by: MacAddr([2, 0, 0, 0, 0, 9]) }
}

/// The reasons and messages told when one Service is to be announced.
fn judge(it: &mut Outcomes, history: History, interfaces: &Interfaces) -> Vec<(&'static str, String)> {
    let key = ServiceKey::new("default", "web");
    let announcement = Announcement { interfaces: interfaces.clone(), takeover: Takeover(1), history };
    let announcements = Announcements::from([(vip(), announcement)]);
    let vips = [vip()];
    let notices = it.judge(&announcements, [(&key, &vips[..], interfaces)].into_iter());
    notices.into_iter().map(|(_, notice)| (notice.reason, notice.message)).collect()
}

fn reasons(it: &mut Outcomes, history: History) -> Vec<&'static str> {
    judge(it, history, &Interfaces::All).into_iter().map(|(reason, _)| reason).collect()
}

#[test]
fn an_assignment_is_told_once_and_again_when_it_comes_anew() {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    let told = judge(&mut it, History::Announced, &Interfaces::All);
    let expected = "announcing from node \"n1\" with protocol \"layer2\"".to_owned();
    assert_eq!(told, [("nodeAssigned", expected)]);
    assert!(reasons(&mut it, History::Announced).is_empty());
    it.forget(&ServiceKey::new("default", "web"));
    assert_eq!(reasons(&mut it, History::Announced), ["nodeAssigned"]);
}

#[test]
fn nothing_is_told_before_the_interfaces_are_known() {
    let mut it = Outcomes::new("n1".into());
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
    assert_eq!(judge(&mut it, History::Announced, &only)[0].0, "nodeAssigned");
}

#[test]
fn a_host_that_claims_an_address_under_ever_new_names_fills_no_memory() {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    for number in 0..100 {
        assert!(it.claimed(&Conflict { by: MacAddr([2, 0, 0, 0, 1, number]), ..conflict() }));
    }
    assert_eq!(it.claims[&vip()].len(), MOST_HOSTS);
    assert!(!it.claimed(&Conflict { by: MacAddr([2, 0, 0, 0, 1, 99]), ..conflict() }), "the latest is known");
}

#[test]
fn a_foreign_host_that_goes_on_claiming_an_address_is_told_of_once() {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    judge(&mut it, History::Announced, &Interfaces::All);
    assert_eq!([it.claimed(&conflict()), it.claimed(&conflict())], [true, false]);
    it.judge(&Announcements::new(), std::iter::empty());
    assert!(it.claimed(&conflict()), "it was given up in between");
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
    let told = judge(&mut it, History::Announced, &Interfaces::All);
    assert_eq!(told[0].0, "addressConflict", "it is not announced everywhere");
    assert!(told[0].1.contains("where nobody has it, it is announced"), "{told:?}");
}

#[test]
fn each_address_of_a_service_is_for_itself() {
    let mut it = outcomes(&[("eth0", Ok(()))]);
    let key = ServiceKey::new("default", "web");
    let v6: IpAddr = "2001:db8::1".parse().expect("an address");
    let announcement = |takeover| Announcement {
        interfaces: Interfaces::All,
        takeover: Takeover(takeover),
        history: History::Announced,
    };
    let announcements = Announcements::from([(vip(), announcement(1)), (v6, announcement(2))]);
    let judge = |it: &mut Outcomes| {
        let vips = [vip(), v6];
        let notices = it.judge(&announcements, [(&key, &vips[..], &Interfaces::All)].into_iter());
        notices.into_iter().map(|(_, notice)| notice.reason).collect::<Vec<_>>()
    };
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
