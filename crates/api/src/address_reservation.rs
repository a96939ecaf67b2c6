//! `AddressReservation`: addresses of one's own, which outlive the Services that have them.

use std::net::IpAddr;

use ipam::{Record, Reservation, ReservationKey, Wanted};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, CustomResourceExt, KubeSchema, Resource, ResourceExt};
use objects::text::quoted;
use objects::{Family, PoolName, look_alike};
use pools::Unreadable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::untitled;
use crate::selector::read_selectors;
use crate::{LabelSelector, conditions, lenient};

/// Addresses that a namespace has to itself.
#[derive(Resource, Debug, Clone, Default, PartialEq, Deserialize)]
#[resource(inherit = "AddressReservationSchema")]
pub struct AddressReservation {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// Which addresses, and for which Services.
    #[serde(default, deserialize_with = "lenient::spec")]
    pub spec: AddressReservationSpec,
    /// What has become of it.
    #[serde(default, deserialize_with = "lenient::status")]
    pub status: Option<AddressReservationStatus>,
}

impl AddressReservation {
    /// The definition to install.
    pub fn crd() -> CustomResourceDefinition {
        untitled(AddressReservationSchema::crd())
    }

    /// Its namespace and name.
    pub fn key(&self) -> ReservationKey {
        ReservationKey::new(self.namespace().unwrap_or_default(), self.name_any())
    }

    /// What it says.
    ///
    /// # Errors
    /// If something of it cannot be read: then none of it is in force.
    pub fn read(&self) -> Result<Reservation, Vec<Unreadable>> {
        let mut unreadable = Vec::new();
        let wanted = self.spec.wanted(&mut unreadable);
        let service_selectors =
            read_selectors("spec.serviceSelectors", &self.spec.service_selectors, &mut unreadable);
        match wanted {
            Some(wanted) if unreadable.is_empty() => {
                let created = self.metadata.creation_timestamp.as_ref().map(|time| time.0.into());
                Ok(Reservation { key: self.key(), created, wanted, service_selectors, record: self.record() })
            }
            Some(_) | None => Err(unreadable),
        }
    }

    /// What its status says that it has.
    pub fn record(&self) -> Record {
        let Some(status) = &self.status else { return Record::default() };
        let mut ips: Vec<IpAddr> = status.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        ips.sort_unstable();
        Record { ips, pool: status.pool.as_deref().map(PoolName::from) }
    }
}

/// Which addresses, and for which Services.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "ferrolb.io",
    version = "v1alpha1",
    kind = "AddressReservation",
    root = "AddressReservationSchema",
    plural = "addressreservations",
    doc = "AddressReservation keeps addresses of a pool for Services of its namespace that name it, whether or not there is one.",
    namespaced,
    status = "AddressReservationStatus",
    printcolumn = r#"{"name":"Addresses","type":"string","jsonPath":".status.addresses"}"#,
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".status.pool"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.conditions[?(@.type=='Accepted')].status"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "!has(self.addresses) || !has(self.pool)",
        "addresses and pool exclude each other: name the addresses, or the pool to choose from",
    ),
    validation = (
        "has(self.addresses) || has(self.pool)",
        "nothing to reserve: write addresses like [192.168.1.230], or the pool to choose from",
    ),
    validation = (
        "!has(self.ipFamilies) || has(self.pool)",
        "ipFamilies says what to choose from a pool: leave it out, or name a pool in place of the addresses",
    ),
    validation = (
        "!has(self.pool) || !has(oldSelf.pool) || self.pool == oldSelf.pool",
        "the pool stays, for its address is chosen once: delete the reservation and create it anew",
    ),
    validation = (
        "!has(self.pool) || !has(oldSelf.pool) || (has(self.ipFamilies) == has(oldSelf.ipFamilies) && (!has(self.ipFamilies) || self.ipFamilies == oldSelf.ipFamilies))",
        "ipFamilies stays beside a pool, for the addresses are chosen once: delete the reservation and create it anew",
    ),
)]
pub struct AddressReservationSpec {
    /// The addresses to reserve: one, or one of each family, of one pool. Not beside pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 2), inner(length(max = 64)))]
    #[x_kube(
        validation = (
            "self.all(x, isIP(x))",
            "not an IP address: write addresses without a prefix length, like 192.168.1.230",
        ),
        validation = (
            "self.size() < 2 || !self.all(x, isIP(x)) || ip(self[0]).family() != ip(self[1]).family()",
            "two addresses of one family: write at most one of each, and make a reservation for each other one",
        ),
    )]
    pub addresses: Vec<String>,
    /// The IPAddressPool to choose from, once. What was chosen is in the status, and stays. Not beside addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pool: Option<String>,
    /// The families to choose an address of. Without it, each that the pool has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(validation = ("self.size() < 2 || self[0] != self[1]", "one family twice: keep one"))]
    pub ip_families: Vec<IpFamily>,
    /// Services of the namespace that may name the reservation, by their labels. When empty, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub service_selectors: Vec<LabelSelector>,
}

