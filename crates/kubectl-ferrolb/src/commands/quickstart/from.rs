//! `quickstart --from`: what another load balancer's configuration comes to as pools and advertisements.
//!
//! Only one may announce. While the other one does, nothing is written, and what to do in which order is said.

mod carried;
mod cilium;
mod kube_vip;
mod metallb;
mod purelb;
mod services;
mod source;

use std::ops::ControlFlow;

use ::pools::{PoolSpec, Pools};
use api::{IPAddressPool, L2Advertisement, NodeAddressPool};
use kube::ResourceExt;
use serde_json::{Value, json};
use slim::{Node, Service};

use self::source::{NotRead, There};
use super::{Found, make, manifests, refused, served};
use crate::answer::Answer;
use crate::cluster::Cluster;
use crate::options::{Quickstart, Source};

/// Writes what means the same, if that is wanted and nobody else announces.
pub(super) async fn run(cluster: &Cluster, options: &Quickstart, source: Source) -> anyhow::Result<Answer> {
    let mut found = Found::default();
    let unseen = |found: &Found, failures: Vec<String>| {
        Ok(Answer::object("Quickstart", found, found.page()).not_seen(failures))
    };
    let There { mut carried, announcing, stays } = match There::of(source, cluster).await {
        Ok(there) => there,
        Err(NotRead::Unseen(failure)) => return unseen(&found, vec![failure.to_string()]),
        Err(NotRead::Unreadable(error)) => return Err(error),
    };
    let (services, nodes, pools, advertisements) = futures::join!(
        cluster.all::<Service>(),
        cluster.all::<Node>(),
        cluster.of_namespace::<IPAddressPool>(&cluster.system),
        cluster.of_namespace::<L2Advertisement>(&cluster.system),
    );
    let (services, nodes, pools, advertisements) = match (services, nodes, pools, advertisements) {
        (Ok(services), Ok(nodes), Ok(pools), Ok(advertisements)) => (services, nodes, pools, advertisements),
        (services, nodes, pools, advertisements) => {
            let failures = services.err().into_iter().chain(nodes.err());
            let failures = failures.chain(pools.err()).chain(advertisements.err());
            return unseen(&found, failures.map(|it| it.to_string()).collect());
        }
    };
    found.saw("From", source.words());
    stays.into_iter().for_each(|it| found.saw("BGP", it));
    let mut has_any = !(carried.objects.is_empty() && carried.lost.is_empty());
    let there = Pools::new(pools.iter().map(PoolSpec::from));
    if source != Source::Servicelb {
        let class = cluster.rules().class;
        let in_need = services::in_need(&services, class.as_deref(), source.classes());
        // Addresses may be asked for by Services alone, and served without any range.
        has_any |= source != Source::Metallb && (announcing.is_some() || !in_need.is_empty());
        let mut held = services::held(&services, class.as_deref(), source.classes());
        held.retain(|ip, _| there.listed_by(*ip).is_none());
        carried.lost.extend(services::take_those_of_nodes(&mut held, &nodes));
        carried.lost.extend(in_need);
        carried.keep(&held, source.advertisement()).into_iter().for_each(|kept| found.saw("Kept", kept));
    }
    if !has_any {
        if source == Source::Metallb && !pools.is_empty() {
            found.saw(
                "Nothing to do",
                format!("FerroLB reads the objects of namespace {} as they are", cluster.system),
            );
            return Ok(Answer::object("Quickstart", &found, found.page()));
        }
        let why = format!("there is nothing of it: {}", source.where_it_is());
        return Ok(refused(found, why, &["say which one serves this cluster: --from".to_owned()]));
    }
    let (new, differing) = parted(carried.objects, &cluster.system, &pools, &advertisements);
    carried.lost.iter().for_each(|lost| found.saw("Not carried", lost));
    found.objects = new;
    if options.dry_run {
        let mut answer = manifests::answer(&found.objects)?;
        answer.warnings = carried.lost;
        answer.warnings.extend(announcing.map(|who| match source {
            Source::Servicelb => format!("{who}: not to be applied yet"),
            _ => format!("{} serves now, by {who}: not to be applied yet", source.words()),
        }));
        return Ok(answer);
    }
    if let Some(who) = announcing {
        let why = match source {
            // That is the sentence.
            Source::Servicelb => format!("{who}: two would serve them"),
            _ => format!(
                "{} serves the same Services now, by {who}: two would answer for one address",
                source.words()
            ),
        };
        return Ok(refused(found, why, &source.steps()));
    }
    if let Some((what, remedy)) = cluster.absent() {
        return Ok(refused(found, what, &[remedy]));
    }
    if source == Source::Servicelb && !cluster.serves_node_pools() {
        let remedy =
            "turn it on in the chart: helm upgrade with --set controller.nodeAddressPools.enabled=true";
        let why = "the controller does not serve NodeAddressPools".to_owned();
        return Ok(refused(found, why, &[remedy.to_owned()]));
    }
    let of_nodes = match source {
        Source::Servicelb => {
            cluster.of_namespace::<NodeAddressPool>(&cluster.system).await.unwrap_or_default()
        }
        _ => vec![],
    };
    if let Some(pool) = of_nodes.first() {
        found.objects.clear();
        let name = pool.name_any();
        let labels =
            if pool.spec.k3s_labels { "" } else { ", without regard to K3s' labels (spec.k3sLabels)" };
        found.saw(
            "Nothing to do",
            format!("NodeAddressPool {name} gives Services addresses of nodes{labels}"),
        );
        return Ok(Answer::object("Quickstart", &found, found.page()));
    }
    if let Some(title) = differing.first() {
        let why = format!("there is {title} already, and it says something else");
        let remedy = format!(
            "write what you want into it, or delete it: --from {} --dry-run prints the other",
            source.word()
        );
        return Ok(refused(found, why, &[remedy]));
    }
    if let Some(why) = overlap(&found.objects, &pools) {
        return Ok(refused(found, why, &["take the addresses out of one of the two pools".to_owned()]));
    }
    let count = found.objects.len();
    let mut page = match make(cluster, options, &mut found, count).await? {
        ControlFlow::Continue(page) => page,
        ControlFlow::Break(answer) => return Ok(answer),
    };
    let waiting = served(cluster, &mut page).await;
    Ok(Answer::object("Quickstart", &found, page).problem_if(waiting))
}

