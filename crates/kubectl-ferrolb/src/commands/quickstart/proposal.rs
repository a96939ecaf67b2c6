//! Which addresses to propose, and by what that is known.

use std::io::{self, IsTerminal};
use std::net::IpAddr;

use introspection::DhcpOffer;
use ipnet::IpNet;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use pools::{Family, Pool, Range};

use super::choice::{self, Taken};
use super::dhcp::{Dhcp, Sample};
use super::lan::{self, Lan, NoLan, Site};
use super::{Found, rivals, sweep};
use crate::client::Failure;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::options::Quickstart;
use crate::output::some;
use crate::survey::list;

/// So many answers are named.
const NAMED: usize = 3;

/// Why there is no proposal.
pub(super) enum NoProposal {
    /// Nothing is to be done.
    Done(String),
    /// It would not be safe, or there is nothing to go by; and what to do.
    Refused(String, String),
    /// Something could not be looked at.
    Unseen(Vec<String>),
}

/// Which addresses to give to Services, and by what that is known.
pub(super) async fn propose(
    cluster: &Cluster,
    look: &Look,
    options: &Quickstart,
    found: &mut Found,
) -> Result<Range, NoProposal> {
    if let Some((what, remedy)) = cluster.absent() {
        return Err(NoProposal::Refused(what, remedy));
    }
    if !look.failures.is_empty() {
        return Err(NoProposal::Unseen(look.failures.clone()));
    }
    let (nodes, daemon_sets) = futures::join!(cluster.all::<Node>(), cluster.all::<DaemonSet>());
    let unseen = |failure: Failure| NoProposal::Unseen(vec![failure.to_string()]);
    let (nodes, daemon_sets) = (nodes.map_err(unseen)?, daemon_sets.map_err(unseen)?);
    if let Some((what, remedy)) = rivals::found(&nodes, &daemon_sets) {
        return Err(NoProposal::Refused(what, remedy));
    }
    let for_all = |pool: &&Pool| pool.auto_assign && pool.allocation.is_none() && !pool.ranges.is_empty();
    if options.range.is_none()
        && let Some(pool) = look.allocation.pools().iter().find(for_all)
    {
        let ranges: Vec<String> = pool.ranges.iter().map(ToString::to_string).collect();
        return Err(NoProposal::Done(format!(
            "IPAddressPool {} gives Services addresses already: {} (kubectl ferrolb status)",
            pool.name,
            list(&ranges)
        )));
    }
    if let Some(taken) = look.snapshot.pools.iter().find(|pool| pool.name_any() == options.pool) {
        return Err(NoProposal::Refused(
            format!("there is an IPAddressPool {} already", taken.name_any()),
            "name another by --pool".to_owned(),
        ));
    }
    let site = Site::of(&nodes);
    found.saw("Cluster", nodes_in_words(nodes.len()) + site.words());
    let wanted = options.range;
    let family = wanted.map_or_else(|| proposed_family(&nodes), |range| Ok(range.family()))?;
    let lan = Lan::of(&nodes, &look.speakers, family).map_err(|why| match why {
        NoLan::Unsafe(why) => NoProposal::Refused(
            why,
            "write an IPAddressPool and an L2Advertisement by hand, with nodeSelectors where nodes are on \
             different LANs"
                .to_owned(),
        ),
        NoLan::Unseen(why) => NoProposal::Unseen(look.unasked.iter().cloned().chain([why]).collect()),
    })?;
    let mut interfaces: Vec<&String> = lan.interfaces.values().collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    found.saw("LAN", format!("{}, on which all nodes are by {}", lan.prefix, list(&interfaces)));
    if let (Family::V4, Ok(other)) = (family, Lan::of(&nodes, &look.speakers, Family::V6)) {
        let prefix = other.prefix;
        found.saw(
            "IPv6",
            format!("no range of {prefix}: Services with both families take one in spec.addresses, too"),
        );
    }
    let mut taken = known(&nodes, look);
    let dhcp = match family {
        Family::V4 => Some(Dhcp::of(cluster, &lan).await),
        Family::V6 => None,
    };
    if let Some(dhcp) = &dhcp {
        found.saw("DHCP", dhcp.words());
        taken.extend(dhcp.taken());
    }
    let candidate = match wanted {
        Some(range) => {
            if let Some(why) = choice::unfit(range, lan.prefix, &taken) {
                return Err(NoProposal::Refused(why, "write another --range".to_owned()));
            }
            if let Some(offer) = dhcp.as_ref().and_then(|dhcp| dhcp.within(range)) {
                return Err(given_out(range, offer));
            }
            found.saw("Range", format!("{range}, as you say that nobody else gives it out"));
            range
        }
        None => {
            let range = range_of(site, lan.prefix, dhcp.as_ref());
            let Some(range) = range else { return Err(no_range(site, &lan, dhcp.as_ref())) };
            let why = if site.is_dockers() {
                "Docker gives out addresses from the lowest on"
            } else {
                "the end of the LAN, since no DHCP server answers"
            };
            found.saw("Range", format!("{range}: {why}"));
            range
        }
    };
    let seconds = sweep::duration(cluster, candidate).as_secs();
    if io::stderr().is_terminal() {
        eprintln!("Asking the LAN for {} addresses, which takes about {seconds} s", candidate.size());
    }
    let sample = async {
        match (&dhcp, wanted) {
            (Some(dhcp), Some(range)) => dhcp.sample(cluster, &lan, range).await,
            _ => None,
        }
    };
    let (sample, answered) = futures::join!(sample, sweep::sweep(cluster, candidate));
    if let Some(sample) = sample {
        found.saw("DHCP", sample.words());
        if let Sample::GivenOut(offer) = sample {
            return Err(given_out(candidate, &offer));
        }
    }
    let answered = answered.map_err(|why| NoProposal::Unseen(vec![why]))?;
    let heard: Vec<String> = answered.iter().map(|(ip, whose)| format!("{ip} is {whose}")).collect();
    found.saw("Asked", asked(candidate, &heard, site));
    if wanted.is_some() {
        return match heard.first() {
            None => Ok(candidate),
            Some(one) => Err(NoProposal::Refused(
                format!("somebody has addresses of {candidate}: {one}"),
                "write a --range that nobody has".to_owned(),
            )),
        };
    }
    let answered = answered.into_iter().filter_map(|(ip, whose)| Some((single(ip)?, whose)));
    let taken: Taken = taken.into_iter().chain(answered).collect();
    choice::largest_free(candidate, &taken).ok_or_else(|| {
        NoProposal::Refused(
            format!("nearly all of {candidate} is in use"),
            "say which addresses nobody uses: --range FIRST-LAST".to_owned(),
        )
    })
}

