//! Names of things, cheap to clone and impossible to mix up.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::text::{named, printable};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Something by this name.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            /// As it is where an object can have this name; whatever else somebody wrote for one is quoted.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", named(&*self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// The name of a Node.
    NodeName
);
name!(
    /// The name of an `IPAddressPool`.
    PoolName
);
name!(
    /// The name of an `L2Advertisement` or a `BGPAdvertisement`.
    AdvertisementName
);
name!(
    /// The name of a network interface, such as `eth0`.
    InterfaceName
);
name!(
    /// The name of a `BGPPeer`.
    BgpPeerName
);
name!(
    /// The name of a `BFDProfile`.
    BfdProfileName
);
name!(
    /// The name of a Secret in the namespace of the installation.
    SecretName
);

/// Where an object is that has a namespace. By namespace first, then by name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct NamespacedName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name within the namespace.
    pub name: Box<str>,
}

/// Thousands of keys in a map are mostly of one namespace, whose name is compared only where it is kept more than once.
impl Ord for NamespacedName {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_namespace = if Arc::ptr_eq(&self.namespace, &other.namespace) {
            Ordering::Equal
        } else {
            self.namespace.cmp(&other.namespace)
        };
        by_namespace.then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for NamespacedName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [namespace, name] = [&*self.namespace, &*self.name].map(printable);
        write!(f, "{namespace}/{name}")
    }
}

macro_rules! key {
    ($(#[$doc:meta])* $key:ident) => {
        $(#[$doc])*
        ///
        /// Thousands of them are known in a dozen places each, so that a place takes no more than a pointer.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $key(Arc<NamespacedName>);

        impl $key {
            /// The key of `namespace/name`.
            pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Box<str>>) -> Self {
                Self(Arc::new(NamespacedName { namespace: namespace.into(), name: name.into() }))
            }
        }

        impl Deref for $key {
            type Target = NamespacedName;

            fn deref(&self) -> &NamespacedName {
                &self.0
            }
        }

        impl fmt::Display for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

key!(
    /// Which Service.
    ServiceKey
);
key!(
    /// Which EndpointSlice.
    SliceKey
);
key!(
    /// Which `AddressReservation`.
    ReservationKey
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_as_it_is_and_anything_else_is_quoted() {
        for plain in ["lan", "node-1.example.org", "eth0.100", "br_lan", "controller@[2001:db8::1]:7946"] {
            assert_eq!(PoolName::from(plain).to_string(), plain);
        }
        for (odd, shown) in
            [("", r#""""#), ("a b", r#""a b""#), ("x\nINFO", r#""x\nINFO""#), ("\u{1b}[2J", r#""\u{1b}[2J""#)]
        {
            assert_eq!(InterfaceName::from(odd).to_string(), shown);
        }
        assert!(PoolName::from("x".repeat(100_000)).to_string().len() < 400);
    }

    #[test]
    fn keys_sort_by_namespace_and_name_wherever_these_are_kept() {
        let namespaces: [Arc<str>; 3] = ["a".into(), "b".into(), "b".into()];
        let keys: Vec<ServiceKey> = namespaces
            .iter()
            .flat_map(|namespace| ["x", "y"].map(|name| ServiceKey::new(Arc::clone(namespace), name)))
            .collect();
        for one in &keys {
            for other in &keys {
                let expected = (&*one.namespace, &*one.name).cmp(&(&*other.namespace, &*other.name));
                assert_eq!(one.cmp(other), expected, "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_key_of_what_no_object_can_be_called_is_shown_in_one_line() {
        assert_eq!(ServiceKey::new("prod", "web").to_string(), "prod/web");
        assert_eq!(ServiceKey::new("pr\u{7f}d", "a\nb").to_string(), "pr\\u{7f}d/a\\nb");
    }
}
