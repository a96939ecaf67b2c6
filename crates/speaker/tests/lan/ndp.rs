//! NDP: what is announced, who is answered, and which groups are joined.

use std::net::Ipv6Addr;
use std::time::Instant;

use layer2::{ALL_NODES, Cause, Known, MacAddr, NdpFrame, NdpMessage, solicited_node};

use crate::fixture::{
    CLIENT, CLIENT_V6, Client, LINK_LOCAL, OTHER_V6, SPEAKER, V6, at_once_and_again, in_time, ip, on_a_cable,
    solicitation, wait_for,
};

#[test]
fn a_takeover_is_told_to_all_nodes_and_replaces_what_they_know() {
    on_a_cable(|speaker, client| {
        speaker.expect_ndp();
        let expected = NdpFrame {
            destination: MacAddr([0x33, 0x33, 0, 0, 0, 1]),
            source: SPEAKER,
            to: ALL_NODES,
            from: LINK_LOCAL,
            target: V6,
            message: NdpMessage::Advertisement {
                target: Some(SPEAKER),
                cause: Cause::Unsolicited,
                known: Known::Overridden,
            },
        };
        in_time(|takeover| {
            let published = Instant::now();
            speaker.announce(&[(V6, takeover)]);
            assert_eq!(client.receive_ndp(V6), expected);
            let (first, began) = (published.elapsed(), Instant::now());
            assert_eq!(client.receive_ndp(V6), expected);
            let gap = began.elapsed();
            let sent = (2 * takeover).to_string();
            speaker.expect_metric("metallb_layer2_gratuitous_sent{ip=\"2001:db8::12:3456\"}", &sent);
            at_once_and_again(first, gap)
        });
    });
}

#[test]
fn solicitations_are_answered_whether_to_the_group_by_unicast_or_probing() {
    on_a_cable(|speaker, client| {
        announced(speaker, client);
        let advertisement = |cause, known| NdpMessage::Advertisement { target: Some(SPEAKER), cause, known };
        let solicited = NdpFrame {
            destination: CLIENT,
            source: SPEAKER,
            to: CLIENT_V6,
            from: LINK_LOCAL,
            target: V6,
            message: advertisement(Cause::Solicited, Known::Stays),
        };
        let unicast = NdpFrame { destination: SPEAKER, to: V6, ..solicitation(V6) };
        let unreachability = NdpFrame { message: NdpMessage::Solicitation { source: None }, ..unicast };
        for asked in [solicitation(V6), unicast, unreachability] {
            client.send(asked.emit());
            assert_eq!(client.receive_solicited(V6), solicited);
        }

        client.send(NdpFrame::probe(CLIENT, V6).emit());
        let to_all = NdpFrame {
            destination: MacAddr::of_group(ALL_NODES),
            to: ALL_NODES,
            message: advertisement(Cause::Unsolicited, Known::Overridden),
            ..solicited
        };
        client.expect_ndp(to_all);
        speaker.expect_metric("metallb_layer2_requests_received{ip=\"2001:db8::12:3456\"}", "4");
        speaker.expect_metric("metallb_layer2_responses_sent{ip=\"2001:db8::12:3456\"}", "4");
    });
}

#[test]
fn solicitations_that_may_come_from_afar_or_are_damaged_are_ignored() {
    on_a_cable(|speaker, client| {
        announced(speaker, client);
        let good = solicitation(V6).emit();
        let with = |at: usize, value: u8| {
            let mut frame = good.clone();
            frame[at] = value;
            frame
        };
        // With a checksum that is right all the same: the sum does not cover the hop limit, and of the two
        // words that change one gains what the other loses.
        client.send(with(21, 64));
        client.send(with(21, 254));
        let mut code = with(55, 1);
        let sum = u16::from_be_bytes([code[56], code[57]]) - 1;
        code[56..58].copy_from_slice(&sum.to_be_bytes());
        client.send(code);
        client.send(with(57, good[57] ^ 1));
        let to_all =
            NdpFrame { to: ALL_NODES, destination: MacAddr::of_group(ALL_NODES), ..solicitation(V6) };
        client.send(to_all.emit());
        client.send(NdpFrame { to: ALL_NODES, ..NdpFrame::probe(CLIENT, V6) }.emit());
        client.send(solicitation(OTHER_V6).emit());
        for length in 14..good.len() {
            client.send(&good[..length]);
        }
        // Frames stay in order: had one of those been answered, this would not be the next answer.
        let last = NdpFrame { from: "2001:db8::99".parse().unwrap(), ..solicitation(V6) };
        client.send(last.emit());
        assert_eq!(client.receive_solicited(V6).to, last.from);
        speaker.expect_metric("metallb_layer2_requests_received{ip=\"2001:db8::12:3456\"}", "1");
        for reason in ["code", "checksum", "not_for_us", "probe_to_elsewhere"] {
            speaker
                .expect_metric(&format!("ferrolb_layer2_frames_ignored_total{{reason=\"{reason}\"}}"), "1");
        }
    });
}