/// The objects that are not there yet, in their namespace, and the titles of those that are there and differ.
fn parted(
    objects: Vec<Value>,
    system: &str,
    pools: &[IPAddressPool],
    advertisements: &[L2Advertisement],
) -> (Vec<Value>, Vec<String>) {
    let (mut new, mut differing) = (Vec::new(), Vec::new());
    for mut object in objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let is_same = match object["kind"].as_str() {
            Some("IPAddressPool") => pools.iter().find(|it| it.name_any() == name).map(|it| {
                serde_json::from_value::<IPAddressPool>(object.clone()).is_ok_and(|new| new.spec == it.spec)
            }),
            Some("L2Advertisement") => advertisements.iter().find(|it| it.name_any() == name).map(|it| {
                serde_json::from_value::<L2Advertisement>(object.clone()).is_ok_and(|new| new.spec == it.spec)
            }),
            _ => None,
        };
        match is_same {
            Some(true) => {}
            Some(false) => differing.push(format!("{} {name}", object["kind"].as_str().unwrap_or_default())),
            None => {
                object["metadata"]["namespace"] = json!(system);
                new.push(object);
            }
        }
    }
    (new, differing)
}

/// That pools have addresses in common, with each other or with those that are there.
fn overlap(objects: &[Value], there: &[IPAddressPool]) -> Option<String> {
    let new = objects.iter().filter(|it| it["kind"] == "IPAddressPool");
    let new = new.filter_map(|it| serde_json::from_value::<IPAddressPool>(it.clone()).ok());
    let new: Vec<PoolSpec> =
        new.map(|pool| PoolSpec { created: Some(i64::MAX), ..PoolSpec::from(&pool) }).collect();
    let all = Pools::new(there.iter().map(PoolSpec::from).chain(new.iter().cloned()));
    let fault = |spec: &PoolSpec| {
        let fault = all.get(&spec.name)?.faults.first()?;
        Some(format!("IPAddressPool {}: {fault}", spec.name))
    };
    new.iter().find_map(fault)
}

