//! What a controller has made of a cluster, as far as users see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use api::names::PREVIOUS_IPS;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::excused::Excused;

/// Everything that is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// By namespace and name.
    pub(crate) services: BTreeMap<String, Served>,
    /// By name.
    pub(crate) pools: BTreeMap<String, Counters>,
}

/// What a Service has got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Addresses, IPv4 first, and whatever else is in the list.
    pub(crate) ingress: Vec<Ingress>,
    /// The annotation that names the pool.
    pub(crate) pool: Option<String>,
    /// The reasons of all events about it.
    pub(crate) reasons: BTreeSet<String>,
    /// Whether it is being deleted.
    pub(crate) deleting: bool,
    /// The annotation that keeps what it has lost.
    pub(crate) previous: Vec<IpAddr>,
}

/// An entry of the list of addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ingress {
    Ip(IpAddr),
    Other(String),
}

/// The counters in the status of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters([i64; 4]);

/// What both controllers have made of one object, where that is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) about: About,
    pub(crate) ferrolb: String,
    pub(crate) metallb: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    Service(String),
    Pool(String),
}

impl Outcome {
    /// Reads what is in an API server. `events` are about any object, from anybody.
    pub(crate) fn read(
        services: &[DynamicObject],
        pools: &[DynamicObject],
        events: &[DynamicObject],
    ) -> Self {
        let mut reasons = BTreeMap::<&str, BTreeSet<String>>::new();
        let ours = |event: &&DynamicObject| event.data["source"]["component"] == "metallb-controller";
        for event in events.iter().filter(ours) {
            // A Service of the same name that was there before had events of its own.
            let uid = event.data["involvedObject"]["uid"].as_str().unwrap_or_default();
            let reason = event.data["reason"].as_str().unwrap_or_default();
            reasons.entry(uid).or_default().insert(reason.to_owned());
        }
        let served = |service: &DynamicObject| {
            let meta = &service.metadata;
            let uid = meta.uid.as_deref().unwrap_or_default();
            let key = [&meta.namespace, &meta.name].map(|part| part.as_deref().unwrap_or_default()).join("/");
            (key, Served::read(service, reasons.remove(uid).unwrap_or_default()))
        };
        let counters = |pool: &DynamicObject| {
            let count = |field: &str| pool.data["status"][field].as_i64().unwrap_or(0);
            let fields = ["assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6"];
            (pool.metadata.name.clone().unwrap_or_default(), Counters(fields.map(count)))
        };
        Self { services: services.iter().map(served).collect(), pools: pools.iter().map(counters).collect() }
    }

    /// Makes `self`, FerroLB's, and MetalLB's outcome alike in what is known not to be.
    pub(crate) fn level(&mut self, metallb: &mut Self, excused: &Excused) {
        for (name, ours) in &mut self.services {
            if let Some(theirs) = metallb.services.get_mut(name) {
                excused.level(name, ours, theirs);
            }
        }
    }

    /// Where `self`, FerroLB's, and MetalLB's outcome are not the same.
    pub(crate) fn differences(&self, metallb: &Self) -> Vec<Difference> {
        let services = unequal(&self.services, &metallb.services, About::Service);
        services.into_iter().chain(unequal(&self.pools, &metallb.pools, About::Pool)).collect()
    }
}

