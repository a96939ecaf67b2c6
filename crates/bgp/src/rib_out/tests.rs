use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::config::SessionKind;
use crate::judge::Router;
use crate::route::{Communities, Community, LocalPreference};
use crate::wire::attributes::AsnWidth;

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn agreement() -> Agreement {
    Agreement {
        families: Families::Both,
        next_hops: NextHops { v4: Some(V4.into()), v6: Some(V6) },
        context: Context {
            kind: SessionKind::Internal,
            asn: 64_512.try_into().unwrap(),
            asn_width: AsnWidth::Four,
        },
    }
}

fn attributes(preference: u32) -> Arc<Attributes> {
    let communities = Communities::new([Community::from(preference)]).unwrap();
    Arc::new(Attributes {
        local_preference: LocalPreference(preference),
        communities,
        ..Attributes::default()
    })
}

fn routes(routes: &[(&str, u32)]) -> Arc<Routes> {
    Arc::new(routes.iter().map(|&(prefix, it)| (prefix.parse().unwrap(), attributes(it))).collect())
}

fn drain(rib: &mut RibOut, router: &mut Router) {
    while let Some(message) = rib.poll() {
        router.apply(&message);
    }
}

/// Local preferences as the router knows them.
fn known(router: &Router) -> BTreeMap<Prefix, u32> {
    router.table.iter().map(|(prefix, told)| (*prefix, told.local_preference.unwrap())).collect()
}

/// What the router was told, by the community that tells attributes apart.
fn told(rib: &RibOut) -> BTreeMap<Prefix, u32> {
    let of_group = |SaidGroup { attributes, prefixes, .. }: SaidGroup| {
        let community = attributes.local_preference.0;
        prefixes.into_iter().map(move |prefix| (prefix, community))
    };
    rib.progress().said.into_iter().flat_map(of_group).collect()
}

#[test]
fn many_prefixes_of_both_families_fit_into_few_messages() {
    let mut rib = RibOut::default();
    let v4 = (0..10_000_u32).map(|i| Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 + i).into()));
    let v6 = (0..100_u128).map(|i| Prefix::host(Ipv6Addr::from_bits(V6.to_bits() + i).into()));
    rib.want(Arc::new(v4.chain(v6).map(|prefix| (prefix, attributes(1))).collect()));
    rib.set_complete();
    rib.begin(agreement());
    let mut router = Router::default();
    drain(&mut rib, &mut router);
    assert_eq!((router.table.len(), rib.announced(), rib.is_settled()), (10_100, 10_100, true));
    assert_eq!(router.messages, 13 + 1 + 2, "two are the ends");
    let first = router.table.first_key_value().unwrap().1;
    assert_eq!((first.next_hop, &first.communities[..]), (Some(V4.into()), &[1][..]));
    assert_eq!(router.table.last_key_value().unwrap().1.next_hop, Some(V6.into()));

    rib.clear();
    drain(&mut rib, &mut router);
    assert_eq!((router.table.len(), rib.announced()), (0, 0));
}

#[test]
fn the_end_is_told_when_everything_was_named_and_written() {
    let mut rib = RibOut::default();
    rib.begin(agreement());
    rib.want(routes(&[("192.0.2.7/32", 1)]));
    let mut router = Router::default();
    drain(&mut rib, &mut router);
    assert_eq!((router.table.len(), router.ended.len()), (1, 0));
    rib.set_complete();
    drain(&mut rib, &mut router);
    assert_eq!((router.ended.len(), router.messages), (2, 3));
}

#[test]
fn what_comes_and_goes_before_it_is_written_is_never_mentioned() {
    let mut rib = RibOut::default();
    rib.begin(agreement());
    let (one, two) = (routes(&[("192.0.2.7/32", 1)]), routes(&[("192.0.2.7/32", 2)]));
    let mut settles = |wanted: &[&Arc<Routes>]| {
        wanted.iter().for_each(|it| rib.want(Arc::clone(it)));
        (rib.poll().is_some(), rib.is_settled())
    };
    assert_eq!(settles(&[&one, &Arc::default()]), (false, true));
    assert_eq!(settles(&[&one]), (true, true));
    assert_eq!(settles(&[&two, &one]), (false, true));
    assert_eq!(settles(&[&Arc::default(), &one]), (false, true));
}

#[test]
fn routes_without_a_next_hop_are_kept_back() {
    let mut rib = RibOut::default();
    rib.set_complete();
    rib.want(routes(&[("192.0.2.7/32", 1), ("2001:db8::7/128", 1)]));
    let mut router = Router::default();
    let without_v6 = NextHops { v4: Some(V4.into()), v6: None };
    rib.begin(Agreement { next_hops: without_v6, ..agreement() });
    drain(&mut rib, &mut router);
    assert_eq!((router.table.len(), rib.announced(), rib.wanted()), (1, 1, 2));
    assert!(rib.is_settled());
}

