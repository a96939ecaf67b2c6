//! Labels and annotations, whatever the chart's version, the release and the values are.

use std::fs;
use std::path::{Path, PathBuf};

use chart::{Helm, folder};
use regex::Regex;
use serde_json::{Value, json};

use crate::rendering::objects;

/// A copy of the chart in a folder, to be changed.
pub(crate) fn copy_of_the_chart(into: &Path) -> PathBuf {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let target = into.join("chart");
    copy(&folder(), &target);
    target
}

/// A copy of the chart with this version, and with this line for the version of the program.
fn versioned(into: &Path, version: &str, app_version: &str) -> PathBuf {
    let chart = copy_of_the_chart(into);
    let file = chart.join("Chart.yaml");
    let lines = fs::read_to_string(&file).unwrap();
    let of_a_version = |line: &&str| line.starts_with("version:") || line.starts_with("appVersion:");
    let others: Vec<&str> = lines.lines().filter(|line| !of_a_version(line)).collect();
    fs::write(&file, format!("{}\nversion: {version}\n{app_version}\n", others.join("\n"))).unwrap();
    chart
}

/// Each label of an object, of its Pods and of what selects them.
fn labels(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if ["labels", "matchLabels"].contains(&key.as_str()) {
                    let labels = value.as_object().into_iter().flatten();
                    found.extend(
                        labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))),
                    );
                }
                labels(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| labels(item, found)),
        _ => {}
    }
}

#[test]
fn labels_are_valid_for_any_version_and_release() {
    let (helm, temporary) = (Helm::find().unwrap(), tempfile::tempdir().unwrap());
    let valid = Regex::new("^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$").unwrap();
    let image = Regex::new(r#"image: "[a-z./]+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}""#).unwrap();
    let long = format!("1.0.0-{}", "pre-release.".repeat(6) + "1");
    let dashes = format!("1.0.0-{}", "a-".repeat(40) + "a");
    let everything = folder().join("ci/everything-values.yaml");
    let values = format!("--values={}", everything.display());
    for (number, (version, app_version)) in [
        (long.as_str(), "appVersion: 1.20"),
        (&dashes, "appVersion: \"1.20\""),
        ("0.2.0+298d1ee42908", "appVersion: v0.2.0+298d1ee42908"),
        (
            "0.0.0-a0123456789abcdef0123456789abcdef01234567",
            "appVersion: 0123456789abcdef0123456789abcdef01234567",
        ),
        ("1.0.0-rc.1+build.7", "appVersion: 1e5"),
        ("1.0.0", "appVersion: 'v1.0.0 (main)_'"),
        ("1.0.0", "appVersion: true"),
        ("1.0.0", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let chart = versioned(&temporary.path().join(number.to_string()), version, app_version);
        let release = "r".repeat(53);
        // The schemas of custom resources have labels too.
        let objects = "--set=crds.enabled=false";
        for (release, values) in [
            ("ferrolb", &[objects][..]),
            ("123", &[objects]),
            ("true", &[objects]),
            ("a.b", &[objects]),
            (&release, &[objects]),
            ("1e5", &[objects, &values, "--namespace=1e5"]),
        ] {
            let manifests = helm.template_of(release, &chart, values).unwrap();
            for object in chart::objects(&manifests).unwrap() {
                let mut found = Vec::new();
                labels(&object, &mut found);
                for (key, value) in found {
                    assert!(valid.is_match(&value), "{version}, {app_version}: {key}: {value}");
                }
            }
            assert!(image.is_match(&manifests), "{version}, {app_version}");
        }
    }
}

/// Every key that the chart sets itself.
fn labels_of_the_chart() -> Value {
    json!({
        "app.kubernetes.io/name": "x", "app.kubernetes.io/component": "x", "app.kubernetes.io/instance": "x",
        "app.kubernetes.io/version": 1.20, "app.kubernetes.io/managed-by": "x", "helm.sh/chart": true, "team": 12_345_678,
    })
}

#[test]
fn what_the_chart_sets_too_is_there_once() {
    let annotations =
        json!({"prometheus.io/scrape": false, "prometheus.io/port": 9999, "example.com/a": "b"});
    let labels = labels_of_the_chart();
    let part = json!({"labels": labels, "podAnnotations": annotations, "serviceAccount": {"annotations": annotations}});
    let monitor = json!({"additionalLabels": labels, "annotations": annotations});
    let with = |mut value: Value, more: Value| {
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    let monitors = [
        json!({"serviceMonitor": {"enabled": true, "speaker": monitor, "controller": monitor}}),
        json!({"podMonitor": with(monitor, json!({"enabled": true}))}),
    ];
    let (helm, folder) = (Helm::find().unwrap(), tempfile::tempdir().unwrap());
    for monitor in monitors {
        let prometheus = with(
            monitor,
            json!({
                "scrapeAnnotations": true,
                "prometheusRule": {"enabled": true, "additionalLabels": labels, "annotations": annotations},
                "grafanaDashboard": {"enabled": true, "labels": labels, "annotations": annotations},
            }),
        );
        let values = json!({"controller": part, "speaker": part, "prometheus": prometheus});
        let file = folder.path().join("values.yaml");
        fs::write(&file, values.to_string()).unwrap();
        let argument = format!("--values={}", file.display());
        let all = chart::objects(&helm.template([&argument]).unwrap()).unwrap();
        for object in all.iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
            let metadata = &object["metadata"];
            assert_eq!(metadata["labels"]["app.kubernetes.io/name"], "ferrolb", "{metadata}");
            assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "Helm", "{metadata}");
        }
        for (kind, component) in [("Deployment", "controller"), ("DaemonSet", "speaker")] {
            let object = objects(&helm, &[&argument], kind).remove(0);
            let template = &object["spec"]["template"]["metadata"];
            for (label, value) in object["spec"]["selector"]["matchLabels"].as_object().unwrap() {
                assert_eq!(template["labels"][label], *value, "{kind}");
            }
            assert_eq!(template["labels"]["app.kubernetes.io/component"], component);
            assert_eq!(template["labels"]["team"], "12345678");
            assert_eq!(template["annotations"]["prometheus.io/scrape"], "false", "the user's counts");
            assert_eq!(template["annotations"]["prometheus.io/port"], "9999");
        }
    }
    let defaults = objects(&helm, &["--set=prometheus.scrapeAnnotations=true"], "DaemonSet").remove(0);
    let expected = json!({
        "prometheus.io/scrape": "true", "prometheus.io/port": "9120", "prometheus.io/scheme": "https",
    });
    assert_eq!(defaults["spec"]["template"]["metadata"]["annotations"], expected);
}
