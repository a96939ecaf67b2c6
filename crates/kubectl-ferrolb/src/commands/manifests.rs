//! Manifests from files, directories and the standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::output::Page;

/// One object of a manifest, and where it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    /// The file, and which document of it where there are several.
    pub(crate) place: String,
    pub(crate) object: Value,
}

impl Manifest {
    /// A field as text, by its path.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.object.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The group of the API; empty for the core.
    pub(crate) fn group(&self) -> &str {
        self.text("/apiVersion").rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// As people call it.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.kind(), self.name())
    }
}

/// Manifests as an answer, to be applied as they are.
pub(crate) fn answer(objects: &[Value]) -> anyhow::Result<Answer> {
    let mut page = Page::default();
    page.raw(yaml(objects)?);
    Ok(Answer::plain(page, json!({"apiVersion": "v1", "kind": "List", "items": objects})))
}

/// Objects as documents of YAML.
pub(crate) fn yaml(objects: &[Value]) -> anyhow::Result<String> {
    let mut documents = Vec::new();
    for object in objects {
        let yaml = serde_saphyr::to_string(object).context("writing YAML")?;
        documents.push(yaml.trim_end().to_owned());
    }
    Ok(documents.join("\n---\n"))
}

/// The objects in all of these, lists taken apart.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut all = Vec::new();
    for path in paths {
        for file in files(path)? {
            let text = text_of(&file)?;
            all.extend(parse(&text, &file.display().to_string())?);
        }
    }
    Ok(all)
}

/// The text of a file; of the standard input for `-`.
pub(crate) fn text_of(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("reading the standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The file itself, or those of a directory and below it.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path == Path::new("-") || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let is_manifest = path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if is_manifest {
            all.push(path);
        }
    }
    Ok(all)
}

/// The objects of a text, which is YAML or, as a special case of it, JSON.
pub(crate) fn parse(text: &str, place: &str) -> anyhow::Result<Vec<Manifest>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| anyhow::anyhow!("{place}: {error}"))?;
    let several = documents.len() > 1;
    let mut all = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let place = if several { format!("{place}, document {}", index + 1) } else { place.to_owned() };
        match document {
            Value::Null => {}
            Value::Object(_) => take(document, &place, &mut all),
            _ => bail!("{place}: not an object of Kubernetes, which has apiVersion, kind and metadata"),
        }
    }
    Ok(all)
}

fn take(mut object: Value, place: &str, all: &mut Vec<Manifest>) {
    let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => {
            for (index, item) in items.into_iter().enumerate() {
                take(item, &format!("{place}, item {}", index + 1), all);
            }
        }
        _ => all.push(Manifest { place: place.to_owned(), object }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart_and_keep_their_place() {
        let text = "kind: A\nmetadata: {name: a}\n---\n# nothing\n---\nkind: List\napiVersion: v1\nitems:\n- {kind: B, apiVersion: metallb.io/v1beta1}\n";
        let all = parse(text, "f.yaml").unwrap();
        let titles: Vec<_> = all.iter().map(|it| format!("{}: {}", it.place, it.title())).collect();
        assert_eq!(titles, ["f.yaml, document 1: A a", "f.yaml, document 2, item 1: B "]);
        assert_eq!(all[1].group(), "metallb.io");
        assert!(parse("- 1\n", "f").is_err() && parse("a: [", "f").is_err());
    }

    #[test]
    fn of_a_directory_all_manifests_are_read_and_no_other_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("a.yaml"), "kind: A\n").unwrap();
        std::fs::write(folder.path().join("b/c.json"), "{\"kind\": \"C\"}").unwrap();
        std::fs::write(folder.path().join("README.md"), "# no").unwrap();
        let all = read(&[folder.path().to_owned()]).unwrap();
        assert_eq!(all.iter().map(Manifest::kind).collect::<Vec<_>>(), ["A", "C"]);
    }
}
