//! What passes a network card; and everything ARP that passes the client's, from the start of the lab to its end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lab::process::Running;
use lab::{Host, Lab, NodeId, wait_until};

use crate::arp::{Arp, Mac};
use crate::{Cluster, SOON};

/// pcap-savefile(5): magic, version, zone, snapshot length and link type.
const FILE_HEADER: usize = 24;
/// pcap-savefile(5): seconds, microseconds, bytes that follow, bytes on the wire.
const RECORD_HEADER: usize = 16;

/// How long who answers is watched, and how often it is asked meanwhile.
const WATCHED: Duration = Duration::from_millis(500);
const ASKED_EVERY: Duration = Duration::from_millis(50);

/// Who asks.
const STRANGER: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 0x98]), Ipv4Addr::new(172, 16, 211, 98));

/// Two nodes may answer at the same time while an address moves, and no longer.
const MOVES_WITHIN: Duration = Duration::from_secs(1);

/// A running tcpdump.
#[derive(Debug)]
pub struct Capture {
    file: File,
    _tcpdump: Running,
}

impl Capture {
    /// Captures what passes the network card of a host, in the direction and of the kind that `filter` says, in
    /// tcpdump's words. Returns once it has begun.
    pub fn start<'a>(lab: &Lab, host: Host, filter: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("frames.pcap");
        let mut command = ["tcpdump", "-i", "eth0", "-n", "-U", "--immediate-mode", "-Z", "root", "-w"]
            .map(str::to_owned)
            .to_vec();
        command.push(path.display().to_string());
        command.extend(filter.into_iter().map(str::to_owned));
        let tcpdump = lab.spawn(host, command, None)?;
        let file = wait_until("tcpdump has begun", SOON, || {
            let file = File::open(&path)?;
            ensure!(file.metadata()?.len() >= FILE_HEADER as u64, "its file is empty");
            Ok(file)
        })?;
        // From here on the file has no name, so it is gone with the two that have it open.
        Ok(Self { file, _tcpdump: tcpdump })
    }

    /// The frames that were seen so far.
    pub fn frames(&self) -> Result<Vec<(SystemTime, Vec<u8>)>> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.rewind()?;
        file.read_to_end(&mut bytes).context("reading what tcpdump wrote")?;
        let frames = records(bytes.get(FILE_HEADER..).unwrap_or_default());
        Ok(frames.map(|(at, frame)| (at, frame.to_vec())).collect())
    }
}

fn owners(claims: impl IntoIterator<Item = (SystemTime, Mac)>) -> Vec<Mac> {
    let mut owners: Vec<(SystemTime, Mac)> = Vec::new();
    for (at, claimer) in claims {
        let goes_on = match owners[..] {
            [.., (_, now)] if now == claimer => true,
            [.., (_, former), (taken_over, _)] => former == claimer && at < taken_over + MOVES_WITHIN,
            _ => false,
        };
        if !goes_on {
            owners.push((at, claimer));
        }
    }
    owners.into_iter().map(|(_, owner)| owner).collect()
}

/// The complete records of a file that is still being written.
fn records(mut rest: &[u8]) -> impl Iterator<Item = (SystemTime, &[u8])> {
    std::iter::from_fn(move || {
        let (header, body) = rest.split_at_checked(RECORD_HEADER)?;
        let field = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (frame, after) = body.split_at_checked(field(8) as usize)?;
        rest = after;
        let at = Duration::from_secs(field(0).into()) + Duration::from_micros(field(4).into());
        Some((UNIX_EPOCH + at, frame))
    })
}

impl Cluster {
    /// The ARP frames that the client has seen at `since` or later.
    pub fn arp_since(&self, since: SystemTime) -> Result<Vec<(SystemTime, Arp)>> {
        let recent = self.capture.frames()?.into_iter().filter(|(at, _)| *at >= since);
        Ok(recent.filter_map(|(at, frame)| Some((at, Arp::read(&frame)?))).collect())
    }

    /// Who has told anybody since `since` that `address` is theirs, asked or unasked, in order.
    pub fn claims_since(&self, address: Ipv4Addr, since: SystemTime) -> Result<Vec<(SystemTime, Mac)>> {
        let claims = self.arp_since(since)?.into_iter().filter(|(_, arp)| arp.sender.1 == address);
        Ok(claims.map(|(at, arp)| (at, arp.sender.0)).collect())
    }

