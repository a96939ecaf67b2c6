//! The objects, and what follows from all of them together.

use std::collections::{BTreeMap, BTreeSet};

use bfd::config::Profile;
use bgp::config::{Password, RouterId, SessionConfig};
use bgp::route::{Attributes, Communities, Community, LargeCommunity};
use objects::text::quoted;
use objects::{BfdProfileName, BgpPeerName, Family, Labels, SecretName};
use placement::AdvertisementName;
use pools::Pools;

use crate::{Advertisement, Announcing, PasswordSource, Peer, SecretState};

/// For each object that is not in force as it stands, what is wrong.
pub type Faults<K> = BTreeMap<K, Vec<String>>;

/// What a `Community` object says: names and what they stand for, as they are written.
pub type CommunityNames = Vec<(String, String)>;

/// All objects about BGP.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// The peers, or why one cannot be read.
    pub peers: BTreeMap<BgpPeerName, Result<Peer, Vec<String>>>,
    /// The advertisements, or why one is not in force at all; and what of it cannot be read.
    pub advertisements: BTreeMap<AdvertisementName, (Option<Advertisement>, Vec<String>)>,
    /// Names of communities, by the object that defines them.
    pub communities: BTreeMap<String, CommunityNames>,
    /// The BFD profiles, or why one cannot be read.
    pub profiles: BTreeMap<BfdProfileName, Result<Profile, Vec<String>>>,
    /// What is known of the Secrets that peers name; nothing of those that are yet to be read.
    pub secrets: BTreeMap<SecretName, SecretState>,
}

/// What the peers come to on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    /// The sessions that the node is to have.
    pub sessions: BTreeMap<BgpPeerName, SessionConfig>,
    /// Peers of this node whose Secret is yet to be read.
    pub pending: BTreeSet<BgpPeerName>,
    /// Why other peers have none, or what theirs lacks.
    pub faults: Faults<BgpPeerName>,
}

/// What of a node counts for the sessions.
#[derive(Debug, Clone, Copy)]
pub struct ThisNode<'a> {
    /// Its labels.
    pub labels: &'a Labels,
    /// Its BGP identifier, for peers that ask for no other.
    pub router_id: RouterId,
}

impl Objects {
    /// The Secrets that peers name.
    pub fn wanted_secrets(&self) -> BTreeSet<SecretName> {
        let sources = self.peers.values().flatten().map(|peer| &peer.password);
        let names = sources.filter_map(|source| match source {
            PasswordSource::Secret(name) => Some(name.clone()),
            PasswordSource::None | PasswordSource::Given(_) => None,
        });
        names.collect()
    }

    /// What is wrong with peers on whichever node: all but their passwords in Secrets, and that two of them are one router. Of
    /// those without their BFD profile the sessions go on, without BFD.
    pub fn peer_faults(&self) -> Faults<BgpPeerName> {
        let faults = |peer: &Result<Peer, Vec<String>>| match peer {
            Ok(peer) => self.profile(peer).err().map(|why| vec![why]),
            Err(why) => Some(why.clone()),
        };
        self.peers.iter().filter_map(|(name, peer)| Some((name.clone(), faults(peer)?))).collect()
    }

    /// What the authors of peers may not expect.
    pub fn peer_warnings(&self) -> Faults<BgpPeerName> {
        let echoes = |peer: &Peer| {
            let profile = self.profile(peer).ok().flatten();
            peer.transport.family() == Family::V6 && profile.is_some_and(|profile| profile.echo.is_some())
        };
        let warned = self.peers.iter().filter(|(_, peer)| peer.as_ref().is_ok_and(echoes));
        let warning = "spec.bfdProfile: it has echoMode, and the router is reached by IPv6, over which FRR among others sends no echo packets: with such a router, control packets alone find out that it is gone";
        warned.map(|(name, _)| (name.clone(), vec![warning.to_owned()])).collect()
    }

    /// What the authors of advertisements may not expect: that a peer they name is not there.
    pub fn advertisement_warnings(&self) -> Faults<AdvertisementName> {
        let missing = |it: &Advertisement| {
            let all = it.peers.iter().filter(|peer| !self.peers.contains_key(*peer));
            let warning = |peer| {
                format!(
                    "spec.peers: there is no BGPPeer {peer}, to which nothing is announced until then: create it, or correct the name"
                )
            };
            all.map(warning).collect::<Vec<_>>()
        };
        let all = self.advertisements.iter();
        let each = all.filter_map(|(name, (it, _))| Some((name.clone(), missing(it.as_ref()?))));
        each.filter(|(_, warnings)| !warnings.is_empty()).collect()
    }