#[test]
fn ipv4_prefixes_can_have_an_ipv6_next_hop() {
    let mut rib = RibOut::default();
    rib.want(routes(&[("192.0.2.7/32", 1)]));
    rib.begin(Agreement { next_hops: NextHops { v4: Some(V6.into()), v6: Some(V6) }, ..agreement() });
    let mut router = Router::default();
    drain(&mut rib, &mut router);
    assert_eq!(router.table.first_key_value().unwrap().1.next_hop, Some(V6.into()));
}

#[test]
fn everything_is_said_again_when_it_is_asked_for_or_about_to_go() {
    let mut rib = RibOut::default();
    rib.set_complete();
    rib.want(routes(&[("192.0.2.7/32", 1), ("2001:db8::7/128", 1)]));
    rib.begin(agreement());
    let mut router = Router::default();
    drain(&mut rib, &mut router);

    let mut again = Router::default();
    rib.ask(Some(Family::V6));
    assert!(!rib.is_settled() && rib.refresh() && !rib.refresh());
    drain(&mut rib, &mut again);
    assert_eq!((again.table.len(), again.ended.len(), rib.announced()), (1, 1, 2));

    rib.set_tenure(Tenure::Leaving);
    drain(&mut rib, &mut router);
    let shutdown = Community::GRACEFUL_SHUTDOWN.value();
    for told in router.table.values() {
        assert_eq!((told.local_preference, &told.communities[..]), (Some(0), &[1, shutdown][..]));
    }

    rib.set_tenure(Tenure::Lasting);
    drain(&mut rib, &mut router);
    assert!(known(&router).values().all(|preference| *preference == 1));
}

#[derive(Debug, Clone)]
enum Act {
    Change(u8, Option<u32>),
    /// Writes so many messages.
    Write(usize),
    Lose,
    Begin,
    Refresh(Family),
    Tenure(Tenure),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0_u8..12, prop::option::of(0_u32..3)).prop_map(|(prefix, value)| Act::Change(prefix, value)),
        4 => (0_usize..4).prop_map(Act::Write),
        1 => Just(Act::Lose),
        1 => Just(Act::Begin),
        1 => any::<bool>().prop_map(|v4| Act::Refresh(if v4 { Family::V4 } else { Family::V6 })),
        1 => any::<bool>()
            .prop_map(|leaving| Act::Tenure(if leaving { Tenure::Leaving } else { Tenure::Lasting })),
    ]
}

fn prefix(index: u8) -> Prefix {
    Prefix::host(if index.is_multiple_of(2) {
        Ipv4Addr::new(192, 0, 2, index).into()
    } else {
        Ipv6Addr::from_bits(V6.to_bits() + u128::from(index)).into()
    })
}

proptest! {
    /// The router withdraws nothing that it does not know: [`Router::apply`] sees to it.
    #[test]
    fn the_router_ends_up_with_what_is_wanted(acts in prop::collection::vec(act(), 0..60)) {
        let mut rib = RibOut::default();
        rib.set_complete();
        let mut router = Router::default();
        let mut wanted = BTreeMap::new();
        let mut tenure = Tenure::Lasting;
        for act in acts {
            match act {
                Act::Change(index, preference) => {
                    let prefix = prefix(index);
                    match preference {
                        Some(preference) => wanted.insert(prefix, preference),
                        None => wanted.remove(&prefix),
                    };
                    let all = wanted.iter().map(|(&prefix, &it)| (prefix, attributes(it)));
                    rib.want(Arc::new(all.collect()));
                }
                Act::Write(count) => {
                    for message in (0..count).map_while(|_| rib.poll()) {
                        router.apply(&message);
                    }
                }
                Act::Lose => {
                    rib.end();
                    router = Router::default();
                }
                Act::Begin => {
                    rib.begin(agreement());
                    router = Router::default();
                }
                Act::Refresh(family) => {
                    rib.ask(Some(family));
                    rib.refresh();
                }
                Act::Tenure(to) => {
                    tenure = to;
                    rib.set_tenure(to);
                }
            }
            prop_assert_eq!(rib.announced(), router.table.len());
            let told = told(&rib);
            prop_assert!(told.keys().eq(router.table.keys()));
            prop_assert!(told.iter().all(|(prefix, it)| router.table[prefix].communities.contains(it)));
        }
        if rib.agreement.is_none() {
            rib.begin(agreement());
        }
        drain(&mut rib, &mut router);
        if tenure == Tenure::Leaving {
            wanted.values_mut().for_each(|preference| *preference = 0);
        }
        prop_assert_eq!(known(&router), wanted);
        prop_assert_eq!(router.ended.len(), 2);
        prop_assert!(rib.is_settled());
        prop_assert!(rib.pending.is_empty() && rib.turn.announced.is_empty() && rib.turn.withdrawn.is_empty());
    }
}
