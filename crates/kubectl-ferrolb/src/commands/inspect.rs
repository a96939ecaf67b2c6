//! `kubectl ferrolb inspect`: a bundle for a bug report, without secrets.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DynamicObject, ListParams, LogParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::ask::{self, Told};
use crate::client::{Failure, Why};
use crate::cluster::Cluster;
use crate::output::Page;
use crate::programs::{LABELS, Part, Program};
use crate::surroundings;

/// So many lines of each log.
const LINES: i64 = 500;
/// What is taken out wherever it is: values that may be secret, and what is large and says nothing.
const HIDDEN: [&str; 3] = ["password", "managedFields", "kubectl.kubernetes.io/last-applied-configuration"];

/// Collects what a bug report needs. What cannot be had is named in the bundle.
pub(crate) async fn run(cluster: &Cluster, filename: &Path) -> anyhow::Result<Answer> {
    let mut bundle = Map::new();
    let mut missing = Vec::new();
    bundle.insert("takenAt".to_owned(), jiff::Timestamp::now().to_string().into());
    bundle.insert("client".to_owned(), env!("CARGO_PKG_VERSION").into());
    bundle.insert("namespace".to_owned(), cluster.system.clone().into());
    let version = cluster.client.apiserver_version().await;
    let version =
        version.map_or_else(|error| format!("cannot be had: {}", Why::of(&error)), |it| it.git_version);
    bundle.insert("kubernetes".to_owned(), version.into());

    let told = [cluster.ask(Part::Controller).await, cluster.ask(Part::Speaker).await].concat();
    let statuses = told.iter().map(|Told { program, document }| {
        let value = match document {
            Ok(document) => serde_json::to_value(document).unwrap_or_default(),
            Err(why) => json!({"cannotBeAsked": why.to_string()}),
        };
        (program.pod.clone(), value)
    });
    bundle.insert("status".to_owned(), Value::Object(statuses.collect()));
    missing.extend(ask::failures(&told));

    for Kind { resource, place } in kinds() {
        let namespace = match place {
            Place::System => Some(cluster.system.as_str()),
            Place::Everywhere => None,
        };
        let objects = list(cluster, &resource, namespace).await;
        insert(&mut bundle, &resource.kind, objects, &mut missing);
    }
    let events = cluster.all::<Event>().await.map(|events| {
        let ours = |event: &Event| {
            let by = event.source.as_ref().and_then(|source| source.component.as_deref()).unwrap_or_default();
            by.starts_with("metallb-") || event.namespace().as_ref() == Some(&cluster.system)
        };
        events.into_iter().filter(ours).collect()
    });
    insert(&mut bundle, "Event", values(events), &mut missing);
    let pods = crate::client::list::<Pod>(&cluster.client, Some(&cluster.system), Some(LABELS)).await;
    insert(&mut bundle, "Pod", values(pods), &mut missing);

    bundle.insert("beside".to_owned(), json!(surroundings::found(cluster).await));

    let mut logs = Map::new();
    for Told { program, .. } in &told {
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &program.namespace);
        let parameters = LogParams { tail_lines: Some(LINES), ..LogParams::default() };
        match api.logs(&program.pod, &parameters).await {
            Ok(log) => _ = logs.insert(program.pod.clone(), log.lines().collect::<Vec<_>>().into()),
            Err(error) => {
                let why = match Why::of(&error) {
                    Why::Forbidden => failure("get", "pods/log".to_owned(), Some(&program.namespace), &error),
                    why => why.to_string(),
                };
                let Program { namespace, pod, .. } = program;
                missing.push(format!("the log of Pod {namespace}/{pod} cannot be had: {why}"));
            }
        }
    }
    bundle.insert("logs".to_owned(), Value::Object(logs));
    bundle.insert("missing".to_owned(), json!(missing));
    let mut bundle = Value::Object(bundle);
    hide(&mut bundle);

    let text = serde_json::to_string_pretty(&bundle)?;
    let mut page = Page::default();
    if filename == Path::new("-") {
        std::io::stdout().write_all(text.as_bytes()).context("writing")?;
    } else {
        std::fs::write(filename, &text).with_context(|| format!("writing {}", filename.display()))?;
        let size = text.len() / 1024;
        page.line(format!(
            "{} written, {size} KiB. It has no Secrets; look through it for names that you would rather not tell.",
            filename.display()
        ));
    }
    let summary = json!({"file": filename.display().to_string(), "missing": missing});
    Ok(Answer::object("Bundle", &summary, page).not_seen(missing))
}

