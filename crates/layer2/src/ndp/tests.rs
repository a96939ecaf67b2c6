use proptest::prelude::*;

use super::*;

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// "Who has 2001:db8::12:3456? Tell 2001:db8::1", to the solicited-node group.
#[rustfmt::skip]
const SOLICITATION: [u8; 86] = [
    0x33, 0x33, 0xff, 0x12, 0x34, 0x56,  2, 0, 0, 0, 0, 2,  0x86, 0xdd,
    0x60, 0, 0, 0,  0, 32,  58,  255,
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x12, 0x34, 0x56,
    135, 0,  0xb3, 0x59,  0, 0, 0, 0,
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56,
    1, 1,  2, 0, 0, 0, 0, 2,
];
const HOP_LIMIT_AT: usize = 21;
const CODE_AT: usize = 55;
const OPTION_AT: usize = 78;

fn solicitation() -> NdpFrame {
    NdpFrame {
        destination: MacAddr([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]),
        source: THEIRS,
        to: "ff02::1:ff12:3456".parse().unwrap(),
        from: CLIENT,
        target: VIP,
        message: NdpMessage::Solicitation { source: Some(THEIRS) },
    }
}

/// `frame` with its checksum put right, to be refused for nothing else.
fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    let ipv6 = Ipv6Packet::new(&frame[ETHERNET_LEN..]).unwrap();
    let (from, to) = (ipv6.get_source(), ipv6.get_destination());
    let sum = checksum(&frame[ETHERNET_LEN + IPV6_LEN..], from, to);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The solicitation with other options.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut frame = [&SOLICITATION[..OPTION_AT], options].concat();
    frame[19] = u8::try_from(MESSAGE_LEN + options.len()).unwrap();
    sealed(frame)
}

#[test]
fn the_same_bytes_are_read_and_written() {
    assert_eq!(NdpFrame::parse(&SOLICITATION), Ok(solicitation()));
    assert_eq!(solicitation().emit(), SOLICITATION);
}

#[test]
fn an_answer_goes_to_who_asked_and_to_all_when_nobody_did() {
    let to_client = NdpFrame::answer(OURS, LINK_LOCAL, VIP, Some(CLIENT), THEIRS);
    assert_eq!((to_client.to, to_client.destination), (CLIENT, THEIRS));
    let bytes = to_client.emit();
    assert_eq!(bytes[54..56], [136, 0]);
    assert_eq!(bytes[58..62], [0x40, 0, 0, 0], "solicited, no override, no router");
    assert_eq!(bytes[62..78], VIP.octets());
    assert_eq!(bytes[78..], [2, 1, 2, 0, 0, 0, 0, 1]);

    let to_all = NdpFrame::answer(OURS, LINK_LOCAL, VIP, None, THEIRS);
    assert_eq!((to_all.to, to_all.destination), (ALL_NODES, MacAddr([0x33, 0x33, 0, 0, 0, 1])));
    assert_eq!(
        to_all.emit()[58..62],
        [0x20, 0, 0, 0],
        "override, and not solicited (RFC 4861 section 7.2.4)"
    );
}

#[test]
fn a_takeover_overrides_what_was_known() {
    let frame = NdpFrame::unsolicited(OURS, LINK_LOCAL, VIP);
    assert_eq!((frame.to, frame.destination), (ALL_NODES, MacAddr([0x33, 0x33, 0, 0, 0, 1])));
    let bytes = frame.emit();
    assert_eq!(bytes[58..62], [0x20, 0, 0, 0]);
    assert_eq!(bytes[78..], [2, 1, 2, 0, 0, 0, 0, 1]);
}

