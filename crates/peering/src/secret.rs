//! Passwords in Secrets.

use bgp::config::{Password, PasswordError};

/// The type of Secret that a password may be in.
const TYPE: &str = "kubernetes.io/basic-auth";

/// A Secret that a `BGPPeer` names, as far as it can serve as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret(Result<Password, SecretError>);

/// What is known of a Secret that a `BGPPeer` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretState {
    /// It is there.
    Present(Secret),
    /// It is not there.
    Absent,
    /// The API server does not say.
    Unreadable,
}

/// Why there is no password in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is of another type.
    #[error("its type is {0:?}: make a new one of type {TYPE}")]
    Type(String),
    /// It lacks the key.
    #[error("it has no key password")]
    Key,
    /// The password itself.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl Secret {
    /// A Secret of this type, with this value under the key `password`.
    pub fn new(type_: &str, password: Option<&[u8]>) -> Self {
        Self(match password {
            _ if type_ != TYPE => Err(SecretError::Type(type_.to_owned())),
            None => Err(SecretError::Key),
            Some(password) => Password::new(password).map_err(SecretError::Password),
        })
    }

    /// The password in it.
    pub fn password(&self) -> Result<&Password, &SecretError> {
        self.0.as_ref()
    }
}
