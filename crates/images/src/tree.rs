//! The files of an image.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tar::{Builder, EntryType, Header};

use crate::Error;

/// A user and a group, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The files of one layer by their path in the image. Directories that are not listed but needed are
/// made with mode 0755 for root, to whom everything belongs that is not given to somebody else.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Paths are relative, since that is what a layer holds: `etc/passwd`.
    nodes: BTreeMap<String, Node>,
}

#[derive(Clone, Debug)]
struct Node {
    content: Content,
    mode: u32,
    owner: Owner,
    xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Content {
    Directory,
    Symlink(String),
    Bytes(Vec<u8>),
    /// A file of the machine, read when the layer is written.
    Copy(PathBuf),
}

impl Tree {
    /// A tree without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str, mode: u32) -> &mut Self {
        self.add(path, mode, Content::Directory)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(path, 0o777, Content::Symlink(target.to_owned()))
    }

    /// Adds a file with the given content.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> &mut Self {
        self.add(path, mode, Content::Bytes(content.into()))
    }

    /// Adds a copy of a file of this machine, which is read when the image is written.
    pub fn copy(&mut self, path: &str, mode: u32, from: impl Into<PathBuf>) -> &mut Self {
        self.add(path, mode, Content::Copy(from.into()))
    }

    /// Gives a path that was added before to somebody else than root.
    ///
    /// # Panics
    /// When nothing was added at that path.
    pub fn give(&mut self, path: &str, owner: Owner) -> &mut Self {
        self.node(path).owner = owner;
        self
    }

    /// Sets an extended attribute of a path that was added before.
    ///
    /// # Panics
    /// When nothing was added at that path.
    pub fn xattr(&mut self, path: &str, name: &str, value: impl Into<Vec<u8>>) -> &mut Self {
        self.node(path).xattrs.insert(name.to_owned(), value.into());
        self
    }

    /// The layer: an uncompressed tar with nothing in it that depends on when, where or by whom it is written.
    pub(crate) fn to_layer(&self) -> Result<Vec<u8>, Error> {
        let mut tar = Builder::new(Vec::new());
        for (path, node) in &self.nodes {
            let content = match &node.content {
                Content::Bytes(bytes) => Cow::Borrowed(bytes.as_slice()),
                Content::Copy(from) => Cow::Owned(fs::read(from).map_err(Error::io(from))?),
                Content::Directory | Content::Symlink(_) => Cow::Borrowed([].as_slice()),
            };
            node.append(&mut tar, path, &content).map_err(Error::io(path))?;
        }
        tar.into_inner().map_err(Error::io("layer"))
    }

    fn add(&mut self, path: &str, mode: u32, content: Content) -> &mut Self {
        let path = relative(path);
        for (slash, _) in path.match_indices('/') {
            let parent = || Node::new(0o755, Content::Directory);
            self.nodes.entry(path[..slash].to_owned()).or_insert_with(parent);
        }
        self.nodes.insert(path.to_owned(), Node::new(mode, content));
        self
    }

    fn node(&mut self, path: &str) -> &mut Node {
        self.nodes.get_mut(relative(path)).unwrap_or_else(|| panic!("`{path}` was added before"))
    }
}

impl Node {
    fn new(mode: u32, content: Content) -> Self {
        Self { content, mode, owner: Owner::default(), xattrs: BTreeMap::new() }
    }

    fn append(&self, tar: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) -> io::Result<()> {
        let keys = self.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value));
        let records: Vec<_> = keys.collect();
        if !records.is_empty() {
            tar.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        }
        let mut header = Header::new_ustar();
        header.set_mode(self.mode);
        header.set_uid(self.owner.uid.into());
        header.set_gid(self.owner.gid.into());
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        match &self.content {
            Content::Directory => {
                header.set_entry_type(EntryType::Directory);
                tar.append_data(&mut header, format!("{path}/"), content)
            }
            Content::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                tar.append_link(&mut header, path, Path::new(target))
            }
            Content::Bytes(_) | Content::Copy(_) => {
                header.set_entry_type(EntryType::Regular);
                tar.append_data(&mut header, path, content)
            }
        }
    }
}

/// The value of the extended attribute `security.capability` that lets a program have these capabilities
/// (by number, below 32) in its permitted set, from which it raises them itself.
///
/// The effective bit stays out on purpose: with it the kernel refuses to run the program at all
/// wherever the container may not have the capability (capabilities(7), "Safety checking for
/// capability-dumb binaries").
pub fn file_capability(capabilities: &[u8]) -> Vec<u8> {
    const VFS_CAP_REVISION_2: u32 = 0x0200_0000;
    let permitted = capabilities.iter().fold(0u32, |set, capability| set | 1 << capability);
    let words = [VFS_CAP_REVISION_2, permitted, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn relative(path: &str) -> &str {
    path.trim_matches('/')
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    type Entry = (String, EntryType, u32, (u64, u64), String);

    fn entries(layer: &[u8]) -> Vec<Entry> {
        let mut archive = tar::Archive::new(layer);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            if let Some(target) = entry.link_name().unwrap() {
                content = target.to_string_lossy().into_owned();
            }
            let header = entry.header();
            let owner = (header.uid().unwrap(), header.gid().unwrap());
            let (kind, mode) = (header.entry_type(), header.mode().unwrap());
            assert_eq!(header.mtime().unwrap(), 0);
            found.push((entry.path().unwrap().to_string_lossy().into_owned(), kind, mode, owner, content));
        }
        found
    }

    #[test]
    fn a_layer_holds_what_was_added_in_order_with_the_directories_it_needs() {
        let mut tree = Tree::new();
        tree.symlink("/usr/bin/sh", "../../bin/busybox")
            .directory("/tmp", 0o1777)
            .file("/etc/motd", 0o644, "hello")
            .give("/etc/motd", Owner { uid: 101, gid: 102 });
        let root = (0, 0);
        let directory = |path: &str, mode| (path.to_owned(), EntryType::Directory, mode, root, String::new());
        assert_eq!(
            entries(&tree.to_layer().unwrap()),
            [
                directory("etc/", 0o755),
                ("etc/motd".into(), EntryType::Regular, 0o644, (101, 102), "hello".into()),
                directory("tmp/", 0o1777),
                directory("usr/", 0o755),
                directory("usr/bin/", 0o755),
                ("usr/bin/sh".into(), EntryType::Symlink, 0o777, root, "../../bin/busybox".into()),
            ]
        );
    }

    #[test]
    fn long_paths_and_long_targets_survive() {
        let (path, target) = (format!("a/{}", "b".repeat(180)), "c/".repeat(100));
        let mut tree = Tree::new();
        tree.symlink(&path, &target);
        let found = entries(&tree.to_layer().unwrap());
        assert_eq!((&found[1].0, &found[1].4), (&path, &target));
    }

    #[test]
    fn an_extended_attribute_is_a_record_in_front_of_its_file() {
        let mut tree = Tree::new();
        tree.file("/a", 0o755, "").xattr("/a", "security.capability", file_capability(&[13]));
        let layer = tree.to_layer().unwrap();
        let mut archive = tar::Archive::new(layer.as_slice());
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let record = entry.pax_extensions().unwrap().unwrap().next().unwrap().unwrap();
        assert_eq!(record.key(), Ok("SCHILY.xattr.security.capability"));
        let net_raw = [0, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(record.value_bytes(), net_raw);
    }
}
