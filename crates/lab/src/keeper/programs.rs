//! How each program is called and configured. Pure: from the address plan to text.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::images::{COREDNS, PAUSE};
use crate::network;
use crate::plan::{Host, IpFamilies, IpFamily, NodeId, ProxyMode};
use crate::state::{AUDIT_LOG, AUDIT_POLICY, INSIDE, PROGRAMS};
use crate::template::{arguments as fill, render};
use crate::tools::Program;

/// Where hosts see the certificates.
pub(super) const PKI: &str = "/run/lab/pki";

/// The environment of everything that runs in a lab.
pub(crate) fn environment() -> [(&'static str, &'static str); 8] {
    [
        ("PATH", "/run/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("KUBECACHEDIR", "/run/lab/kubectl"),
        ("KUBECONFIG", "/run/lab/pki/admin.conf"),
        ("HELM_CACHE_HOME", "/run/lab/helm"),
        ("HELM_CONFIG_HOME", "/run/lab/helm"),
        ("HELM_DATA_HOME", "/run/lab/helm"),
        ("CONTAINERD_NAMESPACE", "k8s.io"),
    ]
}

pub(super) fn path_of(program: Program) -> PathBuf {
    Path::new(PROGRAMS).join(program.name())
}

/// The arguments of a program that the lab runs on a host.
pub(super) fn arguments(host: Host, program: Program, families: IpFamilies) -> Result<Vec<String>> {
    match host {
        Host::Cp => of_control_plane(program, families),
        Host::Node(node) => of_node(node, program, families),
        Host::Client | Host::Router => bail!("{} does not run on {host}", program.name()),
    }
}

fn of_control_plane(program: Program, families: IpFamilies) -> Result<Vec<String>> {
    let pki = ("pki", PKI);
    let data = format!("{INSIDE}/etcd");
    let address = Host::Cp.address(families.first()).to_string();
    let services = families.list(IpFamily::services);
    Ok(match program {
        Program::Etcd => {
            let values = [("data", data.as_str()), ("client_port", "2379"), ("peer_port", "2380")];
            fill(include_str!("../../templates/etcd.args"), &values)
        }
        Program::KubeApiserver => {
            let values = [
                ("etcd_port", "2379"),
                ("address", &address),
                ("port", "6443"),
                ("reconciler", "lease"),
                ("service_cidrs", &services),
                pki,
            ];
            let mut arguments = fill(include_str!("../../templates/kube-apiserver.args"), &values);
            arguments.push(format!("--audit-policy-file={INSIDE}/{AUDIT_POLICY}"));
            arguments.push(format!("--audit-log-path={INSIDE}/{AUDIT_LOG}"));
            arguments
        }
        Program::KubeControllerManager => {
            fill(include_str!("../../templates/kube-controller-manager.args"), &[pki])
        }
        Program::KubeScheduler => fill(include_str!("../../templates/kube-scheduler.args"), &[pki]),
        other => bail!("{} is no program of the control plane", other.name()),
    })
}

fn of_node(node: NodeId, program: Program, families: IpFamilies) -> Result<Vec<String>> {
    let (name, etc) = (node.to_string(), etc(node));
    let addresses = families.list(|family| Host::Node(node).address(family));
    Ok(match program {
        Program::Containerd => vec![format!("--config={etc}/containerd.toml")],
        Program::KubeProxy => vec![format!("--config={etc}/kube-proxy.yaml")],
        Program::Kubelet => {
            let values = [("etc", etc.as_str()), ("node", &name), ("addresses", &addresses), ("pki", PKI)];
            fill(include_str!("../../templates/kubelet.args"), &values)
        }
        other => bail!("{} is no program of a node", other.name()),
    })
}

/// A node's configuration files, as paths below its `etc`, with their text.
pub(super) fn files(
    node: NodeId,
    proxy_mode: ProxyMode,
    families: IpFamilies,
) -> [(&'static str, String); 6] {
    let (name, etc, mode) = (node.to_string(), etc(node), proxy_mode.to_string());
    let first = families.first();
    let (dns, address) = (first.dns().to_string(), first.unspecified().to_string());
    let (registry, pods) = (format!("http://{}", families.registry()), families.list(IpFamily::pods));
    let containerd = [("etc", etc.as_str()), ("pause", PAUSE)];
    let kubelet =
        [("etc", etc.as_str()), ("node", &name), ("pki", PKI), ("dns", &dns), ("address", &address)];
    let proxy =
        [("mode", mode.as_str()), ("node", &name), ("pki", PKI), ("pod_cidrs", &pods), ("address", &address)];
    [
        ("containerd.toml", render(include_str!("../../templates/containerd.toml"), &containerd)),
        (
            "registries/_default/hosts.toml",
            render(include_str!("../../templates/hosts.toml"), &[("registry", &registry)]),
        ),
        ("cni/10-lab.conflist", network::cni(node, families)),
        ("kubelet.yaml", render(include_str!("../../templates/kubelet.yaml"), &kubelet)),
        ("kube-proxy.yaml", render(include_str!("../../templates/kube-proxy.yaml"), &proxy)),
        ("resolv.conf", String::new()),
    ]
}

/// Manifests of the Node objects, each with its pods' addresses, and of CoreDNS.
pub(super) fn objects(nodes: u8, families: IpFamilies) -> String {
    let node = |node: NodeId| {
        let (name, first) = (node.to_string(), node.pods(families.first()));
        let all = families.list(|family| format!("{:?}", node.pods(family)));
        let values = [("node", name.as_str()), ("first", &first), ("all", &all)];
        render(include_str!("../../templates/node.yaml"), &values)
    };
    let dns = families.first().dns().to_string();
    let coredns = render(include_str!("../../templates/coredns.yaml"), &[("image", COREDNS), ("dns", &dns)]);
    NodeId::all(nodes).map(node).chain([coredns]).collect()
}

/// Where a node sees its configuration.
fn etc(node: NodeId) -> String {
    format!("{INSIDE}/hosts/{node}/etc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n2() -> NodeId {
        "n2".parse().unwrap()
    }

    /// What a template leaves open looks like `{name}` with nothing but letters inside.
    fn holes(text: &str) -> Vec<&str> {
        let inside =
            text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside);
        inside
            .filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            .collect()
    }

    #[test]
    fn every_template_is_filled_completely() {
        for (file, text) in files(n2(), ProxyMode::Iptables, IpFamilies::Dual6) {
            assert_eq!(holes(&text), [""; 0], "{file}");
        }
        assert_eq!(holes(&objects(3, IpFamilies::Dual6)), [""; 0]);
        for (host, program) in [
            (Host::Cp, Program::Etcd),
            (Host::Cp, Program::KubeApiserver),
            (Host::Cp, Program::KubeControllerManager),
            (Host::Cp, Program::KubeScheduler),
            (Host::Node(n2()), Program::Containerd),
            (Host::Node(n2()), Program::Kubelet),
            (Host::Node(n2()), Program::KubeProxy),
        ] {
            let arguments = arguments(host, program, IpFamilies::Dual6).unwrap().join(" ");
            assert!(arguments.starts_with("--") && holes(&arguments).is_empty(), "{arguments}");
        }
    }

    #[test]
    fn kubelet_has_the_addresses_in_their_order_and_kube_proxy_its_mode() {
        for (families, expected) in [
            (IpFamilies::Dual4, "--node-ip=172.16.211.12,fd00:172:16:211::12"),
            (IpFamilies::Dual6, "--node-ip=fd00:172:16:211::12,172.16.211.12"),
            (IpFamilies::Ipv6, "--node-ip=fd00:172:16:211::12"),
        ] {
            let kubelet = arguments(Host::Node(n2()), Program::Kubelet, families).unwrap();
            assert!(kubelet.contains(&expected.to_owned()), "{kubelet:?}");
        }
        let files = files(n2(), ProxyMode::Iptables, IpFamilies::Dual4);
        assert!(
            files.iter().any(|(file, text)| *file == "kube-proxy.yaml" && text.contains("mode: iptables\n"))
        );
    }

    #[test]
    fn a_program_runs_only_where_it_belongs() {
        for (host, program) in [
            (Host::Cp, Program::Kubelet),
            (Host::Node(n2()), Program::Etcd),
            (Host::Client, Program::Kubelet),
        ] {
            assert!(arguments(host, program, IpFamilies::Dual4).is_err());
        }
    }
}
