//! The chart's values with what their comments say of them.

use anyhow::{Context, Result, ensure};

use crate::{folder, read};

const BEGIN: &str = "<!-- begin: made from values.yaml by `cargo xtask manifests` -->\n";
const END: &str = "<!-- end -->\n";

/// A value, or a group of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its keys, with dots between them.
    pub path: String,
    /// What it is if nobody sets it, as YAML. None for a group.
    pub default: Option<String>,
    /// What the comment above it says.
    pub meaning: String,
}

/// All of them, in the order of the file.
pub fn documented() -> Result<Vec<Entry>> {
    parse(&read(&folder().join("values.yaml"))?)
}

/// The values alone, as the templates read them: Helm shows them the values only with what users set put over them.
pub(crate) fn defaults() -> Result<String> {
    let values = read(&folder().join("values.yaml"))?;
    let alone = values.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let lines = alone.map(|line| format!("{line}\n"));
    Ok(format!("# Generated from values.yaml by `cargo xtask manifests`.\n{}", lines.collect::<String>()))
}

/// Reads the little of YAML that the file uses: nested keys, values in one line, and lists in block style.
fn parse(text: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut meaning: Vec<&str> = Vec::new();
    // The keys above, and how far each is indented.
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut in_list_below = None;
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if in_list_below.is_some_and(|list| indent > list) {
            continue;
        }
        in_list_below = None;
        if let Some(comment) = content.strip_prefix('#') {
            meaning.push(comment.trim());
        } else if content.is_empty() {
            meaning.clear();
        } else if content.starts_with("- ") {
            let entry = entries.last_mut().context("a list has a name")?;
            entry.default = Some("see values.yaml".to_owned());
            meaning.clear();
            in_list_below = above.last().map(|(indent, _)| *indent);
        } else {
            let (key, value) = content.split_once(':').with_context(|| format!("no key: {line}"))?;
            above.retain(|(outer, _)| *outer < indent);
            above.push((indent, key));
            let keys: Vec<&str> = above.iter().map(|(_, key)| *key).collect();
            let default = Some(value.trim()).filter(|value| !value.is_empty()).map(str::to_owned);
            entries.push(Entry { path: keys.join("."), default, meaning: meaning.join(" ") });
            meaning.clear();
        }
    }
    Ok(entries)
}

/// Puts the table of all values into a README, between the marks.
pub(crate) fn into_readme(readme: &str, entries: &[Entry]) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("the README has no mark where the table begins")?;
    let (_, after) = rest.split_once(END).context("the README has no mark where the table ends")?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", table(entries)?))
}

fn table(entries: &[Entry]) -> Result<String> {
    let mut table = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    for Entry { path, default, meaning } in entries {
        ensure!(default.is_none() || !meaning.is_empty(), "values.yaml does not say what {path} means");
        if meaning.is_empty() {
            continue;
        }
        let default = default.as_ref().map(|default| format!("`{default}`")).unwrap_or_default();
        table += &["| `", path, "` | ", &default, " | ", &meaning.replace('|', "\\|"), " |\n"].concat();
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, default: Option<&str>, meaning: &str) -> Entry {
        Entry { path: path.to_owned(), default: default.map(str::to_owned), meaning: meaning.to_owned() }
    }

    #[test]
    fn every_value_has_its_path_its_default_and_its_comment() {
        let text = "# About the file.\n\n# A group.\na:\n  # Two\n  # lines.\n  b: 1\n  # A list.\n  c:\n    # Not a comment of d.\n    - d: 1\ne: \"\"\n";
        let expected = [
            entry("a", None, "A group."),
            entry("a.b", Some("1"), "Two lines."),
            entry("a.c", Some("see values.yaml"), "A list."),
            entry("e", Some("\"\""), ""),
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn a_value_without_a_comment_has_no_place_in_the_table() {
        let error = table(&[entry("e", Some("1"), "")]).unwrap_err();
        assert_eq!(error.to_string(), "values.yaml does not say what e means");
    }

    #[test]
    fn the_table_replaces_the_former_one() {
        let readme = format!("above\n{BEGIN}old\n{END}below\n");
        let new = into_readme(&readme, &[entry("e", Some("1"), "What it is.")]).unwrap();
        assert_eq!(
            new,
            format!(
                "above\n{BEGIN}| value | default | meaning |\n|---|---|---|\n| `e` | `1` | What it is. |\n{END}below\n"
            )
        );
        assert!(into_readme("no marks", &[]).is_err());
    }
}
