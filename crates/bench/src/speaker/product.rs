//! What is compared, and how each of the two is installed and found.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use lab::{Lab, chart, metallb};

/// A load balancer to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Product {
    /// Ours, from the chart of this repository.
    FerroLb {
        /// The archive of its image.
        image: PathBuf,
    },
    /// The one to compare with, from its own manifests.
    MetalLb,
}

/// FerroLB's presets of how fast a dead speaker is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failover {
    /// What everybody gets; all that MetalLB has.
    Default,
    /// For machines that never stand still.
    Fast,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FerroLb { .. } => "FerroLB",
            Self::MetalLb => "MetalLB",
        })
    }
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Fast => "fast",
        })
    }
}

impl Product {
    /// Installs it and waits until all of it is ready.
    pub(crate) fn install(&self, lab: &Lab) -> Result<()> {
        match self {
            Self::FerroLb { image } => chart::install(lab, image),
            Self::MetalLb => metallb::install(lab),
        }
    }

    /// The presets that it has.
    pub(crate) fn failovers(&self) -> &'static [Failover] {
        match self {
            Self::FerroLb { .. } => &[Failover::Default, Failover::Fast],
            Self::MetalLb => &[Failover::Default],
        }
    }

    /// Changes the preset and waits until all speakers have it.
    pub(crate) fn set_failover(&self, lab: &Lab, failover: Failover) -> Result<()> {
        match self {
            Self::FerroLb { .. } => chart::set(lab, [format!("speaker.failover={failover}").as_str()]),
            Self::MetalLb => Ok(()),
        }
    }

    /// Turns on what it has against endpoints that have died with their node.
    pub(crate) fn recover_endpoints(&self, lab: &Lab) -> Result<()> {
        match self {
            Self::FerroLb { .. } => chart::set(lab, ["controller.recoverEndpoints=true"]),
            Self::MetalLb => Ok(()),
        }
    }

    /// Takes back all that was turned on.
    pub(crate) fn reset(&self, lab: &Lab) -> Result<()> {
        match self {
            Self::FerroLb { .. } => chart::reset(lab),
            Self::MetalLb => Ok(()),
        }
    }

    /// The labels of its speakers' Pods.
    pub(crate) fn speakers(&self) -> &'static str {
        match self {
            Self::FerroLb { .. } => "app.kubernetes.io/name=ferrolb,app.kubernetes.io/component=speaker",
            Self::MetalLb => "app=metallb,component=speaker",
        }
    }

    /// What the processes of its speakers are called, or their first argument.
    pub(crate) fn process(&self) -> &'static str {
        match self {
            Self::FerroLb { .. } => "speaker",
            Self::MetalLb => "metallb-speaker",
        }
    }

    /// The service account of its speakers.
    pub(crate) fn account(&self) -> String {
        let name = match self {
            Self::FerroLb { .. } => "ferrolb-speaker",
            Self::MetalLb => "speaker",
        };
        format!("{}:{name}", chart::NAMESPACE)
    }
}
