//! Label selectors as they stand in a resource.

use std::borrow::Cow;
use std::collections::BTreeMap;

use objects::{Requirement, Selector, SelectorError};
use pools::Unreadable;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Selects objects by their labels. All requirements must hold; an empty selector matches every object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

impl LabelSelector {
    /// Whether it asks for nothing, and so matches every object.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

/// One requirement of a [`LabelSelector`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSelectorRequirement {
    /// The label that the requirement is about.
    #[serde(default)]
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    #[serde(default)]
    pub operator: String,
    /// For `In` and `NotIn`, the values to compare with; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl TryFrom<&LabelSelector> for Selector {
    type Error = SelectorError;

    fn try_from(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let labels = selector.match_labels.iter().map(|(key, value)| Ok(Requirement::equals(key, value)));
        let expressions =
            selector.match_expressions.iter().map(|e| Requirement::parse(&e.key, &e.operator, &e.values));
        labels.chain(expressions).collect()
    }
}

/// The selectors of a list, each of which stands for nothing when it cannot be read and is named then.
pub(crate) fn read_selectors(
    field: &str,
    list: &[LabelSelector],
    unreadable: &mut Vec<Unreadable>,
) -> Vec<Selector> {
    let entries = list.iter().enumerate();
    entries.map(|(index, entry)| read_selector(format!("{field}[{index}]"), entry, unreadable)).collect()
}

/// A selector, which stands for nothing when it cannot be read and is named then.
pub(crate) fn read_selector(
    field: String,
    selector: &LabelSelector,
    unreadable: &mut Vec<Unreadable>,
) -> Selector {
    Selector::try_from(selector).unwrap_or_else(|why| {
        unreadable.push(Unreadable { field, why: why.to_string() });
        Selector::nothing()
    })
}

/// Written by hand for two things that a derive cannot say: the API server is to refuse an operator that
/// does not exist while this program can still read one (it may be stored from before), and the marks for
/// server-side apply that Kubernetes puts on its own selectors.
impl JsonSchema for LabelSelector {
    fn schema_name() -> Cow<'static, str> {
        "LabelSelector".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Selects objects by their labels. All requirements must hold; an empty selector matches every object.",
            "type": "object",
            "properties": {
                "matchLabels": {
                    "description": "Labels that must be there with exactly these values.",
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                },
                "matchExpressions": {
                    "description": "Further requirements, all of which must hold.",
                    "type": "array",
                    "x-kubernetes-list-type": "atomic",
                    "items": {
                        "type": "object",
                        "required": ["key", "operator"],
                        "properties": {
                            "key": {"description": "The label that the requirement is about.", "type": "string"},
                            "operator": {
                                "description": "How the label relates to the values.",
                                "type": "string",
                                "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            },
                            "values": {
                                "description": "For In and NotIn, the values to compare with, at least one. For Exists and DoesNotExist, none.",
                                "type": "array",
                                "x-kubernetes-list-type": "atomic",
                                "items": {"type": "string"},
                            },
                        },
                    },
                },
            },
            "x-kubernetes-map-type": "atomic",
        })
    }
}
