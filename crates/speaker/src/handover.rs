//! The hand-over of live sessions with routers from the speaker of an old Pod to that of the new one on the same node, while a
//! DaemonSet that surges replaces the Pod: no router notices.
//!
//! ```text
//!   old: runs                                            new: has started, holds nothing, listens nowhere
//!    |  <---------------- connects, proves ----------------  |
//!    |                                                       |  waits
//!    | SIGTERM: BGP stands still, BFD goes on                |
//!    |  ----- each session, with its socket; "complete" -->  |
//!    |  <-------------------- "ready" ---------------------  |  has read all and can go on
//!    |  ---------------------- "go" ---------------------->  |  from here on they are the new one's
//!    |  <-------------------- "started" -------------------  |
//!    | ends BGP and BFD without a word, says goodbye to the  |
//!    | gossip, and ends                                      |
//!    |  ------------- the connection is closed ----------->  |  begins with all the rest
//! ```
//!
//! Before "go" the sessions are the old one's, and it ends them as if there were nobody else ([`bgp::session::Farewell`]) when the
//! new one does not get ready in time; after it they are the new one's. Only one of them ever reads or writes.
//!
//! They meet at an abstract Unix socket of the node's network namespace, which both share. Each end has to run as the same user,
//! and prove that it knows the key of the gossip: connections to routers, with their passwords, go to nobody else. Without a key
//! there is no hand-over. Programs of which one does not know the other's [`message::VERSION`] part at once.

mod channel;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod give;
mod message;
mod take;
#[cfg(test)]
mod tests;

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdUnixListener};
use std::path::PathBuf;
use std::time::Duration;

pub use give::{Sessions, Successor};
use objects::NodeName;
use sha2::{Digest, Sha256};
pub(crate) use take::until_free;
pub use take::{Predecessor, Taken};
use tokio::net::UnixListener;

use crate::Config;

/// How long the ends may take to find out who the other is.
const ACQUAINTED_WITHIN: Duration = Duration::from_secs(1);

/// Where the speakers of one installation on one node meet, and by what they know each other.
#[derive(Debug, Clone)]
pub struct Meeting {
    name: String,
    key_files: Vec<PathBuf>,
}

impl Meeting {
    /// `namespace` and `class` tell the installations apart that share a node; for `key_files` see [`gossip::Config::key_files`].
    pub fn new(namespace: &str, node: &NodeName, class: Option<&str>, key_files: Vec<PathBuf>) -> Self {
        let parts = [namespace, node.as_str(), class.unwrap_or_default()];
        let digest = Sha256::digest(parts.join("\0"));
        // A name of 108 bytes is the longest, and those of namespaces and nodes may be longer together.
        let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("ferrolb-speaker-{digest}"), key_files }
    }

    pub(crate) fn of(config: &Config) -> Self {
        let Config { identity, node_name, lb_class, gossip_key_files, .. } = config;
        Self::new(&identity.namespace, node_name, lb_class.as_deref(), gossip_key_files.clone())
    }

    /// Of the abstract Unix socket, without the zero before it.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> io::Result<SocketAddr> {
        SocketAddr::from_abstract_name(&self.name)
    }

    fn listen(&self) -> io::Result<UnixListener> {
        let listener = StdUnixListener::bind_addr(&self.address()?)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }

    /// None where there are none, or they cannot be read.
    fn keys(&self) -> gossip::Keys {
        gossip::keys_in(&self.key_files).unwrap_or_default()
    }
}
