//! Addresses that somebody else has, or seems to have.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use layer2::{ArpFrame, ArpOperation, Host, MacAddr, NdpFrame, Report};
use speaker::lan;

use crate::fixture::{
    CLIENT_V4, CLIENT_V6, Client, FOREIGN, LINK_LOCAL, SPEAKER, Speaker, V4, V6, ip, on_a_cable, request,
};

const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

/// Which address a foreign host has.
fn conflict(vip: impl Into<IpAddr>) -> (IpAddr, MacAddr) {
    (vip.into(), FOREIGN)
}

/// What is said of the port on the cable.
fn said(report: lan::Report) -> Option<Report> {
    match report {
        lan::Report::Interfaces(_) | lan::Report::Follows(_) => None,
        lan::Report::Port(_, report) => Some(report),
    }
}

fn taken(speaker: &Speaker) -> (IpAddr, MacAddr) {
    speaker.expect_report("a conflict", |report| match said(report)? {
        Report::Taken { vip, by } => Some((vip, by)),
        report @ (Report::Free { .. } | Report::Spoken { .. }) => panic!("{report:?}"),
        Report::Claimed { .. }
        | Report::Held { .. }
        | Report::Rival { .. }
        | Report::PeerAnswers { .. }
        | Report::Answered { .. }
        | Report::Silent { .. }
        | Report::SameLan { .. } => None,
    })
}

fn free(speaker: &Speaker) -> IpAddr {
    speaker.expect_report("silence", |report| match said(report)? {
        Report::Free { vip } => Some(vip),
        report @ (Report::Taken { .. } | Report::Claimed { .. }) => panic!("{report:?}"),
        Report::Spoken { .. }
        | Report::Held { .. }
        | Report::Rival { .. }
        | Report::PeerAnswers { .. }
        | Report::Answered { .. }
        | Report::Silent { .. }
        | Report::SameLan { .. } => None,
    })
}

fn claimed(speaker: &Speaker) -> (IpAddr, MacAddr) {
    speaker.expect_report("a claim", |report| match said(report)? {
        Report::Claimed { vip, by } => Some((vip, by)),
        _ => None,
    })
}

fn is_claim(report: &lan::Report) -> bool {
    matches!(report, lan::Report::Port(_, Report::Claimed { .. }))
}

#[test]
fn a_fresh_address_that_nobody_has_is_asked_for_and_then_announced() {
    on_a_cable(|speaker, client| {
        speaker.set_new(V4);
        speaker.announce(&[(V4, 3)]);
        for _ in 0..3 {
            assert_eq!(client.receive_arp(), ArpFrame::probe(SPEAKER, V4).emit());
        }
        client.expect_burst(SPEAKER, V4);
        assert_eq!(free(speaker), IpAddr::from(V4));
        let spoken = speaker.expect_report("the end of the takeover", |report| match said(report)? {
            Report::Spoken { vip, takeover } => Some((vip, takeover)),
            _ => None,
        });
        assert_eq!(spoken, (V4.into(), 3));
        speaker.expect_metric("ferrolb_layer2_probes_total{ip=\"192.0.2.10\"}", "3");

        speaker.expect_ndp();
        speaker.set_new(V6);
        speaker.announce(&[(V6, 4)]);
        for _ in 0..3 {
            assert_eq!(client.receive_ndp(V6), NdpFrame::probe(SPEAKER, V6));
        }
        assert_eq!(client.receive_ndp(V6), NdpFrame::unsolicited(SPEAKER, LINK_LOCAL, V6));
        assert_eq!(free(speaker), IpAddr::from(V6));
    });
}

#[test]
fn a_fresh_ipv4_address_of_another_host_is_not_announced() {
    on_a_cable(|speaker, client| {
        speaker.set_new(V4);
        speaker.announce(&[(V4, 1)]);
        assert_eq!(client.receive_arp(), ArpFrame::probe(SPEAKER, V4).emit());
        let asker = Host { mac: SPEAKER, ip: Ipv4Addr::UNSPECIFIED };
        client.send(ArpFrame::reply(FOREIGN, V4, asker).emit());
        assert_eq!(taken(speaker), conflict(V4));
        let told = client.arp_within(Duration::from_secs(1));
        assert!(told.iter().all(|frame| frame.sender.ip.is_unspecified()), "{told:?}");
        speaker.expect_metric("ferrolb_layer2_conflicts_total{ip=\"192.0.2.10\",found=\"taken\"}", "1");
        assert_eq!(speaker.metric("metallb_layer2_gratuitous_sent{ip=\"192.0.2.10\"}"), "");
    });
}

