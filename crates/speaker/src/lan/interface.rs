//! One interface by one protocol: brings frames and the time to a [`Port`], and does what it decides.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubekit::Progress;
use layer2::{Answered, Effect, Port, Protocol, Purpose, Transmission};
use placement::InterfaceName;
use speaker_core::announce::layer2::Orders;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, trace, warn};

use super::Report;
use super::inquiries::Inquiry;
use super::memberships::Memberships;
use super::pulse::Pulse;
use super::socket::{Listen, PacketSocket, Received, Reception};
use crate::Metrics;

/// Between attempts to open a socket.
const RETRY: Duration = Duration::from_secs(1);
/// Longer than any frame that matters: ARP has 42 bytes, neighbour discovery hardly more than 100.
const FRAME: usize = 2048;

/// No socket can be had on an interface for one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Failure {
    pub(super) index: u32,
    pub(super) listen: Listen,
    pub(super) reception: Reception,
}

/// An interface, and whom it talks to.
pub(super) struct Interface<P> {
    pub(super) index: u32,
    pub(super) name: InterfaceName,
    pub(super) protocol: P,
    pub(super) listen: Listen,
    pub(super) reception: Reception,
    pub(super) refresh_interval: Option<Duration>,
    pub(super) orders: watch::Receiver<Arc<Orders>>,
    pub(super) inquiries: mpsc::Receiver<Inquiry>,
    pub(super) reports: mpsc::Sender<Report>,
    /// Told when no socket can be had, which ends this.
    pub(super) failures: mpsc::Sender<Failure>,
    pub(super) metrics: Metrics,
    pub(super) pulse: Arc<Pulse>,
    pub(super) progress: Progress,
}

impl<P: Protocol + Copy> Interface<P> {
    /// Serves the interface for as long as a socket can be had, or until nobody gives orders any more.
    pub(super) async fn run(mut self) {
        let mut told = None;
        while let Err(error) = self.serve().await {
            if told.replace(error.kind()) != Some(error.kind()) {
                warn!(interface = %self.name, %error, "cannot use the interface, trying again");
            }
            let again = PacketSocket::open(self.index, self.listen, self.reception);
            // Whoever follows the interfaces knows of one that is gone.
            let is_gone = |error: &io::Error| {
                matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN))
            };
            if again.is_err_and(|error| !is_gone(&error)) {
                _ = self
                    .failures
                    .send(Failure { index: self.index, listen: self.listen, reception: self.reception })
                    .await;
                return;
            }
            self.progress.mark();
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The one loop: whatever comes first of a frame, an order, and the time to do something. Each turn does
    /// one thing, so a long list of addresses to announce does not keep those who ask waiting.
    ///
    /// Everything begins anew with each call: in between nobody was answered.
    async fn serve(&mut self) -> io::Result<()> {
        let socket = PacketSocket::open(self.index, self.listen, self.reception)?;
        let mut memberships = Memberships::new(self.index);
        let mut port = Port::new(self.protocol, self.refresh_interval, rand::random(), Instant::now());
        let mut frame = [0; FRAME];
        let mut inquirers: Vec<(IpAddr, oneshot::Sender<Answered>)> = Vec::new();
        self.orders.mark_changed();
        loop {
            tokio::select! {
                received = socket.receive(&mut frame) => match received {
                    Ok(Received { length, age }) => self.hear(&mut port, &frame[..length], age),
                    // Told once when the interface goes down. Whoever follows the interfaces ends this task
                    // if it stays down.
                    Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                    Err(error) => return Err(error),
                },
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let orders = Arc::clone(&self.orders.borrow_and_update());
                    orders.give(&mut port, Instant::now());
                }
                Some(Inquiry { vip, answer }) = self.inquiries.recv() => {
                    if P::own(vip).is_some_and(|vip| port.inquire(vip, Instant::now())) {
                        inquirers.push((vip, answer));
                    }
                }
                () = kubekit::due(port.poll_timeout()) => {}
                () = self.progress.beat() => {}
            }
            match port.poll(Instant::now()) {
                Some(Effect::Send(transmission)) => self.send(&socket, transmission).await,
                Some(Effect::Join(group)) => {
                    if let Err(error) = memberships.join(group) {
                        warn!(interface = %self.name, %group, %error, "cannot join the group");
                        self.metrics.group_not_joined(&self.name);
                    }
                }
                Some(Effect::Leave(group)) => memberships.leave(group),
                Some(Effect::Report(report)) => self.report(report).await,
                Some(Effect::Answered(answered)) => {
                    for (_, inquirer) in inquirers.extract_if(.., |(vip, _)| *vip == answered.vip) {
                        // Whoever wanted to know may have gone.
                        _ = inquirer.send(answered.clone());
                    }
                }
                None => {}
            }
        }
    }

    fn hear(&self, port: &mut Port<P>, frame: &[u8], age: Duration) {
        let now = Instant::now();
        if let Some(went_on) = self.pulse.went_on(now) {
            port.stood_still(went_on);
        }
        if let Err(ignored) = port.handle(frame, now.checked_sub(age).unwrap_or(now), now) {
            trace!(interface = %self.name, reason = %ignored, "frame ignored");
            self.metrics.frame_ignored(ignored);
        }
    }

    /// A frame that cannot be sent is not tried again: who asked asks again, and an announcement is one of
    /// several.
    async fn send(&self, socket: &PacketSocket, transmission: Transmission) {
        let Transmission { vip, purpose, frame } = transmission;
        let sent = socket.send(&frame).await;
        // Counted after the fact: somebody waits for the answer.
        if purpose == Purpose::Answer {
            self.metrics.request_received(vip);
        }
        match sent {
            Ok(()) => self.metrics.frame_sent(vip, purpose),
            Err(error) => {
                debug!(interface = %self.name, %error, "frame not sent");
                self.metrics.frame_not_sent(&self.name);
            }
        }
    }

    async fn report(&self, report: layer2::Report) {
        match report {
            layer2::Report::Taken { vip, .. } => self.metrics.taken(vip),
            layer2::Report::Claimed { vip, .. } => self.metrics.claimed(vip),
            layer2::Report::PeerAnswers { vip, .. } => self.metrics.peer_answers(vip),
            layer2::Report::Free { .. }
            | layer2::Report::Held { .. }
            | layer2::Report::Rival { .. }
            | layer2::Report::SameLan { .. }
            | layer2::Report::Answered { .. }
            | layer2::Report::Silent { .. }
            | layer2::Report::Spoken { .. } => {}
        }
        // Nobody wants to know when this fails.
        _ = self.reports.send(Report::Port(self.name.clone(), report)).await;
    }
}
