//! Users who lack rights: which one is missing is said, and nothing is taken for well.

use serde_json::{Value, json};

use super::site::{IP, site};
use super::{plugin, plugin_as, user, viewer};
use crate::fixture::{Cluster, run, wait};

/// Every command that asks the cluster something, but for `ui`.
const COMMANDS: [&str; 14] = [
    "status",
    "services",
    "services -A --problems",
    "quickstart --dry-run",
    "version",
    "whatif add node",
    "pools",
    "ips",
    "nodes",
    "peers",
    "explain a",
    "whatif drain n2",
    "trace 10.9.0.0",
    "inspect -f /dev/null",
];

/// What is listed for every answer that follows from the objects.
const LISTS: [(&str, &str); 13] = [
    ("", "services"),
    ("", "namespaces"),
    ("", "nodes"),
    ("", "pods"),
    ("discovery.k8s.io", "endpointslices"),
    ("metallb.io", "ipaddresspools"),
    ("metallb.io", "l2advertisements"),
    ("metallb.io", "bgppeers"),
    ("metallb.io", "bgpadvertisements"),
    ("metallb.io", "communities"),
    ("metallb.io", "bfdprofiles"),
    ("metallb.io", "servicel2statuses"),
    ("ferrolb.io", "addressreservations"),
];

/// The rules of somebody who may look at everything but this.
fn all_but(missing: &str) -> Value {
    let rule = |(group, resource): (&str, &str)| json!({"apiGroups": [group], "resources": [resource], "verbs": ["get", "list"]});
    let more = [
        ("", "events"),
        ("", "pods/log"),
        ("", "pods/proxy"),
        ("apps", "daemonsets"),
        ("coordination.k8s.io", "leases"),
        ("metallb.io", "configurationstates"),
        ("metallb.io", "servicebgpstatuses"),
        ("ferrolb.io", "nodeaddresspools"),
    ];
    LISTS.into_iter().chain(more).filter(|(_, resource)| *resource != missing).map(rule).collect()
}

#[test]
fn one_missing_right_is_named_by_every_command_that_needs_it_and_by_no_other() {
    run(async {
        let cluster = site().await;
        for command in &COMMANDS[..13] {
            let said = plugin(&cluster, command).await;
            assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{command}: {said:?}");
        }
        for (number, (group, resource)) in LISTS.into_iter().chain([("", "pods/proxy")]).enumerate() {
            let verb = if resource == "pods/proxy" { "get" } else { "list" };
            let kind = if group.is_empty() || group == "discovery.k8s.io" {
                resource.to_owned()
            } else {
                format!("{resource}.{group}")
            };
            let right = format!("missing right: you may not {verb} {kind}");
            let (_folder, almost) = viewer(&cluster, &format!("almost-{number}"), all_but(resource)).await;
            only_this_is_missing(&almost, &right).await;
            for command in COMMANDS {
                let independent = match command {
                    "peers" | "version" => !["pods", "pods/proxy"].contains(&resource),
                    // There is a pool already, so nobody is asked.
                    "pools" | "quickstart --dry-run" => resource == "pods/proxy",
                    "inspect -f /dev/null" => resource == "namespaces",
                    _ => false,
                };
                let said = plugin_as(&almost, command).await;
                let told = format!("{}{}", said.stdout, said.stderr);
                if independent {
                    assert!(!told.contains("missing right"), "{command} without {resource}: {said:?}");
                    continue;
                }
                assert_eq!(said.code, 2, "{command} without {resource}: {said:?}");
                // Of one Service it is another right.
                let right = if (command, resource) == ("explain a", "services") {
                    "missing right: you may not get services"
                } else {
                    &right
                };
                assert!(told.contains(right), "{command} without {resource}: {said:?}");
                assert!(
                    !said.stdout.lines().any(|line| line == "OK"),
                    "{command} without {resource}: {said:?}"
                );
            }
        }
    });
}

#[test]
fn a_right_that_one_command_needs_is_named_by_that_one() {
    run(async {
        let cluster = site().await;
        for (number, (command, verb, missing, kind)) in [
            ("quickstart --dry-run", "list", "daemonsets", "daemonsets.apps"),
            ("inspect -f /dev/null", "list", "events", "events"),
            ("inspect -f /dev/null", "list", "configurationstates", "configurationstates.metallb.io"),
            ("inspect -f /dev/null", "list", "nodeaddresspools", "nodeaddresspools.ferrolb.io"),
            ("inspect -f /dev/null", "list", "servicebgpstatuses", "servicebgpstatuses.metallb.io"),
            ("inspect -f /dev/null", "get", "pods/log", "pods/log"),
        ]
        .into_iter()
        .enumerate()
        {
            let (_folder, almost) = viewer(&cluster, &format!("but-{number}"), all_but(missing)).await;
            let right = format!("missing right: you may not {verb} {kind}");
            wait("the rights to be there", async || {
                let status = plugin_as(&almost, "status").await;
                (status.code == 0).then_some(())
            })
            .await;
            let said = plugin_as(&almost, command).await;
            let told = format!("{}{}", said.stdout, said.stderr);
            assert_eq!(
                (said.code, told.matches("missing right").count() > 0),
                (2, true),
                "{command}: {said:?}"
            );
            assert!(told.contains(&right), "{command} without {missing}: {said:?}");
        }
    });
}

