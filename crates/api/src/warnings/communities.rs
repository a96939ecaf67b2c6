//! BGP communities and the names for them.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use objects::text::quoted;

use crate::{BGPAdvertisement, Community, CommunityAlias};

use super::entries::repeated;

/// What is wrong with the communities that an advertisement lists.
pub(super) fn listed(list: &[String]) -> Vec<String> {
    let field = "spec.communities";
    let empty = list.iter().enumerate().filter(|(_, entry)| entry.is_empty());
    let mut warnings: Vec<String> = empty
        .map(|(index, _)| {
            format!("{field}[{index}] is empty: write a community like 64512:100, or remove the entry")
        })
        .collect();
    let repeated = repeated(list.iter().map(|entry| meaning(entry))).into_iter();
    warnings.extend(repeated.map(|(index, first)| {
        format!(
            "{field}[{index}] {} is the same as [{first}] {}: keep one",
            quoted(&list[index]),
            quoted(&list[first])
        )
    }));
    warnings
}

/// What is wrong with the names that an object defines.
pub(super) fn defined(list: &[CommunityAlias]) -> Vec<String> {
    let field = "spec.communities";
    let mut warnings = Vec::new();
    for (index, CommunityAlias { name, .. }) in list.iter().enumerate() {
        if name.is_empty() {
            warnings.push(format!(
                "{field}[{index}].name is empty, so no BGPAdvertisement can use it: give it a name"
            ));
        } else if name.contains(':') {
            warnings.push(format!(
                "{field}[{index}].name {} is a community by itself, not a name for one: write a name without a colon",
                quoted(name)
            ));
        }
    }
    let repeated = repeated(list.iter().map(|alias| &alias.name)).into_iter();
    warnings.extend(repeated.map(|(index, first)| {
        format!("{field}[{index}].name {} is the same as [{first}]: keep one", quoted(&list[index].name))
    }));
    warnings
}

/// For each object, by name, which of its names for communities others define as well. Those within one
/// object are left to [`Community::warnings`].
pub fn aliases_defined_twice<'a>(
    objects: impl IntoIterator<Item = &'a Community>,
) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for object in objects {
        for (index, alias) in object.spec.communities.iter().enumerate() {
            places.entry(&alias.name).or_default().entry(object.name_any()).or_insert(index);
        }
    }
    let mut warnings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (alias, places) in places {
        for (object, index) in &places {
            // One other is enough to find the slip; to name all would be long where there are many.
            let Some(other) = places.keys().find(|other| *other != object) else { continue };
            let warning = format!(
                "spec.communities[{index}].name {} is defined by Community {other} too: keep one of them",
                quoted(alias)
            );
            warnings.entry(object.clone()).or_default().push(warning);
        }
    }
    warnings
}

/// The names in an advertisement that none of the objects defines.
pub fn undefined_aliases<'a>(
    advertisement: &BGPAdvertisement,
    objects: impl IntoIterator<Item = &'a Community>,
) -> Vec<String> {
    let defined: BTreeSet<&str> =
        objects.into_iter().flat_map(|object| &object.spec.communities).map(|alias| &*alias.name).collect();
    let listed = advertisement.spec.communities.iter().enumerate();
    listed
        .filter(|(_, entry)| !entry.is_empty() && !entry.contains(':') && !defined.contains(entry.as_str()))
        .map(|(index, entry)| {
            format!(
                "spec.communities[{index}] {} is defined by no Community: write one that defines it, or correct the name",
                quoted(entry)
            )
        })
        .collect()
}

/// A community whatever the zeros before its numbers.
fn meaning(entry: &str) -> Vec<&str> {
    if !entry.contains(':') {
        return vec![entry];
    }
    let without_zeros = |part: &'_ str| -> usize {
        if part.is_empty() { 0 } else { part.len() - part.trim_start_matches('0').len().max(1) }
    };
    entry.split(':').map(|part| &part[without_zeros(part)..]).collect()
}
