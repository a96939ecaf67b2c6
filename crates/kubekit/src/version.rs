//! Versions of objects.

use kube::Resource;

/// A resource version. The API server's are numbers that grow; one that is not a number is taken to be new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(Box<str>);

impl Version {
    /// That of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self(object.meta().resource_version.as_deref().unwrap_or_default().into())
    }

    /// As it is sent to the API server.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number that it is, if it is one.
    pub fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// Whether the other one came after this. The echo of an older write can arrive after the answer to a
    /// newer one.
    pub fn is_older_than(&self, other: &Self) -> bool {
        matches!((self.number(), other.number()), (Some(mine), Some(theirs)) if mine < theirs)
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers_where_they_are() {
        assert!(Version::from("9").is_older_than(&"10".into()));
        assert!(!Version::from("10").is_older_than(&"9".into()));
        assert!(!Version::from("a").is_older_than(&"b".into()));
    }
}
