//! What to do, for each reason that is given.

mod advertised;
mod endpoints;
mod nodes;

use introspection::AddressState;
use ipam::{
    Conflict, Families, Family, Limit, NotAdmitted, QuotaReached, Reason, Refusal, ServiceKey, Unsuitable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use objects::{NodeName, PoolName};
use placement::{Ineligible, Obstacle, Unadvertised, Unannounced};
use pools::Pools;

pub(crate) use self::advertised::Advertised;
pub(crate) use self::nodes::{of_no_pools, of_refused_nodes};
use crate::commands::nodes::no_speaker;
use crate::nearest::did_you_mean;
use crate::predict::NoAddress;
use crate::snapshot::{ADVERTISEMENT, Elsewhere, FOR_ROUTERS, POOL, Snapshot, missing_pools};

/// What to do about a Service that a `NodeAddressPool` may be for, of which the controller alone knows.
pub(crate) fn of_nodes(key: &ServiceKey) -> String {
    format!(
        "a NodeAddressPool may be for it, and its events say what that refuses: kubectl describe service -n {} {}",
        key.namespace, key.name
    )
}

/// What helps a Service that has no address. `by_name` is a pool that would give it one if it asked for the pool; `pools` are
/// those that there are.
pub(crate) fn of_no_address(
    why: &NoAddress,
    by_name: Option<&PoolName>,
    families: Option<Families>,
    pools: &Pools,
    elsewhere: &[Elsewhere],
) -> Option<String> {
    match why {
        NoAddress::Unservable(_) => {
            Some("change the Service's clusterIP or ipFamilyPolicy so that it has a cluster IP of each family it asks for".to_owned())
        }
        NoAddress::Refused(Refusal::NoPools) if let Some(it) = Elsewhere::of_kind(elsewhere, POOL) => {
            Some(it.remedy())
        }
        NoAddress::Refused(Refusal::UnknownPool(name)) if let Some(it) = Elsewhere::pool(elsewhere, name) => {
            Some(it.remedy())
        }
        NoAddress::Refused(refusal) => Some(of_refusal(refusal, by_name, families, pools)),
        NoAddress::Deleting => None,
    }
}

/// What helps where the API server does not take a Service's status, by what it says.
pub(crate) fn of_refused_status(said: &str) -> &'static str {
    if said.contains("ValidatingAdmissionPolicy") || said.contains("admission policy") {
        "change that policy, so that it lets FerroLB's controller write services/status: kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings"
    } else if said.contains("webhook") {
        "see whether that webhook's own Pod runs, and have it leave services/status to FerroLB's controller: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"
    } else if said.contains("cannot patch") || said.contains("cannot update") {
        "the controller's account lacks a right that the chart gives it: helm upgrade FerroLB, or compare with its ClusterRole"
    } else if said.contains("quota") {
        "raise that quota: kubectl describe resourcequota in the Service's namespace"
    } else {
        "what refuses it is named there: let FerroLB's controller write services/status"
    }
}

