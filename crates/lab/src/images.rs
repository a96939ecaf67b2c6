//! The images that a lab carries.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::tools::{Program, Tools, cache_dir};
use crate::ui;

/// CoreDNS, under the name that Kubernetes distributions use.
pub(crate) const COREDNS: &str = "registry.k8s.io/coredns/coredns:v1.15.0";
/// The image of every pod's first container.
pub(crate) const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// The archives of all images, built when the cache does not have them. `tools` has at least CoreDNS.
///
/// # Errors
/// When the Debian packages that they are made of are not to be had, or the cache cannot be written.
pub fn ensure(tools: &Tools) -> Result<Vec<PathBuf>> {
    let cache = cache()?;
    let mut task: Option<ui::Task> = None;
    let mut progress = |line: &str| {
        if let Some(finished) = task.take() {
            finished.done();
        }
        task = Some(ui::task(line, Duration::from_secs(15)));
    };
    let archives =
        ::images::tutorial_set(&cache, &mut progress).context("building the images of tutorials")?;
    if let Some(last) = task {
        last.done();
    }
    let mut paths: Vec<PathBuf> = archives.into_iter().map(|archive| archive.path).collect();
    paths.push(of_program(tools.path(Program::Coredns), COREDNS, Account::Nobody)?);
    Ok(paths)
}

/// Who runs the program of an image, unless the Pod says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// A user without rights.
    Nobody,
    /// Root.
    Root,
}

/// The archive of the image `name` that holds a program of the cache and nothing else.
pub(crate) fn of_program(program: &Path, name: &str, account: Account) -> Result<PathBuf> {
    let name: ::images::Reference = name.parse()?;
    // The program's folder is named after all that it is built from, so the archive is as good as the program.
    let folder =
        program.parent().and_then(Path::file_name).context("a program is in a folder of the cache")?;
    let file = program.file_name().context("a program has a name")?;
    let (folder, file) = (folder.to_string_lossy(), file.to_string_lossy());
    let cache = cache()?;
    let archive = cache.join(format!("{folder}-{file}.tar"));
    if !archive.exists() {
        let mut image = ::images::ImageSpec::from_binary(name, program, &format!("/{file}"));
        if account == Account::Root {
            image.config.user.clear();
        }
        let partial = tempfile::NamedTempFile::new_in(&cache)?;
        ::images::write_image(&image, partial.path())
            .with_context(|| format!("writing the image of {file}"))?;
        fs::rename(partial.path(), &archive)
            .with_context(|| format!("moving the image of {file} into place"))?;
    }
    Ok(archive)
}

fn cache() -> Result<PathBuf> {
    Ok(cache_dir()?.join("images"))
}
