//! What the policies let the controller's service account write, as the API server has it.

use chart::Helm;
use lab::tools::Program;
use serde_json::{Value, json};

use crate::rendering::objects;
use crate::server::{Cluster, DEADLINE, write};

const ACCOUNT: &str = "--as=system:serviceaccount:metallb-system:ferrolb-controller";
const ANNOTATION: &str = "metallb.io/ip-allocated-from-pool";
const PREVIOUS: &str = "ferrolb.io/previous-ips";
const OF_NODES: &str = "ferrolb.io/node-addresses";

impl Cluster {
    /// Writes the status of an object; what the policy says against it, or `None` if it passes.
    fn refuses(&self, who: &[&str], what: &str, patch: &Value) -> Option<String> {
        let patch = patch.to_string();
        let arguments = ["patch", what, "--subresource=status", "--type=merge", "--patch", &patch];
        let output = self.run(Program::Kubectl, &[&arguments[..], who].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return None;
        }
        let (_, reason) =
            said.split_once("denied request: ").unwrap_or_else(|| panic!("{what} {patch}: {said}"));
        Some(reason.trim().to_owned())
    }

    /// Whether a status is as before when that is written by somebody who may.
    fn leaves_out(&self, what: &str, patch: &Value) -> bool {
        let show = "--output=jsonpath={.status}";
        let patch = patch.to_string();
        let arguments = ["patch", what, "--subresource=status", "--type=merge", "--patch", &patch, show];
        let written = self.kubectl(&[&arguments[..], &["--dry-run=server"]].concat());
        written == self.kubectl(&["get", what, show])
    }

    /// The same by the controller, tried out only.
    fn denies(&self, what: &str, patch: &Value) -> Option<String> {
        self.refuses(&[ACCOUNT, "--dry-run=server"], what, patch)
    }
}

fn ingress(ips: &[&str]) -> Value {
    let entries: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip })).collect();
    json!({"status": {"loadBalancer": {"ingress": entries}}})
}

/// A cluster with Services of these names, types and classes, a Pod `db`, and the policies in force.
fn cluster(values: &[&str], services: &[(&str, &str, Option<&str>)]) -> Cluster {
    let (cluster, folder) = (Cluster::start(), tempfile::tempdir().unwrap());
    let helm = Helm::find().unwrap();
    // It may do everything, so that nothing but the policies keeps it from anything.
    let account = "--serviceaccount=metallb-system:ferrolb-controller";
    cluster.kubectl(&["create", "clusterrolebinding", "any", "--clusterrole=cluster-admin", account]);
    lab::wait_until("the API server knows of that", DEADLINE, || {
        let asked = cluster.run(Program::Kubectl, &["auth", "can-i", "patch", "services/status", ACCOUNT]);
        anyhow::ensure!(asked.status.success(), "not yet");
        Ok(())
    })
    .unwrap();
    let values =
        [&["--set=admissionPolicy.enabled=true", "--set=controller.recoverEndpoints=true"][..], values]
            .concat();
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        for policy in objects(&helm, &values, kind) {
            cluster.kubectl(&["apply", "-f", &write(folder.path(), "policy", &policy)]);
        }
    }
    for (name, kind, class) in services {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "annotations": {"team": "a"}, "labels": {"app": "web"}},
            "spec": {"type": kind, "ports": [{"port": 80}]},
        });
        if let Some(class) = class {
            service["spec"]["loadBalancerClass"] = json!(class);
        }
        cluster.kubectl(&["create", "-f", &write(folder.path(), "service", &service)]);
    }
    cluster.kubectl(&["create", "serviceaccount", "any"]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db", "labels": {"app": "db"}},
        "spec": {"serviceAccountName": "any", "containers": [{"name": "db", "image": "registry.example.com/db"}]},
    });
    cluster.kubectl(&["create", "-f", &write(folder.path(), "pod", &pod)]);
    for (what, patch) in [
        (format!("service/{}", services[0].0), json!({"metadata": {"labels": {"app": "other"}}})),
        ("pod/db".to_owned(), json!({"status": {"phase": "Failed"}})),
    ] {
        lab::wait_until("the policy is in force", DEADLINE, || {
            anyhow::ensure!(cluster.denies(&what, &patch).is_some(), "not yet");
            Ok(())
        })
        .unwrap();
    }
    cluster
}

