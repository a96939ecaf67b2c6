//! Which objects of the configuration are not in force as they stand, and why.

use std::collections::BTreeMap;

/// Something about an object of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigurationNews {
    /// Not all of an object is in force. The rest of it is, and no other object suffers.
    Invalid {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        error: String,
        /// Whether that was not known before.
        new: bool,
    },
    /// All of it is in force now, or it is gone.
    Valid {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Whether no other object is invalid.
        all: bool,
    },
}

/// The objects that are not in force as they stand.
#[derive(Debug, Default)]
pub(crate) struct Configuration(BTreeMap<(&'static str, String), String>);

impl Configuration {
    /// What is wrong with an object, which may be nothing.
    pub(crate) fn assess(
        &mut self,
        kind: &'static str,
        name: &str,
        faults: &[String],
    ) -> Option<ConfigurationNews> {
        if faults.is_empty() {
            return self.valid(kind, name);
        }
        let (error, name) = (faults.join("; "), name.to_owned());
        let before = self.0.insert((kind, name.clone()), error.clone());
        Some(ConfigurationNews::Invalid { kind, name, new: before.as_ref() != Some(&error), error })
    }

    /// The same, but nothing where that was known before.
    pub(crate) fn assess_anew(
        &mut self,
        kind: &'static str,
        name: &str,
        faults: &[String],
    ) -> Option<ConfigurationNews> {
        let known = self.0.get(&(kind, name.to_owned())).is_some_and(|known| *known == faults.join("; "));
        if known { None } else { self.assess(kind, name, faults) }
    }

    /// All of an object is in force, or it is gone.
    pub(crate) fn valid(&mut self, kind: &'static str, name: &str) -> Option<ConfigurationNews> {
        let name = name.to_owned();
        self.0.remove(&(kind, name.clone()))?;
        Some(ConfigurationNews::Valid { kind, name, all: self.0.is_empty() })
    }

    /// The names of the objects of a kind that are not in force as they stand.
    pub(crate) fn invalid(&self, kind: &'static str) -> impl Iterator<Item = &str> {
        self.0.keys().filter(move |(of, _)| *of == kind).map(|(_, name)| name.as_str())
    }

    /// One line for each object that is not in force as it stands.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.0.iter().map(|((kind, name), error)| format!("{kind} {name}: {error}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_until_it_is_right_or_gone() {
        let mut configuration = Configuration::default();
        let faults = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        configuration.assess("IPAddressPool", "a", &faults(&["out of order", "too small"]));
        configuration.assess("L2Advertisement", "a", &faults(&["no such operator"]));
        assert_eq!(
            configuration.problems(),
            ["IPAddressPool a: out of order; too small", "L2Advertisement a: no such operator"]
        );
        let again = configuration.assess("L2Advertisement", "a", &faults(&["no such operator"]));
        assert!(matches!(again, Some(ConfigurationNews::Invalid { new: false, .. })), "{again:?}");
        let valid = configuration.assess("IPAddressPool", "a", &[]);
        assert!(matches!(valid, Some(ConfigurationNews::Valid { all: false, .. })), "{valid:?}");
        assert_eq!(configuration.problems(), ["L2Advertisement a: no such operator"]);
        configuration.valid("L2Advertisement", "a");
        assert!(configuration.problems().is_empty());
        assert_eq!(configuration.valid("L2Advertisement", "a"), None);
    }
}
