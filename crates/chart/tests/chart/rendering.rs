//! What comes of the templates.

use std::fs;

use chart::{Helm, documents, examples, folder, generated, manifests_folder};
use serde_json::{Value, json};

/// The objects of one kind that come of these values.
pub(crate) fn objects(helm: &Helm, values: &[&str], kind: &str) -> Vec<Value> {
    let all = chart::objects(&helm.template(values).unwrap()).unwrap();
    all.into_iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn helm_finds_no_fault() {
    let chart = folder();
    for helm in [Helm::find().unwrap(), Helm::find_3().unwrap()] {
        for example in examples().unwrap() {
            let arguments = [
                "lint".as_ref(),
                "--strict".as_ref(),
                chart.as_os_str(),
                "--values".as_ref(),
                example.as_os_str(),
            ];
            helm.run(arguments).unwrap();
        }
    }
}

#[test]
fn what_is_made_from_the_chart_is_in_step() {
    for (path, expected) in generated(&Helm::find().unwrap()).unwrap() {
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, expected, "{} is out of date: run `cargo xtask manifests`", path.display());
    }
}

#[test]
fn no_manifest_holds_a_key_twice_or_a_null() {
    for (path, text) in generated(&Helm::find().unwrap()).unwrap() {
        if path.starts_with(folder().join("ci")) || path.starts_with(manifests_folder()) {
            chart::objects(&text).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        }
    }
    assert_eq!(objects(&Helm::find().unwrap(), &[], "CustomResourceDefinition").len(), 11);
}

#[test]
fn helm_3_makes_the_same_of_the_templates() {
    let (helm, helm_3) = (Helm::find().unwrap(), Helm::find_3().unwrap());
    for example in examples().unwrap() {
        // Helm 4 puts an empty line after each document, which means nothing.
        let objects = |helm: &Helm| {
            documents(&helm.template(["--values".as_ref(), example.as_os_str()]).unwrap()).unwrap()
        };
        assert_eq!(objects(&helm_3), objects(&helm), "{}", example.display());
    }
}

#[test]
fn a_rendering_without_the_cluster_is_always_the_same_and_holds_no_key() {
    let helm = Helm::find().unwrap();
    let twice = [(); 2].map(|()| helm.template(["--set=crds.enabled=false"]).unwrap());
    assert_eq!(twice[0], twice[1]);
    let [secret] = &objects(&helm, &[], "Secret")[..] else { panic!("there is one Secret") };
    assert!(secret["data"].is_null() && secret["stringData"].is_null(), "{secret}");
}

#[test]
fn crds_stay_unless_told_otherwise_and_can_be_left_out() {
    let helm = Helm::find().unwrap();
    let policies = |values: &[&str]| -> Vec<String> {
        let crds = objects(&helm, values, "CustomResourceDefinition");
        let policy = |crd: &Value| {
            crd["metadata"]["annotations"]["helm.sh/resource-policy"].as_str().map(str::to_owned)
        };
        crds.iter().filter_map(policy).collect()
    };
    assert_eq!(policies(&[]), ["keep"; 11]);
    assert_eq!(policies(&["--set=crds.keep=false"]), ["delete"; 11]);
    assert_eq!(policies(&["--set=crds.enabled=false"]), [""; 0]);
}

#[test]
fn a_part_that_is_off_leaves_nothing_behind() {
    let helm = Helm::find().unwrap();
    for part in ["controller", "speaker"] {
        let text = helm
            .template([format!("--set={part}.enabled=false"), "--set=crds.enabled=false".to_owned()])
            .unwrap();
        let left = documents(&text).unwrap();
        let named: Vec<&Value> = left.iter().map(|object| &object["metadata"]["name"]).collect();
        assert!(!named.iter().any(|name| name.as_str().unwrap().contains(part)), "{named:?}");
    }
}

#[test]
fn one_replica_has_no_disruption_budget_that_would_block_every_drain() {
    let helm = Helm::find().unwrap();
    assert_eq!(objects(&helm, &[], "PodDisruptionBudget").len(), 1);
    assert_eq!(objects(&helm, &["--set=controller.replicas=1"], "PodDisruptionBudget").len(), 0);
}

