//! What FerroLB asked of the API server, and what it may ask.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use lab::audit::{self, Record, Request};
use lab::chart;

use crate::Cluster;

/// What was asked in labs that are gone.
static OF_OTHERS: Mutex<BTreeSet<Request>> = Mutex::new(BTreeSet::new());

impl Cluster {
    /// Fails if FerroLB was denied anything in the part of the audit log that comes after what was `audited`. What
    /// it is allowed at other times is no fault of its roles: they are gone while it is uninstalled, and an API
    /// server that starts does not know them yet.
    pub(crate) fn nothing_was_denied(&self, audited: &mut usize) -> Result<()> {
        let log = self.lab.audit_log()?;
        let new = log.get(*audited..).unwrap_or_default();
        *audited = log.len();
        let ever = ours(&log);
        // What is created has its name only once it is there.
        let allowed = |request: &Request| {
            ever.iter().filter(|other| other.allowed).any(|other| {
                let name = if request.name.is_empty() { String::new() } else { other.name.clone() };
                Request { allowed: false, name, ..other.clone() } == *request
            })
        };
        let denied = ours(new).into_iter().filter(|request| !request.allowed && !allowed(request));
        let denied: Vec<String> = denied.map(|request| request.to_string()).collect();
        ensure!(denied.is_empty(), "its roles do not allow FerroLB: {}", denied.join(", "));
        Ok(())
    }

    /// Changes values of the chart, each as `name=value`. All have their defaults again when this is dropped.
    pub fn with_values<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> Result<Values<'_>> {
        // First, for the installation may fail half way.
        let changed = Values(self);
        chart::set(&self.lab, values)?;
        self.note_grants()?;
        Ok(changed)
    }

    /// Remembers what FerroLB's roles allow it now.
    pub(crate) fn note_grants(&self) -> Result<()> {
        let kinds = "roles,clusterroles,rolebindings,clusterrolebindings";
        let roles = ["get", kinds, "--all-namespaces", "-l", "app.kubernetes.io/name=ferrolb"];
        let roles = self.lab.kubectl_json(roles)?;
        let roles = roles["items"].as_array().context("there is a list")?;
        self.granted.lock().unwrap_or_else(PoisonError::into_inner).extend(audit::grants(roles));
        Ok(())
    }

    /// Remembers what was asked in this lab, for the record of another one.
    pub(crate) fn note_requests(&self) -> Result<()> {
        let mut others = OF_OTHERS.lock().unwrap_or_else(PoisonError::into_inner);
        others.extend(ours(&self.lab.audit_log()?));
        Ok(())
    }

    /// Records all that was asked so far and what was ever allowed. `cargo xtask test` compares the two in the end.
    pub(crate) fn record_rights(&self) -> Result<()> {
        let Some(path) = env::var_os(audit::RECORD_VARIABLE) else { return Ok(()) };
        let grants = self.granted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let others = OF_OTHERS.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = &ours(&self.lab.audit_log()?) | &others;
        let record = Record { requests, grants };
        let path = Path::new(&path);
        let text = serde_json::to_string(&record)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// The chart with other values than its defaults.
#[derive(Debug)]
pub struct Values<'a>(&'a Cluster);

impl Drop for Values<'_> {
    fn drop(&mut self) {
        if let Err(error) = chart::reset(&self.0.lab) {
            eprintln!("{error:#}");
        }
    }
}

fn ours(log: &str) -> BTreeSet<Request> {
    // MetalLB's accounts are in the same namespace when both are there.
    let prefix = format!("{}:ferrolb-", chart::NAMESPACE);
    let ours = |request: &Request| request.account.starts_with(&prefix);
    audit::requests(log).into_iter().filter(ours).collect()
}
