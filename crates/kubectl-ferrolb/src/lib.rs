//! `kubectl ferrolb`: why an address is where it is, why there is none, and what would happen if.
//!
//! ```text
//! API server --> cluster.rs: objects, each list or why it cannot be had --+
//!     |                                                                   +--> commands/: answers --> output.rs
//!     +-- Pod proxy --> ask.rs: /status of the programs ------------------+--> ui/: all of it as a page
//!                       predict.rs: the decisions, by crates ipam, pools and placement
//! ```
//!
//! Nothing is decided here: objects are read by the crate `translation`, as the programs read them, and the answers come
//! from the crates that decide. What cannot be looked at is named, and never taken for "all is well".

mod answer;
mod ask;
mod client;
mod cluster;
mod commands;
mod events;
#[cfg(test)]
mod fixtures;
mod installations;
mod look;
mod nearest;
mod options;
mod output;
mod predict;
mod programs;
mod remedy;
mod routed;
mod snapshot;
mod surroundings;
mod survey;
mod ui;
mod watch;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;

pub use crate::ui::Ui;

use crate::answer::{Answer, Exit};
use crate::options::{Cli, Command};
use crate::output::{Format, Style};

/// What the program has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// On the standard output.
    pub stdout: String,
    /// On the standard error.
    pub stderr: String,
    /// The exit status: 0 all is well, 1 there is a problem, 2 something could not be looked at.
    pub code: u8,
}

/// Does what a command line says (the first argument is the name of the program), and says what it would on something that
/// is no terminal.
pub async fn say<S: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = S>) -> Said {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Box::pin(said(&cli, Style { wide: cli.output == Format::Wide, ..Style::default() })).await,
        Err(error) => {
            Said { stdout: String::new(), stderr: error.to_string(), code: Exit::CouldNotLook.code() }
        }
    }
}

/// The page of `ui`, for a caller that serves it. Fails where the command line says something else, or the port is taken.
pub async fn page<S: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Ui> {
    let cli = Cli::try_parse_from(arguments)?;
    let Command::Ui { port, .. } = cli.command else { anyhow::bail!("this is not the command `ui`") };
    Ui::listen(cli.connection, port).await
}

/// Does what a command line with `--watch` says, as it would on something that is no terminal, and hands over what is to be
/// printed each time; ends when that fails. Fails where the command line cannot be read.
pub async fn watched<S: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = S>,
    write: impl FnMut(&Said) -> io::Result<()>,
) -> anyhow::Result<u8> {
    let cli = Cli::try_parse_from(arguments)?;
    let style = Style { wide: cli.output == Format::Wide, ..Style::default() };
    Ok(watch::watch(&cli, style, write).await)
}

async fn said(cli: &Cli, style: Style) -> Said {
    spoken(commands::run(cli).await.as_ref(), cli.output, style)
}

/// What an answer is in words, or why there is none.
fn spoken(answer: Result<&Answer, &anyhow::Error>, format: Format, style: Style) -> Said {
    match answer {
        Ok(answer) => {
            let shown = answer.page_has_failures && matches!(format, Format::Table | Format::Wide);
            let failures = answer.failures.iter().filter(|_| !shown).map(|it| format!("error: {it}\n"));
            let warnings = answer.warnings.iter().map(|it| format!("warning: {it}\n"));
            Said {
                stdout: output::text(answer, format, style),
                stderr: failures.chain(warnings).collect(),
                code: answer.exit.code(),
            }
        }
        Err(error) => Said {
            stdout: String::new(),
            stderr: format!("error: {}\n", client::one_line(error)),
            code: Exit::CouldNotLook.code(),
        },
    }
}

/// The program.
pub fn main() -> ExitCode {
    if let Some(code) = commands::completion::for_kubectl() {
        return code;
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::CouldNotLook.code().into();
        }
    };
    let style = Style::of_stdout(cli.output);
    if cli.command.watches() {
        return runtime.block_on(watch::watch(&cli, style, output::write)).into();
    }
    let said = runtime.block_on(said(&cli, style));
    output::print(&said).into()
}
