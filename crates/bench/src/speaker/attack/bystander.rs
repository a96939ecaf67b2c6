//! A program that takes connections and throws away what comes, and does nothing else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Where it listens.
pub(super) const PORT: u16 = 7499;
/// How many connections it has at a time, as FerroLB's programs: the oldest goes.
const OPEN: usize = 512;
/// How long it keeps one.
const KEPT_FOR: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(100);

/// Serves until `ends`, in the network that the calling thread is in.
pub(super) fn serve(at: SocketAddr, ends: &AtomicBool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(at).await.with_context(|| format!("listening at {at}"))?;
        let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
        while !ends.load(Ordering::Relaxed) {
            let Ok(Ok((mut stream, _))) = timeout(GLANCE, listener.accept()).await else { continue };
            open.push_back(tokio::spawn(async move {
                let read = async {
                    let mut said = [0; 4096];
                    while stream.read(&mut said).await.is_ok_and(|length| length > 0) {}
                };
                _ = timeout(KEPT_FOR, read).await;
            }));
            if open.len() > OPEN
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
        }
        Ok(())
    })
}
