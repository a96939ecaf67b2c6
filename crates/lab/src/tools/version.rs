//! Which version a program says it has.

use std::fmt;

/// A released version: three numbers, no suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) patch: u32,
}

/// Whether `+something` may follow the three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// `v4.3.1+g1a2b3c4` is the release v4.3.1.
    Ignored,
    /// It marks a distribution's own variant, which is not what was asked for.
    Refused,
}

impl Version {
    /// The version in what a program prints when asked for it: the first word that begins like one. A suffix after
    /// the three numbers (`-rc.1`, `-dispatcher`) makes it a version nobody can reason about: none.
    pub(super) fn first_in(text: &str, build: Build) -> Option<Self> {
        let word = text
            .split(|c: char| c.is_whitespace() || c == ',' || c == '"')
            .find(|word| begins_like_a_version(word))?;
        let plain = match (word.split_once('+'), build) {
            (Some((plain, _)), Build::Ignored) => plain,
            _ => word,
        };
        Self::parse(plain)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.').map(|number| number.parse().ok());
        let version = Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? };
        numbers.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

fn begins_like_a_version(word: &str) -> bool {
    let mut parts = word.strip_prefix('v').unwrap_or(word).splitn(3, '.');
    let mut number =
        || parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    number() && number()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Option<String> {
        Version::first_in(text, Build::Refused).map(|version| version.to_string())
    }

    #[test]
    fn the_versions_that_programs_print_are_found() {
        assert_eq!(version("Kubernetes v1.36.3\n").as_deref(), Some("v1.36.3"));
        assert_eq!(
            version("Client Version: v1.35.0\nKustomize Version: v5.7.1\n").as_deref(),
            Some("v1.35.0")
        );
        assert_eq!(
            version("etcd Version: 3.6.8\nGit SHA: abc\nGo Version: go1.26.8").as_deref(),
            Some("v3.6.8")
        );
    }

    #[test]
    fn a_suffix_is_not_a_release() {
        assert_eq!(version("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0"), None);
        assert_eq!(version("Kubernetes v1.37.0-rc.1"), None);
        assert_eq!(version("Kubernetes v1.34.1+k3s1"), None);
    }

    #[test]
    fn a_build_number_can_be_ignored() {
        let helm = Version::first_in("v4.3.1+g1a2b3c4", Build::Ignored);
        assert_eq!(helm, Some(Version { major: 4, minor: 3, patch: 1 }));
    }

    #[test]
    fn no_version_is_none() {
        assert_eq!(version("usage: kubelet [flags]"), None);
        assert_eq!(version(""), None);
    }
}
