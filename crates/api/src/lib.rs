//! The names and shapes that users see: custom resources of the groups `metallb.io` and `ferrolb.io`, annotations and labels.
//!
//! Two things happen here. The Rust types are the source of the CRDs in `crds/` and in the chart ([`crds`]),
//! with rules in CEL that let `kubectl apply` refuse what a single object can show to be wrong. And objects
//! become the types of the pure crates ([`pools::PoolSpec`], [`placement::Advertisement`]): what cannot be
//! read is named by that conversion, and nothing behind it handles a resource again.
//!
//! The types read whatever the schema lets through. A list from the API server is decoded as a whole, so
//! one field that is too strict would let a single bad object hide all the others.
#![expect(
    unreachable_pub,
    reason = "the KubeSchema derive makes a public copy of each struct inside a function"
)]

mod address_entry;
mod address_reservation;
mod announcing;
mod bfd_profile;
mod bgp_advertisement;
mod bgp_peer;
mod community;
mod conditions;
mod configuration_state;
mod definition;
mod ip_address_pool;
mod l2_advertisement;
mod lenient;
pub mod names;
mod node_address_pool;
mod peering;
mod rules;
mod selector;
mod service_status;
mod warnings;

pub use address_entry::AddressEntry;
pub use address_reservation::{
    AddressReservation, AddressReservationSpec, AddressReservationStatus, IpFamily,
};
pub use bfd_profile::{BFDProfile, BFDProfileSpec, BFDProfileStatus};
pub use bgp_advertisement::{BGPAdvertisement, BGPAdvertisementSpec, BGPAdvertisementStatus};
pub use bgp_peer::{BGPPeer, BGPPeerSpec, BGPPeerStatus, DynamicAsn, SecretReference};
pub use community::{Community, CommunityAlias, CommunitySpec, CommunityStatus};
pub use conditions::ACCEPTED;
pub use configuration_state::{
    ConfigurationResult, ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus,
};
pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
pub use l2_advertisement::{
    L2Advertisement, L2AdvertisementSpec, L2AdvertisementStatus, PreferredNodeSelector,
};
pub use node_address_pool::{NodeAddressPool, NodeAddressPoolSpec, NodeAddressPoolStatus, NodeAddresses};
pub use selector::{LabelSelector, LabelSelectorRequirement};
pub use service_status::{
    InterfaceInfo, ServiceBGPStatus, ServiceBGPStatusSpec, ServiceBGPStatusStatus, ServiceL2Status,
    ServiceL2StatusSpec, ServiceL2StatusStatus,
};
pub use warnings::{aliases_defined_twice, undefined_aliases};

/// The API group of the custom resources that MetalLB has too.
pub const GROUP: &str = "metallb.io";

/// Every CRD, in the order in which they are written to `crds/`.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let [service_bgp_status, service_l2_status] = service_status::crds();
    let crds = [
        AddressReservation::crd(),
        BFDProfile::crd(),
        BGPAdvertisement::crd(),
        bgp_peer::crd(),
        Community::crd(),
        ConfigurationState::crd(),
        IPAddressPool::crd(),
        L2Advertisement::crd(),
        NodeAddressPool::crd(),
        service_bgp_status,
        service_l2_status,
    ];
    crds.map(definition::without_nulls).map(definition::with_list_kind).map(definition::with_category).into()
}
