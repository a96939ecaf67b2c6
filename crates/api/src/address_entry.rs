//! One entry of `IPAddressPool.spec.addresses`, with the rules that let the API server judge it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A CIDR prefix or a range, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AddressEntry(pub String);

/// What begins the message about an entry that is refused and has a character that only looks like the one which belongs
/// there, as a dash from a word processor does.
const LOOK_ALIKE: &str = "self.matches('[^ -~]') ? self + ' has the character \"' + self.find('[^ -~]') + '\", which is not ASCII: type it anew, a plain hyphen (-) between two addresses, plain digits, and nothing else' : ";

/// The start of a range, and its end, in CEL. Blanks around the hyphen are allowed, as upstream does.
const FIRST: &str = "self.split('-')[0].trim()";
const LAST: &str = "self.split('-')[1].trim()";

impl JsonSchema for AddressEntry {
    fn schema_name() -> Cow<'static, str> {
        "AddressEntry".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// Each rule speaks for one mistake and is silent about the others, so that `kubectl apply` shows one
    /// sentence. What upstream reads and CEL does not is left to the controller: IPv4-mapped addresses, and
    /// a prefix length with zeros before it.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let is_range = "self.contains('-')";
        let mapped = "self.matches('(?i)(^|- *)[0:]*:ffff:')";
        let is_cidr = format!(
            "{mapped} ? self.contains('/') : isCIDR(self) || (self.matches('/0[0-9]+$') && isIP(self.split('/')[0]))"
        );
        let both_are_ips = format!("self.split('-').size() == 2 && isIP({FIRST}) && isIP({LAST})");
        let same_family = format!("ip({FIRST}).family() == ip({LAST}).family()");
        json_schema!({
            "description": "A CIDR prefix (192.168.1.0/28) or a range (192.168.1.10-192.168.1.20).",
            "type": "string",
            "maxLength": 96,
            "x-kubernetes-validations": [
                {
                    "rule": "!isIP(self)",
                    "messageExpression": "self + ' is a single address: write ' + self + (self.contains(':') ? '/128' : '/32')",
                    "message": "a single address needs its prefix length: /32 for IPv4, /128 for IPv6",
                },
                {
                    "rule": format!("isIP(self) || {is_range} || ({is_cidr})"),
                    "messageExpression": format!("{LOOK_ALIKE}self + ' is not a CIDR: write an address and a prefix length, like 192.168.1.0/28 or fd00::/120'"),
                    "message": "not a CIDR: write an address and a prefix length, like 192.168.1.0/28 or fd00::/120",
                },
                {
                    "rule": format!("!{is_range} || {mapped} || ({both_are_ips})"),
                    "messageExpression": format!("{LOOK_ALIKE}self + ' is not a range: write its first and its last address, like 192.168.1.10-192.168.1.20'"),
                    "message": "not a range: write its first and its last address, like 192.168.1.10-192.168.1.20",
                },
                {
                    "rule": format!("!{is_range} || !({both_are_ips}) || {same_family}"),
                    "messageExpression": "self + ' goes from one address family to the other: write both ends in IPv4 or both in IPv6'",
                    "message": "a range needs both ends in IPv4 or both in IPv6",
                },
                {
                    "rule": format!("!{is_range} || !({both_are_ips}) || !({same_family}) || {FIRST}.contains(':') || {}", v4_in_order()),
                    "messageExpression": format!("self + ' ends before it starts: write ' + {LAST} + '-' + {FIRST}"),
                    "message": "the range ends before it starts: write the lower address first",
                },
            ],
        })
    }
}

/// CEL has no order on addresses, so the octets are compared one after the other. They are split once, for
/// the cost: a list of one stands for a variable. IPv6 is left to the controller, which says the same in an
/// event.
fn v4_in_order() -> String {
    let mut rule = "int(a[3]) <= int(b[3])".to_owned();
    for i in (0..3).rev() {
        rule = format!("(int(a[{i}]) < int(b[{i}]) || (int(a[{i}]) == int(b[{i}]) && {rule}))");
    }
    format!("[{FIRST}.split('.', 4)].all(a, [{LAST}.split('.', 4)].all(b, {rule}))")
}
