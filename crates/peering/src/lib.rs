//! Which `BGPPeer`s and `BGPAdvertisement`s are in force on a node, and why others are not.
//!
//! [`Objects`] is told of the objects, as they can be read one by one. What takes two of them is decided here: names of
//! communities, BFD profiles, passwords in Secrets, and peers that are the same. An object that is wrong is not in force itself;
//! all others are.
//!
//! ```text
//! BGPPeer, Secret, BFDProfile     -> Objects::sessions        one SessionConfig for each peer of this node
//! BGPAdvertisement, Community     -> Objects::advertisements  who, where, and with which attributes
//! ```

mod advertisement;
mod objects;
mod peer;
mod secret;

pub use advertisement::{Advertisement, Aggregation, Announcing, Share};
pub use peer::{PasswordSource, Peer};
pub use secret::{Secret, SecretError, SecretState};

pub use self::objects::{CommunityNames, Faults, Objects, Sessions, ThisNode};
