//! What is done to a cluster, one step at a time.

use std::fmt;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// Something that a user, an operator or an accident does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Creates an object, or changes it into this.
    Apply(Object),
    /// Deletes an object. One with a finalizer stays until it is released.
    Delete(Id),
    /// Takes all finalizers of an object away.
    Release(Id),
    /// All of this, with no time between.
    AtOnce(Vec<Step>),
    /// Creates an object, and deletes another that is in its way.
    Replace { old: Id, new: Object },
    /// Somebody writes this into the addresses of a Service's status.
    Status { service: Id, ingress: Value },
    /// The controller is killed, and started again when all of this has happened.
    Restart { meanwhile: Vec<Step> },
}

/// A manifest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) id: Id,
    /// Who applies it, whoever has before.
    pub(crate) manager: Manager,
    pub(crate) manifest: Value,
}

/// A field manager of server-side apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    Usual,
    Other,
}

impl Manager {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usual => "differential",
            Self::Other => "somebody-else",
        }
    }
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) kind: Kind,
    /// Empty for an object that is in none.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The kinds that have a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Namespace,
    Pool,
    Service,
}

impl Kind {
    pub(crate) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::Pool => ("metallb.io", "v1beta1", "IPAddressPool", "ipaddresspools"),
            Self::Service => ("", "v1", "Service", "services"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

impl Object {
    /// `manifest` is everything but what the id says.
    pub(crate) fn new(id: Id, mut manifest: Value) -> Self {
        let resource = id.kind.resource();
        manifest["apiVersion"] = resource.api_version.into();
        manifest["kind"] = resource.kind.into();
        manifest["metadata"]["name"] = id.name.as_str().into();
        if !id.namespace.is_empty() {
            manifest["metadata"]["namespace"] = id.namespace.as_str().into();
        }
        Self { id, manager: Manager::Usual, manifest }
    }
}

impl Step {
    /// Which objects may end in it.
    pub(crate) fn deleted(&self) -> Vec<&Id> {
        match self {
            Self::Apply(_) | Self::Status { .. } => Vec::new(),
            Self::Delete(id) | Self::Release(id) | Self::Replace { old: id, new: _ } => vec![id],
            Self::AtOnce(steps) | Self::Restart { meanwhile: steps } => {
                steps.iter().flat_map(Self::deleted).collect()
            }
        }
    }
}

impl Id {
    /// Namespace and name, as in an [`Outcome`](crate::outcome::Outcome).
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = self.kind.resource().plural;
        match self.namespace.as_str() {
            "" => write!(f, "{plural} {}", self.name),
            namespace => write!(f, "--namespace {namespace} {plural} {}", self.name),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_saphyr::to_string(&self.manifest).map_err(|_| fmt::Error)?;
        let manager = self.manager.name();
        write!(
            f,
            "kubectl apply --server-side --force-conflicts --field-manager {manager} -f - <<.\n{}\n.",
            text.trim_end()
        )
    }
}

/// As somebody would do it by hand.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(object) => object.fmt(f),
            Self::Delete(name) => write!(f, "kubectl delete --wait=false {name}"),
            Self::Release(name) => {
                write!(
                    f,
                    "kubectl patch {name} --type merge --patch '{{\"metadata\":{{\"finalizers\":null}}}}'"
                )
            }
            Self::AtOnce(steps) => {
                write!(f, "# at once:")?;
                steps.iter().try_for_each(|step| write!(f, "\n{step}"))
            }
            Self::Replace { old, new } => write!(f, "{new}\nkubectl delete {old}"),
            Self::Status { service, ingress } => write!(
                f,
                "kubectl patch {service} --subresource status --type merge --patch '{{\"status\":{{\"loadBalancer\":{{\"ingress\":{ingress}}}}}}}'"
            ),
            Self::Restart { meanwhile } => {
                writeln!(f, "# the controller is killed")?;
                meanwhile.iter().try_for_each(|step| writeln!(f, "{step}"))?;
                write!(f, "# the controller is started again")
            }
        }
    }
}
