//! What another load balancer's configuration becomes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use pools::Range;
use serde_json::{Map, Value, json};

/// The pool for addresses that Services have and no range has.
const KEPT: &str = "kept-addresses";

/// Objects that mean the same, and what they do not mean.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Carried {
    /// Without a namespace: they go into FerroLB's.
    pub(super) objects: Vec<Value>,
    /// What cannot be carried over, one line for each.
    pub(super) lost: Vec<String>,
}

impl Carried {
    /// Adds a pool of these entries, as the other writes them; those that mean nothing here are told. Not one of none.
    pub(super) fn pool(&mut self, name: &str, from: &str, entries: &[String], mut spec: Map<String, Value>) {
        let mut addresses = Vec::new();
        for text in entries {
            match entry(text) {
                Ok(entry) => addresses.push(entry),
                Err(why) => self.lose(from, format!("{text:?} {why}")),
            }
        }
        if addresses.is_empty() {
            return;
        }
        spec.insert("addresses".to_owned(), json!(addresses));
        self.put("IPAddressPool", name, Value::Object(spec));
    }

    pub(super) fn advertisement(&mut self, name: &str, spec: Value) {
        self.put("L2Advertisement", name, spec);
    }

    fn put(&mut self, kind: &str, name: &str, spec: Value) {
        self.objects.push(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        }));
    }

    /// That something of the other's is not carried over, and why.
    pub(super) fn lose(&mut self, what: &str, why: impl fmt::Display) {
        self.lost.push(format!("{what}: {why}"));
    }

    /// Adds a pool of the addresses that Services have and no pool here does, so that they keep them, and an advertisement of
    /// this name for all if there is none here. Says which.
    pub(super) fn keep(
        &mut self,
        held: &BTreeMap<IpAddr, Vec<String>>,
        advertisement: Option<&str>,
    ) -> Vec<String> {
        let of_pools = self.objects.iter().filter(|it| it["kind"] == "IPAddressPool");
        let entries = of_pools.flat_map(|it| it["spec"]["addresses"].as_array().into_iter().flatten());
        let ranges: Vec<Range> = entries.filter_map(|it| it.as_str()?.parse().ok()).collect();
        let outside = held.iter().filter(|(ip, _)| !ranges.iter().any(|range| range.contains(**ip)));
        let (mut addresses, mut told) = (Vec::new(), Vec::new());
        for (ip, services) in outside {
            addresses.push(IpNet::from(*ip).to_string());
            told.push(format!(
                "{ip} of {} is in no range: IPAddressPool {KEPT} has it, so that it stays",
                services.join(", ")
            ));
        }
        if !addresses.is_empty() {
            self.put("IPAddressPool", KEPT, json!({"addresses": addresses, "autoAssign": false}));
            let is_announced = self.objects.iter().any(|it| it["kind"] == "L2Advertisement");
            if let Some(name) = advertisement.filter(|_| !is_announced) {
                self.advertisement(name, json!({}));
            }
        }
        told
    }

    /// The names of the pools.
    #[cfg(test)]
    pub(super) fn pools(&self) -> Vec<&str> {
        let pools = self.objects.iter().filter(|it| it["kind"] == "IPAddressPool");
        pools.filter_map(|it| it["metadata"]["name"].as_str()).collect()
    }
}

/// An entry of a pool: a prefix, a range, or an address alone, which others take for itself.
fn entry(text: &str) -> Result<String, String> {
    let text = text.trim();
    let spelled = match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => return Err(DHCP.to_owned()),
        Ok(ip) => IpNet::from(ip).to_string(),
        Err(_) => text.split('-').map(str::trim).collect::<Vec<_>>().join("-"),
    };
    let range: Range = spelled.parse().map_err(|why| format!("cannot be read: {why}"))?;
    if range.first().is_unspecified() { Err(DHCP.to_owned()) } else { Ok(spelled) }
}

const DHCP: &str =
    "asks a DHCP server for addresses, and FerroLB does not: reserve those that Services have at the server";

/// A field that is a text.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// A field that is a list.
pub(super) fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object.pointer(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_spelled_as_pools_want_them_and_dhcp_is_none() {
        for (text, expected) in [
            ("192.168.1.0/28", Some("192.168.1.0/28")),
            (" 10.0.0.1 - 10.0.0.9 ", Some("10.0.0.1-10.0.0.9")),
            ("10.0.0.7", Some("10.0.0.7/32")),
            ("fd00::7", Some("fd00::7/128")),
            ("0.0.0.0/32", None),
            ("0.0.0.0", None),
            ("x", None),
        ] {
            assert_eq!(entry(text).ok().as_deref(), expected, "{text}");
        }
        assert!(entry("0.0.0.0/32").unwrap_err().contains("DHCP"));
    }

    #[test]
    fn addresses_that_services_have_stay_theirs_wherever_they_came_from() {
        let mut it = Carried::default();
        it.pool("a", "x", &["10.0.0.0/30".to_owned(), "y".to_owned()], Map::new());
        assert_eq!(it.lost.len(), 1);
        let held = |ip: &str| (ip.parse().unwrap(), vec!["default/web".to_owned()]);
        assert_eq!(it.keep(&[held("10.0.0.3")].into(), None), Vec::<String>::new());
        let told = it.keep(&[held("10.0.0.3"), held("10.0.0.4"), held("fd00::1")].into(), None);
        assert!(told.len() == 2 && told[0].starts_with("10.0.0.4 of default/web"), "{told:?}");
        assert_eq!(it.pools(), ["a", KEPT]);
        assert_eq!(
            it.objects[1]["spec"],
            json!({"addresses": ["10.0.0.4/32", "fd00::1/128"], "autoAssign": false})
        );
        // Nothing but Services that ask by themselves.
        let mut alone = Carried::default();
        alone.keep(&[held("10.0.0.3")].into(), Some("kube-vip"));
        assert_eq!((alone.pools(), &alone.objects[1]["kind"]), (vec![KEPT], &json!("L2Advertisement")));
    }
}
