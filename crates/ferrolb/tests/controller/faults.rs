//! What goes wrong in clusters, and what must not come of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::fixture::{Cluster, controller, run, start, wait, wait_within};
use crate::proxy::{Mischief, Proxy};
use crate::told::{free_address, get};

/// Every Service has one address, and no two have the same.
async fn all_served(cluster: &Cluster, names: &[String]) {
    wait("every Service to have an address", async || {
        let all = cluster.all_addresses().await;
        let served = |name| all.iter().any(|(known, ips)| known == name && ips.len() == 1);
        names.iter().all(served).then_some(())
    })
    .await;
    let all: Vec<String> = cluster.all_addresses().await.into_iter().flat_map(|(_, ips)| ips).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "an address was given twice: {all:?}");
}

async fn create(cluster: &Cluster, prefix: &str, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|i| format!("{prefix}-{i}")).collect();
    for name in &names {
        cluster.service(name, json!({})).await;
    }
    names
}

#[test]
fn it_waits_for_an_api_server_that_is_away_and_goes_on_where_it_was() {
    run(async {
        let mut cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        cluster.server.stop();
        let running = cluster.controller("c", &[]);
        cluster.server.start().unwrap();
        let mut names = create(&cluster, "before", 5).await;
        all_served(&cluster, &names).await;
        let kept = cluster.all_addresses().await;
        cluster.server.stop();
        cluster.server.start().unwrap();
        names.extend(create(&cluster, "after", 5).await);
        all_served(&cluster, &names).await;
        for (name, ips) in kept {
            assert_eq!(cluster.addresses(&name).await, ips, "{name}");
        }
        assert_eq!(running.exit_status(), None);
    });
}

#[test]
fn another_replica_takes_over_when_the_leader_is_killed_stopped_or_frozen() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let mut replicas = Vec::new();
        let mut spare = ["d", "e"].into_iter();
        let mut names = Vec::new();
        for pod in ["a", "b", "c"] {
            replicas.push((pod, cluster.controller(pod, &[])));
            names.extend(create(&cluster, pod, 2).await);
        }
        all_served(&cluster, &names).await;
        for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGSTOP] {
            let leader = holder(&cluster).await;
            let (_, replica) = replicas.iter().find(|(pod, _)| *pod == leader).unwrap();
            replica.signal(signal);
            let start = Instant::now();
            names.extend(create(&cluster, &format!("{signal}").to_lowercase(), 5).await);
            all_served(&cluster, &names).await;
            println!("{signal}: served again after {:?}", start.elapsed());
            if signal == Signal::SIGSTOP {
                // The frozen one wakes up in the belief that it leads, and finds out that it does not.
                replica.signal(Signal::SIGCONT);
                names.extend(create(&cluster, "woken", 5).await);
                all_served(&cluster, &names).await;
            } else {
                wait("the replica to end", async || replica.exit_status()).await;
                replicas.retain(|(pod, _)| *pod != leader);
                let pod = spare.next().unwrap();
                replicas.push((pod, cluster.controller(pod, &[])));
            }
        }
    });
}

#[test]
fn a_server_that_refuses_writes_for_a_while_gets_each_of_them_once() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let proxy = Proxy::start(&cluster).await;
        proxy.set(Mischief::Throttle);
        let _controller = controller(&proxy.kubeconfig(&cluster), "c", &["--leader-elect=false"]);
        let names = create(&cluster, "s", 5).await;
        // Seen and decided, but not written: the event of a refusal comes after them.
        cluster.service("hopeless", json!({"loadBalancerIP": "198.51.100.1"})).await;
        cluster.wait_for_event("hopeless", "198.51.100.1 is in no IPAddressPool").await;
        assert!(cluster.all_addresses().await.iter().all(|(_, ips)| ips.is_empty()));
        proxy.set(Mischief::None);
        all_served(&cluster, &names).await;
        assert_eq!(proxy.status_writes(), names.len());
    });
}