#[test]
fn a_fresh_ipv6_address_of_another_host_is_not_announced() {
    on_a_cable(|speaker, client| {
        speaker.expect_ndp();
        speaker.set_new(V6);
        speaker.announce(&[(V6, 1)]);
        assert_eq!(client.receive_ndp(V6), NdpFrame::probe(SPEAKER, V6));
        client.send(NdpFrame::answer(FOREIGN, CLIENT_V6, V6, None, SPEAKER).emit());
        assert_eq!(taken(speaker), conflict(V6));
        assert_eq!(speaker.metric("metallb_layer2_gratuitous_sent{ip=\"2001:db8::12:3456\"}"), "");
    });
}

#[test]
fn a_probe_of_another_host_claims_nothing() {
    on_a_cable(|speaker, client| {
        speaker.set_new(V4);
        speaker.announce(&[(V4, 1)]);
        assert_eq!(client.receive_arp(), ArpFrame::probe(SPEAKER, V4).emit());
        client.send(ArpFrame::probe(FOREIGN, V4).emit());
        assert_eq!(free(speaker), IpAddr::from(V4));
    });
}

#[test]
fn a_host_that_claims_an_announced_address_is_reported_and_met_once() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        speaker.expect_end_of_burst(V4, client);
        let claims = [
            ArpFrame::gratuitous_request(FOREIGN, V4),
            ArpFrame::gratuitous_reply(FOREIGN, V4),
            ArpFrame { sender: Host { mac: FOREIGN, ip: V4 }, ..request(CLIENT_V4) },
        ];
        for claim in claims.iter().cycle().take(30) {
            client.send(claim.emit());
        }
        assert_eq!(claimed(speaker), conflict(V4));
        let told = client.arp_within(Duration::from_secs(2));
        let defence = [ArpFrame::gratuitous_request(SPEAKER, V4), ArpFrame::gratuitous_reply(SPEAKER, V4)];
        assert_eq!(told, defence);
        speaker.expect_metric("ferrolb_layer2_conflicts_total{ip=\"192.0.2.10\",found=\"claimed\"}", "1");

        // Who asks is answered all the same.
        client.send(request(V4).emit());
        assert_eq!(ArpFrame::parse(&client.receive_answer()).unwrap().operation, ArpOperation::Reply);
    });
}

#[test]
fn a_host_that_claims_an_announced_ipv6_address_is_reported() {
    on_a_cable(|speaker, client| {
        speaker.expect_ndp();
        speaker.announce(&[(V6, 1)]);
        client.receive_ndp(V6);
        client.send(NdpFrame::unsolicited(FOREIGN, CLIENT_V6, V6).emit());
        assert_eq!(claimed(speaker), conflict(V6));
    });
}

#[test]
fn a_peer_is_no_foreign_host() {
    on_a_cable(|speaker, client| {
        speaker.set_peer(PEER);
        speaker.set_new(V4);
        speaker.announce(&[(V4, 1)]);
        assert_eq!(client.receive_arp(), ArpFrame::probe(SPEAKER, V4).emit());
        client.send(ArpFrame::probe(PEER, V4).emit());
        client.send(ArpFrame::gratuitous_request(PEER, V4).emit());
        assert_eq!(free(speaker), IpAddr::from(V4));
        client.send(ArpFrame::gratuitous_reply(PEER, V4).emit());
        speaker.expect_metric("ferrolb_layer2_frames_ignored_total{reason=\"peer\"}", "2");
        std::thread::sleep(Duration::from_millis(500));
        assert!(!speaker.reports().iter().any(is_claim));
    });
}

#[test]
fn a_second_interface_of_this_node_on_the_same_lan_is_no_foreign_host() {
    on_a_cable(|speaker, _| {
        ip("link add lan1 address 02:00:00:00:00:05 type veth peer name peer1");
        ip("link add sw type bridge forward_delay 0");
        for end in ["peer0", "peer1"] {
            ip(&format!("link set {end} master sw"));
        }
        for end in ["sw", "peer1", "lan1"] {
            ip(&format!("link set {end} up"));
        }
        speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"arp\"}", "2");
        let client = Client::on("sw");
        speaker.set_new(V4);
        speaker.announce(&[(V4, 1)]);
        assert_eq!(free(speaker), IpAddr::from(V4), "one of the two asks and announces");
        // The other hears the probes and announcements.
        client.expect_burst(SPEAKER, V4);
        std::thread::sleep(Duration::from_millis(500));
        assert!(!speaker.reports().iter().any(is_claim));
    });
}
