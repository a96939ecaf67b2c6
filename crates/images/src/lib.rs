//! Container images without a container engine: written, served and, for the images that tutorials
//! use, built from Debian packages.
//!
//! An image is a [`Tree`] of files and a [`Config`]; [`write_image`] turns it into an archive in the
//! OCI image layout that `ctr images import` and other tools take. The same input gives the same
//! bytes, so a digest says whether anything changed. [`registry`] serves a directory of such archives
//! to container runtimes. [`tutorial`] holds the images that manifests found in the wild ask for.
//!
//! The images of the lab are for the platform of this machine, [`Platform::HOST`]; [`write_index`] writes one image for several.

pub mod cross;
pub mod debian;
mod layout;
pub mod platform;
pub mod programs;
mod reference;
pub mod registry;
mod tree;
pub mod tutorial;

use std::io;
use std::path::PathBuf;

pub use cross::cache;
pub use layout::{Archive, Config, ImageSpec, write_image, write_index};
pub use platform::Platform;
pub use reference::{BadReference, Reference};
pub use tree::{Owner, Tree, file_capability};
pub use tutorial::tutorial_set;

/// Why an image could not be built, written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no archive in the OCI image layout.
    #[error("{}: not an OCI image archive: {reason}", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// A program that does part of the work failed or is missing.
    #[error("`{command}` failed: {reason}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// The end of what it wrote, or why it did not start.
        reason: String,
    },
    /// A Debian package does not hold what an image needs.
    #[error("no Debian package holds {missing}, which {wanted_by} needs")]
    NotPackaged {
        /// The missing file or library.
        missing: String,
        /// The program that needs it.
        wanted_by: String,
    },
}

impl Error {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
