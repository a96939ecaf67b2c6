//! Completion: scripts for shells, and for kubectl, which asks `kubectl_complete-ferrolb` for the words that may come next.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use api::{BGPAdvertisement, BGPPeer, IPAddressPool, L2Advertisement};
use clap::CommandFactory;
use clap_complete::Shell;
use kube::ResourceExt;
use slim::{Node, Service};

use crate::answer::Answer;
use crate::cluster::Cluster;
use crate::options::{Cli, Connection};
use crate::output::Page;

/// The name that kubectl calls this program by to complete words.
const FOR_KUBECTL: &str = "kubectl_complete-ferrolb";
/// Longer nobody waits for a word.
const PATIENCE: Duration = Duration::from_secs(3);
/// What cobra wants to be told after the words: no names of files.
const NO_FILES: &str = ":4";

/// A script for a shell.
pub(crate) fn script(shell: Shell) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut Cli::command().bin_name("kubectl-ferrolb"),
        "kubectl-ferrolb",
        &mut script,
    );
    let script = String::from_utf8_lossy(&script).into_owned();
    let mut page = Page::default();
    page.raw(script.as_str());
    Answer::plain(page, script.into())
}

/// Tells kubectl the words that may come next, if that is what this program was called for.
pub(crate) fn for_kubectl() -> Option<ExitCode> {
    let mut arguments = std::env::args();
    let name = arguments.next()?;
    if Path::new(&name).file_name()?.to_str()? != FOR_KUBECTL {
        return None;
    }
    let arguments: Vec<String> = arguments.collect();
    let (last, before) =
        arguments.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut words = words(before);
    if words.is_empty() {
        words = names(before);
    }
    for word in words.iter().filter(|word| word.starts_with(last)) {
        println!("{word}");
    }
    println!("{NO_FILES}");
    Some(ExitCode::SUCCESS)
}

/// The commands that may come after these words; none where a name is to come.
fn words(before: &[String]) -> Vec<String> {
    let mut command = Cli::command();
    for word in before.iter().filter(|word| !word.starts_with('-')) {
        match command.find_subcommand(word) {
            Some(found) => command = found.clone(),
            None => return vec![],
        }
    }
    command.get_subcommands().map(|it| it.get_name().to_owned()).filter(|name| name != "help").collect()
}

/// The names of objects that may come after these words.
fn names(before: &[String]) -> Vec<String> {
    let commands: Vec<&str> =
        before.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let look = async {
        let cluster = Cluster::open(&Connection::default()).await.ok()?;
        let names = match commands.as_slice() {
            ["explain"] => {
                let services: Vec<Service> = cluster.all().await.ok()?;
                let ours = services.into_iter().filter(|it| it.spec.type_ == "LoadBalancer");
                let name = |it: Service| format!("{}/{}", it.namespace().unwrap_or_default(), it.name_any());
                ours.map(name).collect()
            }
            ["whatif", "drain"] => names_of(cluster.all::<Node>().await.ok()?),
            ["whatif", "delete", "pool"] | ["ips"] => {
                names_of(cluster.of_namespace::<IPAddressPool>(&cluster.system).await.ok()?)
            }
            ["whatif", "delete", "l2advertisement"] => {
                names_of(cluster.of_namespace::<L2Advertisement>(&cluster.system).await.ok()?)
            }
            ["whatif", "delete", "bgpadvertisement"] => {
                names_of(cluster.of_namespace::<BGPAdvertisement>(&cluster.system).await.ok()?)
            }
            ["whatif", "delete", "bgppeer"] => {
                names_of(cluster.of_namespace::<BGPPeer>(&cluster.system).await.ok()?)
            }
            _ => vec![],
        };
        Some(names)
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return vec![];
    };
    let names = runtime.block_on(async { tokio::time::timeout(PATIENCE, look).await.ok().flatten() });
    names.unwrap_or_default()
}

fn names_of<K: kube::Resource>(objects: Vec<K>) -> Vec<String> {
    objects.iter().map(ResourceExt::name_any).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_is_told_the_commands_and_then_those_below() {
        let after = |words_before: &[&str]| {
            words(&words_before.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
        };
        assert!(after(&[]).contains(&"explain".to_owned()) && !after(&[]).contains(&"help".to_owned()));
        assert_eq!(after(&["whatif"]), ["drain", "delete", "apply", "add"]);
        assert_eq!(
            after(&["-A", "whatif", "delete"]),
            ["pool", "l2advertisement", "bgpadvertisement", "bgppeer"]
        );
        assert!(after(&["explain"]).is_empty());
    }

    #[test]
    fn there_is_a_script_for_each_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            assert!(script(shell).machine.as_str().unwrap().contains("ferrolb"), "{shell}");
        }
    }
}