/// A server would give out addresses of the range to others.
fn given_out(range: Range, offer: &DhcpOffer) -> NoProposal {
    NoProposal::Refused(
        format!("the DHCP server {} gives out {}, which is in {range}", offer.server, offer.address),
        format!("take {range} out of what it gives out, or write another --range"),
    )
}

/// The family of which addresses are proposed: IPv4, where it is clear which are nobody's.
fn proposed_family(nodes: &[Node]) -> Result<Family, NoProposal> {
    let mut addresses = nodes.iter().flat_map(lan::internal_addresses).peekable();
    if addresses.peek().is_none() || addresses.any(|ip| ip.is_ipv4()) {
        return Ok(Family::V4);
    }
    Err(NoProposal::Refused(
        "the nodes have IPv6 addresses only, and of those none are proposed".to_owned(),
        "say which addresses of their LAN nobody uses: --range FIRST-LAST".to_owned(),
    ))
}

/// Addresses of the LAN of such a cluster that nobody gives out, if that is known of any.
fn range_of(site: Site, lan: IpNet, dhcp: Option<&Dhcp>) -> Option<Range> {
    // One that has a DHCP server is no network that Docker has made.
    if matches!(dhcp, Some(Dhcp::Servers(_))) {
        return None;
    }
    if site.is_dockers() {
        return choice::of_docker(lan);
    }
    if dhcp == Some(&Dhcp::Nobody) { choice::of_the_end(lan) } else { None }
}

/// Addresses that are known to be somebody's.
fn known(nodes: &[Node], look: &Look) -> Taken {
    let of_node = |node: &Node| {
        let whose = format!("that of node {}", node.name_any());
        let ranges = lan::internal_addresses(node).filter_map(single).collect::<Vec<_>>();
        ranges.into_iter().map(move |range| (range, whose.clone()))
    };
    let of_pools =
        look.allocation.pools().iter().flat_map(|pool| {
            pool.ranges.iter().map(|range| (*range, format!("in IPAddressPool {}", pool.name)))
        });
    nodes.iter().flat_map(of_node).chain(of_pools).collect()
}

fn single(ip: IpAddr) -> Option<Range> {
    Range::new(ip, ip).ok()
}

