//! Which Pods are programs of MetalLB that serve Services.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};

use crate::class::Class;

/// The label of what an application is called.
const NAME: &str = "app.kubernetes.io/name";
/// Those of what part of it a Pod is, as MetalLB's chart and its manifests have them.
const COMPONENT: [&str; 2] = ["app.kubernetes.io/component", "component"];

/// A Pod, with what tells whose it is and what it serves.
#[derive(Resource, Debug, Clone, Default, Deserialize)]
#[resource(inherit = "v1::Pod")]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    containers: Vec<Container>,
}

/// A program in a Pod, and what it is started with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    name: String,
    image: String,
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) command: Vec<String>,
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) args: Vec<String>,
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) env: Vec<Variable>,
}

/// A variable in its environment; one without a value takes it from elsewhere, or is empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

fn null_as_none<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What part of MetalLB a Pod is. Others, such as frr-k8s or the webhooks of its operator, serve no Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Controller,
    Speaker,
}

impl Pod {
    /// What part of MetalLB this is, if it runs and serves `class`. One that waits for its start may never have one,
    /// such as a speaker whose port is ours.
    pub(crate) fn serves(&self, class: Option<&str>) -> Option<Part> {
        if self.is_ferrolbs() || !self.is_metallbs() || self.status.phase != "Running" {
            return None;
        }
        let part = self.part()?;
        self.programs(part).any(|container| Class::of(container).can_be(class)).then_some(part)
    }

    /// By what no value of our chart changes: the labels that its selectors name, and how its programs are started. Other
    /// labels are free to be MetalLB's.
    fn is_ferrolbs(&self) -> bool {
        let started_as_ours = |container: &Container| {
            let role = container.args.first().is_some_and(|role| role == "controller" || role == "speaker");
            let settings = || container.env.iter().any(|variable| variable.name.starts_with("FERROLB_"));
            repository(&container.image).contains("ferrolb") || (role && settings())
        };
        self.label(NAME) == Some("ferrolb") || self.spec.containers.iter().any(started_as_ours)
    }

    /// By a name that is in its labels as they come, in its image, or in its environment, whatever its chart's
    /// `nameOverride` and a mirror of its images change.
    fn is_metallbs(&self) -> bool {
        let started_as_metallbs = |container: &Container| {
            container.image.contains("metallb")
                || container.env.iter().any(|variable| variable.name.starts_with("METALLB_"))
        };
        self.label(NAME) == Some("metallb")
            || self.label("app") == Some("metallb")
            || self.spec.containers.iter().any(started_as_metallbs)
    }

    fn part(&self) -> Option<Part> {
        match COMPONENT.into_iter().find_map(|label| self.label(label)) {
            Some("controller") => Some(Part::Controller),
            Some("speaker") => Some(Part::Speaker),
            Some(_) => None,
            None => [Part::Controller, Part::Speaker].into_iter().find(|part| self.named(*part).is_some()),
        }
    }

    /// The containers that serve: that of the part's name, or all if none is called so. What runs beside it does not
    /// count, such as FRR or a proxy for the metrics.
    fn programs(&self, part: Part) -> impl Iterator<Item = &Container> {
        let named = self.named(part);
        let all = if named.is_none() { &self.spec.containers[..] } else { &[] };
        named.into_iter().chain(all)
    }

    fn named(&self, part: Part) -> Option<&Container> {
        let name = match part {
            Part::Controller => "controller",
            Part::Speaker => "speaker",
        };
        self.spec.containers.iter().find(|container| container.name.trim_start_matches("metallb-") == name)
    }

    fn label(&self, key: &str) -> Option<&str> {
        let labels: &BTreeMap<String, String> = self.metadata.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    }
}

