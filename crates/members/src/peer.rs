//! What is known of one other process, by its name.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use objects::NodeName;

use crate::config::Role;
use crate::identity::Identity;
use crate::parts::ProfileVersion;
use crate::relays::Relayed;
use crate::session::{Cookie, Session};
use crate::{BootId, Profile};

/// Everything that is known of one other.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Where it should be, if the cluster lists it.
    pub(crate) listed: Option<SocketAddr>,
    /// Its latest life, as far as SWIM told.
    pub(crate) identity: Option<Identity>,
    pub(crate) standing: Standing,
    pub(crate) source: Source,
    /// The start of its process that has proved to be alive.
    pub(crate) session: Option<Session>,
    pub(crate) knows_us: KnowsUs,
    /// When its last frame came.
    pub(crate) heard: Option<Instant>,
    /// Whether it was a member and was declared dead since it last joined: nobody here knows what it announced
    /// meanwhile, or what the process before it did.
    pub(crate) missed: bool,
    /// Whether we took part before we knew it.
    pub(crate) we_were_late: bool,
    /// Whether it took part before it knew us.
    pub(crate) it_was_late: bool,
    pub(crate) told: Told,
    /// What others tell of what it tells, since it is not heard itself.
    pub(crate) relayed: Option<Relayed>,
    /// When it was last asked for a `Hello` since it said something surprising.
    pub(crate) asked: Option<Instant>,
}

/// What somebody knows of where we are.
#[derive(Debug, Default)]
pub(crate) struct KnowsUs {
    /// What it gave us last to prove that we are where it knows us to be.
    pub(crate) ticket: Option<Cookie>,
    /// Whether it is to be contacted until it answers, though it is known: we have moved since it gave us that, and it
    /// may not hear us; or what we have given it counts for nothing any more.
    pub(crate) no_longer: bool,
}

/// What somebody tells of itself.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// As far as it has.
    pub(crate) profile: Option<Profile>,
    /// How often that had changed by then, once all of it is known of the process that runs.
    pub(crate) version: Option<ProfileVersion>,
    /// Whether it takes profiles in parts.
    pub(crate) takes_parts: bool,
    /// Whether it relays those of others, and takes what is relayed.
    pub(crate) takes_relays: bool,
    /// Whether it has answered us, but not told all of itself yet.
    pub(crate) answers: bool,
}

/// By what somebody is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Source {
    /// By its own frames, which have proved nothing yet.
    #[default]
    Nobody,
    /// By what this one says.
    ToldBy(NodeName),
    /// It is or was listed as a speaker, or has proved to be alive where the cluster lists its name: only then it counts.
    VouchedFor,
}

/// What somebody is to the group.
///
/// ```text
/// (unknown) ---joins--> (alive) --goodbye--> (leaving) --bye, or dead--> (gone)
///                        |   ^ ^                                           |
///                    dead|   | +------------- joins -----------------------+
///                        v   |
///                       (lost)  joins, or returns if it is the same process
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// Was never alive as far as we know.
    #[default]
    Unknown,
    /// Is alive.
    Alive,
    /// Is alive, has said goodbye, and may or may not have our confirmation.
    Leaving { confirmed: bool },
    /// Was declared dead.
    Lost,
    /// Has gone after a goodbye.
    Gone,
}

impl Peer {
    /// Whether the process runs, as far as we know.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.standing, Standing::Alive | Standing::Leaving { .. })
    }

    /// Whether it counts at all.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.source == Source::VouchedFor
    }

    /// Whether it is counted.
    pub(crate) fn is_member(&self) -> bool {
        self.is_vouched_for() && self.standing == Standing::Alive && self.role() == Some(Role::Speaker)
    }

    pub(crate) fn role(&self) -> Option<Role> {
        self.identity.as_ref().map(|identity| identity.role)
    }

    /// Where it says it is, if it does.
    pub(crate) fn own_address(&self) -> Option<SocketAddr> {
        let own = self.identity.as_ref().map(|identity| identity.address);
        // Who listens on all of its addresses names none.
        own.filter(|own| !own.ip().is_unspecified())
    }

    /// Whether it is known to be at `ip`, where the cluster does not list its name.
    pub(crate) fn is_at(&self, ip: IpAddr) -> bool {
        self.listed.is_some_and(|listed| listed.ip() == ip)
            || self.session.as_ref().is_some_and(|session| session.moved == Some(ip))
    }

    /// Whether this start of the process has proved to be alive.
    pub(crate) fn is_proven(&self, boot: BootId) -> bool {
        self.session.as_ref().is_some_and(|session| session.boot == boot)
    }

    /// Whether the process that runs has proved to be alive, so that what is known of it is not of the one before.
    pub(crate) fn is_heard_itself(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| self.is_proven(identity.boot))
    }

    /// The process that runs, as far as SWIM told.
    pub(crate) fn boot(&self) -> Option<BootId> {
        self.identity.as_ref().map(|identity| identity.boot)
    }

    /// What others tell of the process that runs.
    pub(crate) fn relayed_of_now(&self) -> Option<&Relayed> {
        let counts = self.runs() && self.is_vouched_for();
        self.relayed.as_ref().filter(|relayed| counts && self.boot() == Some(relayed.boot))
    }

    /// Whether it is to be contacted until it answers.
    pub(crate) fn wants_contact(&self) -> bool {
        let linked = self.runs() && self.is_heard_itself();
        (self.listed.is_some() || self.runs()) && (!linked || self.knows_us.no_longer)
    }
}
