//! What objects are called and how they are labelled: the few words that the pure crates share.

mod family;
mod few;
mod labels;
mod look_alike;
mod names;
mod pack;
pub mod text;

pub use family::Family;
pub use few::Few;
pub use labels::{Labels, Requirement, Selector, SelectorError, any_matches};
pub use look_alike::{LookAlike, look_alike};
pub use names::{
    AdvertisementName, BfdProfileName, BgpPeerName, InterfaceName, NamespacedName, NodeName, PoolName,
    ReservationKey, SecretName, ServiceKey, SliceKey,
};
pub use pack::pack;
