//! A router of the tests: it reads what we write by a decoder that is not ours, and keeps a table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bytes::BytesMut;
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::codec::BgpCodec;
use netgauze_bgp_pkt::community::Community;
use netgauze_bgp_pkt::nlri::{Ipv4UnicastAddress, Ipv6UnicastAddress};
use netgauze_bgp_pkt::path_attribute::{AsPath, MpReach, MpUnreach, PathAttributeValue};
use netgauze_bgp_pkt::wire::deserializer::BgpParsingIgnoredErrors;
use objects::Family;
use tokio_util::codec::Decoder;

use crate::route::Prefix;

/// What it knows.
#[derive(Debug, Default)]
pub struct Router {
    /// The routes.
    pub table: BTreeMap<Prefix, Told>,
    /// The families whose End-of-RIB has come (RFC 4724).
    pub ended: BTreeSet<Family>,
    /// How many UPDATEs have come.
    pub messages: usize,
    /// How many prefixes were withdrawn.
    pub withdrawn: usize,
}

/// What it was told of a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// NEXT_HOP, or that of MP_REACH_NLRI.
    pub next_hop: Option<IpAddr>,
    /// AS_PATH.
    pub path: Vec<u32>,
    /// LOCAL_PREF.
    pub local_preference: Option<u32>,
    /// COMMUNITIES.
    pub communities: Vec<u32>,
    /// LARGE_COMMUNITIES.
    pub large_communities: Vec<[u32; 3]>,
    /// How many EXTENDED COMMUNITIES.
    pub extended_communities: usize,
}

/// Decodes one message, and nothing else.
pub fn decode(message: &[u8]) -> BgpMessage {
    let mut buffer = BytesMut::from(message);
    let (message, ignored) =
        BgpCodec::new(true).decode(&mut buffer).expect("it can be decoded").expect("it is complete");
    assert!(buffer.is_empty(), "one message was written, and more found");
    assert_eq!(ignored, BgpParsingIgnoredErrors::default(), "{message:?}");
    message
}

impl Router {
    /// Takes in one UPDATE.
    pub fn apply(&mut self, message: &[u8]) {
        assert!(message.len() <= 4096);
        self.messages += 1;
        let BgpMessage::Update(update) = decode(message) else { panic!("no UPDATE") };
        if let Some(family) = update.end_of_rib() {
            self.ended.insert(match format!("{family:?}").as_str() {
                "Ipv4Unicast" => Family::V4,
                "Ipv6Unicast" => Family::V6,
                other => panic!("nobody speaks {other}"),
            });
        }
        let mut told = Told::default();
        let mut announced: Vec<Prefix> = update.nlri().iter().map(v4).collect();
        let mut withdrawn: Vec<Prefix> = update.withdraw_routes().iter().map(v4).collect();
        for attribute in update.path_attributes() {
            match attribute.value() {
                PathAttributeValue::Origin(_) => {}
                PathAttributeValue::AsPath(AsPath::As4PathSegments(segments)) => {
                    told.path = segments.iter().flat_map(|it| it.as_numbers().to_vec()).collect();
                }
                PathAttributeValue::NextHop(hop) => told.next_hop = Some(hop.next_hop().into()),
                PathAttributeValue::LocalPreference(it) => told.local_preference = Some(it.metric()),
                PathAttributeValue::Communities(it) => {
                    told.communities = it.communities().iter().map(Community::value).collect();
                }
                PathAttributeValue::LargeCommunities(it) => {
                    told.large_communities = it
                        .communities()
                        .iter()
                        .map(|it| [it.global_admin(), it.local_data1(), it.local_data2()])
                        .collect();
                }
                PathAttributeValue::ExtendedCommunities(it) => {
                    told.extended_communities = it.communities().len();
                }
                PathAttributeValue::MpReach(MpReach::Ipv4Unicast { next_hop, nlri, .. }) => {
                    told.next_hop = Some(*next_hop);
                    announced.extend(nlri.iter().map(v4));
                }
                PathAttributeValue::MpReach(MpReach::Ipv6Unicast { next_hop_global, nlri, .. }) => {
                    told.next_hop = Some((*next_hop_global).into());
                    announced.extend(nlri.iter().map(v6));
                }
                PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                    withdrawn.extend(nlri.iter().map(v6));
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        for prefix in withdrawn {
            assert!(self.table.remove(&prefix).is_some(), "{prefix} was withdrawn and is not known");
            self.withdrawn += 1;
        }
        self.table.extend(announced.into_iter().map(|prefix| (prefix, told.clone())));
    }
}

fn v4(address: &Ipv4UnicastAddress) -> Prefix {
    address.network().address().to_string().parse().expect("a prefix")
}

fn v6(address: &Ipv6UnicastAddress) -> Prefix {
    address.network().address().to_string().parse().expect("a prefix")
}
