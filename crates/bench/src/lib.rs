//! What it takes to compare FerroLB with MetalLB: API servers with everything that either of their controllers
//! needs ([`stage`]), the two controllers as processes ([`contender`]), and the figures side by side ([`table`]).

pub mod contender;
pub mod stage;
pub mod table;
