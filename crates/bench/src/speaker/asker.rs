//! Who answers for an address: questions by ARP from the client's network card, and what comes back.
//!
//! The questions are those of a host that does not exist. Were they the client's own, its kernel would learn from
//! the answers where an address has moved to, and its connections would fare better than anybody else's.

use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use e2e::arp::{self, Arp, Mac};
use lab::{Host, Lab};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, sendto, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

/// Who asks.
const STRANGER: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 0x99]), Ipv4Addr::new(172, 16, 211, 99));
/// ETH_P_ARP, as socket(2) wants it.
const ARP: u16 = 0x0806_u16.to_be();
/// How long [`Asker::next`] waits for an answer, so that whoever calls it can see whether to go on.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long one answer may take that must come.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// A packet socket on the client's network card.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: Socket,
    card: LinkAddr,
}

/// What somebody said of an address when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// When it arrived, by the kernel's clock.
    pub(crate) at: SystemTime,
    pub(crate) address: Ipv4Addr,
    /// Whose network card has the address.
    pub(crate) by: Mac,
}

impl Asker {
    /// Needs the lab's client, and root.
    pub(crate) fn open(lab: &Lab) -> Result<Self> {
        lab.within(Host::Client, || {
            let card = getifaddrs()?
                .filter(|interface| interface.interface_name == "eth0")
                .find_map(|interface| interface.address?.as_link_addr().copied())
                .context("the client has no eth0")?;
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ARP))))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            Ok(Self { socket, card })
        })
    }

    /// Asks the LAN once who has `address`.
    pub(crate) fn ask(&self, address: Ipv4Addr) -> Result<()> {
        let question =
            Arp { source: STRANGER.0, sender: STRANGER, ..Arp::question(Host::Client, address) }.write();
        sendto(self.socket.as_raw_fd(), &question, &self.card, MsgFlags::empty())
            .with_context(|| format!("asking for {address}"))?;
        Ok(())
    }

    /// The next answer; none if there is none for a moment.
    pub(crate) fn next(&self) -> Result<Option<Answer>> {
        let mut frame = [0; 2 * arp::LEN];
        let mut parts = [IoSliceMut::new(&mut frame)];
        let mut control = nix::cmsg_space!(TimeSpec);
        let flags = MsgFlags::empty();
        let message = match recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            message => message.context("listening for answers")?,
        };
        let time = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(UNIX_EPOCH + Duration::from(time)),
            _ => None,
        });
        let (at, length) = (time.context("the kernel gave a frame no time")?, message.bytes);
        let answer = Arp::read(frame.get(..length).unwrap_or_default())
            .filter(|arp| arp.operation == 2 && arp.destination == STRANGER.0);
        Ok(answer.map(|Arp { sender: (by, address), .. }| Answer { at, address, by }))
    }

    /// Asks for an address that somebody has. Returns how long the answer took.
    pub(crate) fn round_trip(&self, address: Ipv4Addr) -> Result<Duration> {
        let asked = Instant::now();
        self.ask(address)?;
        loop {
            if self.next()?.is_some_and(|answer| answer.address == address) {
                return Ok(asked.elapsed());
            }
            ensure!(asked.elapsed() < ANSWERED_WITHIN, "nobody answers for {address}");
        }
    }
}
