//! What a member tells everybody of itself.

use std::sync::Arc;

/// Some bytes that a member tells everybody of itself, meaningless here. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    bytes: Arc<[u8]>,
    brief: Brief,
}

/// A [`Profile`], or what is told [instead](Profile::with_brief), is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a profile of {length} bytes is too long: at most {max} fit")]
pub struct ProfileError {
    length: usize,
    max: usize,
}

impl Profile {
    /// The greatest length, in bytes. It is sent in several frames, and kept of each member.
    pub const MAX: usize = 8192;
    /// The greatest length of what is told [instead](Self::with_brief), in bytes, so that it fits into one frame with
    /// everything else.
    pub const MAX_BRIEF: usize = 256;

    /// The profile of these bytes. Members of earlier versions, which take only what fits into one frame, are
    /// told it if it does, else nothing.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ProfileError> {
        let bytes = bytes.into();
        check(&bytes, Self::MAX)?;
        let brief = if bytes.len() > Self::MAX_BRIEF { Brief::default() } else { Brief(bytes.clone()) };
        Ok(Self { bytes, brief })
    }

    /// The same, but members that take only what fits into one frame are told `brief` instead. So is everybody who
    /// knows nothing of this member yet, until it has the rest.
    pub fn with_brief(self, brief: impl Into<Arc<[u8]>>) -> Result<Self, ProfileError> {
        let brief = brief.into();
        check(&brief, Self::MAX_BRIEF)?;
        Ok(Self { brief: Brief(brief), ..self })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn brief(&self) -> &Brief {
        &self.brief
    }
}

fn check(bytes: &[u8], max: usize) -> Result<(), ProfileError> {
    if bytes.len() > max { Err(ProfileError { length: bytes.len(), max }) } else { Ok(()) }
}

/// What is in each introduction: as much of a profile as fits.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub(crate) struct Brief(Arc<[u8]>);

impl TryFrom<Vec<u8>> for Brief {
    type Error = ProfileError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, ProfileError> {
        check(&bytes, Profile::MAX_BRIEF)?;
        Ok(Self(bytes.into()))
    }
}

impl From<Brief> for Vec<u8> {
    fn from(brief: Brief) -> Self {
        brief.0.to_vec()
    }
}

impl From<Brief> for Profile {
    fn from(brief: Brief) -> Self {
        Self { bytes: brief.0.clone(), brief }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_into_one_frame_is_told_as_it_is_and_more_only_in_brief() {
        let brief = |profile: &Profile| Vec::from(profile.brief().clone());
        assert_eq!(brief(&Profile::new([7; Profile::MAX_BRIEF]).unwrap()), [7; Profile::MAX_BRIEF]);
        let long = Profile::new([7; Profile::MAX]).unwrap();
        assert_eq!(brief(&long), []);
        assert_eq!(brief(&long.with_brief([1, 2]).unwrap()), [1, 2]);
    }

    #[test]
    fn what_is_too_long_is_an_error() {
        assert_eq!(
            Profile::new([0; Profile::MAX + 1]).unwrap_err().to_string(),
            "a profile of 8193 bytes is too long: at most 8192 fit"
        );
        assert!(Profile::default().with_brief([0; Profile::MAX_BRIEF + 1]).is_err());
        assert!(Brief::try_from(vec![0; Profile::MAX_BRIEF + 1]).is_err());
    }
}
