//! Frames from and to the client's network card, past its kernel.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use lab::{Host, Lab};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, sendto, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

/// How long [`Card::next`] waits for a frame, so that whoever calls it can see whether to go on.
const PATIENCE: Duration = Duration::from_millis(50);
/// As much of a frame as is read.
const LENGTH: usize = 128;

/// A packet socket on the client's network card, for frames of one EtherType.
#[derive(Debug)]
pub struct Card {
    socket: Socket,
    address: LinkAddr,
}

impl Card {
    /// Needs the lab's client, and root.
    pub fn open(lab: &Lab, ether_type: u16) -> Result<Self> {
        lab.in_network(Host::Client, || {
            let address = getifaddrs()?
                .filter(|interface| interface.interface_name == "eth0")
                .find_map(|interface| interface.address?.as_link_addr().copied())
                .context("the client has no eth0")?;
            // As socket(2) wants it.
            let protocol = Protocol::from(i32::from(ether_type.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            Ok(Self { socket, address })
        })
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        sendto(self.socket.as_raw_fd(), frame, &self.address, MsgFlags::empty())
            .with_context(|| format!("sending a frame of {} bytes", frame.len()))?;
        Ok(())
    }

    /// What `read` makes of the next frame that arrives, and of the time when it did by the kernel's clock; none if
    /// there is no frame for a moment.
    pub fn next<T>(&self, read: impl FnOnce(SystemTime, &[u8]) -> Option<T>) -> Result<Option<T>> {
        let mut frame = [0; LENGTH];
        let mut parts = [IoSliceMut::new(&mut frame)];
        let mut control = nix::cmsg_space!(TimeSpec);
        let flags = MsgFlags::empty();
        let message = match recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            message => message.context("listening for frames")?,
        };
        let time = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(UNIX_EPOCH + Duration::from(time)),
            _ => None,
        });
        let (at, length) = (time.context("the kernel gave a frame no time")?, message.bytes);
        Ok(read(at, frame.get(..length).unwrap_or_default()))
    }
}
