//! `cargo xtask image`: FerroLB's own container image, one static program on an empty file system.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use images::{Archive, ImageSpec, file_capability, programs, write_image};

use crate::dependencies;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAM: &str = "/ferrolb";
/// Beside the program, and all that there is: it needs no certificates, for the API server's comes with the service
/// account.
const BILL_OF_MATERIALS: &str = "/ferrolb.cdx.json";
/// The whole archive, which is not compressed: what a node keeps and what the mirror serves.
const MAX_SIZE: u64 = 12 << 20;
/// capabilities(7)
const CAP_NET_RAW: u8 = 13;

/// Builds the image and prints what came out of it.
pub(crate) fn run() -> anyhow::Result<()> {
    let start = Instant::now();
    let archive = build()?;
    let (name, digest) = archive.images.first_key_value().context("the image has no name")?;
    println!("{name}@{digest}");
    let (path, size) = (archive.path.display(), megabytes(archive.size));
    println!("{path}: {size:.1} MB in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// A number of bytes, for people to read.
#[expect(clippy::cast_precision_loss, reason = "it is rounded to the tenth of a megabyte")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Builds `ferrolb` for musl in the profile `image` and writes it, as an image named
/// `docker.io/ferrolb/ferrolb:v<version>`, to `target/image/ferrolb.tar` of the workspace.
///
/// The same sources and toolchain give the same digest wherever the checkout lies.
pub(crate) fn build() -> anyhow::Result<Archive> {
    ensure_musl_compiler()?;
    let [program] = programs::build("ferrolb", ["ferrolb"])?;
    let out = programs::workspace().join("target/image/ferrolb.tar");
    let archive = write(&program, &out)?;
    ensure!(
        archive.size <= MAX_SIZE,
        "{} has {} bytes, more than the {MAX_SIZE} that were promised",
        archive.path.display(),
        archive.size
    );
    Ok(archive)
}

fn write(program: &Path, out: &Path) -> anyhow::Result<Archive> {
    let name = format!("docker.io/ferrolb/ferrolb:v{VERSION}").parse()?;
    let mut image = ImageSpec::from_binary(name, program, PROGRAM);
    // The speaker opens packet sockets as a user other than root: Kubernetes grants that user no
    // capability at exec, so the program carries the one it may use. Permitted only, or the kernel would
    // refuse to run the same program as the controller, whose container may not have it.
    image.files.xattr(PROGRAM, "security.capability", file_capability(&[CAP_NET_RAW]));
    image.files.file(BILL_OF_MATERIALS, 0o444, dependencies::bill_of_materials()?);
    image.config.labels = [
        ("title", "FerroLB"),
        ("description", "A bare-metal LoadBalancer for Kubernetes"),
        ("version", VERSION),
        ("licenses", "Apache-2.0"),
    ]
    .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
    .into();
    let directory = out.parent().context("the archive lies in a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(write_image(&image, out)?)
}

/// Some crates bring C code, which must be compiled against the C library that is linked in.
pub(crate) fn ensure_musl_compiler() -> anyhow::Result<()> {
    let compiler =
        Command::new("musl-gcc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(
        compiler.is_ok_and(|status| status.success()),
        "musl-gcc is missing; on Debian: apt-get install musl-tools"
    );
    Ok(())
}
