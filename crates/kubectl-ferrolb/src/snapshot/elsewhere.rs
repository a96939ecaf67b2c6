//! Pools and advertisements in namespaces that FerroLB does not read.

use std::fmt;

use kube::{Resource, ResourceExt};
use objects::PoolName;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Where FerroLB would read it.
    pub(crate) system: String,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        write!(f, "{kind} {name} in namespace {namespace}")
    }
}

impl Elsewhere {
    /// What helps who expected it to do something.
    pub(crate) fn remedy(&self) -> String {
        let Self { kind, namespace, name, system } = self;
        format!(
            "create {kind} {name} in namespace {system}, and delete it in {namespace}: FerroLB reads {system} only"
        )
    }

    /// One of a kind among these.
    pub(crate) fn of_kind<'a>(all: &'a [Self], kind: &str) -> Option<&'a Self> {
        all.iter().find(|it| it.kind == kind)
    }

    /// The pool of this name among these.
    pub(crate) fn pool<'a>(all: &'a [Self], name: &str) -> Option<&'a Self> {
        all.iter().find(|it| it.kind == POOL && PoolName::new(it.name.as_str()) == PoolName::new(name))
    }
}

pub(crate) const POOL: &str = "IPAddressPool";
pub(crate) const ADVERTISEMENT: &str = "L2Advertisement";
pub(crate) const ROUTER: &str = "BGPPeer";
pub(crate) const FOR_ROUTERS: &str = "BGPAdvertisement";

/// Parts what FerroLB reads in its namespace from what it does not.
pub(crate) fn part<K: Resource<DynamicType = ()>>(
    objects: Vec<K>,
    kind: &'static str,
    system: &str,
) -> (Vec<K>, Vec<Elsewhere>) {
    let (ours, others): (Vec<K>, Vec<K>) =
        objects.into_iter().partition(|it| it.namespace().is_none_or(|namespace| namespace == system));
    let elsewhere = |it: K| Elsewhere {
        kind,
        namespace: it.namespace().unwrap_or_default(),
        name: it.name_any(),
        system: system.to_owned(),
    };
    (ours, others.into_iter().map(elsewhere).collect())
}
