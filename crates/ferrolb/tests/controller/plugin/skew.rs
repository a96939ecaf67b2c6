//! Programs of other versions, without a leader, gone, or of another load balancer; and an API server that goes away.

use std::io;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::PostParams;
use kubectl_ferrolb::{Said, watched};
use serde_json::json;
use tokio::sync::mpsc;

use super::site::{Answers, IP, document, leader, service, site, site_of, speaker};
use super::{SYSTEM, account, advertise, answered, plugin, plugin_soon};
use crate::fixture::{Cluster, run, wait};

#[test]
fn speakers_of_a_version_that_cannot_be_asked_are_named_and_what_the_others_say_counts() {
    run(async {
        let cluster = site_of(leader(), [speaker("n1"), Answers::OlderVersion]).await;
        let why = "Pod metallb-system/s-2 cannot be asked: it runs a version that cannot be asked that";
        let status = plugin(&cluster, "status").await;
        assert_eq!((status.code, status.stderr.as_str()), (2, ""), "{status:?}");
        assert_eq!(status.stdout.matches(why).count(), 1, "what cannot be seen is told once: {status:?}");
        assert!(status.stdout.contains("1 announced"), "{status:?}");
        for (command, code) in
            [("peers", 2), ("nodes", 2), ("version", 2), ("trace 10.9.0.0", 2), ("inspect -f /dev/null", 2)]
        {
            let said = plugin(&cluster, command).await;
            assert!(said.code == code && said.stderr.contains(why), "{command}: {said:?}");
        }
        // What follows from what is seen is told, with a note.
        for command in ["services", "ips", "explain a"] {
            let said = plugin(&cluster, command).await;
            assert!(said.code == 0 && said.stdout.contains(why), "{command}: {said:?}");
        }
    });
}

#[test]
fn a_document_of_a_later_version_and_a_program_of_another_one_are_told_apart() {
    run(async {
        let of_version = |version: &str| {
            let mut document = document("ControllerStatus", json!({"leads": true, "later": {"a": 1}}));
            document["version"] = json!(version);
            Answers::With(document, json!(null))
        };
        let cluster = site_of(of_version("9.9.9"), [speaker("n1"), speaker("n2")]).await;
        let said = plugin(&cluster, "version").await;
        assert!(said.code == 1 && said.stdout.contains("Not all are of the same version"), "{said:?}");
        assert_eq!(plugin(&cluster, "status").await.code, 0, "its document can be read");
        let mut later = document("SpeakerStatus", json!({}));
        later["apiVersion"] = json!("ferrolb.io/v7");
        let cluster = site_of(leader(), [speaker("n1"), Answers::With(later.clone(), later)]).await;
        let said = plugin(&cluster, "status").await;
        assert!(said.code == 2 && said.stdout.contains("its answer is of version ferrolb.io/v7"), "{said:?}");
    });
}

#[test]
fn nobody_is_called_the_leader_whose_lease_has_run_out() {
    run(async {
        let cluster = site_of(Answers::Never, [speaker("n1"), speaker("n2")]).await;
        let none = plugin_soon(&cluster, "status").await;
        assert!(none.stdout.contains("none has taken the Lease ferrolb-controller"), "{none:?}");
        let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), SYSTEM);
        let lease = json!({
            "metadata": {"name": "ferrolb-controller"},
            "spec": {"holderIdentity": "c-1", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"},
        });
        leases.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
        let expired = plugin_soon(&cluster, "status").await;
        assert!(expired.stdout.contains("no leader known"), "{expired:?}");
        assert!(
            expired.stdout.contains("PROBLEM") && expired.stdout.contains("has not been renewed for"),
            "{expired:?}"
        );
        assert_eq!(expired.code, 2, "its Pod cannot be asked: {expired:?}");
        // One that answers, and does not lead, is no leader either.
        let follower = Answers::With(document("ControllerStatus", json!({"leads": false})), json!(null));
        let cluster = site_of(follower, [speaker("n1"), speaker("n2")]).await;
        let said = plugin(&cluster, "status").await;
        assert!(said.code == 1 && said.stdout.contains("no replica leads"), "{said:?}");
    });
}

