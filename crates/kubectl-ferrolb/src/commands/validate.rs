//! `kubectl ferrolb validate`: what is wrong in one object, and what shows beside others.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ::pools::{PoolSpec, Pools};
use api::{
    AddressReservation, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, NodeAddressPool,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use objects::{NodeName, PoolName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slim::Node;

use super::manifests::{self, Manifest};
use super::whatif::faults_of_routers;
use crate::answer::Answer;
use crate::client::{self, Why};
use crate::cluster::Cluster;
use crate::nearest::did_you_mean;
use crate::output::{Page, Tone, cell};
use crate::predict::reserved_by;
use crate::snapshot::Snapshot;

mod schema;

/// The kind that belongs to the namespaces of Services.
const RESERVATION: &str = "AddressReservation";

/// Something to say about an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    place: String,
    object: String,
    severity: Severity,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// It is refused, or not in force.
    Error,
    /// Its author may not mean it.
    Warning,
}

/// Checks manifests, beside the objects of a cluster if there is one.
pub(crate) async fn run(cluster: Option<&Cluster>, filenames: &[PathBuf]) -> anyhow::Result<Answer> {
    let manifests = manifests::read(filenames)?;
    let ours: Vec<&Manifest> = manifests.iter().filter(|it| is_ours(it)).collect();
    let mut findings = Vec::new();
    for manifest in &ours {
        check_alone(manifest, &mut findings);
    }
    let mut failures = Vec::new();
    let mut there = Vec::new();
    let mut reserved = BTreeMap::new();
    if let Some(cluster) = cluster {
        match cluster.of_namespace::<IPAddressPool>(&cluster.system).await {
            Ok(pools) => there = pools,
            Err(failure) => failures.push(failure.to_string()),
        }
        match cluster.all::<Node>().await {
            Ok(nodes) => reserved = reserved_by(&nodes),
            Err(failure) => failures.push(failure.to_string()),
        }
        for manifest in &ours {
            match dry_run(cluster, manifest).await {
                Ok(None) => {}
                Ok(Some(refusal)) => findings.push(finding(manifest, Severity::Error, refusal)),
                Err(failure) => failures.push(failure),
            }
        }
    }
    check_together(&ours, there, &reserved, cluster.map(|it| it.system.as_str()), &mut findings);
    if let Some(cluster) = cluster.filter(|_| ours.iter().any(|it| is_about_routers(it))) {
        let (snapshot, missing) = Box::pin(cluster.snapshot(&[])).await;
        if missing.is_empty() {
            check_routers(snapshot, &manifests, cluster, &mut findings);
        }
        let new = client::told(&missing).into_iter().filter(|it| !failures.contains(it));
        let new: Vec<String> = new.collect();
        failures.extend(new);
    }
    // The API server finds again what was found here.
    findings.dedup_by(|a, b| a == b);

    let mut page = Page::default();
    for it in &findings {
        let (word, tone) = match it.severity {
            Severity::Error => ("ERROR", Tone::Bad),
            Severity::Warning => ("WARNING", Tone::Warn),
        };
        page.field(cell(word, tone), format!("{}: {}: {}", it.place, it.object, it.message));
    }
    let errors = findings.iter().filter(|it| it.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    let others = manifests.len() - ours.len();
    let skipped = if others == 0 { String::new() } else { format!(" ({others} of other kinds passed over)") };
    let tone = if errors > 0 { Tone::Bad } else { Tone::Good };
    page.line(cell(
        format!("{} objects of {}: {errors} errors, {warnings} warnings{skipped}", ours.len(), groups(&ours)),
        tone,
    ));
    Ok(Answer::list("FindingList", &findings, page).problem_if(errors > 0).not_seen(failures))
}

/// The groups of some objects, as people read them.
fn groups(manifests: &[&Manifest]) -> String {
    let mut groups: Vec<&str> = manifests.iter().map(|it| it.group()).collect();
    groups.sort_unstable();
    groups.dedup();
    if groups.is_empty() { api::GROUP.to_owned() } else { groups.join(" and ") }
}

/// Whether it is of a group of which there are definitions here.
fn is_ours(manifest: &Manifest) -> bool {
    manifest.group() == api::GROUP || api::crds().iter().any(|crd| crd.spec.group == manifest.group())
}

fn finding(manifest: &Manifest, severity: Severity, message: impl Into<String>) -> Finding {
    Finding { place: manifest.place.clone(), object: manifest.title(), severity, message: message.into() }
}

/// What an object shows by itself.
fn check_alone(manifest: &Manifest, findings: &mut Vec<Finding>) {
    let mut error = |message: String| findings.push(finding(manifest, Severity::Error, message));
    if manifest.name().is_empty() {
        error("metadata.name is missing".to_owned());
    }
    let (versions, schema) = match definition(manifest) {
        Ok(found) => found,
        Err(message) => return error(message),
    };
    let Some(schema) = schema else {
        return error(format!(
            "apiVersion {:?} is not served: write {}/{}",
            manifest.text("/apiVersion"),
            manifest.group(),
            versions.join(&format!(" or {}/", manifest.group()))
        ));
    };
    let wrong = schema::check(&schema, &manifest.object);
    let unreadable = !wrong.is_empty();
    wrong.into_iter().for_each(&mut error);
    let mut warn = |messages: Vec<String>| {
        findings.extend(messages.into_iter().map(|message| finding(manifest, Severity::Warning, message)));
    };
    match manifest.kind() {
        "IPAddressPool" => read::<IPAddressPool>(manifest).iter().for_each(|it| warn(it.warnings())),
        "L2Advertisement" => {
            let Some(advertisement) = read::<L2Advertisement>(manifest) else { return };
            warn(advertisement.warnings());
            if !unreadable {
                for fault in advertisement.read().1 {
                    let message = format!("{}: {}", fault.field, fault.why);
                    findings.push(finding(manifest, Severity::Error, message));
                }
            }
        }
        "BGPAdvertisement" => {
            let Some(advertisement) = read::<BGPAdvertisement>(manifest) else { return };
            warn(advertisement.warnings());
            if !unreadable {
                let faults = advertisement.read().1.into_iter();
                findings.extend(faults.map(|fault| finding(manifest, Severity::Error, fault)));
            }
        }
        "BGPPeer" => {
            let Some(peer) = read::<BGPPeer>(manifest) else { return };
            warn(peer.warnings());
            if !unreadable {
                let faults = peer.read().err().into_iter().flatten();
                findings.extend(faults.map(|fault| finding(manifest, Severity::Error, fault)));
            }
        }
        "NodeAddressPool" if !unreadable => {
            for fault in read::<NodeAddressPool>(manifest).iter().flat_map(|pool| pool.read().1) {
                let message = format!("{}: {}", fault.field, fault.why);
                findings.push(finding(manifest, Severity::Error, message));
            }
        }
        RESERVATION if !unreadable => {
            let faults = read::<AddressReservation>(manifest).and_then(|it| it.read().err());
            for fault in faults.into_iter().flatten() {
                let message = format!("{}: {}", fault.field, fault.why);
                findings.push(finding(manifest, Severity::Error, message));
            }
        }
        "Community" => read::<Community>(manifest).iter().for_each(|it| warn(it.warnings())),
        _ => {}
    }
}

/// An object as its kind has it, if it can be read as such.
fn read<K: DeserializeOwned>(manifest: &Manifest) -> Option<K> {
    serde_json::from_value(manifest.object.clone()).ok()
}

/// The versions of a kind, and the schema of the one that an object is of.
fn definition(manifest: &Manifest) -> Result<(Vec<String>, Option<JSONSchemaProps>), String> {
    let (crds, group) = (api::crds(), manifest.group());
    let of_group = || crds.iter().filter(|crd| crd.spec.group == group);
    let Some(crd) = of_group().find(|crd| crd.spec.names.kind == manifest.kind()) else {
        let kinds = || of_group().map(|crd| crd.spec.names.kind.as_str());
        let near = match (manifest.kind(), kinds().find(|kind| kind.eq_ignore_ascii_case(manifest.kind()))) {
            // MetalLB had it until 0.13.
            ("AddressPool", _) => ": IPAddressPool and L2Advertisement took its place".to_owned(),
            (_, Some(kind)) => format!(": write {kind}"),
            (other, None) => did_you_mean(other, kinds()),
        };
        return Err(format!("{group} has no kind {:?}{near}", manifest.kind()));
    };
    let of = manifest.text("/apiVersion");
    let version = crd.spec.versions.iter().find(|it| of == format!("{group}/{}", it.name));
    let schema = version.and_then(|it| it.schema.as_ref()?.open_api_v3_schema.clone());
    Ok((crd.spec.versions.iter().map(|it| it.name.clone()).collect(), schema))
}

/// What shows beside others: those of the manifests, and those of the cluster that they do not replace.
fn check_together(
    manifests: &[&Manifest],
    there: Vec<IPAddressPool>,
    reserved: &BTreeMap<IpAddr, NodeName>,
    system: Option<&str>,
    findings: &mut Vec<Finding>,
) {
    for manifest in manifests {
        findings.extend(in_vain(manifest, system).map(|why| finding(manifest, Severity::Warning, why)));
    }
    if system.is_none() {
        findings.extend(two_namespaces(manifests));
    }
    let mut places: BTreeMap<PoolName, &Manifest> = BTreeMap::new();
    let mut pools: Vec<PoolSpec> = Vec::new();
    for (index, manifest) in manifests.iter().enumerate().filter(|(_, it)| it.kind() == "IPAddressPool") {
        let Ok(pool) = serde_json::from_value::<IPAddressPool>(manifest.object.clone()) else { continue };
        if in_vain(manifest, system).is_some() {
            continue;
        }
        let mut spec = PoolSpec::from(&pool);
        let known = there.iter().find(|it| it.name_any() == pool.name_any());
        // New ones are younger than all that are there, in the order in which they are applied.
        spec.created = known.map_or_else(
            || Some(i64::MAX - i64::try_from(manifests.len() - index).unwrap_or(0)),
            |known| PoolSpec::from(known).created,
        );
        if let Some(first) = places.insert(spec.name.clone(), manifest) {
            let message = format!("{} is in {} too: the last one counts", manifest.title(), first.place);
            findings.push(finding(manifest, Severity::Warning, message));
            pools.retain(|it| it.name != spec.name);
        }
        pools.push(spec);
    }
    let others = there.iter().filter(|it| !places.contains_key(&PoolName::new(it.name_any())));
    pools.extend(others.map(PoolSpec::from));
    let in_force = Pools::new(pools);
    let mut doubts = translation::node_doubts(&in_force, reserved);
    for pool in in_force.iter() {
        let Some(manifest) = places.get(&pool.name) else { continue };
        for fault in &pool.faults {
            let message = fault.to_string();
            // What the schema says of an entry, it has said.
            if findings.iter().all(|it| it.place != manifest.place || it.message != message) {
                findings.push(finding(manifest, Severity::Error, message));
            }
        }
        let doubts = doubts.remove(&pool.name).unwrap_or_default();
        findings.extend(doubts.into_iter().map(|doubt| finding(manifest, Severity::Warning, doubt)));
    }
    for manifest in manifests.iter().filter(|it| it.kind() == "L2Advertisement") {
        let Ok(advertisement) = serde_json::from_value::<L2Advertisement>(manifest.object.clone()) else {
            continue;
        };
        for name in &advertisement.spec.ip_address_pools {
            if system.is_some() && in_force.get(&PoolName::new(name.as_str())).is_none() {
                let near = did_you_mean(name, in_force.iter().map(|pool| pool.name.to_string()));
                let message =
                    format!("spec.ipAddressPools names {name:?}, and there is no such IPAddressPool{near}");
                findings.push(finding(manifest, Severity::Warning, message));
            }
        }
    }
}

/// Whether an object has a say in what routers are told.
fn is_about_routers(manifest: &Manifest) -> bool {
    ["BGPPeer", "BGPAdvertisement", "BFDProfile", "Community"].contains(&manifest.kind())
}

/// What shows of objects about BGP beside those of the cluster.
fn check_routers(snapshot: Snapshot, manifests: &[Manifest], cluster: &Cluster, findings: &mut Vec<Finding>) {
    let (faults, warnings) = faults_of_routers(snapshot, manifests, cluster);
    let faults = faults.into_iter().map(|it| (it, Severity::Error));
    let warnings = warnings.into_iter().map(|it| (it, Severity::Warning));
    for ((about, why), severity) in faults.chain(warnings) {
        let is_it = |it: &&Manifest| {
            about == it.kind() || format!("{} {}", it.kind(), it.text("/metadata/name")) == about
        };
        let Some(manifest) = manifests.iter().filter(|it| is_about_routers(it)).find(is_it) else { continue };
        let said = |it: &Finding| {
            it.place == manifest.place && (it.message.contains(&why) || why.contains(&it.message))
        };
        if !findings.iter().any(said) {
            findings.push(finding(manifest, severity, why));
        }
    }
}

/// Whether an object counts in every namespace.
fn belongs_anywhere(manifest: &Manifest) -> bool {
    manifest.kind() == RESERVATION
}

/// Why an object has no effect where it is, if it has none.
fn in_vain(manifest: &Manifest, system: Option<&str>) -> Option<String> {
    let (system, namespace) = (system?, manifest.text("/metadata/namespace"));
    (!namespace.is_empty() && namespace != system && !belongs_anywhere(manifest)).then(|| {
        format!(
            "namespace {namespace} is not that of FerroLB, which reads {system} only: it has no effect there"
        )
    })
}

/// That the objects are in more than one namespace, of which FerroLB reads one.
fn two_namespaces(manifests: &[&Manifest]) -> Option<Finding> {
    let namespace = |it: &&&Manifest| it.text("/metadata/namespace").to_owned();
    let placed = || manifests.iter().filter(|it| !namespace(it).is_empty() && !belongs_anywhere(it));
    let first = namespace(&placed().next()?);
    let other = placed().find(|it| namespace(it) != first)?;
    let message = format!(
        "it is in namespace {}, and others are in {first}: FerroLB reads the one that it runs in only",
        namespace(&other)
    );
    Some(finding(other, Severity::Warning, message))
}

/// What the API server says of an object, without storing it: a refusal, or why it cannot be asked.
async fn dry_run(cluster: &Cluster, manifest: &Manifest) -> Result<Option<String>, String> {
    let (group, version) = manifest.text("/apiVersion").split_once('/').unwrap_or_default();
    let crds = api::crds();
    let Some(crd) = crds.iter().find(|crd| crd.spec.names.kind == manifest.kind()) else { return Ok(None) };
    let kind = GroupVersionKind::gvk(group, version, manifest.kind());
    let resource = ApiResource::from_gvk_with_plural(&kind, &crd.spec.names.plural);
    let namespace = Some(manifest.text("/metadata/namespace")).filter(|it| !it.is_empty());
    let default = if belongs_anywhere(manifest) { &cluster.default_namespace } else { &cluster.system };
    let namespace = namespace.unwrap_or(default);
    let objects: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
    let parameters = PatchParams { dry_run: true, force: true, ..PatchParams::apply("kubectl-ferrolb") };
    let parameters =
        PatchParams { field_validation: Some(kube::api::ValidationDirective::Strict), ..parameters };
    let name = manifest.name();
    if name.is_empty() {
        return Ok(None);
    }
    match objects.patch(name, &parameters, &Patch::Apply(&manifest.object)).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 409 | 422) => {
            Ok(Some(status.message.clone()))
        }
        Err(error) => Err(match Why::of(&error) {
            Why::Forbidden => format!(
                "missing right: you may not patch {} in namespace {namespace}, so the API server cannot be asked about {}",
                resource.plural,
                manifest.title()
            ),
            Why::NotFound => {
                format!("the cluster does not know {}, so FerroLB's CRDs are not installed", resource.plural)
            }
            Why::Unreachable(why) => format!("the API server cannot be reached: {why}"),
            Why::Unauthorized => "the API server does not accept your credentials".to_owned(),
            Why::Other(why) => why,
        }),
    }
}

#[cfg(test)]
mod tests;
