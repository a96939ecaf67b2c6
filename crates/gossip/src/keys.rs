//! The files with the secrets, which may be changed at any time to rotate them.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use members::{Key, Keys};

/// The files, and what was in them last. They are small and read whole: a Secret that is mounted changes by
/// way of symbolic links, so neither names nor times tell.
pub(crate) struct KeyFiles {
    paths: Vec<PathBuf>,
    contents: Vec<Vec<u8>>,
}

impl KeyFiles {
    /// Nothing is read yet.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, contents: Vec::new() }
    }

    /// The keys if they are others than before. Files that are not there are passed over, since a key comes
    /// before another goes; but where there are files to be, one must be there.
    pub(crate) fn changed(&mut self) -> anyhow::Result<Option<Keys>> {
        let mut contents = Vec::new();
        let mut keys = Keys::new();
        for path in &self.paths {
            match fs::read(path) {
                Ok(secret) => {
                    let key = Key::new(&secret);
                    keys.push(key.with_context(|| format!("the gossip's key {}", path.display()))?);
                    contents.push(secret);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("reading the gossip's key {}", path.display()));
                }
            }
        }
        let list = || self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        ensure!(
            self.paths.is_empty() || !keys.is_empty(),
            "there is no key for the gossip: none of {}",
            list()
        );
        if contents == self.contents {
            return Ok(None);
        }
        self.contents = contents;
        Ok(Some(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_when_they_change_and_a_missing_one_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["new", "old"].map(|name| folder.path().join(name));
        let mut files = KeyFiles::new(paths.to_vec());
        let mut count = || files.changed().map(|keys| keys.map(|keys| keys.len()));
        assert!(count().unwrap_err().to_string().contains("none of"));
        fs::write(&paths[1], [1; 32]).unwrap();
        assert_eq!(count().unwrap(), Some(1));
        assert_eq!(count().unwrap(), None);
        fs::write(&paths[0], [2; 32]).unwrap();
        assert_eq!(count().unwrap(), Some(2));
        fs::write(&paths[0], [3; 4]).unwrap();
        assert!(count().is_err());
        fs::remove_file(&paths[1]).unwrap();
        fs::write(&paths[0], [2; 32]).unwrap();
        assert_eq!(count().unwrap(), Some(1));
    }

    #[test]
    fn without_files_there_are_no_keys_and_nothing_changes() {
        assert!(KeyFiles::new(vec![]).changed().unwrap().is_none());
    }
}
