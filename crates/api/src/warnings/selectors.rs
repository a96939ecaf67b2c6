//! Label selectors: what can match nothing, or says something twice.

use std::collections::{BTreeMap, BTreeSet};

use objects::text::quoted;

use crate::{LabelSelector, LabelSelectorRequirement};

use super::entries::repeated;

/// What a selector asks for, whatever the order in which it was written.
pub(super) fn meaning(selector: &LabelSelector) -> impl Ord + use<'_> {
    (&selector.match_labels, selector.match_expressions.iter().map(requirement).collect::<BTreeSet<_>>())
}

fn requirement(expression: &LabelSelectorRequirement) -> (&str, &str, BTreeSet<&str>) {
    let values = expression.values.iter().map(String::as_str).collect();
    (&expression.key, &expression.operator, values)
}

/// What is wrong with a list of selectors, of which one that matches is enough.
pub(super) fn list(field: &str, list: &[LabelSelector]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        warnings.extend(selector(&format!("{field}[{index}]"), entry));
        if entry.is_empty() && list.len() > 1 {
            warnings.push(format!(
                "{field}[{index}] is empty and matches everything, so the others change nothing: remove it, or them"
            ));
        }
    }
    let repeated = repeated(list.iter().map(meaning)).into_iter();
    warnings.extend(
        repeated.map(|(index, first)| format!("{field}[{index}] is the same as [{first}]: keep one")),
    );
    warnings
}

/// What is wrong with one selector.
pub(super) fn selector(path: &str, selector: &LabelSelector) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, value) in &selector.match_labels {
        warnings.extend(wrong_key(key).map(|wrong| format!("{path}.matchLabels: {wrong}")));
        warnings
            .extend(wrong_value(value).map(|wrong| format!("{path}.matchLabels[{}]: {wrong}", quoted(key))));
    }
    for (index, expression) in selector.match_expressions.iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        warnings.extend(wrong_key(&expression.key).map(|wrong| format!("{path}.key: {wrong}")));
        for (index, value) in expression.values.iter().enumerate() {
            warnings.extend(wrong_value(value).map(|wrong| format!("{path}.values[{index}]: {wrong}")));
        }
        let repeated = repeated(expression.values.iter()).into_iter();
        warnings.extend(repeated.map(|(index, first)| {
            format!(
                "{path}.values[{index}] {} is the same as [{first}]: keep one",
                quoted(&expression.values[index])
            )
        }));
    }
    let repeated = repeated(selector.match_expressions.iter().map(requirement)).into_iter();
    warnings.extend(repeated.map(|(index, first)| {
        format!("{path}.matchExpressions[{index}] is the same as [{first}]: keep one")
    }));
    warnings.extend(contradictions(selector).map(|wrong| format!("{path} can match nothing, for {wrong}")));
    warnings
}

/// What a selector asks of one label.
#[derive(Default)]
struct Asked<'a> {
    /// The values that are left, where some are asked for.
    one_of: Option<BTreeSet<&'a str>>,
    none_of: BTreeSet<&'a str>,
    present: bool,
    absent: bool,
}

impl<'a> Asked<'a> {
    fn only(&mut self, values: BTreeSet<&'a str>) {
        self.present = true;
        self.one_of = Some(match self.one_of.take() {
            Some(left) => left.intersection(&values).copied().collect(),
            None => values,
        });
    }

    fn contradiction(&self) -> Option<&'static str> {
        if self.present && self.absent {
            return Some("must be there and must be missing");
        }
        let left = self.one_of.as_ref()?;
        left.is_subset(&self.none_of).then_some("has no value left that all of its requirements allow")
    }
}

fn contradictions(selector: &LabelSelector) -> impl Iterator<Item = String> {
    let mut asked: BTreeMap<&str, Asked> = BTreeMap::new();
    for (key, value) in &selector.match_labels {
        asked.entry(key).or_default().only(BTreeSet::from([value.as_str()]));
    }
    for LabelSelectorRequirement { key, operator, values } in &selector.match_expressions {
        let asked = asked.entry(key).or_default();
        let values = values.iter().map(String::as_str);
        match operator.as_str() {
            // Without values it cannot be understood, which is an error of its own.
            "In" if values.len() == 0 => {}
            "In" => asked.only(values.collect()),
            "NotIn" => asked.none_of.extend(values),
            "Exists" => asked.present = true,
            "DoesNotExist" => asked.absent = true,
            _ => {}
        }
    }
    asked.into_iter().filter_map(|(key, asked)| {
        let wrong = asked.contradiction()?;
        Some(format!("{} {wrong}: remove one of its requirements", quoted(key)))
    })
}

fn wrong_key(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_fits = prefix.is_none_or(|prefix| super::subdomain(prefix).is_none());
    let fits = prefix_fits && !name.is_empty() && is_word(name);
    (!fits).then(|| {
        format!(
            "no label can have the key {}: write one like \"zone\" or \"topology.kubernetes.io/zone\"",
            quoted(key)
        )
    })
}

fn wrong_value(value: &str) -> Option<String> {
    (!is_word(value)).then(|| {
        format!(
            "no label can have the value {}: write at most 63 letters, digits, hyphens, underscores and dots, that begin and end with a letter or digit",
            quoted(value)
        )
    })
}

/// What a label's value may be, and the last part of its key.
fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= 63
        && text.bytes().all(inner)
        && ends.into_iter().flatten().all(|byte| byte.is_ascii_alphanumeric())
}
