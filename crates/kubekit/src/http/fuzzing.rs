//! What the fuzz targets call: a connection without a network.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use super::connections::Limits;
use super::page::Page;
use super::{Content, Readiness, status};
use crate::watchdog::Watchdog;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// What is answered to whoever sends these bytes and no more.
pub fn answers(bytes: &[u8]) -> Vec<u8> {
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (status, _) = status::channel();
            let content = Content {
                readiness: Readiness::waiting_for(["one"]),
                watchdog: Watchdog::default(),
                metrics: Registry::default(),
                status,
                trace: None,
                namespace: "metallb-system".to_owned(),
            };
            let page = Arc::new(Page::new(content));
            let (mut client, server) = tokio::io::duplex(1 << 20);
            client.write_all(bytes).await.expect("there is room");
            client.shutdown().await.expect("nobody else closes it");
            Limits::PLAIN.talk(server, |request| std::future::ready(page.probe(&request))).await;
            let mut answers = Vec::new();
            client.read_to_end(&mut answers).await.expect("nothing is lost");
            answers
        })
    })
}
