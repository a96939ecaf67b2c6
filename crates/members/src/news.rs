//! What happened among the members and who they are by now, as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use objects::NodeName;

use crate::{Event, Members, Profile};

/// The members at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The live ones, this one included once it takes part.
    pub members: BTreeSet<NodeName>,
    /// Whether enough of the others has been heard to act on this, see [`Members::settled`].
    pub settled: bool,
    /// Those who are none at present but expected back in a moment, see [`Members::away`].
    pub away: BTreeSet<NodeName>,
    /// What the others tell of themselves, see [`Members::profiles`].
    pub profiles: BTreeMap<NodeName, Profile>,
    /// What they tell by way of others, of those that are not heard themselves at present, see [`Members::relayed`].
    pub relayed: BTreeMap<NodeName, Profile>,
}

/// Events, and the members after the last of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// What happened since the last news, in order.
    pub events: Vec<Event>,
    /// The members now.
    pub view: Arc<View>,
}

/// Puts events and views together, so that nobody sees one without the other.
#[derive(Debug, Default)]
pub struct Reporter {
    view: Arc<View>,
    stale: bool,
}

impl Reporter {
    /// Something may have changed that no event tells of, as when this member takes part.
    pub fn look_again(&mut self) {
        self.stale = true;
    }

    /// What is new since the last time, if anything is.
    pub fn poll(&mut self, members: &mut Members) -> Option<News> {
        let events: Vec<_> = std::iter::from_fn(|| members.poll_event()).collect();
        let stale = std::mem::take(&mut self.stale);
        if events.is_empty()
            && !stale
            && !members.take_profiles_changed()
            && members.settled() == self.view.settled
        {
            return None;
        }
        let cloned = |(name, profile): (&NodeName, &Profile)| (name.clone(), profile.clone());
        let view = View {
            members: members.members().clone(),
            settled: members.settled(),
            away: members.away(),
            profiles: members.profiles().map(cloned).collect(),
            relayed: members.relayed().map(cloned).collect(),
        };
        let changed = view != *self.view;
        if changed {
            self.view = Arc::new(view);
        }
        (changed || !events.is_empty()).then(|| News { events, view: Arc::clone(&self.view) })
    }
}