#[test]
fn the_controller_may_write_its_addresses_and_annotations_and_nothing_else() {
    let cluster = cluster(
        &[],
        &[
            ("web", "LoadBalancer", None),
            ("other", "LoadBalancer", Some("x.y/z")),
            ("plain", "ClusterIP", None),
        ],
    );
    let denied = |what: &str, patch: Value, why: &str| {
        let said = cluster.denies(what, &patch);
        assert!(said.as_ref().is_some_and(|said| said.contains(why)), "{what} {patch}: {said:?}");
    };
    // As the controller writes it.
    let mut given = ingress(&["192.0.2.1", "2001:db8::1"]);
    given["metadata"] = json!({"annotations": {ANNOTATION: "lan", PREVIOUS: null, OF_NODES: null}});
    assert_eq!(cluster.refuses(&[ACCOUNT], "service/web", &given), None);
    let uid = cluster.kubectl(&["get", "service", "web", "--output=jsonpath={.metadata.uid}"]);
    let uid = uid.trim();
    let annotated = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    let entry = |entry: Value| json!({"status": {"loadBalancer": {"ingress": [entry]}}});
    for lost in ["192.0.2.1", "2001:db8::1", "192.0.2.1,2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"] {
        let taken = json!({
            "metadata": {"annotations": {ANNOTATION: null, PREVIOUS: format!("{uid}/{lost}"), OF_NODES: null}},
            "status": {"loadBalancer": {"ingress": null}},
        });
        assert_eq!(cluster.denies("service/web", &taken), None, "{lost}");
    }
    for patch in [
        ingress(&["2001:db8::1"]),
        entry(json!({"ip": "192.0.2.1", "ipMode": "VIP"})),
        annotated(ANNOTATION, "a-pool.of-7"),
    ] {
        assert_eq!(cluster.denies("service/web", &patch), None, "{patch}");
    }

    let mut marked = ingress(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    marked["metadata"] = json!({"annotations": {OF_NODES: "true"}});
    let many = ["192.0.2.1"; 20].join(",");
    denied("service/other", ingress(&["192.0.2.1"]), "of the class that is served");
    for (patch, why) in [
        (ingress(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]), "one address of each family"),
        (marked, "one address of each family"),
        (ingress(&["192.0.2.1", "192.0.2.2"]), "one address of each family"),
        (ingress(&["2001:db8::1", "2001:db8::2"]), "one address of each family"),
        (entry(json!({"ip": "192.0.2.1", "ipMode": "Proxy"})), "a mode"),
        (entry(json!({"ip": "192.0.2.1", "ports": [{"port": 80, "protocol": "TCP"}]})), "state of a port"),
        (annotated(OF_NODES, "true"), "only with controller.nodeAddressPools.enabled"),
        (annotated(ANNOTATION, &"a".repeat(254)), "the name of a pool"),
        (annotated(ANNOTATION, "a\nb"), "the name of a pool"),
        (annotated(ANNOTATION, ""), "the name of a pool"),
        (annotated(PREVIOUS, "u/192.0.2.1"), "of this Service"),
        (annotated(PREVIOUS, &format!("{uid}/{many}")), "of this Service"),
        (annotated(PREVIOUS, &format!("{uid}/192.0.2.1,192.0.2.2,192.0.2.3")), "of this Service"),
        (annotated(PREVIOUS, &format!("{uid}/{}", "1".repeat(100_000))), "of this Service"),
        (annotated(PREVIOUS, &format!("{uid}/")), "of this Service"),
        (
            json!({"status": {"loadBalancer": {"ingress": [{"hostname": "evil.example.com"}]}}}),
            "such as a host name",
        ),
        (
            json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "hostname": "evil.example.com"}]}}}),
            "such as a host name",
        ),
        (
            json!({"status": {"conditions": [{"type": "A", "status": "True", "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
            "conditions",
        ),
        (json!({"metadata": {"annotations": {"team": "b"}}}), "annotations of others"),
        (json!({"metadata": {"annotations": {"team": null}}}), "annotations of others"),
        (
            json!({"metadata": {"annotations": {"service.beta.kubernetes.io/x": "y"}}}),
            "annotations of others",
        ),
        (json!({"metadata": {"labels": {"app": "other"}}}), "labels, finalizers and owners"),
        (json!({"metadata": {"finalizers": ["example.com/never"]}}), "labels, finalizers and owners"),
        (
            json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "db", "uid": "1"}]}}),
            "labels, finalizers and owners",
        ),
    ] {
        denied("service/web", patch, why);
    }
    // What another load balancer has given stays; what was ours is cleared.
    let theirs = ingress(&["198.51.100.1"]);
    cluster.refuses(&[], "service/other", &theirs);
    denied("service/other", json!({"status": {"loadBalancer": null}}), "another load balancer");
    cluster.kubectl(&["annotate", "service", "other", &format!("{ANNOTATION}=lan")]);
    let clear = json!({"metadata": {"annotations": {ANNOTATION: null}}, "status": {"loadBalancer": null}});
    assert_eq!(cluster.denies("service/other", &clear), None);
    cluster.kubectl(&["annotate", "service", "plain", &format!("{ANNOTATION}=lan")]);
    assert_eq!(cluster.denies("service/plain", &clear), None);
    // The rights of others are as they were.
    assert_eq!(
        cluster.refuses(&["--dry-run=server"], "service/web", &json!({"metadata": {"labels": {"app": "x"}}})),
        None
    );
}

