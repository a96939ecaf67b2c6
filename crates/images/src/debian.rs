//! Files from Debian packages, which are fetched and unpacked but never installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs::run;
use crate::{Error, Tree};

/// Unpacked packages.
#[derive(Debug)]
pub struct Packages {
    root: PathBuf,
}

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

impl Packages {
    /// Fetches packages and all that they depend on, in the versions that this machine's
    /// package sources offer, and unpacks them below the directory. The package lists are brought up to
    /// date first when they are missing or name files that are gone, which takes root.
    pub fn fetch(names: &[&str], directory: &Path) -> Result<Self, Error> {
        let archives = directory.join("archives");
        fs::create_dir_all(&archives).map_err(Error::io(&archives))?;
        if download(names, &archives).is_err() {
            run(apt("apt-get").args(["--quiet", "update"]))?;
            download(names, &archives)?;
        }
        let root = directory.join("root");
        // Newer releases have only the directories below usr; older packages still bring the others.
        for name in ["bin", "sbin", "lib", "lib64"] {
            let target = format!("usr/{name}");
            fs::create_dir_all(root.join(&target)).map_err(Error::io(root.join(&target)))?;
            std::os::unix::fs::symlink(target, root.join(name)).map_err(Error::io(root.join(name)))?;
        }
        for entry in fs::read_dir(&archives).map_err(Error::io(&archives))? {
            unpack(&entry.map_err(Error::io(&archives))?.path(), &root)?;
        }
        Ok(Self { root })
    }

    /// Where a file of the packages is on this machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Adds a file of the packages at the same path.
    pub fn add(&self, tree: &mut Tree, path: &str, mode: u32) -> Result<(), Error> {
        let from = self.path(path);
        if !from.is_file() {
            let (missing, wanted_by) = (path.to_owned(), "the image".to_owned());
            return Err(Error::NotPackaged { missing, wanted_by });
        }
        tree.copy(path, mode, from);
        Ok(())
    }

    /// Adds a program at the same path, with every library that it loads.
    pub fn add_program(&self, tree: &mut Tree, path: &str) -> Result<(), Error> {
        self.add(tree, path, 0o755)?;
        for (name, file) in self.libraries(path)? {
            tree.copy(&format!("{LIBRARIES}/{name}"), 0o644, file);
        }
        tree.copy(&format!("usr/lib64/{LOADER}"), 0o755, self.path(LIBRARIES).join(LOADER));
        Ok(())
    }

    /// The shared libraries of a program by name, as the packages' own loader finds them.
    fn libraries(&self, program: &str) -> Result<BTreeMap<String, PathBuf>, Error> {
        let search = self.path(LIBRARIES);
        let mut loader = Command::new(search.join(LOADER));
        loader.arg("--library-path").arg(&search).arg("--list").arg(self.path(program)).env_clear();
        let listed = run(&mut loader)?;
        // Lines are `NAME => PATH (ADDRESS)`; the loader and the vDSO have no arrow.
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let found = listed.lines().filter_map(|line| line.trim().split_once(" => "));
        found
            .map(|(name, place)| {
                let path = place.split(" (").next().unwrap_or(place);
                if Path::new(path).starts_with(&self.root) {
                    return Ok((name.to_owned(), PathBuf::from(path)));
                }
                let (missing, wanted_by) = (name.to_owned(), program.to_owned());
                Err(Error::NotPackaged { missing, wanted_by })
            })
            .collect()
    }
}

fn download(names: &[&str], archives: &Path) -> Result<(), Error> {
    let mut cache = apt("apt-cache");
    let depends = run(cache.args(["depends", "--recurse", "--important"]).args(names))?;
    let depends = String::from_utf8_lossy(&depends).into_owned();
    // Packages stand at the beginning of a line; `<name>` is a virtual one, `name:i386` another machine's.
    let real =
        |line: &&str| line.starts_with(|first: char| first.is_ascii_alphanumeric()) && !line.contains(':');
    let wanted: BTreeSet<_> = depends.lines().filter(real).collect();
    run(apt("apt-get").args(["--quiet", "download"]).args(wanted).current_dir(archives)).map(drop)
}

fn unpack(package: &Path, root: &Path) -> Result<(), Error> {
    let mut files = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::io("dpkg-deb"))?;
    let pipe = files.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--directory"])
        .arg(root)
        .stdin(pipe);
    let unpacked = run(&mut tar);
    let status = files.wait().map_err(Error::io(package))?;
    match unpacked {
        Ok(_) if !status.success() => Err(Error::Command {
            command: format!("dpkg-deb --fsys-tarfile {}", package.display()),
            reason: status.to_string(),
        }),
        result => result.map(drop),
    }
}

fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    // The unprivileged user that apt prefers for downloads cannot write to our directory.
    command
        .args(["-o", "APT::Sandbox::User=root"])
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}
