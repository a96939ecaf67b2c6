//! Secrets in files, read again when they change.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use members::{Key, Keys};
use tokio::sync::watch;
use tracing::{info, warn};

/// How often the files are read. That is cheap, and sees also what the kubelet does, which replaces a link to the
/// directory that they are in.
const EVERY: Duration = Duration::from_secs(2);

/// The keys in `files`, now and whenever they change. What cannot be read later on leaves the keys as they are; so does
/// the loss of the first file, which seals: others would not be able to open what another seals.
pub(crate) fn watch(files: &[PathBuf]) -> anyhow::Result<watch::Receiver<Keys>> {
    let Read { keys, seals } = read(files)?;
    if keys.is_empty() {
        warn!("gossip is not sealed: anybody on the network can pass for a speaker; name a key file");
    }
    let (changes, current) = watch::channel(keys);
    if !files.is_empty() {
        tokio::spawn(follow(files.to_vec(), changes, seals));
    }
    Ok(current)
}

/// The keys in `files` at this moment, see [`crate::Config::key_files`].
pub fn keys_in(files: &[PathBuf]) -> anyhow::Result<Keys> {
    Ok(read(files)?.keys)
}

/// `sealed` says whether the key in use is that of the first file.
async fn follow(files: Vec<PathBuf>, changes: watch::Sender<Keys>, mut sealed: bool) {
    let mut last_warning = None;
    loop {
        tokio::select! {
            () = changes.closed() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let paths = files.clone();
        match tokio::task::spawn_blocking(move || read(&paths)?.unless_lost(sealed)).await {
            Ok(Ok(Read { keys, seals })) => {
                last_warning = None;
                sealed = seals;
                if changes.send_if_modified(|current| std::mem::replace(current, keys.clone()) != keys) {
                    info!(?keys, "gossip keys changed");
                }
            }
            Ok(Err(error)) => {
                let text = format!("{error:#}");
                if last_warning.as_ref() != Some(&text) {
                    warn!(error = text, "gossip keys stay as they are");
                    last_warning = Some(text);
                }
            }
            // The runtime shuts down.
            Err(_) => return,
        }
    }
}

/// What is in the files.
#[derive(Debug)]
struct Read {
    keys: Keys,
    /// Whether there is a key in the first of them.
    seals: bool,
}

impl Read {
    /// Fails if the first file had a key and has none any more.
    fn unless_lost(self, had: bool) -> anyhow::Result<Self> {
        ensure!(self.seals || !had, "the first gossip key file is gone or empty");
        Ok(self)
    }
}

fn read(files: &[PathBuf]) -> anyhow::Result<Read> {
    let each: Vec<Option<Key>> = files.iter().map(|file| read_one(file)).collect::<Result<_, _>>()?;
    let seals = each.first().is_some_and(Option::is_some);
    let keys: Keys = each.into_iter().flatten().collect();
    let names = || files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    ensure!(files.is_empty() || !keys.is_empty(), "there is no gossip key in {}", names());
    Ok(Read { keys, seals })
}

/// `None` if there is no such file, or nothing in it, as while somebody replaces a Secret.
fn read_one(file: &Path) -> anyhow::Result<Option<Key>> {
    let whole = || format!("gossip key file {}", file.display());
    match std::fs::read(file) {
        Ok(secret) if secret.trim_ascii_end().is_empty() => Ok(None),
        Ok(secret) => Key::new(secret.trim_ascii_end()).map(Some).with_context(whole),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_may_end_a_secret_with_a_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, b"0123456789abcdef\r\n").unwrap();
        assert_eq!(read_one(file.path()).unwrap(), Some(Key::new(b"0123456789abcdef").unwrap()));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "short").unwrap();
        let error = format!("{:#}", read_one(file.path()).unwrap_err());
        assert!(error.contains(&*file.path().to_string_lossy()) && error.contains("too short"), "{error}");
        let missing = [PathBuf::from("/no/such/file")];
        assert!(format!("{:#}", read(&missing).unwrap_err()).contains("/no/such/file"));
    }

    #[test]
    fn a_file_that_is_missing_or_empty_counts_as_none_as_long_as_there_is_another() {
        let (file, empty) =
            (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        std::fs::write(&file, [7; 32]).unwrap();
        std::fs::write(&empty, "\n").unwrap();
        for none in [Path::new("/no/such/file"), empty.path()] {
            let files = [none.to_owned(), file.path().to_owned()];
            assert_eq!(read(&files).unwrap().keys.len(), 1);
            assert!(read(&files[..1]).is_err());
        }
        assert!(read(&[]).unwrap().keys.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_keys_stay_while_the_file_that_seals_is_gone_or_empty() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["secretkey", "previous"].map(|name| folder.path().join(name));
        let (old, new) = ([1; 32], [2; 32]);
        std::fs::write(&first, old).unwrap();
        std::fs::write(&second, new).unwrap();
        let mut keys = watch(&[first.clone(), second.clone()]).unwrap();
        let both = keys.borrow_and_update().clone();
        std::fs::write(&first, "").unwrap();
        tokio::time::sleep(3 * EVERY).await;
        std::fs::remove_file(&first).unwrap();
        tokio::time::sleep(3 * EVERY).await;
        std::fs::remove_file(&second).unwrap();
        tokio::time::sleep(3 * EVERY).await;
        assert!(!keys.has_changed().unwrap(), "{both:?}");
        // Back, and rotated.
        std::fs::write(&first, new).unwrap();
        keys.changed().await.unwrap();
        assert_eq!(*keys.borrow(), Keys::from_iter([Key::new(&new).unwrap()]));
    }
}
