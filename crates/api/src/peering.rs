//! What `BGPPeer`, `BFDProfile`, `BGPAdvertisement`, `Community` and Secrets mean for the peering with routers.

mod duration;

use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use ::peering::{Advertisement, Aggregation, CommunityNames, PasswordSource, Peer, Share};
use bfd::config::{Interval, Profile, Role};
use bgp::config::{
    AsNumbers, Asn, Families, Hops, Password, PeerAs, RestartTime, RouterId, Timers, Transport,
};
use bgp::route::{LocalPreference, Prepend};
use kube::ResourceExt;
use objects::text::quoted;
use placement::Interfaces;
use pools::Unreadable;

use crate::selector::read_selectors;
use crate::{
    BFDProfile, BFDProfileSpec, BGPAdvertisement, BGPPeer, BGPPeerSpec, Community, DynamicAsn, names,
};

/// One sentence for a field.
fn wrong(field: &str, why: impl std::fmt::Display) -> String {
    format!("spec.{field}: {why}")
}

fn sentences(unreadable: Vec<Unreadable>) -> Vec<String> {
    unreadable.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect()
}

impl BGPPeer {
    /// What the object says, or all that is wrong with it: a session is as it was meant, or there is none.
    pub fn read(&self) -> Result<Peer, Vec<String>> {
        let spec = &self.spec;
        let mut unreadable = Vec::new();
        let node_selectors = read_selectors("spec.nodeSelectors", &spec.node_selectors, &mut unreadable);
        let mut faults = sentences(unreadable);
        let mut note = |why: String| faults.push(why);
        let transport = transport(spec).map_err(&mut note).ok();
        let port = port(spec).map_err(&mut note).ok();
        let asns = asns(spec).map_err(&mut note).ok();
        let router_id = router_id(spec).map_err(&mut note).ok();
        let timers = timers(spec).map_err(&mut note).ok();
        let password = password(spec, self.namespace().as_deref()).map_err(&mut note).ok();
        let hops = if spec.ebgp_multi_hop == Some(true) { Hops::Many } else { Hops::One };
        if let Some(asns) = asns.filter(|asns| hops == Hops::Many && asns.peer == PeerAs::Is(asns.own)) {
            note(wrong("ebgpMultiHop", format!("the peer is in the same AS {}: remove it", asns.own)));
        }
        let read = (transport, port, asns, router_id, timers, password);
        let (Some(transport), Some(port), Some(asns), Some(router_id), Some(timers), Some(password)) = read
        else {
            return Err(faults);
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let plain = Peer::new(self.name_any().into(), transport, asns);
        let families = if spec.dual_stack_address_family { Families::Both } else { plain.families };
        Ok(Peer {
            created: self.creation_timestamp().map(|time| time.0.as_second()),
            node_selectors,
            port,
            vrf: given(spec.vrf.as_deref()).map(Into::into),
            router_id,
            timers,
            password,
            hops,
            families,
            graceful_restart: (spec.enable_graceful_restart == Some(true)).then(RestartTime::default),
            bfd: given(spec.bfd_profile.as_deref()).map(Into::into),
            ..plain
        })
    }
}

/// A field that says something.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// An IP address that may be given; an IPv4 one that is written as IPv6 means the IPv4 one.
fn address(field: &str, text: Option<&str>) -> Result<Option<IpAddr>, String> {
    let Some(text) = given(text) else { return Ok(None) };
    let parsed = text.parse::<IpAddr>().map(|ip| Some(ip.to_canonical()));
    parsed.map_err(|_| wrong(field, format!("{} is not an IP address", quoted(text))))
}

fn transport(spec: &BGPPeerSpec) -> Result<Transport, String> {
    let peer = address("peerAddress", spec.peer_address.as_deref())?;
    let source = address("sourceAddress", spec.source_address.as_deref())?;
    match (peer, given(spec.interface.as_deref())) {
        (Some(peer), None) if is_no_router(peer) => {
            Err(wrong("peerAddress", format!("{peer} is the address of no router: write the router's")))
        }
        (Some(IpAddr::V6(peer)), None) if peer.is_unicast_link_local() => Err(wrong(
            "peerAddress",
            format!(
                "{peer} is a link-local address, which does not say on which link: write interface in its place"
            ),
        )),
        (Some(peer), None) => Transport::new(peer, source).map_err(|why| wrong("sourceAddress", why)),
        (None, Some(name)) => Ok(Transport::Interface(name.into())),
        (Some(_), Some(_)) => Err(wrong("interface", "it excludes peerAddress: keep one")),
        (None, None) => Err(wrong("peerAddress", "it is missing: write it, or interface")),
    }
}

/// Whether nobody can be connected to at this address, or only this node itself by mistake.
fn is_no_router(ip: IpAddr) -> bool {
    let broadcast = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    ip.is_unspecified() || ip.is_multicast() || ip == broadcast
}

fn port(spec: &BGPPeerSpec) -> Result<NonZeroU16, String> {
    // Objects of v1beta1 have 0 for the default.
    let port = if spec.peer_port == 0 { bgp::config::PORT.get().into() } else { spec.peer_port };
    let port = u16::try_from(port).ok().and_then(NonZeroU16::new);
    port.ok_or_else(|| wrong("peerPort", format!("{} is not a port: write 1 to 16384", spec.peer_port)))
}

fn asn(field: &str, number: i64) -> Result<Asn, String> {
    let asn = u32::try_from(number).ok().and_then(|number| Asn::try_from(number).ok());
    asn.ok_or_else(|| wrong(field, format!("{number} is not an AS number: write 1 to 4294967295")))
}

fn asns(spec: &BGPPeerSpec) -> Result<AsNumbers, String> {
    let own = asn("myASN", spec.my_asn)?;
    let shown = spec.local_asn.filter(|number| *number != 0);
    let shown = shown.map(|number| asn("localASN", number)).transpose()?;
    let peer = match (spec.peer_asn.filter(|number| *number != 0), spec.dynamic_asn) {
        (Some(number), None) => PeerAs::Is(asn("peerASN", number)?),
        (None, Some(DynamicAsn::Internal)) => PeerAs::Internal,
        (None, Some(DynamicAsn::External)) => PeerAs::External,
        (None, Some(DynamicAsn::Unknown)) => {
            return Err(wrong("dynamicASN", "it is neither internal nor external"));
        }
        (Some(_), Some(_)) => return Err(wrong("dynamicASN", "it excludes peerASN: keep one")),
        (None, None) => return Err(wrong("peerASN", "it is missing: write it, or dynamicASN")),
    };
    Ok(AsNumbers { own, shown, peer })
}

fn router_id(spec: &BGPPeerSpec) -> Result<Option<RouterId>, String> {
    match address("routerID", spec.router_id.as_deref())? {
        None => Ok(None),
        Some(IpAddr::V4(v4)) => RouterId::try_from(v4).map(Some).map_err(|why| wrong("routerID", why)),
        Some(IpAddr::V6(v6)) => {
            Err(wrong("routerID", format!("{v6} is an IPv6 address: write one like an IPv4 address")))
        }
    }
}

fn timers(spec: &BGPPeerSpec) -> Result<Timers, String> {
    let read = |field: &str, text: Option<&str>| -> Result<Option<Duration>, String> {
        let Some(text) = given(text) else { return Ok(None) };
        let duration = duration::parse(text);
        let why = || wrong(field, format!("{} is not a duration: write one like 90s", quoted(text)));
        duration.map(Some).ok_or_else(why)
    };
    let hold = read("holdTime", spec.hold_time.as_deref())?;
    let keepalive = read("keepaliveTime", spec.keepalive_time.as_deref())?;
    let connect = read("connectTime", spec.connect_time.as_deref())?;
    Timers::new(hold, keepalive, connect).map_err(|why| format!("spec: {why}"))
}

fn password(spec: &BGPPeerSpec, namespace: Option<&str>) -> Result<PasswordSource, String> {
    let secret = spec.password_secret.as_ref().filter(|secret| !secret.name.is_empty());
    match (given(spec.password.as_deref()), secret) {
        (None, None) => Ok(PasswordSource::None),
        (Some(text), None) => {
            text.parse::<Password>().map(PasswordSource::Given).map_err(|why| wrong("password", why))
        }
        (None, Some(secret)) => match given(Some(&secret.namespace)) {
            Some(other) if namespace.is_some_and(|namespace| namespace != other) => Err(wrong(
                "passwordSecret.namespace",
                format!("{} is not the namespace of the installation: remove it", quoted(other)),
            )),
            _ => Ok(PasswordSource::Secret(secret.name.as_str().into())),
        },
        (Some(_), Some(_)) => Err(wrong("password", "it excludes passwordSecret: keep one")),
    }
}

impl BFDProfile {
    /// What the object says, or all that is wrong with it.
    pub fn read(&self) -> Result<Profile, Vec<String>> {
        let BFDProfileSpec {
            receive_interval,
            transmit_interval,
            detect_multiplier,
            echo_interval,
            echo_mode,
            passive_mode,
            minimum_ttl,
        } = &self.spec;
        let mut faults = Vec::new();
        let default = Profile::default();
        let mut interval = |field, millis: Option<i32>, default| {
            let Some(millis) = millis else { return default };
            let read = u64::try_from(millis).ok().map(Duration::from_millis);
            read.and_then(|it| Interval::try_from(it).ok()).unwrap_or_else(|| {
                faults.push(wrong(field, format!("{millis} is not in 1 to 60000 milliseconds")));
                default
            })
        };
        let receive = interval("receiveInterval", *receive_interval, default.receive);
        let transmit = interval("transmitInterval", *transmit_interval, default.transmit);
        let echo = interval("echoInterval", *echo_interval, Interval::ECHO);
        let mut small = |field, number: Option<i32>, default: NonZeroU8| {
            let Some(number) = number else { return default };
            u8::try_from(number).ok().and_then(NonZeroU8::new).unwrap_or_else(|| {
                faults.push(wrong(field, format!("{number} is not in 1 to 255")));
                default
            })
        };
        let multiplier = small("detectMultiplier", *detect_multiplier, default.multiplier);
        let least_ttl = small("minimumTtl", *minimum_ttl, default.least_ttl);
        let profile = Profile {
            transmit,
            receive,
            multiplier,
            echo: (*echo_mode == Some(true)).then_some(echo),
            role: if *passive_mode == Some(true) { Role::Passive } else { Role::Active },
            least_ttl,
        };
        if faults.is_empty() { Ok(profile) } else { Err(faults) }
    }
}

impl BGPAdvertisement {
    /// What of the object is in force, if anything is, and what of it cannot be read. A selector that cannot be read selects
    /// nothing, so that an advertisement never reaches further than its author meant.
    pub fn read(&self) -> (Option<Advertisement>, Vec<String>) {
        let spec = &self.spec;
        let mut unreadable = Vec::new();
        let mut read = |field, list| read_selectors(&format!("spec.{field}"), list, &mut unreadable);
        let scope = placement::Advertisement {
            name: self.name_any().into(),
            pools: spec.ip_address_pools.iter().map(|name| name.as_str().into()).collect(),
            pool_selectors: read("ipAddressPoolSelectors", &spec.ip_address_pool_selectors),
            service_selectors: read("serviceSelectors", &spec.service_selectors),
            node_selectors: read("nodeSelectors", &spec.node_selectors),
            preferences: vec![],
            interfaces: Interfaces::All,
        };
        let mut faults = sentences(unreadable);
        let (v4, v6) = (spec.aggregation_length, spec.aggregation_length_v6);
        let lengths = u8::try_from(v4).ok().zip(u8::try_from(v6).ok());
        let aggregation = lengths.and_then(|(v4, v6)| Aggregation::new(v4, v6));
        if aggregation.is_none() {
            faults.push(wrong("aggregationLength", "write 1 to 32, and 0 to 128 for aggregationLengthV6"));
        }
        let selects = !spec.service_selectors.is_empty();
        let aggregates = aggregation.is_some_and(|it| it != Aggregation::default());
        if selects && aggregates {
            faults.push(wrong("serviceSelectors", "they exclude aggregation: remove one or the other"));
        }
        let prepend = self.prepend().unwrap_or_else(|why| {
            faults.push(why);
            Prepend::default()
        });
        let share = self.share().unwrap_or_else(|why| {
            faults.push(why);
            Share::default()
        });
        // 0 counts as not given, as upstream has it.
        let preference = spec.local_pref.and_then(|it| u32::try_from(it).ok()).filter(|it| *it != 0);
        let advertisement =
            aggregation.filter(|_| !(selects && aggregates)).map(|aggregation| Advertisement {
                scope,
                created: self.creation_timestamp().map(|time| time.0.as_second()),
                peers: spec.peers.iter().map(|name| name.as_str().into()).collect(),
                aggregation,
                local_preference: preference.map(LocalPreference).unwrap_or_default(),
                communities: spec.communities.clone(),
                prepend,
                share,
            });
        (advertisement, faults)
    }

