//! A bad month in an hour: what happens to clusters, one thing after the other or two together, in a lab under steady
//! traffic, while somebody outside asks for every address all the time.
//!
//! - [`script`] says which [`fault`] happens when. A seed makes one script.
//! - [`observation`] is what can be seen from outside: who answers for each address, what became of requests, what the
//!   API server says of Services, restarts and events, and the kernel of the memory of processes.
//! - [`judge`] says what was violated by what was seen: never two answerers beyond a second, an answer whenever a node
//!   could, no address lost or given twice, no event storm, no growth, no restart without a cause. It is pure, as is the
//!   script.
//! - [`run()`] plays a script in a lab, and [`report`] tells of it.
//!
//! The clock of one node cannot be stepped: time namespaces have clocks of their own for the time since boot, but share
//! the time of day with the machine. What depends on it (generations in the gossip) is tested in virtual time.

mod act;
pub mod fault;
pub mod judge;
mod ndp;
pub mod observation;
pub mod report;
mod run;
pub mod script;
mod site;
mod watch;

pub use run::{Outcome, Plan, run};
