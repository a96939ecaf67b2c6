//! `BGPPeer`: a router that addresses are announced to.
//!
//! There are two versions, and no webhook that converts between them: the API server only changes the
//! version's name. For that to lose nothing, both have the same fields. `v1beta1` is made from `v1beta2`; it
//! asks for what it has always asked for, and has no defaults of its own. So manifests of `v1beta1` mean
//! what they say, what is stored can be read in both, and an object that only `v1beta2` can express is
//! refused when it is written as `v1beta1`, where it would else lose fields.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
    JSONSchemaPropsOrArray,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::core::Rule;
use kube::{CustomResource, CustomResourceExt, KubeSchema, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::{schema, untitled};
use crate::rules::{if_duration, immutable, is_duration, is_ip, rule};
use crate::{LabelSelector, conditions, lenient};

/// A router to announce addresses to, and the session with it.
#[derive(Resource, Debug, Clone, Default, PartialEq, Deserialize)]
#[resource(inherit = "BGPPeerSchema")]
pub struct BGPPeer {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// The router and the session.
    #[serde(default, deserialize_with = "lenient::spec")]
    pub spec: BGPPeerSpec,
    /// What has become of it.
    #[serde(default, deserialize_with = "lenient::status")]
    pub status: BGPPeerStatus,
}

/// A router to announce addresses to, and the session with it.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    root = "BGPPeerSchema",
    plural = "bgppeers",
    doc = "BGPPeer is a router that addresses are announced to by BGP.",
    namespaced,
    status = "BGPPeerStatus",
    printcolumn = r#"{"name":"Address","type":"string","jsonPath":".spec.peerAddress"}"#,
    printcolumn = r#"{"name":"ASN","type":"string","jsonPath":".spec.peerASN"}"#,
    printcolumn = r#"{"name":"BFD Profile","type":"string","jsonPath":".spec.bfdProfile"}"#,
    printcolumn = r#"{"name":"Multi Hops","type":"string","jsonPath":".spec.ebgpMultiHop"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = exactly_one(
        ("self.?peerASN.orValue(0) != 0", "has(self.dynamicASN)"),
        "peerASN and dynamicASN exclude each other: keep one",
        "the AS number of the peer is missing: write peerASN, or dynamicASN with internal or external",
    ),
    validation = exactly_one(
        ("self.?peerAddress.orValue('') != ''", "self.?interface.orValue('') != ''"),
        "peerAddress and interface exclude each other: keep one",
        "the way to the peer is missing: write peerAddress, or interface for a peer without a fixed address",
    ),
    validation = (
        "!self.?ebgpMultiHop.orValue(false) || self.?peerASN.orValue(0) != self.myASN",
        "ebgpMultiHop is for a peer in another AS, but peerASN is the same as myASN: remove ebgpMultiHop or correct a number",
    ),
    validation = keepalive_within_hold(),
    validation = keepalive_gives_hold()
)]
pub struct BGPPeerSpec {
    /// The AS number of this end.
    #[serde(rename = "myASN", default)]
    #[schemars(!default, range(min = 0, max = 4_294_967_295_i64))]
    #[x_kube(validation = ("self != 0", "0 is not an AS number: write the one of this end, like 64512"))]
    pub my_asn: i64,
    /// The AS number of the peer. 0 counts as missing. Excludes dynamicASN.
    #[serde(rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub peer_asn: Option<i64>,
    /// The AS number that this end shows to this peer in place of myASN.
    #[serde(rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub local_asn: Option<i64>,
    /// In place of its AS number, which numbers are accepted from the peer. Excludes peerASN.
    #[serde(rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,
    /// The IP address of the peer. Excludes interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = is_ip("192.168.1.1 or fd00::1"))]
    pub peer_address: Option<String>,
    /// The interface of the node behind which the peer is found by its link-local address. Excludes
    /// peerAddress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The IP address of this end to connect from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = is_ip("192.168.1.10 or fd00::10"))]
    pub source_address: Option<String>,
    /// The TCP port of the peer, 179 by default.
    #[serde(default = "bgp_port")]
    #[schemars(range(min = 1, max = 16_384))]
    pub peer_port: i32,
    /// How long a session lives without a word from the peer (RFC 4271 section 4.2), like 90s: 0s for ever,
    /// else 3s or more. Without it, three times keepaliveTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = is_duration(), validation = hold_time())]
    pub hold_time: Option<String>,
    /// How often to give a sign of life (RFC 4271 section 4.4), like 30s, at most holdTime. Without it, a
    /// third of holdTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = is_duration())]
    pub keepalive_time: Option<String>,
    /// How long to wait before connecting again, in whole seconds from 1s to 65535s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = is_duration(), validation = connect_time(), validation = whole_seconds())]
    pub connect_time: Option<String>,
    /// The BGP identifier of this end (RFC 4271 section 4.2), written as an IP address. Without it, the
    /// address of the node.
    #[serde(rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = is_ip("192.168.1.10"))]
    pub router_id: Option<String>,
    /// Nodes that connect to the peer. When empty, every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,
    /// The password that protects the session (RFC 2385), for everybody to read who may read this object.
    /// Not beside passwordSecret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The Secret that holds the password: of type kubernetes.io/basic-auth, in the namespace of the
    /// installation, with the key password. Not beside password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub password_secret: Option<SecretReference>,
    /// The BFDProfile of a BFD session beside the BGP session, by name. Without it, there is no BFD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Keep forwarding by the routes of the peer while it restarts (RFC 4724). To change it, delete the
    /// object and create it anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = immutable())]
    pub enable_graceful_restart: Option<bool>,
    /// The peer, in another AS, is more than one hop away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// The VRF of the node whose interfaces lead to the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Deprecated and without effect: what it asked for is the default. See dualStackAddressFamily.
    #[serde(rename = "disableMP", default)]
    pub disable_mp: bool,
    /// Exchange routes of both address families in the session, whichever it runs over (RFC 4760).
    #[serde(default)]
    pub dual_stack_address_family: bool,
}

