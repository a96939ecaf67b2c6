//! The speakers that are alive, and where they can announce.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use introspection::{Interface, PeerState, Usability};
use placement::{Abilities, Ability, ByProtocol, InterfaceName, NodeName, Prefixes};

use crate::ask::Told;
use crate::programs::{Part, Program};

/// The speakers that are alive, and where they can announce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Speakers {
    pub(crate) members: BTreeSet<NodeName>,
    pub(crate) abilities: BTreeMap<NodeName, Abilities>,
    /// The prefixes of their interfaces, as far as they have told.
    pub(crate) prefixes: BTreeMap<NodeName, Prefixes>,
    /// The addresses that they keep, as they have told.
    pub(crate) kept: BTreeMap<NodeName, BTreeSet<IpAddr>>,
    /// In how many seconds interfaces count as steady that do not yet.
    steady_in: BTreeMap<(NodeName, InterfaceName), u64>,
    /// The nodes that have a Pod of a speaker; nothing where the Pods cannot be seen.
    pub(crate) pods_on: Option<BTreeSet<NodeName>>,
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
    pub(crate) fn read(programs: Option<&[Program]>, told: &[Told]) -> Self {
        let speakers: Vec<_> = told.iter().filter_map(Told::speaker).collect();
        let pods = || programs.unwrap_or_default().iter().filter(|program| program.part == Part::Speaker);
        let node = |program: &Program| Some(program.node.as_deref()?.into());
        let pods_on = programs.map(|_| pods().filter_map(node).collect());
        if speakers.is_empty() {
            let members = pods().filter(|program| program.ready).filter_map(node).collect();
            return Self { members, pods_on, ..Self::default() };
        }
        let mut this = Self { source: Source::Gossip, pods_on, ..Self::default() };
        for speaker in &speakers {
            for peer in &speaker.peers.items {
                if peer.state == PeerState::Heard {
                    this.members.insert(peer.node.as_str().into());
                }
                if let Some(interfaces) = &peer.interfaces {
                    let node: NodeName = peer.node.as_str().into();
                    this.abilities.insert(node.clone(), abilities(interfaces));
                    this.prefixes.entry(node).or_default().extend(prefixes(interfaces));
                }
            }
        }
        // What a speaker says of itself counts more than what others have heard.
        for speaker in &speakers {
            let node: NodeName = speaker.node.as_str().into();
            let heard_before = this.abilities.get(&node).cloned();
            let interfaces = &speaker.interfaces.items;
            this.abilities.insert(node.clone(), with_losses(abilities(interfaces), heard_before));
            let its_prefixes = this.prefixes.entry(node.clone()).or_default();
            its_prefixes.retain(|name, _| interfaces.iter().all(|it| it.name != name.as_str()));
            its_prefixes.extend(prefixes(interfaces));
            for interface in interfaces {
                if let Some(seconds) = interface.steady_in_seconds.filter(|_| interface.unsteady) {
                    this.steady_in.insert((node.clone(), interface.name.as_str().into()), seconds);
                }
            }
            this.kept.insert(node.clone(), speaker.kept.iter().copied().collect());
            this.members.insert(node);
        }
        this
    }

    /// Whether a node has a Pod of a speaker, if that can be seen.
    pub(crate) fn has_pod(&self, node: &NodeName) -> Option<bool> {
        Some(self.pods_on.as_ref()?.contains(node))
    }

    /// Why a node is passed over that has lost these interfaces, or may lose them again.
    pub(crate) fn why_passed_over(
        &self,
        node: &NodeName,
        interfaces: &BTreeMap<InterfaceName, Ability>,
    ) -> String {
        let why = |(name, ability): (&InterfaceName, &Ability)| match ability {
            Ability::Unsteady => self.waits(node, name),
            Ability::Lost | Ability::Unable | Ability::Able => {
                format!("its {name} has failed, on which another node can announce the address")
            }
        };
        interfaces.iter().map(why).collect::<Vec<_>>().join("; ")
    }

    /// The interfaces that count as unsteady, each with what that means.
    pub(crate) fn unsteady(&self) -> Vec<String> {
        let mut told = Vec::new();
        for (node, abilities) in &self.abilities {
            let Abilities::Known(by_name) = abilities else { continue };
            for (name, it) in by_name {
                if [it.arp, it.ndp].contains(&Ability::Unsteady) {
                    told.push(format!("{node} {}", self.waits(node, name)));
                }
            }
        }
        told
    }

    fn waits(&self, node: &NodeName, name: &InterfaceName) -> String {
        let failed = format!("its {name} failed twice or more within two minutes");
        match self.steady_in.get(&(node.clone(), name.clone())) {
            Some(seconds) => format!("waits {seconds} s more where another node can announce: {failed}"),
            None => format!("waits for some time where another node can announce: {failed}"),
        }
    }
}

fn abilities(interfaces: &[Interface]) -> Abilities {
    let ability = |usability: &Usability, unsteady| match usability {
        Usability::Used if unsteady => Ability::Unsteady,
        Usability::Used => Ability::Able,
        Usability::Lost => Ability::Lost,
        Usability::Unfit(_) | Usability::Unknown => Ability::Unable,
    };
    let by_protocol = |it: &Interface| ByProtocol {
        arp: ability(&it.arp, it.unsteady),
        ndp: ability(&it.ndp, it.unsteady),
    };
    let relevant = interfaces.iter().map(|it| (it.name.as_str().into(), by_protocol(it)));
    Abilities::Known(relevant.filter(|(_, it)| *it != ByProtocol::default()).collect())
}

