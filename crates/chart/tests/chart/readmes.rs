//! That what the READMEs say can be followed: links, names of values and metrics, manifests, commands of Helm.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chart::{Helm, documents, folder, values};
use regex::Regex;

use crate::operations;
use crate::server::Cluster;

/// A file in Markdown.
struct Readme {
    path: PathBuf,
    text: String,
}

impl Readme {
    fn read(path: PathBuf) -> Self {
        Self { text: fs::read_to_string(&path).unwrap(), path }
    }

    /// What stands outside blocks, line by line.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut in_block = false;
        self.text.lines().filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            in_block ^= fence;
            !in_block && !fence
        })
    }

    /// The blocks in a language, without what they are indented by.
    fn blocks(&self, language: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while let Some(fence) = lines.find(|line| line.trim_start().strip_prefix("```") == Some(language)) {
            let indent = fence.len() - fence.trim_start().len();
            let block = lines.by_ref().take_while(|line| line.trim_start() != "```");
            blocks.push(
                block.map(|line| line.get(indent..).unwrap_or_default()).collect::<Vec<_>>().join("\n"),
            );
        }
        blocks
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let slug = |heading: &str| {
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        };
        let headings = self.prose().filter(|line| line.starts_with('#'));
        headings.map(|line| slug(line.trim_start_matches('#').trim())).collect()
    }

    /// What stands between single backticks outside blocks.
    fn code(&self) -> Vec<String> {
        let code = Regex::new("`([^`]+)`").unwrap();
        self.prose()
            .flat_map(|line| code.captures_iter(line).map(|found| found[1].to_owned()).collect::<Vec<_>>())
            .collect()
    }

    /// The manifests in it: blocks of YAML, and what is given to `kubectl apply -f -`.
    fn manifests(&self) -> Vec<String> {
        let here = Regex::new(r"(?s)<<EOF\n(.*?)\nEOF").unwrap();
        let console = self.blocks("console").join("\n");
        let typed = here.captures_iter(&console).map(|found| found[1].to_owned());
        self.blocks("yaml").into_iter().chain(typed).filter(|it| it.contains("apiVersion:")).collect()
    }
}

fn repository() -> PathBuf {
    images::programs::workspace()
}

/// All Markdown of the repository.
fn readmes() -> Vec<Readme> {
    let mut folders = vec![repository()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(Readme::read(path));
            }
        }
    }
    assert!(found.len() > 10, "some READMEs are not found");
    found
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut dead = Vec::new();
    for readme in readmes() {
        let prose: Vec<&str> = readme.prose().collect();
        for found in link.captures_iter(&prose.join("\n")) {
            let target = &found[1];
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { readme.path.clone() } else { readme.path.parent().unwrap().join(file) };
            let there = path.exists() && (anchor.is_empty() || Readme::read(path).anchors().contains(anchor));
            if !there {
                dead.push(format!("{}: {target}", readme.path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_value_that_a_readme_names_is_one_of_the_chart() {
    let known: BTreeSet<String> = values::documented().unwrap().into_iter().map(|entry| entry.path).collect();
    let groups: BTreeSet<&str> =
        known.iter().filter_map(|path| path.split_once('.')).map(|it| it.0).collect();
    let value = Regex::new(r"^([a-zA-Z]+)(?:\.[a-zA-Z_]+)+").unwrap();
    // What is below a value without a fixed shape is free.
    let is_free = |path: &str| {
        ["securityContext", "nodeSelector", "updateStrategy"].iter().any(|free| path.contains(free))
    };
    let mut named = 0;
    for readme in readmes() {
        for code in readme.code() {
            let Some(found) = value.captures(&code).filter(|found| groups.contains(&found[1])) else {
                continue;
            };
            named += 1;
            assert!(known.contains(&found[0]) || is_free(&found[0]), "{}: {code}", readme.path.display());
        }
    }
    assert!(named > 50, "{named}");
}

/// What the log, writes and events register, for which it takes a client in part; tests of the crate `kubekit` have them.
const OF_KUBEKIT: [&str; 5] = [
    "ferrolb_api_writes_total",
    "ferrolb_api_writes_undone_total",
    "ferrolb_api_objects_refused",
    "ferrolb_events_dropped_total",
    "ferrolb_log_lines_lost_total",
];

#[test]
fn every_metric_that_a_readme_names_is_registered() {
    let metrics = operations::registered();
    let name = Regex::new(r"^(?:metallb|ferrolb)_[a-z0-9_]+[a-z0-9]").unwrap();
    for readme in readmes() {
        for code in readme.code() {
            let Some(found) = name.find(&code) else { continue };
            let known = operations::exists(found.as_str(), &metrics) || OF_KUBEKIT.contains(&found.as_str());
            assert!(known, "{}: {code}", readme.path.display());
        }
    }
}

#[test]
fn helm_takes_the_chart_with_the_values_of_every_command() {
    let helm = Helm::find().unwrap();
    let set = Regex::new(r"--set[ =](\S+)").unwrap();
    let mut commands = 0;
    for readme in readmes() {
        let console = readme.blocks("console").join("\n").replace("\\\n", " ");
        let install = console.lines().map(|line| line.trim_start_matches("$ "));
        for command in install.filter(|line| line.starts_with("helm ") && line.contains(" charts/ferrolb")) {
            commands += 1;
            let values = set.captures_iter(command).map(|found| format!("--set={}", &found[1]));
            if let Err(error) = helm.template(values) {
                panic!("{}: {command}: {error:#}", readme.path.display());
            }
        }
    }
    assert!(commands > 8, "{commands}");
}

#[test]
fn an_api_server_takes_every_manifest() {
    let (cluster, temporary) = (Cluster::start(), tempfile::tempdir().unwrap());
    cluster.kubectl(&["apply", "-f", repository().join("crds").to_str().unwrap()]);
    cluster.serves_all_kinds();
    for namespace in ["metallb-system", "shop"] {
        cluster.kubectl(&["create", "namespace", namespace]);
    }
    let apply = |path: &Path| {
        let said = cluster.kubectl(&["apply", "--dry-run=server", "-f", path.to_str().unwrap()]);
        assert!(!said.contains("Warning"), "{}: {said}", path.display());
    };
    let mut applied = 0;
    for readme in readmes() {
        for manifest in readme.manifests() {
            assert!(!documents(&manifest).unwrap().is_empty(), "{}", readme.path.display());
            let path = temporary.path().join("manifest.yaml");
            fs::write(&path, manifest).unwrap();
            apply(&path);
            applied += 1;
        }
    }
    assert!(applied > 6, "{applied}");
    // Artifact Hub shows objects of these.
    for example in [
        "examples/quickstart",
        "examples/node-addresses.yaml",
        "examples/address-reservation.yaml",
        "examples/bgp/bgp.yaml",
    ] {
        apply(&repository().join(example));
    }
}

#[test]
fn the_list_of_crates_is_complete() {
    let readme = Readme::read(repository().join("crates/README.md"));
    let row = Regex::new(r"^\| `([a-z0-9-]+)` \|").unwrap();
    let (_, section) = readme.text.split_once("\n## Crates\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let listed: BTreeSet<String> =
        section.lines().filter_map(|line| row.captures(line)).map(|found| found[1].to_owned()).collect();
    let folders = fs::read_dir(folder().join("../../crates")).unwrap().map(|entry| entry.unwrap().path());
    let crates: BTreeSet<String> = folders
        .filter(|path| path.join("Cargo.toml").exists())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(listed, crates);
}
