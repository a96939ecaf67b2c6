//! How long it takes to give out an address and to take it back, with few and with many of them in use.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ipam::{
    AddressRequest, Allocator, Families, Family, Port, Protocol, Record, Request, ServiceKey, Sharing,
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

criterion_group!(benches, at_the_end, in_the_middle);
criterion_main!(benches);
