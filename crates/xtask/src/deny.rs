//! `cargo xtask deny`: holds every crate that FerroLB is made of, built by or tested with to `.deny.toml`.
//!
//! The file is that of cargo-deny, and so is its meaning, as far as it is used there. The tool itself is not, since each
//! machine would have to build it first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use images::programs;
use serde::Deserialize;
use spdx::{Expression, ParseMode};
use toml_edit::{Document, Item};

use crate::release;

pub(crate) fn run() -> Result<()> {
    let workspace = programs::workspace();
    let policy = Policy::read(&workspace)?;
    let mut faults = BTreeSet::new();
    let mut count = 0;
    for manifest in ["Cargo.toml", "tests/fuzz/Cargo.toml"] {
        let packages = packages(&workspace.join(manifest))?;
        count += packages.len();
        faults.extend(policy.faults(&packages));
    }
    let faults: Vec<String> = faults.into_iter().collect();
    ensure!(faults.is_empty(), "not as .deny.toml has it:\n  {}", faults.join("\n  "));
    println!("{count} crates are as .deny.toml has it");
    Ok(())
}

/// A crate, as cargo tells of it.
#[derive(Debug, Clone, Deserialize)]
struct Package {
    name: String,
    version: String,
    /// An SPDX expression; older crates have a slash for "or".
    license: Option<String>,
    /// Where it comes from; none for our own.
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    /// None for one that is found by its path.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

fn packages(manifest: &Path) -> Result<Vec<Package>> {
    let mut cargo = programs::cargo();
    cargo.args(["metadata", "--format-version=1", "--locked"]);
    release::triples().for_each(|triple| _ = cargo.args(["--filter-platform", triple]));
    let output = cargo.arg("--manifest-path").arg(manifest).output().context("starting cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`cargo metadata` of {}: {}", manifest.display(), said.trim());
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("reading what `cargo metadata` says")?;
    Ok(metadata.packages)
}

/// What may be used.
#[derive(Debug, Default)]
struct Policy {
    licenses: BTreeSet<String>,
    /// Further licences of single crates.
    exceptions: BTreeMap<String, Vec<String>>,
    registries: BTreeSet<String>,
    /// Crates that are not used, and why.
    banned: BTreeMap<String, String>,
}

impl Policy {
    fn read(workspace: &Path) -> Result<Self> {
        let path = workspace.join(".deny.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("reading {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let file: Document<String> = text.parse()?;
        let item = |section: &str, key: &str| file.get(section).and_then(|section| section.get(key));
        let list =
            |section, key| item(section, key).map(strings).with_context(|| format!("no {section}.{key}"));
        let mut policy = Self {
            licenses: list("licenses", "allow")?.into_iter().collect(),
            registries: list("sources", "allow-registry")?.into_iter().collect(),
            ..Self::default()
        };
        for (name, exception) in tables(item("licenses", "exceptions")) {
            let allowed = exception.get("allow").and_then(|allow| allow.as_array());
            let allowed = allowed.into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned));
            policy.exceptions.insert(name, allowed.collect());
        }
        for (name, ban) in tables(item("bans", "deny")) {
            let reason = ban.get("reason").and_then(|reason| reason.as_str()).unwrap_or_default();
            policy.banned.insert(name, reason.to_owned());
        }
        Ok(policy)
    }

    /// What is wrong with these.
    fn faults(&self, packages: &[Package]) -> Vec<String> {
        packages.iter().flat_map(|package| self.faults_of(package)).collect()
    }

