//! Pools that get into each other's way.

use proptest::prelude::*;

use super::*;

fn created(at: i64, spec: PoolSpec) -> PoolSpec {
    PoolSpec { created: Some(at), ..spec }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ranges(pools: &Pools, name: &str) -> Vec<String> {
    pools.get(&name.into()).unwrap().ranges.iter().map(ToString::to_string).collect()
}

fn faults(pools: &Pools, name: &str) -> Vec<String> {
    pools.get(&name.into()).unwrap().faults.iter().map(ToString::to_string).collect()
}

fn pool_of(pools: &Pools, ips: &[&str], recorded: &str) -> Option<String> {
    let ips: Vec<IpAddr> = ips.iter().map(|text| ip(text)).collect();
    let recorded = (!recorded.is_empty()).then(|| PoolName::new(recorded));
    pools.pool_of(&ips, recorded.as_ref()).map(|pool| pool.name.to_string())
}

#[test]
fn changed_are_those_that_are_new_or_gone_or_have_other_addresses() {
    let before = Pools::new([
        created(1, PoolSpec::new("a", &["10.0.0.0/24"])),
        created(2, PoolSpec::new("b", &["10.0.1.0/24"])),
        created(3, PoolSpec::new("c", &["10.0.2.0/24", "10.0.3.0/24"])),
    ]);
    let after = Pools::new([
        created(1, PoolSpec::new("a", &["10.0.0.0/24"])),
        // c loses to it what it had.
        created(2, PoolSpec::new("d", &["10.0.3.0/24"])),
        created(3, PoolSpec::new("c", &["10.0.2.0/24", "10.0.3.0/24"])),
    ]);
    assert_eq!(after.changed_since(&before), ["b", "c", "d"].map(PoolName::new).into());
    assert!(after.changed_since(&after.clone()).is_empty());
}

#[test]
fn an_entry_that_cannot_be_read_disables_only_itself() {
    let pools = Pools::new([PoolSpec::new("p", &["10.0.0.0/30", "10.0.1.1", "fd00::/126"])]);
    assert_eq!(ranges(&pools, "p"), ["10.0.0.0-10.0.0.3", "fd00::-fd00::3"]);
    assert_eq!(
        faults(&pools, "p"),
        ["spec.addresses[1] \"10.0.1.1\": a single address needs its prefix length: write 10.0.1.1/32"]
    );
}

#[test]
fn an_entry_that_overlaps_an_older_pool_disables_only_itself() {
    let new = created(2, PoolSpec::new("a", &["10.0.0.8-10.0.0.20", "10.0.9.0/30"]));
    let pools = Pools::new([new, created(1, PoolSpec::new("b", &["10.0.0.0/28"]))]);
    assert_eq!(ranges(&pools, "a"), ["10.0.9.0-10.0.9.3"]);
    assert_eq!(ranges(&pools, "b"), ["10.0.0.0-10.0.0.15"]);
    assert!(faults(&pools, "b").is_empty());
    let [fault] = &faults(&pools, "a")[..] else { panic!("one entry overlaps") };
    assert_eq!(pools.owner(ip("10.0.0.16")), None, "of its entry nothing is in force");
    assert_eq!(pools.overlapping(ip("10.0.0.16")).unwrap().name.as_str(), "a");
    assert_eq!(pools.overlapping(ip("10.0.9.0")), None);
    assert_eq!(pool_of(&pools, &["10.0.0.16"], "a"), Some("a".into()), "what was given out stays");
    assert_eq!(pool_of(&pools, &["10.0.0.9"], "a"), Some("a".into()));
    assert!(
        fault.starts_with(
            "spec.addresses[0] \"10.0.0.8-10.0.0.20\" overlaps 10.0.0.8-10.0.0.15 of IPAddressPool b: remove"
        ),
        "{fault}"
    );
}

#[test]
fn of_two_pools_of_one_second_the_one_that_was_accepted_was_first() {
    let accepted = PoolSpec { accepted: true, ..PoolSpec::new("tiny", &["10.0.0.1/32"]) };
    let pools = Pools::new([PoolSpec::new("overlapping", &["10.0.0.0/24"]), accepted]);
    assert!(faults(&pools, "tiny").is_empty());
    assert_eq!(faults(&pools, "overlapping").len(), 1);
}

#[test]
fn a_service_keeps_what_its_recorded_pool_lists_whoever_else_does() {
    let pools = Pools::new([
        PoolSpec::new("abad", &["10.0.0.32/32"]),
        created(9, PoolSpec::new("good", &["10.0.0.32/32"])),
    ]);
    assert_eq!(pools.owner(ip("10.0.0.32")).unwrap().name.as_str(), "abad");
    assert_eq!(pool_of(&pools, &["10.0.0.32"], "good"), Some("good".into()));
    assert_eq!(pool_of(&pools, &["10.0.0.32"], ""), Some("abad".into()));
    assert_eq!(pool_of(&pools, &["10.0.0.32"], "gone"), Some("abad".into()));
}

#[test]
fn ranges_can_be_swapped_by_two_edits_and_no_service_loses_its_address() {
    for (first, second) in [(1, 2), (2, 1)] {
        let (low, high) = (&["10.0.0.0/28"][..], &["10.0.0.16/28"][..]);
        let edited_once =
            Pools::new([created(first, PoolSpec::new("a", high)), created(second, PoolSpec::new("b", high))]);
        assert_eq!(
            pool_of(&edited_once, &["10.0.0.1"], "a"),
            Some("a".into()),
            "no pool lists it for a while"
        );
        assert_eq!(pool_of(&edited_once, &["10.0.0.17"], "b"), Some("b".into()));
        let swapped =
            Pools::new([created(first, PoolSpec::new("a", high)), created(second, PoolSpec::new("b", low))]);
        assert_eq!(pool_of(&swapped, &["10.0.0.1"], "a"), Some("b".into()));
        assert_eq!(pool_of(&swapped, &["10.0.0.17"], "b"), Some("a".into()));
        assert!(swapped.iter().all(|pool| pool.faults.is_empty()));
    }
}

#[test]
fn an_address_that_no_pool_lists_stays_while_the_recorded_pool_is_in_dispute() {
    let held = |entries: &[&str]| pool_of(&Pools::new([PoolSpec::new("p", entries)]), &["10.0.0.1"], "p");
    assert_eq!(held(&["10.0.0.9-10.0.0.0"]), Some("p".into()), "the entry is a slip of the pen");
    assert_eq!(held(&[]), Some("p".into()));
    assert_eq!(held(&["10.0.9.0/24"]), None, "it was taken out on purpose");
    assert_eq!(pool_of(&Pools::default(), &["10.0.0.1"], "p"), None);
}

#[test]
fn entries_of_one_pool_that_overlap_count_once() {
    let pools = Pools::new([PoolSpec::new("p", &["10.0.0.4/30", "10.0.0.0/28", "10.0.0.4/31"])]);
    assert_eq!(ranges(&pools, "p"), ["10.0.0.4-10.0.0.7", "10.0.0.0-10.0.0.3", "10.0.0.8-10.0.0.15"]);
    assert_eq!(faults(&pools, "p").len(), 2);
    assert!(faults(&pools, "p")[0].contains("overlaps spec.addresses[0] at 10.0.0.4-10.0.0.7"));
    assert_eq!(pools.get(&"p".into()).unwrap().capacity(crate::Family::V4), 16);
}

#[test]
fn two_addresses_need_one_pool_and_left_out_ones_have_none() {
    let careful = PoolSpec { avoid_buggy_ips: true, ..PoolSpec::new("c", &["10.0.2.0/24"]) };
    let pools = Pools::new([
        PoolSpec::new("a", &["10.0.0.0/24"]),
        PoolSpec::new("b", &["fd00::/120", "10.0.1.0/24"]),
        careful,
    ]);
    assert_eq!(pool_of(&pools, &["10.0.0.1", "fd00::1"], "a"), None);
    assert_eq!(pool_of(&pools, &["10.0.1.1", "fd00::1"], ""), Some("b".into()));
    assert_eq!(pool_of(&pools, &["10.0.2.255"], "c"), None);
    assert_eq!(pool_of(&pools, &[], "a"), None);
}

#[test]
fn many_pools_that_list_the_same_are_described_in_few_words() {
    let specs = (0..300).map(|n| PoolSpec::new(format!("p{n:03}"), &["10.0.0.0/8", "10.1.0.0/16"]));
    let singles =
        (0..300).map(|n| PoolSpec::new(format!("a{n:03}"), &[&format!("10.{}.{}.1/32", n / 200, n % 200)]));
    let pools = Pools::new(specs.chain(singles));
    for pool in pools.iter() {
        assert!(pool.faults.iter().all(|fault| fault.to_string().len() < 600), "{:?}", pool.faults);
    }
    assert!(faults(&pools, "p000")[0].contains("and others"));
}

fn specs() -> impl Strategy<Value = Vec<PoolSpec>> {
    let entry =
        (0u8..40, 0u8..12).prop_map(|(first, length)| format!("10.0.0.{first}-10.0.0.{}", first + length));
    let entry = prop_oneof![5 => entry, 1 => Just("10.0.0.1".to_owned())];
    let pool = (proptest::collection::vec(entry, 0..4), 0i64..3);
    proptest::collection::vec(pool, 0..6).prop_map(|pools| {
        let spec_of = |(n, (entries, at)): (usize, (Vec<String>, i64))| {
            let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
            created(at, PoolSpec::new(format!("p{n}"), &entries))
        };
        pools.into_iter().enumerate().map(spec_of).collect()
    })
}

/// Which addresses of each pool are in force, by the rule alone.
fn in_force(specs: &[PoolSpec]) -> BTreeMap<PoolName, BTreeSet<u8>> {
    let mut specs: Vec<&PoolSpec> = specs.iter().collect();
    specs.sort_by_key(|spec| (spec.created, &spec.name));
    let mut all: BTreeMap<PoolName, BTreeSet<u8>> = BTreeMap::new();
    for spec in specs {
        let mut own = BTreeSet::new();
        for range in spec.entries.iter().filter_map(|entry| entry.range.as_ref().ok()) {
            let addresses: BTreeSet<u8> =
                (0..=60).filter(|n| range.contains(IpAddr::from([10, 0, 0, *n]))).collect();
            if all.values().all(|other| other.is_disjoint(&addresses)) {
                own.extend(addresses);
            }
        }
        all.insert(spec.name.clone(), own);
    }
    all
}

proptest! {
    #[test]
    fn an_entry_is_in_force_where_it_overlaps_none_of_an_older_pool(specs in specs()) {
        let pools = Pools::new(specs.clone());
        let mut shuffled = specs.clone();
        shuffled.reverse();
        prop_assert_eq!(&Pools::new(shuffled), &pools, "the order of a list means nothing");
        let in_force = in_force(&specs);
        for n in 0..=60 {
            let ip = IpAddr::from([10, 0, 0, n]);
            let owner = in_force.iter().find(|(_, ips)| ips.contains(&n)).map(|(name, _)| name);
            prop_assert_eq!(pools.owner(ip).map(|pool| &pool.name), owner);
            let givers = pools.iter().filter(|pool| pool.ranges.iter().any(|range| range.contains(ip)));
            prop_assert_eq!(givers.map(|pool| &pool.name).collect::<Vec<_>>(),
                owner.into_iter().collect::<Vec<_>>());
            let lists = |spec: &&PoolSpec| spec.entries.iter().any(|e| e.range.as_ref().is_ok_and(|r| r.contains(ip)));
            for spec in specs.iter().filter(lists) {
                let kept = pools.pool_of(&[ip], Some(&spec.name));
                prop_assert_eq!(kept.map(|pool| &pool.name), Some(&spec.name));
            }
        }
    }
}
