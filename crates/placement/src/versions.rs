//! How much of the cluster a node has seen: by the versions of the objects, kind by kind.

/// A kind of objects that decide who announces what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Services.
    Services,
    /// Slices of endpoints.
    EndpointSlices,
    /// Nodes.
    Nodes,
    /// Pools.
    Pools,
    /// Advertisements.
    Advertisements,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// A resource version of each kind; zero where none is known, or where it is no number.
///
/// They are compared within one kind only: the API server may keep some kinds in another etcd than the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versions(pub [u64; Kind::COUNT]);

impl Versions {
    /// Sets that of a kind.
    pub fn set(&mut self, kind: Kind, version: u64) {
        self.0[kind as usize] = version;
    }

    /// That of a kind.
    pub fn get(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Whether all is known.
    pub fn is_known(&self) -> bool {
        !self.0.contains(&0)
    }

    /// Whether whoever has seen everything up to these has not seen `others`.
    pub fn lack(&self, others: &Self) -> bool {
        self.0.iter().zip(&others.0).any(|(ours, theirs)| ours < theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_compared_for_itself() {
        let of = |services, nodes| Versions([services, 7, nodes, 7, 7]);
        assert!(!of(5, 9).lack(&of(5, 9)) && !of(6, 9).lack(&of(5, 9)));
        assert!(of(4, 9).lack(&of(5, 9)), "a later Node is no Service");
        assert!(of(4, 9).lack(&of(5, 8)) && of(5, 8).lack(&of(4, 9)));
        assert!(of(1, 1).is_known() && !of(1, 0).is_known());
    }
}