#[test]
fn pods_are_among_the_last_to_suffer_when_a_node_runs_short() {
    let helm = Helm::find().unwrap();
    let parts = [
        ("controller", "Deployment", "system-cluster-critical"),
        ("speaker", "DaemonSet", "system-node-critical"),
    ];
    for (part, kind, class) in parts {
        let pod = |values: &[&str]| objects(&helm, values, kind).remove(0)["spec"]["template"]["spec"].take();
        let by_default = pod(&[]);
        assert_eq!(by_default["priorityClassName"], class);
        let resources = &by_default["containers"][0]["resources"];
        for resource in ["cpu", "memory"] {
            assert!(resources["requests"][resource].is_string(), "{part}: {resources}");
        }
        assert!(resources["limits"].is_null(), "{part}: {resources}");
        assert!(pod(&[&format!("--set={part}.priorityClassName=")])["priorityClassName"].is_null());
    }
}

#[test]
fn the_gossip_listens_where_it_is_told_to() {
    let helm = Helm::find().unwrap();
    let bind = |values: &[&str], kind| {
        let [object] = &objects(&helm, values, kind)[..] else { panic!("there is one {kind}") };
        let environment = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        let bind = environment.iter().find(|variable| variable["name"] == "FERROLB_GOSSIP_BIND")?;
        Some(bind["value"].as_str().unwrap().to_owned())
    };
    let port = "--set=speaker.memberlist.mlBindPort=7999";
    let address = |address: &str| format!("--set=speaker.memberlist.mlBindAddrOverride={address}");
    assert_eq!(bind(&[], "DaemonSet"), None, "the program knows best");
    assert_eq!(bind(&[port], "DaemonSet").as_deref(), Some("$(FERROLB_POD_IP):7999"));
    assert_eq!(bind(&[&address("10.0.0.1")], "DaemonSet").as_deref(), Some("10.0.0.1:7946"));
    assert_eq!(bind(&[port, &address("fd00::1")], "DaemonSet").as_deref(), Some("[fd00::1]:7999"));
    assert_eq!(bind(&[port], "Deployment"), None, "the controller takes no part");
    for value in ["--set=controller.recoverEndpoints=true", "--set=controller.nodeAddressPools.enabled=true"]
    {
        let observer = [value, &address("10.0.0.1")];
        assert_eq!(bind(&observer, "Deployment").as_deref(), Some("$(FERROLB_POD_IP):7946"));
    }
}

#[test]
fn rights_on_pools_of_nodes_come_with_the_option_that_uses_them() {
    let helm = Helm::find().unwrap();
    let rights = |values: &[&str]| {
        let all = ["ClusterRole", "Role"].map(|kind| objects(&helm, values, kind)).concat();
        let of_controller = |role: &&Value| role["metadata"]["name"] == "ferrolb-controller";
        let rules =
            all.iter().filter(of_controller).flat_map(|role| role["rules"].as_array().unwrap().clone());
        let lines = rules.map(|rule| format!("{} {}", rule["resources"], rule["verbs"]));
        lines.collect::<std::collections::BTreeSet<_>>()
    };
    let (without, with) = (rights(&[]), rights(&["--set=controller.nodeAddressPools.enabled=true"]));
    let added: Vec<&String> = with.difference(&without).collect();
    assert_eq!(
        added,
        [
            r#"["endpointslices"] ["list","watch"]"#,
            r#"["nodeaddresspools"] ["list","watch"]"#,
            r#"["nodeaddresspools/status"] ["patch"]"#,
        ]
    );
    assert!(without.is_subset(&with));
    let [object] = &objects(&helm, &["--set=controller.nodeAddressPools.enabled=true"], "Deployment")[..]
    else {
        panic!("there is one Deployment")
    };
    let environment = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let set = |name: &str| environment.iter().any(|variable| variable["name"] == name);
    assert!(set("FERROLB_NODE_ADDRESS_POOLS") && !set("FERROLB_RECOVER_ENDPOINTS"));
    assert!(!set("FERROLB_DEFAULT_NODE_ADDRESS_POOL"));
}

