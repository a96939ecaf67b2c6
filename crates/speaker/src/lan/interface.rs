//! One interface: answers what is asked there, and announces what was taken over.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer2::{ArpFrame, Responder, Schedule};
use placement::{Announcements, Takeover};
use tokio::sync::{mpsc, watch};
use tracing::{debug, trace, warn};

use super::links::Link;
use super::socket::PacketSocket;
use super::{Report, Wanted};
use crate::Metrics;

/// Between attempts to open a socket.
const RETRY: Duration = Duration::from_secs(1);

/// Serves one interface for ever, or until nobody tells any more what to announce.
pub(super) async fn run(
    link: Link,
    mut wanted: watch::Receiver<Wanted>,
    reports: mpsc::Sender<Report>,
    metrics: Metrics,
) {
    let mut interface = Interface::new(link, reports, metrics);
    let mut told = None;
    while let Err(error) = interface.serve(&mut wanted).await {
        if told.replace(error.kind()) != Some(error.kind()) {
            warn!(interface = %interface.link.name, %error, "cannot use the interface, trying again");
        }
        tokio::time::sleep(RETRY).await;
        // Nobody was answered in between: all starts anew.
        interface = Interface::new(interface.link, interface.reports, interface.metrics);
    }
}

struct Interface {
    link: Link,
    reports: mpsc::Sender<Report>,
    metrics: Metrics,
    responder: Responder,
    schedule: Schedule<Ipv4Addr>,
    takeovers: BTreeMap<Ipv4Addr, Takeover>,
}

impl Interface {
    fn new(link: Link, reports: mpsc::Sender<Report>, metrics: Metrics) -> Self {
        let responder = Responder::new(link.mac);
        Self { link, reports, metrics, responder, schedule: Schedule::new(), takeovers: BTreeMap::new() }
    }

    /// The one loop: whatever comes first of a frame, a change, and the time to announce. Each turn does one
    /// thing, so a long list of addresses to announce does not keep those who ask waiting.
    async fn serve(&mut self, wanted: &mut watch::Receiver<Wanted>) -> io::Result<()> {
        let socket = PacketSocket::open(self.link.index)?;
        // Longer frames are cut off, which does no harm: all that counts is in the first 42 bytes.
        let mut frame = [0; 128];
        wanted.mark_changed();
        loop {
            tokio::select! {
                received = socket.receive(&mut frame) => match received {
                    Ok(length) => self.answer(&socket, &frame[..length]).await,
                    // Told once when the interface goes down. Whoever follows the interfaces ends this task
                    // if it stays down.
                    Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                    Err(error) => return Err(error),
                },
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let current = Arc::clone(&wanted.borrow_and_update().announcements);
                    self.update(&current, Instant::now());
                }
                () = due(self.schedule.poll_timeout()) => {
                    if let Some(vip) = self.schedule.poll(Instant::now()) {
                        self.announce(&socket, vip).await;
                    }
                }
            }
        }
    }

    async fn answer(&self, socket: &PacketSocket, frame: &[u8]) {
        let answer = match self.responder.handle(frame) {
            Ok(answer) => answer,
            Err(ignored) => {
                trace!(interface = %self.link.name, reason = %ignored, "frame ignored");
                return self.metrics.frame_ignored(ignored);
            }
        };
        // Counted after the fact: somebody waits for the answer.
        let sent = self.send(socket, answer.frame).await;
        self.metrics.request_received(answer.vip.into());
        if sent {
            self.metrics.response_sent(answer.vip.into());
        }
    }

    async fn announce(&self, socket: &PacketSocket, vip: Ipv4Addr) {
        let mac = self.link.mac;
        for frame in [ArpFrame::gratuitous_request(mac, vip), ArpFrame::gratuitous_reply(mac, vip)] {
            if self.send(socket, frame).await {
                self.metrics.gratuitous_sent(vip.into());
            }
        }
    }

    /// Whether the frame was sent. One that was not is not tried again: who asked asks again, and an
    /// announcement is one of several.
    async fn send(&self, socket: &PacketSocket, frame: ArpFrame) -> bool {
        match socket.send(&frame.emit()).await {
            Ok(()) => true,
            Err(error) => {
                debug!(interface = %self.link.name, %error, "frame not sent");
                self.metrics.frame_not_sent(&self.link.name);
                false
            }
        }
    }

    fn update(&mut self, announcements: &Announcements, now: Instant) {
        let wanted: BTreeMap<Ipv4Addr, Takeover> = announcements
            .iter()
            .filter(|(_, announcement)| announcement.interfaces.contains(&self.link.name))
            .filter_map(|(vip, announcement)| match vip {
                IpAddr::V4(vip) => Some((*vip, announcement.takeover)),
                IpAddr::V6(_) => None,
            })
            .collect();
        for vip in self.takeovers.keys().filter(|vip| !wanted.contains_key(vip)) {
            self.responder.remove(*vip);
            self.schedule.withdraw(*vip);
        }
        for (vip, takeover) in &wanted {
            if self.takeovers.get(vip) != Some(takeover) {
                self.responder.add(*vip);
                self.schedule.take_over(*vip, now);
            }
        }
        self.takeovers = wanted;
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
