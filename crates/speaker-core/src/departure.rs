//! What kind of stop is expected: what the others are told when we are asked to stop.

use members::Absence;

/// What is known of our Pod and our node.
#[derive(Debug, Default)]
pub(crate) struct Departure {
    pub(crate) pod: Option<PodState>,
    pub(crate) node: Option<NodeState>,
}

/// What becomes of our Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    /// No other one would be put in its place.
    Unmanaged,
    /// When it goes, another one will be put in its place.
    Managed,
    /// It is on its way out, and so it will be.
    Replaced,
}

/// What becomes of our node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It goes on.
    InUse,
    /// Somebody wants it to be empty, maybe to switch it off.
    Vacated,
}

impl Departure {
    /// What our goodbye would be for, if we were asked to stop now. `None` if that cannot be told: kubelet stops the
    /// containers of a Pod that is deleted, maybe before we know of that, but also one that fails its probes, and
    /// all of them when the node is shut down.
    pub(crate) fn absence(&self) -> Option<Absence> {
        match (self.pod, self.node) {
            (Some(PodState::Replaced), Some(NodeState::InUse)) => Some(Absence::Brief),
            (Some(PodState::Managed), Some(NodeState::InUse)) => None,
            (_, Some(NodeState::Vacated) | None) | (Some(PodState::Unmanaged) | None, _) => {
                Some(Absence::Open)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_shall_be_back_when_our_pod_is_replaced_on_a_node_that_goes_on() {
        let absence = |pod, node| Departure { pod, node }.absence();
        let (brief, open) = (Some(Absence::Brief), Some(Absence::Open));
        let [in_use, vacated] = [Some(NodeState::InUse), Some(NodeState::Vacated)];
        for (pod, expected) in [
            (None, [open; 3]),
            (Some(PodState::Unmanaged), [open; 3]),
            (Some(PodState::Managed), [open, None, open]),
            (Some(PodState::Replaced), [open, brief, open]),
        ] {
            assert_eq!([None, in_use, vacated].map(|node| absence(pod, node)), expected, "{pod:?}");
        }
    }
}