/// What helps where an address is refused.
fn of_refusal(
    why: &Refusal,
    by_name: Option<&PoolName>,
    families: Option<Families>,
    pools: &Pools,
) -> String {
    match why {
        Refusal::NoPools => {
            "create an IPAddressPool with addresses of your LAN that nobody else uses".to_owned()
        }
        Refusal::UnknownPool(wanted) => {
            let near = did_you_mean(wanted, pools.iter().map(|pool| pool.name.to_string()));
            let odd = odd_letter(wanted);
            format!("look for a typing mistake in the Service's annotation metallb.io/address-pool{odd}{near}")
        }
        Refusal::NotInAnyPool(_) => "ask for an address of a pool, or add it to one".to_owned(),
        Refusal::NotInForce { pool, .. } => {
            format!("resolve the overlap: kubectl describe ipaddresspool {pool} names the other pool")
        }
        Refusal::OtherPool { actual, .. } => format!("ask for pool {actual}, or for no pool"),
        Refusal::WrongFamilies { needed, .. } => {
            format!("ask for {needed} addresses, as many as the Service has families")
        }
        Refusal::NotAdmitted(pool, why) => of_not_admitted(pool.as_str(), why),
        Refusal::Taken(Conflict::SharingKey { .. }) => {
            "ask for another address; or, where the two have no port in common, give both the same metallb.io/allow-shared-ip"
                .to_owned()
        }
        Refusal::Taken(Conflict::Namespace { .. })
        | Refusal::Reserved { by: None, .. }
        | Refusal::HeldElsewhere(_) => "ask for another address".to_owned(),
        Refusal::Taken(Conflict::Backend { .. }) => {
            "use externalTrafficPolicy Cluster on both, or ask for another address".to_owned()
        }
        Refusal::Taken(Conflict::Port { .. }) => "use another port, or ask for another address".to_owned(),
        Refusal::NodeAddress { .. } => {
            "ask for another address, and take the node's out of the pool".to_owned()
        }
        Refusal::OtherClass(_) => {
            "ask for another address, or clear the other Service's status if nothing serves it any more"
                .to_owned()
        }
        Refusal::Reserved { by: Some(by), .. } => {
            format!("ask for it by name: annotation ferrolb.io/address-reservation: {}", by.name)
        }
        Refusal::UnknownReservation(key) if key.name.contains('/') => format!(
            "write the name of an AddressReservation alone into the annotation ferrolb.io/address-reservation: it is looked for in namespace {}, that of the Service, and those of others are for others",
            key.namespace
        ),
        Refusal::UnknownReservation(key) => format!(
            "create AddressReservation {} in namespace {}, or correct the Service's annotation ferrolb.io/address-reservation",
            key.name, key.namespace
        ),
        Refusal::ReservationNotInForce(key) => {
            format!("kubectl describe addressreservation -n {} {} says why", key.namespace, key.name)
        }
        Refusal::ReservationPending(_) => {
            "wait a moment; if that does not help, see whether a controller leads (kubectl ferrolb status)".to_owned()
        }
        Refusal::ReservationForOthers(key) => format!(
            "give the Service labels that spec.serviceSelectors of AddressReservation {} select",
            key.name
        ),
        Refusal::Unreadable(_) => "correct what the Service asks for".to_owned(),
        Refusal::NothingLeft(unsuitable) => of_unsuitable(unsuitable, by_name, families, pools),
    }
}

/// That a name has a letter that no object's name has, which may look like one that has.
fn odd_letter(name: &str) -> String {
    let odd = name.chars().find(|letter| !letter.is_ascii());
    odd.map(|it| format!(", which has U+{:04X}, no letter of ASCII", u32::from(it))).unwrap_or_default()
}

/// The pool that is nearest to giving something decides.
fn of_unsuitable(
    unsuitable: &[Unsuitable],
    by_name: Option<&PoolName>,
    families: Option<Families>,
    pools: &Pools,
) -> String {
    // A pool of other families gives nothing to whom it would be opened.
    let fits = |it: &Unsuitable| {
        let (Some(families), Some(pool)) = (families, pools.get(&it.pool)) else { return true };
        let has = |family| pool.capacity(family) > 0;
        match families {
            Families::Single(family) => has(family),
            Families::RequireDual => has(Family::V4) && has(Family::V6),
            Families::PreferDual { .. } => has(Family::V4) || has(Family::V6),
        }
    };
    let rank = |it: &&Unsuitable| match it.reason {
        Reason::Exhausted { .. } | Reason::QuotaReached(_) => 0,
        Reason::NotInForce(_) => 1,
        Reason::NotAutomatic if by_name == Some(&it.pool) => 2,
        Reason::NotAdmitted(_) if fits(it) => 3,
        Reason::NoAddresses(_) => 4,
        Reason::NotAutomatic | Reason::NotAdmitted(_) => 5,
    };
    let Some(nearest) = unsuitable.iter().min_by_key(rank) else {
        return "create an IPAddressPool".to_owned();
    };
    let Unsuitable { pool, reason } = nearest;
    match reason {
        Reason::Exhausted { .. } => format!(
            "add addresses to pool {pool}, or delete Services that need none (kubectl ferrolb ips {pool})"
        ),
        Reason::QuotaReached(QuotaReached { limit: Limit::Unreadable, .. }) => {
            format!("correct annotation {} of pool {pool}", api::names::MAX_ADDRESSES_PER_NAMESPACE)
        }
        Reason::QuotaReached(reached) => format!(
            "delete Services of namespace {} that need no address of pool {pool}, or have who runs the cluster raise \
             the pool's annotation {}",
            reached.namespace,
            api::names::MAX_ADDRESSES_PER_NAMESPACE
        ),
        Reason::NotInForce(_) => {
            format!(
                "correct pool {pool}: kubectl describe ipaddresspool {pool} says what is wrong with its entries"
            )
        }
        Reason::NotAdmitted(_) if !fits(nearest) => {
            "create an IPAddressPool with addresses of the families that it asks for, or add them to one"
                .to_owned()
        }
        Reason::NotAutomatic if by_name.is_none() => {
            "create an IPAddressPool with addresses of the families that it asks for, or add them to one"
                .to_owned()
        }
        Reason::NotAutomatic => {
            format!(
                "annotate the Service with metallb.io/address-pool: {pool}, or turn the pool's autoAssign on"
            )
        }
        Reason::NotAdmitted(why) => of_not_admitted(pool.as_str(), why),
        Reason::NoAddresses(family) => {
            let elsewhere = pools.iter().find(|other| other.name != *pool && other.capacity(*family) > 0);
            let both = !matches!(families, Some(Families::Single(_)) | None);
            match elsewhere.filter(|_| both) {
                Some(other) => format!(
                    "a Service has all its addresses from one pool: put what pools {pool} and {} have into one, or add {family} addresses to pool {pool}",
                    other.name
                ),
                None => format!("add {family} addresses to pool {pool}"),
            }
        }
    }
}

