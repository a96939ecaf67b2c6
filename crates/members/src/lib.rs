//! Who is alive: members, the monitors that watch over them, and the frames they exchange.

mod config;
mod event;
mod members;
mod profile;
mod seal;

pub use config::{Config, Preset, Role, Timing};
pub use event::Event;
pub use members::{LinkState, Members, Refusal, Transmit};
pub use profile::{Profile, ProfileError};
pub use seal::{BootId, Key, KeyError, Keys};
