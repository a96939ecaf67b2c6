//! Warnings about a Service that is served all the same.

use api::names;
use kubekit::events::Notice;
use slim::Service;

/// Something about a Service that its owner should change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Warning {
    /// An annotation with the deprecated prefix.
    Deprecated(String),
    /// A finalizer of another load balancer, which writes the same status.
    AnotherLoadBalancer(String),
}

/// The finalizers of Kubernetes' own service controller, which runs with cloud providers, K3s (ServiceLB) and
/// cloud-provider-kind, and of ServiceLB before K3s 1.23.
const FINALIZERS: [&str; 2] =
    ["service.kubernetes.io/load-balancer-cleanup", "svccontroller.k3s.cattle.io/daemonset"];

/// The warnings that a Service calls for.
pub(crate) fn read(service: &Service) -> Vec<Warning> {
    let annotations = service.metadata.annotations.iter().flat_map(names::deprecated);
    let finalizers = service.metadata.finalizers.iter().flatten();
    let finalizers = finalizers.filter(|finalizer| FINALIZERS.contains(&finalizer.as_str()));
    let deprecated = annotations.map(|name| Warning::Deprecated(name.to_owned()));
    deprecated.chain(finalizers.cloned().map(Warning::AnotherLoadBalancer)).collect()
}

impl Warning {
    pub(crate) fn notice(&self) -> Notice {
        match self {
            Self::Deprecated(annotation) => Notice::warning(
                "deprecatedAnnotation",
                format!("Service uses deprecated annotation {annotation}"),
            ),
            Self::AnotherLoadBalancer(finalizer) => Notice::warning(
                "AnotherLoadBalancer",
                format!(
                    "another load balancer serves this Service too, by its finalizer {finalizer}: turn that one off \
                     (ServiceLB of K3s: --disable=servicelb), or tell them apart by spec.loadBalancerClass"
                ),
            ),
        }
    }
}
