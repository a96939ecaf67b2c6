//! `kubectl ferrolb convert`: MetalLB's old ConfigMap, as the objects that took its place in MetalLB 0.13.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use super::manifests;
use crate::answer::Answer;

/// The objects for a ConfigMap, or for what it has under `config`.
pub(crate) fn run(filename: &Path, namespace: Option<&str>) -> anyhow::Result<Answer> {
    let text = manifests::text_of(filename)?;
    let objects = convert(&text, namespace)?;
    manifests::answer(&objects)
}

/// The objects for the text of a ConfigMap or of its configuration.
pub(super) fn convert(text: &str, namespace: Option<&str>) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let document = the_one(documents)?;
    let is_map = document["kind"] == "ConfigMap";
    let found = document["metadata"]["namespace"].as_str().map(str::to_owned);
    let namespace = namespace.map(str::to_owned).or(found).unwrap_or_else(|| "metallb-system".to_owned());
    let config = if is_map {
        let config = document["data"]["config"].as_str().context("the ConfigMap has no data.config")?;
        serde_saphyr::from_str(config).map_err(|error| anyhow::anyhow!("data.config: {error}"))?
    } else {
        document
    };
    let Value::Object(config) = config else { bail!("not a configuration of MetalLB, which is a map") };
    let known = ["peers", "bgp-communities", "address-pools", "bfd-profiles", "peer-autodiscovery"];
    no_others(&config, &known, "")?;
    if config.contains_key("peer-autodiscovery") {
        bail!("peer-autodiscovery has no successor: write a BGPPeer for each peer, and remove it");
    }
    let mut converter = Converter { namespace, objects: vec![] };
    for (index, pool) in list(&config, "address-pools")?.iter().enumerate() {
        converter.pool(pool, &format!("address-pools[{index}]"))?;
    }
    for (index, peer) in list(&config, "peers")?.iter().enumerate() {
        converter.peer(peer, index)?;
    }
    for (index, profile) in list(&config, "bfd-profiles")?.iter().enumerate() {
        converter.bfd(profile, &format!("bfd-profiles[{index}]"))?;
    }
    if let Some(Value::Object(aliases)) = config.get("bgp-communities") {
        let aliases: Vec<Value> =
            aliases.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        converter.put("metallb.io/v1beta1", "Community", "communities", json!({"communities": aliases}));
    }
    if converter.objects.is_empty() {
        bail!("there is nothing in it to convert: neither address-pools nor peers");
    }
    Ok(converter.objects)
}

/// The ConfigMap among other objects; a document that is alone is taken as it is.
fn the_one(mut documents: Vec<Value>) -> anyhow::Result<Value> {
    if let [_] = documents[..] {
        return Ok(documents.remove(0));
    }
    let has_config = |it: &Value| it["kind"] == "ConfigMap" && it["data"]["config"].is_string();
    let of = documents.len();
    let mut found = documents.into_iter().filter(has_config);
    match (found.next(), found.next()) {
        (Some(it), None) => Ok(it),
        (Some(_), Some(_)) => bail!("it has two ConfigMaps with data.config: convert one after the other"),
        (None, _) => bail!(
            "none of its {of} documents is a ConfigMap with data.config, as MetalLB read it before 0.13"
        ),
    }
}

struct Converter {
    namespace: String,
    objects: Vec<Value>,
}

