//! What a member tells everybody of itself.

use std::sync::Arc;

/// A few bytes that a member tells everybody of itself, meaningless here. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Profile(Arc<[u8]>);

/// A [`Profile`] must be short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a profile of {0} bytes is too long: at most {max} fit", max = Profile::MAX)]
pub struct ProfileError(usize);

impl Profile {
    /// The greatest length, in bytes, so that it fits into one frame with everything else.
    pub const MAX: usize = 256;

    /// The profile of these bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ProfileError> {
        let bytes = bytes.into();
        if bytes.len() > Self::MAX { Err(ProfileError(bytes.len())) } else { Ok(Self(bytes)) }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Profile {
    type Error = ProfileError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, ProfileError> {
        Self::new(bytes)
    }
}

impl From<Profile> for Vec<u8> {
    fn from(profile: Profile) -> Self {
        profile.0.to_vec()
    }
}
