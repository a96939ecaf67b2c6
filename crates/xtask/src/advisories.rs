//! Which of the crates have known weaknesses, by RustSec's database of advisories.
//!
//! The database is cloned, and renewed each time, so this takes the network. Where it cannot be had, the copy of an earlier
//! time is used; without one nothing is checked, and that is said.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use semver::{Version, VersionReq};
use toml_edit::{Document, Item};

/// How long git may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The database, as it is on this machine.
#[derive(Debug)]
pub(crate) struct Database {
    advisories: BTreeMap<String, Vec<Advisory>>,
}

/// What is known of one crate.
#[derive(Debug, Clone)]
struct Advisory {
    id: String,
    /// Why it is no weakness by itself: `unmaintained`, `notice` or `unsound`.
    informational: Option<String>,
    fine: Vec<VersionReq>,
}

/// How grave what was found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// To be known.
    Notice,
    /// To be mended.
    Weakness,
}

impl Database {
    /// The database at `url`, kept in `folder`; the error says why there is none.
    pub(crate) fn at(url: &str, folder: &Path) -> Result<Self> {
        let renewed = renew(url, folder);
        if !folder.join("crates").is_dir() {
            renewed?;
            bail!("{} has no crates", folder.display());
        }
        if let Err(why) = renewed {
            println!("the advisories are those of an earlier time: {why:#}");
        }
        Self::read(folder)
    }

    fn read(folder: &Path) -> Result<Self> {
        let mut advisories: BTreeMap<String, Vec<Advisory>> = BTreeMap::new();
        for krate in files(&folder.join("crates"))? {
            for path in files(&krate)? {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let advisory =
                    Advisory::parse(&text).with_context(|| format!("reading {}", path.display()))?;
                if let Some((name, advisory)) = advisory {
                    advisories.entry(name).or_default().push(advisory);
                }
            }
        }
        ensure!(!advisories.is_empty(), "{} has no advisories", folder.display());
        Ok(Self { advisories })
    }

    /// How many advisories there are.
    pub(crate) fn len(&self) -> usize {
        self.advisories.values().map(Vec::len).sum()
    }

    /// What there is against this version of a crate.
    pub(crate) fn against(&self, name: &str, version: &str) -> Result<Vec<(Weight, String)>> {
        let version: Version = version.parse().with_context(|| format!("{name} {version}"))?;
        let known = self.advisories.get(name).into_iter().flatten();
        let open = known.filter(|advisory| !advisory.fine.iter().any(|fine| fine.matches(&version)));
        let said = open.map(|advisory| {
            let weight = match advisory.informational.as_deref() {
                None | Some("unsound") => Weight::Weakness,
                Some(_) => Weight::Notice,
            };
            let what = advisory.informational.as_deref().unwrap_or("weakness");
            (weight, format!("{name} {version}: {what} {}", advisory.id))
        });
        Ok(said.collect())
    }
}