#[test]
fn the_values_for_k3s_make_a_pool_and_have_the_speakers_report_what_listens() {
    let helm = Helm::find().unwrap();
    let file = format!("--values={}", folder().join("../../examples/k3s/values.yaml").display());
    let variable = |values: &[&str], kind: &str, name: &str| {
        let [object] = &objects(&helm, values, kind)[..] else { panic!("there is one {kind}") };
        let environment = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        environment.iter().find(|variable| variable["name"] == name).map(|variable| variable["value"].clone())
    };
    let default = "FERROLB_DEFAULT_NODE_ADDRESS_POOL";
    let spec = variable(&[&file], "Deployment", default).unwrap();
    assert_eq!(spec, r#"{"k3sLabels":true}"#);
    let report = "FERROLB_REPORT_LISTENING_PORTS";
    assert_eq!(variable(&[&file], "DaemonSet", report), Some("true".into()));
    assert_eq!(variable(&[], "DaemonSet", report), None);
    let creates = |values: &[&str]| {
        let all = objects(&helm, values, "Role");
        let mut rules = all.iter().flat_map(|role| role["rules"].as_array().unwrap());
        rules.any(|rule| {
            rule["resources"] == json!(["nodeaddresspools"]) && rule["verbs"].to_string().contains("create")
        })
    };
    assert!(creates(&[&file]) && !creates(&["--set=controller.nodeAddressPools.enabled=true"]));
    let without_spec = [&*file, "--set-json=controller.nodeAddressPools.defaultPool.spec=null"];
    assert_eq!(variable(&without_spec, "Deployment", default), Some("{}".into()));
    helm.template([&*file, "--set=controller.nodeAddressPools.defaultPool.spec.k3slabels=true"]).unwrap_err();
}

/// Two Pods that declare the same ports of a node are not let on it.
#[test]
fn speakers_that_surge_declare_no_ports_and_hand_over() {
    let helm = Helm::find().unwrap();
    let surge = "--set=speaker.updateStrategy.rollingUpdate.maxSurge=1";
    let daemon_set = |values: &[&str]| objects(&helm, values, "DaemonSet").remove(0)["spec"].take();
    let hands_over = |spec: &Value| {
        let environment = spec["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        environment.iter().any(|it| it["name"] == "FERROLB_HAND_OVER" && it["value"] == "true")
    };
    for off in [
        &[][..],
        &["--set=speaker.updateStrategy.rollingUpdate.maxSurge=0"],
        &[surge, "--set=speaker.updateStrategy.type=OnDelete"],
    ] {
        let spec = daemon_set(off);
        assert!(!hands_over(&spec) && spec["minReadySeconds"].is_null(), "{off:?}");
        assert_eq!(spec["template"]["spec"]["containers"][0]["ports"].as_array().unwrap().len(), 3);
    }
    for (surge, shown) in
        [(surge, json!(1)), ("--set=speaker.updateStrategy.rollingUpdate.maxSurge=20%", json!("20%"))]
    {
        let spec = daemon_set(&[surge]);
        assert!(hands_over(&spec), "{spec}");
        let strategy =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": shown, "maxUnavailable": 0}});
        assert_eq!((&spec["updateStrategy"], &spec["minReadySeconds"]), (&strategy, &json!(5)));
        let container = &spec["template"]["spec"]["containers"][0];
        assert!(container["ports"].is_null());
        assert_eq!(container["readinessProbe"]["httpGet"]["port"], 17_472);
    }
    let plain = daemon_set(&[surge, "--set=prometheus.secure=false"]);
    assert_eq!(plain["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"], 9120);
    let controller = objects(&helm, &[surge], "Deployment").remove(0)["spec"]["template"]["spec"].take();
    assert!(controller["containers"][0]["ports"].is_array());

    let endpoint = |kind: &str, values: &[&str], name: &str, list: &str| {
        let mut all = objects(&helm, values, kind);
        all.retain(|it| it["metadata"]["name"] == name);
        all[0]["spec"][list][0].take()
    };
    let by_pods = [surge, "--set=prometheus.podMonitor.enabled=true"];
    let endpoint_of = |name| endpoint("PodMonitor", &by_pods, name, "podMetricsEndpoints");
    let (speaker, controller) = (endpoint_of("ferrolb-speaker"), endpoint_of("ferrolb-controller"));
    assert!(
        speaker["port"].is_null()
            && controller["port"] == "monitoring"
            && controller["relabelings"].is_null()
    );
    let made: Vec<&Value> =
        speaker["relabelings"].as_array().unwrap().iter().map(|it| &it["replacement"]).collect();
    assert_eq!(made, [&json!(null), &json!("$1:9120"), &json!("[$1]:9120")]);
    let by_services = [surge, "--set=prometheus.serviceMonitor.enabled=true"];
    let port = |name| endpoint("Service", &by_services, name, "ports")["targetPort"].clone();
    assert_eq!((port("ferrolb-speaker"), port("ferrolb-controller")), (json!(9120), json!("monitoring")));
    assert_eq!(
        endpoint("ServiceMonitor", &by_services, "ferrolb-speaker", "endpoints")["port"],
        "monitoring"
    );
}

#[test]
fn conflicts_of_addresses_are_heeded_unless_the_values_say_otherwise() {
    let helm = Helm::find().unwrap();
    let ignores = |values: &[&str]| {
        let [object] = &objects(&helm, values, "DaemonSet")[..] else { panic!("there is one DaemonSet") };
        let arguments = object["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
        arguments.iter().any(|argument| argument == "--ignore-address-conflicts")
    };
    for heeding in [None, Some("false"), Some("null")] {
        let value = heeding.map(|value| format!("--set=speaker.ignoreAddressConflicts={value}"));
        assert!(!ignores(&value.as_deref().into_iter().collect::<Vec<_>>()), "{heeding:?}");
    }
    assert!(ignores(&["--set=speaker.ignoreAddressConflicts=true"]));
    helm.template(["--set-string=speaker.ignoreAddressConflicts=maybe"]).unwrap_err();
}

#[test]
fn addresses_are_spread_and_stay_where_they_are_only_if_the_values_say_so() {
    let helm = Helm::find().unwrap();
    let given = |values: &[&str]| -> Vec<String> {
        let [object] = &objects(&helm, values, "DaemonSet")[..] else { panic!("there is one DaemonSet") };
        let arguments = object["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
        let arguments = arguments.iter().filter_map(|it| it.as_str());
        arguments.filter(|it| ["--spread", "--no-failback"].contains(it)).map(str::to_owned).collect()
    };
    assert!(given(&[]).is_empty());
    assert!(given(&["--set=speaker.spread=null", "--set=speaker.failback=null"]).is_empty());
    assert_eq!(given(&["--set=speaker.spread=true"]), ["--spread"]);
    assert_eq!(given(&["--set=speaker.failback=false"]), ["--no-failback"]);
}

#[test]
fn the_readme_removes_all_that_metallbs_chart_installs_but_the_crds() {
    let chart = lab::metallb::chart().unwrap();
    let rendered = Helm::find()
        .unwrap()
        .run([
            "template".as_ref(),
            "metallb".as_ref(),
            chart.as_os_str(),
            "--namespace=metallb-system".as_ref(),
            "--set=networkpolicies.enabled=true,networkpolicies.defaultDeny=true".as_ref(),
            "--set=prometheus.podMonitor.enabled=true,prometheus.prometheusRule.enabled=true".as_ref(),
            "--set=prometheus.serviceAccount=it,prometheus.namespace=monitoring".as_ref(),
        ])
        .unwrap();
    let readme = fs::read_to_string(folder().join("../../examples/from-metallb/README.md")).unwrap();
    let removals = readme.lines().filter(|line| line.contains("kubectl delete"));
    let by_label: Vec<&str> = removals
        .filter(|line| {
            ["instance", "name"]
                .iter()
                .any(|key| line.contains(&format!("-l app.kubernetes.io/{key}=metallb")))
        })
        .collect();
    for object in documents(&rendered).unwrap() {
        let (kind, metadata) = (object["kind"].as_str().unwrap().to_lowercase(), &object["metadata"]);
        let name = metadata["name"].as_str().unwrap();
        let labelled = metadata["labels"]["app.kubernetes.io/instance"] == "metallb"
            && by_label.iter().any(|line| line.split([' ', ',']).any(|word| word == kind));
        let named = readme.contains(&format!("{kind}/{name}")) || readme.contains(&format!("{kind} {name}"));
        assert!(kind == "customresourcedefinition" || labelled || named, "{kind} {name}");
    }
}
