//! A snapshot as it would be with other objects in it.

use anyhow::{Context, bail};
use api::{
    AddressReservation, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement,
};
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use slim::Node;

use crate::cluster::Cluster;
use crate::commands::manifests;
use crate::snapshot::Snapshot;

/// Puts the objects of manifests into a snapshot.
pub(super) fn apply(
    then: &mut Snapshot,
    manifests: &[manifests::Manifest],
    cluster: &Cluster,
) -> anyhow::Result<()> {
    fn decoded<K: DeserializeOwned>(manifest: &manifests::Manifest) -> anyhow::Result<K> {
        serde_json::from_value(manifest.object.clone())
            .with_context(|| format!("{}: reading {}", manifest.place, manifest.title()))
    }
    fn put<K: kube::Resource + Clone>(all: &mut Vec<K>, mut new: K) {
        let same = |it: &K| (it.namespace(), it.name_any()) == (new.namespace(), new.name_any());
        match all.iter().position(same) {
            Some(at) => {
                // It stays the same object: who was first is still so.
                new.meta_mut().creation_timestamp.clone_from(&all[at].meta().creation_timestamp);
                new.meta_mut().uid.clone_from(&all[at].meta().uid);
                all[at] = new;
            }
            None => {
                new.meta_mut().creation_timestamp =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now()));
                all.push(new);
            }
        }
    }
    /// One that FerroLB reads in its own namespace.
    fn ours<K: kube::Resource + DeserializeOwned>(
        manifest: &manifests::Manifest,
        system: &str,
    ) -> anyhow::Result<K> {
        let mut object: K = decoded(manifest)?;
        object.meta_mut().namespace = Some(system.to_owned());
        Ok(object)
    }
    let system = cluster.system.as_str();
    let mut known = 0;
    for manifest in manifests {
        let in_system = [cluster.system.as_str(), ""].contains(&manifest.text("/metadata/namespace"));
        known += 1;
        match (manifest.group(), manifest.kind()) {
            ("metallb.io", "IPAddressPool") if in_system => {
                let mut pool: IPAddressPool = ours(manifest, system)?;
                let status = then.pools.iter().find(|it| it.name_any() == pool.name_any());
                pool.status = status.and_then(|it| it.status.clone());
                put(&mut then.pools, pool);
            }
            ("metallb.io", "L2Advertisement") if in_system => {
                put(&mut then.advertisements, ours::<L2Advertisement>(manifest, system)?);
            }
            ("metallb.io", "BGPAdvertisement") if in_system => {
                put(&mut then.bgp.advertisements, ours::<BGPAdvertisement>(manifest, system)?);
            }
            ("metallb.io", "BGPPeer") if in_system => {
                put(&mut then.bgp.peers, ours::<BGPPeer>(manifest, system)?);
            }
            ("metallb.io", "Community") if in_system => {
                put(&mut then.bgp.communities, ours::<Community>(manifest, system)?);
            }
            ("metallb.io", "BFDProfile") if in_system => {
                put(&mut then.bgp.profiles, ours::<BFDProfile>(manifest, system)?);
            }
            ("ferrolb.io", "AddressReservation") => {
                let mut reservation: AddressReservation = decoded(manifest)?;
                let namespace = reservation.namespace().unwrap_or_else(|| cluster.default_namespace.clone());
                reservation.metadata.namespace = Some(namespace);
                let key = reservation.key();
                let there = then.reservations.iter().find(|it| it.key() == key);
                reservation.status = there.and_then(|it| it.status.clone());
                put(&mut then.reservations, reservation);
            }
            ("", "Service") => {
                let mut service: slim::Service = decoded(manifest)?;
                let namespace = service.namespace().unwrap_or_else(|| cluster.default_namespace.clone());
                service.metadata.namespace = Some(namespace.clone());
                let name = service.name_any();
                let there = then
                    .services
                    .iter()
                    .find(|it| it.namespace().as_ref() == Some(&namespace) && it.name_any() == name);
                complete(&mut service, there);
                put(&mut then.services, service);
            }
            ("", "Node") => put(&mut then.nodes, decoded(manifest)?),
            ("", "Namespace") => put(&mut then.namespaces, decoded(manifest)?),
            _ => known -= 1,
        }
    }
    if known == 0 {
        bail!(
            "nothing in there has a say in who gets which address, or in who announces it: IPAddressPools, L2Advertisements and the objects about BGP of namespace {}, AddressReservations, Services, Nodes and Namespaces do",
            cluster.system
        );
    }
    Ok(())
}

/// A manifest of a Service lacks what the API server gives it.
fn complete(service: &mut slim::Service, there: Option<&slim::Service>) {
    if let Some(there) = there {
        service.status = there.status.clone();
        let recorded = there.annotations().iter().filter(|(name, _)| {
            [api::names::ALLOCATED_FROM_POOL, api::names::PREVIOUS_IPS].contains(&name.as_str())
        });
        let recorded: Vec<_> = recorded.map(|(name, value)| (name.clone(), value.clone())).collect();
        service.metadata.annotations.get_or_insert_default().extend(recorded);
        if service.spec.cluster_ips.is_empty() {
            service.spec.cluster_ips.clone_from(&there.spec.cluster_ips);
        }
    }
    if service.spec.cluster_ips.is_empty() && service.spec.cluster_ip.as_deref() != Some("None") {
        let families = match &service.spec.ip_families[..] {
            [] => vec!["IPv4".to_owned()],
            families => families.to_vec(),
        };
        let ip = |family: &String| if family == "IPv6" { "fd00::1" } else { "10.0.0.1" }.to_owned();
        service.spec.cluster_ips = families.iter().map(ip).collect();
    }
}

/// A node with these labels, written as `KEY=VALUE,...`.
pub(super) fn new_node(name: &str, labels: &str) -> anyhow::Result<Node> {
    let mut node = Node::default();
    node.metadata.name = Some(name.to_owned());
    for label in labels.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if key.is_empty() {
            bail!("{label:?} is not a label: write KEY=VALUE");
        }
        node.metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    }
    Ok(node)
}