/// An address family, as Services name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamily {
    /// IPv4
    IPv4,
    /// IPv6
    IPv6,
}

/// The observed state of an [`AddressReservation`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AddressReservationStatus {
    /// The addresses that are reserved; before they stand here, no Service gets one.
    #[serde(default)]
    #[schemars(!default)]
    pub addresses: Vec<String>,
    /// The IPAddressPool that they belong to.
    #[serde(default)]
    pub pool: Option<String>,
    /// Whether the reservation is in force (`Accepted`), and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

impl AddressReservationSpec {
    fn wanted(&self, unreadable: &mut Vec<Unreadable>) -> Option<Wanted> {
        let mut wrong = |field: String, why: String| unreadable.push(Unreadable { field, why });
        match (&self.addresses[..], &self.pool) {
            ([], Some(pool)) => {
                let mut families: Vec<Family> = self.ip_families.iter().map(|it| (*it).into()).collect();
                families.sort_unstable();
                families.dedup();
                return Some(Wanted::AnyOf { pool: PoolName::new(pool.as_str()), families });
            }
            ([], None) => wrong("spec".to_owned(), "it names neither addresses nor a pool".to_owned()),
            ([_, ..], Some(_)) => {
                wrong("spec".to_owned(), "it names addresses and a pool: keep one of the two".to_owned());
            }
            ([_, ..], None) => {}
        }
        let mut ips: Vec<IpAddr> = Vec::new();
        for (index, text) in self.addresses.iter().enumerate() {
            match text.trim().parse::<IpAddr>().map(|ip| ip.to_canonical()) {
                Ok(ip) if ips.iter().any(|other| Family::of(*other) == Family::of(ip)) => {
                    wrong(format!("spec.addresses[{index}]"), "it is a second one of its family".to_owned());
                }
                Ok(ip) => ips.push(ip),
                Err(_) => {
                    let slip = look_alike(text).map(|it| format!(": {it}")).unwrap_or_default();
                    let why = format!("{} is not an address{slip}", quoted(text));
                    wrong(format!("spec.addresses[{index}]"), why);
                }
            }
        }
        ips.sort_unstable();
        (!ips.is_empty()).then_some(Wanted::Addresses(ips))
    }
}

impl From<IpFamily> for Family {
    fn from(family: IpFamily) -> Self {
        match family {
            IpFamily::IPv4 => Self::V4,
            IpFamily::IPv6 => Self::V6,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(spec: Value, status: Value) -> Result<Reservation, Vec<Unreadable>> {
        let metadata = json!({"name": "web", "namespace": "shop"});
        let object = json!({"metadata": metadata, "spec": spec, "status": status});
        serde_json::from_value::<AddressReservation>(object).unwrap().read()
    }

    #[test]
    fn addresses_or_a_pool_are_reserved() {
        let both =
            json!({"addresses": ["fd00::5", "192.0.2.5"], "serviceSelectors": [{"matchLabels": {"a": "b"}}]});
        let reservation = read(both, Value::Null).unwrap();
        assert_eq!(reservation.key, ReservationKey::new("shop", "web"));
        let ips = ["192.0.2.5", "fd00::5"].map(|ip| ip.parse().unwrap());
        assert_eq!(reservation.wanted, Wanted::Addresses(ips.into()));
        assert_eq!((reservation.service_selectors.len(), reservation.record), (1, Record::default()));
        let status = json!({"addresses": ["fd00::5", "192.0.2.5"], "pool": "lan"});
        let chosen = read(json!({"pool": "lan", "ipFamilies": ["IPv6", "IPv4"]}), status).unwrap();
        let families = vec![Family::V4, Family::V6];
        assert_eq!(chosen.wanted, Wanted::AnyOf { pool: "lan".into(), families });
        assert_eq!(chosen.record, Record { ips: ips.into(), pool: Some("lan".into()) });
    }

    #[test]
    fn what_cannot_be_read_is_named_and_none_of_it_is_in_force() {
        let bad = json!([{"matchExpressions": [{"key": "a", "operator": "Is"}]}]);
        for (spec, field) in [
            (json!({}), "spec"),
            (Value::Null, "spec"),
            (json!({"addresses": ["192.0.2.5"], "pool": "lan"}), "spec"),
            (json!({"addresses": ["192.0.2.0/24"]}), "spec.addresses[0]"),
            (json!({"addresses": ["192.0.2.5", "192.0.2.6"]}), "spec.addresses[1]"),
            (json!({"pool": "lan", "serviceSelectors": bad}), "spec.serviceSelectors[0]"),
        ] {
            let unreadable = read(spec.clone(), Value::Null).unwrap_err();
            assert_eq!(unreadable[0].field, field, "{spec}");
        }
    }
}
