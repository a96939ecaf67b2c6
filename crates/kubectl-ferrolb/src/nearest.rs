//! What a name that does not exist was meant to be.

use strsim::damerau_levenshtein;

/// So many names are told.
const NAMED: usize = 3;

/// What is said after a name that does not exist: the nearest of those that do, where one is near, else which there are.
/// Begins with a colon, or is empty where there is none.
pub(crate) fn did_you_mean(wanted: &str, names: impl IntoIterator<Item = impl Into<String>>) -> String {
    told(wanted, names, damerau_levenshtein)
}

/// The nearest name, as a question; nothing where none is near.
pub(crate) fn nearest(wanted: &str, names: impl IntoIterator<Item = impl Into<String>>) -> Option<String> {
    let said = did_you_mean(wanted, names);
    said.strip_prefix(": ").filter(|said| said.starts_with("did you mean")).map(str::to_owned)
}

/// The same for what has a namespace, as `NAMESPACE/NAME`: to be right but for the namespace is nearer than any mistyped name.
pub(crate) fn did_you_mean_in(
    wanted: (&str, &str),
    names: impl IntoIterator<Item = impl Into<String>>,
) -> String {
    let distance = |_: &str, title: &str| {
        let (namespace, name) = title.split_once('/').unwrap_or(("", title));
        match damerau_levenshtein(wanted.1, name) {
            0 => 0,
            // A name that is mistyped and in another namespace is another name, unless the namespace is mistyped as well.
            distance => distance + damerau_levenshtein(wanted.0, namespace),
        }
    };
    told(wanted.1, names, distance)
}

fn told(
    wanted: &str,
    names: impl IntoIterator<Item = impl Into<String>>,
    distance: impl Fn(&str, &str) -> usize,
) -> String {
    let mut ranked: Vec<(usize, String)> = names
        .into_iter()
        .map(|name| {
            let name = name.into();
            (distance(wanted, &name), name)
        })
        .collect();
    ranked.sort();
    ranked.dedup();
    // A third of the letters may be wrong; of a short name, one.
    let tolerated = (wanted.chars().count() / 3).max(1);
    let near: Vec<&str> = ranked
        .iter()
        .take_while(|(distance, _)| *distance <= tolerated && *distance == ranked[0].0)
        .map(|(_, name)| name.as_str())
        .take(NAMED)
        .collect();
    match (near.split_last(), ranked.is_empty()) {
        (Some((last, [])), _) => format!(": did you mean {last}?"),
        (Some((last, before)), _) => format!(": did you mean {} or {last}?", before.join(", ")),
        (None, true) => String::new(),
        (None, false) => {
            let mut all: Vec<String> = ranked.into_iter().map(|(_, name)| name).collect();
            all.sort();
            format!(": there are {}", crate::output::some(&all, NAMED))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told_however_it_was_mistyped() {
        let pools = ["default-pool", "shop", "lan"];
        for (wanted, expected) in [
            ("defautl-pool", ": did you mean default-pool?"),
            ("default_pool", ": did you mean default-pool?"),
            ("Default-Pool", ": did you mean default-pool?"),
            ("lna", ": did you mean lan?"),
            ("shops", ": did you mean shop?"),
            ("something-else", ": there are default-pool, lan, shop"),
        ] {
            assert_eq!(did_you_mean(wanted, pools), expected, "{wanted}");
        }
        assert_eq!(did_you_mean("n9", ["n1", "n2", "n3", "n4"]), ": did you mean n1, n2 or n3?");
        assert_eq!(did_you_mean("x", ["rack-a", "rack-b", "rack-c", "rack-d"]).matches("rack").count(), 3);
        assert_eq!(did_you_mean("x", Vec::<String>::new()), "");
    }

    #[test]
    fn of_services_the_same_name_in_another_namespace_is_nearest() {
        let services = ["prod/web", "default/wed", "test/api", "work/api"];
        for (wanted, expected) in [
            (("default", "web"), ": did you mean prod/web?"),
            (("default", "we"), ": did you mean default/wed?"),
            (("porod", "web"), ": did you mean prod/web?"),
            (("tset", "api"), ": did you mean test/api or work/api?"),
            (("tset", "apis"), ": there are default/wed, prod/web, test/api and 1 more"),
            (("prod", "wbe"), ": did you mean prod/web?"),
            (("test", "aip"), ": did you mean test/api?"),
        ] {
            assert_eq!(did_you_mean_in(wanted, services), expected, "{wanted:?}");
        }
    }
}
