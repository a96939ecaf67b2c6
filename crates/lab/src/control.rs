//! What a lab's keeper can be asked to do: one JSON line to its socket, one back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::plan::{Host, NodeId};
use crate::tools::Program;

/// A request to the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Cuts a node's power: its link and all its processes are gone at once.
    PowerOff(NodeId),
    /// Switches a node on again; answered when its programs are started.
    PowerOn(NodeId),
    /// Pulls a node's cable.
    Unplug(NodeId),
    /// Puts it back.
    Plug(NodeId),
    /// Kills a program.
    Kill(Host, Program),
    /// Starts a program that does not run.
    Start(Host, Program),
    /// Asks for a [`HostStatus`] of each host.
    Status,
    /// Ends the lab.
    Down,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Response {
    Done,
    Status(Vec<HostStatus>),
    Failed(String),
}

/// What the keeper knows of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Which host.
    pub host: Host,
    /// What it is doing.
    pub power: Power,
    /// Programs that the lab started there and that run.
    pub running: Vec<Program>,
    /// Programs that the lab started there and that have ended.
    pub ended: Vec<Program>,
    /// How many processes it has, pods included.
    pub processes: usize,
}

/// Whether a host is on, and reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// On and connected.
    On,
    /// On, but its cable is pulled.
    Unplugged,
    /// Off.
    Off,
}

/// What the keeper tells its owner while it starts, one JSON line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A part of the start is complete.
    Step(String),
    /// All nodes are Ready.
    Ready,
    /// The start failed; everything is being removed but the logs.
    Failed(String),
}

/// What the owner may tell the keeper on its standard input after the [`crate::state::Spec`]: from now on, live on
/// without an owner. The end of the input means the opposite: the owner is gone, so everything must go.
pub(crate) const DETACH: &str = "detach";

/// Asks the keeper that listens at `socket`.
pub(crate) fn ask(socket: &Path, request: Request) -> Result<Response> {
    let mut stream = UnixStream::connect(socket).context("connecting to the lab's keeper: is the lab up?")?;
    write_line(&mut stream, &request)?;
    let answer: Response = read_line(&mut BufReader::new(stream)).context("asking the lab's keeper")?;
    match answer {
        Response::Failed(reason) => bail!(reason),
        answer => Ok(answer),
    }
}

pub(crate) fn write_line(to: &mut impl Write, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    to.write_all(line.as_bytes())?;
    Ok(to.flush()?)
}

pub(crate) fn read_line<T: for<'a> Deserialize<'a>>(from: &mut impl BufRead) -> Result<T> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    if line.is_empty() {
        bail!("the other side has closed the connection");
    }
    serde_json::from_str(&line).with_context(|| format!("reading {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let node: NodeId = "n2".parse().unwrap();
        for request in [
            Request::PowerOff(node),
            Request::Kill(Host::Cp, Program::KubeApiserver),
            Request::Start(Host::Node(node), Program::Kubelet),
            Request::Status,
        ] {
            let mut line = Vec::new();
            write_line(&mut line, &request).unwrap();
            assert_eq!(read_line::<Request>(&mut line.as_slice()).unwrap(), request);
        }
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        assert!(read_line::<Request>(&mut [].as_slice()).is_err());
    }
}
