//! Entries of lists of names, and of addresses.

use std::collections::BTreeMap;

use ipnet::IpNet;
use objects::text::quoted;

use pools::Range;

use crate::AddressEntry;

/// Addresses that are no host's, with what they are.
const OF_NO_HOST: [(&str, &str); 8] = [
    ("0.0.0.0/8", "none of hosts"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("::/127", "none of hosts"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

impl AddressEntry {
    /// The network that a CIDR means, when it was written with another address than the network's first:
    /// 192.168.100.192/28 for 192.168.100.200/28. Nothing for all else.
    pub fn network_meant(&self) -> Option<IpNet> {
        let written: IpNet = self.0.parse().ok()?;
        let meant = written.trunc();
        (meant != written).then_some(meant)
    }

    /// The first block among its addresses that no client can reach a Service at, and what that is.
    pub(super) fn of_no_host(&self) -> Option<(&'static str, &'static str)> {
        let written: Range = self.0.parse().ok()?;
        let among = |block: &str| block.parse::<Range>().is_ok_and(|block| block.overlaps(written));
        OF_NO_HOST.into_iter().find(|(block, _)| among(block))
    }
}

/// What is wrong with names in a list: those that `wrong` explains, and those that come twice.
pub(super) fn names(field: &str, list: &[String], wrong: fn(&str) -> Option<String>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, name) in list.iter().enumerate() {
        warnings.extend(wrong(name).map(|wrong| format!("{field}[{index}] {} {wrong}", quoted(name))));
    }
    warnings.extend(repeated(list.iter()).into_iter().map(|(index, first)| {
        format!("{field}[{index}] {} is the same as [{first}]: keep one", quoted(&list[index]))
    }));
    warnings
}

/// Each entry that is equal to an earlier one, with the first of its kind. Costs n log n.
pub(super) fn repeated<T: Ord>(list: impl Iterator<Item = T>) -> Vec<(usize, usize)> {
    let mut seen = BTreeMap::new();
    list.enumerate()
        .filter_map(|(index, entry)| {
            let first = *seen.entry(entry).or_insert(index);
            (first != index).then_some((index, first))
        })
        .collect()
}

/// Why no object of a resource can have this name, for resources named as most are (RFC 1123 subdomains).
pub(super) fn subdomain(name: &str) -> Option<String> {
    let wrong = if name.is_empty() {
        "is empty"
    } else if name.len() <= 253 && name.split('.').all(is_dns_label) {
        return None;
    } else {
        "is no name that an object can have"
    };
    Some(format!(
        "{wrong}: write a name of lower-case letters, digits, hyphens and dots, or remove the entry"
    ))
}

/// Why no namespace can have this name.
pub(super) fn namespace(name: &str) -> Option<String> {
    let wrong = if name.is_empty() {
        "is empty"
    } else if name.len() <= 63 && is_dns_label(name) {
        return None;
    } else {
        "is no name that a namespace can have"
    };
    Some(format!("{wrong}: write at most 63 lower-case letters, digits and hyphens, or remove the entry"))
}

fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Why no interface of a Linux node can have this name, by the kernel's rules.
pub(super) fn interface(name: &str) -> Option<String> {
    let space = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b;
    let wrong = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > 15 {
        format!("has {} bytes, and an interface's name at most 15", name.len())
    } else if name == "."
        || name == ".."
        || name.bytes().any(|byte| matches!(byte, b'/' | b':') || space(byte))
    {
        "is no name that an interface can have".to_owned()
    } else {
        return None;
    };
    Some(format!("{wrong}: write one that `ip link` shows on the node, or remove the entry"))
}
