//! The Pods of FerroLB, and how their programs were started.

mod down;

use introspection::{DEFAULT_LEASE, DEFAULT_PORT};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;

/// The labels of FerroLB's Pods.
pub(crate) const LABELS: &str =
    "app.kubernetes.io/name=ferrolb,app.kubernetes.io/component in (controller,speaker)";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Controller,
    Speaker,
}

impl Part {
    /// The labels of its Pods, as a selector.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Controller => "app.kubernetes.io/component=controller",
            Self::Speaker => "app.kubernetes.io/component=speaker",
        }
    }
}

/// A Pod with one of the programs in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer to another question")]
pub(crate) struct Program {
    pub(crate) part: Part,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) node: Option<String>,
    pub(crate) ready: bool,
    /// Whether it is being deleted.
    pub(crate) leaves: bool,
    /// Why its container does not run, if it does not.
    pub(crate) down: Option<String>,
    /// What it waits for before it is ready, as it says itself to everybody.
    pub(crate) waits_for: Option<String>,
    /// Where it says that.
    pub(crate) probes: u16,
    /// Where `/status` is, and whether by HTTPS and for those only who show a token.
    pub(crate) port: u16,
    pub(crate) secure: bool,
    pub(crate) service_account: String,
    pub(crate) image: String,
    /// What it was told to serve.
    pub(crate) class: Option<String>,
    pub(crate) shares_within_namespace: bool,
    pub(crate) ignores_exclude_label: bool,
    pub(crate) spreads: bool,
    pub(crate) never_fails_back: bool,
    /// Whether it serves `NodeAddressPool`s.
    pub(crate) node_address_pools: bool,
    /// The Lease that its replicas elect a leader by, if they do.
    pub(crate) lease: Option<String>,
}

impl Program {
    /// Reads a Pod; `None` for one that is of no part, or has ended.
    pub(crate) fn read(pod: &Pod) -> Option<Self> {
        let part = match pod.labels().get("app.kubernetes.io/component").map(String::as_str) {
            Some("controller") => Part::Controller,
            Some("speaker") => Part::Speaker,
            _ => return None,
        };
        let (spec, status) = (pod.spec.as_ref()?, pod.status.clone().unwrap_or_default());
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return None;
        }
        let name = if part == Part::Controller { "controller" } else { "speaker" };
        let container =
            spec.containers.iter().find(|it| it.name == name).or_else(|| spec.containers.first())?;
        let leaves = pod.metadata.deletion_timestamp.is_some();
        let down = down::why(&status, &container.name);
        let conditions = status.conditions.unwrap_or_default();
        let secure = option(container, "--metrics-bind", "FERROLB_METRICS_BIND");
        let plain = option(container, "--http-bind", "FERROLB_HTTP_BIND");
        let number = |bind: Option<String>| -> u16 {
            bind.and_then(|bind| bind.rsplit_once(':')?.1.parse().ok()).unwrap_or(DEFAULT_PORT)
        };
        let (listens_on, probes) = (number(secure.clone().or_else(|| plain.clone())), number(plain));
        let has = |flag, variable| switch(container, flag, variable);
        let sharing = option(container, "--address-sharing", "FERROLB_ADDRESS_SHARING");
        let lease = option(container, "--lease-name", "FERROLB_LEASE_NAME");
        let elects = option(container, "--leader-elect", "FERROLB_LEADER_ELECT");
        Some(Self {
            part,
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            node: spec.node_name.clone(),
            leaves,
            ready: !leaves && conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True"),
            down,
            waits_for: None,
            probes,
            port: listens_on,
            secure: secure.is_some(),
            service_account: spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
            image: container.image.clone().unwrap_or_default(),
            class: option(container, "--lb-class", "FERROLB_LB_CLASS"),
            shares_within_namespace: sharing.as_deref() == Some("namespace"),
            ignores_exclude_label: has("--ignore-exclude-lb", "FERROLB_IGNORE_EXCLUDE_LB"),
            spreads: has("--spread", "FERROLB_SPREAD"),
            never_fails_back: has("--no-failback", "FERROLB_NO_FAILBACK"),
            node_address_pools: has("--node-address-pools", "FERROLB_NODE_ADDRESS_POOLS"),
            lease: (elects.as_deref() != Some("false"))
                .then(|| lease.unwrap_or_else(|| DEFAULT_LEASE.to_owned())),
        })
    }
}

/// The value of an option, given as `--name=value`, `--name value` or in the environment.
fn option(container: &Container, name: &str, variable: &str) -> Option<String> {
    let arguments = || container.command.iter().chain(&container.args).flatten();
    let joined = arguments().find_map(|it| it.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    let parted = || arguments().skip_while(|it| *it != name).nth(1).cloned();
    let value = joined.or_else(parted).or_else(|| environment(container, variable));
    value.filter(|value| !value.is_empty())
}

/// Whether a flag is given.
fn switch(container: &Container, name: &str, variable: &str) -> bool {
    let mut arguments = container.command.iter().chain(&container.args).flatten();
    arguments.any(|it| it == name) || environment(container, variable).as_deref() == Some("true")
}

fn environment(container: &Container, variable: &str) -> Option<String> {
    container.env.iter().flatten().find(|it| it.name == variable)?.value.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn program(container: Value) -> Program {
        let mut full = json!({"name": "speaker", "image": "ferrolb:1"});
        full.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        let pod = json!({
            "metadata": {"name": "s-1", "namespace": "lb", "labels": {"app.kubernetes.io/component": "speaker"}},
            "spec": {"nodeName": "n1", "serviceAccountName": "it", "containers": [full]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        Program::read(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    #[test]
    fn where_status_is_follows_from_how_the_program_was_started() {
        let secure = program(json!({
            "args": ["speaker", "--http-bind=[::]:17472", "--metrics-bind=[::]:9120", "--lb-class=example.com/lb"],
        }));
        assert_eq!((secure.port, secure.secure), (9120, true));
        assert_eq!(secure.class.as_deref(), Some("example.com/lb"));
        assert!(secure.ready);
        let plain = program(json!({"args": ["speaker", "--http-bind", "[::]:7473"]}));
        assert_eq!((plain.port, plain.secure), (7473, false));
        let default = program(json!({"args": ["speaker", "--ignore-exclude-lb", "--spread"]}));
        assert_eq!((default.port, default.secure, default.class), (7472, false, None));
        assert!(default.ignores_exclude_label && !default.node_address_pools);
        assert!(default.spreads && !default.never_fails_back);
        let nodes = program(json!({"env": [{"name": "FERROLB_NODE_ADDRESS_POOLS", "value": "true"}]}));
        assert!(nodes.node_address_pools);
        let environment = program(json!({"env": [
            {"name": "FERROLB_METRICS_BIND", "value": "0.0.0.0:1"}, {"name": "FERROLB_LB_CLASS", "value": ""},
            {"name": "FERROLB_NO_FAILBACK", "value": "true"},
        ]}));
        assert!(environment.never_fails_back && !environment.spreads);
        assert_eq!((environment.port, environment.secure, environment.class), (1, true, None));
    }
}
