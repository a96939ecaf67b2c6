//! What names the version that is released: the tag, Cargo.toml, the chart and the changelog.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use images::programs;
use serde_json::Value;

/// That of all crates.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Fails with all that names another version than the tag, or that is not ready for a release.
pub(super) fn check(tag: &str) -> Result<()> {
    let faults = Sources::read(&programs::workspace())?.faults(tag);
    ensure!(faults.is_empty(), "{tag} cannot be released:\n  {}", faults.join("\n  "));
    println!("{tag} is what Cargo.toml, the chart and the changelog tell of");
    Ok(())
}

/// What the changelog says of this version or, where it does not know that, of the newest that it knows.
pub(super) fn notes() -> Result<String> {
    let changelog = Sources::read(&programs::workspace())?.changelog;
    notes_of(VERSION, &changelog).map(str::to_owned)
}

fn notes_of<'a>(version: &str, changelog: &'a str) -> Result<&'a str> {
    let all = || sections(changelog).filter(|section| !section.body.is_empty());
    let section = all().find(|section| section.version == version).or_else(|| all().next());
    Ok(section.with_context(|| format!("{CHANGELOG} says nothing"))?.body)
}

const CHANGELOG: &str = "CHANGELOG.md";
const CHART: &str = "charts/ferrolb/Chart.yaml";
/// Where changes wait for their version.
const UNRELEASED: &str = "Unreleased";

/// The files that name the version.
struct Sources {
    /// That of the workspace.
    version: String,
    chart: Value,
    changelog: String,
}

impl Sources {
    fn read(workspace: &Path) -> Result<Self> {
        let read =
            |name: &str| fs::read_to_string(workspace.join(name)).with_context(|| format!("reading {name}"));
        let chart = serde_saphyr::from_str(&read(CHART)?).with_context(|| format!("reading {CHART}"))?;
        Ok(Self { version: VERSION.to_owned(), chart, changelog: read(CHANGELOG)? })
    }

    /// What is wrong with a release under this tag.
    fn faults(&self, tag: &str) -> Vec<String> {
        let mut faults = self.differences();
        let version = &self.version;
        if tag != format!("v{version}") {
            faults.push(format!("Cargo.toml has the version {version}, so the tag is v{version}"));
        }
        match sections(&self.changelog).find(|section| section.version == version) {
            None => faults.push(format!("{CHANGELOG} has no section `## {version} - YYYY-MM-DD`")),
            Some(section) if !section.date.is_some_and(is_date) => {
                faults.push(format!("{CHANGELOG} has no date for {version}: `## {version} - YYYY-MM-DD`"));
            }
            Some(section) if section.body.is_empty() => {
                faults.push(format!("{CHANGELOG} says nothing of {version}"));
            }
            Some(_) => {}
        }
        let waiting = sections(&self.changelog).find(|section| section.version == UNRELEASED);
        if waiting.is_some_and(|section| !section.body.is_empty()) {
            faults.push(format!("{CHANGELOG} has changes under {UNRELEASED}: they belong to {version}"));
        }
        faults
    }

    /// Where the chart is not that of Cargo.toml's version, which is a fault at any time.
    fn differences(&self) -> Vec<String> {
        let version = &self.version;
        let annotations = &self.chart["annotations"];
        [
            ("version", &self.chart["version"], version.clone()),
            ("appVersion", &self.chart["appVersion"], format!("v{version}")),
            // As semantic versioning has it, and as a text, as Artifact Hub wants it.
            (
                "artifacthub.io/prerelease",
                &annotations["artifacthub.io/prerelease"],
                version.contains('-').to_string(),
            ),
        ]
        .into_iter()
        .filter(|(_, found, expected)| found.as_str() != Some(expected))
        .map(|(key, found, expected)| format!("{CHART} has {key}: {found}, but it is {expected}"))
        .collect()
    }
}

/// A section of the changelog.
struct Section<'a> {
    /// A version, or [`UNRELEASED`].
    version: &'a str,
    /// What follows the version after a dash.
    date: Option<&'a str>,
    body: &'a str,
}

