//! The API server of the component tests keeps its promises.

use std::process::Command;

use anyhow::{Result, ensure};
use lab::apiserver::ApiServer;
use lab::tools::{Program, Tools};

fn kubectl(server: &ApiServer, arguments: &[&str]) -> Result<String> {
    let tools = Tools::ensure(&[Program::Kubectl])?;
    let mut command = Command::new(tools.path(Program::Kubectl));
    let output = command.arg("--kubeconfig").arg(server.kubeconfig()).args(arguments).output()?;
    ensure!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn what_was_stored_survives_a_restart_of_the_api_server() -> Result<()> {
    let mut server = ApiServer::launch()?;
    kubectl(&server, &["create", "configmap", "kept", "--from-literal=a=b"])?;
    server.stop();
    server.start()?;
    assert_eq!(kubectl(&server, &["get", "configmap", "kept", "-o", "jsonpath={.data.a}"])?, "b");
    Ok(())
}