#[test]
fn since_when_another_host_has_an_address_is_told_by_the_event() {
    run(async {
        let Answers::With(mut status, trace) = speaker("n1") else { unreachable!("it answers") };
        let mac = "b8:27:eb:11:22:33";
        let address = &mut status["addresses"]["items"][0];
        address["state"] = json!("Conflict");
        address["conflicts"] = json!([{"mac": mac, "interface": "eth0"}]);
        let cluster = site_of(leader(), [Answers::With(status, trace), speaker("n2")]).await;
        let row = async || {
            let ips = plugin(&cluster, "ips").await.stdout;
            ips.lines().find(|line| line.starts_with(IP)).unwrap_or_default().to_owned()
        };
        let before = row().await;
        assert!(before.contains("conflict") && before.contains(mac) && before.ends_with(" -"), "{before}");
        let events: Api<Event> = Api::namespaced(cluster.client.clone(), "default");
        let began = Timestamp::now() - SignedDuration::from_mins(5);
        let event = json!({
            "metadata": {"name": "a.1"}, "type": "Warning", "reason": "addressConflict",
            "involvedObject": {"kind": "Service", "namespace": "default", "name": "a"},
            "message": format!("not announcing from node \"n1\": {mac} on eth0 has the address {IP} already. Take it away"),
            "firstTimestamp": began.to_string(), "lastTimestamp": began.to_string(),
        });
        events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
        let after = row().await;
        assert!(after.ends_with(" 5m"), "{after}");
    });
}

/// What tells of the Services that there are.
const COMMANDS: [&str; 10] = [
    "status",
    "services",
    "pools",
    "ips",
    "nodes",
    "peers",
    "explain a",
    "whatif add node",
    "version",
    "trace 10.9.0.0",
];

#[test]
fn where_ferrolb_does_not_run_every_command_says_so_and_none_that_all_is_well() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/31"]).await;
        advertise(&cluster, json!({})).await;
        service(&cluster).await;
        for command in COMMANDS {
            let said = plugin(&cluster, command).await;
            assert!(said.code > 0, "{command}: {said:?}");
            let told = format!("{}{}", said.stdout, said.stderr);
            assert!(told.contains("no Pod of FerroLB in namespace metallb-system"), "{command}: {said:?}");
        }
    });
}

#[test]
fn metallb_in_its_place_is_named_and_its_services_are_not_called_silent() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/31"]).await;
        advertise(&cluster, json!({})).await;
        service(&cluster).await;
        account(&cluster, "default", "speaker").await;
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
        let metallb = json!({
            "metadata": {"name": "speaker-abc", "labels": {"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker"}},
            "spec": {"serviceAccountName": "speaker", "automountServiceAccountToken": false,
                "containers": [{"name": "speaker", "image": "quay.io/metallb/speaker:v0.15"}]},
        });
        pods.create(&PostParams::default(), &serde_json::from_value(metallb).unwrap()).await.unwrap();
        for command in COMMANDS {
            let said = plugin(&cluster, command).await;
            assert!(said.code > 0, "{command}: {said:?}");
            let told = format!("{}{}", said.stdout, said.stderr);
            assert!(
                told.contains("MetalLB serves this cluster, from namespace default"),
                "{command}: {said:?}"
            );
        }
        let services = answered(&plugin(&cluster, "services -o json").await);
        assert_eq!(services["items"][0]["health"], "Unknown", "{services}");
        let explained = plugin(&cluster, "explain a").await.stdout;
        assert!(explained.contains("MetalLB serves it") && explained.contains(IP), "{explained}");
    });
}

#[test]
fn an_api_server_that_goes_away_while_somebody_watches_is_told_and_is_no_empty_list() {
    run(async {
        let mut cluster = site().await;
        let kubeconfig = cluster.server.kubeconfig().display().to_string();
        let (send, mut told) = mpsc::unbounded_channel::<Said>();
        let line = ["kubectl-ferrolb", "--kubeconfig", &kubeconfig, "services", "--watch", "-o", "json"]
            .map(str::to_owned);
        let watching = Box::pin(watched(line, move |said| send.send(said.clone()).map_err(io::Error::other)));
        let story = async {
            let first = told.recv().await.unwrap();
            assert_eq!((first.code, &answered(&first)["items"][0]["name"]), (0, &json!("a")));
            cluster.server.stop();
            let away = told.recv().await.unwrap();
            assert_eq!((away.code, away.stdout.as_str()), (2, ""), "{away:?}");
            assert!(away.stderr.contains("the API server cannot be reached"), "{away:?}");
            cluster.server.start().unwrap();
            cluster.service("b", json!({})).await;
            wait("the Services to be seen again", async || {
                let again = told.recv().await.unwrap();
                (again.stdout.contains("\"b\"") && again.stdout.contains("\"a\"")).then_some(())
            })
            .await;
        };
        tokio::select! {
            ended = watching => panic!("it ended: {ended:?}"),
            () = story => {}
        }
    });
}