/// Rights that were just given are not there at once.
async fn only_this_is_missing(kubeconfig: &std::path::Path, right: &str) {
    wait("the rights to be there", async || {
        let said = plugin_as(kubeconfig, "status").await;
        let missing = said.stdout.matches("missing right").count();
        (missing > 0 && missing == said.stdout.matches(right).count()).then_some(())
    })
    .await;
}

#[test]
fn free_addresses_and_full_pools_are_not_told_where_services_cannot_be_seen() {
    run(async {
        let cluster = site().await;
        let (_folder, almost) = viewer(&cluster, "almost", all_but("services")).await;
        only_this_is_missing(&almost, "missing right: you may not list services").await;
        let pools = plugin_as(&almost, "pools -o json").await;
        assert_eq!(super::answered(&pools)["items"][0]["v4"], Value::Null, "{pools:?}");
        let pools = plugin_as(&almost, "pools").await.stdout;
        assert!(pools.lines().any(|line| line.starts_with("lan   ?     ?")), "{pools}");
        let ips = plugin_as(&almost, "ips").await.stdout;
        assert!(!ips.contains("free") && ips.contains("unknown"), "{ips}");
        let seen = plugin(&cluster, "ips").await.stdout;
        assert!(seen.contains("free") && seen.contains("default/a"), "{seen}");
    });
}

#[test]
fn who_may_look_into_one_namespace_only_is_never_told_that_all_is_well() {
    run(async {
        let cluster = site().await;
        let own = json!([
            {"apiGroups": ["", "discovery.k8s.io"], "resources": ["services", "endpointslices", "pods", "events"], "verbs": ["get", "list"]},
        ]);
        let (_folder, owner) = user(&cluster, "owner", &[("default", own)]).await;
        wait("the rights to be there", async || {
            plugin_as(&owner, "services").await.stdout.contains("default/a").then_some(())
        })
        .await;
        for command in COMMANDS {
            let said = plugin_as(&owner, command).await;
            assert_eq!(said.code, 2, "{command}: {said:?}");
            let told = format!("{}{}", said.stdout, said.stderr);
            assert!(told.contains("missing right: you may not list"), "{command}: {said:?}");
            assert!(!said.stdout.lines().any(|line| line == "OK"), "{command}: {said:?}");
        }
        let services = plugin_as(&owner, "services").await.stdout;
        assert!(services.contains(IP) && services.contains("unknown"), "{services}");
    });
}

#[test]
fn a_name_that_does_not_exist_is_answered_with_the_nearest_that_does() {
    run(async {
        let cluster: Cluster = site().await;
        cluster.pool("staging", &["10.8.0.0/31"]).await;
        for (command, expected) in [
            (
                "ips stagin",
                "there is no IPAddressPool stagin in namespace metallb-system: did you mean staging?",
            ),
            (
                "whatif delete pool lna",
                "there is no IPAddressPool lna in namespace metallb-system: did you mean lan?",
            ),
            ("whatif drain n3", "there is no node n3: did you mean n1 or n2?"),
            ("explain prod/a", "there is no Service prod/a: did you mean default/a?"),
            (
                "-n default explain kubernets",
                "there is no Service default/kubernets: did you mean default/kubernetes?",
            ),
            ("-n defalt services", "there is no namespace defalt: did you mean default?"),
            ("--context ferrolbs status", "there is no context ferrolbs in the kubeconfig"),
            (
                "--system-namespace metallb services",
                "no Pod of FerroLB in namespace metallb; there are some in namespace metallb-system",
            ),
        ] {
            let said = plugin(&cluster, command).await;
            assert!(said.code > 0 && said.stderr.contains(expected), "{command}: {said:?}");
        }
        // A Service that asks for a pool that does not exist.
        cluster.service("typo", json!({})).await;
        let asks = json!({"metadata": {"annotations": {"metallb.io/address-pool": "stagging"}}});
        cluster.patch("typo", asks).await;
        let explained = plugin(&cluster, "explain typo").await.stdout;
        assert!(explained.contains("did you mean staging?"), "{explained}");
    });
}
