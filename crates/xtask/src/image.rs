//! `cargo xtask image`: FerroLB's own container image, one static program on an empty file system.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use images::{Archive, ImageSpec, Platform, file_capability, programs, write_image, write_index};

use crate::dependencies;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAM: &str = "/ferrolb";
/// Beside the program, and all that there is: it needs no certificates, for the API server's comes with the service
/// account.
const BILL_OF_MATERIALS: &str = "/ferrolb.cdx.json";
/// The whole archive of one platform, which is not compressed: what a node keeps and what the mirror serves.
const MAX_SIZE: u64 = 11_000_000;
/// capabilities(7)
const CAP_NET_RAW: u8 = 13;

/// What to build the image for.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// Platforms: linux/amd64, linux/arm64, linux/arm/v7; an image index is written of them [default: this machine's, a plain
    /// image]
    #[arg(long, value_delimiter = ',')]
    platform: Vec<Platform>,
}

/// Builds the image and prints what came out of it.
pub(crate) fn run(arguments: &ImageArgs) -> anyhow::Result<()> {
    let start = Instant::now();
    let archive = match arguments.platform.as_slice() {
        [] => build()?,
        platforms => build_index(platforms)?,
    };
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
    let image = image_for(Platform::HOST)?;
    checked(write_image(&image, &out("ferrolb.tar")?)?, 1)
}

/// The same for several platforms, as an index of images, to `target/image/ferrolb-index.tar`.
pub(crate) fn build_index(platforms: &[Platform]) -> anyhow::Result<Archive> {
    let platforms: BTreeSet<Platform> = platforms.iter().copied().collect();
    let images = platforms.iter().map(|platform| Ok((*platform, image_for(*platform)?)));
    let images: Vec<(Platform, ImageSpec)> = images.collect::<anyhow::Result<_>>()?;
    checked(write_index(&images, &out("ferrolb-index.tar")?)?, images.len())
}

fn checked(archive: Archive, images: usize) -> anyhow::Result<Archive> {
    let promised = MAX_SIZE * images as u64;
    ensure!(
        archive.size <= promised,
        "{} has {} bytes, more than the {promised} that were promised",
        archive.path.display(),
        archive.size
    );
    Ok(archive)
}

fn out(name: &str) -> anyhow::Result<PathBuf> {
    let directory = programs::workspace().join("target/image");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory.join(name))
}

fn image_for(platform: Platform) -> anyhow::Result<ImageSpec> {
    ensure_compiler(platform)?;
    let [program] = programs::build_for(platform, "ferrolb", ["ferrolb"])?;
    let name = format!("docker.io/ferrolb/ferrolb:v{VERSION}").parse()?;
    let mut image = ImageSpec::from_binary(name, program, PROGRAM);
    // The speaker opens packet sockets as a user other than root: Kubernetes grants that user no
    // capability at exec, so the program carries the one it may use. Permitted only, or the kernel would
    // refuse to run the same program as the controller, whose container may not have it.
    image.files.xattr(PROGRAM, "security.capability", file_capability(&[CAP_NET_RAW]));
    image.files.file(BILL_OF_MATERIALS, 0o444, dependencies::bill_of_materials(platform)?);
    image.config.labels = [
        ("title", "FerroLB"),
        ("description", "A bare-metal LoadBalancer for Kubernetes"),
        ("version", VERSION),
        ("licenses", "Apache-2.0"),
    ]
    .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
    .into();
    Ok(image)
}

/// Some crates bring C code, which must be compiled against the C library that is linked in. The compilers for other
/// platforms are installed when they are needed.
pub(crate) fn ensure_compiler(platform: Platform) -> anyhow::Result<()> {
    if platform == Platform::HOST { ensure_musl_compiler() } else { Ok(()) }
}

/// That of this machine's platform.
pub(crate) fn ensure_musl_compiler() -> anyhow::Result<()> {
    let compiler =
        Command::new("musl-gcc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(
        compiler.is_ok_and(|status| status.success()),
        "musl-gcc is missing; on Debian: apt-get install musl-tools"
    );
    Ok(())
}