impl Converter {
    fn put(&mut self, version: &str, kind: &str, name: &str, spec: Value) {
        self.objects.push(json!({
            "apiVersion": version, "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        }));
    }

    fn pool(&mut self, pool: &Value, place: &str) -> anyhow::Result<()> {
        let pool = map(pool, place)?;
        let known =
            ["name", "protocol", "addresses", "auto-assign", "avoid-buggy-ips", "bgp-advertisements", "cidr"];
        no_others(pool, &known, place)?;
        let name = text(pool, "name", place)?;
        let mut spec = Map::new();
        let addresses = pool.get("addresses").or(pool.get("cidr"));
        let addresses = addresses.with_context(|| format!("{place}.addresses is missing"))?;
        spec.insert("addresses".to_owned(), addresses.clone());
        for (old, new) in [("auto-assign", "autoAssign"), ("avoid-buggy-ips", "avoidBuggyIPs")] {
            if let Some(value) = pool.get(old) {
                spec.insert(new.to_owned(), value.clone());
            }
        }
        self.put("metallb.io/v1beta1", "IPAddressPool", name, Value::Object(spec));
        match text(pool, "protocol", place)? {
            "layer2" => {
                self.put("metallb.io/v1beta1", "L2Advertisement", name, json!({"ipAddressPools": [name]}));
            }
            "bgp" => self.bgp_advertisements(pool, name, place)?,
            other => bail!("{place}.protocol {other:?} is neither layer2 nor bgp"),
        }
        Ok(())
    }

    fn bgp_advertisements(
        &mut self,
        pool: &Map<String, Value>,
        name: &str,
        place: &str,
    ) -> anyhow::Result<()> {
        let advertisements = list(pool, "bgp-advertisements")?;
        if advertisements.is_empty() {
            self.put("metallb.io/v1beta1", "BGPAdvertisement", name, json!({"ipAddressPools": [name]}));
        }
        for (index, old) in advertisements.iter().enumerate() {
            let place = format!("{place}.bgp-advertisements[{index}]");
            let old = map(old, &place)?;
            let fields = [
                ("aggregation-length", "aggregationLength"),
                ("aggregation-length-v6", "aggregationLengthV6"),
                ("localpref", "localPref"),
                ("communities", "communities"),
                ("peers", "peers"),
            ];
            let mut spec = renamed(old, &fields, &place)?;
            spec.insert("ipAddressPools".to_owned(), json!([name]));
            let name = if index == 0 { name.to_owned() } else { format!("{name}-{}", index + 1) };
            self.put("metallb.io/v1beta1", "BGPAdvertisement", &name, Value::Object(spec));
        }
        Ok(())
    }

    fn peer(&mut self, peer: &Value, index: usize) -> anyhow::Result<()> {
        let place = format!("peers[{index}]");
        let peer = map(peer, &place)?;
        let fields = [
            ("my-asn", "myASN"),
            ("peer-asn", "peerASN"),
            ("peer-address", "peerAddress"),
            ("peer-port", "peerPort"),
            ("source-address", "sourceAddress"),
            ("hold-time", "holdTime"),
            ("keepalive-time", "keepaliveTime"),
            ("router-id", "routerID"),
            ("password", "password"),
            ("bfd-profile", "bfdProfile"),
            ("ebgp-multihop", "ebgpMultiHop"),
            ("name", "name"),
            ("node-selectors", "nodeSelectors"),
        ];
        let mut spec = renamed(peer, &fields, &place)?;
        let name = spec.remove("name").and_then(|name| Some(name.as_str()?.to_owned()));
        if let Some(Value::Array(selectors)) = spec.get_mut("nodeSelectors") {
            for selector in selectors {
                let old = map(selector, &place)?.clone();
                let new = [("match-labels", "matchLabels"), ("match-expressions", "matchExpressions")];
                *selector = Value::Object(renamed(&old, &new, &format!("{place}.node-selectors"))?);
            }
        }
        let name = name.unwrap_or_else(|| format!("peer-{}", index + 1));
        self.put("metallb.io/v1beta2", "BGPPeer", &name, Value::Object(spec));
        Ok(())
    }

    fn bfd(&mut self, profile: &Value, place: &str) -> anyhow::Result<()> {
        let profile = map(profile, place)?;
        let fields = [
            ("name", "name"),
            ("receive-interval", "receiveInterval"),
            ("transmit-interval", "transmitInterval"),
            ("detect-multiplier", "detectMultiplier"),
            ("echo-interval", "echoInterval"),
            ("echo-mode", "echoMode"),
            ("passive-mode", "passiveMode"),
            ("minimum-ttl", "minimumTtl"),
        ];
        let mut spec = renamed(profile, &fields, place)?;
        spec.remove("name");
        let name = text(profile, "name", place)?;
        self.put("metallb.io/v1beta1", "BFDProfile", name, Value::Object(spec));
        Ok(())
    }
}

/// The fields under their new names; another one is named.
fn renamed(
    old: &Map<String, Value>,
    fields: &[(&str, &str)],
    place: &str,
) -> anyhow::Result<Map<String, Value>> {
    let known: Vec<&str> = fields.iter().map(|(old, _)| *old).collect();
    no_others(old, &known, place)?;
    let new = fields.iter().filter_map(|(from, to)| Some(((*to).to_owned(), old.get(*from)?.clone())));
    Ok(new.collect())
}

fn no_others(map: &Map<String, Value>, known: &[&str], place: &str) -> anyhow::Result<()> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            let dot = if place.is_empty() { "" } else { "." };
            bail!("{place}{dot}{key} is no field of MetalLB's configuration: there are {}", known.join(", "))
        }
        None => Ok(()),
    }
}

