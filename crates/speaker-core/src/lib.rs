//! Every decision of a speaker. The shell brings events in and carries decisions out; the simulation drives the very
//! same core.
//!
//! ```text
//!  Services, endpoints, nodes, pools,                                        what each interface is to do
//!  advertisements, peers' addresses ---+                                 +-> with which address: Ports
//!                                      |   Core                          |
//!  News: events and view of the -------+-> placement: who announces  ----+-> Gossip: peers, profile, link, goodbyes
//!  members, in one ordered stream      |   announce/layer2: where, how   |
//!                                      |   peers, departure, ...         +-> Statuses, Notices (events),
//!  interfaces; what ports report ------+                                 +-> Reached (readiness), metrics, log
//! ```
//!
//! [`Core::handle`] takes an [`Input`] and the time, [`Core::poll_output`] gives what follows, [`Core::poll_timeout`] says
//! when to call again. Inputs that are there already are best handled together, before the outputs are asked for: what
//! is published is published once for all of them.
//!
//! Speakers that hear each other may have seen different states of the cluster: `disputes` says what they do then.
//!
//! What belongs to one protocol of announcing is in [`announce`], with its own plan and its own outcome of each Service.
//! Nothing here knows a Kubernetes type, a socket or a clock.

pub mod announce;
mod budgets;
mod configuration;
mod core;
mod cut_off;
mod departure;
mod disputes;
mod input;
mod interfaces;
mod left_over;
mod output;
mod peers;
mod same_lan;
mod unannounced;

pub use self::core::{Config, Core};
pub use configuration::ConfigurationNews;
pub use cut_off::{CutOff, Reach};
pub use departure::{NodeState, PodState};
pub use disputes::Seen;
pub use input::{Changes, Input, List, Trouble};
pub use interfaces::{Lan, Link, Links, Purpose, Unfit};
pub use left_over::LeftOver;
pub use output::{Gossip, Notice, Output, Severity};
