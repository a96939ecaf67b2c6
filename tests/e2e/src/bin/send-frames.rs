//! Sends the frames on its standard input, in hexadecimal and one to a line, by the network card eth0. They go out as
//! they are, right or wrong.

use std::io::stdin;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket};

fn main() -> Result<()> {
    let card = getifaddrs()?
        .filter(|interface| interface.interface_name == "eth0")
        .find_map(|interface| interface.address?.as_link_addr().copied())
        .context("there is no eth0")?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None)?;
    for line in stdin().lines() {
        let frame = from_hex(&line?)?;
        let sent = sendto(socket.as_raw_fd(), &frame, &card, MsgFlags::empty());
        sent.with_context(|| format!("sending a frame of {} bytes", frame.len()))?;
    }
    Ok(())
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).context("a frame is written in hexadecimal");
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let value =
                pair.iter().map(digit).try_fold(0, |value, next| Ok::<_, anyhow::Error>(value * 16 + next?));
            Ok(u8::try_from(value?)?)
        })
        .collect()
}
