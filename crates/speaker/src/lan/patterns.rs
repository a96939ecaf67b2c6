//! Interfaces by regular expressions, as operators name them.

use std::str::FromStr;

use regex_lite::Regex;

/// Interfaces by name: those that match one of some regular expressions.
#[derive(Debug, Clone, Default)]
pub struct InterfacePatterns(Vec<Regex>);

/// What container runtimes and network plugins commonly make.
const DEFAULT_EXCLUDES: &str = "^docker.*,^cbr.*,^dummy.*,^virbr.*,^lxcbr.*,^veth.*,^lo$,^cali.*,^tunl.*,\
     ^flannel.*,^kube-ipvs.*,^cni.*,^nodelocaldns.*,^lxc.*";

impl InterfacePatterns {
    /// What container runtimes and network plugins commonly make.
    pub fn usually_excluded() -> Self {
        DEFAULT_EXCLUDES.parse().expect("the default list is well-formed")
    }

    /// Whether the interface with this name is meant.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.is_match(name))
    }
}

/// Joins lists. What is in any of them is meant.
impl FromIterator<InterfacePatterns> for InterfacePatterns {
    fn from_iter<T: IntoIterator<Item = InterfacePatterns>>(lists: T) -> Self {
        Self(lists.into_iter().flat_map(|list| list.0).collect())
    }
}

/// One of the expressions is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no regular expression: {reason}")]
pub struct BadPattern {
    pattern: String,
    reason: String,
}

/// Reads a comma-separated list of regular expressions. A comma within `{}`, `[]` or `()`, or after a backslash, is part
/// of an expression. The empty list means no interface.
impl FromStr for InterfacePatterns {
    type Err = BadPattern;

    fn from_str(list: &str) -> Result<Self, BadPattern> {
        let entries = split(list).into_iter().map(str::trim).filter(|entry| !entry.is_empty());
        let read = |pattern| {
            Regex::new(pattern)
                .map_err(|error| BadPattern { pattern: pattern.to_owned(), reason: error.to_string() })
        };
        entries.map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// Where the characters of an expression are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// So many groups and counts.
    Groups(usize),
    /// A set of characters within so many groups. In its first place a closing bracket is one of the characters.
    Set { groups: usize, first: bool },
}

/// Splits at the commas between expressions.
fn split(list: &str) -> Vec<&str> {
    let (mut entries, mut start, mut within, mut escaped) = (Vec::new(), 0, Within::Groups(0), false);
    for (at, character) in list.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        within = match (within, character) {
            (_, '\\') => {
                escaped = true;
                match within {
                    Within::Set { groups, .. } => Within::Set { groups, first: false },
                    Within::Groups(_) => within,
                }
            }
            (Within::Groups(0), ',') => {
                entries.push(&list[start..at]);
                start = at + 1;
                within
            }
            (Within::Groups(groups), '[') => Within::Set { groups, first: true },
            (Within::Groups(groups), '(' | '{') => Within::Groups(groups + 1),
            (Within::Groups(groups), ')' | '}') => Within::Groups(groups.saturating_sub(1)),
            (Within::Groups(_), _) | (Within::Set { first: true, .. }, '^') => within,
            (Within::Set { groups, first: false }, ']') => Within::Groups(groups),
            (Within::Set { groups, .. }, _) => Within::Set { groups, first: false },
        };
    }
    entries.push(&list[start..]);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_within_an_expression_does_not_end_it() {
        for (list, entries) in [
            ("^veth[0-9a-f]{4,8}$", &["^veth[0-9a-f]{4,8}$"][..]),
            ("^a{1,2}$,^b", &["^a{1,2}$", "^b"]),
            ("^b,^(x{1,2}|y,z)$,", &["^b", "^(x{1,2}|y,z)$", ""]),
            ("[,],[],],[^],](a),b", &["[,]", "[],]", "[^],](a)", "b"]),
            (r"a\,b,\(,\[,\{,[\]],c", &[r"a\,b", r"\(", r"\[", r"\{", r"[\]]", "c"]),
            ("a},b),c],d", &["a}", "b)", "c]", "d"]),
            ("", &[""]),
        ] {
            assert_eq!(split(list), entries, "{list}");
        }
        let veth: InterfacePatterns = "^veth[0-9a-f]{4,8}$, ^wg[0-9]$".parse().unwrap();
        assert_eq!(
            ["veth0a1b", "veth0a1", "wg0", "eth0"].map(|name| veth.contains(name)),
            [true, false, true, false]
        );
    }

    #[test]
    fn what_is_no_expression_is_named() {
        for (list, named) in [("^ok$,(", "`(`"), ("^a{2,1}$", "`^a{2,1}$`"), ("[a,^b", "`[a,^b`")] {
            let error = list.parse::<InterfacePatterns>().unwrap_err().to_string();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
