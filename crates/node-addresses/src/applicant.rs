//! A Service whose turn it is.

use ipam::{Families, Request};
use objects::{Labels, ServiceKey};
use pools::Family;

/// A Service whose turn it is.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// Which it is.
    pub key: &'a ServiceKey,
    /// The labels of its namespace.
    pub namespace_labels: &'a Labels,
    /// What it asks for.
    pub request: &'a Request,
    /// The first of its families.
    pub primary: Family,
}

impl Applicant<'_> {
    /// The families that it has, in its order.
    pub(crate) fn families(&self) -> Vec<Family> {
        match self.request.families {
            Families::Single(family) => vec![family],
            Families::RequireDual | Families::PreferDual { .. } => vec![self.primary, self.primary.other()],
        }
    }

    /// Whether only nodes with an endpoint of it serve.
    pub(crate) fn is_local(&self) -> bool {
        !self.request.sharing.backend.is_empty()
    }
}
