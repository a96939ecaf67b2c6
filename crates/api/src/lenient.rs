//! Reads whatever may be stored. The schema judges what is written from now on; what was written before,
//! under another schema, is still there, and a list in which one object cannot be read is not read at all.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// A spec in which `null` is as good as nothing, at every depth, also in place of the spec.
pub(crate) fn spec<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let spec = Option::deserialize(deserializer)?.unwrap_or_else(|| Value::Object(Map::new()));
    serde_json::from_value(without_nulls(spec)).map_err(Error::custom)
}

/// A status, the default where it cannot be read: whoever owns it will write it anew.
pub(crate) fn status<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// An integer of any size, the nearest that fits where it does not.
pub(crate) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Number>::deserialize(deserializer)?.map(|number| nearest(&number)))
}

#[expect(clippy::cast_possible_truncation, reason = "such a cast saturates, which is what is wanted")]
fn nearest(number: &Number) -> i64 {
    match (number.as_i64(), number.as_u64()) {
        (Some(fits), _) => fits,
        (None, Some(_)) => i64::MAX,
        (None, None) => number.as_f64().unwrap_or_default() as i64,
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => {
            Value::Array(items.into_iter().filter(|item| !item.is_null()).map(without_nulls).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource;
    use kube::core::ObjectList;
    use serde_json::json;

    use crate::{BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};

    use super::*;

    /// Reads a list of these objects, of which the last is an ordinary one.
    fn read<T>(odd: &[Value], ordinary: &Value) -> Vec<T>
    where
        T: Clone + DeserializeOwned + Resource<DynamicType = ()>,
    {
        let object = |(index, spec): (usize, &Value)| {
            let mut object = spec.clone();
            object["metadata"] = json!({"name": format!("n{index}")});
            object
        };
        let items: Vec<Value> = odd.iter().chain([ordinary]).enumerate().map(object).collect();
        let list =
            json!({"apiVersion": "metallb.io/v1beta1", "kind": "List", "metadata": {}, "items": items});
        let list: ObjectList<T> = serde_json::from_value(list).unwrap();
        assert_eq!(list.items.len(), items.len());
        list.items
    }

    #[test]
    fn an_odd_pool_hides_no_other() {
        let odd = [
            json!({}),
            json!({"spec": null, "status": null}),
            json!({"spec": {}}),
            json!({"spec": {"addresses": null, "autoAssign": null, "avoidBuggyIPs": null, "serviceAllocation": null}}),
            json!({"spec": {"addresses": ["10.0.0.0/24"], "protocol": "layer2", "serviceAllocation": {
                "priority": null, "namespaces": null, "namespaceSelectors": null,
                "serviceSelectors": [{"matchLabels": null}, {"matchLabels": {"a": null}}, {"matchExpressions": [{}, {"values": null}]}],
            }}}),
            json!({"spec": {"addresses": ["10.0.0.0/24"]}, "status": {"conditions": [{"type": "Accepted"}]}}),
            json!({"spec": {"addresses": ["10.0.0.0/24"]}, "status": {"assignedIPv4": null}}),
        ];
        let pools = read::<IPAddressPool>(&odd, &json!({"spec": {"addresses": ["10.1.0.0/24"]}}));
        assert!(pools[3].spec.auto_assign, "null is no value, so the default holds");
        assert_eq!(pools[7].spec.addresses[0].0, "10.1.0.0/24");
    }

    #[test]
    fn a_priority_of_any_size_is_read() {
        let priority = |text: &str| {
            let pool = format!(
                r#"{{"metadata": {{}}, "spec": {{"addresses": [], "serviceAllocation": {{"priority": {text}}}}}}}"#
            );
            serde_json::from_str::<IPAddressPool>(&pool).unwrap().spec.service_allocation.unwrap().priority
        };
        for (text, expected) in [
            ("-1", -1),
            ("2147483648", 2_147_483_648),
            ("9223372036854775808", i64::MAX),
            ("1e30", i64::MAX),
            ("-1e30", i64::MIN),
        ] {
            assert_eq!(priority(text), Some(expected), "{text}");
        }
        assert_eq!(priority("null"), None);
    }

    #[test]
    fn an_odd_advertisement_hides_no_other() {
        let odd = [
            json!({}),
            json!({"spec": null, "status": null}),
            json!({"spec": {
                "ipAddressPools": null, "nodeSelectors": null, "interfaces": null, "other": 1,
                "preferredNodeSelectors": [{}, {"weight": null, "preference": null}],
            }}),
            json!({"spec": {}, "status": {"conditions": [{}]}}),
        ];
        let advertisements = read::<L2Advertisement>(&odd, &json!({"spec": {"interfaces": ["eth0"]}}));
        assert_eq!(advertisements[4].spec.interfaces, ["eth0"]);
        let odd =
            [json!({}), json!({"spec": {"aggregationLength": null, "communities": null, "localPref": null}})];
        let advertisements = read::<BGPAdvertisement>(&odd, &json!({"spec": {"peers": ["tor"]}}));
        assert_eq!(advertisements[1].spec.aggregation_length, 32);
    }

    #[test]
    fn odd_peers_and_communities_hide_no_other() {
        let odd = [
            json!({}),
            json!({"spec": null}),
            json!({"spec": {"myASN": null, "passwordSecret": {"name": null}, "dynamicASN": null}}),
            json!({"spec": {"myASN": 1, "dynamicASN": "auto"}}),
        ];
        let peers = read::<BGPPeer>(&odd, &json!({"spec": {"myASN": 64512, "peerASN": 64513}}));
        assert_eq!((peers[2].spec.peer_port, peers[4].spec.my_asn), (179, 64512));
        let odd = [
            json!({}),
            json!({"spec": {"communities": null}}),
            json!({"spec": {"communities": [{"name": null}]}}),
        ];
        let communities =
            read::<Community>(&odd, &json!({"spec": {"communities": [{"name": "a", "value": "1:1"}]}}));
        assert_eq!(communities[3].spec.communities[0].name, "a");
    }
}
