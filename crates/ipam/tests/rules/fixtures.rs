//! Pools and services to test with.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam::{
    AddressRequest, Allocator, Families, Family, PoolName, Port, Protocol, Record, Refusal, Request,
    ServiceKey, Sharing,
};
use objects::Labels;
use pools::{Allocation, PoolSpec, Pools};

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("prod", name)
}

pub(crate) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

pub(crate) fn pool(name: &str, entries: &[&str]) -> PoolSpec {
    PoolSpec::new(name, entries)
}

pub(crate) fn pinned(name: &str, entries: &[&str], priority: i64) -> PoolSpec {
    PoolSpec { allocation: Some(Allocation { priority, ..Allocation::default() }), ..pool(name, entries) }
}

pub(crate) fn allocator(pools: impl IntoIterator<Item = PoolSpec>) -> Allocator {
    let mut allocator = Allocator::default();
    assert!(allocator.set_pools(Pools::new(pools)).is_empty());
    allocator
}

pub(crate) fn request() -> Request {
    Request {
        labels: Labels::new(),
        families: Families::Single(Family::V4),
        addresses: AddressRequest::Anything,
        sharing: Sharing::default(),
        ports: tcp(&[80]),
    }
}

pub(crate) fn tcp(numbers: &[u16]) -> BTreeSet<Port> {
    numbers.iter().map(|&number| Port { protocol: Protocol::Tcp, number }).collect()
}

pub(crate) fn sharing(key: &str, ports: &[u16]) -> Request {
    let sharing = Sharing { key: Some(key.into()), ..Sharing::default() };
    Request { sharing, ports: tcp(ports), ..request() }
}

pub(crate) fn exactly(wanted: &[&str]) -> AddressRequest {
    AddressRequest::Exactly { ips: ips(wanted), pool: None }
}

/// What a service has whose annotation is missing.
pub(crate) fn record(texts: &[&str]) -> Record {
    Record { ips: ips(texts), pool: None }
}

/// What a service has from a pool.
pub(crate) fn from_pool(texts: &[&str], pool: &str) -> Record {
    Record { ips: ips(texts), pool: Some(PoolName::new(pool)) }
}

/// Decides for a service that comes with nothing.
pub(crate) fn assign(
    allocator: &mut Allocator,
    name: &str,
    request: &Request,
) -> Result<Vec<IpAddr>, Refusal> {
    assign_from(allocator, name, request, &[])
}

/// Decides for a service that has these addresses in its status.
pub(crate) fn assign_from(
    allocator: &mut Allocator,
    name: &str,
    request: &Request,
    current: &[&str],
) -> Result<Vec<IpAddr>, Refusal> {
    assign_record(allocator, name, request, &record(current))
}

/// Decides for a service with this record.
pub(crate) fn assign_record(
    allocator: &mut Allocator,
    name: &str,
    request: &Request,
    record: &Record,
) -> Result<Vec<IpAddr>, Refusal> {
    allocator.assign(&key(name), &Labels::new(), request, record, &[]).outcome.map(|a| a.ips)
}
