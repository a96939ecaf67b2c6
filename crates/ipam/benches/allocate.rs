//! How long it takes to give out an address and to take it back, with few and with many of them in use.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ipam::{
    AddressRequest, Allocator, Assignment, Families, Family, Port, Protocol, Record, Request, Reservation,
    ReservationKey, ServiceKey, Sharing, Wanted,
};
use objects::Labels;
use pools::{PoolSpec, Pools};

const NOTHING: Labels = Labels::new();

fn request() -> Request {
    Request {
        labels: Labels::new(),
        families: Families::Single(Family::V4),
        addresses: AddressRequest::Anything,
        sharing: Sharing::default(),
        ports: [Port { protocol: Protocol::Tcp, number: 80 }].into(),
    }
}

fn key(number: u32) -> ServiceKey {
    ServiceKey::new("default", format!("service-{number:07}"))
}

/// A pool of 16 million addresses, so many of which are in use.
fn filled(in_use: u32) -> Allocator {
    let pool = PoolSpec::new("pool", &["10.0.0.0/8"]);
    let mut allocator = Allocator::default();
    allocator.set_pools(Pools::new([pool]));
    for number in 0..in_use {
        allocator
            .assign(&key(number), &NOTHING, &request(), &Record::default(), &[])
            .outcome
            .expect("the pool is large enough");
    }
    allocator
}

/// The next address is given out and taken back.
fn at_the_end(c: &mut Criterion) {
    let mut group = c.benchmark_group("allocate and release");
    for in_use in [10, 10_000, 1_000_000] {
        let (mut allocator, request, newcomer) = (filled(in_use), request(), key(in_use));
        group.bench_function(BenchmarkId::new("the next address", in_use), |bencher| {
            bencher.iter(|| {
                black_box(allocator.assign(&newcomer, &NOTHING, &request, &Record::default(), &[]));
                black_box(allocator.release(&newcomer));
            });
        });
    }
}

/// An address in the midst of those in use is taken back and, being the lowest free one, given out again.
fn in_the_middle(c: &mut Criterion) {
    let mut group = c.benchmark_group("release and allocate");
    for in_use in [10, 10_000, 1_000_000] {
        let (mut allocator, request) = (filled(in_use), request());
        // All over the place, so that the processor's caches are of no more help than they would be.
        let keys: Vec<_> = (0..1024).map(|i: u32| key(i.wrapping_mul(2_654_435_761) % in_use)).collect();
        let mut keys = keys.iter().cycle();
        group.bench_function(BenchmarkId::new("any address", in_use), |bencher| {
            bencher.iter(|| {
                let key = keys.next().expect("it is a cycle");
                black_box(allocator.release(key));
                black_box(allocator.assign(key, &NOTHING, &request, &Record::default(), &[]));
            });
        });
    }
}

/// So many reservations, each with an address, and as many services that have these.
fn with_reservations(services: u32, reservations: u32) -> Allocator {
    let mut allocator = Allocator::default();
    allocator.set_pools(Pools::new([PoolSpec::new("pool", &["10.0.0.0/8"])]));
    let reservation = |number: u32| {
        let ips = vec![IpAddr::from(Ipv4Addr::from(0x0a80_0000 + number))];
        Reservation {
            key: ReservationKey::new("default", format!("reservation-{number:07}")),
            created: None,
            wanted: Wanted::Addresses(ips.clone()),
            service_selectors: vec![],
            record: Record { ips, pool: Some("pool".into()) },
        }
    };
    allocator.set_reservations((0..reservations).map(reservation), &BTreeMap::new());
    for number in 0..services {
        let addresses = if number < reservations {
            AddressRequest::Reserved(reservation(number).key)
        } else {
            AddressRequest::Anything
        };
        let request = Request { addresses, ..request() };
        let decision = allocator.assign(&key(number), &NOTHING, &request, &Record::default(), &[]);
        decision.outcome.expect("the pool is large enough");
    }
    allocator
}

/// A service has another port, with a reservation or without, and what that means for reservations is settled.
fn beside_reservations(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide a service and settle reservations");
    for (services, reservations) in [(50, 5), (5_000, 500)] {
        for (what, number) in [("one that has none", services - 1), ("one that has one", 1)] {
            let (mut allocator, mut port) = (with_reservations(services, reservations), 0);
            let key = key(number);
            let record = |held: &Assignment| Record { ips: held.ips.clone(), pool: Some(held.pool.clone()) };
            let record = allocator.assignment(&key).map(record).expect("it has been served");
            group.bench_function(BenchmarkId::new(what, services), |bencher| {
                bencher.iter(|| {
                    port = 1 + port % 1000;
                    let ports = [Port { protocol: Protocol::Tcp, number: port }].into();
                    let request = Request { ports, ..request() };
                    black_box(allocator.assign(&key, &NOTHING, &request, &record, &[]));
                    allocator.retry_reservations();
                    black_box(allocator.settle_reservations(&BTreeMap::new()));
                });
            });
        }
    }
}

criterion_group!(benches, at_the_end, in_the_middle, beside_reservations);
criterion_main!(benches);
