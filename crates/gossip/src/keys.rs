//! Secrets in files, read again when they change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use members::{Key, Keys};
use tokio::sync::watch;
use tracing::{info, warn};

/// How often the files are read. That is cheap, and sees also what the kubelet does, which replaces a link to the
/// directory that they are in.
const EVERY: Duration = Duration::from_secs(2);

/// The keys in `files`, now and whenever they change. What cannot be read later on leaves the keys as they are.
pub(crate) fn watch(files: &[PathBuf]) -> anyhow::Result<watch::Receiver<Keys>> {
    let keys = read(files)?;
    if keys.is_empty() {
        warn!("gossip is not sealed: anybody on the network can pass for a speaker; name a key file");
    }
    let (changes, current) = watch::channel(keys);
    if !files.is_empty() {
        tokio::spawn(follow(files.to_vec(), changes));
    }
    Ok(current)
}

async fn follow(files: Vec<PathBuf>, changes: watch::Sender<Keys>) {
    let mut complaint = None;
    loop {
        tokio::select! {
            () = changes.closed() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let paths = files.clone();
        match tokio::task::spawn_blocking(move || read(&paths)).await {
            Ok(Ok(keys)) => {
                complaint = None;
                if changes.send_if_modified(|current| std::mem::replace(current, keys.clone()) != keys) {
                    info!(?keys, "gossip keys changed");
                }
            }
            Ok(Err(error)) => {
                let text = format!("{error:#}");
                if complaint.as_ref() != Some(&text) {
                    warn!(error = text, "gossip keys stay as they are");
                    complaint = Some(text);
                }
            }
            // The runtime shuts down.
            Err(_) => return,
        }
    }
}

fn read(files: &[PathBuf]) -> anyhow::Result<Keys> {
    files.iter().map(|file| read_one(file)).collect()
}

fn read_one(file: &Path) -> anyhow::Result<Key> {
    let secret = std::fs::read(file).with_context(|| format!("gossip key file {}", file.display()))?;
    Key::new(secret.trim_ascii_end()).with_context(|| format!("gossip key file {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_may_end_a_secret_with_a_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, b"0123456789abcdef\r\n").unwrap();
        assert_eq!(read_one(file.path()).unwrap(), Key::new(b"0123456789abcdef").unwrap());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = format!("{:#}", read_one(file.path()).unwrap_err());
        assert!(error.contains(&*file.path().to_string_lossy()) && error.contains("too short"), "{error}");
        assert!(format!("{:#}", read_one(Path::new("/no/such/file")).unwrap_err()).contains("/no/such/file"));
    }
}
