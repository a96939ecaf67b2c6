//! NetworkPolicies that are enforced: by kube-router, of which nothing runs but the firewall.
//!
//! A lab has none of it, and so enforces none, until somebody asks for it. This version of kube-router governs IPv4 only.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::plan::{Host, IpFamily};
use crate::process::{Running, tail};
use crate::tools::{Program, Tools};
use crate::{Lab, wait_until};

/// It reads all Pods, Namespaces and policies first.
const WORKS_WITHIN: Duration = Duration::from_secs(30);

/// What kube-router leaves in a node's filter table when it ends, and what these rules refer to.
const REMOVE: &str = "iptables-save -t filter | grep -v -e KUBE-ROUTER- -e KUBE-NWPLCY- -e KUBE-POD-FW- | iptables-restore \
                      && ipset destroy";

/// While it lives, all nodes enforce NetworkPolicies.
#[derive(Debug)]
pub struct Enforcer<'a> {
    lab: &'a Lab,
    running: Vec<(Host, Running)>,
}

/// Starts to enforce the NetworkPolicies that there are and that come. Returns when all nodes are about to.
pub fn enforce(lab: &Lab) -> Result<Enforcer<'_>> {
    let tools = Tools::ensure(&[Program::KubeRouter])?;
    let mut enforcer = Enforcer { lab, running: Vec::new() };
    for node in lab.nodes() {
        let host = Host::Node(node);
        let command = command(tools.path(Program::KubeRouter), host);
        let running = lab.spawn(host, &command, Some(&lab.log(host, Program::KubeRouter)))?;
        enforcer.running.push((host, running));
    }
    for (host, running) in &enforcer.running {
        wait_until(&format!("kube-router works on {host}"), WORKS_WITHIN, || {
            if let Some(status) = running.exit_status() {
                let log = lab.log(*host, Program::KubeRouter);
                bail!("kube-router ended with {status}: {}", tail(&log, 5));
            }
            // It makes this chain when it knows all, just before the first pass over the policies.
            lab.run(*host, ["iptables", "-S", "KUBE-NWPLCY-DEFAULT"])
        })?;
    }
    Ok(enforcer)
}

/// Makes all nodes forget who talked to whom over UDP on a port, so that the next packet is judged like a first one:
/// what was let through before there was a policy goes on otherwise for as long as packets come.
pub fn forget_udp(lab: &Lab, port: u16) -> Result<()> {
    let port = port.to_string();
    let forget = ["conntrack", "--delete", "--proto", "udp", "--dport", &port];
    lab.nodes().try_for_each(|node| lab.run(Host::Node(node), forget).map(drop))
}

fn command(program: &Path, host: Host) -> [String; 8] {
    let services = IpFamily::V4.services();
    [
        program.display().to_string(),
        "--run-firewall=true".into(),
        "--run-router=false".into(),
        "--run-service-proxy=false".into(),
        "--health-port=0".into(),
        "--kubeconfig=/run/lab/pki/admin.conf".into(),
        format!("--hostname-override={host}"),
        format!("--service-cluster-ip-range={services}"),
    ]
}

impl Drop for Enforcer<'_> {
    fn drop(&mut self) {
        for (host, running) in self.running.drain(..) {
            running.kill();
            if let Err(error) = self.lab.run(host, ["sh", "-c", REMOVE]) {
                eprintln!("removing the rules of NetworkPolicies on {host}: {error:#}");
            }
        }
    }
}
