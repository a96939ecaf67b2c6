//! One file for `kubectl apply`, for those who don't use Helm.

use std::fs;

use anyhow::{Context, Result};

use crate::{Helm, read};

/// The speaker uses the node's network and raw sockets, which the lesser standards forbid.
const NAMESPACE: &str = "\
---
apiVersion: v1
kind: Namespace
metadata:
  name: metallb-system
  labels:
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
";

/// Lines that only mean something to Helm.
const HELMS: [&str; 3] = ["helm.sh/chart:", "app.kubernetes.io/managed-by: Helm", "# Source:"];

/// The namespace, the CRDs, and the chart with its default values.
pub(crate) fn plain(helm: &Helm) -> Result<String> {
    let mut text =
        "# FerroLB: kubectl apply -f ferrolb.yaml\n# Generated from the chart by `cargo xtask manifests`.\n"
            .to_owned();
    text += NAMESPACE;
    let folder = images::programs::workspace().join("crds");
    let mut crds: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>().context("reading the CRDs")?;
    crds.sort_by_key(fs::DirEntry::path);
    for crd in crds {
        let crd = read(&crd.path())?;
        // A null would be no part of what a server stores.
        for line in without_comments(&crd).lines().filter(|line| line.trim() != "webhook: null") {
            text += line;
            text += "\n";
        }
    }
    let rendered = helm.template(["--set=crds.enabled=false", "--skip-tests"])?;
    let ours =
        rendered.lines().filter(|line| !HELMS.iter().any(|helms| line.trim_start().starts_with(helms)));
    // Between documents Helm leaves an empty line.
    ours.filter(|line| !line.trim().is_empty()).for_each(|line| {
        text += line;
        text += "\n";
    });
    Ok(text)
}

/// Without the lines at the top that say where the file comes from.
fn without_comments(text: &str) -> &str {
    text.find("---").map_or(text, |start| &text[start..])
}
