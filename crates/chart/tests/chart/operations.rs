//! Alerts and the dashboard, beside the metrics that the programs have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use chart::{Helm, folder};
use images::debian::Packages;
use prometheus_client::registry::Registry;
use regex::Regex;
use serde_json::Value;

use crate::rendering::objects;

const ALL_ALERTS: &str = "--set=prometheus.prometheusRule.enabled=true";

/// The names under which the programs register metrics.
pub(crate) fn registered() -> BTreeSet<String> {
    let mut registry = Registry::default();
    controller::Metrics::new(&mut registry);
    speaker::Metrics::default().register(&mut registry);
    speaker::bgp::BgpMetrics::default().register(&mut registry);
    speaker::mdns::MdnsMetrics::default().register(&mut registry);
    gossip::Metrics::default().register(&mut registry);
    // Metrics without a sample yet are in no scrape. That they are registered shows in this form only.
    let text = format!("{registry:?}");
    let item = Regex::new(
        r#"Registry \{ prefix: (?:None|Some\(Prefix\("([^"]*)"\)\))|(?:Descriptor|Column) \{ name: "([^"]*)""#,
    )
    .unwrap();
    let mut prefix = "";
    let mut names = BTreeSet::new();
    for found in item.captures_iter(&text) {
        match found.get(2) {
            None => prefix = found.get(1).map_or("", |prefix| prefix.as_str()),
            Some(name) => _ = names.insert(format!("{prefix}_{}", name.as_str())),
        }
    }
    names
}

/// Whether one of the metrics has samples of this name.
pub(crate) fn exists(sample: &str, metrics: &BTreeSet<String>) -> bool {
    let suffixes = ["_total", "_bucket", "_sum", "_count"];
    metrics.contains(sample)
        || suffixes
            .iter()
            .any(|suffix| sample.strip_suffix(suffix).is_some_and(|name| metrics.contains(name)))
}

/// The names of our samples in some expressions.
fn named(expressions: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:metallb|ferrolb)_[a-z0-9_]+").unwrap();
    name.find_iter(expressions).map(|name| name.as_str().to_owned()).collect()
}

fn rules(helm: &Helm) -> Value {
    objects(helm, &[ALL_ALERTS], "PrometheusRule").remove(0)["spec"].take()
}

fn expressions(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value.as_str() {
                Some(text) if key == "expr" => text.to_owned() + "\n",
                _ => expressions(value),
            })
            .collect(),
        Value::Array(items) => items.iter().map(expressions).collect(),
        _ => String::new(),
    }
}

#[test]
fn every_metric_that_alerts_and_the_dashboard_name_is_one_of_the_programs() {
    let dashboard = fs::read_to_string(folder().join("files/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let metrics = registered();
    assert!(metrics.contains("metallb_allocator_addresses_total"), "{metrics:?}");
    for source in [rules(&Helm::find().unwrap()), dashboard] {
        let named = named(&expressions(&source));
        assert!(named.len() > 5, "{named:?}");
        let unknown: Vec<_> = named.iter().filter(|name| !exists(name, &metrics)).collect();
        assert!(unknown.is_empty(), "no program has {unknown:?}; there are {metrics:?}");
    }
}

#[test]
fn metallbs_alerts_keep_their_names() {
    let rules = rules(&Helm::find().unwrap());
    let alerts: Vec<&str> = rules["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|rule| rule["alert"].as_str())
        .collect();
    for alert in [
        "BFDSessionDown",
        "BGPSessionDown",
        "StaleConfig",
        "ConfigNotLoaded",
        "AddressPoolExhausted",
        "AddressPoolUsage75Percent",
        "AddressPoolUsage85Percent",
        "AddressPoolUsage95Percent",
    ] {
        assert!(alerts.contains(&format!("MetalLB{alert}").as_str()), "{alert} is not in {alerts:?}");
    }
}

#[test]
fn each_alert_can_be_turned_off() {
    let helm = Helm::find().unwrap();
    let values = chart::values::documented().unwrap();
    let switches = values.iter().map(|entry| entry.path.as_str()).filter(|path| {
        path.starts_with("prometheus.prometheusRule.")
            && path.matches('.').count() == 3
            && path.ends_with(".enabled")
    });
    let mut arguments = vec![ALL_ALERTS.to_owned()];
    arguments.extend(switches.map(|path| format!("--set={path}=false")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rules = objects(&helm, &arguments, "PrometheusRule").remove(0);
    assert_eq!(expressions(&rules), "");
}

/// That on PATH, or the one of Debian's package prometheus, which is unpacked only: installed, it would run a server.
fn promtool() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).map(|dir| dir.join("promtool")).find(|file| file.is_file()) {
        return found;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promtool");
    if !place.is_file() {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let packages = Packages::fetch(&["prometheus"], folder.path()).unwrap();
        fs::rename(packages.path("/usr/bin/promtool"), &place).unwrap();
    }
    place
}

#[test]
fn promtool_finds_no_fault_in_the_rules_and_they_fire_when_they_should() {
    let dir = tempfile::tempdir().unwrap();
    let rules = rules(&Helm::find().unwrap());
    fs::write(dir.path().join("rules.yaml"), rules.to_string()).unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/alerts.yaml"), dir.path().join("alerts.yaml"))
        .unwrap();
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "alerts.yaml"]] {
        let output = Command::new(promtool()).args(arguments).current_dir(dir.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "promtool {}:\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&said)
        );
    }
}

#[test]
fn the_dashboard_is_shipped_as_it_is() {
    let enabled = "--set=prometheus.grafanaDashboard.enabled=true";
    let map = objects(&Helm::find().unwrap(), &[enabled], "ConfigMap").remove(0);
    let file = fs::read_to_string(folder().join("files/dashboard.json")).unwrap();
    assert_eq!(map["data"]["ferrolb.json"].as_str().unwrap().trim(), file.trim());
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
}
