//! Services that only routers are told of, by BGP.

use kube::Api;
use kube::api::{DeleteParams, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use super::site::{Answers, leader, site_of, speaker};
use super::{SYSTEM, create, plugin};
use crate::fixture::run;

/// The speaker of a node, which announces the Service `default/a` to a router if the session is in this state.
fn speaker_beside_router(node: &str, state: &str) -> Answers {
    let Answers::With(mut status, trace) = speaker(node) else { panic!("it answers") };
    let bfd = match state {
        "Established" => json!({"state": "Up"}),
        _ => json!({"state": "Down", "trouble": "BFD is down: no control packet came in time"}),
    };
    let session = json!({
        "peer": "r1", "address": "192.0.2.254:179", "state": state, "reason": "no TCP connection",
        "forSeconds": 300, "bfd": bfd,
    });
    let route = json!({
        "prefix": "10.9.0.0/32", "services": ["default/a"], "peers": ["r1"], "localPreference": 100,
    });
    status["addresses"] = json!({"items": []});
    status["bgp"] = json!({"sessions": {"items": [session]}, "routes": {"items": [route]}});
    Answers::With(status, trace)
}

#[test]
fn a_service_that_only_routers_are_told_of_is_announced_and_a_lost_session_is_a_problem() {
    run(async {
        let speakers = [speaker_beside_router("n1", "Established"), speaker_beside_router("n2", "Active")];
        let cluster = site_of(leader(), speakers).await;
        let gvk = GroupVersionKind::gvk("metallb.io", "v1beta1", "L2Advertisement");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "l2advertisements");
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), SYSTEM, &resource);
        api.delete("all", &DeleteParams::default()).await.unwrap();
        let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
        for (version, kind, plural, name, spec) in [
            ("v1beta2", "BGPPeer", "bgppeers", "r1", spec),
            ("v1beta1", "BGPAdvertisement", "bgpadvertisements", "all", json!({})),
        ] {
            let object = json!({
                "apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec,
            });
            create(&cluster, ("metallb.io", version, kind, plural), object).await;
        }
        let why = "no TCP connection; BFD is down: no control packet came in time";
        for (command, code, parts) in [
            ("services -A", 0, vec!["announced".to_owned(), "n1 to r1".to_owned()]),
            (
                "status",
                1,
                vec![
                    "1 address: 1 announced".to_owned(),
                    "1/2 sessions established, 1 prefix announced".to_owned(),
                    format!("BGPPeer r1: n2 has no session with it (192.0.2.254:179) for 5 min: {why}"),
                ],
            ),
            ("nodes", 1, vec!["1/1 up, 1 route".to_owned(), format!("no session with r1 for 5 min: {why}")]),
            ("bgp", 1, vec!["Established".to_owned(), "5 min".to_owned(), "Up".to_owned(), why.to_owned()]),
            (
                "explain a",
                0,
                vec![
                    "nobody answers: no L2Advertisement is for it".to_owned(),
                    "n1 announces 10.9.0.0/32 to r1".to_owned(),
                    format!("n2 has no session with r1: {why}"),
                ],
            ),
            (
                "whatif drain n2",
                0,
                vec![
                    "10.9.0.0/32".to_owned(),
                    "n2 withdraws it when it is switched off".to_owned(),
                    "there is no BGP session of n2 with r1 at present".to_owned(),
                ],
            ),
            (
                "whatif delete bgppeer r1",
                1,
                vec![
                    "OUTAGE: no router is told of it".to_owned(),
                    "told of it by no node any more".to_owned(),
                ],
            ),
            (
                "whatif delete bgppeer r2",
                2,
                vec!["there is no BGPPeer r2".to_owned(), "did you mean r1?".to_owned()],
            ),
        ] {
            let said = plugin(&cluster, command).await;
            let told = format!("{}{}", said.stdout, said.stderr);
            assert_eq!(said.code, code, "{command}: {said:?}");
            for part in parts {
                assert!(told.contains(&part), "{command}: {part}: {said:?}");
            }
        }
    });
}
