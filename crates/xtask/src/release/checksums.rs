//! `SHA256SUMS`, as `sha256sum --check` reads it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::save;

/// The file with the checksums.
const SUMS: &str = "SHA256SUMS";

/// The signature of that file, which is made after it.
const SIGNATURE: &str = "SHA256SUMS.sigstore.json";

/// Writes the checksums of all that is in a folder.
pub(super) fn write(assets: &Path) -> Result<()> {
    save(&assets.join(SUMS), sums(assets)?.as_bytes())
}

/// The checksum of a file's content, in hexadecimal digits.
pub(super) fn of(path: &Path) -> Result<String> {
    let content = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A line for each file, sorted by name.
fn sums(assets: &Path) -> Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(assets).with_context(|| format!("reading {}", assets.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != SUMS && name != SIGNATURE {
            ensure!(path.is_file(), "{} is no file, so it cannot be attached to a release", path.display());
            lines.push((name, of(&path)?));
        }
    }
    ensure!(!lines.is_empty(), "{} is empty", assets.display());
    lines.sort();
    Ok(lines.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn sha256sum_checks_every_file_and_finds_one_that_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path()).is_err(), "there is nothing to be attached");
        fs::write(folder.path().join("b.tar.gz"), "b").unwrap();
        fs::write(folder.path().join("a.json"), "a").unwrap();
        fs::write(folder.path().join(SIGNATURE), "of a former run").unwrap();
        write(folder.path()).unwrap();
        // A second run finds the file of the first.
        write(folder.path()).unwrap();
        let sums = fs::read_to_string(folder.path().join(SUMS)).unwrap();
        let names: Vec<&str> = sums.lines().filter_map(|line| line.split("  ").nth(1)).collect();
        assert_eq!(names, ["a.json", "b.tar.gz"]);
        let checked = || {
            let mut sha256sum = Command::new("sha256sum");
            sha256sum.args(["--check", "--strict", SUMS]).current_dir(folder.path()).output().unwrap()
        };
        assert!(checked().status.success(), "{:?}", checked());
        fs::write(folder.path().join("b.tar.gz"), "c").unwrap();
        assert!(!checked().status.success());
    }

    #[test]
    fn a_folder_among_the_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("charts")).unwrap();
        let error = write(folder.path()).unwrap_err().to_string();
        assert!(error.contains("charts is no file"), "{error}");
    }
}