    /// Who has had `address` since `since`, one after the other. A former owner that goes on for a moment while the
    /// address moves is no owner again; one that goes on for longer is.
    pub fn owners_since(&self, address: Ipv4Addr, since: SystemTime) -> Result<Vec<Mac>> {
        Ok(owners(self.claims_since(address, since)?))
    }

    /// What was said of `address` since `since` without being asked for.
    pub fn gratuitous_since(&self, address: Ipv4Addr, since: SystemTime) -> Result<Vec<(SystemTime, Arp)>> {
        let unasked = |arp: &Arp| arp.sender.1 == address && arp.destination == Mac::BROADCAST;
        Ok(self.arp_since(since)?.into_iter().filter(|(_, arp)| unasked(arp)).collect())
    }

    /// Sends frames from the client as they are.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        let hex = |frame: &[u8]| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
        let lines: String = frames.into_iter().map(hex).collect();
        let sent = self.lab.exec_with_input(Host::Client, [&self.send_frames], lines.as_bytes())?;
        ensure!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        Ok(())
    }

    /// Asks the LAN once who has `address`, as a host that does not exist: were it the client itself, its kernel would
    /// learn from the answer where an address is.
    pub fn ask(&self, address: Ipv4Addr) -> Result<()> {
        self.send([Arp { sender: STRANGER, ..Arp::question(Host::Client, address) }.write().as_slice()])
    }

    /// Asks for half a second who has `address`. Answers that some question got, however late, all count.
    pub fn answerers(&self, address: Ipv4Addr) -> Result<BTreeSet<Mac>> {
        let since = SystemTime::now();
        let end = Instant::now() + WATCHED;
        while Instant::now() < end {
            self.ask(address)?;
            thread::sleep(ASKED_EVERY);
        }
        Ok(self.claims_since(address, since)?.into_iter().map(|(_, mac)| mac).collect())
    }

    /// The one node that answers for `address`, as soon as there is exactly one.
    pub fn announcer(&self, address: Ipv4Addr) -> Result<NodeId> {
        self.announcer_within(address, SOON)
    }

    /// The same, with more or less patience.
    pub fn announcer_within(&self, address: Ipv4Addr, patience: Duration) -> Result<NodeId> {
        wait_until(&format!("exactly one node answers for {address}"), patience, || {
            let answerers: Vec<Mac> = self.answerers(address)?.into_iter().collect();
            let node = self.lab.nodes().find(|node| answerers == [Mac::of(Host::Node(*node))]);
            node.with_context(|| format!("these answer: {answerers:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_goes_on_for_longer_than_a_moment_is_fighting() {
        let [a, b] = [1, 2].map(|last| Mac([2, 0, 0, 0, 0, last]));
        let owners_of = |claims: &[(u64, Mac)]| {
            owners(claims.iter().map(|(millis, mac)| (UNIX_EPOCH + Duration::from_millis(*millis), *mac)))
        };
        assert_eq!(owners_of(&[(0, a), (50, a), (100, b), (150, a), (200, b), (5000, b)]), [a, b]);
        assert_eq!(owners_of(&[(0, a), (100, b), (1200, a), (1250, b)]), [a, b, a]);
        assert_eq!(owners_of(&[(0, a), (100, b), (1200, a), (2300, b)]), [a, b, a, b]);
    }

    #[test]
    fn records_are_read_up_to_the_one_that_is_being_written() {
        let record = |seconds: u32, frame: &[u8]| {
            let length = u32::try_from(frame.len()).unwrap();
            let header = [seconds, 500_000, length, length].map(u32::to_ne_bytes).concat();
            [&header, frame].concat()
        };
        let file = [record(1, b"first"), record(2, b""), record(3, b"third")].concat();
        let read = |bytes: &[u8]| records(bytes).map(|(at, frame)| (at, frame.to_vec())).collect::<Vec<_>>();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(500);
        assert_eq!(read(&file[..file.len() - 1]), [(at(1), b"first".to_vec()), (at(2), Vec::new())]);
        assert_eq!(read(&file).len(), 3);
    }
}
