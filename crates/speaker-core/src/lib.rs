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
//! # An address on its way from the API server to the wire
//!
//! 1. A Service comes in by [`Input::Services`] (`core/cluster`) and goes to `placement`: which nodes may announce it
//!    (`eligibility`), which one does (`election`), and what came before (`takeover`).
//! 2. Where that is this node, [`Placement::announcements`](placement::Placement::announcements) has the address, with its
//!    interfaces and the number of the takeover.
//! 3. `core/publish` puts it into what is [`Wanted`](announce::layer2::Wanted), with what is known of the peers;
//!    `announce/layer2/plan` makes of that what each port is to do, and whether the LAN is asked first
//!    ([`Begin`](layer2::Begin)). That goes out as [`Output::Ports`].
//! 4. A [`layer2::Port`] asks the LAN, answers and announces.
//! 5. What it finds comes back by [`Input::Port`] (`core/lan`): `announce/layer2/outcome` makes events and statuses of
//!    it, and a peer that answers as well is a rival (`core/lan`) or part of a dispute (`disputes`).
//!
//! Speakers that hear each other may have seen different states of the cluster: `disputes` says what they do then.
//!
//! What belongs to one protocol of announcing is in [`announce`], with its own plan and its own outcome of each Service.
//! Nothing here knows a Kubernetes type, a socket or a clock.

pub mod announce;
mod budgets;
mod configuration;
mod core;
mod departure;
mod disputes;
mod growth;
mod impairments;
mod input;
mod interfaces;
mod left_over;
mod output;
mod peers;
mod same_lan;
mod unannounced;

pub use self::core::{Config, Core};
pub use configuration::ConfigurationNews;
pub use departure::{NodeState, PodState};
pub use disputes::Seen;
pub use impairments::{Impact, Impairment};
pub use input::{Changes, Input, List, Trouble};
pub use interfaces::{Lan, Link, Links, Purpose, Unfit};
pub use left_over::LeftOver;
pub use output::{Gossip, Notice, Output, Severity};
