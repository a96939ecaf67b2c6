//! Interfaces that come, go and change.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use layer2::{ArpFrame, MacAddr};
use placement::{Announcement, History, Interfaces, Takeover};
use speaker::lan::Report;
use speaker_core::{Link, Unfit};

use crate::fixture::{
    Client, OTHER_V4, SPEAKER, Speaker, V4, V6, answer, cable, in_time, ip, ip_batch, on_a_cable,
    on_a_cable_refreshed, request, wait_for,
};

#[test]
fn an_interface_that_comes_back_is_used_again_and_told_afresh() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);

        for flap in ["link set lan0 down", "link set peer0 down"] {
            let interface = flap.split(' ').nth(2).unwrap();
            ip(flap);
            speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"arp\"}", "0");
            ip(&format!("link set {interface} up"));
            client.expect_burst(SPEAKER, V4);
        }

        ip("link set lan0 address 02:00:00:00:00:09");
        client.expect_burst(MacAddr([2, 0, 0, 0, 0, 9]), V4);

        ip("link del lan0");
        cable();
        let client = Client::new();
        client.expect_burst(SPEAKER, V4);
        client.send(request(V4).emit());
        assert_eq!(client.receive_answer(), answer(&request(V4), SPEAKER));
    });
}

#[test]
fn where_no_socket_can_be_had_nothing_is_announced_until_one_can() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        speaker.set_sockets(false);
        ip("link set lan0 down");
        expect_interface(speaker, "lan0", |seen| seen.arp == Err(Unfit::Down));
        ip("link set lan0 up");
        expect_interface(speaker, "lan0", |seen| seen.arp == Err(Unfit::NoSocket));
        expect_interface(speaker, "lan0", |seen| seen.ndp == Err(Unfit::NoSocket));
        speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"arp\"}", "0");
        speaker.set_sockets(true);
        expect_interface(speaker, "lan0", |seen| seen.arp.is_ok() && seen.ndp.is_ok());
        client.expect_burst(SPEAKER, V4);
    });
}

#[test]
fn an_interface_is_promiscuous_where_it_is_told_to_and_only_while_it_is_announced_on() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        assert_eq!(promiscuity("lan0"), 0);
        ip("link set lan0 down");
        ip("link set lan0 name wlan0");
        ip("link set wlan0 up");
        client.expect_burst(SPEAKER, V4);
        // One for each protocol.
        wait_for("promiscuity", || (promiscuity("wlan0") == 2).then_some(()));
        let to_another = ArpFrame { destination: MacAddr([2, 0, 0, 0, 0, 7]), ..request(V4) };
        client.send(to_another.emit());
        client.send(request(V4).emit());
        assert_eq!(client.receive_answer(), answer(&request(V4), SPEAKER));
        speaker.expect_metric("metallb_layer2_requests_received{ip=\"192.0.2.10\"}", "1");
        ip("link set wlan0 down");
        speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"arp\"}", "0");
        wait_for("its end", || (promiscuity("wlan0") == 0).then_some(()));
    });
}

/// How many want the interface to be promiscuous.
fn promiscuity(interface: &str) -> u32 {
    let shown = Command::new("ip").args(["-details", "link", "show", interface]).output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    let (_, count) = shown.split_once(" promiscuity ").unwrap();
    count.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_bridge_speaks_for_the_interface_that_joins_it() {
    const BRIDGE: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        ip("link add br0 address 02:00:00:00:00:03 type bridge forward_delay 0");
        ip("link set lan0 master br0");
        ip("link set br0 up");
        client.expect_burst(BRIDGE, V4);
        client.send(request(V4).emit());
        assert_eq!(client.receive_answer(), answer(&request(V4), BRIDGE));
    });
}

/// The kernel passes nothing from the one to the other, so they cannot hear each other.
#[test]
fn of_a_macvlan_and_the_interface_below_it_one_answers() {
    const CHILD: MacAddr = MacAddr([2, 0, 0, 0, 0, 5]);
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        ip("link add mv0 link lan0 address 02:00:00:00:00:05 type macvlan mode bridge");
        ip("link set mv0 up");
        expect_interface(speaker, "mv0", |seen| seen.arp.is_ok() && seen.lan.shared_with.is_some());
        speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"arp\"}", "2");
        let only = |interfaces| {
            let announcement =
                Announcement { interfaces, takeover: Takeover(2), history: History::Announced };
            speaker.publish([(V4.into(), announcement)].into());
        };
        only(Interfaces::All);
        client.send(request(V4).emit());
        let heard = client.arp_within(Duration::from_secs(1));
        assert!(!heard.is_empty() && heard.iter().all(|frame| frame.sender.mac == SPEAKER), "{heard:?}");
        only(Interfaces::only(["mv0".into()]));
        client.expect_burst(CHILD, V4);
        client.send(request(V4).emit());
        assert_eq!(client.receive_answer(), answer(&request(V4), CHILD));
    });
}

#[test]
fn an_interface_is_reported_with_the_prefixes_of_its_addresses() {
    on_a_cable(|speaker, _| {
        ip("address add 192.0.2.77/24 dev lan0");
        ip("link set peer0 down");
        expect_interface(speaker, "lan0", |seen| {
            let contain = seen.lan.prefixes.iter().any(|prefix| prefix.contains(V4.into()));
            seen.arp == Err(Unfit::NoCarrier) && contain && seen.lan.shared_with.is_none()
        });
    });
}

