//! Names of images, in full and in the short forms that people write.

use std::fmt;
use std::str::FromStr;

/// The full name of an image: registry, repository and tag.
///
/// It parses as container runtimes do: `nginx` is `docker.io/library/nginx:latest`, and
/// `hashicorp/http-echo:1.0` is `docker.io/hashicorp/http-echo:1.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: String,
}

/// What is wrong with the name of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image name `{name}`: {reason}")]
pub struct BadReference {
    name: String,
    reason: &'static str,
}

impl Reference {
    /// The registry's host, `docker.io` when none was written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry, such as `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, `latest` when none was written.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(name: &str) -> Result<Self, BadReference> {
        let bad = |reason| BadReference { name: name.to_owned(), reason };
        if name.contains('@') {
            return Err(bad("a digest cannot be chosen; write a tag"));
        }
        let (registry, rest) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => ("docker.io", name),
        };
        let (repository, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
        if !repository.split('/').all(is_component) {
            return Err(bad(
                "a repository is lower-case words of a-z, 0-9, `.`, `_` and `-` between slashes",
            ));
        }
        if !is_tag(tag) {
            return Err(bad("a tag is up to 128 letters, digits, `.`, `_` or `-`, the first no `.` or `-`"));
        }
        let repository = match (registry, repository.contains('/')) {
            ("docker.io", false) => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.to_owned() })
    }
}

fn is_component(word: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    word.bytes().all(|b| inner(b) || b"._-".contains(&b))
        && word.bytes().next().is_some_and(inner)
        && word.bytes().last().is_some_and(inner)
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && tag.bytes().next().is_some_and(|b| b != b'.' && b != b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_mean_what_container_runtimes_take_them_for() {
        for (written, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("hashicorp/http-echo:1.0", "docker.io/hashicorp/http-echo:1.0"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("registry.k8s.io/coredns/coredns:v1.15.0", "registry.k8s.io/coredns/coredns:v1.15.0"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("localhost/a/b:c", "localhost/a/b:c"),
        ] {
            let parsed: Reference = written.parse().unwrap();
            assert_eq!(parsed.to_string(), full);
            assert_eq!(full.parse(), Ok(parsed), "the full name means the same");
        }
    }

    #[test]
    fn names_that_no_registry_has_are_refused() {
        for name in ["", "Nginx", "nginx:", "nginx:.a", "a//b", "-a", "nginx@sha256:00", "docker.io/"] {
            assert!(name.parse::<Reference>().is_err(), "{name}");
        }
    }
}
