//! Who somebody is to the others.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use objects::NodeName;
use serde::{Deserialize, Serialize};

use crate::BootId;
use crate::config::Role;

/// One life of one process: what membership is decided about.
///
/// Of two with one name, the greater generation is the one that counts. Being declared dead ends a life for
/// good; whoever is alive all the same begins the next with a greater generation. So does who takes another role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    #[serde(with = "name")]
    pub(crate) name: NodeName,
    pub(crate) address: SocketAddr,
    pub(crate) boot: BootId,
    pub(crate) generation: u64,
    pub(crate) role: Role,
}

impl foca::Identity for Identity {
    type Addr = NodeName;

    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation.checked_add(1)?, ..self.clone() })
    }

    fn addr(&self) -> NodeName {
        self.name.clone()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.generation, self.boot) > (adversary.generation, adversary.boot)
    }
}

/// Which generations a clock can have given, told by the one that this process began with.
///
/// Clocks differ, so each process has limits of its own. Who may be told to outlive a generation must be able to do so, and be
/// understood by all others afterwards: each limit is greater than the one before by far more than clocks can be apart, such
/// as one that has been set and one that began in 1970 for want of a battery.
#[derive(Debug)]
pub(crate) struct Generations {
    first: u64,
    start: Instant,
}

/// Whose generation is claimed, and so how far ahead it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// That of somebody else.
    Another,
    /// That of whoever hears it, and is to outlive it.
    Hearer,
    /// That of whoever says so, at its own address.
    Speaker,
}

impl Generations {
    /// A hundred years, in milliseconds.
    const CENTURY: u64 = 100 * 365 * 24 * 60 * 60 * 1000;
    /// A day, in milliseconds: clocks that are set are not further apart.
    const APART: u64 = 24 * 60 * 60 * 1000;

    /// For a process that begins with `first` as its generation, or less if that is absurd: many follow it.
    pub(crate) fn new(first: u64, start: Instant) -> Self {
        Self { first: first.min(u64::MAX / 2), start }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The generation to begin next for one that leads the life `own` and is told that it must outlive `after`.
    ///
    /// Whoever claims lives that this one never led can go on with ever greater ones, faster than it is heard. So it goes
    /// beyond what anybody is believed of another, and then only itself can tell of what comes next.
    pub(crate) fn next(&self, own: u64, after: u64, now: Instant) -> u64 {
        let beyond = self.by_clock(now) + Self::CENTURY + Self::APART;
        if after > own && after < beyond { beyond } else { own.max(after).saturating_add(1) }
    }

    /// Whether a clock can have given that one by now. What is allowed grows as time passes, so there is always a
    /// next one to be had.
    pub(crate) fn allow(&self, claim: Claim, generation: u64, now: Instant) -> bool {
        let centuries = match claim {
            Claim::Another => 1,
            Claim::Hearer => 2,
            Claim::Speaker => 3,
        };
        generation <= self.by_clock(now) + centuries * Self::CENTURY
    }

    /// What a process would begin with that starts at `now`.
    fn by_clock(&self, now: Instant) -> u64 {
        let passed: Duration = now.saturating_duration_since(self.start);
        self.first + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).min(u64::MAX / 4)
    }
}

/// Names on the wire: text of 1 to 253 bytes, the bounds that Kubernetes has for names.
pub(crate) mod name {
    use objects::NodeName;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(name: &NodeName, serializer: S) -> Result<S::Ok, S::Error> {
        name.as_str().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeName, D::Error> {
        let name = <&str>::deserialize(deserializer)?;
        if (1..=253).contains(&name.len()) {
            Ok(name.into())
        } else {
            Err(D::Error::custom("a name of this length"))
        }
    }
}
