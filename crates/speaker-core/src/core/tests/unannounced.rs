//! Services that nobody announces.

use super::*;

/// A cluster without any advertisement, whose lowest-named member is this one, after this long.
fn unadvertised(after: Duration) -> Fixture {
    let mut it = complete();
    it.after(Input::Advertisements(one("ad".into(), None)));
    assert_eq!(it.told(), Vec::<&str>::new(), "it may come back");
    it.now += after;
    it.after(Input::Time);
    it
}

#[test]
fn the_owners_of_services_that_nobody_announces_are_told_why_once() {
    let mut it = unadvertised(Duration::from_secs(5));
    let notice = |it: &Fixture, name: &str| {
        let key = ServiceKey::new("default", name);
        it.outputs.iter().find_map(|output| match output {
            Output::Notice(service, notice) if *service == key => Some(notice.message.clone()),
            _ => None,
        })
    };
    assert_eq!(it.told(), ["notAnnounced", "notAnnounced"]);
    let expected = "192.0.2.1 is not announced: there is no L2Advertisement";
    assert_eq!(notice(&it, "one").as_deref(), Some(expected));
    let wait = |it: &mut Fixture, input: Input| {
        it.after(input);
        it.now += Duration::from_secs(6);
        it.after(Input::Time);
        it.told()
    };
    assert!(wait(&mut it, Input::Nodes(one("n3".into(), node("n3").1))).is_empty(), "nothing is new");
    assert_eq!(wait(&mut it, Input::Pools(list([pool("198.51.100.0/24")]))).len(), 2, "another reason");
    assert!(wait(&mut it, Input::Services(one(ServiceKey::new("default", "one"), None))).is_empty());
    assert!(wait(&mut it, Input::Pools(list([pool("192.0.2.0/24")]))).len() == 1);
    it.after(Input::Advertisements(list([advertisement(&[])])));
    it.after(Input::Advertisements(one("ad".into(), None)));
    assert_eq!(wait(&mut it, Input::Time), ["notAnnounced"], "it was announced in between");
}

#[test]
fn a_service_that_is_announced_again_soon_is_not_told_of() {
    let mut it = unadvertised(Duration::from_secs(4));
    it.after(Input::Advertisements(list([advertisement(&[])])));
    it.now += Duration::from_secs(10);
    it.after(Input::Time);
    assert!(!it.told().contains(&"notAnnounced"));
    assert!(it.core.poll_timeout().is_none_or(|at| at > it.now));
}

#[test]
fn one_speaker_tells_why_a_service_is_not_announced() {
    let mut it = complete();
    it.after(members(&["n0", "n1", "n2"]));
    it.after(Input::Advertisements(one("ad".into(), None)));
    it.now += Duration::from_secs(5);
    it.after(Input::Time);
    assert_eq!(it.told(), Vec::<&str>::new(), "n0 tells");
}
