//! A host of the LAN that wants to listen to the speakers.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use gossip::{Absence, Config, Metrics, Preset, Profile};
use lab::Host;
use tempfile::NamedTempFile;

use crate::Cluster;

/// The port of the gossip, as the chart has it.
const GOSSIP_PORT: u16 = 7946;

impl Cluster {
    /// How many speakers the client hears who has this key, as soon as that is all of them, and at the latest after
    /// `patience`.
    pub fn speakers_heard_with(&self, key: &[u8], patience: Duration) -> Result<usize> {
        let mut file = NamedTempFile::new()?;
        file.write_all(key)?;
        let place = |host: Host| SocketAddr::new(IpAddr::V4(host.ipv4()), GOSSIP_PORT);
        let config = Config {
            name: "listener".into(),
            bind: place(Host::Client),
            preset: Preset::Default,
            key_files: vec![file.path().to_owned()],
            profile: Profile::default(),
        };
        let speakers: BTreeMap<_, _> = self
            .lab
            .nodes()
            .map(|node| (node.to_string().as_str().into(), place(Host::Node(node))))
            .collect();
        self.lab.in_network(Host::Client, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (gossip, _) = gossip::start(config, Metrics::default()).context("joining the gossip")?;
                let all = speakers.len();
                gossip.set_peers(speakers);
                let mut view = gossip.view();
                let heard = view.wait_for(|view| view.members.len() == all);
                drop(tokio::time::timeout(patience, heard).await);
                let heard = view.borrow().members.len();
                gossip.leave(Absence::Open).await;
                Ok(heard)
            })
        })
    }
}
