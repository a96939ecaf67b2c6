//! Who answers for an address, for whoever wants to know: asks all ports of its family, and puts together what they hear.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use introspection::{Document, Status, Trace, TracedPlace};
use kubekit::http::trace::{TraceQuestion, Wanted};
use layer2::Answered;
use speaker_core::announce::layer2::{PortId, Responder};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Running, dhcp};

/// A port that does not answer by then does not use its interface at present.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many questions may wait for a port.
pub(super) const WAITING: usize = 4;

/// What a port is asked: for which address, and whom to tell.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) vip: IpAddr,
    pub(super) answer: oneshot::Sender<Answered>,
}

/// Asks the LAN what somebody wants to know, by these ports.
pub(super) fn inquire(question: TraceQuestion, node: String, ports: &BTreeMap<PortId, Running>) {
    match question.wanted {
        Wanted::Address(ip) => inquire_for(ip, question, node, ports),
        Wanted::DhcpServers(wanted) => dhcp::inquire(question, wanted, node, ports.keys()),
    }
}

/// Asks these ports, and answers when all have.
fn inquire_for(ip: IpAddr, question: TraceQuestion, node: String, ports: &BTreeMap<PortId, Running>) {
    let ask = |(port, running): (&PortId, &Running)| {
        let (answer, answered) = oneshot::channel();
        // One that is busy with others is not waited for.
        _ = running.inquiries.try_send(Inquiry { vip: ip, answer });
        (port.clone(), answered)
    };
    let asked: Vec<_> = ports.iter().filter(|(port, _)| is_for(port, ip)).map(ask).collect();
    tokio::spawn(async move {
        let heard = asked.into_iter().map(|(port, answered)| async move {
            let answered = timeout(PATIENCE, answered).await.ok().and_then(Result::ok);
            place(&port, answered)
        });
        let places = futures::future::join_all(heard).await;
        question.answer(&Document::new(vec![], Status::Trace(Trace { node, ip: Some(ip), places })));
    });
}

fn is_for(port: &PortId, ip: IpAddr) -> bool {
    match port.responder {
        Responder::Arp(_) => ip.is_ipv4(),
        Responder::Ndp(_) => ip.is_ipv6(),
    }
}

fn place(port: &PortId, answered: Option<Answered>) -> TracedPlace {
    let asked = answered.is_some();
    let (here, by) = answered.map(|Answered { vip: _, here, by }| (here, by)).unwrap_or_default();
    TracedPlace {
        interface: port.name.to_string(),
        mac: port.responder.mac().to_string(),
        asked,
        here,
        answers: by.iter().map(ToString::to_string).collect(),
    }
}
