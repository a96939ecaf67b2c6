//! `cargo xtask crds`: writes the CRDs where people and the chart find them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// Writes every CRD to `crds/` and into the chart.
pub(crate) fn run() -> anyhow::Result<()> {
    for (path, text) in files()? {
        let parent = path.parent().context("every file is in a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Every file, with what it should hold.
fn files() -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut files = BTreeMap::new();
    for crd in api::crds() {
        let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        files.insert(root.join("crds").join(&name), yaml(&crd)?);
        files.insert(root.join("charts/ferrolb/files/crds").join(&name), yaml(&kept(crd))?);
    }
    Ok(files)
}

/// As part of a release: it stays when the release goes, since with it would go every pool.
fn kept(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let annotations = crd.metadata.annotations.get_or_insert_default();
    annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    crd
}

fn yaml(crd: &CustomResourceDefinition) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(crd).context("a CRD can be written as YAML")?;
    Ok(format!("# Generated from crates/api by `cargo xtask crds`.\n---\n{}\n", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_crds_are_those_of_the_rust_types() {
        for (path, expected) in files().unwrap() {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(committed, expected, "{} is out of date: run `cargo xtask crds`", path.display());
        }
    }
}
