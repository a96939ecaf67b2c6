//! What Artifact Hub shows of the chart, as far as it follows from other files: the image, the CRDs, and examples of them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use images::Platform;
use serde_json::{Value, json};

use crate::{documents, read, values};

const BEGIN: &str = "  # begin: made from values.yaml, crds/ and examples/ by `cargo xtask manifests`\n";
const END: &str = "  # end\n";

/// Manifests with what people write; reports are none of that.
const EXAMPLES: [&str; 3] =
    ["examples/quickstart/pool.yaml", "examples/node-addresses.yaml", "examples/address-reservation.yaml"];

/// Puts the annotations into `Chart.yaml`, between the marks.
pub(crate) fn into_chart(chart: &str) -> Result<String> {
    let (before, rest) = chart.split_once(BEGIN).context("Chart.yaml has no mark where they begin")?;
    let (_, after) = rest.split_once(END).context("Chart.yaml has no mark where they end")?;
    let workspace = images::programs::workspace();
    let app: Value = serde_saphyr::from_str(chart).context("reading Chart.yaml")?;
    let crds = crds(&workspace.join("crds"))?;
    let annotations = [
        annotation("images", &[image(app["appVersion"].as_str().context("no appVersion")?)?])?,
        annotation("crds", &crds)?,
        annotation("crdsExamples", &examples(&workspace, &crds)?)?,
    ];
    Ok(format!("{before}{BEGIN}{}{END}{after}", annotations.concat()))
}

/// An annotation whose text is YAML itself.
fn annotation(name: &str, items: &[Value]) -> Result<String> {
    let text = serde_saphyr::to_string(&items).context("writing YAML")?;
    let lines = text.trim_end().lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n");
    Ok(format!("  artifacthub.io/{name}: |\n{}", lines.collect::<String>()))
}

/// The image that the chart asks for unless it is told otherwise.
fn image(version: &str) -> Result<Value> {
    let values = values::documented()?;
    let repository = values.into_iter().find(|value| value.path == "image.repository");
    let repository = repository.and_then(|value| value.default).context("no image.repository")?;
    let platforms = Platform::ALL.map(|platform| platform.to_string());
    Ok(json!({"name": "ferrolb", "image": format!("{repository}:{version}"), "platforms": platforms}))
}

/// The custom resource definitions in a folder, by their names, each in the version that is stored.
fn crds(folder: &Path) -> Result<Vec<Value>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut crds = Vec::new();
    for entry in entries {
        for crd in documents(&read(&entry?.path())?)? {
            let name = crd["metadata"]["name"].as_str().context("a CRD has no name")?.to_owned();
            crds.push(listed(&crd).with_context(|| format!("the CRD {name} is not as expected"))?);
        }
    }
    ensure!(!crds.is_empty(), "{} has no CRDs", folder.display());
    crds.sort_by_key(|crd| crd["name"].to_string());
    Ok(crds)
}

fn listed(crd: &Value) -> Option<Value> {
    let stored = crd["spec"]["versions"].as_array()?.iter().find(|version| version["storage"] == true)?;
    let kind = crd["spec"]["names"]["kind"].as_str()?;
    Some(json!({
        "kind": kind,
        "version": stored["name"].as_str()?,
        "name": crd["metadata"]["name"],
        "displayName": words(kind),
        "description": stored["schema"]["openAPIV3Schema"]["description"].as_str()?,
    }))
}

/// The kind with spaces between its words.
fn words(kind: &str) -> String {
    let letters: Vec<char> = kind.chars().collect();
    let mut words = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let begins = letter.is_uppercase()
            && (i > 0 && letters[i - 1].is_lowercase()
                || letters.get(i + 1).is_some_and(|it| it.is_lowercase()));
        if begins && i > 0 {
            words.push(' ');
        }
        words.push(*letter);
    }
    words
}

