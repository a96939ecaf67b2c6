//! What this node announces, and since which takeover: layer 2 only, where a LAN remembers who had an address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::Interfaces;

/// What this node should announce: the answer, ready to be read at any time.
pub type Announcements = BTreeMap<IpAddr, Announcement>;

/// How this node announces one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Where: the union over the Services that have this address.
    pub interfaces: Interfaces,
    /// Which takeover this is. A different one means that the address was gone in between, however
    /// briefly, or that others may have spoken for it, and that the LAN must be told again.
    pub takeover: Takeover,
    /// How to begin, and what to say of it.
    pub history: History,
}

/// What an address was when this node took it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Newly given to a Service, and announced by nobody yet: a stranger on the LAN may have it.
    New,
    /// Announced before, by this node or another.
    Announced,
    /// Announced by a member that is away for a moment, and whose node still serves whoever believes it to be there:
    /// those who ask are to be answered, but nobody is to be told.
    Lent,
}

/// The number of a takeover. No two of one [`Placement`](crate::Placement) are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Takeover(pub u64);

/// Why an address is announced from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// This node stands in for a member that is away.
    Lent,
    /// This node ranks first.
    Own,
}

/// The announcements, their takeovers and what was there before.
#[derive(Debug)]
pub(crate) struct Takeovers {
    announcements: Announcements,
    last: u64,
    novelties: Novelties,
}

/// The addresses that nobody has announced yet, as far as this node can know.
#[derive(Debug)]
enum Novelties {
    /// Where one starts, every address may have been announced before.
    Unknowable,
    /// These.
    Only(BTreeSet<IpAddr>),
}

impl Takeovers {
    pub(crate) fn new() -> Self {
        Self { announcements: Announcements::new(), last: 0, novelties: Novelties::Unknowable }
    }

    /// An address was given to a Service, and no other had it.
    pub(crate) fn given(&mut self, vip: IpAddr) {
        if let Novelties::Only(novelties) = &mut self.novelties {
            novelties.insert(vip);
        }
    }

    /// No Service has the address any more. When one is given it again, it is new again.
    pub(crate) fn taken_back(&mut self, vip: IpAddr) {
        if let Novelties::Only(novelties) = &mut self.novelties {
            novelties.remove(&vip);
        }
    }

    /// Everything that is known at the start was taken in: what is given from now on is new.
    pub(crate) fn started(&mut self) {
        if matches!(self.novelties, Novelties::Unknowable) {
            self.novelties = Novelties::Only(BTreeSet::new());
        }
    }

    /// Another node announces the address.
    pub(crate) fn elsewhere(&mut self, vip: IpAddr) {
        self.history(vip);
        self.announcements.remove(&vip);
    }

    /// Nobody announces the address.
    pub(crate) fn nowhere(&mut self, vip: IpAddr) {
        self.announcements.remove(&vip);
    }

    /// This node announces the address.
    pub(crate) fn here(&mut self, vip: IpAddr, interfaces: Interfaces, tenure: Tenure) {
        let history = match self.history(vip) {
            History::Announced if tenure == Tenure::Lent => History::Lent,
            history => history,
        };
        match self.announcements.get_mut(&vip) {
            // Where it is ours already, others may have learned that.
            Some(announcement) if tenure == Tenure::Lent || announcement.history != History::Lent => {
                announcement.interfaces = interfaces;
            }
            Some(_) | None => {
                self.last += 1;
                let takeover = Takeover(self.last);
                self.announcements.insert(vip, Announcement { interfaces, takeover, history });
            }
        }
    }

    /// Somebody announces this address from now on; what it was until then.
    fn history(&mut self, vip: IpAddr) -> History {
        match &mut self.novelties {
            Novelties::Unknowable => History::Announced,
            Novelties::Only(novelties) => {
                if novelties.remove(&vip) {
                    History::New
                } else {
                    History::Announced
                }
            }
        }
    }

    /// Makes every announcement a new takeover.
    pub(crate) fn reassert(&mut self) {
        for announcement in self.announcements.values_mut() {
            self.last += 1;
            announcement.takeover = Takeover(self.last);
            announcement.history = History::Announced;
        }
    }

    /// The address has begun to be announced here: it is new no more.
    pub(crate) fn was_announced(&mut self, vip: IpAddr) {
        if let Some(announcement) = self.announcements.get_mut(&vip) {
            announcement.history = History::Announced;
        }
    }

    pub(crate) fn last(&self) -> Takeover {
        Takeover(self.last)
    }

    pub(crate) fn since(&self, last: Takeover) -> BTreeSet<Takeover> {
        self.announcements.values().map(|it| it.takeover).filter(|takeover| *takeover > last).collect()
    }

    pub(crate) fn announcements(&self) -> &Announcements {
        &self.announcements
    }
}
