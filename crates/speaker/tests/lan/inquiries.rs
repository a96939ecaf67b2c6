//! Who answers for an address, for whoever wants to know.

use std::net::{IpAddr, Ipv4Addr};

use layer2::{ArpFrame, Host, NdpFrame};

use crate::fixture::{CLIENT, CLIENT_V6, FOREIGN, SPEAKER, V4, V6, on_a_cable};

#[test]
fn whoever_answers_an_inquiry_is_told_of_and_nothing_is_announced() {
    on_a_cable(|speaker, client| {
        speaker.expect_ndp();
        let inquired = speaker.inquire(V4);
        assert_eq!(client.receive_arp(), ArpFrame::probe(SPEAKER, V4).emit());
        let asker = Host { mac: SPEAKER, ip: Ipv4Addr::UNSPECIFIED };
        for by in [FOREIGN, CLIENT] {
            client.send(ArpFrame::reply(by, V4, asker).emit());
        }
        let trace = inquired.join().unwrap();
        assert_eq!((trace.node.as_str(), trace.ip), ("n1", Some(IpAddr::from(V4))));
        let [place] = trace.places.as_slice() else { panic!("one interface, for ARP only: {trace:?}") };
        assert_eq!((place.interface.as_str(), place.asked, place.here), ("lan0", true, false));
        assert_eq!(place.mac, SPEAKER.to_string());
        assert_eq!(place.answers, [CLIENT, FOREIGN].map(|mac| mac.to_string()));

        let inquired = speaker.inquire(V6);
        let question = client.receive_ndp(V6);
        assert_eq!(question, NdpFrame::question(SPEAKER, question.from, V6));
        assert!(question.from.is_unicast_link_local(), "{question:?}");
        client.send(NdpFrame::answer(FOREIGN, CLIENT_V6, V6, Some(question.from), SPEAKER).emit());
        let trace = inquired.join().unwrap();
        assert_eq!(trace.places[0].answers, [FOREIGN.to_string()]);
        assert!(speaker.metric("metallb_layer2_gratuitous_sent").is_empty());
        assert!(speaker.metric("ferrolb_layer2_probes_total").is_empty(), "no series for what strangers ask");
    });
}

#[test]
fn who_announces_the_address_says_that_it_does() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        let trace = speaker.inquire(V4).join().unwrap();
        assert!(trace.places[0].here && trace.places[0].answers.is_empty(), "{trace:?}");
    });
}