fn map<'a>(value: &'a Value, place: &str) -> anyhow::Result<&'a Map<String, Value>> {
    value.as_object().with_context(|| format!("{place} is not a map"))
}

fn text<'a>(map: &'a Map<String, Value>, key: &str, place: &str) -> anyhow::Result<&'a str> {
    map.get(key).and_then(Value::as_str).with_context(|| format!("{place}.{key} is missing"))
}

fn list<'a>(map: &'a Map<String, Value>, key: &str) -> anyhow::Result<&'a [Value]> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => bail!("{key} is not a list"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {namespace: metallb, name: config}
data:
  config: |
    peers:
    - peer-address: 10.0.0.1
      peer-asn: 64501
      my-asn: 64500
      node-selectors:
      - match-labels: {rack: a}
    bgp-communities: {no-advertise: '65535:65282'}
    address-pools:
    - name: lan
      protocol: layer2
      auto-assign: false
      addresses: [192.168.1.240-192.168.1.250]
    - name: public
      protocol: bgp
      addresses: [203.0.113.0/28]
      avoid-buggy-ips: true
      bgp-advertisements:
      - aggregation-length: 32
        localpref: 100
        communities: [no-advertise]
      - aggregation-length: 24
";

    #[test]
    fn the_configmap_is_found_among_other_objects() {
        let config = "kind: ConfigMap\ndata:\n  config: |\n    address-pools:\n    - {name: a, protocol: layer2, addresses: [192.0.2.0/28]}\n";
        let other = "kind: Namespace\nmetadata: {name: x}\n";
        let objects = convert(&format!("{other}---\n{config}"), None).unwrap();
        assert_eq!(
            objects.iter().map(|it| it["kind"].as_str().unwrap()).collect::<Vec<_>>(),
            ["IPAddressPool", "L2Advertisement"]
        );
        let refused = |text: &str| convert(text, None).unwrap_err().to_string();
        assert!(
            refused(&format!("{other}---\n{other}")).starts_with("none of its 2 documents is a ConfigMap")
        );
        assert!(refused(&format!("{config}---\n{config}")).starts_with("it has two ConfigMaps"));
    }

    #[test]
    fn a_config_map_becomes_objects_that_are_valid() {
        let objects = convert(OLD, None).unwrap();
        let titles: Vec<String> = objects
            .iter()
            .map(|it| {
                format!("{} {}", it["kind"].as_str().unwrap(), it["metadata"]["name"].as_str().unwrap())
            })
            .collect();
        assert_eq!(
            titles,
            [
                "IPAddressPool lan",
                "L2Advertisement lan",
                "IPAddressPool public",
                "BGPAdvertisement public",
                "BGPAdvertisement public-2",
                "BGPPeer peer-1",
                "Community communities",
            ]
        );
        assert_eq!(objects[0]["metadata"]["namespace"], "metallb");
        assert_eq!(
            objects[0]["spec"],
            json!({"addresses": ["192.168.1.240-192.168.1.250"], "autoAssign": false})
        );
        assert_eq!(objects[2]["spec"]["avoidBuggyIPs"], true);
        assert_eq!(
            objects[3]["spec"],
            json!({"aggregationLength": 32, "localPref": 100, "communities": ["no-advertise"], "ipAddressPools": ["public"]})
        );
        assert_eq!(objects[5]["spec"]["nodeSelectors"], json!([{"matchLabels": {"rack": "a"}}]));
    }

    #[test]
    fn what_stands_under_config_is_enough_and_a_namespace_can_be_given() {
        let objects =
            convert("address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/28]}]", Some("lb"))
                .unwrap();
        assert_eq!(objects[1]["metadata"]["namespace"], "lb");
    }

    #[test]
    fn what_cannot_be_converted_is_named() {
        for (old, why) in [
            ("address-pools: [{name: a, protocol: layer3, addresses: []}]", "neither layer2 nor bgp"),
            ("address-pools: [{name: a, protocol: layer2}]", "address-pools[0].addresses is missing"),
            ("address-pools: [{protocol: layer2, addresses: []}]", "address-pools[0].name is missing"),
            ("address-pool: []", "address-pool is no field"),
            ("peers: [{my-as: 1}]", "peers[0].my-as is no field"),
            ("peer-autodiscovery: {}", "has no successor"),
            ("kind: ConfigMap", "no data.config"),
            ("{}", "nothing in it to convert"),
            ("[]", "is a map"),
        ] {
            let error = convert(old, None).unwrap_err().to_string();
            assert!(error.contains(why), "{old}: {error}");
        }
    }
}
