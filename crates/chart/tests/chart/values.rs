//! The values and their schema.

use std::collections::BTreeSet;
use std::fs;

use chart::{Helm, documents, folder, values};
use serde_json::{Value, json};

use crate::rendering::objects;

/// The image that the chart asks for unless it is told otherwise.
const OURS: &str = concat!("docker.io/ferrolb/ferrolb:v", env!("CARGO_PKG_VERSION"));

/// Values of MetalLB's chart that are accepted and mean nothing.
fn without_meaning() -> Vec<String> {
    let text = fs::read_to_string(folder().join("files/metallb-values.yaml")).unwrap();
    let list = documents(&text).unwrap().remove(0);
    list.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
}

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join("values.schema.json")).unwrap()).unwrap()
}

/// The paths of all properties that the schema names. What it refers to elsewhere is one value.
fn named(schema: &Value, path: &str, paths: &mut BTreeSet<String>) {
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        named(value, &path, paths);
        paths.insert(path);
    }
}

/// Whether `path` is below one of `others`.
fn is_below(path: &str, others: &BTreeSet<String>) -> bool {
    others.iter().any(|other| path.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('.')))
}

/// Where the values hold what an object says, whose definition describes it: the path, and the definition's file.
const OF_OBJECTS: [(&str, &str); 1] =
    [("controller.nodeAddressPools.defaultPool.spec", "ferrolb.io_nodeaddresspools.yaml")];

#[test]
fn what_the_values_say_of_an_object_is_what_its_definition_knows() {
    for (path, file) in OF_OBJECTS {
        let file = images::programs::workspace().join("crds").join(file);
        let definition = documents(&fs::read_to_string(file).unwrap()).unwrap().remove(0);
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let property = |schema: Value, key: &str| schema["properties"][key].clone();
        let ours = path.split('.').fold(schema(), property);
        let keys = |schema: &Value| -> BTreeSet<String> {
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&ours), keys(spec), "{path}");
    }
}

#[test]
fn every_value_is_in_the_schema_and_every_property_of_the_schema_is_a_value() {
    let mut in_schema = BTreeSet::new();
    named(&schema(), "", &mut in_schema);
    let documented: BTreeSet<String> =
        values::documented().unwrap().into_iter().map(|entry| entry.path).collect();
    // What is free in the schema has its defaults in the values all the same.
    let of_values = documented.iter().filter(|path| !in_schema.contains(*path));
    let missing: Vec<_> = of_values.filter(|path| !is_below(path, &leaves(&in_schema))).collect();
    assert!(missing.is_empty(), "not in values.schema.json: {missing:?}");
    let known: BTreeSet<String> =
        documented.into_iter().chain(without_meaning()).chain(["global".to_owned()]).collect();
    let of_objects: BTreeSet<String> = OF_OBJECTS.map(|(path, _)| path.to_owned()).into();
    let unknown: Vec<_> =
        in_schema.iter().filter(|path| !known.contains(*path) && !is_below(path, &of_objects)).collect();
    assert!(unknown.is_empty(), "neither in values.yaml nor in files/metallb-values.yaml: {unknown:?}");
}

fn leaves(paths: &BTreeSet<String>) -> BTreeSet<String> {
    let has_children = |path: &String| paths.iter().any(|other| other.starts_with(&format!("{path}.")));
    paths.iter().filter(|path| !has_children(path)).cloned().collect()
}

/// The paths of all keys.
fn keys(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        keys(value, &path, paths);
        paths.insert(path);
    }
}

#[test]
fn comments_are_read_as_helm_reads_the_values() {
    let values = documents(&fs::read_to_string(folder().join("values.yaml")).unwrap()).unwrap().remove(0);
    let documented = values::documented().unwrap();
    for entry in &documented {
        let value = entry.path.split('.').fold(&values, |value, key| &value[key]);
        match entry.default.as_deref() {
            None => assert!(value.is_object(), "{} is no group", entry.path),
            Some("see values.yaml") => assert!(value.is_array(), "{} is no list", entry.path),
            Some(text) => assert_eq!(
                &documents(text).unwrap_or_default().pop().unwrap_or_default(),
                value,
                "{}",
                entry.path
            ),
        }
    }
    let mut in_file = BTreeSet::new();
    keys(&values, "", &mut in_file);
    assert_eq!(documented.into_iter().map(|entry| entry.path).collect::<BTreeSet<_>>(), in_file);
}

#[test]
fn a_typing_mistake_is_refused_and_named() {
    let helm = Helm::find().unwrap();
    for (value, said) in [
        ("controller.replica=3", "replica"),
        ("speaker.logLevel=verbose", "/speaker/logLevel"),
        ("speaker.memberlist.mlBindPort=79460", "/speaker/memberlist/mlBindPort"),
        ("prometheus.enabled=true", "enabled"),
    ] {
        let error = helm.template(["--set", value]).unwrap_err().to_string();
        assert!(error.contains(said), "{value}: {error}");
    }
}

