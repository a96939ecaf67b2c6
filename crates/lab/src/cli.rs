//! The command line, as `cargo xtask lab` and as the program `lab`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::control::Power;
use crate::plan::{Host, IpFamilies, LabName, NodeId, ProxyMode, Router};
use crate::{Lab, Options, chart, cluster, debian, demo, metallb, roles, ui};

/// A real Kubernetes cluster on this machine, without Docker.
///
/// Without a subcommand: starts one, installs FerroLB, and shows what it does, step by step.
#[derive(Debug, Args)]
pub struct LabArgs {
    /// End when everything was shown; the exit status says whether every step held.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    shape: Shape,
    /// Which lab: those with different names run side by side.
    #[arg(long, global = true, env = "FERROLB_LAB", default_value = "lab")]
    name: LabName,
    #[command(subcommand)]
    command: Option<LabCommand>,
}

#[derive(Debug, Args)]
struct Shape {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(crate::plan::MAX_NODES)))]
    nodes: u8,
    /// How kube-proxy writes its rules.
    #[arg(long, value_enum, default_value_t)]
    proxy_mode: ProxyMode,
    /// Which addresses it has; nodes, Pods and Services are known by those of the first family.
    #[arg(long, value_enum, default_value_t)]
    ip_family: IpFamilies,
    /// Put a router between the client and the nodes, which speaks BGP with each of them.
    #[arg(long, value_enum)]
    router: Option<Router>,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Start a cluster with FerroLB, and leave it running.
    Up {
        /// Leave FerroLB out.
        #[arg(long)]
        bare: bool,
        /// Install MetalLB in its place.
        #[arg(long, conflicts_with = "bare")]
        metallb: bool,
        #[command(flatten)]
        shape: Shape,
    },
    /// Remove a lab, also one that died half way.
    Down,
    /// Show what the hosts are doing.
    Status,
    /// Run kubectl as the cluster's administrator.
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run Helm as the cluster's administrator.
    #[command(disable_help_flag = true)]
    Helm {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run a command on a host: client, cp, router, n1, ...
    Exec {
        host: Host,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Add the images of an OCI archive to the cluster.
    Load { archive: PathBuf },
    /// Cut a node's power.
    Poweroff { node: NodeId },
    /// Switch a node on again.
    Poweron { node: NodeId },
    /// Pull a node's network cable.
    Unplug { node: NodeId },
    /// Put it back.
    Plug { node: NodeId },
    /// Show the log of a program: kubelet, containerd, kube-proxy; on cp kube-apiserver, etcd, ...; on router bgpd, bird, ...
    Logs {
        host: Host,
        program: String,
        /// Go on as the log grows.
        #[arg(short, long)]
        follow: bool,
    },
}

#[derive(Debug, Parser)]
#[command(name = "lab", version, about)]
struct Cli {
    #[command(flatten)]
    lab: LabArgs,
}

/// The program `lab`.
pub fn main() -> ExitCode {
    roles::run_if_asked();
    run(Cli::parse().lab)
}

/// Does what the arguments say, and reports errors.
pub fn run(arguments: LabArgs) -> ExitCode {
    match act(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: LabArgs) -> Result<ExitCode> {
    let LabArgs { once, shape, name, command } = arguments;
    let open = || Lab::open(&name);
    match command {
        None => demo::run(shape.options(name), once)?,
        Some(LabCommand::Up { bare, metallb, shape }) => up(bare, metallb, shape.options(name))?,
        Some(LabCommand::Down) => {
            let began = Instant::now();
            cluster::down(&name)?;
            println!("The lab {name} is down ({}).", ui::human(began.elapsed()));
        }
        Some(LabCommand::Status) => status(&open()?)?,
        Some(LabCommand::Kubectl { arguments }) => return attach(&open()?, Host::Cp, "kubectl", arguments),
        Some(LabCommand::Helm { arguments }) => return attach(&open()?, Host::Cp, "helm", arguments),
        Some(LabCommand::Exec { host, mut command }) => {
            let program = command.remove(0);
            return attach(&open()?, host, program, command);
        }
        Some(LabCommand::Load { archive }) => open()?.load(&archive)?,
        Some(LabCommand::Poweroff { node }) => open()?.poweroff(node)?,
        Some(LabCommand::Poweron { node }) => open()?.poweron(node)?,
        Some(LabCommand::Unplug { node }) => open()?.unplug(node)?,
        Some(LabCommand::Plug { node }) => open()?.plug(node)?,
        Some(LabCommand::Logs { host, program, follow }) => return logs(&open()?, host, &program, follow),
    }
    Ok(ExitCode::SUCCESS)
}

impl Shape {
    fn options(self, name: LabName) -> Options {
        let Self { nodes, proxy_mode, ip_family: families, router } = self;
        Options { name, nodes, proxy_mode, families, router }
    }
}

fn up(bare: bool, metallb: bool, options: Options) -> Result<()> {
    debian::ensure_installed(options.router)?;
    let image = if bare || metallb { None } else { Some(chart::build_image()?) };
    let lab = Lab::start(options)?;
    let installed = match image {
        Some(image) => chart::install(&lab, &image),
        None if metallb => metallb::install(&lab),
        None => Ok(()),
    };
    installed.inspect_err(|_| demo::explain_failure(&lab))?;
    lab.detach()
}

fn status(lab: &Lab) -> Result<()> {
    println!("{:<8}{:<11}{:>9}  PROGRAMS", "HOST", "POWER", "PROCESSES");
    for host in lab.status()? {
        let power = match host.power {
            Power::On => "on",
            Power::Unplugged => "unplugged",
            Power::Off => "off",
        };
        let running = host.running.iter().map(|program| program.name().to_owned());
        let ended = host.ended.iter().map(|program| format!("{} (ended)", program.name()));
        let programs: Vec<String> = running.chain(ended).collect();
        println!("{:<8}{power:<11}{:>9}  {}", host.host.to_string(), host.processes, programs.join(", "));
    }
    Ok(())
}

fn attach(lab: &Lab, host: Host, program: impl Into<OsString>, arguments: Vec<OsString>) -> Result<ExitCode> {
    let status = lab.attach(host, [program.into()].into_iter().chain(arguments))?;
    Ok(exit_code(status))
}

/// The exit code a shell would give.
fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn logs(lab: &Lab, host: Host, program: &str, follow: bool) -> Result<ExitCode> {
    let logs = lab.logs(host)?;
    let Some(log) = logs.get(program) else {
        let names: Vec<&str> = logs.keys().map(String::as_str).collect();
        bail!(
            "{host} has no log of {program}: it has {}",
            if names.is_empty() { "none".into() } else { names.join(", ") }
        );
    };
    let mut tail = Command::new("tail");
    tail.args(["--lines=+1"]).args(follow.then_some("--follow")).arg(log);
    Ok(exit_code(tail.status().context("starting tail")?))
}
