//! What the README tells operators to type.

use std::fs;

use anyhow::{Context, Result, ensure};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

/// The blocks of commands between two texts of the README, each of which stands there once.
///
/// Lines that begin with a prompt are commands, and where there are none, all lines are.
pub fn commands(from: &str, to: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(README).context("reading the README")?;
    blocks(part(&text, from, to)?)
}

fn part<'a>(text: &'a str, from: &str, to: &str) -> Result<&'a str> {
    for mark in [from, to] {
        ensure!(text.matches(mark).count() == 1, "{mark:?} does not stand in the README once");
    }
    let (_, rest) = text.split_once(from).context("it stands there")?;
    Ok(rest.split_once(to).with_context(|| format!("{to:?} comes before {from:?}"))?.0)
}

fn blocks(text: &str) -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_start);
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
    fn commands_are_found_with_and_without_prompts_and_in_lists() {
        let text = "from\n1. a\n\n   ```console\n   one \\\n     two\n   ```\n```yaml\nno: no\n```\n```console\n$ three\nsaid\n$ four\n```\nto\n```console\nfive\n```\n";
        let found = blocks(part(text, "from", "\nto\n").unwrap()).unwrap();
        assert_eq!(found, ["one \\\ntwo", "three\nfour"]);
        assert!(part(text, "console", "to").is_err());
        assert!(part(text, "five", "from").is_err());
    }
}
