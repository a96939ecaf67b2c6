//! Who gets metrics, and by what.

use chart::{Helm, documents};
use serde_json::{Value, json};

use crate::rendering::objects;

const PARTS: [(&str, &str); 2] = [("controller", "Deployment"), ("speaker", "DaemonSet")];
const PLAIN: &str = "--set=prometheus.secure=false";
const POD_MONITOR: &str = "--set=prometheus.podMonitor.enabled=true";
const SERVICE_MONITOR: &str = "--set=prometheus.serviceMonitor.enabled=true";

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The Pod of a part as it comes of the template.
fn pod(helm: &Helm, values: &[&str], kind: &str) -> Value {
    objects(helm, values, kind).remove(0)["spec"]["template"]["spec"].take()
}

fn arguments(pod: &Value) -> Vec<&str> {
    list(&pod["containers"][0]["args"]).filter_map(Value::as_str).collect()
}

/// The kinds that a ClusterRole lets one create.
fn may_create(helm: &Helm, values: &[&str], part: &str) -> Vec<String> {
    let roles = objects(helm, values, "ClusterRole");
    let name = format!("ferrolb-{part}");
    let role = roles.iter().find(|role| role["metadata"]["name"] == name.as_str()).unwrap();
    let creates = list(&role["rules"]).filter(|rule| list(&rule["verbs"]).any(|verb| verb == "create"));
    let kinds = creates.flat_map(|rule| list(&rule["resources"]));
    kinds.map(|kind| kind.as_str().unwrap().to_owned()).collect()
}

#[test]
fn by_default_metrics_are_secured_on_metallbs_port_and_probes_have_metallbs_port() {
    let helm = Helm::find().unwrap();
    for (part, kind) in PARTS {
        let pod = pod(&helm, &[], kind);
        let arguments = arguments(&pod);
        for argument in ["--http-bind=[::]:17472", "--metrics-bind=[::]:9120"] {
            assert!(arguments.contains(&argument), "{part}: {arguments:?}");
        }
        let container = &pod["containers"][0];
        let ports: Vec<(&Value, &Value)> =
            list(&container["ports"]).map(|port| (&port["name"], &port["containerPort"])).collect();
        for expected in [(&json!("monitoring"), &json!(9120)), (&json!("probes"), &json!(17472))] {
            assert!(ports.contains(&expected), "{part}: {ports:?}");
        }
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "probes"}));
            assert!(container[probe]["port"].is_null());
        }
        assert_eq!(may_create(&helm, &[], part), ["events", "tokenreviews", "subjectaccessreviews"]);
    }
}

#[test]
fn in_plain_text_there_is_one_port_and_no_right_to_review() {
    let helm = Helm::find().unwrap();
    for (part, kind) in PARTS {
        let secret = format!("--set=tls.{part}MetricsTLSSecret=it");
        let pod = pod(&helm, &[PLAIN, "--set=prometheus.metricsPort=7472", &secret], kind);
        let arguments = arguments(&pod);
        assert!(arguments.contains(&"--http-bind=[::]:7472"), "{arguments:?}");
        assert!(!arguments.iter().any(|argument| argument.starts_with("--metrics-")), "{arguments:?}");
        assert!(!pod.to_string().contains("metrics-certificate"));
        assert_eq!(pod["containers"][0]["livenessProbe"]["httpGet"]["port"], "monitoring");
        assert_eq!(may_create(&helm, &[PLAIN], part), ["events"]);
    }
    for monitor in [POD_MONITOR, SERVICE_MONITOR] {
        let text = helm.template([PLAIN, monitor]).unwrap();
        for word in ["https", "insecureSkipVerify", "bearerTokenFile", "credentials", "nonResourceURLs"] {
            assert!(!text.contains(&format!("{word}:")) && !text.contains(&format!(": {word}")), "{word}");
        }
    }
}