/// The last part of an image's name, without tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    name.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn part(labels: Value, containers: Value, class: Option<&str>) -> Option<Part> {
        let pod = json!({
            "metadata": {"name": "it", "labels": labels},
            "spec": {"containers": containers},
            "status": {"phase": "Running"},
        });
        serde_json::from_value::<Pod>(pod).unwrap().serves(class)
    }

    fn charts(component: &str) -> Value {
        json!({"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": component})
    }

    #[test]
    fn metallbs_pods_are_known_by_the_labels_of_its_chart_and_of_its_manifests() {
        let speaker = json!([{"name": "speaker", "args": ["--port=7472"]}]);
        assert_eq!(part(charts("speaker"), speaker.clone(), None), Some(Part::Speaker));
        let manifests = json!({"app": "metallb", "component": "controller"});
        assert_eq!(part(manifests, json!([{"name": "controller"}]), None), Some(Part::Controller));
        assert_eq!(part(json!({"app": "metallb"}), speaker, None), Some(Part::Speaker));
    }

    #[test]
    fn metallb_under_another_name_is_known_by_its_image_or_its_environment() {
        let labels = json!({"app.kubernetes.io/name": "lb", "app.kubernetes.io/component": "controller"});
        let image = json!([{"name": "controller", "image": "registry.example:5000/mirrored-metallb-controller:v0.15"}]);
        assert_eq!(part(labels.clone(), image, None), Some(Part::Controller));
        let environment = json!([{"name": "controller", "image": "registry.example/lb", "env": [{"name": "METALLB_DEPLOYMENT"}]}]);
        assert_eq!(part(labels.clone(), environment, None), Some(Part::Controller));
        // A controller of something else.
        assert_eq!(
            part(labels, json!([{"name": "controller", "image": "registry.example/ingress"}]), None),
            None
        );
    }

    #[test]
    fn our_own_pods_are_not_metallbs_whatever_labels_a_user_gives_them() {
        let ours = json!([{"name": "speaker", "image": "registry.example/mirror/lb:v1",
            "args": ["speaker", "--log-level=info"], "env": [{"name": "FERROLB_NAMESPACE"}]}]);
        let labels = json!({"app.kubernetes.io/name": "ferrolb", "app.kubernetes.io/component": "speaker",
            "app": "metallb", "component": "speaker"});
        assert_eq!(part(labels, ours.clone(), None), None);
        // Labels that a tool puts over ours.
        assert_eq!(part(charts("speaker"), ours, None), None);
        let image =
            json!([{"name": "speaker", "image": "registry.example:5000/metallb/ferrolb:v1@sha256:00"}]);
        assert_eq!(part(charts("speaker"), image, None), None);
    }

    #[test]
    fn other_parts_of_metallb_serve_no_services() {
        for component in ["frr-k8s", "webhook-server", "statuscleaner", "test"] {
            assert_eq!(part(charts(component), json!([{"name": "speaker"}]), None), None, "{component}");
        }
        assert_eq!(part(json!({"app": "metallb"}), json!([{"name": "frr"}]), None), None);
    }

    #[test]
    fn what_runs_beside_metallb_does_not_tell_its_class() {
        let containers = json!([
            {"name": "frr", "args": ["--lb-class=y"]},
            {"name": "metallb-speaker", "args": ["--lb-class", "x"]},
            {"name": "kube-rbac-proxy", "args": ["--port=9120"]},
        ]);
        assert_eq!(part(charts("speaker"), containers.clone(), Some("x")), Some(Part::Speaker));
        assert_eq!(part(charts("speaker"), containers.clone(), Some("y")), None);
        assert_eq!(part(charts("speaker"), containers, None), None);
    }

    #[test]
    fn what_does_not_run_serves_nobody() {
        for phase in ["Pending", "Failed", "Succeeded", ""] {
            let pod = json!({"metadata": {"labels": charts("speaker")}, "spec": {"containers": [{"name": "speaker"}]},
                "status": {"phase": phase}});
            assert_eq!(serde_json::from_value::<Pod>(pod).unwrap().serves(None), None, "{phase}");
        }
    }
}
