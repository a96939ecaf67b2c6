//! Which DHCP servers the LANs of this node have, for whoever wants to know: each interface is asked on, by a packet socket of
//! its own, and what is offered is told. No address is requested.
#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the C library, in the types that it wants"
)]

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use ::dhcp::{CLIENT_PORT, Offer, Question};
use introspection::{DhcpOffer, DhcpPlace, DhcpServers, Document, Status};
use kubekit::http::trace::TraceQuestion;
use layer2::MacAddr;
use socket2::{SockFilter, Socket};
use speaker_core::announce::layer2::{PortId, Responder};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use super::closing::ClosedLater;
use crate::packet_socket::{
    JUMP_EQUAL, JUMP_GREATER, JUMP_SET, LOAD_BYTE, LOAD_HALF, LOAD_HALF_BEHIND, LOAD_HEADER_LENGTH,
    LOAD_WORD, PACKET_TYPE, RETURN,
};
use crate::{kernel, packet_socket};

/// When the question is repeated, since it may be lost, and how long answers are waited for: servers may ping an address for
/// three seconds before they offer it.
const AGAIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(6);
/// So many offers are told of; a LAN with more servers is broken, or attacked.
const MOST: usize = 8;
/// Longer than what a server sends that nobody has allowed more (RFC 2131 section 2).
const FRAME: usize = 1500;

/// Asks on the interfaces of these ports that speak IPv4, perhaps for one address, and answers when all have waited.
pub(super) fn inquire<'a>(
    question: TraceQuestion,
    wanted: Option<Ipv4Addr>,
    node: String,
    ports: impl Iterator<Item = &'a PortId>,
) {
    let v4 = ports.filter(|port| matches!(port.responder, Responder::Arp(_))).cloned();
    let asked = v4.map(|port| async move {
        let found = ask(port.index, port.responder.mac(), wanted).await;
        if let Err(error) = &found {
            debug!(interface = %port.name, %error, "cannot ask for DHCP servers");
        }
        let asked = found.is_ok();
        let offers = found.unwrap_or_default().into_iter().map(shown).collect();
        DhcpPlace { interface: port.name.to_string(), asked, offers }
    });
    let asked: Vec<_> = asked.collect();
    tokio::spawn(async move {
        let places = futures::future::join_all(asked).await;
        question.answer(&Document::new(vec![], Status::DhcpServers(DhcpServers { node, places })));
    });
}

fn shown(offer: Offer) -> DhcpOffer {
    let Offer { server, address, prefix_length, router, lease } = offer;
    DhcpOffer { server, address, prefix_length, router, lease_seconds: lease.map(|it| it.as_secs()) }
}

/// What the servers of one LAN offer. An address that is wanted and offered is all there is to find out.
async fn ask(index: u32, mac: MacAddr, wanted: Option<Ipv4Addr>) -> io::Result<BTreeSet<Offer>> {
    let question = Question { mac: mac.0, xid: rand::random(), wanted };
    let socket = open(index)?;
    let begin = Instant::now();
    let (again, end) = (begin + AGAIN, begin + PATIENCE);
    let frame = question.frame();
    let mut offers = BTreeSet::new();
    send(&socket, &frame).await?;
    let mut buffer = [0; FRAME];
    let mut repeated = false;
    while offers.len() < MOST {
        let received = tokio::select! {
            received = timeout_at(end, receive(&socket, &mut buffer)) => received,
            () = sleep_until(again), if !repeated => {
                repeated = true;
                send(&socket, &frame).await?;
                continue;
            }
        };
        let Ok(length) = received else { break };
        if let Ok(offer) = question.offer(&buffer[..length?]) {
            offers.insert(offer);
            if wanted == Some(offer.address) {
                break;
            }
        }
    }
    Ok(offers)
}

async fn send(socket: &AsyncFd<ClosedLater>, frame: &[u8]) -> io::Result<()> {
    socket.async_io(Interest::WRITABLE, |socket| socket.send(frame)).await.map(drop)
}

async fn receive(socket: &AsyncFd<ClosedLater>, buffer: &mut [u8]) -> io::Result<usize> {
    socket.async_io(Interest::READABLE, |socket| io::Read::read(&mut &**socket, buffer)).await
}

fn open(index: u32) -> io::Result<AsyncFd<ClosedLater>> {
    let socket: Socket = packet_socket::unbound()?;
    socket.attach_filter(&TO_CLIENTS)?;
    socket.bind(&kernel::packet_address(index, libc::ETH_P_IP as u16)?)?;
    kernel::register(socket.into())
}

const ETHERNET: u32 = 14;
const UDP: u32 = libc::IPPROTO_UDP as u32;
const PACKET_BROADCAST: u32 = libc::PACKET_BROADCAST as u32;
const PORT: u32 = CLIENT_PORT as u32;

/// UDP in IPv4 for DHCP clients, to this host or to all.
const TO_CLIENTS: [SockFilter; 11] = [
    SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE),
    SockFilter::new(JUMP_GREATER, 8, 0, PACKET_BROADCAST),
    SockFilter::new(LOAD_BYTE, 0, 0, ETHERNET + 9),
    SockFilter::new(JUMP_EQUAL, 0, 6, UDP),
    SockFilter::new(LOAD_HALF, 0, 0, ETHERNET + 6),
    SockFilter::new(JUMP_SET, 4, 0, 0x3fff),
    SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, ETHERNET),
    SockFilter::new(LOAD_HALF_BEHIND, 0, 0, ETHERNET + 2),
    SockFilter::new(JUMP_EQUAL, 0, 1, PORT),
    SockFilter::new(RETURN, 0, 0, FRAME as u32),
    SockFilter::new(RETURN, 0, 0, 0),
];
