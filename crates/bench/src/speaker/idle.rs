//! What the speakers take and say when nothing happens.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bench::contender::Memory;
use e2e::Capture;
use e2e::arp::Arp;
use lab::audit::{self, Request};
use lab::{Host, chart};

use crate::asker::Asker;
use crate::site::Site;

/// No write of the contender for so long means that it has told everything.
const QUIET_FOR: Duration = Duration::from_secs(5);
const QUIET_WITHIN: Duration = Duration::from_mins(6);
/// Questions to either of the two whose answers are compared.
const QUESTIONS: usize = 2000;
/// What each node says to the others and to all: gossip, on the port that both products use, and ARP.
const SAID: [&str; 3] = ["-Q", "out", "udp port 7946 or tcp port 7946 or arp"];

/// What a speaker takes that announces so many addresses, and what it and its fellows say meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) addresses: usize,
    pub(crate) memory: Memory,
    /// Time on a processor, for a minute.
    pub(crate) processor: Duration,
    /// Frames of all speakers, in a minute.
    pub(crate) frames: Frames,
    /// What the speakers write to the API server in a minute, leases included.
    pub(crate) writes: usize,
}

/// Frames by what they are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    /// What speakers tell each other.
    pub(crate) gossip: usize,
    /// What they say of addresses of Services.
    pub(crate) announcements: usize,
}

/// How long an answer takes to the question who has an address: the speaker's, and the kernel's on the same node.
#[derive(Debug, Clone)]
pub(crate) struct Answering {
    pub(crate) speaker: Vec<f64>,
    pub(crate) kernel: Vec<f64>,
}

/// Waits until there is nothing to do any more, then watches for `time`.
pub(crate) fn measure(site: &Site, time: Duration) -> Result<Idle> {
    wait_until_quiet(site)?;
    let captures = site.lab.nodes().map(|node| Capture::start(&site.lab, Host::Node(node), SAID));
    let captures = captures.collect::<Result<Vec<_>>>()?;
    let (logged, before) = (site.lab.audit_log()?.len(), processor(site)?);
    thread::sleep(time);
    let processor = processor(site)?.saturating_sub(before);
    let log = site.lab.audit_log()?;
    let speakers = site.product.account();
    let writes = writes(&log[logged..], |request| request.account == speakers);
    let addresses: BTreeSet<Ipv4Addr> = site.addresses().iter().copied().collect();
    let mut frames = Frames::default();
    for capture in captures {
        for (_, frame) in capture.frames()? {
            frames.count(&frame, &addresses);
        }
    }
    let a_minute = |count: usize| per_minute(count, time);
    Ok(Idle {
        addresses: addresses.len(),
        memory: memory(site)?,
        processor: processor.mul_f64(60.0 / time.as_secs_f64()),
        frames: Frames { gossip: a_minute(frames.gossip), announcements: a_minute(frames.announcements) },
        writes: a_minute(writes),
    })
}

/// Asks the victim for an address of a Service and for its own, one after the other.
pub(crate) fn answering(site: &Site) -> Result<Answering> {
    let asker = Asker::open(&site.lab)?;
    let (announced, own) = (site.addresses()[0], Host::Node(site.victim()).ipv4());
    let mut answering = Answering { speaker: Vec::new(), kernel: Vec::new() };
    for _ in 0..QUESTIONS {
        answering.speaker.push(asker.round_trip(announced)?.as_secs_f64());
        answering.kernel.push(asker.round_trip(own)?.as_secs_f64());
    }
    Ok(answering)
}

impl Frames {
    fn count(&mut self, frame: &[u8], addresses: &BTreeSet<Ipv4Addr>) {
        match Arp::read(frame) {
            Some(arp) => self.announcements += usize::from(addresses.contains(&arp.sender.1)),
            // Nothing else was captured.
            None if frame.get(12..14) == Some(&[0x08, 0x00]) => self.gossip += 1,
            None => {}
        }
    }
}

fn per_minute(count: usize, time: Duration) -> usize {
    let seconds = usize::try_from(time.as_secs()).unwrap_or(usize::MAX).max(1);
    count * 60 / seconds
}

fn memory(site: &Site) -> Result<Memory> {
    let path = format!("/proc/{}/status", site.process()?);
    Memory::read(&site.lab.run(Host::Node(site.victim()), ["cat", &path])?)
}

fn processor(site: &Site) -> Result<Duration> {
    let script = format!("cat /proc/{}/task/*/schedstat", site.process()?);
    processor_of(&site.lab.run(Host::Node(site.victim()), ["sh", "-c", &script])?)
}

/// The sum over lines of `/proc/PID/task/TID/schedstat`, each of which begins with nanoseconds on a processor.
fn processor_of(text: &str) -> Result<Duration> {
    let nanos = text.lines().map(|line| line.split(' ').next().and_then(|word| word.parse::<u64>().ok()));
    let nanos = nanos.sum::<Option<u64>>().with_context(|| format!("what is {text:?}?"))?;
    Ok(Duration::from_nanos(nanos))
}

fn wait_until_quiet(site: &Site) -> Result<()> {
    let deadline = Instant::now() + QUIET_WITHIN;
    let (mut logged, ours) = (site.lab.audit_log()?.len(), format!("{}:", chart::NAMESPACE));
    while Instant::now() < deadline {
        thread::sleep(QUIET_FOR);
        let log = site.lab.audit_log()?;
        let says = |request: &Request| request.account.starts_with(&ours) && request.resource != "leases";
        if writes(&log[logged..], says) == 0 {
            return Ok(());
        }
        logged = log.len();
    }
    bail!("{} still writes after {QUIET_WITHIN:?}", site.product)
}

/// Such requests that change something.
fn writes(log: &str, wanted: impl Fn(&Request) -> bool) -> usize {
    audit::events(log).filter(|request| request.is_write() && wanted(request)).count()
}

#[cfg(test)]
mod tests {
    use e2e::arp::Mac;

    use super::*;

    #[test]
    fn frames_are_counted_by_what_they_are_about() {
        let [ours, other] = [200, 201].map(|last| Ipv4Addr::new(198, 18, 0, last));
        let said =
            |address| Arp { sender: (Mac::ZERO, address), ..Arp::question(Host::Client, address) }.write();
        let mut frames = Frames::default();
        let gossip = [&[0; 12][..], &[0x08, 0x00, 0x45, 0x00]].concat();
        for frame in [said(ours), said(other), gossip, vec![0; 60], Vec::new()] {
            frames.count(&frame, &BTreeSet::from([ours]));
        }
        assert_eq!(frames, Frames { gossip: 1, announcements: 1 });
    }

    #[test]
    fn time_on_a_processor_is_that_of_all_threads() {
        assert_eq!(processor_of("1500 20 3\n500 1 1\n").unwrap(), Duration::from_nanos(2000));
        assert!(processor_of("x\n").is_err());
    }

    #[test]
    fn what_a_part_of_a_minute_shows_is_told_for_a_whole_one() {
        assert_eq!(per_minute(7, Duration::from_secs(20)), 21);
    }
}
