//! One interface: brings packets and the time to a [`Responder`], and does what it decides.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kubekit::Progress;
use mdns::{Destination, Effect, Interface, LONGEST, Packet, Report, Responder};
use placement::InterfaceName;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, trace, warn};

use super::Serve;
use super::metrics::MdnsMetrics;
use super::socket::Sockets;

/// Between attempts to open sockets.
const RETRY: Duration = Duration::from_secs(5);

/// The task of an interface, for as long as this lives.
pub(super) struct Task {
    serve: watch::Sender<Serve>,
    take_back: Option<oneshot::Sender<()>>,
    handle: JoinHandle<()>,
}

struct Running {
    interface: Interface,
    serve: watch::Receiver<Serve>,
    reports: mpsc::Sender<(InterfaceName, Report)>,
    metrics: MdnsMetrics,
    progress: Progress,
}

impl Task {
    pub(super) fn start(
        interface: Interface,
        serve: Serve,
        reports: mpsc::Sender<(InterfaceName, Report)>,
        metrics: MdnsMetrics,
        progress: Progress,
    ) -> Self {
        let (sender, serve) = watch::channel(serve);
        let (take_back, to_take_back) = oneshot::channel();
        let running = Running { interface, serve, reports, metrics, progress };
        let handle = tokio::spawn(running.run(to_take_back));
        Self { serve: sender, take_back: Some(take_back), handle }
    }

    /// What is to be answered for now.
    pub(super) fn serve(&self, serve: Serve) {
        kubekit::send_if_new(&self.serve, serve);
    }

    /// Says on the LAN that all names are given up.
    pub(super) async fn take_back(mut self) {
        if let Some(take_back) = self.take_back.take() {
            _ = take_back.send(());
        }
        // One that ended by itself has nothing to say.
        _ = (&mut self.handle).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Running {
    async fn run(mut self, mut take_back: oneshot::Receiver<()>) {
        let mut told = false;
        loop {
            match Sockets::open(self.interface.0) {
                Ok(sockets) => {
                    let Err(error) = self.serve_by(&sockets, &mut take_back).await else { return };
                    debug!(interface = %self.interface.1, %error, "Multicast DNS begins anew");
                }
                Err(error) if !told => {
                    told = true;
                    warn!(interface = %self.interface.1, %error, "cannot listen to Multicast DNS, trying again");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => self.progress.mark(),
                _ = &mut take_back => return,
            }
        }
    }

    /// Whatever comes first of a packet, another wish, and the time to do something; ends when all is taken back.
    async fn serve_by(&mut self, sockets: &Sockets, take_back: &mut oneshot::Receiver<()>) -> io::Result<()> {
        let mut responder = Responder::new(rand::random(), Instant::now());
        let mut buffer = vec![0; LONGEST];
        self.serve.mark_changed();
        loop {
            let ends = tokio::select! {
                received = sockets.receive(&mut buffer) => {
                    let (length, from) = received?;
                    self.hear(&mut responder, &buffer[..length], from);
                    false
                }
                changed = self.serve.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let Serve { wanted, prefixes } = self.serve.borrow_and_update().clone();
                    responder.set_prefixes(prefixes);
                    responder.set_wanted(&wanted, Instant::now());
                    false
                }
                () = kubekit::due(responder.poll_timeout()) => false,
                () = self.progress.beat() => false,
                _ = &mut *take_back => {
                    responder.leave();
                    true
                }
            };
            while let Some(effect) = responder.poll(Instant::now()) {
                match effect {
                    Effect::Send { to, purpose, bytes } => {
                        self.metrics.sent(purpose);
                        let sent = match to {
                            Destination::Group => sockets.send_to_all(&bytes).await,
                            Destination::One(one) => sockets.send_to(&bytes, one).await,
                        };
                        if let Err(error) = sent {
                            debug!(interface = %self.interface.1, %error, "message of Multicast DNS not sent");
                            self.metrics.not_sent();
                        }
                    }
                    Effect::Report(report) => self.report(report).await,
                }
            }
            if ends {
                return Ok(());
            }
        }
    }

    fn hear(&self, responder: &mut Responder, bytes: &[u8], from: SocketAddr) {
        if let Err(ignored) = responder.handle(Packet { bytes, from }, Instant::now()) {
            trace!(interface = %self.interface.1, reason = %ignored, "message of Multicast DNS ignored");
            self.metrics.ignored(ignored);
        }
    }

    async fn report(&self, report: Report) {
        match &report {
            Report::Announced(name) => info!(interface = %self.interface.1, %name, "answering for a name"),
            // The owner of the Service is told, and that is logged.
            Report::Taken { .. } => self.metrics.taken(),
        }
        // Nobody wants to know when this fails.
        _ = self.reports.send((self.interface.1.clone(), report)).await;
    }
}