#[test]
fn an_interface_answers_to_its_new_name() {
    on_a_cable(|speaker, client| {
        let only = |name: &str, takeover| Announcement {
            interfaces: Interfaces::only([name.into()]),
            takeover: Takeover(takeover),
            history: History::Announced,
        };
        speaker.publish([(V4.into(), only("lan0", 1)), (OTHER_V4.into(), only("wan0", 2))].into());
        client.expect_burst(SPEAKER, V4);
        ip("link set lan0 name wan0");
        client.expect_burst(SPEAKER, OTHER_V4);
        client.send(request(V4).emit());
        client.send(request(OTHER_V4).emit());
        assert_eq!(client.receive_answer(), answer(&request(OTHER_V4), SPEAKER));
    });
}

#[test]
fn every_interface_is_reported_with_what_it_can_do_and_why_not() {
    on_a_cable(|speaker, _| {
        expect_interface(speaker, "lan0", |seen| {
            seen.mac == Some(SPEAKER) && seen.arp.is_ok() && seen.ndp.is_ok()
        });
        let both = |seen: &Link, reason| (seen.arp, seen.ndp) == (Err(reason), Err(reason));
        ip("link set lan0 arp off");
        expect_interface(speaker, "lan0", |seen| both(seen, Unfit::NoArp));
        ip("link set lan0 arp on");
        expect_interface(speaker, "lan0", |seen| seen.arp.is_ok());
        ip("link set peer0 down");
        expect_interface(speaker, "lan0", |seen| both(seen, Unfit::NoCarrier));
        ip("link set lan0 down");
        expect_interface(speaker, "lan0", |seen| both(seen, Unfit::Down));
        ip("link add br0 type bridge");
        ip("link set lan0 master br0");
        ip("link set lan0 up");
        expect_interface(speaker, "lan0", |seen| both(seen, Unfit::Enslaved));
        ip("link set lan0 nomaster");
        ip("link set peer0 up");
        ip("link set lan0 addrgenmode none");
        ip("address flush dev lan0");
        expect_interface(speaker, "lan0", |seen| seen.arp.is_ok() && seen.ndp == Err(Unfit::NoLinkLocal));
        expect_excluded(speaker);
    });
}

fn expect_excluded(speaker: &Speaker) {
    ip("link add peer9 type bridge");
    expect_interface(speaker, "peer9", |seen| seen.arp == Err(Unfit::Excluded));
}

fn expect_interface(speaker: &Speaker, name: &str, is: impl Fn(&Link) -> bool) {
    speaker.expect_report(name, |report| match report {
        Report::Interfaces(interfaces) => {
            interfaces.values().any(|seen| seen.name.as_str() == name && is(seen)).then_some(())
        }
        Report::Follows(_) | Report::Port(..) => None,
    });
}

#[test]
fn interfaces_that_come_and_go_in_number_do_not_keep_the_speaker_waiting() {
    const PODS: usize = 60;
    let count = |count: usize| format!("{count}");
    let round = |speaker: &Speaker| {
        speaker.longest_pause();
        ip_batch((0..PODS).flat_map(|pod| {
            [
                format!("link add pod{pod} type veth peer name peer{}", pod + 1),
                format!("link set pod{pod} up"),
                format!("link set peer{} up", pod + 1),
            ]
        }));
        speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"ndp\"}", &count(PODS + 1));
        let coming = speaker.longest_pause();
        ip_batch((0..PODS).map(|pod| format!("link del pod{pod}")));
        speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"ndp\"}", &count(1));
        [coming, speaker.longest_pause()]
    };
    on_a_cable(|speaker, _| {
        speaker.announce(&[(IpAddr::from(V4), 1), (IpAddr::from(V6), 1)]);
        speaker.expect_ndp();
        in_time(|_| {
            let pauses = round(speaker);
            let short = pauses.iter().all(|pause| *pause < Duration::from_millis(150));
            short.then_some(()).ok_or_else(|| format!("kept waiting for {pauses:?}"))
        });
    });
}

#[test]
fn an_announced_address_is_refreshed() {
    on_a_cable_refreshed(Some(Duration::from_millis(200)), |speaker, client| {
        let began = Instant::now();
        speaker.announce(&[(V4, 1)]);
        speaker.expect_end_of_burst(V4, client);
        let refreshes: Vec<_> = (0..8).map(|_| ArpFrame::parse(&client.receive_arp()).unwrap()).collect();
        let span = began.elapsed();
        assert!(span > Duration::from_millis(8 * 180), "eight refreshes in {span:?}");
        let expected = ArpFrame::gratuitous_request(SPEAKER, V4);
        assert!(refreshes.iter().all(|frame| *frame == expected), "{refreshes:?}");
        wait_for("all refreshes to be counted", || {
            let counted = speaker.metric("ferrolb_layer2_refreshes_total{ip=\"192.0.2.10\"}");
            (counted.parse::<usize>().ok()? >= refreshes.len()).then_some(())
        });
    });
}

#[test]
fn refreshes_of_many_addresses_stay_below_a_hundred_in_a_second() {
    on_a_cable_refreshed(Some(Duration::from_millis(200)), |speaker, _| {
        let vips: Vec<_> = (0..40).map(|last| ([198, 51, 100, last], 1)).collect();
        speaker.announce(&vips);
        let refreshes = || speaker.metric_sum("ferrolb_layer2_refreshes_total");
        wait_for("the end of the bursts", || (refreshes() > 20).then_some(()));
        let (before, began) = (refreshes(), Instant::now());
        wait_for("two seconds' worth", || (refreshes() > before + 200).then_some(()));
        let rate = f64::from(refreshes() - before) / began.elapsed().as_secs_f64();
        assert!(rate < 105.0, "{rate} refreshes in a second");
    });
}
