//! FerroLB in more than one namespace: what that means for the Services of one of them.

use std::collections::BTreeMap;

use introspection::Elder;
use k8s_openapi::api::core::v1::Pod;

use crate::programs::{Part, Program};

/// FerroLB in another namespace than the one that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Another {
    pub(crate) namespace: String,
    /// The class of Services that it serves; `None` is that of Services that name none.
    class: Option<String>,
}

impl Another {
    /// Those in other namespaces, by their Pods of all namespaces. Pods that are being deleted are those of an installation
    /// that goes.
    pub(crate) fn beside(system: &str, pods: &[Pod]) -> Vec<Self> {
        let stay = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let mut programs: Vec<Program> = stay.filter_map(Program::read).collect();
        // What a controller serves counts: it is the one that writes.
        programs.sort_by_key(|program| program.part != Part::Controller);
        let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
        for program in programs.into_iter().filter(|it| it.namespace != system) {
            found.entry(program.namespace).or_insert(program.class);
        }
        found.into_iter().map(|(namespace, class)| Self { namespace, class }).collect()
    }

    /// What is the matter, and what to do, where it is to serve the same Services as the one in the namespace `system`, which
    /// serves this class, and neither waits for the other as far as can be seen.
    pub(crate) fn conflict(&self, system: &str, class: Option<&str>) -> Option<(String, String)> {
        (self.class.as_deref() == class).then(|| {
            let Self { namespace, .. } = self;
            let which = which(class);
            (
                format!(
                    "it runs in namespace {system} and in namespace {namespace}, and both are to serve Services {which}: the one that was installed first gives addresses, from the pools of its own namespace only, and the other waits"
                ),
                format!(
                    "uninstall one of the two, or give one a loadBalancerClass in the chart; what is told here is told of the one in {system} (--system-namespace {namespace} looks at the other)"
                ),
            )
        })
    }

    /// That there is one, where it does nobody harm.
    pub(crate) fn remark(&self) -> String {
        let class = self.class.as_ref().map_or_else(
            || "Services without a class".to_owned(),
            |class| format!("Services of class {class}"),
        );
        let Self { namespace, .. } = self;
        format!("FerroLB in namespace {namespace} serves {class}: --system-namespace {namespace} looks at it")
    }
}

/// What is the matter, and what to do, where the controllers in the namespace `system` wait for this one.
pub(crate) fn waits(system: &str, class: Option<&str>, elder: &Elder) -> (String, String) {
    let Elder { namespace, lease, runs } = elder;
    let which = which(class);
    if *runs {
        return (
            format!(
                "the controllers in namespace {system} give no addresses: Services {which} are served from namespace {namespace}, by the FerroLB that was installed first"
            ),
            format!(
                "uninstall one of the two, or give one a loadBalancerClass in the chart; --system-namespace {namespace} looks at the one that serves"
            ),
        );
    }
    (
        format!(
            "the controllers in namespace {system} give no addresses: Services {which} are those of the FerroLB in namespace {namespace}, which was installed first and does not run at the moment"
        ),
        format!(
            "start that one again, or uninstall it; where nothing is left of it but its Lease: kubectl delete lease -n {namespace} {lease}"
        ),
    )
}

fn which(class: Option<&str>) -> String {
    class.map_or_else(|| "without a class".to_owned(), |class| format!("of class {class}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(namespace: &str, component: &str, arguments: Value, deleted: Value) -> Pod {
        let it = json!({
            "metadata": {
                "name": "p", "namespace": namespace, "deletionTimestamp": deleted,
                "labels": {"app.kubernetes.io/component": component},
            },
            "spec": {"containers": [{"name": component, "args": arguments}]},
        });
        serde_json::from_value(it).unwrap()
    }

    #[test]
    fn the_installation_of_another_namespace_is_a_conflict_where_it_serves_the_same_class() {
        let beside = |pods: &[Pod]| Another::beside("a", pods);
        let none = || json!(null);
        assert_eq!(beside(&[pod("a", "controller", json!([]), none())]), []);
        let gone = pod("b", "controller", json!([]), json!("2026-01-01T00:00:00Z"));
        assert_eq!(beside(&[gone]), [], "it is about to go");
        let [it] =
            &beside(&[pod("a", "speaker", json!([]), none()), pod("b", "controller", json!([]), none())])[..]
        else {
            panic!("one")
        };
        let (what, remedy) = it.conflict("a", None).unwrap();
        assert!(
            what.contains("in namespace a and in namespace b") && what.contains("without a class"),
            "{what}"
        );
        assert!(remedy.contains("--system-namespace b looks at the other"), "{remedy}");
        assert_eq!(it.conflict("a", Some("x")), None);
    }

    #[test]
    fn the_remedy_for_waiting_depends_on_whether_the_other_one_runs() {
        let elder = |runs| Elder { namespace: "b".to_owned(), lease: "l".to_owned(), runs };
        let (what, remedy) = waits("a", None, &elder(true));
        assert!(what.contains(
            "in namespace a give no addresses: Services without a class are served from namespace b"
        ));
        assert!(remedy.contains("--system-namespace b looks"), "{remedy}");
        let (what, remedy) = waits("a", Some("x"), &elder(false));
        assert!(what.contains("of class x") && what.contains("does not run"), "{what}");
        assert!(remedy.ends_with("kubectl delete lease -n b l"), "{remedy}");
    }

    #[test]
    fn the_class_is_that_of_the_controller() {
        let of_class = || json!(["--lb-class=x"]);
        let pods = [
            pod("b", "speaker", json!([]), json!(null)),
            pod("b", "controller", of_class(), json!(null)),
            pod("c", "speaker", of_class(), json!(null)),
        ];
        let found = Another::beside("a", &pods);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|it| it.conflict("a", None).is_none()));
        assert!(found.iter().all(|it| it.conflict("a", Some("x")).unwrap().0.contains("of class x")));
        assert!(found[0].remark().contains("namespace b serves Services of class x"), "{found:?}");
    }
}
