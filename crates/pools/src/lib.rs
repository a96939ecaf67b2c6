//! Address pools: what their objects say, and which address belongs to which pool.
//!
//! Controller and speakers derive what is in force from the same objects by [`Pools::new`], and the pool of a Service
//! from what the Service records by [`Pools::pool_of`]. Neither remembers anything, so all programs agree, and a
//! restart changes nothing.
//!
//! What is in force is decided entry by entry:
//!
//! - An entry that cannot be read disables itself only.
//! - So does one that overlaps an entry in force of a pool that was created earlier.
//! - A Service keeps an address that its recorded pool lists, whoever else lists it.
//! - A Service keeps an address that no pool lists any more while not all of its recorded pool is in force, or another
//!   pool overlaps it.
//!
//! - A Service keeps for a moment what it has from a pool that has been deleted, if the caller says so
//!   ([`Presence::Deleted`]): the pool may be made again at once.
//!
//! Everything that is not in force is a [`Fault`] of its pool.

mod fault;
mod pool;
mod pools;
mod quota;
mod range;
mod range_set;

pub use fault::{Fault, Others};
pub use objects::{Family, PoolName};
pub use pool::{Allocation, Entry, Pool, PoolSpec, Presence, Unreadable};
pub use pools::Pools;
pub use quota::{Limit, Quota, QuotaReached};
pub use range::{ParseRangeError, Range, is_buggy, predecessor, successor};
pub use range_set::RangeSet;
