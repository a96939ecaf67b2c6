//! What a member is told at its start, and how fast it judges the others.

use std::net::SocketAddr;
use std::time::Duration;

use objects::NodeName;

use crate::{BootId, Keys, Profile};

/// What [`Members::new`](crate::Members::new) must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of this member: its node for a speaker, anything that no node is called for an observer.
    pub name: NodeName,
    /// Where the others reach it.
    pub address: SocketAddr,
    /// Drawn afresh at each start of the process.
    pub boot: BootId,
    /// A number that grows from one start to the next, by which the others know the newer of two starts:
    /// milliseconds since 1970 by the wall clock. Should that clock have been set back in between, the
    /// others say so and a greater number is taken.
    pub generation: u64,
    /// How fast it judges.
    pub preset: Preset,
    /// What frames are sealed with; empty: they are not.
    pub keys: Keys,
    /// What it tells everybody of itself.
    pub profile: Profile,
}

/// The part that somebody takes in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Role {
    /// Is counted among the members, and watches over others.
    Speaker,
    /// Learns everything and is told of deaths, but is no member and judges nobody. So everybody begins.
    Observer,
}

/// How fast a dead member is found, against what that costs and tolerates. The table is in the
/// [crate's documentation](crate#presets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// For busy or virtual machines that may stand still for over a second.
    Relaxed,
    /// For most clusters.
    #[default]
    Default,
    /// For quiet machines and networks where every tenth of a second counts.
    Fast,
}

impl Preset {
    /// The times that make up the preset.
    pub const fn timing(self) -> Timing {
        let [period, silence, confirm] = match self {
            Self::Relaxed => [250, 1500, 500],
            Self::Default => [100, 350, 200],
            Self::Fast => [50, 150, 80],
        };
        Timing {
            period: Duration::from_millis(period),
            silence: Duration::from_millis(silence),
            confirm: Duration::from_millis(confirm),
        }
    }
}

/// The times by which members are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Each of three monitors hears a heartbeat once in this time.
    pub period: Duration,
    /// A monitor that has heard nothing for this long begins to ask.
    pub silence: Duration,
    /// Who is still unheard this long after the question is dead.
    pub confirm: Duration,
}

impl Timing {
    /// From the last sign of life until a member is declared dead.
    pub const fn verdict(self) -> Duration {
        self.silence.saturating_add(self.confirm)
    }
}
