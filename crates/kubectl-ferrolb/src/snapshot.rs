//! The objects that decisions are made from, at one moment.

use std::collections::{BTreeMap, BTreeSet};

use api::{IPAddressPool, L2Advertisement};
use introspection::{Interface, PeerState, Usability};
use placement::{Abilities, Ability, ByProtocol, ExcludeLabel, NodeName};
use slim::{EndpointSlice, Namespace, Node, Service};
use translation::Rules;

use crate::ask::Told;
use crate::programs::{Part, Program};

/// The objects that decisions are made from.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// What the programs were told of Services.
    pub(crate) rules: Rules,
    pub(crate) exclude_label: ExcludeLabel,
    /// Whether `NodeAddressPool`s are served, too.
    pub(crate) node_pools: bool,
    pub(crate) services: Vec<Service>,
    pub(crate) pools: Vec<IPAddressPool>,
    pub(crate) advertisements: Vec<L2Advertisement>,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) slices: Vec<EndpointSlice>,
    pub(crate) speakers: Speakers,
}

/// The speakers that are alive, and where they can announce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Speakers {
    pub(crate) members: BTreeSet<NodeName>,
    pub(crate) abilities: BTreeMap<NodeName, Abilities>,
    /// By what that is known.
    pub(crate) source: Source,
}

/// By what it is known which speakers are alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// Speakers have said whom they hear.
    Gossip,
    /// Their Pods are ready, by the API server; where they can announce is not known.
    #[default]
    Pods,
}

impl Speakers {
    /// What the speakers say themselves where one has answered, else what the API server says of their Pods.
    pub(crate) fn read(programs: &[Program], told: &[Told]) -> Self {
        let speakers: Vec<_> = told.iter().filter_map(Told::speaker).collect();
        if speakers.is_empty() {
            let ready = programs.iter().filter(|program| program.part == Part::Speaker && program.ready);
            let members = ready.filter_map(|program| Some(program.node.as_deref()?.into())).collect();
            return Self { members, ..Self::default() };
        }
        let mut this = Self { source: Source::Gossip, ..Self::default() };
        for speaker in &speakers {
            for peer in &speaker.peers.items {
                if peer.state == PeerState::Heard {
                    this.members.insert(peer.node.as_str().into());
                }
                if let Some(interfaces) = &peer.interfaces {
                    this.abilities.insert(peer.node.as_str().into(), abilities(interfaces));
                }
            }
        }
        // What a speaker says of itself counts more than what others have heard.
        for speaker in &speakers {
            let node: NodeName = speaker.node.as_str().into();
            let heard_before = this.abilities.get(&node).cloned();
            this.abilities
                .insert(node.clone(), with_losses(abilities(&speaker.interfaces.items), heard_before));
            this.members.insert(node);
        }
        this
    }
}

fn abilities(interfaces: &[Interface]) -> Abilities {
    let ability = |usability: &Usability| match usability {
        Usability::Used => Ability::Able,
        Usability::Lost => Ability::Lost,
        Usability::Unfit(_) | Usability::Unknown => Ability::Unable,
    };
    let by_protocol = |it: &Interface| ByProtocol { arp: ability(&it.arp), ndp: ability(&it.ndp) };
    let relevant = interfaces.iter().map(|it| (it.name.as_str().into(), by_protocol(it)));
    Abilities::Known(relevant.filter(|(_, it)| *it != ByProtocol::default()).collect())
}

/// A speaker says of its interfaces which it uses; the others know which it has lost.
fn with_losses(now: Abilities, heard: Option<Abilities>) -> Abilities {
    let (Abilities::Known(mut now), Some(Abilities::Known(heard))) = (now.clone(), heard) else { return now };
    for (name, heard) in heard {
        let mine = now.entry(name).or_default();
        if mine.arp == Ability::Unable && heard.arp == Ability::Lost {
            mine.arp = Ability::Lost;
        }
        if mine.ndp == Ability::Unable && heard.ndp == Ability::Lost {
            mine.ndp = Ability::Lost;
        }
    }
    now.retain(|_, it| *it != ByProtocol::default());
    Abilities::Known(now)
}
