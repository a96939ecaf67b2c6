//! The start of a lab: everything that can go on at the same time does.
//!
//! ```text
//! init, bridge, cables ─┬─ etcd, API server ─────────────── Node objects ─┬─ kubelet, kube-proxy of each node ── Ready
//!                       │                    └ controllers, scheduler     │
//!                       └─ each node: init, containerd ───────────────────┘
//! ```

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use tokio::net::TcpListener;

use super::programs::{self, PKI};
use super::{Keeper, tell};
use crate::apiserver::{READY_WITHIN, ready_question};
use crate::control::Event;
use crate::init;
use crate::network::{self, Link};
use crate::pki::{Authority, Subject};
use crate::plan::{Host, NodeId};
use crate::process::{output, tail};
use crate::state::{AUDIT_POLICY, Namespaces, Spot};
use crate::tools::Program;

/// Nodes are Ready a few seconds after their kubelet has started.
const NODES_READY_WITHIN: Duration = Duration::from_mins(2);
/// How long the API server's first minutes may make a request wait.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(30);

impl Keeper {
    pub(super) fn start(&mut self) -> Result<()> {
        let nodes: Vec<NodeId> = NodeId::all(self.spec.nodes).collect();
        self.write_files(&nodes)?;
        self.start_network(&nodes)?;
        self.serve_images()?;
        tell(&Event::Step(format!("a LAN with {} nodes and a client", nodes.len())));
        if let Some(router) = self.spec.router {
            self.router = self.start_router(router).with_context(|| format!("starting {router}"))?;
            tell(&Event::Step(format!("{router} between the two")));
        }

        let keeper = &*self;
        let (control_plane, booted) = thread::scope(|scope| {
            let control_plane = scope.spawn(|| keeper.start_control_plane());
            let booting: Vec<_> = nodes.iter().map(|&node| scope.spawn(move || keeper.boot(node))).collect();
            let booted: Vec<_> = booting.into_iter().map(thread::ScopedJoinHandle::join).collect();
            (control_plane.join(), booted)
        });
        let panicked = |_| anyhow!("a thread of the lab's keeper panicked");
        self.programs.extend(control_plane.map_err(panicked)??);
        for (&node, booted) in nodes.iter().zip(booted) {
            let (init, containerd) = booted.map_err(panicked)?.with_context(|| format!("starting {node}"))?;
            self.inits.insert(Some(node), init);
            self.programs.insert((Host::Node(node), Program::Containerd), containerd);
        }
        for &node in &nodes {
            for program in [Program::Kubelet, Program::KubeProxy] {
                self.start_again(Host::Node(node), program)?;
            }
        }
        self.wait_until_ready()
    }

    fn write_files(&self, nodes: &[NodeId]) -> Result<()> {
        let root = self.state.root();
        for folder in ["mnt", "bin", "images", "etcd", "helm"] {
            fs::create_dir_all(root.join(folder)).with_context(|| format!("creating {}", root.display()))?;
        }
        for host in Host::all(self.spec.nodes, self.spec.router) {
            fs::create_dir_all(self.state.logs(host))?;
            self.cgroups.create(host)?;
        }
        fs::write(self.state.spec(), serde_json::to_string_pretty(&self.spec)?)?;
        fs::write(root.join(AUDIT_POLICY), include_str!("../../templates/audit.yaml"))?;
        fs::copy("/proc/self/exe", root.join("program")).context("copying this program into the lab")?;
        for (program, path) in self.spec.tools.iter() {
            link_or_copy(path, &root.join("bin").join(program.name()))?;
        }
        for image in &self.spec.images {
            let name = image.file_name().with_context(|| format!("{} is no file", image.display()))?;
            let target = self.state.images().join(name);
            link_or_copy(image, &target)?;
        }
        for &node in nodes {
            self.configure(node)?;
        }
        self.certify(nodes)
    }