#[test]
fn a_probe_comes_from_nobody_and_tells_nobody_anything() {
    let bytes = NdpFrame::probe(OURS, VIP).emit();
    assert_eq!(bytes.len(), 78, "no option");
    assert_eq!(bytes[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    assert_eq!(bytes[22..38], [0; 16]);
    assert_eq!(NdpFrame::parse(&bytes), Ok(NdpFrame::probe(OURS, VIP)));
}

#[test]
fn what_is_said_from_afar_damaged_or_in_an_unknown_way_is_refused() {
    let with = |at: usize, value: u8| {
        let mut frame = SOLICITATION.to_vec();
        frame[at] = value;
        NdpFrame::parse(&sealed(frame)).unwrap_err()
    };
    assert_eq!(with(12, 0x08), NdpFrameError::Other);
    assert_eq!(with(14, 0x40), NdpFrameError::Other);
    assert_eq!(with(20, 0), NdpFrameError::Other);
    assert_eq!(with(54, 134), NdpFrameError::Other);
    assert_eq!(with(HOP_LIMIT_AT, 64), NdpFrameError::HopLimit(64));
    assert_eq!(with(HOP_LIMIT_AT, 254), NdpFrameError::HopLimit(254));
    assert_eq!(with(CODE_AT, 1), NdpFrameError::Code(1));
    assert!(matches!(with(62, 0xff), NdpFrameError::TargetIsGroup(_)));
    assert!(matches!(with(22, 0xff), NdpFrameError::SourceIsGroup(_)));

    let mut damaged = SOLICITATION;
    damaged[70] ^= 1;
    assert_eq!(NdpFrame::parse(&damaged), Err(NdpFrameError::Checksum));
}

#[test]
fn every_truncation_is_refused_and_padding_is_ignored() {
    for length in 0..SOLICITATION.len() {
        assert_eq!(NdpFrame::parse(&SOLICITATION[..length]), Err(NdpFrameError::Truncated));
    }
    let padded = [&SOLICITATION[..], &[0xaa; 18]].concat();
    assert_eq!(NdpFrame::parse(&padded), Ok(solicitation()));
    for length in 0..MESSAGE_LEN {
        let mut short = SOLICITATION[..ETHERNET_LEN + IPV6_LEN + length].to_vec();
        short[19] = u8::try_from(length).unwrap();
        let short = if length < 4 { short } else { sealed(short) };
        assert_eq!(NdpFrame::parse(&short), Err(NdpFrameError::Truncated), "{length}");
    }
}

#[test]
fn options_are_read_past_and_malformed_ones_refused() {
    let address = [1, 1, 2, 0, 0, 0, 0, 9];
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let long = [2; 16];
    let source = |options: &[&[u8]]| match NdpFrame::parse(&with_options(&options.concat())) {
        Ok(NdpFrame { message: NdpMessage::Solicitation { source }, .. }) => Ok(source),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let here = MacAddr([2, 0, 0, 0, 0, 9]);
    assert_eq!(source(&[]), Ok(None));
    assert_eq!(source(&[&nonce]), Ok(None));
    assert_eq!(source(&[&nonce, &long, &address]), Ok(Some(here)));
    assert_eq!(source(&[&address, &[1, 1, 9, 9, 9, 9, 9, 9]]), Ok(Some(here)));
    for bad in [
        &[1, 0, 2, 0, 0, 0, 0, 9][..],
        &[14, 0],
        &[14],
        &[1, 2, 2, 0, 0, 0, 0, 9],
        &[1, 2, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0],
        &[14, 255, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(source(&[bad]), Err(NdpFrameError::Option), "{bad:?}");
        assert_eq!(source(&[&address, bad]), Err(NdpFrameError::Option), "{bad:?}");
    }
}

#[test]
fn a_question_says_where_the_answer_is_to_go() {
    let question = NdpFrame::question(OURS, LINK_LOCAL, VIP);
    assert_eq!(NdpFrame::parse(&question.emit()), Ok(question));
    assert_eq!((question.from, question.to), (LINK_LOCAL, solicited_node(VIP)));
    assert_eq!(question.message, NdpMessage::Solicitation { source: Some(OURS) });
}

#[test]
fn a_probe_must_go_to_the_group_of_its_target_and_not_say_where_to_answer() {
    let probe = NdpFrame::probe(THEIRS, VIP);
    for to in [VIP, ALL_NODES, "ff02::1:ff12:3457".parse().unwrap()] {
        assert_eq!(NdpFrame::parse(&NdpFrame { to, ..probe }.emit()), Err(NdpFrameError::ProbeTo(to)));
    }
    let telling = NdpFrame { message: NdpMessage::Solicitation { source: Some(THEIRS) }, ..probe };
    assert_eq!(NdpFrame::parse(&telling.emit()), Err(NdpFrameError::ProbeFromSomewhere));
}

#[test]
fn a_solicited_advertisement_has_one_addressee() {
    let answer = NdpFrame::answer(THEIRS, CLIENT, VIP, Some(LINK_LOCAL), OURS);
    assert_eq!(NdpFrame::parse(&answer.emit()), Ok(answer));
    let to_all = NdpFrame { to: ALL_NODES, ..answer };
    assert_eq!(NdpFrame::parse(&to_all.emit()), Err(NdpFrameError::SolicitedToGroup));
}

/// Frames that are valid.
fn frames() -> impl Strategy<Value = NdpFrame> {
    let mac = || any::<[u8; 6]>().prop_map(MacAddr);
    let unicast = || any::<Ipv6Addr>().prop_filter("a group", |ip| !ip.is_multicast());
    let message = prop_oneof![
        proptest::option::of(mac()).prop_map(|source| NdpMessage::Solicitation { source }),
        (proptest::option::of(mac()), any::<bool>(), any::<bool>()).prop_map(|(target, asked, over)| {
            let cause = if asked { Cause::Solicited } else { Cause::Unsolicited };
            let known = if over { Known::Overridden } else { Known::Stays };
            NdpMessage::Advertisement { target, cause, known }
        }),
    ];
    let ordinary = (mac(), mac(), unicast(), unicast(), unicast(), message).prop_map(
        |(destination, source, to, from, target, message)| NdpFrame {
            destination,
            source,
            to,
            from,
            target,
            message,
        },
    );
    let probe = (mac(), unicast()).prop_map(|(mac, target)| NdpFrame::probe(mac, target));
    prop_oneof![4 => ordinary, 1 => probe]
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(frame in frames()) {
        prop_assert_eq!(NdpFrame::parse(&frame.emit()), Ok(frame));
    }

    #[test]
    fn what_is_read_can_be_written(
        addresses: [u8; 12],
        message in prop_oneof![Just(135u8), Just(136)],
        target: [u8; 16],
        mac: [u8; 6],
    ) {
        let mut bytes = SOLICITATION.to_vec();
        bytes[..12].copy_from_slice(&addresses);
        bytes[54] = message;
        bytes[62..78].copy_from_slice(&target);
        bytes[78] = message - 134;
        bytes[80..].copy_from_slice(&mac);
        let bytes = sealed(bytes);
        if let Ok(frame) = NdpFrame::parse(&bytes) {
            prop_assert_eq!(frame.emit(), bytes);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = NdpFrame::parse(&bytes);
    }

    #[test]
    fn no_options_panic(options in proptest::collection::vec(any::<u8>(), 0..128)) {
        let _ = NdpFrame::parse(&with_options(&options));
    }

    #[test]
    fn no_damage_to_a_good_frame_panics(at in 0..86usize, value: u8, length in 0..=86usize) {
        let mut bytes = SOLICITATION;
        bytes[at] = value;
        let _ = NdpFrame::parse(&bytes[..length]);
    }
}
