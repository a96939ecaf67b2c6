//! Messages and descriptors over a Unix socket: the length of a message, in four octets, with the descriptor; then the message.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, bail, ensure};
use gossip::{Keys, Proof};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::Uid;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::ACQUAINTED_WITHIN;
use super::message::{Challenge, Message, VERSION};
use crate::kernel;

/// The most octets of a message from somebody who is not known yet.
const STRANGERS: usize = 4096;
/// The most octets of a message: the routes of one session, a hundred thousand of them with room to spare.
const MOST: usize = 64 << 20;
/// As much is read at once: more than the kernel has room for.
const AT_ONCE: usize = 256 << 10;
/// The most proofs that are looked at: there are two keys while they are rotated.
const PROOFS: usize = 4;

/// The purposes of proofs: what the old one says is of no use for who wants to pass for the new one.
const OLD: &str = "the speaker before";
const NEW: &str = "the next speaker";

/// A connection between the two.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

impl Channel {
    /// With whoever has connected to us, if it is the next speaker.
    pub(super) async fn with_successor(stream: UnixStream, keys: &Keys) -> anyhow::Result<Self> {
        let mut channel = Self::with_same_user(stream)?;
        let ours: Challenge = rand::random();
        let acquainted = async {
            channel.send(&Message::Hello { version: VERSION, challenge: ours }, None).await?;
            let Message::Answer { version, challenge: theirs, proofs } =
                channel.receive_from_stranger().await?
            else {
                bail!("it does not answer")
            };
            ensure!(version == VERSION, "it speaks version {version}, and not {VERSION}");
            ensure!(prove(keys, NEW, &ours, &theirs, &proofs), "it does not know the key of the gossip");
            let proofs = all_proofs(keys, OLD, &ours, &theirs);
            channel.send(&Message::Welcome { proofs }, None).await
        };
        tokio::time::timeout(ACQUAINTED_WITHIN, acquainted).await.context("it says nothing")??;
        Ok(channel)
    }

    /// With whoever we have connected to, if it is the speaker before.
    pub(super) async fn with_predecessor(stream: UnixStream, keys: &Keys) -> anyhow::Result<Self> {
        let mut channel = Self::with_same_user(stream)?;
        let ours: Challenge = rand::random();
        let acquainted = async {
            let Message::Hello { version, challenge: theirs } = channel.receive_from_stranger().await? else {
                bail!("it does not say who it is")
            };
            ensure!(version == VERSION, "it speaks version {version}, and not {VERSION}");
            let proofs = all_proofs(keys, NEW, &theirs, &ours);
            channel.send(&Message::Answer { version: VERSION, challenge: ours, proofs }, None).await?;
            let Message::Welcome { proofs } = channel.receive_from_stranger().await? else {
                bail!("it does not prove who it is")
            };
            ensure!(prove(keys, OLD, &theirs, &ours, &proofs), "it does not know the key of the gossip");
            Ok(())
        };
        tokio::time::timeout(ACQUAINTED_WITHIN, acquainted).await.context("it says nothing")??;
        Ok(channel)
    }

    /// For the hand-shake, and for nothing else.
    pub(super) fn with_same_user(stream: UnixStream) -> anyhow::Result<Self> {
        let theirs = stream.peer_cred().context("asking who it is")?.uid();
        ensure!(theirs == Uid::effective().as_raw(), "it runs as user {theirs}");
        Ok(Self(stream))
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> anyhow::Result<()> {
        let text = serde_json::to_vec(message)?;
        let length = u32::try_from(text.len())?.to_be_bytes();
        let descriptor = descriptor.map(|it| [it.as_raw_fd()]);
        let with: Vec<ControlMessage<'_>> =
            descriptor.iter().map(|it| ControlMessage::ScmRights(it)).collect();
        let send = || {
            let (parts, flags) = ([IoSlice::new(&length)], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
            Ok(sendmsg::<()>(self.0.as_raw_fd(), &parts, &with, flags, None)?)
        };
        // The kernel has room for so little or for nothing.
        ensure!(self.0.async_io(Interest::WRITABLE, send).await? == length.len(), "a message is cut");
        let mut rest = &text[..];
        while !rest.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn receive_from_stranger(&mut self) -> anyhow::Result<Message> {
        Ok(self.receive_up_to(STRANGERS).await?.0)
    }

    /// The next message, with its descriptor. Not cancel safe: there is to be nothing after that.
    pub(super) async fn receive(&mut self) -> anyhow::Result<(Message, Option<OwnedFd>)> {
        self.receive_up_to(MOST).await
    }

    async fn receive_up_to(&mut self, most: usize) -> anyhow::Result<(Message, Option<OwnedFd>)> {
        let (mut length, mut read, mut descriptor) = ([0; 4], 0, None);
        while read < length.len() {
            let socket = self.0.as_fd();
            let receive = || kernel::receive_descriptor(socket, &mut length[read..]);
            let (octets, with) = self.0.async_io(Interest::READABLE, receive).await?;
            ensure!(octets > 0, "the connection is closed");
            read += octets;
            descriptor = with.or(descriptor);
        }
        let length = usize::try_from(u32::from_be_bytes(length))?;
        ensure!(length <= most, "a message of {length} octets is too long");
        // There is room for what comes, and not for what is said to come.
        let mut text = Vec::new();
        while text.len() < length {
            self.0.readable().await?;
            let read = text.len();
            text.resize(length.min(read + AT_ONCE), 0);
            let result = self.0.try_read(&mut text[read..]);
            text.truncate(read + result.as_ref().map_or(0, |octets| *octets));
            match result {
                Ok(0) => bail!("the connection is closed"),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((serde_json::from_slice(&text).context("a message makes no sense")?, descriptor))
    }

    /// Waits until the other end is gone, or says something that nobody waits for.
    pub(super) async fn closed(&mut self) {
        _ = self.receive_from_stranger().await;
    }

    /// Has it open until this process ends.
    pub(super) fn keep_open(self) {
        std::mem::forget(self.0);
    }
}

/// What is proven: both ends have had a say in it.
fn both(old: &Challenge, new: &Challenge) -> Vec<u8> {
    [&old[..], &new[..]].concat()
}

fn all_proofs(keys: &Keys, purpose: &str, old: &Challenge, new: &Challenge) -> Vec<Proof> {
    keys.iter().take(PROOFS).map(|key| key.prove(purpose, &both(old, new))).collect()
}

/// Whether one of the proofs is by one of the keys.
fn prove(keys: &Keys, purpose: &str, old: &Challenge, new: &Challenge, proofs: &[Proof]) -> bool {
    let proven = both(old, new);
    let by = |proof: &Proof| keys.iter().any(|key| key.proves(purpose, &proven, proof));
    proofs.iter().take(PROOFS).any(by)
}
