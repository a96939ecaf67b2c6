//! What it takes to compare FerroLB with MetalLB: API servers with everything that either of them
//! needs ([`stage`]), their controllers or speakers as processes ([`contender`]), and the figures side by side ([`table`]).

pub mod contender;
pub mod stage;
pub mod table;
