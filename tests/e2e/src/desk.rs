//! Where an operator types what the README says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use lab::{Host, metallb};
use tempfile::TempDir;

use crate::Cluster;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The shell's variables, kept from one command to the next.
const VARIABLES: &str = ".variables";
const ALIASES: &str = ".aliases";

/// A shell in a folder with the repository, MetalLB's manifests and its chart at hand.
#[derive(Debug)]
pub struct Desk<'a> {
    cluster: &'a Cluster,
    folder: TempDir,
}

impl<'a> Desk<'a> {
    /// A tidy one.
    pub fn new(cluster: &'a Cluster) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        symlink(Path::new(REPOSITORY).join("charts"), folder.path().join("charts"))?;
        symlink(metallb::manifests()?, folder.path().join("metallb-native.yaml"))?;
        // As if the folder were the repository of that name.
        let repository = folder.path().join("metallb");
        fs::create_dir(&repository)?;
        symlink(metallb::chart()?, repository.join("metallb"))?;
        for file in [VARIABLES, ALIASES] {
            fs::write(folder.path().join(file), "")?;
        }
        Ok(Self { cluster, folder })
    }

    /// Leaves a file there.
    pub fn put(&self, name: &str, content: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join(name), content)?)
    }

    /// Runs shell commands, which must all succeed, and returns what they say.
    pub fn type_in(&self, commands: &str) -> Result<String> {
        let folder = self.folder.path().display();
        let script = format!(
            "set -ae\ncd {folder}\n. ./{VARIABLES}\n. ./{ALIASES}\n{commands}\n\
             export -p > {VARIABLES}\nalias | sed 's/^/alias /' > {ALIASES}"
        );
        self.cluster.lab.run(Host::Cp, ["sh", "-c", &script])
    }
}