    /// How the BFD session beside a peer's works, if it asks for one.
    fn profile(&self, peer: &Peer) -> Result<Option<Profile>, String> {
        let Some(name) = &peer.bfd else { return Ok(None) };
        let without = "until then sessions go on without BFD";
        match self.profiles.get(name) {
            Some(Ok(profile)) => Ok(Some(*profile)),
            Some(Err(why)) => {
                Err(format!("spec.bfdProfile: BFDProfile {name}: {}; {without}", why.join("; ")))
            }
            None => Err(format!(
                "spec.bfdProfile: there is no BFDProfile {name}: create it, or correct the name; {without}"
            )),
        }
    }

    /// The sessions that a node is to have.
    pub fn sessions(&self, node: ThisNode<'_>) -> Sessions {
        let Sessions { mut sessions, mut pending, mut faults } = Sessions::default();
        let mut taken: Vec<&Peer> = vec![];
        let mut with_kept: Vec<(BgpPeerName, String)> = vec![];
        let mut peers: Vec<_> = self.peers.iter().collect();
        peers.sort_by_key(|(name, peer)| (peer.as_ref().ok().and_then(|peer| peer.created), *name));
        for (name, peer) in peers {
            let session = peer.as_ref().map_err(Clone::clone).and_then(|peer| {
                if !peer.selects_node(node.labels) {
                    return Ok(None);
                }
                let password = self.resolve(peer).map_err(|why| vec![why])?;
                if let Some(other) = taken.iter().find(|other| other.is_same_router(peer)) {
                    return Err(vec![format!(
                        "BGPPeer {} has the same address or interface and port, and its nodes include this one: remove one of them, or let their spec.nodeSelectors select other nodes",
                        other.name
                    )]);
                }
                taken.push(peer);
                // Without BFD a dead router is found out later. Without a session it would be as good as dead.
                let bfd = self.profile(peer).unwrap_or_default();
                Ok(Some(match password {
                    Resolved::Known(password) => Some(peer.session(node.router_id, password, bfd)),
                    Resolved::Kept(password, why) => {
                        with_kept.push((name.clone(), why));
                        Some(peer.session(node.router_id, Some(password), bfd))
                    }
                    Resolved::Pending => None,
                }))
            });
            match session {
                Ok(Some(Some(session))) => _ = sessions.insert(name.clone(), session),
                Ok(Some(None)) => _ = pending.insert(name.clone()),
                Ok(None) => {}
                Err(why) => _ = faults.insert(name.clone(), why),
            }
        }
        let mut without_profile = self.peer_faults();
        without_profile.retain(|name, _| sessions.contains_key(name) || pending.contains(name));
        faults.extend(without_profile);
        for (name, why) in with_kept {
            faults.entry(name).or_default().push(why);
        }
        Sessions { sessions, pending, faults }
    }

    /// The password of a peer, where what it refers to is there.
    fn resolve(&self, peer: &Peer) -> Result<Resolved, String> {
        let known = |password| Ok(Resolved::Known(Some(password)));
        let name = match &peer.password {
            PasswordSource::None => return Ok(Resolved::Known(None)),
            PasswordSource::Given(password) => return known(password.clone()),
            PasswordSource::Secret(name) => name,
        };
        let Some(state) = self.secrets.get(name) else { return Ok(Resolved::Pending) };
        match (state, state.fault(name)) {
            (SecretState::Kept(password, _), Some(why)) => Ok(Resolved::Kept(password.clone(), why)),
            (_, Some(why)) => Err(why),
            (SecretState::Present(secret), None) => {
                secret.password().map_or(Ok(Resolved::Pending), |password| known(password.clone()))
            }
            (SecretState::Absent | SecretState::Unreadable | SecretState::Kept(..), None) => {
                Ok(Resolved::Pending)
            }
        }
    }

    /// The advertisements that are in force, and for what some is not: for pools, or for what older ones announce otherwise.
    pub fn advertisements(
        &self,
        pools: &Pools,
    ) -> (BTreeMap<AdvertisementName, Announcing>, Faults<AdvertisementName>) {
        let names = Names::of(&self.communities);
        let (mut announcing, mut faults) = (BTreeMap::new(), Faults::new());
        for (name, (advertisement, unreadable)) in &self.advertisements {
            let mut wrong = unreadable.clone();
            if let Some(advertisement) = advertisement {
                match names.attributes(advertisement) {
                    Ok(attributes) => {
                        let Advertisement { scope, created, peers, aggregation, share, .. } =
                            advertisement.clone();
                        let it = Announcing { scope, created, peers, aggregation, attributes, share };
                        wrong.extend(exceeded(&it, pools));
                        announcing.insert(name.clone(), it);
                    }
                    Err(why) => wrong.push(why),
                }
            }
            if !wrong.is_empty() {
                faults.insert(name.clone(), wrong);
            }
        }
        for (name, why) in overruled(&announcing, pools) {
            faults.entry(name).or_default().extend(why);
        }
        (announcing, faults)
    }
}

