//! How addresses are announced: for each protocol a *plan*, which says what is to be done where, and an *outcome* of each
//! Service, which says what has come of it.
//!
//! Who announces an address is decided before, by [`placement`]. A protocol that announces from several nodes at once
//! has its own module here, with its own plan and outcome.

pub mod bgp;
pub mod layer2;
