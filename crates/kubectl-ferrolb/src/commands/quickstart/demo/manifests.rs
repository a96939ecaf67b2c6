//! What the demo is made of.

use serde_json::{Value, json};

/// The name of the Deployment and of the Service.
pub(super) const NAME: &str = "ferrolb-demo";
pub(super) const LABEL_OF_NAME: &str = "app.kubernetes.io/name";
/// By this label it is known what this command has made.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "kubectl-ferrolb";
/// The port of the Service.
pub(super) const PORT: u16 = 80;
/// The port of its Pod, which a program that is not root may open.
pub(super) const TARGET_PORT: u16 = 8080;
/// Nobody: the image need not name a user by its number.
const USER: u32 = 65534;

/// What the web server answers, if it is one that can be told.
pub(super) fn text(namespace: &str, image: &str) -> Option<String> {
    is_echo(image).then(|| format!("FerroLB demo in namespace {namespace}"))
}

/// Whether an image is `http-echo`, of whatever registry.
fn is_echo(image: &str) -> bool {
    let without_digest = image.split('@').next().unwrap_or_default();
    let last = without_digest.rsplit('/').next().unwrap_or_default();
    last.split(':').next() == Some("http-echo")
}

fn metadata(namespace: &str) -> Value {
    json!({
        "name": NAME, "namespace": namespace, "labels": {LABEL_OF_NAME: NAME, MANAGED_BY: MANAGER},
        "annotations": {
            "ferrolb.io/purpose": format!(
                "made by kubectl ferrolb quickstart --demo; removed by kubectl ferrolb quickstart --demo-delete -n {namespace}"
            ),
        },
    })
}

/// One Pod with a web server, which every Pod security standard allows.
pub(super) fn deployment(namespace: &str, image: &str) -> Value {
    let labels = json!({LABEL_OF_NAME: NAME, MANAGED_BY: MANAGER});
    let mut container = json!({
        "name": "web", "image": image, "ports": [{"containerPort": TARGET_PORT, "name": "http", "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": TARGET_PORT}, "periodSeconds": 1},
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"},
        },
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    if let Some(text) = text(namespace, image) {
        container["args"] = json!([format!("-listen=:{TARGET_PORT}"), format!("-text={text}")]);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(namespace),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [container],
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": USER, "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "terminationGracePeriodSeconds": 1,
                },
            },
        },
    })
}

/// The Service in front of it, of the class that FerroLB serves.
pub(super) fn service(namespace: &str, class: Option<&str>) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(namespace),
        "spec": {
            "type": "LoadBalancer",
            "selector": {LABEL_OF_NAME: NAME, MANAGED_BY: MANAGER},
            "ports": [{"port": PORT, "protocol": "TCP", "targetPort": TARGET_PORT}],
        },
    });
    if let Some(class) = class {
        service["spec"]["loadBalancerClass"] = json!(class);
    }
    service
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    #[test]
    fn every_pod_security_standard_allows_the_pod() {
        let deployment: Deployment = serde_json::from_value(deployment("shop", "web:1")).unwrap();
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        let of_pod = pod.security_context.unwrap();
        assert_eq!((of_pod.run_as_non_root, of_pod.run_as_user), (Some(true), Some(i64::from(USER))));
        assert_eq!(of_pod.seccomp_profile.unwrap().type_, "RuntimeDefault");
        let container = pod.containers[0].security_context.clone().unwrap();
        assert_eq!(container.allow_privilege_escalation, Some(false));
        assert_eq!(container.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(pod.automount_service_account_token, Some(false));
        // A quota of a namespace may ask for them.
        assert!(pod.containers[0].resources.as_ref().is_some_and(|it| it.limits.is_some()));
    }

    #[test]
    fn the_service_finds_the_pod_and_has_the_class_of_the_controller() {
        let of = |class| serde_json::from_value::<Service>(service("shop", class)).unwrap().spec.unwrap();
        assert_eq!(of(None).load_balancer_class, None);
        assert_eq!(of(Some("metallb")).load_balancer_class.as_deref(), Some("metallb"));
        let deployment: Deployment = serde_json::from_value(deployment("shop", "web:1")).unwrap();
        let spec = deployment.spec.unwrap();
        assert_eq!(of(None).selector, spec.template.metadata.unwrap().labels);
        assert_eq!(of(None).selector, spec.selector.match_labels);
        let labels = deployment.metadata.labels.unwrap();
        assert_eq!(labels[MANAGED_BY], "kubectl-ferrolb");
    }

    #[test]
    fn http_echo_of_every_registry_is_told_what_to_answer_and_no_other_image_gets_arguments() {
        for (image, echo) in [
            ("hashicorp/http-echo:1.0", true),
            ("http-echo", true),
            ("registry.example.com:5000/mirror/http-echo@sha256:0123", true),
            ("registry.example.com:5000/http-echo:1.0@sha256:0123", true),
            ("nginxinc/nginx-unprivileged:stable", false),
            ("http-echo/other:1", false),
        ] {
            let deployment = deployment("shop", image);
            let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
            assert_eq!(args.is_array(), echo, "{image}: {args}");
            assert_eq!(text("shop", image).is_some(), echo, "{image}");
        }
    }
}