impl Served {
    /// Its addresses.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.ingress.iter().filter_map(|entry| match entry {
            Ingress::Ip(ip) => Some(*ip),
            Ingress::Other(_) => None,
        })
    }

    /// Whether it has this address, or has lost it.
    pub(crate) fn had(&self, ip: IpAddr) -> bool {
        self.ips().any(|own| own == ip) || self.previous.contains(&ip)
    }

    /// Whether the record of what it has lost is one that FerroLB may leave there: at most one address of each family,
    /// and of none that it has.
    pub(crate) fn has_sound_record(&self) -> bool {
        let mut families: Vec<bool> =
            self.ips().chain(self.previous.iter().copied()).map(|ip| ip.is_ipv4()).collect();
        families.sort_unstable();
        self.previous.is_empty() || families.windows(2).all(|pair| pair[0] != pair[1])
    }

    fn read(service: &DynamicObject, reasons: BTreeSet<String>) -> Self {
        let list = service.data["status"]["loadBalancer"]["ingress"].as_array();
        let entry = |entry: &Value| {
            let ip = entry["ip"].as_str().and_then(|ip| ip.parse().ok());
            ip.map_or_else(|| Ingress::Other(entry.to_string()), Ingress::Ip)
        };
        let mut ingress: Vec<Ingress> = list.into_iter().flatten().map(entry).collect();
        ingress.sort();
        let annotations = service.metadata.annotations.as_ref();
        let uid = service.metadata.uid.as_deref().unwrap_or_default();
        let annotation = |name| annotations.and_then(|all| all.get(name));
        let pool = annotation("metallb.io/ip-allocated-from-pool").cloned();
        let previous = annotation(PREVIOUS_IPS).and_then(|text| text.strip_prefix(&format!("{uid}/")));
        let previous = previous.into_iter().flat_map(|list| list.split(','));
        let previous = previous.filter_map(|ip| ip.parse().ok()).collect();
        let deleting = service.metadata.deletion_timestamp.is_some();
        Self { ingress, pool, reasons, deleting, previous }
    }
}

fn unequal<T: PartialEq + fmt::Display>(
    ferrolb: &BTreeMap<String, T>,
    metallb: &BTreeMap<String, T>,
    about: fn(String) -> About,
) -> Vec<Difference> {
    let names: BTreeSet<&String> = ferrolb.keys().chain(metallb.keys()).collect();
    let unequal = names.into_iter().filter(|name| ferrolb.get(*name) != metallb.get(*name));
    let show = |value: Option<&T>| value.map_or_else(|| "is not there".to_owned(), ToString::to_string);
    unequal
        .map(|name| Difference {
            about: about(name.clone()),
            ferrolb: show(ferrolb.get(name)),
            metallb: show(metallb.get(name)),
        })
        .collect()
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ingress: Vec<String> = self.ingress.iter().map(ToString::to_string).collect();
        let reasons: Vec<&str> = self.reasons.iter().map(String::as_str).collect();
        let pool = self.pool.as_deref().unwrap_or("-");
        write!(f, "[{}] from {pool}, events {}", ingress.join(", "), reasons.join(", "))?;
        if !self.previous.is_empty() {
            write!(f, ", lost {:?}", self.previous)?;
        }
        if self.deleting { f.write_str(", is being deleted") } else { Ok(()) }
    }
}

impl fmt::Display for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Other(entry) => f.write_str(entry),
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [v4, v6, left_v4, left_v6] = self.0;
        write!(f, "assigned {v4} and {v6}, available {left_v4} and {left_v6}")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match &self.about {
            About::Service(name) => ("Service", name),
            About::Pool(name) => ("IPAddressPool", name),
        };
        write!(f, "{kind} {name}\n  FerroLB: {}\n  MetalLB: {}", self.ferrolb, self.metallb)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn service(ips: &[&str]) -> DynamicObject {
        let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        object(json!({
            "metadata": {"namespace": "a", "name": "s", "uid": "1"},
            "status": {"loadBalancer": {"ingress": ingress}},
        }))
    }

    #[test]
    fn addresses_reasons_and_counters_are_compared_and_their_order_is_not() {
        let event = |uid: &str| {
            object(json!({
                "metadata": {}, "involvedObject": {"uid": uid}, "reason": "IPAllocated",
                "source": {"component": "metallb-controller"},
            }))
        };
        let pool = object(json!({"metadata": {"name": "p"}, "status": {"assignedIPv4": 1}}));
        let one = Outcome::read(&[service(&["fd00::1", "10.0.0.1"])], &[], &[event("1"), event("1")]);
        let other = Outcome::read(&[service(&["10.0.0.1", "fd00::1"])], &[], &[event("1"), event("2")]);
        assert_eq!(one.differences(&other), []);
        let third = Outcome::read(&[service(&["10.0.0.1"])], &[pool], &[event("1")]);
        assert_eq!(
            one.differences(&third).iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "Service a/s\n  FerroLB: [10.0.0.1, fd00::1] from -, events IPAllocated\n  MetalLB: [10.0.0.1] from -, events IPAllocated",
                "IPAddressPool p\n  FerroLB: is not there\n  MetalLB: assigned 1 and 0, available 0 and 0",
            ]
        );
    }
}