/// The first advertisement that names a pool which there is not, or that is not in force: that may be the one that was meant.
fn misnamed(snapshot: &Snapshot) -> Option<String> {
    let refused = |conditions: &[Condition]| {
        let it = conditions.iter().find(|it| it.type_ == "Accepted" && it.status == "False")?;
        Some(format!("it is not in force as it stands: {}", it.message))
    };
    let on_lan = snapshot.advertisements.iter();
    let on_lan = on_lan
        .map(|it| (ADVERTISEMENT, it.name_any(), &it.spec.ip_address_pools, refused(&it.status.conditions)));
    let to_routers = snapshot.bgp.advertisements.iter();
    let to_routers = to_routers
        .map(|it| (FOR_ROUTERS, it.name_any(), &it.spec.ip_address_pools, refused(&it.status.conditions)));
    let mut all = on_lan.chain(to_routers);
    all.find_map(|(kind, name, named, refused)| {
        let why = refused.or_else(|| missing_pools(named, &snapshot.pools).into_iter().next())?;
        Some(format!("see {kind} {name}: {why}"))
    })
}

fn of_not_admitted(pool: &str, why: &NotAdmitted) -> String {
    match why {
        NotAdmitted::Namespace(namespace) => {
            format!("add namespace {namespace} to spec.serviceAllocation of pool {pool}, or use another pool")
        }
        NotAdmitted::Labels => format!(
            "give the Service the labels that spec.serviceAllocation of pool {pool} selects, or use another pool"
        ),
        NotAdmitted::Deleted => "create the pool again, or another one".to_owned(),
    }
}

/// What helps this Service, which nobody announces, for these obstacles of the nodes.
pub(crate) fn of_unannounced<'a>(
    why: &Unannounced,
    service: &ServiceKey,
    obstacles: impl IntoIterator<Item = (&'a NodeName, &'a Obstacle)>,
    advertised: &Advertised,
    snapshot: &Snapshot,
) -> String {
    let remedy = match why {
        Unannounced::Unadvertised(Unadvertised::NoPool) => {
            "no pool has the address any more: put it back into a pool, or delete the Service's status"
        }
        Unannounced::Unadvertised(Unadvertised::NoEndpoint) => {
            return endpoints::remedy(service, snapshot);
        }
        Unannounced::Unadvertised(Unadvertised::NoAdvertisement) => {
            if let (true, Some(it)) =
                (snapshot.advertisements.is_empty(), Elsewhere::of_kind(&snapshot.elsewhere, ADVERTISEMENT))
            {
                return it.remedy();
            }
            if let Some(misnamed) = misnamed(snapshot) {
                return misnamed;
            }
            if !snapshot.bgp.is_empty() {
                return "create a BGPAdvertisement (it is for routers) or an L2Advertisement (it is for the LAN) that selects the pool and the Service, or have one do so; one with an empty spec selects all"
                    .to_owned();
            }
            "create an L2Advertisement that selects the pool and the Service; one with an empty spec selects all"
        }
        Unannounced::Unadvertised(Unadvertised::SharedYetSelected) => {
            "take the serviceSelectors out of the L2Advertisement, or the sharing key off the Service"
        }
        Unannounced::NoCandidate => {
            let mut each: Vec<String> = Vec::new();
            for (node, why) in obstacles {
                let remedy = of_obstacle(why, node, advertised, snapshot);
                if !each.contains(&remedy) {
                    each.push(remedy);
                }
            }
            if each.is_empty() {
                return "add a node to the cluster, with a speaker on it".to_owned();
            }
            return each.join("; or ");
        }
        Unannounced::NoInterface => return of_no_interface(advertised),
        Unannounced::SharedElsewhere { .. } => {
            "give the two Services endpoints on the same nodes, or an address each"
        }
    };
    remedy.to_owned()
}

