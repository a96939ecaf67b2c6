//! What the kernel offers and no library makes safe. All `unsafe` of this crate is here.
#![expect(unsafe_code, reason = "libraries leave these to their users")]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use socket2::{SockAddr, SockAddrStorage};
use tokio::io::unix::AsyncFd;

use crate::lan::ClosedLater;

/// The address of "this protocol on this interface", to bind a packet socket to.
#[expect(clippy::cast_possible_truncation, reason = "constants of the C library, in the types that it wants")]
pub(crate) fn packet_address(index: u32, protocol: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the platform's socket address types.
    let address: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index;
    // SAFETY: the storage holds a `sockaddr_ll`, and the length is that of the type.
    Ok(unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) })
}

/// Lets tasks wait for a socket.
pub(crate) fn register(socket: ClosedLater) -> io::Result<AsyncFd<ClosedLater>> {
    // SAFETY: the socket owns its descriptor, and `AsyncFd` owns the socket: nobody can close or replace
    // it meanwhile.
    unsafe { AsyncFd::register(socket) }.map_err(Into::into)
}

/// Asks for short turns of the calling thread on a processor, from 0.1 to 100 ms (EEVDF, Linux 6.12): who asks for less at a
/// time waits less for it. Kernels before that take no notice. It takes no capability.
pub(crate) fn set_slice(slice: Duration) -> io::Result<()> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).map_err(io::Error::other)?;
    let mut attributes = libc::sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let (this_thread, no_flags) = (0, 0);
    // SAFETY: the kernel writes at most `size` bytes to the attributes, which are as large.
    let got =
        unsafe { libc::syscall(libc::SYS_sched_getattr, this_thread, &raw mut attributes, size, no_flags) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.sched_runtime = u64::try_from(slice.as_nanos()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads as many bytes of the attributes as they say in `size`.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const attributes, no_flags) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads from a Unix socket, together with a descriptor that comes with what is read. The kernel closes others.
pub(crate) fn receive_descriptor(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = cmsg_space!(libc::c_int);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let length = message.bytes;
    let mut received = Vec::new();
    for about in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = about {
            // SAFETY: the kernel has made these descriptors in this call, and nobody else knows of them.
            received.extend(descriptors.into_iter().map(|it| unsafe { OwnedFd::from_raw_fd(it) }));
        }
    }
    Ok((length, received.pop()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_ask_for_short_turns() {
        std::thread::spawn(|| set_slice(Duration::from_micros(100)).unwrap()).join().unwrap();
    }
}