fn sections(changelog: &str) -> impl Iterator<Item = Section<'_>> {
    // What is above the first heading is about the file.
    changelog.split("\n## ").skip(1).map(|section| {
        let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
        let (version, date) = match heading.split_once(" - ") {
            Some((version, date)) => (version, Some(date.trim())),
            None => (heading, None),
        };
        Section { version: version.trim(), date, body: body.trim() }
    })
}

/// Whether a text has the form YYYY-MM-DD.
fn is_date(text: &str) -> bool {
    let is_number = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()) && part != "00"
    };
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], [year, month, day] if is_number(year, 4)
        && is_number(month, 2) && month <= "12" && is_number(day, 2) && day <= "31")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const READY: &str = "# Changelog\n\nWhat changed.\n\n## Unreleased\n\n## 1.2.0 - 2026-12-01\n\n- New.\n\n## 1.1.0 - 2026-01-01\n\n- Old.\n";

    fn sources(changelog: &str) -> Sources {
        let chart = json!({
            "version": "1.2.0", "appVersion": "v1.2.0", "annotations": {"artifacthub.io/prerelease": "false"},
        });
        Sources { version: "1.2.0".into(), chart, changelog: changelog.into() }
    }

    #[test]
    fn a_version_that_all_files_name_is_ready() {
        assert_eq!(sources(READY).faults("v1.2.0"), [""; 0]);
        let without_heading = READY.replace("## Unreleased\n\n", "");
        assert_eq!(sources(&without_heading).faults("v1.2.0"), [""; 0]);
    }

    #[test]
    fn whatever_names_another_version_is_told() {
        for tag in ["1.2.0", "v1.2.1", "v1.2.0-rc.1", ""] {
            let faults = sources(READY).faults(tag);
            assert!(faults.len() == 1 && faults[0].contains("the tag is v1.2.0"), "{tag}: {faults:?}");
        }
        let mut old = sources(READY);
        old.chart = json!({"version": "1.1.0", "appVersion": "v1.1.0"});
        let faults = old.faults("v1.2.0");
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, part) in faults.iter().zip(["version: \"1.1.0\"", "appVersion", "prerelease: null"]) {
            assert!(fault.contains(part), "{fault}");
        }
        let mut preview = sources(READY);
        preview.version = "1.3.0-rc.1".into();
        let faults = preview.differences();
        assert!(
            faults.iter().any(|fault| fault.contains("prerelease: \"false\", but it is true")),
            "{faults:?}"
        );
    }

    #[test]
    fn a_changelog_that_is_not_ready_is_told() {
        for (changelog, fault) in [
            (READY.replace("## 1.2.0", "## 1.3.0"), "has no section `## 1.2.0 - YYYY-MM-DD`"),
            (READY.replace(" - 2026-12-01", ""), "has no date for 1.2.0"),
            (READY.replace("2026-12-01", "not yet"), "has no date for 1.2.0"),
            (READY.replace("2026-12-01", "2026-13-01"), "has no date for 1.2.0"),
            (READY.replace("2026-12-01", "2026-12-00"), "has no date for 1.2.0"),
            (READY.replace("- New.", ""), "says nothing of 1.2.0"),
            (READY.replace("## Unreleased\n", "## Unreleased\n\n- Later.\n"), "changes under Unreleased"),
        ] {
            let faults = sources(&changelog).faults("v1.2.0");
            assert!(faults.len() == 1 && faults[0].contains(fault), "{changelog}: {faults:?}");
        }
    }

    #[test]
    fn notes_are_those_of_this_version_or_of_the_newest() {
        let bodies: Vec<(&str, &str)> =
            sections(READY).map(|section| (section.version, section.body)).collect();
        assert_eq!(bodies, [("Unreleased", ""), ("1.2.0", "- New."), ("1.1.0", "- Old.")]);
        assert_eq!(notes_of("1.1.0", READY).unwrap(), "- Old.");
        let later = READY.replace("## Unreleased\n", "## Unreleased\n\n- Later.\n");
        assert_eq!(notes_of("1.3.0", &later).unwrap(), "- Later.");
        assert_eq!(notes_of("1.3.0", READY).unwrap(), "- New.");
        assert!(notes_of("1.3.0", "# Changelog\n").is_err());
    }

    #[test]
    fn the_chart_is_that_of_this_version() {
        assert_eq!(Sources::read(&programs::workspace()).unwrap().differences(), [""; 0]);
    }
}
