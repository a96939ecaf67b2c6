//! That the workflows can run: what they use is pinned, what they call exists, and each job has the rights that it needs
//! and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::Parser as _;
use images::programs;
use serde_json::Value;

use crate::{Cli, push};

/// A workflow, as text and as what it says.
struct Workflow {
    name: String,
    text: String,
    yaml: Value,
}

fn workflows() -> Vec<Workflow> {
    let folder = programs::workspace().join(".github/workflows");
    let mut workflows: Vec<Workflow> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let yaml = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            Workflow { name, text, yaml }
        })
        .collect();
    workflows.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<&str> = workflows.iter().map(|workflow| workflow.name.as_str()).collect();
    assert_eq!(names, ["ci.yml", "release.yml"]);
    workflows
}

impl Workflow {
    fn jobs(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.yaml["jobs"].as_object().unwrap().iter().map(|(name, job)| (name.as_str(), job))
    }

    /// The steps of all jobs, each with a name for messages.
    fn steps(&self) -> Vec<(String, &Value)> {
        let steps = self.jobs().filter_map(|(name, job)| Some((name, job.get("steps")?.as_array()?)));
        let named = steps.flat_map(|(job, steps)| {
            steps
                .iter()
                .enumerate()
                .map(move |(i, step)| (format!("{}: {job}: step {}", self.name, i + 1), step))
        });
        named.collect()
    }

    /// The lines of all scripts.
    fn commands(&self) -> Vec<(String, &str)> {
        let scripts =
            self.steps().into_iter().filter_map(|(at, step)| Some((at, step.get("run")?.as_str()?)));
        scripts.flat_map(|(at, script)| script.lines().map(move |line| (at.clone(), line.trim()))).collect()
    }
}