fn no_range(site: Site, lan: &Lan, dhcp: Option<&Dhcp>) -> NoProposal {
    let prefix = lan.prefix;
    let has_servers = matches!(dhcp, Some(Dhcp::Servers(_)));
    if site.is_dockers() && !has_servers || dhcp == Some(&Dhcp::Nobody) {
        return NoProposal::Refused(
            format!("{prefix} has too few addresses to leave some to others"),
            "say which addresses nobody uses: --range FIRST-LAST".to_owned(),
        );
    }
    let servers = match dhcp {
        Some(Dhcp::Servers(offers)) => {
            let mut servers: Vec<String> = offers.iter().map(|offer| offer.server.to_string()).collect();
            servers.dedup();
            format!("the DHCP server {} may", some(&servers, NAMED))
        }
        Some(Dhcp::Nobody | Dhcp::Unknown(_)) | None => "a DHCP server may".to_owned(),
    };
    NoProposal::Refused(
        format!(
            "which addresses of {prefix} nobody gives out cannot be seen from here: {servers} give out any that is \
             silent now"
        ),
        format!(
            "take some addresses of {prefix} out of what your router's DHCP server gives out, and say which: \
             --range FIRST-LAST"
        ),
    )
}

/// For which addresses the LAN was asked, and what was heard.
fn asked(range: Range, heard: &[String], site: Site) -> String {
    let addresses = match range.size() {
        1 => range.to_string(),
        count => format!("{count} addresses"),
    };
    let answers = match heard {
        [] => ", and nobody answered".to_owned(),
        heard => format!(": {}", some(heard, NAMED)),
    };
    // A container that is stopped has no address.
    let silent = if site.is_dockers() { "" } else { "; a host that is off or asleep would not answer" };
    format!("for {addresses}{answers}{silent}")
}

fn nodes_in_words(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nodes_have_ipv6_only_somebody_has_to_say_a_range() {
        let node = |ip: &str| -> Node {
            let addresses = serde_json::json!([{"type": "InternalIP", "address": ip}]);
            let node = serde_json::json!({"metadata": {}, "status": {"addresses": addresses}});
            serde_json::from_value(node).unwrap()
        };
        let of = |ips: &[&str]| proposed_family(&ips.iter().map(|ip| node(ip)).collect::<Vec<_>>());
        assert!(matches!(of(&["fd00::1", "10.0.0.1"]), Ok(Family::V4)));
        assert!(matches!(of(&[]), Ok(Family::V4)), "what is wrong there is told elsewhere");
        match of(&["fd00::1", "fd00::2"]) {
            Err(NoProposal::Refused(why, remedy)) => {
                assert!(why.contains("IPv6") && remedy.contains("--range"), "{why}");
            }
            _ => panic!("there is no range of IPv4"),
        }
    }

    #[test]
    fn what_cannot_be_heard_is_said_where_hosts_may_sleep() {
        let of = |range: &str, heard: &[&str], site| {
            let heard: Vec<String> = heard.iter().map(|text| (*text).to_owned()).collect();
            asked(range.parse().unwrap(), &heard, site)
        };
        let asleep = "a host that is off or asleep would not answer";
        let silent = of("10.0.0.4/30", &[], Site::Elsewhere);
        assert_eq!(silent, format!("for 4 addresses, and nobody answered; {asleep}"));
        let one = of("10.0.0.4/32", &["10.0.0.4 is that of a host"], Site::Elsewhere);
        assert_eq!(one, format!("for 10.0.0.4: 10.0.0.4 is that of a host; {asleep}"));
        assert_eq!(of("10.0.0.4/30", &[], Site::Kind), "for 4 addresses, and nobody answered");
    }

    #[test]
    fn where_a_dhcp_server_answers_nothing_is_proposed_not_even_in_kind() {
        let lan = "172.18.0.0/16".parse().unwrap();
        let of = |site, dhcp| range_of(site, lan, Some(&dhcp)).map(|range| range.to_string());
        assert_eq!(of(Site::Kind, Dhcp::Servers(vec![])), None);
        assert_eq!(of(Site::Elsewhere, Dhcp::Servers(vec![])), None);
        let dockers = Some("172.18.255.200-172.18.255.250".to_owned());
        assert_eq!(of(Site::Kind, Dhcp::Nobody), dockers);
        assert_eq!(of(Site::K3d, Dhcp::Unknown(String::new())), dockers, "Docker has none");
        assert_eq!(of(Site::Elsewhere, Dhcp::Nobody).as_deref(), Some("172.18.255.204-172.18.255.254"));
        assert_eq!(of(Site::Elsewhere, Dhcp::Unknown(String::new())), None);
    }
}
