//! The Helm chart as operators get it: rendered by Helm, as plain manifests, and with its values in a table.
//!
//! What is made from the chart is committed ([`generated`]), so that it can be read and used without any tool, and a
//! test fails when it is out of step.

mod helm;
mod manifests;
pub mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
pub use helm::{Helm, RELEASE};
use serde_json::Value;

/// The chart's folder.
pub fn folder() -> PathBuf {
    images::programs::workspace().join("charts/ferrolb")
}

/// Where the plain manifests are, which is a kustomize base too.
pub fn manifests_folder() -> PathBuf {
    images::programs::workspace().join("charts/manifests")
}

/// The files with values that the chart is rendered with to see what comes of them.
pub fn examples() -> Result<Vec<PathBuf>> {
    let folder = folder().join("ci");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("-values.yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Every file that is made from the chart, with what it should hold: the plain manifests, the table of values, and
/// what comes of each of the [`examples`].
pub fn generated(helm: &Helm) -> Result<BTreeMap<PathBuf, String>> {
    let readme = folder().join("README.md");
    let mut files = BTreeMap::from([
        (manifests_folder().join("ferrolb.yaml"), manifests::plain(helm)?),
        (readme.clone(), values::into_readme(&read(&readme)?, &values::documented()?)?),
    ]);
    for example in examples()? {
        let name = example.file_name().context("an example is a file")?.to_string_lossy();
        let rendered = example.with_file_name("rendered").join(name.replace("-values.yaml", ".yaml"));
        files.insert(rendered, helm.snapshot(&example)?);
    }
    Ok(files)
}

/// The documents of a YAML file. Those that hold nothing are left out.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("reading YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

fn read(path: &std::path::Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
