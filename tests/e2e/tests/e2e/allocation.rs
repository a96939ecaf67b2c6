//! Who gets which address.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Role, SOON, objects};
use lab::{chart, wait_until};
use serde_json::json;

use crate::with_cluster;

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 211, last)
}

/// The versions of Services, which tell whether they were written to.
fn versions(cluster: &Cluster, names: &[&str]) -> Result<Vec<String>> {
    let version = |name: &&str| {
        let service = cluster.kubectl_json(["get", "service", name])?;
        Ok(service["metadata"]["resourceVersion"].as_str().context("it has a version")?.to_owned())
    };
    names.iter().map(version).collect()
}

#[test]
fn addresses_are_given_lowest_first_in_listed_order_and_freed_ones_again() {
    with_cluster(|cluster| {
        cluster
            .apply([&objects::pool("ordered", &["172.16.211.224/31", "172.16.211.220-172.16.211.221"])])?;
        let given = ["a", "b", "c", "d"].map(|name| cluster.balance(name));
        let given = given.into_iter().collect::<Result<Vec<_>>>()?;
        assert_eq!(given, [224, 225, 220, 221].map(v4));

        cluster.kubectl(["delete", "service", "b"])?;
        assert_eq!(cluster.balance("e")?, v4(225), "the only one that is free");
        cluster.kubectl(["delete", "service", "d", "a"])?;
        assert_eq!(cluster.balance("f")?, v4(224), "the first in the list of two that are free");
        Ok(())
    });
}

#[test]
fn a_reserved_address_is_kept_for_the_service_that_names_the_reservation() {
    with_cluster(|cluster| {
        let reservation = json!({
            "apiVersion": "ferrolb.io/v1alpha1", "kind": "AddressReservation",
            "metadata": {"name": "front", "namespace": e2e::NAMESPACE}, "spec": {"addresses": ["172.16.211.224"]},
        });
        cluster.apply([&objects::pool("kept", &["172.16.211.224/30"]), &reservation])?;
        wait_until("the address is reserved", SOON, || {
            let front = cluster.kubectl_json(["get", "addressreservation", "front"])?;
            ensure!(front["status"]["addresses"] == json!(["172.16.211.224"]), "{front}");
            Ok(())
        })?;
        assert_eq!(cluster.balance("other")?, v4(225));
        let mut front = objects::load_balancer("front");
        front["metadata"]["annotations"] = json!({"ferrolb.io/address-reservation": "front"});
        for _ in 0..2 {
            cluster.apply([&front])?;
            cluster.wait_until_it_has("front", v4(224))?;
            cluster.kubectl(["delete", "service", "front"])?;
        }
        Ok(())
    });
}

#[test]
fn a_service_gets_addresses_of_the_families_it_has() {
    with_cluster(|cluster| {
        let range6 = "fd00:172:16:211::e0-fd00:172:16:211::ef";
        cluster.apply([&objects::pool("both", &["172.16.211.224/28", range6])])?;
        let ip = |text: &str| text.parse::<IpAddr>().map_err(anyhow::Error::from);
        let first4 = ip("172.16.211.224")?;
        for (name, spec, expected) in [
            ("v4", json!({"ipFamilies": ["IPv4"]}), vec![first4]),
            ("v6", json!({"ipFamilies": ["IPv6"]}), vec![ip("fd00:172:16:211::e0")?]),
            (
                "required",
                json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}),
                vec![ip("172.16.211.225")?, ip("fd00:172:16:211::e1")?],
            ),
            (
                "preferred",
                json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]}),
                vec![ip("172.16.211.226")?, ip("fd00:172:16:211::e2")?],
            ),
        ] {
            let mut service = objects::service(name, &spec);
            service["spec"]["type"] = json!("LoadBalancer");
            cluster.apply([&service])?;
            assert_eq!(cluster.wait_for_addresses(name)?, expected, "{name}");
        }
        Ok(())
    });
}

#[test]
fn a_service_that_stops_being_a_load_balancer_loses_its_address_to_one_that_waits() {
    with_cluster(|cluster| {
        cluster.apply([&objects::pool("single", &["172.16.211.226/32"])])?;
        let address = cluster.balance("holder")?;
        cluster.apply([&objects::load_balancer("waiting")])?;
        cluster.wait_for_warning(e2e::NAMESPACE, "Service", "waiting", "pool single: exhausted (1 of 1)")?;

        cluster.kubectl(["patch", "service", "holder", "-p", r#"{"spec":{"type":"ClusterIP"}}"#])?;
        assert_eq!(cluster.wait_for_address("waiting")?, address);
        wait_until("the former holder bears nothing of it any more", SOON, || {
            let service = cluster.kubectl_json(["get", "service", "holder"])?;
            let (status, metadata) = (&service["status"], &service["metadata"]);
            ensure!(*status == json!({"loadBalancer": {}}), "its status is {status}");
            let annotations = metadata["annotations"].as_object().into_iter().flatten();
            let ours: Vec<_> = annotations.filter(|(name, _)| name.contains("metallb")).collect();
            ensure!(ours.is_empty(), "it has {ours:?}");
            Ok(())
        })
    });
}

#[test]
fn addresses_are_kept_when_the_controller_starts_again() {
    with_cluster(|cluster| {
        cluster.apply([&objects::pool("kept", &["172.16.211.224/29"])])?;
        for name in ["first", "second", "third"] {
            cluster.balance(name)?;
        }
        // A gap below: who decides anew would close it.
        cluster.kubectl(["delete", "service", "first"])?;
        let before = versions(cluster, &["second", "third"])?;

        let labels = format!("app.kubernetes.io/component={}", Role::Controller);
        cluster.kubectl(["delete", "pods", "-n", chart::NAMESPACE, "-l", &labels])?;
        cluster.apply([&objects::load_balancer("fourth")])?;
        assert_eq!(cluster.wait_for_address("fourth")?, v4(224), "what was freed before");
        assert_eq!(cluster.wait_for_address("second")?, v4(225));
        assert_eq!(cluster.wait_for_address("third")?, v4(226));
        assert_eq!(versions(cluster, &["second", "third"])?, before, "nobody wrote to them");
        Ok(())
    });
}