    fn prepend(&self) -> Result<Prepend, String> {
        let Some(text) = self.annotations().get(names::AS_PATH_PREPEND) else {
            return Ok(Prepend::default());
        };
        let prepend = text.trim().parse().ok().and_then(Prepend::new);
        prepend.ok_or_else(|| {
            let why = format!("is no number from 0 to {}: write one like \"2\"", Prepend::MOST);
            annotation(names::AS_PATH_PREPEND, text, &why)
        })
    }

    fn share(&self) -> Result<Share, String> {
        let Some(text) = self.annotations().get(names::LINK_BANDWIDTH) else { return Ok(Share::default()) };
        match text.trim() {
            "endpoints" => Ok(Share::ByEndpoints),
            "none" | "" => Ok(Share::Untold),
            _ => Err(annotation(names::LINK_BANDWIDTH, text, "is neither endpoints nor none")),
        }
    }
}

/// One sentence for an annotation that is left out of account.
fn annotation(name: &str, text: &str, why: &str) -> String {
    format!("metadata.annotations[{name}]: {} {why}; until then it counts for nothing", quoted(text))
}

impl Community {
    /// The names and what they stand for, as they are written.
    pub fn read(&self) -> CommunityNames {
        self.spec.communities.iter().map(|it| (it.name.clone(), it.value.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