#[test]
fn the_controller_may_say_of_a_pod_that_it_is_not_ready_and_nothing_else() {
    let values = ["--set=loadBalancerClass=x.y/z", "--set=controller.nodeAddressPools.enabled=true"];
    let cluster = cluster(&values, &[("web", "LoadBalancer", Some("x.y/z"))]);
    let now = "2026-01-01T00:00:00Z";
    let ready = |status: &str, reason: &str| json!({"type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": now});
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
    let conditions = |all: &[Value]| json!({"status": {"conditions": all}});
    let kubelet = json!({"status": {"phase": "Running", "observedGeneration": 1, "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [scheduled, ready("True", "")]}});
    assert_eq!(cluster.refuses(&[], "pod/db", &kubelet), None);
    let mut lost = ready("False", "FerroLBNodeLost");
    assert_eq!(cluster.denies("pod/db", &conditions(&[scheduled.clone(), lost.clone()])), None);
    // As the controller writes it.
    lost["message"] = json!("the node of this Pod is lost");
    assert_eq!(cluster.denies("pod/db", &conditions(&[scheduled.clone(), lost.clone()])), None);
    let with = |key: &str, value: Value| {
        let mut other = lost.clone();
        other[key] = value;
        conditions(&[scheduled.clone(), other])
    };
    for patch in [
        with("message", json!("x".repeat(201))),
        with("lastProbeTime", json!(now)),
        with("observedGeneration", json!(9)),
        conditions(&[scheduled.clone(), lost.clone(), lost.clone()]),
        json!({"status": {"observedGeneration": 9}}),
        json!({"status": {"allocatedResources": {"cpu": "1"}}}),
        json!({"status": {"resources": {"requests": {"cpu": "1"}}}}),
        json!({"status": {"resize": "Infeasible"}}),
        json!({"status": {"reason": "Evicted"}}),
        json!({"status": {"message": "x"}}),
        json!({"status": {"nominatedNodeName": "other"}}),
        json!({"status": {"hostIP": "10.0.0.9", "hostIPs": [{"ip": "10.0.0.9"}]}}),
        json!({"status": {"startTime": now}}),
        json!({"status": {"containerStatuses": [{"name": "db", "image": "i", "imageID": "", "ready": true, "restartCount": 0}]}}),
    ] {
        // What is not switched on in this API server it leaves out.
        let refused = cluster.denies("pod/db", &patch).is_some() || cluster.leaves_out("pod/db", &patch);
        assert!(refused, "{patch}");
    }
    for patch in [
        conditions(&[scheduled.clone(), ready("True", "FerroLBNodeLost")]),
        conditions(&[scheduled.clone(), ready("False", "Other")]),
        conditions(std::slice::from_ref(&lost)),
        conditions(&[
            json!({"type": "PodScheduled", "status": "False", "lastTransitionTime": now}),
            lost.clone(),
        ]),
        conditions(&[
            scheduled.clone(),
            lost,
            json!({"type": "X", "status": "True", "lastTransitionTime": now}),
        ]),
        json!({"status": {"phase": "Failed"}}),
        json!({"status": {"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}]}}),
        json!({"metadata": {"labels": {"app": "other"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["example.com/never"]}}),
    ] {
        assert!(cluster.denies("pod/db", &patch).is_some(), "{patch}");
    }
    // The class that is served is the one of the values.
    assert_eq!(cluster.denies("service/web", &ingress(&["192.0.2.1"])), None);
    // The addresses of nodes may be many, where the values allow such, and are marked as what they are.
    let mut nodes = ingress(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert!(cluster.denies("service/web", &nodes).is_some());
    nodes["metadata"] = json!({"annotations": {ANNOTATION: "nodes", "ferrolb.io/node-addresses": "true"}});
    assert_eq!(cluster.denies("service/web", &nodes), None);
    let both = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
    let mut nodes = ingress(&both);
    nodes["metadata"] = json!({"annotations": {OF_NODES: "true"}});
    assert_eq!(cluster.denies("service/web", &nodes), None);
    for patch in [
        json!({"metadata": {"annotations": {OF_NODES: "x".repeat(100_000)}}}),
        json!({"metadata": {"annotations": {OF_NODES: "false"}}}),
        ingress(&both),
    ] {
        assert!(cluster.denies("service/web", &patch).is_some(), "{patch}");
    }
}
