//! What happens to the node that announces, and how it is undone.

use std::time::Duration;

use anyhow::Result;
use lab::chart;

use crate::site::Site;

/// One way to lose an announcer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Fault {
    /// The node is gone at once.
    PowerOff,
    /// The node's cable is pulled.
    Cable,
    /// The speaker's process dies at once, and kubelet starts it again.
    Kill,
    /// The speaker's process stands still.
    Freeze,
    /// The speaker's Pod is deleted, and its DaemonSet makes a new one.
    Stop,
    /// The speaker has to leave the node.
    Drain,
}

const TAINT: &str = "bench=drained:NoExecute";

impl Fault {
    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PowerOff => "power-off",
            Self::Cable => "cable out",
            Self::Kill => "kill -9",
            Self::Freeze => "frozen speaker",
            Self::Stop => "Pod deleted",
            Self::Drain => "drained",
        }
    }

    /// Whether the speaker can say goodbye, so that nothing need be lost.
    pub(crate) fn is_orderly(self) -> bool {
        matches!(self, Self::Stop | Self::Drain)
    }

    /// How often the client connects meanwhile. What must not lose a connection is to be shown to with many.
    pub(crate) fn visited_every(self) -> Duration {
        Duration::from_millis(if self.is_orderly() { 1 } else { 5 })
    }

    /// Makes it happen.
    pub(crate) fn inject(self, site: &Site) -> Result<()> {
        match self {
            Self::PowerOff => site.lab.poweroff(site.victim()),
            Self::Cable => site.lab.unplug(site.victim()),
            Self::Kill => site.signal("KILL"),
            Self::Freeze => site.signal("STOP"),
            Self::Stop => delete_speaker(site),
            Self::Drain => taint(site, TAINT),
        }
    }

    /// Undoes it. The victim is back some time later.
    pub(crate) fn heal(self, site: &Site) -> Result<()> {
        match self {
            Self::PowerOff => site.lab.poweron(site.victim()),
            Self::Cable => site.lab.plug(site.victim()),
            // After another death kubelet would wait, longer each time, but not before it starts a new Pod.
            Self::Kill => delete_speaker(site),
            Self::Freeze => site.signal("CONT"),
            Self::Stop => Ok(()),
            Self::Drain => taint(site, &format!("{TAINT}-")),
        }
    }
}

fn delete_speaker(site: &Site) -> Result<()> {
    let pod = site.speaker()?;
    site.lab.kubectl(["delete", "pod", "-n", chart::NAMESPACE, &pod, "--wait=false"]).map(drop)
}

fn taint(site: &Site, taint: &str) -> Result<()> {
    site.lab.kubectl(["taint", "node", &site.victim().to_string(), taint]).map(drop)
}