/// Whether a text is a full digest in hexadecimal digits.
fn is_digest(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[test]
fn every_action_is_pinned_to_a_commit_and_its_version_is_told() {
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    for workflow in workflows() {
        for line in workflow.text.lines() {
            let item = line.trim_start().trim_start_matches("- ");
            let Some(used) = item.strip_prefix("uses: ") else { continue };
            if let Some(path) = used.strip_prefix("./") {
                assert!(programs::workspace().join(path).exists(), "{}: {used}", workflow.name);
                continue;
            }
            let (action, version) = used.split_once(" # ").unwrap_or_else(|| panic!("no version: {used}"));
            let (name, commit) = action.split_once('@').unwrap_or_else(|| panic!("no commit: {used}"));
            assert!(name.contains('/') && is_digest(commit, 40), "{}: {used}", workflow.name);
            assert!(version.starts_with('v') && version.matches('.').count() == 2, "{used}");
            let pinned = format!("{commit} {version}");
            let before = versions.insert(name.to_owned(), pinned.clone());
            assert!(before.is_none_or(|before| before == pinned), "{name} is pinned to two versions");
        }
        // What the text shows is all there is.
        let in_steps = workflow.steps().iter().filter(|(_, step)| step.get("uses").is_some()).count();
        let in_jobs = workflow.jobs().filter(|(_, job)| job.get("uses").is_some()).count();
        assert_eq!(workflow.text.matches("uses: ").count(), in_steps + in_jobs, "{}", workflow.name);
    }
    assert!(versions.len() > 4, "{versions:?}");
}

#[test]
fn every_image_is_pinned_by_its_digest() {
    let mut images = 0;
    for workflow in workflows() {
        for (name, job) in workflow.jobs().filter(|(_, job)| job.get("container").is_some()) {
            let image = job["container"]["image"].as_str().unwrap_or_default();
            let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
            assert!(digest.is_some_and(|it| is_digest(it, 64)), "{}: {name}: {image}", workflow.name);
            images += 1;
        }
    }
    assert!(images > 3, "{images}");
}

#[test]
fn every_command_of_xtask_exists_and_every_script_is_a_file_that_can_be_run() {
    let (mut commands, mut scripts) = (0, 0);
    for workflow in workflows() {
        for (at, line) in workflow.commands() {
            for command in line.split(" && ") {
                let words = command.split_whitespace().map(|word| word.trim_matches('"'));
                let words: Vec<&str> = words.take_while(|word| !word.starts_with('>')).collect();
                match words[..] {
                    ["cargo", "xtask", ..] => {
                        let parsed = Cli::try_parse_from(["cargo xtask"].iter().chain(&words[2..]));
                        assert!(parsed.is_ok(), "{at}: {command}\n{}", parsed.unwrap_err());
                        commands += 1;
                    }
                    [script] if script.starts_with(".ci/") => {
                        assert!(is_executable(&programs::workspace().join(script)), "{at}: {script}");
                        scripts += 1;
                    }
                    _ => assert!(!command.contains("xtask") && !command.contains(".ci/"), "{at}: {command}"),
                }
            }
        }
    }
    assert!(commands > 8 && scripts > 4, "{commands} {scripts}");
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[test]
fn a_job_has_the_rights_that_it_names_and_a_limit_of_time() {
    for workflow in workflows() {
        let (name, none) = (&workflow.name, Value::Object(serde_json::Map::new()));
        assert_eq!(workflow.yaml["permissions"], none, "{name}: what is not granted to a job is refused");
        for (job, spec) in workflow.jobs() {
            let rights =
                spec["permissions"].as_object().unwrap_or_else(|| panic!("{name}: {job}: no permissions"));
            assert!(!rights.is_empty(), "{name}: {job}");
            let writes: Vec<&String> =
                rights.iter().filter(|(_, right)| *right != "read").map(|(scope, _)| scope).collect();
            // Only what publishes may write, and it builds nothing that was not built without such rights.
            let expected: &[&str] = match (name.as_str(), job) {
                ("release.yml", "publish") => &["packages"],
                ("release.yml", "sign") => &["attestations", "id-token", "packages"],
                ("release.yml", "release") => &["attestations", "contents", "id-token"],
                _ => &[],
            };
            assert_eq!(writes, expected, "{name}: {job}");
            let called = spec.get("uses").is_some();
            assert!(called || spec["timeout-minutes"].is_number(), "{name}: {job}: no timeout");
        }
        for (at, step) in workflow.steps() {
            let action = step.get("uses").and_then(Value::as_str).unwrap_or_default();
            if action.starts_with("actions/checkout@") {
                assert_eq!(step["with"]["persist-credentials"], false, "{at}: leaves the token on the disk");
            }
        }
    }
}

#[test]
fn no_script_is_put_together_from_what_others_have_written() {
    for workflow in workflows() {
        for (at, line) in workflow.commands() {
            assert!(!line.contains("${{"), "{at}: {line}: pass it by `env`");
        }
        assert!(!workflow.text.contains("pull_request_target"), "{}", workflow.name);
    }
}

#[test]
fn jobs_wait_for_jobs_that_are_there_and_read_outputs_that_they_have() {
    let mut read = 0;
    for workflow in workflows() {
        let jobs: BTreeMap<&str, &Value> = workflow.jobs().collect();
        for (name, job) in &jobs {
            let needed: Vec<&str> = job
                .get("needs")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for needed in &needed {
                assert!(jobs.contains_key(needed), "{}: {name} needs {needed}", workflow.name);
            }
            for expression in job.to_string().split("needs.").skip(1) {
                let (from, rest) = expression.split_once(".outputs.").unwrap();
                let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                let output = rest.split(|c| !is_of_name(c)).next().unwrap();
                assert!(needed.contains(&from), "{}: {name} does not wait for {from}", workflow.name);
                assert!(
                    jobs[from]["outputs"].get(output).is_some(),
                    "{}: {from} has no {output}",
                    workflow.name
                );
                read += 1;
            }
        }
    }
    assert!(read > 4, "{read}");
}

#[test]
fn what_is_read_of_a_push_is_what_it_tells() {
    let platforms = ["linux-amd64", "linux-arm64", "linux-armv7"].map(|it| (it.to_owned(), String::new()));
    let told = push::outputs(("", ""), ("", ""), &platforms);
    let told: BTreeSet<String> = told.into_iter().map(|(key, _)| key).collect();
    let release = workflows().pop().unwrap();
    let push = release.steps().into_iter().find(|(_, step)| step["id"] == "push").unwrap().1;
    assert!(push["run"].as_str().unwrap().starts_with("cargo xtask push"), "{push}");
    let read: BTreeSet<String> = release
        .text
        .split("steps.push.outputs.")
        .skip(1)
        .map(|rest| rest.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert_eq!(read, told);
}