#[test]
fn the_group_is_joined_and_left_for_switches_to_see() {
    on_a_cable(|speaker, client| {
        announced(speaker, client);
        expect_mld(client, CHANGE_TO_EXCLUDE, solicited_node(V6));
        assert!(memberships().contains(&solicited_node(V6)));
        speaker.publish([].into());
        expect_mld(client, CHANGE_TO_INCLUDE, solicited_node(V6));
        assert!(!memberships().contains(&solicited_node(V6)));
    });
}

#[test]
fn three_thousand_groups_are_joined() {
    on_a_cable(|speaker, _| {
        speaker.expect_ndp();
        let vip = |number: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, number);
        let vips: Vec<_> = (0..3000).map(|number| (vip(number), u64::from(number))).collect();
        speaker.announce(&vips);
        wait_for("all memberships", || {
            let joined = memberships();
            vips.iter().all(|(vip, _)| joined.contains(&solicited_node(*vip))).then_some(())
        });
        // The other client's queue is full of announcements.
        let client = Client::new();
        client.send(solicitation(vip(2999)).emit());
        client.receive_solicited(vip(2999));
        assert_eq!(speaker.metric("ferrolb_layer2_groups_not_joined_total{interface=\"lan0\"}"), "");
        speaker.publish([].into());
        wait_for("no memberships", || {
            let joined = memberships();
            vips.iter().all(|(vip, _)| !joined.contains(&solicited_node(*vip))).then_some(())
        });
    });
}

#[test]
fn ndp_comes_and_goes_with_the_link_local_address_and_arp_does_not_notice() {
    on_a_cable(|speaker, client| {
        announced(speaker, client);
        ip("address del fe80::ff:fe00:1/64 dev lan0");
        speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"ndp\"}", "0");
        speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"arp\"}", "1");
        // Sockets are closed by a thread of their own.
        wait_for("no membership", || (!memberships().contains(&solicited_node(V6))).then_some(()));
        ip("address add fe80::5/64 dev lan0 nodad");
        client.expect_ndp(NdpFrame::unsolicited(SPEAKER, "fe80::5".parse().unwrap(), V6));
    });
}

/// Announces [`V6`] and waits until that is told.
fn announced(speaker: &crate::fixture::Speaker, client: &Client) {
    speaker.expect_ndp();
    speaker.announce(&[(V6, 1)]);
    client.receive_ndp(V6);
}

/// What `lan0` is a member of.
fn memberships() -> Vec<Ipv6Addr> {
    let groups = std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap();
    let of_lan0 = groups.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let group = |line: Vec<&str>| match line[..] {
        [_, "lan0", group, ..] => Some(Ipv6Addr::from(u128::from_str_radix(group, 16).unwrap())),
        _ => None,
    };
    of_lan0.filter_map(group).collect()
}

/// Types of records in a report (RFC 3810 section 5.2.12).
const CHANGE_TO_INCLUDE: u8 = 3;
const CHANGE_TO_EXCLUDE: u8 = 4;

/// Waits for an MLDv2 report with a record about `group`: no sources, so "everything" or "nothing".
fn expect_mld(client: &Client, kind: u8, group: Ipv6Addr) {
    client.expect_ipv6_with(&[&[kind, 0, 0, 0][..], &group.octets()].concat());
}
