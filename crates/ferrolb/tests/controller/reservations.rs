//! Addresses that a namespace keeps, whether or not a Service has them.

use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::fixture::{Cluster, run, wait};
use crate::space::{Space, in_space};

const NAMING: &str = "ferrolb.io/address-reservation";

fn api_of(space: &Space<'_>) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("ferrolb.io", "v1alpha1", "AddressReservation");
    let resource = ApiResource::from_gvk_with_plural(&kind, "addressreservations");
    Api::namespaced_with(space.cluster.client.clone(), &space.namespace, &resource)
}

async fn reserve(space: &Space<'_>, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": "ferrolb.io/v1alpha1", "kind": "AddressReservation",
        "metadata": {"name": name}, "spec": spec,
    });
    let object: Value = serde_json::from_str(&space.fill(&object.to_string())).unwrap();
    let apply = PatchParams::apply("test").force();
    wait("the reservation to be taken", async || {
        api_of(space).patch(name, &apply, &Patch::Apply(&object)).await.ok()
    })
    .await;
}

/// Waits until the status of a reservation has these addresses and its condition says this.
async fn has_reserved(space: &Space<'_>, name: &str, addresses: &[&str], says: &str) {
    let addresses: Vec<String> = addresses.iter().map(|ip| space.fill(ip)).collect();
    let says = space.fill(says);
    wait(&format!("{name} to reserve {addresses:?}, {says:?}"), async || {
        let status = api_of(space).get(name).await.ok()?.data["status"].clone();
        let condition = &status["conditions"][0];
        let told = format!("{} {}", condition["status"].as_str()?, condition["message"].as_str()?);
        (status["addresses"] == json!(addresses) && told.contains(&says)).then_some(())
    })
    .await;
}

fn naming(name: &str) -> Value {
    json!({"metadata": {"annotations": {NAMING: name}}})
}

#[test]
fn an_address_outlives_its_service_and_nobody_else_gets_it() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/30"]})).await;
        reserve(space, "front", json!({"addresses": ["10.N.0.0"]})).await;
        has_reserved(space, "front", &["10.N.0.0"], "True").await;
        space.gets("other", json!({}), &["10.N.0.1"]).await;
        space.gets("web", naming("front"), &["10.N.0.0"]).await;
        space.service("greedy", naming("front")).await;
        space.hears("greedy", "10.N.0.0 is in use by NS/web").await;
        space.delete("web").await;
        space.has("greedy", &["10.N.0.0"]).await;
        let exactly = json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "10.N.0.0"}}});
        space.delete("greedy").await;
        space.service("exact", exactly).await;
        space.hears("exact", "10.N.0.0 is reserved by AddressReservation NS/front").await;
        space.service("lost", naming("frnt")).await;
        space.hears("lost", "there is no AddressReservation NS/frnt").await;

        // What is deleted is everybody's again.
        api_of(space).delete("front", &DeleteParams::default()).await.unwrap();
        space.has("exact", &["10.N.0.0"]).await;
    });
}

#[test]
fn an_address_is_chosen_from_a_pool_once_and_counts_for_the_quota() {
    in_space(async |space| {
        let quota = json!({"ferrolb.io/max-addresses-per-namespace": "2"});
        space.annotated_pool("p", quota, json!({"addresses": ["10.N.0.0/30", "fd00:N::/126"]})).await;
        reserve(space, "both", json!({"pool": "NS-p"})).await;
        has_reserved(space, "both", &["10.N.0.0", "fd00:N::"], "True").await;
        space.service("third", json!({})).await;
        space.hears("third", "quota of namespace NS reached (2 in use, at most 2").await;
        reserve(space, "more", json!({"pool": "NS-p", "ipFamilies": ["IPv4"]})).await;
        has_reserved(space, "more", &[], "False no available IPs: pool NS-p: quota of namespace NS reached")
            .await;
        space.gets("web", naming("both"), &["10.N.0.0"]).await;
        space.annotate_pool("p", "ferrolb.io/max-addresses-per-namespace", "4").await;
        has_reserved(space, "more", &["10.N.0.1"], "True").await;
        space.has("third", &["10.N.0.2"]).await;
        space.pool("p", json!({"addresses": ["10.N.0.0-10.N.0.2"]})).await;
        has_reserved(space, "both", &["10.N.0.0", "fd00:N::"], "False").await;
        space.has("web", &["10.N.0.0"]).await;
    });
}

