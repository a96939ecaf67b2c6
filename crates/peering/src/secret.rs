//! Passwords in Secrets.

use bgp::config::{Password, PasswordError};
use objects::SecretName;

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
    /// It held this password until it became like that: sessions go on by it.
    Kept(Password, Box<SecretState>),
}

impl SecretState {
    /// Like this after it was like `before`. A Secret that is replaced is gone for a moment, and one that is removed by mistake
    /// for longer: no session is ended for that.
    #[must_use]
    pub fn after(self, before: Option<Self>) -> Self {
        let known = match before {
            Some(Self::Present(Secret(Ok(password))) | Self::Kept(password, _)) => Some(password),
            Some(Self::Present(Secret(Err(_))) | Self::Absent | Self::Unreadable) | None => None,
        };
        match (self, known) {
            (now @ (Self::Present(Secret(Err(_))) | Self::Absent | Self::Unreadable), Some(password)) => {
                Self::Kept(password, Box::new(now))
            }
            (now, _) => now,
        }
    }

    /// What is wrong with the Secret of this name, where it holds no password.
    pub(crate) fn fault(&self, name: &SecretName) -> Option<String> {
        let why = match self {
            Self::Present(secret) => format!("Secret {name}: {}", secret.password().err()?),
            Self::Absent => format!(
                "there is no Secret {name} in the namespace of the installation: create it, or correct the name"
            ),
            Self::Unreadable => format!(
                "the API server does not hand out Secret {name}: let the service account of the speakers list and watch it"
            ),
            Self::Kept(_, now) => {
                return Some(format!(
                    "{}; until then sessions go on with the password that it had",
                    now.fault(name)?
                ));
            }
        };
        Some(format!("spec.passwordSecret: {why}"))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn present(password: &[u8]) -> SecretState {
        SecretState::Present(Secret::new(TYPE, Some(password)))
    }

    #[test]
    fn a_password_that_was_known_is_kept_until_there_is_another() {
        let opaque = SecretState::Present(Secret::new("Opaque", Some(b"a")));
        assert_eq!(SecretState::Absent.after(None), SecretState::Absent);
        assert_eq!(SecretState::Absent.after(Some(opaque.clone())), SecretState::Absent);
        let mut state = present(b"a").after(None);
        for (now, why) in [
            (SecretState::Absent, "there is no Secret router"),
            (SecretState::Unreadable, "does not hand out"),
            (opaque, "its type is"),
        ] {
            state = now.clone().after(Some(state));
            assert_eq!(state, SecretState::Kept("a".parse().unwrap(), Box::new(now)));
            let fault = state.fault(&"router".into()).unwrap();
            assert!(fault.contains(why) && fault.ends_with("go on with the password that it had"), "{fault}");
        }
        assert_eq!(present(b"b").after(Some(state)), present(b"b"));
        assert_eq!(present(b"b").fault(&"router".into()), None);
    }
}
