//! Who somebody is to the others.

use std::net::SocketAddr;

use objects::NodeName;
use serde::{Deserialize, Serialize};

use crate::BootId;
use crate::config::Role;

/// One life of one process: what membership is decided about.
///
/// Of two with one name, the greater generation is the one that counts. Being declared dead ends a life for
/// good; whoever is alive all the same begins the next with a greater generation. So does who takes another role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    #[serde(with = "name")]
    pub(crate) name: NodeName,
    pub(crate) address: SocketAddr,
    pub(crate) boot: BootId,
    pub(crate) generation: u64,
    pub(crate) role: Role,
}

impl foca::Identity for Identity {
    type Addr = NodeName;

    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation.saturating_add(1), ..self.clone() })
    }

    fn addr(&self) -> NodeName {
        self.name.clone()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.generation, self.boot) > (adversary.generation, adversary.boot)
    }
}

/// Names on the wire: text of 1 to 253 bytes, the bounds that Kubernetes has for names.
pub(crate) mod name {
    use objects::NodeName;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(name: &NodeName, serializer: S) -> Result<S::Ok, S::Error> {
        name.as_str().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeName, D::Error> {
        let name = <&str>::deserialize(deserializer)?;
        if (1..=253).contains(&name.len()) {
            Ok(name.into())
        } else {
            Err(D::Error::custom("a name of this length"))
        }
    }
}
