//! Helm, without a cluster.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::tools::{Program, Tools};

use crate::folder;

/// The name of the release that everything is rendered for, as the documentation has it.
pub const RELEASE: &str = "ferrolb";

/// Helm, and the chart.
#[derive(Debug)]
pub struct Helm(PathBuf);

impl Helm {
    /// Finds Helm, or builds it.
    pub fn find() -> Result<Self> {
        Self::called(Program::Helm)
    }

    /// The same for Helm 3, which many go on using.
    pub fn find_3() -> Result<Self> {
        Self::called(Program::Helm3)
    }

    fn called(program: Program) -> Result<Self> {
        Ok(Self(Tools::ensure(&[program])?.path(program).to_owned()))
    }

    /// Runs it and returns what it wrote. What it says of errors is the error.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let mut command = Command::new(&self.0);
        // No cluster, even if the environment names one.
        let output =
            command.args(arguments).env("KUBECONFIG", "/dev/null").output().context("starting helm")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The manifests of the release with these values, as YAML.
    pub fn template<S: AsRef<OsStr>>(&self, values: impl IntoIterator<Item = S>) -> Result<String> {
        self.with_chart("template", values)
    }

    /// What Helm tells the operator after the installation with these values.
    pub fn notes<S: AsRef<OsStr>>(&self, values: impl IntoIterator<Item = S>) -> Result<String> {
        let values = values.into_iter().map(|value| value.as_ref().to_owned());
        let install = self.with_chart("install", values.chain(["--dry-run=client".into()]))?;
        let (_, notes) = install.split_once("\nNOTES:\n").context("Helm shows no notes")?;
        Ok(notes.to_owned())
    }

    /// The notes, as comments, and the manifests but for the CRDs, which are the same whatever the values are.
    pub(crate) fn snapshot(&self, values: &Path) -> Result<String> {
        let values = ["--values".as_ref(), values.as_os_str(), "--set=crds.enabled=false".as_ref()];
        let notes = self.notes(values)?;
        let (_, warnings) =
            notes.split_once("kubectl describe service NAME\n").context("the notes end otherwise")?;
        let warnings: String =
            warnings.trim().lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
        Ok(format!(
            "# Generated from the chart by `cargo xtask manifests`.\n{warnings}{}",
            self.template(values)?
        ))
    }

    /// The manifests of a release of this name, of the chart in this folder, with these arguments.
    pub fn template_of<S: AsRef<OsStr>>(
        &self,
        release: &str,
        chart: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        self.with("template", release, chart, arguments)
    }

    fn with_chart<S: AsRef<OsStr>>(&self, verb: &str, values: impl IntoIterator<Item = S>) -> Result<String> {
        let namespace = format!("--namespace={}", lab::chart::NAMESPACE);
        let values = values.into_iter().map(|value| value.as_ref().to_owned());
        self.with(verb, RELEASE, &folder(), [namespace.into()].into_iter().chain(values))
    }

    fn with<S: AsRef<OsStr>>(
        &self,
        verb: &str,
        release: &str,
        chart: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        self.run([verb.into(), release.into(), chart.into()].into_iter().chain(arguments))
    }
}
