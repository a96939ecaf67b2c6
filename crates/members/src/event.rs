//! What happened among the members.

use std::collections::BTreeSet;
use std::time::Duration;

use objects::NodeName;

/// Something that [`Members`](crate::Members) has to say, in the order in which it happened.
///
/// Whoever is named in `Joined` or `Returned` is a member from then on, whoever is named in `Lost` or
/// `Leaving` is none from then on. Observers and this member itself are never named in these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A process that was not known before. Also when it replaces one on the same node so fast that nobody
    /// missed it.
    Joined(NodeName),
    /// A member that had been declared dead but has been running all along: it was cut off or stood still,
    /// and may have answered for its addresses the whole time.
    Returned(NodeName),
    /// A member is dead, as far as is known.
    Lost {
        /// Who.
        node: NodeName,
        /// The monitors that found it dead, as far as they have said so. More may follow as `Confirmed`.
        /// Empty when that is only hearsay.
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
    Leaving(NodeName),
    /// What a member tells of itself is known now, or has changed.
    Profile(NodeName),
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