    fn faults_of(&self, package: &Package) -> Vec<String> {
        let Package { name, version, license, source, dependencies } = package;
        let Some(source) = source else {
            // One of ours.
            let open = dependencies.iter().filter(|it| it.source.is_some() && it.req == "*");
            return open.map(|it| format!("{name} takes any version of {}", it.name)).collect();
        };
        let mut faults = Vec::new();
        match license {
            None => faults.push(format!("{name} {version} names no licence")),
            Some(license) if !self.allows(name, license) => {
                faults.push(format!("{name} {version} has the licence {license}"));
            }
            Some(_) => {}
        }
        let registry = source.strip_prefix("registry+");
        if !registry.is_some_and(|registry| self.registries.contains(registry)) {
            faults.push(format!("{name} {version} comes from {source}"));
        }
        if let Some(reason) = self.banned.get(name) {
            faults.push(format!("{name} {version} is banned: {reason}"));
        }
        faults
    }

    fn allows(&self, name: &str, license: &str) -> bool {
        let exceptions = self.exceptions.get(name).map_or(&[][..], Vec::as_slice);
        Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
            expression.evaluate(|requirement| {
                let requirement = requirement.to_string();
                self.licenses.contains(&requirement) || exceptions.contains(&requirement)
            })
        })
    }
}

fn strings(item: &Item) -> Vec<String> {
    item.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

/// The tables of a list, each with the crate that it is about.
fn tables(item: Option<&Item>) -> Vec<(String, toml_edit::InlineTable)> {
    let tables = item.and_then(Item::as_array).into_iter().flatten().filter_map(|one| one.as_inline_table());
    tables.filter_map(|table| Some((table.get("crate")?.as_str()?.to_owned(), table.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
            dependencies: Vec::new(),
        }
    }

    #[test]
    fn licences_sources_bans_and_open_versions_are_found() {
        let policy = Policy::parse(
            r#"
            [licenses]
            allow = ["MIT", "Apache-2.0", "ISC"]
            exceptions = [{ crate = "fuzzer", allow = ["NCSA"] }]
            [bans]
            deny = [{ crate = "openssl-sys", reason = "TLS is rustls" }]
            [sources]
            allow-registry = ["https://github.com/rust-lang/crates.io-index"]
            "#,
        )
        .unwrap();
        let faults = |package: Package| policy.faults(&[package]);
        for license in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "Apache-2.0 AND ISC"] {
            assert_eq!(faults(package("a", Some(license), Some(CRATES_IO))), [""; 0], "{license}");
        }
        for license in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "NCSA", "of our own"] {
            let expected = [format!("a 1.0.0 has the licence {license}")];
            assert_eq!(faults(package("a", Some(license), Some(CRATES_IO))), expected);
        }
        assert_eq!(faults(package("fuzzer", Some("MIT AND NCSA"), Some(CRATES_IO))), [""; 0]);
        assert_eq!(faults(package("a", None, Some(CRATES_IO))), ["a 1.0.0 names no licence"]);
        for source in ["git+https://example.com/a", "registry+https://example.com/index"] {
            assert_eq!(
                faults(package("a", Some("MIT"), Some(source))),
                [format!("a 1.0.0 comes from {source}")]
            );
        }
        let banned = faults(package("openssl-sys", Some("MIT"), Some(CRATES_IO)));
        assert_eq!(banned, ["openssl-sys 1.0.0 is banned: TLS is rustls"]);
        let mut ours = package("ours", None, None);
        assert_eq!(faults(ours.clone()), [""; 0]);
        ours.dependencies.push(Dependency {
            name: "b".into(),
            req: "*".into(),
            source: Some(CRATES_IO.into()),
        });
        ours.dependencies.push(Dependency { name: "sibling".into(), req: "*".into(), source: None });
        assert_eq!(faults(ours), ["ours takes any version of b"]);
    }

    #[test]
    fn the_graph_is_that_of_all_targets_that_are_released() {
        let text = std::fs::read_to_string(programs::workspace().join(".deny.toml")).unwrap();
        let file: Document<String> = text.parse().unwrap();
        let targets = file.get("graph").and_then(|graph| graph.get("targets")).map(strings).unwrap();
        assert_eq!(BTreeSet::from_iter(targets), release::triples().map(str::to_owned).collect());
    }

    #[test]
    fn what_is_used_is_allowed() {
        run().unwrap();
    }
}
