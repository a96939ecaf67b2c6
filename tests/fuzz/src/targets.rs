//! The targets. Each takes any bytes; what is structured is made of them.

mod api_objects;
mod bfd;
mod bgp;
mod dhcp;
mod gossip;
mod handover;
mod http;
mod lan;
mod mdns;
mod service;
mod texts;

use arbitrary::{Arbitrary, Unstructured};

/// Takes in some bytes, and panics when something is wrong.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("arp", lan::arp),
    ("ndp", lan::ndp),
    ("mdns", mdns::play),
    ("bfd", bfd::play),
    ("bgp", bgp::play),
    ("dhcp", dhcp::play),
    ("gossip", gossip::play),
    ("told", gossip::told),
    ("handover", handover::play),
    ("range", texts::range),
    ("texts", texts::play),
    ("annotations", service::annotations),
    ("service", service::json),
    ("configuration", api_objects::configuration),
    ("cluster", api_objects::cluster),
    ("http", http::play),
];

/// What is made of the bytes, if they are enough.
fn structured<'a, T: Arbitrary<'a>>(bytes: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(bytes)).ok()
}

/// Nobody who reads this is told anything by what somebody else wrote.
fn is_quoted(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character))
}
