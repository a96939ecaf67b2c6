//! MetalLB, as its own manifests or its own chart install it: what FerroLB is compared with, and what people come from.
//!
//! Nothing of it is built before somebody asks for it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::chart::NAMESPACE;
use crate::images::{Account, of_program};
use crate::tools::{Program, Sources, Tools};
use crate::{Host, Lab, ui, wait_until};

/// How long `kubectl rollout status` waits. MetalLB's Pods are probed for the first time after ten seconds, and its
/// controller starts when it has made itself a certificate.
const ROLLED_OUT_WITHIN: &str = "--timeout=120s";
const WEBHOOK_WITHIN: Duration = Duration::from_secs(30);
/// Shown to the webhook, and never made.
const A_POOL: &str = "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, \
    metadata: {name: probe, namespace: metallb-system}, spec: {addresses: [192.0.2.1/32]}}";

/// The manifests of MetalLB without FRR: one file, as its documentation has it applied.
pub fn manifests() -> Result<String> {
    let path = Sources::of(Program::MetallbSpeaker)?.dir.join("config/manifests/metallb-native.yaml");
    Ok(path.display().to_string())
}

/// The folder of MetalLB's chart.
pub fn chart() -> Result<PathBuf> {
    Ok(Sources::of(Program::MetallbSpeaker)?.dir.join("charts/metallb"))
}

/// Builds MetalLB and puts its images into the lab's registry, under the names that [`manifests`] have.
pub fn publish(lab: &Lab) -> Result<()> {
    let tools = Tools::ensure(&Program::METALLB)?;
    let version = Sources::of(Program::MetallbSpeaker)?.version;
    // Of the capabilities that Kubernetes adds, only root gets any.
    for (program, name, account) in [
        (Program::MetallbController, "controller", Account::Nobody),
        (Program::MetallbSpeaker, "speaker", Account::Root),
    ] {
        let image = format!("quay.io/metallb/{name}:{version}");
        lab.publish(&of_program(tools.path(program), &image, account)?)?;
    }
    Ok(())
}

/// Installs MetalLB in [`NAMESPACE`] and waits until all of it is ready.
pub fn install(lab: &Lab) -> Result<()> {
    publish(lab)?;
    let task = ui::task("installing MetalLB from its manifests", Duration::from_secs(30));
    lab.kubectl(["apply", "-f", &manifests()?])?;
    wait_until_ready(lab)?;
    task.done();
    Ok(())
}

/// Waits until MetalLB's Pods are ready, and its webhook lets pools pass: it listens a moment after the Pod is ready.
fn wait_until_ready(lab: &Lab) -> Result<()> {
    for part in ["deployment/controller", "daemonset/speaker"] {
        lab.kubectl(["rollout", "status", part, "-n", NAMESPACE, ROLLED_OUT_WITHIN])?;
    }
    let create = ["kubectl", "create", "--dry-run=server", "-f", "-"];
    wait_until("MetalLB's webhook answers", WEBHOOK_WITHIN, || {
        let output = lab.exec_with_input(Host::Cp, create, A_POOL.as_bytes())?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
}

/// Removes what the manifests or the chart have installed, the CRDs and the namespace with all that they hold among it,
/// also when Helm has forgotten the release.
pub fn remove(lab: &Lab) -> Result<()> {
    lab.helm(["uninstall", "metallb", "--ignore-not-found", "--namespace", NAMESPACE])?;
    lab.kubectl(["delete", "-f", &manifests()?, "--ignore-not-found"])?;
    let kinds = "clusterroles,clusterrolebindings,validatingwebhookconfigurations";
    lab.kubectl(["delete", kinds, "-l", "app.kubernetes.io/instance=metallb"]).map(drop)
}
