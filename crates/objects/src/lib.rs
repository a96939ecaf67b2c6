//! What objects are called and how they are labelled: the few words that the pure crates share.

mod labels;
mod names;
mod pack;
pub mod text;

pub use labels::{Labels, Requirement, Selector, SelectorError, any_matches};
pub use names::{AdvertisementName, InterfaceName, NodeName, PoolName, ServiceKey, SliceKey};
pub use pack::pack;
