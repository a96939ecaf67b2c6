//! Which service gets which address: pools, allocation and sharing, without a clock, a socket or a cluster.

mod pool;
mod range;

pub use pool::{Allocation, Pool, PoolName};
pub use range::{Family, ParseRangeError, Range, first_overlap};
