//! Host names of the domain `local`.

use std::fmt;
use std::sync::Arc;

use placement::ServiceKey;
use thiserror::Error;

/// The most octets of a label (RFC 1035 section 2.3.4).
const LABEL: usize = 63;
/// The most octets of a name on the wire, with the length of each label and the root.
const NAME: usize = 255;
/// The same as text, without the root.
const LONGEST: usize = NAME - 2;
/// The domain of Multicast DNS.
const LOCAL: &str = "local";

/// A host name of the domain `local`, in small letters: one or more labels before it, of letters, digits and hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is no such name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadName {
    /// Nothing is left of it, or of one of its labels.
    #[error("it is empty")]
    Empty,
    /// A label is too long.
    #[error("a label has {0} characters, and may have {LABEL}")]
    LongLabel(usize),
    /// All of it is too long.
    #[error("it has {0} characters, and may have {LONGEST}")]
    Long(usize),
    /// No host name has this.
    #[error("it may have letters a to z, digits and hyphens only")]
    Character,
    /// A hyphen stands where none may.
    #[error("a label may not begin or end with a hyphen")]
    Hyphen,
    /// It has more than one label before the domain.
    #[error("it may have one label before .{LOCAL}: names with two belong to the namespace that they name")]
    Labels,
}

impl Name {
    /// `NAME.NAMESPACE.local`, which no other Service can have.
    pub fn of_service(service: &ServiceKey) -> Result<Self, BadName> {
        Self::new([&*service.name, &*service.namespace])
    }

    /// A name with one label, given with or without the domain.
    pub fn of_label(text: &str) -> Result<Self, BadName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let label = match text.rsplit_once('.') {
            Some((label, domain)) if domain.eq_ignore_ascii_case(LOCAL) => label,
            _ => text,
        };
        if label.contains('.') {
            return Err(BadName::Labels);
        }
        Self::new([label])
    }

    fn new<const N: usize>(labels: [&str; N]) -> Result<Self, BadName> {
        for label in labels {
            let bytes = label.as_bytes();
            let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return Err(BadName::Empty) };
            if !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
                return Err(BadName::Character);
            }
            if bytes.len() > LABEL {
                return Err(BadName::LongLabel(bytes.len()));
            }
            if *first == b'-' || *last == b'-' {
                return Err(BadName::Hyphen);
            }
        }
        let mut text = labels.join(".");
        text.push('.');
        text.push_str(LOCAL);
        if text.len() > LONGEST {
            return Err(BadName::Long(text.len()));
        }
        text.make_ascii_lowercase();
        Ok(Self(text.into()))
    }

    /// The name on the wire, if it is one that a Service could have; letters count as equal in either case.
    pub(crate) fn of_wire(wire: &[u8]) -> Option<Self> {
        let mut text = String::with_capacity(wire.len());
        let mut rest = wire;
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            rest = after;
        }
        let (_, domain) = text.rsplit_once('.')?;
        (domain == LOCAL).then(|| Self(text.as_str().into()))
    }

    /// As text, without a dot at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many octets it takes on the wire.
    pub(crate) fn length(&self) -> usize {
        self.0.len() + 2
    }

    /// Writes it as it is on the wire, in full.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        for label in self.0.split('.') {
            to.push(u8::try_from(label.len()).expect("no label is longer than 63"));
            to.extend_from_slice(label.as_bytes());
        }
        to.push(0);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_service_has_a_name_of_its_own() {
        let name = Name::of_service(&ServiceKey::new("prod", "web")).unwrap();
        assert_eq!(name.as_str(), "web.prod.local");
    }

    #[test]
    fn a_requested_name_has_one_label() {
        for text in ["web", "web.local", "Web.LOCAL.", "WEB"] {
            assert_eq!(Name::of_label(text).map(|name| name.to_string()), Ok("web.local".to_owned()));
        }
        let longest = "a".repeat(63);
        assert!(Name::of_label(&longest).is_ok());
        for (text, error) in [
            ("", BadName::Empty),
            (".local", BadName::Empty),
            ("web.prod", BadName::Labels),
            ("web.prod.local", BadName::Labels),
            ("web prod", BadName::Character),
            ("wéb", BadName::Character),
            ("we\0b", BadName::Character),
            ("-web", BadName::Hyphen),
            ("web-.local", BadName::Hyphen),
            (&format!("{longest}a"), BadName::LongLabel(64)),
        ] {
            assert_eq!(Name::of_label(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_a_name_is_read_from_the_wire_as_it_was_written(text in ".{0,70}") {
            if let Ok(name) = Name::of_label(&text) {
                let mut wire = Vec::new();
                name.write(&mut wire);
                prop_assert_eq!(wire.len(), name.length());
                prop_assert!(wire.len() <= NAME);
                prop_assert_eq!(Name::of_wire(&wire), Some(name.clone()));
                wire.make_ascii_uppercase();
                prop_assert_eq!(Name::of_wire(&wire), Some(name));
            }
        }
    }
}
