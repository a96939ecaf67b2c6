//! `kubectl ferrolb version`.

use serde::Serialize;

use crate::answer::Answer;
use crate::ask;
use crate::client;
use crate::cluster::Cluster;
use crate::output::{Page, Tone, cell};
use crate::programs::Part;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: String,
    programs: Vec<ProgramVersion>,
    skew: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgramVersion {
    pod: String,
    version: Option<String>,
    image: String,
}

/// The versions of this program, and of those in the cluster if they are asked for.
pub(crate) async fn run(cluster: Option<anyhow::Result<Cluster>>) -> Answer {
    let client = env!("CARGO_PKG_VERSION").to_owned();
    let mut page = Page::default();
    page.field("Client", &client);
    let mut versions = Versions { client: client.clone(), programs: vec![], skew: false };
    let (mut failures, mut absent) = (Vec::new(), None);
    match cluster {
        None => {}
        Some(Err(error)) => failures.push(client::one_line(&error)),
        Some(Ok(cluster)) => {
            failures.extend(cluster.programs.as_ref().err().map(ToString::to_string));
            let told = [cluster.ask(Part::Controller).await, cluster.ask(Part::Speaker).await].concat();
            failures.extend(ask::failures(&told));
            absent = cluster.absent();
            for told in told {
                let version = told.document.ok().map(|document| document.version);
                let shown = version.clone().unwrap_or_else(|| "?".to_owned());
                let other = version.as_ref().is_some_and(|version| *version != client);
                versions.skew |= other;
                let text = format!("{shown}  {}", told.program.image);
                page.field(&told.program.pod, cell(text, if other { Tone::Warn } else { Tone::Plain }));
                versions.programs.push(ProgramVersion {
                    pod: told.program.pod,
                    version,
                    image: told.program.image,
                });
            }
        }
    }
    if versions.skew {
        page.line(cell(
            "Not all are of the same version: what this program foretells may not be what the others do.",
            Tone::Warn,
        ));
    }
    let skew = versions.skew;
    Answer::object("Versions", &versions, page).problem_if(skew).absent(absent).not_seen(failures)
}
