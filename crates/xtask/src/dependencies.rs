//! What FerroLB is made of: the crates that may be linked into its programs, as cargo resolves them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use images::{Platform, programs};
use serde::Deserialize;
use serde_json::{Value, json};

/// A crate of a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression; older crates have a slash for "or".
    pub(crate) license: Option<String>,
    /// Where it comes from; none for our own.
    pub(crate) source: Option<String>,
    id: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// None for what is linked; `build` and `dev` are not.
    kind: Option<String>,
}

/// A program's crate, and each crate that it may be linked with for a target, with the indices of those that it uses in
/// turn.
pub(crate) fn linked(program: &str, target: &str) -> Result<Vec<(Package, Vec<usize>)>> {
    let mut cargo = programs::cargo();
    cargo.args(["metadata", "--format-version=1", "--locked", "--filter-platform", target]);
    let output = cargo.current_dir(programs::workspace()).output().context("starting cargo")?;
    ensure!(output.status.success(), "`cargo metadata`: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata = serde_json::from_slice(&output.stdout).context("reading what `cargo metadata` says")?;
    from_metadata(program, metadata)
}

fn from_metadata(
    program: &str,
    Metadata { packages, resolve }: Metadata,
) -> Result<Vec<(Package, Vec<usize>)>> {
    let root = packages.iter().find(|package| package.name == program);
    let root = root.with_context(|| format!("there is no crate {program}"))?;
    let linked_with = |node: &Node| -> Vec<String> {
        let linked =
            node.deps.iter().filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        linked.map(|dependency| dependency.pkg.clone()).collect()
    };
    let nodes: BTreeMap<&str, Vec<String>> =
        resolve.nodes.iter().map(|node| (node.id.as_str(), linked_with(node))).collect();
    let mut ids = BTreeSet::new();
    let mut queue = vec![root.id.as_str()];
    while let Some(id) = queue.pop() {
        if ids.insert(id) {
            queue.extend(nodes.get(id).into_iter().flatten().map(String::as_str));
        }
    }
    let mut linked: Vec<&Package> =
        packages.iter().filter(|package| ids.contains(package.id.as_str())).collect();
    linked.sort();
    let index: BTreeMap<&str, usize> =
        linked.iter().enumerate().map(|(i, package)| (package.id.as_str(), i)).collect();
    let uses = |package: &Package| nodes[package.id.as_str()].iter().map(|id| index[id.as_str()]).collect();
    Ok(linked.iter().map(|package| ((*package).clone(), uses(package))).collect())
}

/// A bill of materials in the format of CycloneDX 1.5.
pub(crate) fn bill_of_materials(platform: Platform) -> Result<String> {
    let linked = linked("ferrolb", platform.target())?;
    // A version of our own is no reference to anything that could be fetched.
    let reference = |package: &Package| match package.source {
        Some(_) => format!("pkg:cargo/{}@{}", package.name, package.version),
        None => format!("{}@{}", package.name, package.version),
    };
    let component = |package: &Package, kind: &str| {
        let reference = reference(package);
        let mut component = json!({
            "type": kind, "bom-ref": reference, "name": package.name, "version": package.version,
        });
        if package.source.is_some() {
            component["purl"] = json!(reference);
        }
        if let Some(license) = &package.license {
            component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
        }
        component
    };
    let (program, libraries): (Vec<_>, Vec<_>) =
        linked.iter().map(|(package, _)| package).partition(|package| package.name == "ferrolb");
    let dependencies: Vec<Value> = linked
        .iter()
        .map(|(package, uses)| {
            let uses: Vec<String> = uses.iter().map(|used| reference(&linked[*used].0)).collect();
            json!({"ref": reference(package), "dependsOn": uses})
        })
        .collect();
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(program[0], "application")},
        "components": libraries.into_iter().map(|package| component(package, "library")).collect::<Vec<_>>(),
        "dependencies": dependencies,
    });
    Ok(bill.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_of_materials_names_every_crate_and_what_it_uses() {
        let bill: Value = serde_json::from_str(&bill_of_materials(Platform::HOST).unwrap()).unwrap();
        assert_eq!(bill["metadata"]["component"]["name"], "ferrolb");
        let names: BTreeSet<&str> =
            bill["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        for name in ["kube", "tokio", "controller", "speaker"] {
            assert!(names.contains(name), "{name} is not in {names:?}");
        }
        for name in ["ferrolb", "lab", "xtask", "proptest"] {
            assert!(!names.contains(name), "{name} is no part of the program");
        }
        let ours = |name: &str| json!(format!("{name}@{}", env!("CARGO_PKG_VERSION")));
        let program =
            bill["dependencies"].as_array().unwrap().iter().find(|one| one["ref"] == ours("ferrolb"));
        let uses = program.unwrap()["dependsOn"].as_array().unwrap();
        assert!(uses.contains(&ours("controller")), "{uses:?}");
    }
}
