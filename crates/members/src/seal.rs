//! Keys, and how frames are sealed with them.

/// Tells one start of a process from another. Also the salt of its keys, so it must never repeat: draw all bits
/// at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u128);

/// What frames are sealed with.
#[derive(Clone, Debug)]
pub struct Key(Vec<u8>);

/// A secret is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret of {0} bytes is too short: at least {min} are needed", min = Key::MIN)]
pub struct KeyError(usize);

impl Key {
    /// The least length of a secret, in bytes.
    pub const MIN: usize = 16;

    /// The key made of `secret`: any bytes, text or not, that nobody can guess.
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < Self::MIN { Err(KeyError(secret.len())) } else { Ok(Self(secret.to_vec())) }
    }
}

/// The keys in use: the first seals, all open. Without any, frames are not sealed.
pub type Keys = Vec<Key>;