#[test]
fn what_happens_while_the_history_is_lost_is_seen_afterwards_and_nothing_is_written_twice() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/30"]).await;
        let proxy = Proxy::start(&cluster).await;
        let _controller = controller(&proxy.kubeconfig(&cluster), "c", &["--leader-elect=false"]);
        let names = create(&cluster, "s", 4).await;
        all_served(&cluster, &names).await;
        assert_eq!(proxy.status_writes(), 4);
        proxy.set(Mischief::Expire);
        cluster.delete("s-1").await;
        cluster.service("next", json!({})).await;
        cluster.wait_for_addresses("next", &["192.0.2.1"]).await;
        proxy.set(Mischief::None);
        cluster.delete("s-0").await;
        cluster.service("last", json!({})).await;
        cluster.wait_for_addresses("last", &["192.0.2.0"]).await;
        assert_eq!(proxy.status_writes(), 6);
    });
}

#[test]
fn what_happens_before_etcd_is_compacted_is_seen_afterwards_and_nobody_else_is_written() {
    run(async {
        let mut cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/30"]).await;
        let controller = cluster.controller("c", &["--leader-elect=false"]);
        let names = create(&cluster, "s", 4).await;
        all_served(&cluster, &names).await;
        let kept = cluster.services().get("s-0").await.unwrap();
        controller.signal(Signal::SIGSTOP);
        cluster.delete("s-1").await;
        cluster.service("next", json!({})).await;
        cluster.server.compact().unwrap();
        // What the API server itself has kept of the history goes too, and so does the controller's connection.
        cluster.server.stop();
        cluster.server.start().unwrap();
        controller.signal(Signal::SIGCONT);
        cluster.wait_for_addresses("next", &["192.0.2.1"]).await;
        let after = cluster.services().get("s-0").await.unwrap();
        assert_eq!(after.metadata.resource_version, kept.metadata.resource_version);
        assert_eq!(controller.exit_status(), None);
    });
}

#[test]
fn a_leader_that_is_cut_off_gives_way_and_does_no_harm_when_it_is_back() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let proxy = Proxy::start(&cluster).await;
        let _first = controller(&proxy.kubeconfig(&cluster), "first", &[]);
        assert_eq!(holder(&cluster).await, "first");
        let _second = cluster.controller("second", &[]);
        proxy.set(Mischief::Hang);
        let mut names = create(&cluster, "while", 5).await;
        all_served(&cluster, &names).await;
        assert_eq!(holder(&cluster).await, "second");
        proxy.set(Mischief::None);
        names.extend(create(&cluster, "after", 5).await);
        all_served(&cluster, &names).await;
        assert_eq!(proxy.status_writes(), 0);
    });
}

#[test]
fn what_happens_while_the_watches_are_dead_without_a_word_is_seen_within_a_minute() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let proxy = Proxy::start(&cluster).await;
        let _controller = controller(&proxy.kubeconfig(&cluster), "c", &[]);
        let names = create(&cluster, "s", 2).await;
        all_served(&cluster, &names).await;
        proxy.set(Mischief::Mute);
        cluster.service("next", json!({})).await;
        wait_within(Duration::from_mins(1), "an address", async || {
            (!cluster.addresses("next").await.is_empty()).then_some(())
        })
        .await;
        assert_eq!(holder(&cluster).await, "c");
        assert_eq!(proxy.status_writes(), 3);
    });
}