/// Accept the AS number that the peer tells: internal when it must be myASN, external when it must be
/// another. Excludes peerASN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// Only the own one.
    Internal,
    /// Every other one.
    External,
    /// One that this version does not know.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Names a Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Namespace of the Secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// The observed state of a [`BGPPeer`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BGPPeerStatus {
    /// Whether the peer is in force as it stands (`Accepted`), and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

fn bgp_port() -> i32 {
    179
}

/// A rule that one of two conditions holds and the other does not, with what to say when both or neither do.
fn exactly_one((first, second): (&str, &str), both: &str, neither: &str) -> Rule {
    rule(format!("({first}) != ({second})"), format!("{first} ? '{both}' : '{neither}'"))
}

fn hold_time() -> Rule {
    let seconds = "duration(self).getSeconds()";
    let long_enough = format!("{seconds} >= 3 || ({seconds} == 0 && duration(self) >= duration('0s'))");
    rule(
        if_duration("self", &long_enough),
        "self + ' is too short: write 3s or more, or 0s for sessions that never time out'",
    )
}

fn keepalive_within_hold() -> Rule {
    let within = "duration(self.keepaliveTime) <= duration(self.holdTime)";
    let within = if_duration("self.holdTime", &if_duration("self.keepaliveTime", within));
    rule(
        format!("!has(self.keepaliveTime) || !has(self.holdTime) || {within}"),
        "'keepaliveTime ' + self.keepaliveTime + ' is longer than holdTime ' + self.holdTime + ': write a third of holdTime, or remove keepaliveTime'",
    )
}

/// Without a hold time, three times the keepalive time is one, to which [`hold_time`] applies.
fn keepalive_gives_hold() -> Rule {
    let milliseconds = "duration(self.keepaliveTime).getMilliseconds()";
    let long_enough = format!("{milliseconds} >= 1000 || ({milliseconds} >= 0 && {milliseconds} < 334)");
    let long_enough = if_duration("self.keepaliveTime", &long_enough);
    rule(
        format!("!has(self.keepaliveTime) || has(self.holdTime) || {long_enough}"),
        "'keepaliveTime ' + self.keepaliveTime + ' gives a holdTime of three times as much, which is below 3s: write 1s or more'",
    )
}

fn connect_time() -> Rule {
    let in_range = "duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535";
    rule(if_duration("self", in_range), "self + ' is out of range: write 1s to 65535s'")
}

fn whole_seconds() -> Rule {
    rule(
        if_duration(
            "self",
            "duration(self).getSeconds() == 0 || duration(self).getMilliseconds() % 1000 == 0",
        ),
        "self + ' has a fraction of a second: write whole seconds'",
    )
}

/// The definition to install, with both versions.
pub(crate) fn crd() -> CustomResourceDefinition {
    let mut crd = untitled(BGPPeerSchema::crd());
    let old = v1beta1(crd.spec.versions[0].clone());
    crd.spec.versions.insert(0, old);
    // Said in full, to take the place of the webhook in a definition that MetalLB has installed.
    crd.spec.conversion =
        Some(CustomResourceConversion { strategy: "None".to_owned(), ..CustomResourceConversion::default() });
    crd
}

/// The deprecated version, made from the present one.
fn v1beta1(mut version: CustomResourceDefinitionVersion) -> CustomResourceDefinitionVersion {
    version.name = "v1beta1".into();
    version.storage = false;
    version.deprecated = Some(true);
    version.deprecation_warning =
        Some("metallb.io/v1beta1 BGPPeer is deprecated: write metallb.io/v1beta2".to_owned());

    let spec = property(schema(&mut version), "spec");
    spec.required = Some(["myASN", "peerASN", "peerAddress"].map(str::to_owned).into());
    for property in spec.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        property.default = None;
    }
    // The port that stands for the default; the present version reads it all the same.
    property(spec, "peerPort").minimum = Some(0.0);
    let selector = item(property(spec, "nodeSelectors"));
    selector.x_kubernetes_map_type = None;
    let expressions = property(selector, "matchExpressions");
    expressions.x_kubernetes_list_type = None;
    property(item(expressions), "values").x_kubernetes_list_type = None;
    item(expressions).required = Some(["key", "operator", "values"].map(str::to_owned).into());
    property(item(expressions), "values").min_items = Some(1);
    version
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> &'a mut JSONSchemaProps {
    schema.properties.as_mut().and_then(|properties| properties.get_mut(name)).expect("the schema has it")
}

fn item(schema: &mut JSONSchemaProps) -> &mut JSONSchemaProps {
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => item,
        _ => panic!("a list has items"),
    }
}
