//! Labels and selectors, with the meaning that Kubernetes gives them.
//!
//! A [`Selector`] is a list of requirements that must all hold; the empty one matches everything.
//! Where a list of selectors is asked for, one that matches is enough ([`any_matches`]), and what an
//! empty list means is for the caller to say.

use std::collections::{BTreeMap, BTreeSet};

use crate::text::quoted;

/// The labels of one object.
pub type Labels = BTreeMap<String, String>;

/// One condition on a set of labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// The label is there with one of these values.
    In(String, BTreeSet<String>),
    /// The label is missing, or has none of these values.
    NotIn(String, BTreeSet<String>),
    /// The label is there, with whatever value.
    Exists(String),
    /// The label is missing.
    DoesNotExist(String),
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

/// Requirements that must all hold. The empty selector matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// Selects nothing: what stands for a selector that cannot be read.
    pub fn nothing() -> Self {
        Self(vec![Requirement::In(String::new(), BTreeSet::new())])
    }

    /// Whether `labels` meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

impl FromIterator<Requirement> for Selector {
    fn from_iter<I: IntoIterator<Item = Requirement>>(requirements: I) -> Self {
        Self(requirements.into_iter().collect())
    }
}

/// Whether one of the selectors matches. No selector, no match.
pub fn any_matches<'a>(selectors: impl IntoIterator<Item = &'a Selector>, labels: &Labels) -> bool {
    selectors.into_iter().any(|selector| selector.matches(labels))
}

/// Why a selector cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The operator is none of the four that Kubernetes knows.
    #[error("operator {} is unknown: write In, NotIn, Exists or DoesNotExist", quoted(.0))]
    UnknownOperator(String),
    /// `In` and `NotIn` compare with values, and there are none.
    #[error("{operator} on {key} needs at least one value", key = quoted(.key))]
    NoValues {
        /// The label that is asked for.
        key: String,
        /// `In` or `NotIn`.
        operator: &'static str,
    },
    /// `Exists` and `DoesNotExist` compare with nothing, and there are values.
    #[error("{operator} on {key} takes no values", key = quoted(.key))]
    UnexpectedValues {
        /// The label that is asked for.
        key: String,
        /// `Exists` or `DoesNotExist`.
        operator: &'static str,
    },
}

impl Requirement {
    /// A label that must have exactly this value, as in `matchLabels`.
    pub fn equals(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::In(key.into(), BTreeSet::from([value.into()]))
    }

    /// One entry of `matchExpressions`.
    pub fn parse(key: &str, operator: &str, values: &[String]) -> Result<Self, SelectorError> {
        let key = key.to_owned();
        let set = || values.iter().cloned().collect();
        match (operator, values.is_empty()) {
            ("In", false) => Ok(Self::In(key, set())),
            ("NotIn", false) => Ok(Self::NotIn(key, set())),
            ("Exists", true) => Ok(Self::Exists(key)),
            ("DoesNotExist", true) => Ok(Self::DoesNotExist(key)),
            ("In", true) => Err(SelectorError::NoValues { key, operator: "In" }),
            ("NotIn", true) => Err(SelectorError::NoValues { key, operator: "NotIn" }),
            ("Exists", false) => Err(SelectorError::UnexpectedValues { key, operator: "Exists" }),
            ("DoesNotExist", false) => Err(SelectorError::UnexpectedValues { key, operator: "DoesNotExist" }),
            (other, _) => Err(SelectorError::UnknownOperator(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn parse(key: &str, operator: &str, values: &[&str]) -> Result<Requirement, SelectorError> {
        Requirement::parse(key, operator, &values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn each_operator_means_what_kubernetes_says() {
        let there = labels(&[("zone", "a")]);
        let absent = labels(&[]);
        // operator, values, matches zone=a, matches an object without the label
        for (operator, values, on_there, on_absent) in [
            ("In", vec!["a", "b"], true, false),
            ("In", vec!["b"], false, false),
            ("NotIn", vec!["a"], false, true),
            ("NotIn", vec!["b"], true, true),
            ("Exists", vec![], true, false),
            ("DoesNotExist", vec![], false, true),
        ] {
            let selector = Selector::from_iter([parse("zone", operator, &values).unwrap()]);
            assert_eq!(selector.matches(&there), on_there, "{operator} {values:?} on {there:?}");
            assert_eq!(selector.matches(&absent), on_absent, "{operator} {values:?} on {absent:?}");
        }
    }

    #[test]
    fn requirements_add_up_and_selectors_offer_a_choice() {
        let both = Selector::from_iter([Requirement::equals("a", "1"), Requirement::equals("b", "2")]);
        let other = Selector::from_iter([Requirement::equals("c", "3")]);
        assert!(!both.matches(&labels(&[("a", "1")])));
        assert!(both.matches(&labels(&[("a", "1"), ("b", "2")])));
        assert!(any_matches(&[both.clone(), other], &labels(&[("c", "3")])));
        assert!(!any_matches(&[], &labels(&[("c", "3")])));
        assert!(Selector::default().matches(&labels(&[])));
        assert!(!Selector::nothing().matches(&labels(&[("", "")])));
    }

    #[test]
    fn a_selector_that_makes_no_sense_says_what_to_write() {
        assert_eq!(parse("a", "Is", &[]), Err(SelectorError::UnknownOperator("Is".into())));
        assert!(parse("a", "In", &[]).unwrap_err().to_string().contains("at least one value"));
        assert!(parse("a", "Exists", &["x"]).unwrap_err().to_string().contains("takes no values"));
    }
}
