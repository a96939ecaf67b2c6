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

/// The archives of all images, built when the cache does not have them.
pub(crate) fn ensure(tools: &Tools) -> Result<Vec<PathBuf>> {
    let cache = cache_dir()?.join("images");
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
    paths.push(coredns(tools.path(Program::Coredns), &cache)?);
    Ok(paths)
}

fn coredns(program: &Path, cache: &Path) -> Result<PathBuf> {
    // The program's folder is named after all that it is built from, so the archive is as good as the program.
    let folder =
        program.parent().and_then(Path::file_name).context("CoreDNS is in no folder of the cache")?;
    let archive = cache.join(folder).with_extension("tar");
    if !archive.exists() {
        let image = ::images::ImageSpec::from_binary(COREDNS.parse()?, program, "/coredns");
        let partial = tempfile::NamedTempFile::new_in(cache)?;
        ::images::write_image(&image, partial.path()).context("writing the image of CoreDNS")?;
        fs::rename(partial.path(), &archive).context("moving the image of CoreDNS into place")?;
    }
    Ok(archive)
}
