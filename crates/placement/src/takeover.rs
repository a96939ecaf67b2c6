//! What this node announces, and since which takeover: layer 2 only, where a LAN remembers who had an address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use objects::pack;

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
    /// Newly given to a Service, and announced by nobody yet: a foreign host on the LAN may have it.
    New,
    /// Announced before, by this node or another.
    Announced,
    /// Announced by a member that is away for a moment, and whose node still serves whoever believes it to be there:
    /// those who ask are to be answered, but nobody is to be told.
    Standby,
}

/// The number of a takeover. No two of one [`Placement`](crate::Placement) are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Takeover(pub u64);

/// Why an address is announced from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// This node stands in for a member that is away.
    StandIn,
    /// This node ranks first.
    Elected,
}

/// The announcements, their takeovers and what was there before.
#[derive(Debug)]
pub(crate) struct Takeovers {
    announcements: Announcements,
    last: u64,
    unannounced: NeverAnnounced,
}

/// The addresses that nobody has announced yet, as far as this node can know.
#[derive(Debug)]
enum NeverAnnounced {
    /// Where one starts, every address may have been announced before.
    Unknowable,
    /// These.
    Only(BTreeSet<IpAddr>),
}

impl Takeovers {
    pub(crate) fn new() -> Self {
        Self { announcements: Announcements::new(), last: 0, unannounced: NeverAnnounced::Unknowable }
    }

    pub(crate) fn pack(&mut self) {
        pack(&mut self.announcements);
    }

    /// An address was given to a Service, and no other had it.
    pub(crate) fn given(&mut self, vip: IpAddr) {
        if let NeverAnnounced::Only(vips) = &mut self.unannounced {
            vips.insert(vip);
        }
    }

    /// No Service has the address any more. When one is given it again, it is new again.
    pub(crate) fn taken_back(&mut self, vip: IpAddr) {
        if let NeverAnnounced::Only(vips) = &mut self.unannounced {
            vips.remove(&vip);
        }
    }

    /// Everything that is known at the start was taken in: what is given from now on is new.
    pub(crate) fn started(&mut self) {
        if matches!(self.unannounced, NeverAnnounced::Unknowable) {
            self.unannounced = NeverAnnounced::Only(BTreeSet::new());
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
    pub(crate) fn here(&mut self, vip: IpAddr, interfaces: Interfaces, role: Role) {
        let history = match self.history(vip) {
            History::Announced if role == Role::StandIn => History::Standby,
            history => history,
        };
        match self.announcements.get_mut(&vip) {
            // Where it is ours already, others may have learned that.
            Some(announcement) if role == Role::StandIn || announcement.history != History::Standby => {
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
        match &mut self.unannounced {
            NeverAnnounced::Unknowable => History::Announced,
            NeverAnnounced::Only(vips) => {
                if vips.remove(&vip) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    fn vip() -> IpAddr {
        ip("10.0.0.1")
    }

    fn started() -> Takeovers {
        let mut it = Takeovers::new();
        it.started();
        it
    }

    fn here(it: &mut Takeovers, role: Role) -> (History, Takeover) {
        it.here(vip(), Interfaces::All, role);
        let announcement = &it.announcements()[&vip()];
        (announcement.history, announcement.takeover)
    }

    #[test]
    fn only_what_is_given_after_the_start_is_new() {
        let mut it = Takeovers::new();
        it.given(vip());
        it.started();
        assert_eq!(here(&mut it, Role::Elected), (History::Announced, Takeover(1)));
        let mut it = started();
        it.given(vip());
        assert_eq!(here(&mut it, Role::Elected), (History::New, Takeover(1)));
    }

    #[test]
    fn an_address_that_another_node_announced_is_not_new_until_it_is_given_again() {
        let mut it = started();
        it.given(vip());
        it.elsewhere(vip());
        assert_eq!(here(&mut it, Role::Elected).0, History::Announced);
        it.nowhere(vip());
        it.given(vip());
        it.taken_back(vip());
        assert_eq!(here(&mut it, Role::Elected).0, History::Announced, "it was taken back in between");
        it.nowhere(vip());
        it.given(vip());
        assert_eq!(here(&mut it, Role::Elected).0, History::New);
    }

    #[test]
    fn standing_in_becomes_a_takeover_but_a_takeover_no_standing_in() {
        let mut it = started();
        assert_eq!(here(&mut it, Role::StandIn), (History::Standby, Takeover(1)));
        assert_eq!(here(&mut it, Role::StandIn), (History::Standby, Takeover(1)));
        assert_eq!(here(&mut it, Role::Elected), (History::Announced, Takeover(2)));
        assert_eq!(here(&mut it, Role::StandIn), (History::Announced, Takeover(2)));
        it.nowhere(vip());
        it.given(vip());
        assert_eq!(here(&mut it, Role::StandIn), (History::New, Takeover(3)), "nobody can have announced it");
    }

    #[test]
    fn other_interfaces_leave_the_takeover_and_an_interruption_does_not() {
        let mut it = started();
        let (_, first) = here(&mut it, Role::Elected);
        it.here(vip(), only(&["eth1"]), Role::Elected);
        assert_eq!(it.announcements()[&vip()].takeover, first);
        assert_eq!(it.announcements()[&vip()].interfaces, only(&["eth1"]));
        it.elsewhere(vip());
        assert!(it.announcements().is_empty());
        assert_ne!(here(&mut it, Role::Elected).1, first);
    }

    #[test]
    fn reasserting_makes_new_takeovers_of_all_and_asks_for_none() {
        let mut it = started();
        it.given(vip());
        here(&mut it, Role::Elected);
        it.here(ip("10.0.0.2"), Interfaces::All, Role::StandIn);
        let last = it.last();
        it.reassert();
        assert_eq!(it.since(last), [Takeover(3), Takeover(4)].into());
        assert!(it.announcements().values().all(|it| it.history == History::Announced));
        assert!(it.since(it.last()).is_empty());
    }

    #[test]
    fn what_was_announced_is_no_longer_new() {
        let mut it = started();
        it.given(vip());
        let (_, takeover) = here(&mut it, Role::Elected);
        it.was_announced(vip());
        it.was_announced(ip("10.0.0.9"));
        assert_eq!(here(&mut it, Role::Elected), (History::Announced, takeover));
        assert_eq!(it.announcements().len(), 1);
    }
}
