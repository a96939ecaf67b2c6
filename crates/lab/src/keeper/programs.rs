//! How each program is called and configured. Pure: from the address plan to text.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::images::{COREDNS, PAUSE};
use crate::network;
use crate::plan::{DNS, Host, NodeId, POD_CIDRS, ProxyMode, REGISTRY_PORT, SERVICE_CIDRS};
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
pub(super) fn arguments(host: Host, program: Program) -> Result<Vec<String>> {
    match host {
        Host::Cp => of_control_plane(program),
        Host::Node(node) => of_node(node, program),
        Host::Client => bail!("the lab runs nothing on the client"),
    }
}

fn of_control_plane(program: Program) -> Result<Vec<String>> {
    let pki = ("pki", PKI);
    let data = format!("{INSIDE}/etcd");
    let address = Host::Cp.ipv4().to_string();
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
                ("service_cidrs", SERVICE_CIDRS),
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

fn of_node(node: NodeId, program: Program) -> Result<Vec<String>> {
    let (name, etc, host) = (node.to_string(), etc(node), Host::Node(node));
    let (ipv4, ipv6) = (host.ipv4().to_string(), host.ipv6().to_string());
    Ok(match program {
        Program::Containerd => vec![format!("--config={etc}/containerd.toml")],
        Program::KubeProxy => vec![format!("--config={etc}/kube-proxy.yaml")],
        Program::Kubelet => {
            let values =
                [("etc", etc.as_str()), ("node", &name), ("ipv4", &ipv4), ("ipv6", &ipv6), ("pki", PKI)];
            fill(include_str!("../../templates/kubelet.args"), &values)
        }
        other => bail!("{} is no program of a node", other.name()),
    })
}

/// A node's configuration files, as paths below its `etc`, with their text.
pub(super) fn files(node: NodeId, proxy_mode: ProxyMode) -> [(&'static str, String); 6] {
    let (name, etc, dns, mode) = (node.to_string(), etc(node), DNS.to_string(), proxy_mode.to_string());
    let registry = format!("http://{}:{REGISTRY_PORT}", Host::Cp.ipv4());
    let containerd = [("etc", etc.as_str()), ("pause", PAUSE)];
    let kubelet = [("etc", etc.as_str()), ("node", &name), ("pki", PKI), ("dns", &dns)];
    let proxy = [("mode", mode.as_str()), ("node", &name), ("pki", PKI), ("pod_cidrs", POD_CIDRS)];
    [
        ("containerd.toml", render(include_str!("../../templates/containerd.toml"), &containerd)),
        (
            "registries/_default/hosts.toml",
            render(include_str!("../../templates/hosts.toml"), &[("registry", &registry)]),
        ),
        ("cni/10-lab.conflist", network::cni(node)),
        ("kubelet.yaml", render(include_str!("../../templates/kubelet.yaml"), &kubelet)),
        ("kube-proxy.yaml", render(include_str!("../../templates/kube-proxy.yaml"), &proxy)),
        ("resolv.conf", String::new()),
    ]
}

/// Manifests of the Node objects, each with its pods' addresses, and of CoreDNS.
pub(super) fn objects(nodes: u8) -> String {
    let node = |node: NodeId| {
        let (name, pods4, pods6) = (node.to_string(), node.pods4(), node.pods6());
        let values = [("node", name.as_str()), ("pods4", &pods4), ("pods6", &pods6)];
        render(include_str!("../../templates/node.yaml"), &values)
    };
    let dns = DNS.to_string();
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
        for (file, text) in files(n2(), ProxyMode::Iptables) {
            assert_eq!(holes(&text), [""; 0], "{file}");
        }
        assert_eq!(holes(&objects(3)), [""; 0]);
        for (host, program) in [
            (Host::Cp, Program::Etcd),
            (Host::Cp, Program::KubeApiserver),
            (Host::Cp, Program::KubeControllerManager),
            (Host::Cp, Program::KubeScheduler),
            (Host::Node(n2()), Program::Containerd),
            (Host::Node(n2()), Program::Kubelet),
            (Host::Node(n2()), Program::KubeProxy),
        ] {
            let arguments = arguments(host, program).unwrap().join(" ");
            assert!(arguments.starts_with("--") && holes(&arguments).is_empty(), "{arguments}");
        }
    }

    #[test]
    fn kubelet_has_both_addresses_and_kube_proxy_its_mode() {
        let kubelet = arguments(Host::Node(n2()), Program::Kubelet).unwrap();
        assert!(kubelet.contains(&"--node-ip=172.16.211.12,fd00:172:16:211::12".to_owned()));
        let files = files(n2(), ProxyMode::Iptables);
        assert!(
            files.iter().any(|(file, text)| *file == "kube-proxy.yaml" && text.contains("mode: iptables\n"))
        );
    }

    #[test]
    fn a_program_runs_only_where_it_belongs() {
        assert!(arguments(Host::Cp, Program::Kubelet).is_err());
        assert!(arguments(Host::Node(n2()), Program::Etcd).is_err());
        assert!(arguments(Host::Client, Program::Kubelet).is_err());
    }
}
