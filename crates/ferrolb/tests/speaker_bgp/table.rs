//! What BIRD was told in each of its sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::Bird;

impl Bird {
    /// What it was told in which sessions: a prefix with its attributes, like `192.0.2.1/32 64512:7 preference 150`, and the
    /// names of sessions. 100 is what everybody prefers.
    pub(crate) fn table(&self, sessions: &[&str]) -> BTreeMap<String, Vec<String>> {
        let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for session in sessions {
            let shown = self.ask(&format!("show route protocol {session} all"));
            let mut routes: Vec<(String, BTreeSet<String>)> = Vec::new();
            for line in shown.lines() {
                let prefix = line.split(' ').next().filter(|it| it.contains('/'));
                routes.extend(prefix.map(|it| (it.to_owned(), BTreeSet::new())));
                if let Some((_, attributes)) = routes.last_mut() {
                    attributes.extend(attributes_of(line.trim()));
                }
            }
            for (mut route, attributes) in routes {
                attributes.iter().for_each(|it| route = format!("{route} {it}"));
                table.entry(route).or_default().push((*session).to_owned());
            }
        }
        table
    }

    /// How many prefixes the node has withdrawn in this session.
    pub(crate) fn withdrawn(&self, session: &str) -> u32 {
        let shown = self.ask(&format!("show protocols all {session}"));
        let mut lines = shown.lines().filter_map(|line| line.trim().strip_prefix("Import withdraws:"));
        let count = lines.next().and_then(|counts| counts.split_whitespace().next()?.parse().ok());
        count.expect("it counts them")
    }

    /// How often a session has come up.
    pub(crate) fn times_up(&self, session: &str) -> usize {
        let log = fs::read_to_string(self.folder.join("events")).unwrap_or_default();
        let event = format!("{session}: BGP session established");
        log.lines().filter(|line| line.contains(&event)).count()
    }
}

/// Communities, and how much it is preferred, in words.
fn attributes_of(line: &str) -> Vec<String> {
    let numbers = |text: &str, separator: &str| text.trim_matches(['(', ')']).replace(separator, ":");
    match line.split_once(": ") {
        Some(("BGP.local_pref", preference)) if preference != "100" => {
            vec![format!("preference {preference}")]
        }
        Some(("BGP.community", all)) => all.split(' ').map(|it| numbers(it, ",")).collect(),
        Some(("BGP.large_community", all)) => {
            all.split(") (").map(|it| format!("large:{}", numbers(it, ", "))).collect()
        }
        _ => vec![],
    }
}