/// What helps a node that is no candidate for a Service which these advertisements are for.
pub(crate) fn of_obstacle(
    why: &Obstacle,
    node: &NodeName,
    advertised: &Advertised,
    snapshot: &Snapshot,
) -> String {
    let remedy = match why {
        Obstacle::Ineligible(Ineligible::NoNode) => "the node is gone from the cluster",
        Obstacle::Ineligible(Ineligible::NotMember) if snapshot.speakers.has_pod(node) == Some(false) => {
            return no_speaker(snapshot.nodes.iter().find(|it| it.name_any() == node.as_str()));
        }
        Obstacle::Ineligible(Ineligible::NotMember) => {
            "see whether its speaker runs, and whether UDP port 7946 is open between all nodes (kubectl ferrolb peers)"
        }
        Obstacle::Ineligible(Ineligible::NetworkUnavailable) => "see to the network plugin of the node",
        Obstacle::Ineligible(Ineligible::Excluded) => {
            "remove the label, or set speaker.ignoreExcludeLB in the chart"
        }
        Obstacle::Ineligible(Ineligible::NotSelected) => {
            return format!("label the node, or change {}", advertised.node_selectors());
        }
        Obstacle::Ineligible(Ineligible::NoLocalEndpoint) => {
            "run a Pod of the Service there, or use externalTrafficPolicy Cluster"
        }
        Obstacle::Outdated => {
            "see whether the node reaches the API server (/readyz and the log of its speaker)"
        }
        Obstacle::NoInterface(_) => return of_no_interface(advertised),
    };
    remedy.to_owned()
}

/// What helps where no interface will do.
fn of_no_interface(advertised: &Advertised) -> String {
    const SEE: &str = "see which interfaces the nodes have: kubectl ferrolb nodes -o wide";
    match advertised.interfaces() {
        Some(field) => format!("correct {field}; {SEE}"),
        None => SEE.to_owned(),
    }
}

/// What keeps a node from being a candidate. `has_pod` says whether it has a Pod of a speaker, where that is known.
pub(crate) fn words_of(why: &Obstacle, advertised: &Advertised, has_pod: Option<bool>) -> String {
    match why {
        Obstacle::Ineligible(Ineligible::NoNode) => "no such Node".to_owned(),
        Obstacle::Ineligible(Ineligible::NotMember) if has_pod == Some(false) => {
            "it has no Pod of a speaker".to_owned()
        }
        Obstacle::Ineligible(Ineligible::NotMember) => "its speaker is not heard".to_owned(),
        Obstacle::Ineligible(Ineligible::NetworkUnavailable) => "condition NetworkUnavailable".to_owned(),
        Obstacle::Ineligible(Ineligible::Excluded) => format!("label {}", placement::EXCLUDE_LABEL),
        Obstacle::Ineligible(Ineligible::NotSelected) => {
            format!("{} do not match it", advertised.node_selectors())
        }
        Obstacle::Ineligible(Ineligible::NoLocalEndpoint) => {
            "no serving endpoint there (externalTrafficPolicy is Local)".to_owned()
        }
        Obstacle::Outdated => "has not seen the latest changes of the cluster".to_owned(),
        Obstacle::NoInterface(placement::Interfaces::All) => "no interface that can announce".to_owned(),
        Obstacle::NoInterface(placement::Interfaces::Only(names)) => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            format!("none of the interfaces {} can announce", names.join(", "))
        }
    }
}

/// What helps an address that falls to a node and is not announced there.
pub(crate) fn of_state(state: AddressState, advertised: &Advertised) -> Option<String> {
    let remedy = match state {
        AddressState::Conflict => Some(
            "find that host by its Ethernet address and give it another address, or take the address out of the pool",
        ),
        AddressState::PeerUnheard => Some(
            "open UDP port 7946 between all nodes, in both directions, and give all speakers the same key",
        ),
        AddressState::NoInterface => return Some(of_no_interface(advertised)),
        AddressState::Muted => Some("wait some seconds: the node finds out what happened meanwhile"),
        AddressState::Probing | AddressState::Announced | AddressState::Standby | AddressState::Unknown => {
            None
        }
    };
    remedy.map(str::to_owned)
}

#[cfg(test)]
mod tests;
