//! Names of objects, whatever the release and the values are called.

use std::collections::BTreeSet;

use chart::{Helm, folder};
use regex::Regex;
use serde_json::Value;

/// All kinds that have their names from the release.
const ALL: [&str; 4] = [
    "--set=prometheus.serviceMonitor.enabled=true,prometheus.prometheusRule.enabled=true",
    "--set=prometheus.grafanaDashboard.enabled=true",
    "--set=networkpolicies.enabled=true,networkpolicies.defaultDeny=true",
    "--set=crds.enabled=false",
];

fn names(chart: &std::path::Path, release: &str, values: &[&str]) -> BTreeSet<(String, String)> {
    let manifests = Helm::find().unwrap().template_of(release, chart, values).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let objects = chart::documents(&manifests).unwrap().into_iter();
    objects.map(|object| (text(&object["kind"]), text(&object["metadata"]["name"]))).collect()
}

#[test]
fn names_are_valid_for_every_kind_whatever_the_release_is_called() {
    let long = "r".repeat(53);
    let override_ = |key: &str, value: &str| format!("--set-string={key}={value}");
    let dashes = override_("fullnameOverride", &("a".repeat(41) + &"-".repeat(20) + "b"));
    let valid = Regex::new("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$").unwrap();
    for (release, value) in [
        ("ferrolb", ""),
        ("123", ""),
        ("null", ""),
        ("a.b.c", ""),
        (&long, ""),
        ("x", &dashes),
        ("x", &override_("fullnameOverride", &"very-long-name-".repeat(10))),
        ("x", &override_("fullnameOverride", "1e5")),
        ("x", &override_("fullnameOverride", "My_LB.example")),
        ("x", &override_("nameOverride", &"very-long-name-".repeat(10))),
        ("x", &override_("nameOverride", "---")),
    ] {
        let values: Vec<&str> = ALL.into_iter().chain((!value.is_empty()).then_some(value)).collect();
        let names = names(&folder(), release, &values);
        assert!(names.len() > 15, "{names:?}");
        for (kind, name) in names {
            assert!(valid.is_match(&name), "{release} {value}: {kind} {name}");
        }
    }
    assert!(
        names(&folder(), "ferrolb", &[]).contains(&("DaemonSet".to_owned(), "ferrolb-speaker".to_owned()))
    );
}

#[test]
fn nothing_is_called_as_an_object_of_metallb_whatever_its_values_file_says() {
    let metallb = lab::metallb::chart().unwrap();
    let namespace = "--namespace=metallb-system";
    for (release, value) in [
        ("metallb", ""),
        ("metallb", "--set=fullnameOverride=metallb"),
        ("ferrolb", "--set=fullnameOverride=metallb"),
        ("metallb", "--set=nameOverride=metallb"),
        ("lb", "--set=nameOverride=lb"),
        ("metallb", "--set=fullnameOverride=lb"),
    ] {
        let values: Vec<&str> = [namespace].into_iter().chain((!value.is_empty()).then_some(value)).collect();
        let theirs = names(&metallb, release, &values);
        let ours = names(&folder(), release, &[&values[..], &["--set=crds.enabled=false"]].concat());
        let both: Vec<_> = ours.intersection(&theirs).collect();
        assert!(both.is_empty() && !ours.is_empty(), "{release} {value}: {both:?}");
    }
}