impl Advisory {
    /// Reads the head of an advisory, and which crate it is about; none if it was withdrawn or is not about Linux.
    fn parse(text: &str) -> Result<Option<(String, Self)>> {
        let head = text.split_once("```toml").and_then(|(_, rest)| rest.split_once("```"));
        let (head, _) = head.context("no ```toml")?;
        let document: Document<String> = head.parse()?;
        let item = |section: &str, key: &str| document.get(section).and_then(|section| section.get(key));
        let string = |key| item("advisory", key).and_then(Item::as_str).map(str::to_owned);
        let strings = |section, key| {
            let all = item(section, key).and_then(Item::as_array).into_iter().flatten();
            all.filter_map(|one| one.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let systems = strings("affected", "os");
        if string("withdrawn").is_some() || !(systems.is_empty() || systems.iter().any(|os| os == "linux")) {
            return Ok(None);
        }
        let fine = [strings("versions", "patched"), strings("versions", "unaffected")].concat();
        let fine = fine.iter().map(|range| range.parse().with_context(|| format!("range {range}")));
        let advisory = Self {
            id: string("id").context("no id")?,
            informational: string("informational"),
            fine: fine.collect::<Result<_>>()?,
        };
        Ok(Some((string("package").context("no package")?, advisory)))
    }
}

/// The entries of a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Brings the newest state of `url` into `folder`.
fn renew(url: &str, folder: &Path) -> Result<()> {
    if folder.join(".git").is_dir() {
        git(Command::new("git").arg("-C").arg(folder).args(["fetch", "--quiet", "--depth=1", url, "HEAD"]))?;
        return git(Command::new("git").arg("-C").arg(folder).args([
            "reset",
            "--quiet",
            "--hard",
            "FETCH_HEAD",
        ]));
    }
    git(Command::new("git").args(["clone", "--quiet", "--depth=1", url]).arg(folder))
}

fn git(command: &mut Command) -> Result<()> {
    let command = command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).stderr(Stdio::null());
    let (mut child, start) = (command.spawn().context("starting git")?, Instant::now());
    loop {
        match child.try_wait()? {
            Some(status) => return ensure_success(status.success()),
            None if start.elapsed() > PATIENCE => {
                child.kill()?;
                child.wait()?;
                bail!("the database of advisories was not had within {PATIENCE:?}");
            }
            None => sleep(Duration::from_millis(100)),
        }
    }
}

fn ensure_success(success: bool) -> Result<()> {
    ensure!(success, "the database of advisories cannot be reached");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database with these advisories, each of a crate, with a head.
    fn database(folder: &Path, advisories: &[(&str, &str)]) -> PathBuf {
        for (number, (name, head)) in advisories.iter().enumerate() {
            let id = format!("RUSTSEC-2026-{number:04}");
            let krate = folder.join("crates").join(name);
            fs::create_dir_all(&krate).unwrap();
            let text =
                format!("```toml\n[advisory]\nid = \"{id}\"\npackage = \"{name}\"\n{head}\n```\n\n# Title\n");
            fs::write(krate.join(format!("{id}.md")), text).unwrap();
        }
        folder.to_owned()
    }

    #[test]
    fn weaknesses_of_versions_that_are_neither_patched_nor_unaffected_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let patched =
            "[versions]\npatched = [\">= 1.2.3, < 1.3.0\", \">= 1.4.0\"]\nunaffected = [\"< 1.0.0\"]";
        database(
            folder.path(),
            &[
                ("a", patched),
                ("old", "informational = \"unmaintained\"\n[versions]\npatched = []"),
                ("bad", "informational = \"unsound\"\n[versions]\npatched = []"),
                ("gone", "withdrawn = \"2026-01-01\"\n[versions]\npatched = []"),
                ("windows", "[versions]\npatched = []\n[affected]\nos = [\"windows\"]"),
            ],
        );
        let database = Database::read(folder.path()).unwrap();
        assert_eq!(database.len(), 3);
        let against = |name: &str, version: &str| database.against(name, version).unwrap();
        for (version, found) in
            [("0.9.0", 0), ("1.0.0", 1), ("1.2.2", 1), ("1.2.3", 0), ("1.3.0", 1), ("1.4.0", 0), ("2.0.0", 0)]
        {
            assert_eq!(against("a", version).len(), found, "{version}");
        }
        assert_eq!(
            against("a", "1.0.0"),
            [(Weight::Weakness, "a 1.0.0: weakness RUSTSEC-2026-0000".to_owned())]
        );
        assert_eq!(against("old", "1.0.0")[0].0, Weight::Notice);
        assert_eq!(against("bad", "1.0.0")[0].0, Weight::Weakness);
        assert!(
            [against("gone", "1.0.0"), against("windows", "1.0.0"), against("b", "1.0.0")]
                .concat()
                .is_empty()
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_database() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Database::read(folder.path()).is_err());
        let krate = folder.path().join("crates").join("a");
        fs::create_dir_all(&krate).unwrap();
        assert!(Database::read(folder.path()).is_err());
        fs::write(krate.join("RUSTSEC-2026-0000.md"), "# Title").unwrap();
        assert!(Database::read(folder.path()).is_err());
    }

    #[test]
    fn a_database_is_cloned_and_renewed_and_without_it_the_copy_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
        assert!(Database::at(&source.display().to_string(), &copy).is_err());
        let commit = |advisories: &[(&str, &str)]| {
            database(&source, advisories);
            for arguments in [
                &["init", "--quiet"][..],
                &["add", "--all"],
                &["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=a"],
            ] {
                git(Command::new("git").arg("-C").arg(&source).args(arguments)).unwrap();
            }
        };
        let one = ("a", "[versions]\npatched = []");
        let url = format!("file://{}", source.display());
        commit(&[one]);
        assert_eq!(Database::at(&url, &copy).unwrap().len(), 1);
        commit(&[one, ("b", "[versions]\npatched = []")]);
        assert_eq!(Database::at(&url, &copy).unwrap().len(), 2);
        fs::remove_dir_all(&source).unwrap();
        assert_eq!(Database::at(&url, &copy).unwrap().len(), 2);
    }
}