/// A kind whose objects are collected.
struct Kind {
    resource: ApiResource,
    place: Place,
}

/// Where its objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the namespace that FerroLB is in.
    System,
    Everywhere,
}

/// All kinds of FerroLB, and those of Kubernetes that decisions are made from. Secrets are none of them.
fn kinds() -> Vec<Kind> {
    let of = |group: &str, version: &str, kind: &str, plural: &str, place| {
        let gvk = GroupVersionKind::gvk(group, version, kind);
        Kind { resource: ApiResource::from_gvk_with_plural(&gvk, plural), place }
    };
    let own = api::crds().into_iter().filter_map(|crd| {
        let version = crd.spec.versions.iter().find(|version| version.storage)?;
        let names = &crd.spec.names;
        let place = if names.kind == "AddressReservation" { Place::Everywhere } else { Place::System };
        Some(of(&crd.spec.group, &version.name, &names.kind, &names.plural, place))
    });
    let beside = [
        of("", "v1", "Service", "services", Place::Everywhere),
        of("", "v1", "Node", "nodes", Place::Everywhere),
        of("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", Place::Everywhere),
    ];
    own.chain(beside).collect()
}

/// Objects as they are; none of a kind that the API server does not have.
async fn list(
    cluster: &Cluster,
    resource: &ApiResource,
    namespace: Option<&str>,
) -> Result<Vec<Value>, String> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, resource),
        None => Api::all_with(cluster.client.clone(), resource),
    };
    let objects = match api.list(&ListParams::default()).await {
        Ok(objects) => objects,
        Err(error) if Why::of(&error) == Why::NotFound => return Ok(vec![]),
        Err(error) => {
            return Err(failure("list", named(&resource.plural, &resource.group), namespace, &error));
        }
    };
    Ok(objects.items.iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
}

/// A kind, as `kubectl` takes it.
fn named(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

fn failure(verb: &'static str, resource: String, namespace: Option<&str>, error: &kube::Error) -> String {
    let namespace = namespace.map(str::to_owned);
    Failure { verb, resource, namespace, why: Why::of(error) }.to_string()
}

fn values<K: serde::Serialize>(list: Result<Vec<K>, Failure>) -> Result<Vec<Value>, String> {
    let list = list.map_err(|failure| failure.to_string())?;
    Ok(list.iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
}

fn insert(
    bundle: &mut Map<String, Value>,
    kind: &str,
    objects: Result<Vec<Value>, String>,
    missing: &mut Vec<String>,
) {
    match objects {
        Ok(objects) => _ = bundle.insert(kind.to_owned(), Value::Array(objects)),
        Err(why) => missing.push(why),
    }
}

/// Takes out what nobody else should read.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in HIDDEN {
                if let Some(value) = fields.get_mut(name) {
                    *value = "(left out)".into();
                }
            }
            fields.values_mut().for_each(hide);
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_ferrolb_is_collected_and_no_secret() {
        let collected: Vec<String> = kinds().into_iter().map(|it| it.resource.kind).collect();
        for crd in api::crds() {
            assert!(collected.contains(&crd.spec.names.kind), "{}", crd.spec.names.kind);
        }
        assert!(!collected.contains(&"Secret".to_owned()));
        let peer = kinds().into_iter().find(|it| it.resource.kind == "BGPPeer").unwrap();
        assert_eq!(peer.resource.api_version, "metallb.io/v1beta2");
    }

    #[test]
    fn passwords_and_copies_of_objects_are_left_out_at_every_depth() {
        let mut value = json!({"a": [{"spec": {"password": "p", "peer": 1}}],
            "metadata": {"managedFields": [1], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "p"}}});
        hide(&mut value);
        let text = value.to_string();
        assert!(!text.contains("\"p\"") && !text.contains("[1]") && text.contains("\"peer\":1"), "{text}");
    }
}
