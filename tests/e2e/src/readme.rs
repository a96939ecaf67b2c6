//! What the READMEs tell operators to type.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The blocks of commands in the section below a heading (`## Steps`) of a README, which is named from the top of the
/// repository. The heading stands there once; the section ends at the next of its level or above.
///
/// Lines that begin with a prompt are commands, and where there are none, all lines are.
pub fn commands(readme: &str, heading: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(Path::new(REPOSITORY).join(readme))
        .with_context(|| format!("reading {readme}"))?;
    section(&text, heading)
        .and_then(|section| blocks(&section))
        .with_context(|| format!("{heading:?} of {readme}"))
}

fn section<'a>(text: &'a str, heading: &str) -> Result<Vec<&'a str>> {
    let level = |line: &str| line.bytes().take_while(|byte| *byte == b'#').count();
    let (mut section, mut found, mut inside, mut in_block) = (Vec::new(), 0, false, false);
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        // In a block of commands it is a comment.
        let is_heading = !in_block && line.starts_with('#');
        if is_heading && line == heading {
            (found, inside) = (found + 1, true);
        } else if is_heading && level(line) <= level(heading) {
            inside = false;
        } else if inside {
            section.push(line);
        }
    }
    ensure!(found == 1, "it stands there {found} times, not once");
    Ok(section)
}

fn blocks(lines: &[&str]) -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = lines.iter().map(|line| line.trim_start());
    while lines.any(|line| line == "```console") {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let typed: Vec<&str> = block.iter().filter_map(|line| line.strip_prefix("$ ")).collect();
        blocks.push(if typed.is_empty() { block.join("\n") } else { typed.join("\n") });
    }
    ensure!(!blocks.is_empty(), "there are no commands");
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_a_section_are_found_with_and_without_prompts_and_in_lists() {
        let text = "# Top\n## A\n1. a\n\n   ```console\n   # one\n   one \\\n     two\n   ```\n### Below\n```yaml\nno: no\n```\n```console\n$ three\nsaid\n$ four\n```\n## B\n```console\nfive\n```\n## C\n## C\n";
        let found = blocks(&section(text, "## A").unwrap()).unwrap();
        assert_eq!(found, ["# one\none \\\ntwo", "three\nfour"]);
        assert_eq!(blocks(&section(text, "## B").unwrap()).unwrap(), ["five"]);
        for heading in ["## C", "## D", "# one"] {
            let error = section(text, heading).unwrap_err();
            assert!(error.to_string().contains("not once"), "{heading}: {error}");
        }
        assert!(blocks(&[]).is_err());
    }
}