impl Source {
    /// As the command line has it.
    fn word(self) -> &'static str {
        match self {
            Self::Metallb => "metallb",
            Self::KubeVip => "kube-vip",
            Self::Purelb => "purelb",
            Self::Cilium => "cilium",
            Self::Servicelb => "servicelb",
        }
    }

    /// As people call it.
    fn words(self) -> &'static str {
        match self {
            Self::Metallb => "MetalLB",
            Self::KubeVip => "kube-vip",
            Self::Purelb => "PureLB",
            Self::Cilium => "Cilium",
            Self::Servicelb => "ServiceLB of K3s",
        }
    }

    /// Where its configuration is looked for.
    fn where_it_is(self) -> &'static str {
        match self {
            Self::Metallb => "neither objects of metallb.io nor its ConfigMap config",
            Self::KubeVip => "no ConfigMap kubevip with ranges in namespace kube-system",
            Self::Purelb => "no ServiceGroup of purelb.io",
            Self::Cilium => "no CiliumLoadBalancerIPPool",
            Self::Servicelb => "no DaemonSet svclb-*",
        }
    }

    /// The classes of Services that it serves besides those of none.
    fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Metallb | Self::Servicelb => &[],
            Self::KubeVip => &["kube-vip.io/kube-vip-class"],
            Self::Purelb => &["purelb.io/purelbv2", "purelb.io/purelb"],
            Self::Cilium => &["io.cilium/l2-announcer", "io.cilium/bgp-control-plane", "io.cilium/node"],
        }
    }

    /// The advertisement that goes with kept addresses, for those that announce all that Services have.
    fn advertisement(self) -> Option<&'static str> {
        match self {
            Self::KubeVip | Self::Purelb => Some(self.word()),
            Self::Metallb | Self::Cilium | Self::Servicelb => None,
        }
    }

    /// What to do, in this order, so that one of the two announces at a time and Services keep their addresses.
    fn steps(self) -> Vec<String> {
        let again = format!("run this again: kubectl ferrolb quickstart --from {}", self.word());
        let keep = |other: &str| {
            format!(
                "keep FerroLB's controller off until {other}, for it takes addresses that are in no pool: helm upgrade --install with --set controller.enabled=false"
            )
        };
        let look =
            "look on every node that no interface has one of the addresses any more: ip -brief address"
                .to_owned();
        let on = "turn the controller on: helm upgrade with --set controller.enabled=true".to_owned();
        let each = |steps: &[String]| -> Vec<String> {
            steps.iter().enumerate().map(|(index, step)| format!("{}. {step}", index + 1)).collect()
        };
        match self {
            Self::Metallb => each(&[
                "remove MetalLB's controller and speakers, but not its CRDs and objects (examples/from-metallb has each command)".to_owned(),
                again,
            ]),
            Self::KubeVip => each(&[
                keep("step 5"),
                "stop its allocator: kubectl scale deployment -n kube-system kube-vip-cloud-provider --replicas=0".to_owned(),
                "have it let go: kubectl set env -n kube-system daemonset/kube-vip-ds svc_enable=false; in static Pods, in the manifest on each node".to_owned(),
                format!("{look}; then {again}"),
                format!("{on} (examples/from-kube-vip has each command)"),
            ]),
            Self::Purelb => each(&[
                keep("step 5"),
                "print the manifests, for its objects go with it: --dry-run > pools.yaml".to_owned(),
                "remove it: helm uninstall purelb -n purelb-system --wait".to_owned(),
                format!("{look}; then kubectl apply -f pools.yaml"),
                format!("{on} (examples/from-purelb has each command)"),
            ]),
            Self::Cilium => each(&[
                keep("step 5"),
                "have it give out no more: set spec.disabled to true in every CiliumLoadBalancerIPPool; Services keep their addresses".to_owned(),
                "have it fall silent: kubectl delete ciliuml2announcementpolicies --all, after kubectl get ... -o yaml > policies.yaml".to_owned(),
                format!("print the manifests before that, or {again}"),
                format!("{on}; delete the pools of Cilium only once its LB IPAM is off, for that takes their addresses from the Services"),
            ]),
            Self::Servicelb => each(&[
                "start the servers of K3s with --disable servicelb, and restart them (examples/k3s)".to_owned(),
                again,
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str, range: &str) -> Value {
        json!({"metadata": {"name": name}, "kind": "IPAddressPool", "spec": {"addresses": [range]}})
    }

    #[test]
    fn what_is_there_as_it_would_be_written_is_not_written_again_and_nothing_is_overwritten() {
        let there: Vec<IPAddressPool> =
            ["10.0.0.0/28"].iter().map(|it| serde_json::from_value(pool("a", it)).unwrap()).collect();
        let part = |objects: &[Value]| parted(objects.to_vec(), "lb", &there, &[]);
        assert_eq!(part(&[pool("a", "10.0.0.0/28")]), (vec![], vec![]));
        assert_eq!(part(&[pool("a", "10.0.0.0/27")]).1, ["IPAddressPool a"]);
        let (new, differing) = part(&[pool("b", "10.0.1.0/28")]);
        assert_eq!((&new[0]["metadata"]["namespace"], differing.len()), (&json!("lb"), 0));
        assert!(overlap(&new, &there).is_none());
        let why = overlap(&[pool("b", "10.0.0.8/30")], &there).unwrap();
        assert!(why.starts_with("IPAddressPool b: ") && why.contains("overlaps"), "{why}");
    }

    #[test]
    fn for_each_one_the_order_ends_with_ferrolb() {
        for source in [Source::Metallb, Source::KubeVip, Source::Purelb, Source::Cilium, Source::Servicelb] {
            let steps = source.steps();
            assert!(steps.len() >= 2 && steps[0].starts_with("1. "), "{steps:?}");
            let last = steps.last().unwrap();
            assert!(last.contains("run this again") || last.contains("turn the controller on"), "{last}");
        }
    }
}