/// The advertisements that older ones overrule whichever Services there are.
fn overruled(
    announcing: &BTreeMap<AdvertisementName, Announcing>,
    pools: &Pools,
) -> Faults<AdvertisementName> {
    let preferences: BTreeSet<_> = announcing.values().map(|it| it.attributes.local_preference).collect();
    // As nearly everywhere: nothing is compared.
    if preferences.len() < 2 {
        return Faults::new();
    }
    let covered =
        |it: &Announcing| pools.iter().filter(|pool| it.covers(pool)).map(|pool| &pool.name).collect();
    let mut all: Vec<(&Announcing, BTreeSet<_>)> = announcing.values().map(|it| (it, covered(it))).collect();
    all.sort_by_key(|(it, _)| it.age());
    let mut faults = Faults::new();
    for (index, (it, own)) in all.iter().enumerate() {
        let by = all[..index].iter().find(|(older, of_older)| {
            it.is_always_overruled_by(older, own.intersection(of_older).filter_map(|name| pools.get(name)))
        });
        if let Some((older, _)) = by {
            faults.insert(it.scope.name.clone(), vec![older.overrules()]);
        }
    }
    faults
}

/// What is known of the password of a peer.
enum Resolved {
    Known(Option<Password>),
    /// It is that which the Secret had, which is wrong now.
    Kept(Password, String),
    /// It is in a Secret that is yet to be read.
    Pending,
}

/// The pools for which an advertisement is not in force.
fn exceeded<'a>(it: &'a Announcing, pools: &'a Pools) -> impl Iterator<Item = String> {
    let covered = pools.iter().filter(|pool| it.scope.covers(pool));
    covered.filter_map(|pool| {
        let range = it.exceeds(pool)?;
        let (field, length) = match range.family() {
            Family::V4 => ("aggregationLength", it.aggregation.length(Family::V4)),
            Family::V6 => ("aggregationLengthV6", it.aggregation.length(Family::V6)),
        };
        Some(format!(
            "spec.{field}: prefixes of length {length} reach beyond {range} of pool {}, which is not announced by this: write {} or more",
            pool.name,
            range.shortest_prefix()
        ))
    })
}

/// What names of communities stand for: what is written, and in which objects.
struct Names<'a>(BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<&'a str>>>);

impl<'a> Names<'a> {
    fn of(objects: &'a BTreeMap<String, CommunityNames>) -> Self {
        let mut names: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        for (object, aliases) in objects {
            for (name, value) in aliases {
                let values = names.entry(name.as_str()).or_default();
                values.entry(value.as_str()).or_default().insert(object.as_str());
            }
        }
        Self(names)
    }

    /// What an advertisement tells about its prefixes.
    fn attributes(&self, advertisement: &Advertisement) -> Result<Attributes, String> {
        let (mut standard, mut large) = (BTreeSet::new(), BTreeSet::new());
        for (index, text) in advertisement.communities.iter().enumerate() {
            let wrong = |why: String| format!("spec.communities[{index}] {}: {why}", quoted(text));
            match self.read(text).map_err(wrong)? {
                Either::Standard(community) => _ = standard.insert(community),
                Either::Large(community) => _ = large.insert(community),
            }
        }
        let too_many = |why: bgp::route::TooMany| format!("spec.communities: {why}");
        Ok(Attributes {
            local_preference: advertisement.local_preference,
            communities: Communities::new(standard).map_err(too_many)?,
            large_communities: Communities::new(large).map_err(too_many)?,
            prepend: advertisement.prepend,
            link_bandwidth: None,
        })
    }

    /// A name goes before what can be read as it stands.
    fn read(&self, text: &str) -> Result<Either, String> {
        let Some(values) = self.0.get(text) else {
            if !text.contains(':') {
                return Err(
                    "no Community object defines this name: create one, or correct the name".to_owned()
                );
            }
            return read(text);
        };
        let mut values = values.iter();
        match (values.next(), values.next()) {
            (Some((value, objects)), None) => read(value).map_err(|why| {
                let object = objects.first().copied().unwrap_or_default();
                format!("Community {} gives it the value {}, which is {why}", quoted(object), quoted(value))
            }),
            (Some((_, one)), Some((_, other))) => {
                let of = |objects: &BTreeSet<&str>| {
                    quoted(objects.first().copied().unwrap_or_default()).to_string()
                };
                Err(format!(
                    "Community {} and Community {} give it different values: keep one",
                    of(one),
                    of(other)
                ))
            }
            (None, _) => Err("no Community object defines this name".to_owned()),
        }
    }
}

/// A community of one sort or the other.
enum Either {
    Standard(Community),
    Large(LargeCommunity),
}

fn read(text: &str) -> Result<Either, String> {
    if text.starts_with("large:") {
        return text.parse().map(Either::Large).map_err(|why: bgp::route::NoCommunity| why.to_string());
    }
    text.parse().map(Either::Standard).map_err(|why: bgp::route::NoCommunity| why.to_string())
}

#[cfg(test)]
mod tests;
