//! What shows of a speaker that is without something.

use speaker_core::{Impact, Impairment};

use super::*;

fn gauge(what: Impairment, value: u8) -> String {
    format!("ferrolb_speaker_impaired{{part=\"{}\"}} {value}", what.label())
}

#[tokio::test]
async fn what_is_missing_shows_on_readyz_in_an_event_and_in_the_metric_until_it_is_there_again() {
    let it = complete();
    for what in Impairment::ALL {
        for _ in 0..2 {
            assert!(it.readiness.is_ready() && it.shows(&gauge(what, 0)), "{what:?}");
            let told = it.cluster.impaired(what, Impact::NotReady).map(|notice| notice.reason);
            assert_eq!(told, (what != Impairment::Api).then_some("SpeakerImpaired"), "{what:?}");
            assert_eq!(it.readiness.missing(), [what.name()]);
            assert!(it.shows(&gauge(what, 1)));
            assert_eq!(it.cluster.impaired(what, Impact::Tolerated), None);
            assert!(it.readiness.is_ready() && it.shows(&gauge(what, 1)), "{what:?} is still missing");
            assert_eq!(it.cluster.impaired(what, Impact::None), None);
        }
    }
}

#[tokio::test]
async fn what_the_gossip_and_the_lan_side_are_refused_reaches_readyz() {
    let mut it = complete();
    let Event::Lan(Report::Interfaces(links)) = eth0() else { unreachable!("these are interfaces") };
    let without_socket =
        links.into_iter().map(|(number, link)| (number, Link { arp: Err(Unfit::NoSocket), ..link }));
    let without_socket = Event::Lan(Report::Interfaces(without_socket.collect()));
    for (lost, back, what) in [
        (Event::Trouble(Some(gossip::Trouble::Unbound)), Event::Trouble(None), Impairment::GossipAddress),
        (Event::Trouble(Some(gossip::Trouble::OtherKey)), Event::Trouble(None), Impairment::GossipKey),
        (Event::Lan(Report::Follows(false)), Event::Lan(Report::Follows(true)), Impairment::Netlink),
        (without_socket, eth0(), Impairment::PacketSockets),
    ] {
        it.after(lost);
        assert_eq!((it.readiness.missing(), it.shows(&gauge(what, 1))), (vec![what.name()], true));
        it.after(back);
        assert!(it.readiness.is_ready() && it.shows(&gauge(what, 0)), "{what:?}");
    }
}
