//! The Helm chart as operators get it: rendered by Helm, as plain manifests, and with its values in a table.
//!
//! What is made from the chart is committed ([`generated`]), so that it can be read and used without any tool, and a
//! test fails when it is out of step.

mod helm;
mod hub;
mod manifests;
pub mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
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

/// Every file that is made from the chart, with what it should hold: the plain manifests, the table of values, the
/// defaults as the templates read them, what Artifact Hub shows, and what comes of each of the [`examples`].
pub fn generated(helm: &Helm) -> Result<BTreeMap<PathBuf, String>> {
    let (readme, chart) = (folder().join("README.md"), folder().join("Chart.yaml"));
    let mut files = BTreeMap::from([
        (manifests_folder().join("ferrolb.yaml"), manifests::plain(helm)?),
        (readme.clone(), values::into_readme(&read(&readme)?, &values::documented()?)?),
        (folder().join("files/defaults.yaml"), values::defaults()?),
        (chart.clone(), hub::into_chart(&read(&chart)?)?),
    ]);
    for example in examples()? {
        let name = example.file_name().context("an example is a file")?.to_string_lossy();
        let rendered = example.with_file_name("rendered").join(name.replace("-values.yaml", ".yaml"));
        files.insert(rendered, helm.snapshot(&example)?);
    }
    Ok(files)
}

/// The documents of a YAML file. Those that hold nothing are left out. Fails when a mapping has a key twice.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("reading YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The objects in rendered manifests. Fails when a mapping has a key twice, which some tools refuse and others read in
/// their own way, when something is null, which servers drop so that tools see a difference for ever, and when the
/// value of a label or annotation is no text.
pub fn objects(manifests: &str) -> Result<Vec<Value>> {
    let objects = documents(manifests)?;
    for object in &objects {
        let fault = fault(object, "");
        let name = || format!("{} {}", object["kind"], object["metadata"]["name"]);
        ensure!(fault.is_none(), "{}: {}", name(), fault.unwrap_or_default());
    }
    Ok(objects)
}

/// What is wrong in a value, which is at `path` of its object.
fn fault(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Null => Some(format!("{path} is null")),
        Value::Object(fields) => {
            fields.iter().find_map(|(key, value)| fault(value, &format!("{path}.{key}")))
        }
        Value::Array(items) => items.iter().find_map(|item| fault(item, &format!("{path}[]"))),
        Value::Bool(_) | Value::Number(_) => {
            let (mapping, _) = path.rsplit_once(".metadata.").map(|(_, rest)| rest.split_once('.'))??;
            ["labels", "annotations"].contains(&mapping).then(|| format!("{path} is no text"))
        }
        Value::String(_) => None,
    }
}

fn read(path: &std::path::Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_hold_no_key_twice_no_null_and_only_texts_as_labels() {
        for (manifest, said) in [
            ("kind: A\nmetadata: {name: a, labels: {x: a, x: b}}", "reading YAML"),
            ("kind: A\nspec:\n  list: [{a: }]", ".spec.list[].a is null"),
            ("kind: A\nmetadata: {labels: {version: 1.20}}", ".metadata.labels.version is no text"),
            (
                "kind: A\nspec: {template: {metadata: {annotations: {port: 80}}}}",
                "annotations.port is no text",
            ),
        ] {
            let error = format!("{:#}", objects(manifest).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(
            objects("kind: A\nmetadata: {name: a, labels: {x: '1'}}\nspec: {port: 80}").unwrap().len(),
            1
        );
    }
}
