//! `cargo xtask manifests`: writes what is made from the chart.

use std::fs;

use anyhow::{Context, Result};
use chart::Helm;

pub(crate) fn run() -> Result<()> {
    for (path, text) in chart::generated(&Helm::find()?)? {
        let parent = path.parent().context("every file is in a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
