//! Warnings about a Service that is served all the same.

use api::names;
use kubekit::events::Notice;
use objects::text::named;
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
                format!("Service uses deprecated annotation {}", named(annotation)),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deprecated(annotation: &str) -> String {
        let service = json!({"metadata": {"annotations": {annotation: "x"}}});
        let warnings = read(&serde_json::from_value(service).expect("a Service"));
        warnings.iter().map(|warning| warning.notice().message).collect()
    }

    #[test]
    fn a_deprecated_annotation_is_shown_as_it_is_or_quoted_when_it_is_no_key() {
        let said = "Service uses deprecated annotation ";
        assert_eq!(
            deprecated("metallb.universe.tf/address-pool"),
            format!("{said}metallb.universe.tf/address-pool")
        );
        assert_eq!(
            deprecated("metallb.universe.tf/a\r\u{1b}[2J"),
            format!("{said}{}", r#""metallb.universe.tf/a\r\u{1b}[2J""#)
        );
    }
}
