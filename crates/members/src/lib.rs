//! Who is alive: members, the monitors that watch over them, and the frames they exchange.

mod config;
mod contact;
mod event;
mod frame;
mod goodbye;
mod identity;
mod members;
mod monitor;
mod peer;
mod profile;
mod ring;
mod seal;
mod session;
mod settle;
mod swim;

pub use config::{Config, Preset, Role, Timing};
pub use event::Event;
pub use members::{LinkState, Members, Refusal, Transmit};
pub use monitor::Counters;
pub use profile::{Profile, ProfileError};
pub use seal::{BootId, Key, KeyError, Keys};