    fn certify(&self, nodes: &[NodeId]) -> Result<()> {
        let authority = Authority::create(&self.state.pki())?;
        let seen_as = Path::new(PKI);
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let families = self.spec.families;
        let places =
            families.all().iter().flat_map(|&family| [Host::Cp.address(family), family.kubernetes()]);
        let addresses = places.map(|address| address.to_string()).chain(["127.0.0.1".into()]);
        let names: Vec<String> = names.map(str::to_owned).into_iter().chain(addresses).collect();
        let server = &families.api_server();
        authority.api_server(&names, server, seen_as)?;
        for name in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
            let user = format!("system:{name}");
            authority.issue(name, Subject { user: &user, group: None }, &[])?;
            authority.kubeconfig(name, server, seen_as)?;
        }
        for &node in nodes {
            let (name, host) = (node.to_string(), Host::Node(node));
            let user = format!("system:node:{name}");
            let addresses = families.all().iter().map(|&family| host.address(family).to_string());
            let names: Vec<String> = [name.clone()].into_iter().chain(addresses).collect();
            authority.issue(&name, Subject { user: &user, group: Some("system:nodes") }, &names)?;
            authority.kubeconfig(&name, server, seen_as)?;
        }
        Ok(())
    }

    fn start_network(&mut self, nodes: &[NodeId]) -> Result<()> {
        let state = self.state.clone();
        let enter = move || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET)?;
            init::prepare_lab(&state).map_err(io::Error::other)
        };
        let init = self.launch_init(Spot::Switch, None, Box::new(enter))?;
        self.inits.insert(None, init);
        self.must(
            Spot::Switch,
            "ip",
            &["-batch", "-"],
            &network::bridges(self.spec.families, self.spec.router),
        )?;
        for host in Host::all(self.spec.nodes, self.spec.router) {
            self.connect(host).with_context(|| format!("connecting {host} to the LAN"))?;
        }
        self.links.extend(nodes.iter().map(|&node| (node, Link::Up)));
        Ok(())
    }

    /// Serves the lab's images on the control plane's host, for as long as the keeper lives.
    fn serve_images(&self) -> Result<()> {
        let listener = Namespaces::network(&self.state, Host::Cp)?
            .run(|| Ok(std::net::TcpListener::bind(self.spec.families.registry())?))
            .context("listening for the image registry")?;
        listener.set_nonblocking(true)?;
        let images = self.state.images();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let serve = move || {
            let served = runtime.block_on(async {
                ::images::registry::serve(TcpListener::from_std(listener)?, images).await
            });
            if let Err(error) = served {
                eprintln!("the image registry: {error}");
            }
        };
        thread::Builder::new().name("registry".into()).spawn(serve)?;
        Ok(())
    }

    fn start_control_plane(&self) -> Result<Vec<((Host, Program), crate::process::Running)>> {
        let start = |program| {
            let child = self.launch(Host::Cp, program)?;
            Ok::<_, anyhow::Error>(((Host::Cp, program), child))
        };
        let mut programs = vec![start(Program::Etcd)?, start(Program::KubeApiserver)?];
        let deadline = Instant::now() + READY_WITHIN;
        while !self.api_server_is_ready()? {
            for ((host, program), child) in &programs {
                if let Some(status) = child.exit_status() {
                    let log = self.state.log(*host, *program);
                    bail!(
                        "{} ended with {status}; {} ends:\n{}",
                        program.name(),
                        log.display(),
                        tail(&log, 10)
                    );
                }
            }
            let log = self.state.log(Host::Cp, Program::KubeApiserver);
            ensure!(
                Instant::now() < deadline,
                "the API server is not ready after {READY_WITHIN:?}; its log is {}",
                log.display()
            );
            thread::sleep(Duration::from_millis(50));
        }
        tell(&Event::Step("etcd and the API server".into()));
        programs.push(start(Program::KubeControllerManager)?);
        programs.push(start(Program::KubeScheduler)?);
        self.create_objects()?;
        Ok(programs)
    }

    fn api_server_is_ready(&self) -> Result<bool> {
        let place = self.state.place(Spot::Host(Host::Cp), &self.cgroups)?;
        let answer = output(ready_question(Path::new(PKI), &self.spec.families.api_server()), place, b"")
            .context("starting curl")?;
        Ok(answer.status.success())
    }

    /// Creates the Node objects, each with its pods' addresses, before the kubelets would, and CoreDNS.
    fn create_objects(&self) -> Result<()> {
        let objects = programs::objects(self.spec.nodes, self.spec.families);
        let arguments = ["apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-"];
        let deadline = Instant::now() + ACCEPTED_WITHIN;
        // The API server says that it is ready a moment before the kube-system namespace exists.
        loop {
            match self.must(Spot::Host(Host::Cp), "kubectl", &arguments, &objects) {
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("creating Nodes and CoreDNS");
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn wait_until_ready(&self) -> Result<()> {
        let timeout = format!("--timeout={}s", NODES_READY_WITHIN.as_secs());
        let arguments = ["wait", "--for=condition=Ready", "nodes", "--all", &timeout];
        self.must(Spot::Host(Host::Cp), "kubectl", &arguments, "").with_context(|| {
            format!(
                "waiting for the nodes; kubelet's logs are {}/log/n*/kubelet.log",
                self.state.root().display()
            )
        })
    }
}

/// Programs and images are large, and usually on the same file system as the lab.
fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(drop))
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))
}
