//! Quotas: how many addresses of a pool the services of one namespace may hold.

use ipam::{
    AddressRequest, Allocator, Families, Family, PoolName, Quota, Record, Refusal, Request, ServiceKey,
};
use objects::Labels;
use pools::{PoolSpec, Pools};

use crate::fixtures::*;

fn limited(quota: Quota) -> PoolSpec {
    PoolSpec { quota, ..pool("p", &["10.0.0.0/28", "fd00::/124"]) }
}

fn at_most(addresses: u32) -> Allocator {
    allocator([limited(Quota::AtMost(addresses))])
}

fn set(allocator: &mut Allocator, quota: Quota) {
    assert!(allocator.set_pools(Pools::new([limited(quota)])).is_empty());
}

fn assign_in(allocator: &mut Allocator, namespace: &str, request: &Request) -> Result<(), Refusal> {
    let key = ServiceKey::new(namespace, "a");
    allocator.assign(&key, &Labels::new(), request, &Record::default(), &[]).outcome.map(|_| ())
}

#[test]
fn a_namespace_gets_as_many_as_it_may_and_others_get_theirs() {
    let mut allocator = at_most(2);
    assert!(
        assign(&mut allocator, "a", &request()).is_ok() && assign(&mut allocator, "b", &request()).is_ok()
    );
    let refusal = assign(&mut allocator, "c", &request()).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "no available IPs: pool p: quota of namespace prod reached (2 in use, at most 2 for each namespace)"
    );
    assert!(assign_in(&mut allocator, "dev", &request()).is_ok());
    for addresses in [exactly(&["10.0.0.9"]), AddressRequest::From("p".into())] {
        let refusal =
            assign(&mut allocator, "c", &Request { addresses, ..request() }).unwrap_err().to_string();
        assert!(refusal.contains("quota of namespace prod reached"), "{refusal}");
    }
}

#[test]
fn what_one_gives_up_another_of_the_namespace_gets() {
    let mut allocator = at_most(1);
    assign(&mut allocator, "a", &request()).unwrap();
    let waiting = allocator.assign(&key("b"), &Labels::new(), &request(), &Record::default(), &[]);
    assert!(waiting.outcome.is_err() && waiting.waits());
    allocator.release(&key("a"));
    assert!(assign(&mut allocator, "b", &request()).is_ok());
}

#[test]
fn who_holds_an_address_keeps_it_when_the_quota_is_lowered_also_after_a_restart() {
    let mut allocator = at_most(2);
    assign(&mut allocator, "a", &request()).unwrap();
    assign(&mut allocator, "b", &request()).unwrap();
    for quota in [Quota::AtMost(1), Quota::AtMost(0), Quota::Unreadable] {
        set(&mut allocator, quota);
        for (name, ip) in [("a", "10.0.0.0"), ("b", "10.0.0.1")] {
            let kept = assign_record(&mut allocator, name, &request(), &from_pool(&[ip], "p"));
            assert_eq!(kept, Ok(ips(&[ip])), "{quota:?}");
        }
        assert!(assign(&mut allocator, "c", &request()).is_err(), "{quota:?}");
        let mut restarted = super::fixtures::allocator([limited(quota)]);
        for (name, ip) in [("a", "10.0.0.0"), ("b", "10.0.0.1")] {
            restarted.adopt(&key(name), &Labels::new(), &request(), &from_pool(&[ip], "p"));
            assert_eq!(
                restarted.assignment(&key(name)).map(|it| it.ips.clone()),
                Some(ips(&[ip])),
                "{quota:?}"
            );
        }
        assert!(assign(&mut restarted, "c", &request()).is_err(), "{quota:?}");
    }
    set(&mut allocator, Quota::AtMost(3));
    assert!(assign(&mut allocator, "c", &request()).is_ok());
    assert!(assign(&mut allocator, "d", &request()).is_err());
}

#[test]
fn a_shared_address_counts_once() {
    let mut allocator = at_most(1);
    assert_eq!(assign(&mut allocator, "a", &sharing("k", &[80])), Ok(ips(&["10.0.0.0"])));
    assert_eq!(assign(&mut allocator, "b", &sharing("k", &[81])), Ok(ips(&["10.0.0.0"])));
    allocator.release(&key("a"));
    assert!(assign(&mut allocator, "c", &request()).is_err(), "b still has it");
    allocator.release(&key("b"));
    assert!(assign(&mut allocator, "c", &request()).is_ok());
}

#[test]
fn an_address_shared_by_two_namespaces_counts_for_both() {
    let mut allocator = at_most(1);
    assign(&mut allocator, "a", &sharing("k", &[80])).unwrap();
    assign_in(&mut allocator, "dev", &sharing("k", &[81])).unwrap();
    let other = ServiceKey::new("dev", "b");
    let refused = allocator.assign(&other, &Labels::new(), &request(), &Record::default(), &[]);
    assert!(refused.outcome.is_err(), "{refused:?}");
}

#[test]
fn both_families_count() {
    let dual = |families| Request { families, ..request() };
    let mut allocator = at_most(1);
    let refused = assign(&mut allocator, "a", &dual(Families::RequireDual)).unwrap_err().to_string();
    assert!(refused.contains("(0 in use, at most 1 for each namespace)"), "{refused}");
    for (primary, ip) in [(Family::V4, "10.0.0.0"), (Family::V6, "fd00::")] {
        let request = dual(Families::PreferDual { primary });
        let decision = allocator.assign(&key("a"), &Labels::new(), &request, &Record::default(), &[]);
        assert_eq!(decision.outcome.as_ref().map(|it| it.ips.clone()), Ok(ips(&[ip])));
        assert!(decision.waits(), "for the second one: {decision:?}");
        allocator.release(&key("a"));
    }
    set(&mut allocator, Quota::AtMost(2));
    let both = Ok(ips(&["10.0.0.0", "fd00::"]));
    assert_eq!(assign(&mut allocator, "a", &dual(Families::RequireDual)), both);
    assert!(assign(&mut allocator, "b", &request()).is_err());
}

#[test]
fn where_the_quota_of_one_pool_is_reached_the_next_pool_gives() {
    let next = pool("q", &["10.0.1.0/28"]);
    let mut allocator = allocator([limited(Quota::AtMost(1)), next]);
    assert_eq!(assign(&mut allocator, "a", &request()), Ok(ips(&["10.0.0.0"])));
    assert_eq!(assign(&mut allocator, "b", &request()), Ok(ips(&["10.0.1.0"])));
    assert_eq!(allocator.assignment(&key("b")).map(|it| &it.pool), Some(&PoolName::new("q")));
}
