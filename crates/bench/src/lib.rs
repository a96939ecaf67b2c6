//! What it takes to compare FerroLB's controller with MetalLB's: API servers with everything that either of
//! them needs ([`stage`]), and the two as processes ([`contender`]).

pub mod contender;
pub mod stage;
