//! What happened among the members.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use objects::NodeName;

use crate::Absence;

/// Something that [`Members`](crate::Members) has to say, in the order in which it happened.
///
/// Whoever is named in `Joined` or `Returned` is a member from then on, whoever is named in `Lost`, `Leaving` or
/// `Replaced` is none from then on. Observers and this member itself are never named in these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A process takes part from now on. Also when it replaces one on the same node so fast that nobody missed
    /// that.
    Joined(NodeName),
    /// A member comes of which nobody here knows what it did before: it had been declared dead but may only have been
    /// cut off or have stood still, be this the same process or the next, or it began while it was cut off. It
    /// may have answered for its addresses the whole time.
    Returned(NodeName),
    /// A member is dead, as far as is known.
    Lost {
        /// Who.
        node: NodeName,
        /// The monitors that found it dead, as far as they have said so. More may follow as `Confirmed`.
        /// Empty when that is only rumour.
        confirmed_by: BTreeSet<NodeName>,
    },
    /// More monitors found dead a member that was lost before.
    Confirmed {
        /// Who is lost.
        node: NodeName,
        /// All monitors that said so until now.
        confirmed_by: BTreeSet<NodeName>,
    },
    /// A member says goodbye. It goes on answering for its addresses until every member has called
    /// [`confirm_leave`](crate::Members::confirm_leave), or its patience is over.
    Leaving {
        /// Who.
        node: NodeName,
        /// Whether it is expected back: [away](crate::Members::away).
        absence: Absence,
    },
    /// A member that was [away](crate::Members::away) is expected back no longer: it should be here by now.
    Overdue(NodeName),
    /// Another process has begun on the node of a member, and does not take part yet.
    Replaced(NodeName),
    /// What another tells of itself is known now, or has changed.
    Profile(NodeName),
    /// Frames in the name of `node` come from where the cluster does not list it, and are refused. Said with growing
    /// pauses.
    WrongAddress {
        /// Whose name.
        node: NodeName,
        /// From where.
        from: IpAddr,
    },
    /// The others held us dead and have been told otherwise just now. Whoever took over our addresses gives
    /// them back, so they are to be announced afresh.
    PresumedDead,
    /// This process stood still for so long that the others may hold us dead. Until
    /// [`settled`](crate::Members::settled) is true again, what is known of them may be outdated.
    Stalled(Duration),
    /// Our goodbye is complete: nothing is sent any more, and addresses need not be answered any longer.
    Departed {
        /// Members that have not confirmed in time.
        unconfirmed: BTreeSet<NodeName>,
    },
}