/// The prefixes of each interface. One that cannot be read says nothing.
fn prefixes(interfaces: &[Interface]) -> Prefixes {
    let of = |it: &Interface| {
        let prefixes: BTreeSet<_> = it.prefixes.iter().filter_map(|text| text.parse().ok()).collect();
        (!prefixes.is_empty()).then(|| (it.name.as_str().into(), prefixes))
    };
    interfaces.iter().filter_map(of).collect()
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

#[cfg(test)]
mod tests {
    use introspection::Status;
    use objects::ServiceKey;
    use placement::Failback;

    use super::*;
    use crate::fixtures::{edited, service, snapshot, told};
    use crate::predict::assignment;
    use crate::snapshot::Snapshot;

    const IP: &str = "192.0.2.1";

    /// Three nodes, the interfaces of each of which are edited.
    fn cluster(edit: impl Fn(&str, &mut Vec<Interface>)) -> Snapshot {
        let speakers = ["n1", "n2", "n3"].map(|node| edited(told(node, vec![]), &edit));
        snapshot(&[service("web", Some(IP))], &["n1", "n2", "n3"], &speakers)
    }

    fn key() -> ServiceKey {
        ServiceKey::new("default", "web")
    }

    fn vip() -> IpAddr {
        IP.parse().unwrap()
    }

    /// Who announces, and the text on each node that is passed over.
    fn elected(snapshot: &Snapshot) -> (String, Vec<String>) {
        let placement = snapshot.placed_now();
        let announcer = assignment(&placement, &key(), vip()).unwrap().unwrap().announcer;
        let passed_over = placement.passed_over(vip());
        let why = |(node, interfaces): (&NodeName, _)| snapshot.speakers.why_passed_over(node, interfaces);
        (announcer.to_string(), passed_over.iter().map(why).collect())
    }

    #[test]
    fn who_failed_twice_is_passed_over_with_how_long_it_waits() {
        let steady = cluster(|_, _| {});
        let (first, nobody) = elected(&steady);
        assert_eq!((nobody.len(), steady.speakers.unsteady().len()), (0, 0));
        for (seconds, words) in [(Some(12), "waits 12 s more"), (None, "waits for some time")] {
            let unsteady = cluster(|node, interfaces| {
                if node == first {
                    interfaces[0].unsteady = true;
                    interfaces[0].steady_in_seconds = seconds;
                }
            });
            let (second, why) = elected(&unsteady);
            assert_ne!(second, first);
            let [why] = &why[..] else { panic!("{why:?}") };
            assert!(why.contains(words) && why.contains("its eth0 failed twice"), "{why}");
            let [note] = &unsteady.speakers.unsteady()[..] else { panic!("one interface is unsteady") };
            assert_eq!(*note, format!("{first} {why}"));
        }
        let all = cluster(|_, interfaces| interfaces[0].unsteady = true);
        assert_eq!(elected(&all), (first, vec![]), "nobody is better");
    }

    #[test]
    fn what_a_speaker_says_that_it_keeps_stays_with_it_if_nothing_goes_back() {
        let (first, _) = elected(&cluster(|_, _| {}));
        let other = if first == "n1" { "n2" } else { "n1" };
        let mut speakers = ["n1", "n2", "n3"].map(|node| told(node, vec![]));
        for document in speakers.iter_mut().filter_map(|it| it.document.as_mut().ok()) {
            if let Status::SpeakerStatus(status) = &mut document.status {
                status.kept.extend((status.node == other).then(vip));
            }
        }
        let mut snapshot = snapshot(&[service("web", Some(IP))], &["n1", "n2", "n3"], &speakers);
        assert_eq!(elected(&snapshot).0, first);
        snapshot.failback = Failback::Never;
        assert_eq!(elected(&snapshot).0, other);
        snapshot.speakers.members.remove(&other.into());
        assert_eq!(elected(&snapshot).0, first);
    }

    #[test]
    fn a_loss_on_another_lan_than_the_addresss_passes_nobody_over() {
        let (first, _) = elected(&cluster(|_, _| {}));
        let with = |lan: &str| {
            cluster(|node, interfaces| {
                let eth1 = Interface { name: "eth1".to_owned(), mac: None, ..interfaces[0].clone() };
                interfaces.push(eth1);
                interfaces[0].prefixes = vec!["192.0.2.0/24".to_owned()];
                interfaces[1].prefixes = vec![lan.to_owned(), "nonsense".to_owned()];
                if node == first {
                    interfaces[1].arp = Usability::Lost;
                }
            })
        };
        assert_eq!(elected(&with("198.51.100.0/24")), (first.clone(), vec![]));
        let (second, why) = elected(&with("192.0.2.0/25"));
        assert_ne!(second, first);
        assert!(why.len() == 1 && why[0].contains("its eth1 has failed"), "{why:?}");
    }
}