/// Lets a namespace have this many reservations, as kube-controller-manager does for a quota that somebody has written: the
/// API server goes by the status.
async fn allow(space: &Space<'_>, most: u8) {
    const COUNT: &str = "count/addressreservations.ferrolb.io";
    let quotas: Api<ResourceQuota> = Api::namespaced(space.cluster.client.clone(), &space.namespace);
    let hard = json!({COUNT: most.to_string()});
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "reserved"}, "spec": {"hard": hard},
    });
    let apply = PatchParams::apply("test").force();
    quotas.patch("reserved", &apply, &Patch::Apply(quota)).await.unwrap();
    let used = api_of(space).list(&ListParams::default()).await.unwrap().items.len().to_string();
    let status = Patch::Merge(json!({"status": {"hard": hard, "used": {COUNT: used}}}));
    quotas.patch_status("reserved", &PatchParams::default(), &status).await.unwrap();
}

#[test]
fn a_resource_quota_of_kubernetes_limits_how_many_reservations_a_namespace_makes() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/28"]})).await;
        reserve(space, "first", json!({"addresses": ["10.N.0.0"]})).await;
        has_reserved(space, "first", &["10.N.0.0"], "True").await;
        allow(space, 1).await;
        let more = json!({
            "apiVersion": "ferrolb.io/v1alpha1", "kind": "AddressReservation",
            "metadata": {"name": "second"}, "spec": {"pool": space.fill("NS-p")},
        });
        let more: DynamicObject = serde_json::from_value(more).unwrap();
        let create = async || api_of(space).create(&PostParams::default(), &more).await;
        let refusal = wait("the quota to be in force", async || match create().await {
            Err(kube::Error::Api(status)) if status.message.contains("exceeded quota: reserved") => {
                Some(status)
            }
            // The API server has not heard of the quota, or not of its status, or is not done with the object before.
            _ => {
                _ = api_of(space).delete("second", &DeleteParams::default()).await;
                None
            }
        })
        .await;
        assert_eq!(refusal.code, 403, "{refusal:?}");
        // What is reserved is changed and stays.
        reserve(space, "first", json!({"addresses": ["10.N.0.1"]})).await;
        has_reserved(space, "first", &["10.N.0.1"], "True").await;
        allow(space, 2).await;
        wait("a second reservation to be allowed", async || create().await.ok()).await;
        has_reserved(space, "second", &["10.N.0.0"], "True").await;
    });
}

#[test]
fn without_the_crd_services_are_served_and_with_it_reservations_are() {
    run(async {
        let cluster = Cluster::start().await;
        let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
        let name = "addressreservations.ferrolb.io";
        crds.delete(name, &DeleteParams::default()).await.unwrap();
        wait("the CRD to be gone", async || crds.get_opt(name).await.unwrap().is_none().then_some(())).await;
        let _controller = cluster.controller("a", &[]);
        cluster.pool("p", &["10.9.0.0/30"]).await;
        let space = cluster.default_space();
        space.gets("first", json!({}), &["10.9.0.0"]).await;
        let crd = api::crds().into_iter().find(|crd| crd.metadata.name.as_deref() == Some(name)).unwrap();
        crds.create(&PostParams::default(), &crd).await.unwrap();
        reserve(&space, "late", json!({"addresses": ["10.9.0.1"]})).await;
        has_reserved(&space, "late", &["10.9.0.1"], "True").await;
        space.gets("second", json!({}), &["10.9.0.2"]).await;
        space.gets("late", naming("late"), &["10.9.0.1"]).await;
    });
}