#[test]
fn who_changes_or_goes_while_nobody_looks_costs_one_write_more_or_none() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let names = create(&cluster, "s", 3).await;
        let proxy = Proxy::start(&cluster).await;
        proxy.set(Mischief::BlindAndThrottle);
        let _controller = controller(&proxy.kubeconfig(&cluster), "c", &["--leader-elect=false"]);
        wait("writes to be refused", async || (proxy.refused() >= 3).then_some(())).await;
        // Listed, decided, not written yet; and no watch tells what happens now.
        cluster.patch("s-0", json!({"metadata": {"labels": {"changed": "yes"}}})).await;
        cluster.delete("s-1").await;
        proxy.set(Mischief::Blind);
        let blind = Instant::now();
        cluster.wait_for_addresses("s-2", &["192.0.2.2"]).await;
        wait("all three writes", async || (proxy.status_writes() >= 3).then_some(())).await;
        assert!(cluster.addresses("s-0").await.is_empty(), "that write was for an older version");
        proxy.set(Mischief::None);
        cluster.wait_for_addresses("s-0", &["192.0.2.0"]).await;
        // Of which the controller hears nothing, it tries again after a second.
        let more = 2 * usize::try_from(blind.elapsed().as_secs()).unwrap();
        cluster.service("next", json!({})).await;
        cluster.wait_for_addresses("next", &["192.0.2.1"]).await;
        all_served(&cluster, &[names[0].clone(), names[2].clone()]).await;
        // Three that were served, one conflict, one that was gone.
        let writes = proxy.status_writes();
        assert!((5..=5 + more).contains(&writes), "{writes} writes, at most {more} of them for want of news");
    });
}

#[test]
fn the_clock_of_another_replica_has_no_say_in_who_leads() {
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::jiff::{SignedDuration, Timestamp};
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let leases: kube::Api<Lease> = kube::Api::namespaced(cluster.client.clone(), "metallb-system");
        for hours in [-1, 1] {
            let renewed = Timestamp::now() + SignedDuration::from_hours(hours);
            let lease: Lease = serde_json::from_value(json!({
                "metadata": {"name": "ferrolb-controller"},
                "spec": {
                    "holderIdentity": "elsewhere", "leaseDurationSeconds": 2,
                    "renewTime": format!("{renewed:.6}"), "acquireTime": format!("{renewed:.6}"),
                },
            }))
            .unwrap();
            leases.create(&kube::api::PostParams::default(), &lease).await.unwrap();
            let start = Instant::now();
            let controller = cluster.controller("c", &[]);
            wait("the Lease to change hands", async || (holder(&cluster).await == "c").then_some(())).await;
            let took = start.elapsed();
            assert!(took >= Duration::from_secs(2), "the other one was given its time: {took:?}");
            assert!(took < Duration::from_secs(20), "and not much more: {took:?}");
            controller.kill();
            leases.delete("ferrolb-controller", &kube::api::DeleteParams::default()).await.unwrap();
        }
    });
}

/// The Pod that holds the Lease.
async fn holder(cluster: &Cluster) -> String {
    use k8s_openapi::api::coordination::v1::Lease;
    let leases: kube::Api<Lease> = kube::Api::namespaced(cluster.client.clone(), "metallb-system");
    wait("somebody to lead", async || {
        let lease = leases.get_opt("ferrolb-controller").await.unwrap()?;
        lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
    })
    .await
}

#[test]
fn without_the_api_server_it_is_not_ready_at_first_and_after_a_while_and_goes_on_all_the_same() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let (proxy, bind) = (Proxy::start(&cluster).await, free_address());
        proxy.set(Mischief::Forbid("/"));
        let http = format!("--http-bind={bind}");
        let _controller = start(&proxy.kubeconfig(&cluster), "c", &[&http]);
        wait("to say what it waits for", async || {
            get(&bind, "/readyz").await?.contains("IPAddressPools").then_some(())
        })
        .await;
        proxy.set(Mischief::None);
        wait("to be ready", async || (get(&bind, "/readyz").await? == "ok\n").then_some(())).await;

        proxy.set(Mischief::Hang);
        wait_within(Duration::from_mins(2), "not to be ready", async || {
            get(&bind, "/readyz").await?.contains("API server").then_some(())
        })
        .await;
        assert_eq!(get(&bind, "/healthz").await.unwrap(), "ok\n", "a restart would not help");
        proxy.set(Mischief::None);
        wait_within(Duration::from_mins(2), "to be ready", async || {
            (get(&bind, "/readyz").await? == "ok\n").then_some(())
        })
        .await;
        cluster.service("a", json!({})).await;
        cluster.wait_for_addresses("a", &["192.0.2.0"]).await;
    });
}
