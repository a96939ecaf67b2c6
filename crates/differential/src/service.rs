//! Services as far as their addresses are concerned.

use serde_json::{Value, json};

/// What of a Service has a say in its address.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) type_: &'static str,
    pub(crate) stack: Stack,
    pub(crate) ports: Vec<(&'static str, u16)>,
    pub(crate) app: &'static str,
    pub(crate) selector: &'static str,
    pub(crate) local: bool,
    pub(crate) key: Option<&'static str>,
    pub(crate) wish: Wish,
    pub(crate) spelling: Spelling,
    pub(crate) class: Option<&'static str>,
    /// Whether a field manager of its own asks for addresses.
    pub(crate) annotated: bool,
    /// Whether somebody has to let it go before it can be gone.
    pub(crate) finalizer: bool,
}

/// Families, the primary one first, and the policy.
#[derive(Clone, Copy)]
pub(crate) enum Stack {
    Single(&'static str),
    Prefer(&'static str),
    Require(&'static str),
}

/// What it asks for.
#[derive(Clone)]
pub(crate) enum Wish {
    Nothing,
    Pool(String),
    Ips(String),
    PoolAndIps(String, String),
    Field(String),
    FieldAndIps(String, String),
}

/// How its annotations are spelled.
#[derive(Clone, Copy)]
pub(crate) enum Spelling {
    New,
    Old,
    /// The old one has a value, and the new one is there and empty.
    OldBesideEmpty,
}

impl Wish {
    /// Whether one address is asked for, and not a pair.
    pub(crate) fn is_for_one_address(&self) -> bool {
        match self {
            Self::Ips(ips) | Self::PoolAndIps(_, ips) | Self::Field(ips) => !ips.contains(','),
            Self::Nothing | Self::Pool(_) | Self::FieldAndIps(..) => false,
        }
    }
}

impl Service {
    /// As it is written.
    pub(crate) fn manifest(&self, namespace: &str) -> Value {
        let (families, policy) = match self.stack {
            Stack::Single(family) => (vec![family], "SingleStack"),
            Stack::Prefer(primary) => (vec![primary, other_family(primary)], "PreferDualStack"),
            Stack::Require(primary) => (vec![primary, other_family(primary)], "RequireDualStack"),
        };
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|(protocol, port)| json!({"name": format!("{protocol}-{port}").to_lowercase(), "protocol": protocol, "port": port}))
            .collect();
        let mut spec = json!({
            "type": self.type_, "ports": ports, // FerroLB lets nobody share across namespaces with policy Local.
            "selector": {"sel": format!("{namespace}-{}", self.selector)},
            "ipFamilies": families, "ipFamilyPolicy": policy,
        });
        let mut annotations = json!({});
        let mut annotate = |suffix: &str, value: &str| {
            let (new, old) = (format!("metallb.io/{suffix}"), format!("metallb.universe.tf/{suffix}"));
            match self.spelling {
                Spelling::New => annotations[new] = value.into(),
                Spelling::Old => annotations[old] = value.into(),
                Spelling::OldBesideEmpty => {
                    annotations[old] = value.into();
                    annotations[new] = "".into();
                }
            }
        };
        if let Some(key) = self.key {
            annotate("allow-shared-ip", key);
        }
        if let Wish::Pool(pool) | Wish::PoolAndIps(pool, _) = &self.wish {
            annotate("address-pool", pool);
        }
        if let Wish::Ips(ips) | Wish::PoolAndIps(_, ips) | Wish::FieldAndIps(_, ips) = &self.wish {
            annotate("loadBalancerIPs", ips);
        }
        if self.type_ == "LoadBalancer" {
            if let Wish::Field(ip) | Wish::FieldAndIps(ip, _) = &self.wish {
                spec["loadBalancerIP"] = ip.as_str().into();
            }
            if let Some(class) = self.class {
                spec["loadBalancerClass"] = class.into();
            }
        }
        if self.type_ != "ClusterIP" {
            spec["externalTrafficPolicy"] = if self.local { "Local" } else { "Cluster" }.into();
        }
        let mut metadata = json!({"labels": {"app": self.app}, "annotations": annotations});
        if self.finalizer {
            metadata["finalizers"] = json!(["example.com/hold"]);
        }
        json!({"metadata": metadata, "spec": spec})
    }
}

fn other_family(family: &str) -> &'static str {
    if family == "IPv4" { "IPv6" } else { "IPv4" }
}
