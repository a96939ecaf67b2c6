//! ARP: what is announced, and who is answered.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use layer2::{ArpFrame, ArpOperation, Host, MacAddr};
use placement::{Announcement, History, Interfaces, Takeover};

use crate::fixture::{
    CLIENT, CLIENT_V4, OTHER_V4, SPEAKER, V4, answer, at_once_and_again, in_time, on_a_cable, request,
    wait_for,
};

#[test]
fn a_takeover_is_told_by_request_and_reply_at_once_and_again_after_1100_ms() {
    on_a_cable(|speaker, client| {
        in_time(|takeover| {
            let published = Instant::now();
            speaker.announce(&[(V4, takeover)]);
            let request = ArpFrame::gratuitous_request(SPEAKER, V4).emit();
            let reply = ArpFrame::gratuitous_reply(SPEAKER, V4).emit();
            assert_eq!(client.receive_arp(), request);
            let (first, began) = (published.elapsed(), Instant::now());
            assert_eq!(client.receive_arp(), reply);
            assert_eq!(client.receive_arp(), request);
            let gap = began.elapsed();
            assert_eq!(client.receive_arp(), reply);
            let sent = (4 * takeover).to_string();
            speaker.expect_metric("metallb_layer2_gratuitous_sent{ip=\"192.0.2.10\"}", &sent);
            at_once_and_again(first, gap)
        });
    });
}

#[test]
fn an_address_that_is_gone_leaves_no_metrics_behind() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1), (OTHER_V4, 2)]);
        client.expect_burst(SPEAKER, V4);
        let sent = |vip: Ipv4Addr| speaker.metric(&format!("metallb_layer2_gratuitous_sent{{ip=\"{vip}\"}}"));
        assert_ne!(sent(V4), "");
        speaker.announce(&[(OTHER_V4, 2)]);
        let gone = Instant::now();
        while !sent(V4).is_empty() {
            assert!(gone.elapsed() < Duration::from_secs(20), "{}", sent(V4));
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_ne!(sent(OTHER_V4), "");
    });
}

#[test]
fn an_unrelated_change_announces_nothing_and_a_new_takeover_does() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        speaker.announce(&[(OTHER_V4, 2), (V4, 1)]);
        client.expect_burst(SPEAKER, OTHER_V4);
        speaker.announce(&[(OTHER_V4, 2), (V4, 3)]);
        client.expect_burst(SPEAKER, V4);
    });
}

#[test]
fn requests_are_answered_whether_broadcast_unicast_or_probing() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        let unicast = ArpFrame { destination: SPEAKER, ..request(V4) };
        let probe = ArpFrame { sender: Host { mac: CLIENT, ip: Ipv4Addr::UNSPECIFIED }, ..request(V4) };
        for asked in [request(V4), unicast, probe] {
            client.send(asked.emit());
            let expected = ArpFrame {
                destination: CLIENT,
                source: SPEAKER,
                operation: ArpOperation::Reply,
                sender: Host { mac: SPEAKER, ip: V4 },
                target: asked.sender,
            };
            assert_eq!(client.receive_answer(), expected.emit());
        }
        speaker.expect_metric("metallb_layer2_requests_received{ip=\"192.0.2.10\"}", "3");
        speaker.expect_metric("metallb_layer2_responses_sent{ip=\"192.0.2.10\"}", "3");
    });
}

#[test]
fn garbage_and_what_is_not_for_us_are_ignored() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        let good = request(V4).emit();
        for length in 14..good.len() {
            client.send(&good[..length]);
        }
        for at in 14..22 {
            let mut damaged = good;
            damaged[at] ^= 0xff;
            client.send(damaged);
        }
        client.send([&good[..14], &[0xff; 1400]].concat());
        client.send(request(OTHER_V4).emit());
        client.send(ArpFrame { destination: CLIENT, ..request(V4) }.emit());
        client.send(ArpFrame { operation: ArpOperation::Reply, ..request(V4) }.emit());
        client.send(ArpFrame::gratuitous_request(CLIENT, V4).emit());
        client
            .send(ArpFrame { sender: Host { mac: MacAddr::BROADCAST, ip: CLIENT_V4 }, ..request(V4) }.emit());
        // Frames stay in order: had one of those been answered, this would not be the next answer.
        let last = ArpFrame { sender: Host { mac: CLIENT, ip: OTHER_V4 }, ..request(V4) };
        client.send(last.emit());
        assert_eq!(client.receive_answer(), answer(&last, SPEAKER));
        speaker.expect_metric("metallb_layer2_requests_received{ip=\"192.0.2.10\"}", "1");
        speaker.expect_metric("ferrolb_layer2_frames_ignored_total{reason=\"not_announced\"}", "1");
    });
}

#[test]
fn a_withdrawn_address_and_one_for_other_interfaces_are_not_answered_for() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1), (OTHER_V4, 2)]);
        client.expect_burst(SPEAKER, V4);
        client.expect_burst(SPEAKER, OTHER_V4);
        let elsewhere = Announcement {
            interfaces: Interfaces::only(["elsewhere".into()]),
            takeover: Takeover(1),
            history: History::Announced,
        };
        let here = Announcement {
            interfaces: Interfaces::only(["lan0".into()]),
            takeover: Takeover(3),
            history: History::Announced,
        };
        speaker.publish([(V4.into(), elsewhere), (OTHER_V4.into(), here)].into());
        client.expect_burst(SPEAKER, OTHER_V4);
        client.send(request(V4).emit());
        client.send(request(OTHER_V4).emit());
        assert_eq!(client.receive_answer(), answer(&request(OTHER_V4), SPEAKER));
    });
}

#[test]
fn questions_from_before_a_stall_are_not_answered_after_it() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        let stall = speaker.stall();
        client.send(request(V4).emit());
        std::thread::sleep(Duration::from_millis(1_300));
        drop(stall);
        speaker.expect_metric("ferrolb_layer2_frames_ignored_total{reason=\"stale\"}", "1");
        let last = ArpFrame { sender: Host { mac: CLIENT, ip: OTHER_V4 }, ..request(V4) };
        // Questions may count as old until the speaker has caught up.
        let answered = wait_for("an answer", || {
            client.send(last.emit());
            let frames = client.arp_within(Duration::from_millis(200));
            frames.into_iter().find(|frame| frame.destination == CLIENT)
        });
        assert_eq!(answered.emit(), answer(&last, SPEAKER));
    });
}

#[test]
fn frames_of_a_vlan_that_is_not_ours_are_ignored() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(V4, 1)]);
        client.expect_burst(SPEAKER, V4);
        let plain = request(V4).emit();
        client.send([&plain[..12], &[0x81, 0x00, 0x00, 0x05], &plain[12..]].concat());
        let last = ArpFrame { sender: Host { mac: CLIENT, ip: OTHER_V4 }, ..request(V4) };
        client.send(last.emit());
        assert_eq!(client.receive_answer(), answer(&last, SPEAKER));
    });
}