/// The objects of these kinds in the examples.
fn examples(workspace: &Path, crds: &[Value]) -> Result<Vec<Value>> {
    let mut examples = Vec::new();
    for file in EXAMPLES {
        let objects = documents(&read(&workspace.join(file))?)?;
        examples.extend(
            objects.into_iter().filter(|object| crds.iter().any(|crd| crd["kind"] == object["kind"])),
        );
    }
    Ok(examples)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn annotations() -> Value {
        let chart = into_chart(&read(&crate::folder().join("Chart.yaml")).unwrap()).unwrap();
        let chart: Value = serde_saphyr::from_str(&chart).unwrap();
        chart["annotations"].clone()
    }

    fn items(name: &str) -> Vec<Value> {
        let text = annotations()[format!("artifacthub.io/{name}")].as_str().unwrap().to_owned();
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn every_crd_is_listed_with_a_version_and_words_for_people() {
        let folder = images::programs::workspace().join("crds");
        let files = fs::read_dir(folder).unwrap().count();
        let crds = items("crds");
        let names: BTreeSet<&str> = crds.iter().filter_map(|crd| crd["name"].as_str()).collect();
        assert!(names.len() == files && names.contains("ipaddresspools.metallb.io"), "{names:?}");
        for crd in &crds {
            for key in ["kind", "version", "displayName", "description"] {
                assert!(crd[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {crd}");
            }
        }
        let peer = crds.iter().find(|crd| crd["kind"] == "BGPPeer").unwrap();
        assert_eq!(peer["version"], "v1beta2", "the one that is stored");
    }

    #[test]
    fn examples_are_of_listed_kinds_and_versions() {
        let crds = items("crds");
        let examples = items("crdsExamples");
        let kinds: BTreeSet<&str> = examples.iter().filter_map(|example| example["kind"].as_str()).collect();
        let expected = ["AddressReservation", "IPAddressPool", "L2Advertisement", "NodeAddressPool"];
        assert_eq!(kinds, BTreeSet::from(expected));
        for example in &examples {
            let crd = crds.iter().find(|crd| crd["kind"] == example["kind"]).unwrap();
            let (_, group) = crd["name"].as_str().unwrap().split_once('.').unwrap();
            let version = crd["version"].as_str().unwrap();
            assert_eq!(example["apiVersion"], format!("{group}/{version}"));
        }
    }

    #[test]
    fn the_image_is_the_one_that_the_chart_asks_for_with_all_platforms() {
        let chart: Value =
            serde_saphyr::from_str(&read(&crate::folder().join("Chart.yaml")).unwrap()).unwrap();
        let images = items("images");
        assert_eq!(images.len(), 1);
        let version = chart["appVersion"].as_str().unwrap();
        assert_eq!(images[0]["image"], format!("docker.io/ferrolb/ferrolb:{version}"));
        assert_eq!(images[0]["platforms"], json!(["linux/amd64", "linux/arm64", "linux/arm/v7"]));
    }

    #[test]
    fn changes_have_kinds_and_links_have_addresses() {
        let kinds = ["added", "changed", "deprecated", "removed", "fixed", "security"];
        let changes = items("changes");
        assert!(!changes.is_empty());
        for change in changes {
            assert!(kinds.iter().any(|kind| change["kind"] == *kind), "{change}");
            assert!(change["description"].as_str().is_some_and(|text| !text.is_empty()), "{change}");
        }
        for link in items("links") {
            assert!(link["name"].is_string(), "{link}");
            assert!(link["url"].as_str().is_some_and(|url| url.starts_with("https://")), "{link}");
        }
    }

    #[test]
    fn kinds_are_written_in_words() {
        for (kind, expected) in [
            ("IPAddressPool", "IP Address Pool"),
            ("L2Advertisement", "L2 Advertisement"),
            ("ServiceBGPStatus", "Service BGP Status"),
            ("ServiceL2Status", "Service L2 Status"),
            ("Community", "Community"),
        ] {
            assert_eq!(words(kind), expected);
        }
    }
}