#[test]
fn each_value_of_metallb_without_meaning_is_accepted_with_a_warning_of_its_own() {
    let helm = Helm::find().unwrap();
    for path in without_meaning() {
        let notes = helm.notes([format!("--set={path}=false")]).unwrap();
        let warned = notes.contains(&format!("    - {path}: "));
        assert!(warned, "{path}: {notes}");
    }
    let notes = helm.notes(["--set=speaker.memberlist.enabled=true"]).unwrap();
    assert!(!notes.contains("WARNING"), "{notes}");
}

#[test]
fn images_of_metallb_are_not_mistaken_for_ours_and_mirrors_of_ours_are_used() {
    let helm = Helm::find().unwrap();
    let image = |part: &str, repository: &str, tag: &str| {
        let set = ["repository", "tag"].map(|key| format!("--set-string={part}.image.{key}="));
        let values = [set[0].clone() + repository, set[1].clone() + tag];
        let kind = if part == "controller" { "Deployment" } else { "DaemonSet" };
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let mut object = objects(&helm, &values, kind).remove(0);
        let image = object["spec"]["template"]["spec"]["containers"][0]["image"].take();
        (image.as_str().unwrap().to_owned(), helm.notes(&values).unwrap())
    };
    for part in ["controller", "speaker"] {
        for repository in [
            format!("quay.io/metallb/{part}"),
            format!("docker.io/metallb/{part}"),
            format!("metallb/{part}"),
            format!("quay.io/metallb/{part}@sha256:00"),
            format!("registry.example.com:5000/{part}:v0.15.2"),
            format!("registry.example.com/mirror/metallb-{part}"),
            format!("docker.io/bitnami/metallb-{part}"),
            format!("rancher/mirrored-metallb-{part}"),
            format!("rancher/hardened-metallb-{part}"),
            format!("registry.example.com:5000/x/metallb_{part}"),
        ] {
            let tags = ["v0.15.2", "", "v0.15.2@sha256:00", "sha256:00"];
            // A tag is dropped with its repository, whichever that is.
            for tag in &tags[..if repository.starts_with("quay.io") { tags.len() } else { 1 }] {
                let (used, notes) = image(part, &repository, tag);
                assert_eq!(used, OURS, "{repository} {tag}");
                assert!(
                    notes.contains(&format!("- {part}.image: this is an image of MetalLB; used is {OURS}")),
                    "{notes}"
                );
            }
        }
        for (repository, tag, expected) in [
            (
                "registry.example.com/ferrolb",
                "",
                concat!("registry.example.com/ferrolb:v", env!("CARGO_PKG_VERSION")),
            ),
            ("registry.example.com/metallb/ferrolb", "v9", "registry.example.com/metallb/ferrolb:v9"),
            ("localhost:5000/lb", "v9", "localhost:5000/lb:v9"),
            ("localhost:5000/lb", "sha256:00", "localhost:5000/lb@sha256:00"),
            ("registry.example.com/lb", "v9@sha256:00", "registry.example.com/lb:v9@sha256:00"),
            ("registry.example.com/lb@sha256:00", "v9", "registry.example.com/lb@sha256:00"),
            ("registry.example.com/lb@sha256:00", "", "registry.example.com/lb@sha256:00"),
        ] {
            let (used, notes) = image(part, repository, tag);
            assert_eq!(used, expected, "{repository} {tag}");
            assert!(!notes.contains("image of MetalLB"), "{notes}");
        }
    }
}

#[test]
fn expressions_for_interfaces_reach_the_program_as_they_are() {
    let helm = Helm::find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    let patterns = ["^veth[0-9a-f]{4,8}$", r"^a\.b$", "a: b #c", "\"'"];
    fs::write(
        &file,
        json!({"speaker": {
            "excludeInterfaces": {"patterns": patterns},
            "promiscuousInterfaces": patterns,
        }})
        .to_string(),
    )
    .unwrap();
    let speaker = objects(&helm, &[&format!("--values={}", file.display())], "DaemonSet").remove(0);
    let args = speaker["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    for option in ["--exclude-interfaces=", "--promiscuous-interfaces="] {
        let given: Vec<&str> =
            args.iter().filter_map(|argument| argument.as_str()?.strip_prefix(option)).collect();
        assert_eq!(given, patterns);
    }
}

#[test]
fn metallbs_own_values_file_installs_with_our_image() {
    let file = lab::metallb::chart().unwrap().join("values.yaml");
    let values = format!("--values={}", file.display());
    for (kind, helm) in [("Deployment", Helm::find().unwrap()), ("DaemonSet", Helm::find_3().unwrap())] {
        let object = objects(&helm, &[&values], kind).remove(0);
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(image, OURS);
    }
}