#[test]
fn certificates_and_settings_of_tls_reach_the_programs() {
    let helm = Helm::find().unwrap();
    let values = [
        "--set=tls.minVersion=VersionTLS12",
        r"--set=tls.cipherSuites=A\,B",
        "--set=tls.curvePreferences=29",
        "--set=tls.controllerMetricsTLSSecret=of-controller",
        "--set=tls.speakerMetricsTLSSecret=of-speaker",
    ];
    for (part, kind) in PARTS {
        let pod = pod(&helm, &values, kind);
        let arguments = arguments(&pod);
        for argument in [
            "--metrics-cert-dir=/etc/metrics",
            "--tls-min-version=VersionTLS12",
            "--tls-cipher-suites=A,B",
            "--tls-curve-preferences=29",
        ] {
            assert!(arguments.contains(&argument), "{part}: {arguments:?}");
        }
        let mounts = &pod["containers"][0]["volumeMounts"];
        let mount = list(mounts).find(|mount| mount["mountPath"] == "/etc/metrics").unwrap();
        let volume = list(&pod["volumes"]).find(|volume| volume["name"] == mount["name"]).unwrap();
        assert_eq!(volume["secret"]["secretName"], format!("of-{part}"));
        assert_eq!(
            volume["secret"]["optional"], true,
            "a certificate that is missing keeps nobody from starting"
        );
    }
    assert!(helm.template(["--set=tls.minVersion=1.2"]).is_err());
    let same_port = helm.template(["--set=prometheus.metricsPort=17472"]).unwrap_err().to_string();
    assert!(same_port.contains("livenessProbe.port"), "{same_port}");
}

#[test]
fn monitors_scrape_what_is_secured_with_a_token_that_has_the_right() {
    let helm = Helm::find().unwrap();
    let prometheus =
        ["--set=prometheus.serviceAccount=prometheus-k8s", "--set=prometheus.namespace=monitoring"];
    let scrapers = |values: &[&str]| {
        let values = [values, &prometheus].concat();
        let bindings = objects(&helm, &values, "ClusterRoleBinding");
        let binding = bindings.iter().find(|it| it["metadata"]["name"] == "ferrolb-metrics").unwrap();
        let roles = objects(&helm, &values, "ClusterRole");
        let role = roles.iter().find(|it| it["metadata"]["name"] == binding["roleRef"]["name"]).unwrap();
        assert_eq!(role["rules"], json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]));
        let names = list(&binding["subjects"])
            .map(|it| format!("{}/{}", it["namespace"], it["name"]).replace('"', ""));
        names.collect::<Vec<_>>()
    };
    assert_eq!(scrapers(&[SERVICE_MONITOR]), ["monitoring/prometheus-k8s"]);
    assert_eq!(scrapers(&[POD_MONITOR]), ["metallb-system/ferrolb-metrics", "monitoring/prometheus-k8s"]);
    for monitor in objects(&helm, &[SERVICE_MONITOR], "ServiceMonitor") {
        let endpoint = &monitor["spec"]["endpoints"][0];
        assert_eq!(endpoint["scheme"], "https");
        assert_eq!(endpoint["bearerTokenFile"], "/var/run/secrets/kubernetes.io/serviceaccount/token");
        assert_eq!(endpoint["tlsConfig"], json!({"insecureSkipVerify": true}));
    }
    let tls = "--set=prometheus.podMonitor.tlsConfig.serverName=x";
    for monitor in objects(&helm, &[POD_MONITOR, tls], "PodMonitor") {
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        assert_eq!(endpoint["scheme"], "https");
        assert_eq!(endpoint["tlsConfig"], json!({"insecureSkipVerify": true, "serverName": "x"}));
        let credentials = &endpoint["authorization"]["credentials"];
        let secrets = objects(&helm, &[POD_MONITOR], "Secret");
        let secret = secrets.iter().find(|it| it["metadata"]["name"] == credentials["name"]).unwrap();
        assert_eq!(secret["type"], "kubernetes.io/service-account-token");
        assert_eq!(
            secret["metadata"]["annotations"]["kubernetes.io/service-account.name"],
            "ferrolb-metrics"
        );
    }
}

#[test]
fn prometheus_may_find_the_pods_where_it_is_named_and_monitors_exist() {
    let helm = Helm::find().unwrap();
    let named = ["--set=prometheus.serviceAccount=it", "--set=prometheus.namespace=monitoring"];
    let may = |values: &[&str]| {
        let text = helm.template(values.iter().chain(&["--set=crds.enabled=false"])).unwrap();
        documents(&text)
            .unwrap()
            .iter()
            .any(|it| it["kind"] == "Role" && it["metadata"]["name"] == "ferrolb-prometheus")
    };
    assert!(may(&[SERVICE_MONITOR, named[0], named[1]]));
    assert!(may(&[POD_MONITOR, named[0], named[1]]));
    assert!(!may(&named), "no monitor");
    assert!(!may(&[SERVICE_MONITOR]), "nobody is named");
    assert!(!may(&[SERVICE_MONITOR, named[0], named[1], "--set=prometheus.rbacPrometheus=false"]));
    assert!(!may(&[SERVICE_MONITOR, named[0], named[1], "--set=rbac.create=false"]));
}
