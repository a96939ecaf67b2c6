//! What programs and images are built for.

use std::fmt;
use std::str::FromStr;

/// A platform, as image indexes name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// `linux/amd64`
    Amd64,
    /// `linux/arm64`
    Arm64,
    /// `linux/arm/v7`
    ArmV7,
}

/// What is no platform that anything is built for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of linux/amd64, linux/arm64 and linux/arm/v7")]
pub struct UnknownPlatform(String);

impl Platform {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Amd64, Self::Arm64, Self::ArmV7];

    /// That of this machine, whose programs are built with the C compiler of musl's own package.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// What cargo builds for it: programs with the C library linked in.
    pub const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
            Self::ArmV7 => "armv7-unknown-linux-musleabihf",
        }
    }

    /// `architecture` in an image's configuration, as Go names it.
    pub(crate) fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::ArmV7 => "arm",
        }
    }

    /// `variant` beside it. arm64 has one as well, which may be left out: containerd takes it for `v8`.
    pub(crate) fn variant(self) -> Option<&'static str> {
        match self {
            Self::Amd64 | Self::Arm64 => None,
            Self::ArmV7 => Some("v7"),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture())?;
        self.variant().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, UnknownPlatform> {
        let known = Self::ALL.into_iter().find(|platform| platform.to_string() == text);
        known.ok_or_else(|| UnknownPlatform(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_written_as_it_is_read_and_others_are_refused() {
        for platform in Platform::ALL {
            assert_eq!(platform.to_string().parse(), Ok(platform));
        }
        for text in ["amd64", "linux/arm", "linux/arm/v6", "windows/amd64", ""] {
            let error = text.parse::<Platform>().unwrap_err().to_string();
            assert!(error.contains("linux/amd64, linux/arm64 and linux/arm/v7"), "{error}");
        }
    }
}
