//! Values without a value: null, as Helm reads a section of which all but the head is commented out, is the default.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use chart::{Helm, documents, folder};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::labels::copy_of_the_chart;

/// Parts of the chart that are off by default, so that every value is looked at.
fn everything_on() -> Value {
    json!({
        "prometheus": {
            "scrapeAnnotations": true,
            "podMonitor": {"enabled": true},
            "prometheusRule": {"enabled": true},
            "grafanaDashboard": {"enabled": true},
        },
        "admissionPolicy": {"enabled": true},
        "networkpolicies": {"enabled": true, "defaultDeny": true},
        "controller": {"recoverEndpoints": true},
    })
}

fn defaults() -> Value {
    documents(&fs::read_to_string(folder().join("values.yaml")).unwrap()).unwrap().remove(0)
}

/// The paths of all values and sections.
fn paths(values: &Value) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (key, value) in values.as_object().into_iter().flatten() {
        all.push(vec![key.clone()]);
        all.extend(paths(value).into_iter().map(|below| [vec![key.clone()], below].concat()));
    }
    all
}

/// A map with null at this path.
fn null_at(path: &[String]) -> Value {
    path.iter().rev().fold(Value::Null, |value, key| {
        let mut map = Map::new();
        map.insert(key.clone(), value);
        Value::Object(map)
    })
}

/// Whether a path leads to something that `values` set, so that null there takes it back.
fn is_set(path: &[String], values: &Value) -> bool {
    path.iter().try_fold(values, |value, key| value.get(key)).is_some()
}

fn file(folder: &Path, name: &str, values: &Value) -> String {
    let path = folder.join(name);
    fs::write(&path, values.to_string()).unwrap();
    format!("--values={}", path.display())
}

/// What comes of several files, the last of which counts.
fn rendered(helm: &Helm, folder: &TempDir, name: &str, files: &[Value]) -> String {
    let files = files.iter().enumerate();
    let files: Vec<_> =
        files.map(|(at, values)| file(folder.path(), &format!("{name}-{at}.yaml"), values)).collect();
    helm.template(files).unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

#[test]
fn null_at_any_key_or_section_is_its_default() {
    let (helm, folder) = (Helm::find().unwrap(), tempfile::tempdir().unwrap());
    let expected = rendered(&helm, &folder, "on", &[everything_on()]);
    let on = everything_on();
    let left =
        Mutex::new(paths(&defaults()).into_iter().filter(|path| !is_set(path, &on)).collect::<Vec<_>>());
    assert!(left.lock().unwrap().len() > 180);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(path) = { left.lock().unwrap().pop() } {
                    let name = path.join(".");
                    let with_null = rendered(&helm, &folder, &name, &[everything_on(), null_at(&path)]);
                    assert_eq!(with_null, expected, "{name}: null differs from the default");
                }
            });
        }
    });
}

/// The same values with null in place of whatever is at this depth.
fn null_below(values: &Value, depth: usize) -> Value {
    match values {
        Value::Object(fields) if depth > 0 => {
            fields.iter().map(|(key, value)| (key.clone(), null_below(value, depth - 1))).collect()
        }
        _ => Value::Null,
    }
}

#[test]
fn a_file_with_nothing_but_heads_is_the_default() {
    let folder = tempfile::tempdir().unwrap();
    for helm in [Helm::find().unwrap(), Helm::find_3().unwrap()] {
        let expected = rendered(&helm, &folder, "default", &[]);
        for depth in 1..=6 {
            let heads = null_below(&defaults(), depth);
            assert_eq!(rendered(&helm, &folder, &format!("depth-{depth}"), &[heads]), expected, "{depth}");
        }
    }
}

#[test]
fn values_that_an_older_chart_did_not_have_are_the_default() {
    // As with `helm upgrade --reuse-values`, where the new chart's own values are not read.
    let folder = tempfile::tempdir().unwrap();
    let chart = copy_of_the_chart(folder.path());
    fs::write(chart.join("values.yaml"), "{}\n").unwrap();
    for helm in [Helm::find().unwrap(), Helm::find_3().unwrap()] {
        for values in [&[][..], &["--set=controller.replicas=3"]] {
            let [complete, lacking] = [chart::folder(), chart.clone()]
                .map(|chart| helm.template_of(chart::RELEASE, &chart, values).unwrap());
            assert_eq!(lacking, complete, "{values:?}");
        }
    }
}

#[test]
fn null_takes_nothing_from_what_is_set_beside_it() {
    let (helm, folder) = (Helm::find().unwrap(), tempfile::tempdir().unwrap());
    // A section without a value, and then values in it; and the other way round.
    for path in paths(&defaults()).into_iter().filter(|path| path.len() == 1) {
        let (heads, below) = (null_at(&path), null_below(&defaults()[&path[0]], 2));
        let mut section = Map::new();
        section.insert(path[0].clone(), below);
        let name = &path[0];
        let expected = rendered(&helm, &folder, "default", &[]);
        for files in [[heads.clone(), Value::Object(section.clone())], [Value::Object(section), heads]] {
            assert_eq!(rendered(&helm, &folder, name, &files), expected, "{name}");
        }
    }
    let some = json!({"controller": {"replicas": 3, "resources": {"limits": {"memory": "128Mi"}}}});
    let with_nulls = json!({"controller": {
        "replicas": 3, "resources": {"requests": null, "limits": {"cpu": null, "memory": "128Mi"}},
        "podAnnotations": {"example.com/a": null}, "tolerations": [null], "affinity": {"podAffinity": null},
        "extraContainers": null,
    }});
    let [some, with_nulls] = [("some", some), ("with-nulls", with_nulls)]
        .map(|(name, values)| rendered(&helm, &folder, name, &[values]));
    assert_eq!(with_nulls, some);
}
