//! What packet sockets begin with, and what their filters are written in: classic BPF.
#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the C library, in the types that it wants"
)]

use std::io;

use socket2::{Domain, Protocol, Socket, Type};

/// A socket that receives nothing: it is made for no protocol, so that nothing comes before its filter is in place. Needs
/// `CAP_NET_RAW`.
pub(crate) fn unbound() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(0)))
}

pub(crate) const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
pub(crate) const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
pub(crate) const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
/// Counted from the index register.
pub(crate) const LOAD_HALF_BEHIND: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_IND) as u16;
pub(crate) const LOAD_WORD_BEHIND: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_IND) as u16;
/// The length of the IPv4 header, to the index register.
pub(crate) const LOAD_HEADER_LENGTH: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
pub(crate) const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub(crate) const JUMP_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
pub(crate) const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
pub(crate) const JUMP_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
pub(crate) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Where the kernel says to whom a packet is.
pub(crate) const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
