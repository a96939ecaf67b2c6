//! Without rights, without programs, without an API server: what cannot be seen is named, and nothing is "OK".

use serde_json::json;

use super::{answered, names, plugin, plugin_as, user};
use crate::fixture::{Cluster, run};

#[test]
fn a_user_without_rights_is_told_which_are_missing_and_never_that_all_is_well() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/30"]).await;
        cluster.service("a", json!({})).await;
        let (_folder, nobody) = user(&cluster, "nobody", &[]).await;
        for (command, rights) in [
            ("status", &["list services", "list ipaddresspools.metallb.io", "list nodes", "list pods"][..]),
            ("services", &["list services"]),
            ("pools", &["list ipaddresspools.metallb.io"]),
            ("ips", &["list ipaddresspools.metallb.io"]),
            ("nodes", &["list nodes"]),
            ("peers", &["list pods"]),
            ("explain a", &["get services"]),
            ("trace 10.9.0.0", &["list pods"]),
            (
                "inspect -f /dev/null",
                &["list services", "list events", "list configurationstates.metallb.io", "list pods"],
            ),
            ("whatif drain n1", &["list nodes"]),
            ("whatif delete pool lan", &["list ipaddresspools.metallb.io"]),
        ] {
            let said = plugin_as(&nobody, command).await;
            assert_eq!(said.code, 2, "{command}: {said:?}");
            assert!(!said.stdout.contains("OK"), "{command}: {said:?}");
            for right in rights {
                let told = format!("{}{}", said.stdout, said.stderr);
                let named = told.contains(&format!("missing right: you may not {right}"));
                assert!(named, "{command}: {right}: {said:?}");
            }
        }
        let status = answered(&plugin_as(&nobody, "status -o json").await);
        assert!(status["notSeen"].as_array().is_some_and(|missing| missing.len() > 5), "{status}");
    });
}

#[test]
fn who_may_see_one_namespace_sees_its_services_and_hears_no_guesses() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/30"]).await;
        cluster.service("a", json!({})).await;
        let rules = json!([{"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list"]}]);
        let (_folder, owner) = user(&cluster, "owner", &[("default", rules)]).await;
        let said = plugin_as(&owner, "-n default services -o json").await;
        assert_eq!(said.code, 2, "{said:?}");
        let services = answered(&said);
        assert_eq!(
            (&services["items"][0]["name"], &services["items"][0]["health"]),
            (&json!("a"), &json!("Unknown"))
        );
        let explained = plugin_as(&owner, "-n default explain a").await;
        assert!(explained.stdout.contains("cannot be told while lists are missing"), "{explained:?}");
        assert_eq!(
            names(&cluster).await.len(),
            2,
            "the Service kubernetes is no load balancer, and not shown"
        );
    });
}

#[test]
fn an_api_server_that_is_down_is_named_as_such() {
    run(async {
        let mut cluster = Cluster::start().await;
        cluster.server.stop();
        for command in
            ["status", "services", "pools", "explain a", "whatif delete pool lan", "peers", "version"]
        {
            let said = plugin(&cluster, command).await;
            assert_eq!(said.code, 2, "{command}: {said:?}");
            let told = format!("{}{}", said.stdout, said.stderr);
            assert_eq!(told.matches("the API server cannot be reached").count(), 1, "{command}: {said:?}");
            assert!(!said.stdout.contains("OK"), "{command}: {said:?}");
        }
        let said = plugin(&cluster, "version --client").await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    });
}

#[test]
fn a_cluster_without_ferrolb_is_a_problem_and_not_a_failure() {
    run(async {
        let cluster = Cluster::start().await;
        let status = plugin(&cluster, "status").await;
        assert_eq!(status.code, 1, "{status:?}");
        for problem in ["no Pod of FerroLB in namespace metallb-system", "there is no IPAddressPool"] {
            assert!(status.stdout.contains(problem), "{problem}: {status:?}");
        }
    });
}
