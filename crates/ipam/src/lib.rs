//! Which service gets which address: pools, allocation and sharing, without a clock, a socket or a cluster.
//!
//! The pools and their ranges are those of crate [`pools`]. The [`Allocator`] knows which service holds which address, and
//! [`Allocator::assign`] decides anew for one service: it keeps what it has or is found an address, or the [`Refusal`] says
//! why there is none. The rules are those that users know from MetalLB, made deterministic where that leaves the choice to
//! chance. [`Allocator::put_reservation`] keeps addresses for a namespace, whether or not a service has them.
//!
//! Free addresses are kept as intervals in the order of the pool, so that neither the size of a pool nor
//! what others hold makes the search longer: a /8 and an IPv6 /64 are as quick as a /30.

mod allocator;
mod applicant;
mod free;
mod holdings;
mod ledger;
mod refusal;
mod request;
mod reservation;
mod reservations;
mod reserved;
mod tally;
mod vip;

pub use allocator::{Allocator, Decision, Settled};
pub use ledger::Usage;
pub use objects::{PoolName, ReservationKey, ServiceKey};
pub use pools::{Family, Limit, Quota, QuotaReached};
pub use refusal::{Conflict, NotAdmitted, Reason, Refusal, Unsuitable};
pub use request::{AddressRequest, Assignment, Families, Port, Protocol, Record, Request, Sharing};
pub use reservation::{Reservation, Wanted};
