//! What is the matter with an address, and what its owner is told of that.

use std::collections::BTreeSet;

use placement::NodeName;

use super::Conflict;
use crate::output::Notice;

/// Why an address is not announced, or not everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// Why none of the interfaces will do.
    NoInterface(String),
    /// Foreign hosts have it on these interfaces.
    Taken {
        by: Vec<Conflict>,
        /// Whether it is announced on others.
        elsewhere: bool,
    },
    /// Peers have it whose gossip is not heard.
    Held(Vec<Conflict>),
}

impl Fault {
    /// Whether whoever was told of these knows of this one: the same hosts, or more of them, have the address.
    pub(super) fn is_told_by(&self, told: &BTreeSet<Self>) -> bool {
        let all_of = |by: &[Conflict], known: &[Conflict]| by.iter().all(|conflict| known.contains(conflict));
        told.iter().any(|known| match (self, known) {
            (Self::NoInterface(reason), Self::NoInterface(known)) => reason == known,
            (Self::Taken { by, elsewhere: _ }, Self::Taken { by: known, elsewhere: _ })
            | (Self::Held(by), Self::Held(known)) => all_of(by, known),
            (Self::NoInterface(_) | Self::Taken { .. } | Self::Held(_), _) => false,
        })
    }

    pub(super) fn notice(&self, from: &str) -> Notice {
        match self {
            Self::NoInterface(reason) => {
                Notice::warning("announceFailed", format!("cannot announce {from}: {reason}"))
            }
            Self::Taken { by, elsewhere } => {
                let who = named(by, "has the address");
                let elsewhere = if *elsewhere { "; where nobody has it, it is announced" } else { "" };
                let message = format!(
                    "not announcing {from}: {who}{elsewhere}. Take it away from there, or out of the pool; the LAN is asked \
                     again every 30 s. Where a router answers for all addresses (proxy ARP), start the speakers with \
                     --ignore-address-conflicts"
                );
                Notice::warning("addressConflict", message)
            }
            Self::Held(by) => {
                let who = named(by, "answers for the address");
                let message = format!(
                    "not announcing {from}: {who}, which is another speaker whose gossip is not heard here. Check that \
                     the gossip port is open between all nodes, and that they have the same key; the LAN is asked \
                     again every 3 s"
                );
                Notice::warning("peerUnheard", message)
            }
        }
    }
}

fn named(conflicts: &[Conflict], does: &str) -> String {
    let name =
        |Conflict { vip, interface, by }: &Conflict| format!("{by} on {interface} {does} {vip} already");
    conflicts.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Tells that a foreign host claims an address which is announced.
pub(crate) fn claimed(Conflict { vip, interface, by }: &Conflict) -> Notice {
    Notice::warning(
        "addressConflict",
        format!(
            "{by} on {interface} claims the address {vip}, which is announced: two hosts answer for it. Take \
             it away from there, or out of the pool"
        ),
    )
}

/// Tells that the node of a peer goes on answering for an address that is announced from `node`.
pub(crate) fn answered_by_peer(
    Conflict { vip, interface, by }: &Conflict,
    peer: &str,
    node: &NodeName,
) -> Notice {
    Notice::warning(
        "peerAnswers",
        format!(
            "node {peer:?} ({by} on {interface}) answers for {vip} too, which is announced from node {:?}: clients reach one \
             or the other. Most likely the kernel there has the address on an interface such as lo or kube-ipvs0: set \
             net.ipv4.conf.all.arp_ignore to 1 on that node (kube-proxy: ipvs.strictARP), or remove the address",
            node.as_str()
        ),
    )
}
