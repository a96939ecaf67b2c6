//! The kubectl plugin in archives, as krew and people download it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, GzBuilder};
use images::programs;
use tar::{Builder, Header};

use super::save;

/// What the plugin is called, and all of its files begin with.
pub(super) const NAME: &str = "kubectl-ferrolb";

/// A platform that the plugin is released for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As Go names it, and so krew.
    pub(super) os: &'static str,
    /// As Go names it, and so krew.
    pub(super) arch: &'static str,
    /// What files are told apart by.
    pub(super) name: &'static str,
    /// As Rust names it.
    pub(super) triple: &'static str,
}

/// All of them. Those for Linux are built by `cargo xtask plugin --platform`, the others by cargo on such machines.
pub(super) const TARGETS: [Target; 6] = [
    target("linux", "amd64", "linux-amd64", "x86_64-unknown-linux-musl"),
    target("linux", "arm64", "linux-arm64", "aarch64-unknown-linux-musl"),
    target("linux", "arm", "linux-armv7", "armv7-unknown-linux-musleabihf"),
    target("darwin", "amd64", "darwin-amd64", "x86_64-apple-darwin"),
    target("darwin", "arm64", "darwin-arm64", "aarch64-apple-darwin"),
    target("windows", "amd64", "windows-amd64", "x86_64-pc-windows-msvc"),
];

const fn target(os: &'static str, arch: &'static str, name: &'static str, triple: &'static str) -> Target {
    Target { os, arch, name, triple }
}

impl Target {
    /// The archive's name.
    pub(super) fn archive(self) -> String {
        format!("{NAME}-{}.tar.gz", self.name)
    }

    /// The program's name in the archive.
    pub(super) fn program(self) -> String {
        format!("{NAME}{}", self.suffix())
    }

    /// The program's name in the folder that it is packed from.
    fn built(self) -> String {
        format!("{NAME}-{}{}", self.name, self.suffix())
    }

    /// What Windows knows programs by.
    fn suffix(self) -> &'static str {
        if self.os == "windows" { ".exe" } else { "" }
    }
}

/// Packs each program that is in a folder. A file there that looks like a program for another platform is an error, and so
/// is a folder without any.
pub(super) fn pack(folder: &Path, assets: &Path) -> Result<()> {
    let license = programs::workspace().join("LICENSE");
    let license = fs::read(&license).with_context(|| format!("reading {}", license.display()))?;
    let mut packed = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The program of this machine, for its own use, has no platform in its name.
        if !name.starts_with(&format!("{NAME}-")) {
            continue;
        }
        let target = TARGETS.into_iter().find(|target| target.built() == name);
        let target = target.with_context(|| format!("{} is for no known platform", path.display()))?;
        let program = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        save(&assets.join(target.archive()), &archive(target, &program, &license)?)?;
        packed += 1;
    }
    ensure!(packed > 0, "{} has no {NAME}-OS-ARCHITECTURE", folder.display());
    Ok(())
}

/// The same program gives the same bytes.
fn archive(target: Target, program: &[u8], license: &[u8]) -> Result<Vec<u8>> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut tar = Builder::new(gzip);
    for (name, mode, content) in [(target.program(), 0o755, program), ("LICENSE".to_owned(), 0o644, license)]
    {
        let mut header = Header::new_ustar();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).context("packing")?;
    }
    Ok(tar.into_inner().and_then(flate2::write::GzEncoder::finish)?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn each_platform_gets_an_archive_that_tar_unpacks_to_a_program_and_the_licence() {
        let (programs, assets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for target in TARGETS {
            fs::write(programs.path().join(target.built()), "#!/bin/sh\necho ran\n").unwrap();
        }
        fs::write(programs.path().join(NAME), "of this machine").unwrap();
        pack(programs.path(), assets.path()).unwrap();
        assert_eq!(fs::read_dir(assets.path()).unwrap().count(), TARGETS.len());
        for target in TARGETS {
            let unpacked = tempfile::tempdir().unwrap();
            let archive = assets.path().join(target.archive());
            let status = Command::new("tar").arg("-xzf").arg(archive).current_dir(unpacked.path()).status();
            assert!(status.unwrap().success());
            let ran = Command::new(unpacked.path().join(target.program())).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&ran.stdout), "ran\n");
            assert!(unpacked.path().join("LICENSE").exists());
        }
        let again = tempfile::tempdir().unwrap();
        pack(programs.path(), again.path()).unwrap();
        for target in TARGETS {
            let bytes = |folder: &Path| fs::read(folder.join(target.archive())).unwrap();
            assert!(bytes(assets.path()) == bytes(again.path()), "the same program gives the same bytes");
        }
    }

    #[test]
    fn programs_for_linux_are_found_under_the_names_that_they_are_built_with() {
        let built = images::Platform::ALL.map(crate::plugin::name_for);
        let ours = || TARGETS.into_iter().filter(|target| target.os == "linux");
        assert_eq!(ours().map(Target::built).collect::<Vec<_>>(), built);
        let triples: Vec<&str> = ours().map(|target| target.triple).collect();
        assert_eq!(triples, images::Platform::ALL.map(images::Platform::target));
    }

    #[test]
    fn a_program_for_an_unknown_platform_and_a_folder_without_any_are_errors() {
        let (programs, assets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(pack(programs.path(), assets.path()).is_err());
        fs::write(programs.path().join("kubectl-ferrolb-windows-amd64"), "without .exe").unwrap();
        let error = pack(programs.path(), assets.path()).unwrap_err().to_string();
        assert!(error.contains("no known platform"), "{error}");
    }
}
