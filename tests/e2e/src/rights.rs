//! What FerroLB asked of the API server, and what it may ask.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::audit::{self, Request};
use lab::chart;
use serde_json::json;

use crate::Cluster;

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

    /// Records all that was asked so far and what may be asked. `cargo xtask test` compares the two in the end.
    pub(crate) fn record_rights(&self) -> Result<()> {
        let Some(path) = env::var_os(audit::RECORD_VARIABLE) else { return Ok(()) };
        let kinds = "roles,clusterroles,rolebindings,clusterrolebindings";
        let roles = ["get", kinds, "--all-namespaces", "-l", "app.kubernetes.io/name=ferrolb"];
        let record = json!({"requests": ours(&self.lab.audit_log()?), "roles": self.lab.kubectl_json(roles)?["items"]});
        let path = Path::new(&path);
        fs::write(path, record.to_string()).with_context(|| format!("writing {}", path.display()))
    }
}

fn ours(log: &str) -> BTreeSet<Request> {
    // MetalLB's accounts are in the same namespace when both are there.
    let prefix = format!("{}:ferrolb-", chart::NAMESPACE);
    let ours = |request: &Request| request.account.starts_with(&prefix);
    audit::requests(log).into_iter().filter(ours).collect()
}
