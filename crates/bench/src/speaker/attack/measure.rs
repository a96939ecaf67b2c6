//! What FerroLB does meanwhile: probes, questions on the LAN, gossip, the Lease, memory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Result as IoResult, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use bench::contender::Memory;
use e2e::{Capture, Role};
use k8s_openapi::api::coordination::v1::Lease;
use lab::{Host, Lab, NodeId, chart};
use members::Preset;

use super::SetOnDrop;
use crate::asker::Asker;
use crate::site::Site;

/// As kubelet probes, though more often; the chart's `timeoutSeconds`.
const PROBED_EVERY: Duration = Duration::from_millis(100);
const PROBED_WITHIN: Duration = Duration::from_secs(1);
const PROBE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
const WELL: &[u8] = b"HTTP/1.1 200";
const ASKED_EVERY: Duration = Duration::from_millis(20);
const WEIGHED_EVERY: Duration = Duration::from_secs(1);
/// What the speaker's node says of the gossip.
const GOSSIP: [&str; 4] = ["-Q", "out", "udp", "port 7946"];

/// Who is looked at.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) site: &'a Site,
    /// Where the speaker of the [victim](Site::victim) is probed.
    pub(super) speaker: SocketAddr,
    /// The node of the controller that leads, and where that is probed.
    pub(super) leader: (NodeId, SocketAddr),
    /// The Lease that it holds.
    pub(super) lease: &'static str,
}

/// What was seen. Times are in seconds.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) speaker: Program,
    pub(super) leader: Program,
    /// From a question for an announced address to its answer.
    pub(super) answers: Vec<f64>,
    /// Between two frames of the speaker's gossip to one peer.
    pub(super) gaps: Vec<f64>,
    /// Between two renewals of the Lease.
    pub(super) renewals: Vec<f64>,
    /// How often another one has got the Lease.
    pub(super) lost: u64,
    /// How often a speaker took another one for dead.
    pub(super) deaths: u64,
}

/// One of the two that are probed.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// From the begin of a probe to its answer.
    pub(super) probes: Vec<f64>,
    /// Those that were not answered within kubelet's time.
    pub(super) failed: u64,
    /// The most bytes of memory that it was seen to have.
    pub(super) memory: u64,
}

impl Figures {
    /// Heartbeats that came so late that the others began to ask.
    pub(super) fn late(&self) -> u64 {
        let silence = Preset::Default.timing().silence.as_secs_f64();
        self.gaps.iter().filter(|gap| **gap > silence).count() as u64
    }
}

impl Stage<'_> {
    /// Looks for so long.
    pub(super) fn measure(&self, time: Duration) -> Result<Figures> {
        let lab = &self.site.lab;
        let node = Host::Node(self.site.victim());
        let deaths = deaths(lab)?;
        let gossip = Capture::start(lab, node, GOSSIP)?;
        let lease = LeaseWatch::start(lab, self.lease)?;
        let ends = AtomicBool::new(false);
        let (leader_node, leader) = self.leader;
        let mut figures = thread::scope(|scope| {
            let speaker = scope.spawn(|| lab.in_network(node, || Ok(probe(self.speaker, &ends))));
            let leads = scope.spawn(|| lab.in_network(Host::Node(leader_node), || Ok(probe(leader, &ends))));
            let answers = scope.spawn(|| self.ask(&ends));
            let memory = scope.spawn(|| {
                weigh(lab, [(self.site.victim(), Role::Speaker), (leader_node, Role::Controller)], &ends)
            });
            {
                let _end = SetOnDrop(&ends);
                thread::sleep(time);
            }
            let panicked = |_| anyhow!("a thread that measures panicked");
            let [of_speaker, of_leader] = memory.join().map_err(panicked)?;
            let speaker = Program { memory: of_speaker, ..speaker.join().map_err(panicked)?? };
            let leader = Program { memory: of_leader, ..leads.join().map_err(panicked)?? };
            anyhow::Ok(Figures {
                speaker,
                leader,
                answers: answers.join().map_err(panicked)??,
                ..Figures::default()
            })
        })?;
        figures.gaps = gaps(&gossip.frames()?);
        (figures.renewals, figures.lost) = lease.seen()?;
        figures.deaths = self::deaths(lab)?.saturating_sub(deaths);
        Ok(figures)
    }

    fn ask(&self, ends: &AtomicBool) -> Result<Vec<f64>> {
        let (asker, mut answers) = (Asker::open(&self.site.lab)?, Vec::new());
        for address in self.site.addresses().iter().cycle() {
            if ends.load(Ordering::Relaxed) {
                break;
            }
            answers.push(asker.round_trip(*address)?.as_secs_f64());
            thread::sleep(ASKED_EVERY);
        }
        Ok(answers)
    }
}

/// Probes until `ends`, from the network that the calling thread is in.
fn probe(at: SocketAddr, ends: &AtomicBool) -> Program {
    let mut program = Program::default();
    while !ends.load(Ordering::Relaxed) {
        let began = Instant::now();
        match probe_once(at) {
            Ok(()) => program.probes.push(began.elapsed().as_secs_f64()),
            Err(error) => {
                eprintln!("a probe of {at} failed after {:.1?}: {error}", began.elapsed());
                program.failed += 1;
            }
        }
        thread::sleep(PROBED_EVERY);
    }
    program
}

fn probe_once(at: SocketAddr) -> IoResult<()> {
    let until = Instant::now() + PROBED_WITHIN;
    let mut stream = TcpStream::connect_timeout(&at, PROBED_WITHIN)?;
    stream.write_all(PROBE)?;
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left))?;
    let mut answer = [0; WELL.len()];
    stream.read_exact(&mut answer)?;
    if answer == WELL { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

/// The most memory of each until `ends`.
fn weigh<const N: usize>(lab: &Lab, programs: [(NodeId, Role); N], ends: &AtomicBool) -> [u64; N] {
    let mut most = [0; N];
    while !ends.load(Ordering::Relaxed) {
        for ((node, role), most) in programs.iter().zip(&mut most) {
            // One that ends meanwhile shows elsewhere.
            let resident = resident(lab, Host::Node(*node), *role).unwrap_or_default();
            *most = resident.max(*most);
        }
        thread::sleep(WEIGHED_EVERY);
    }
    most
}

fn resident(lab: &Lab, host: Host, role: Role) -> Result<u64> {
    let memory = lab.processes(host, &role.to_string())?.into_iter().map(|id| {
        let status = lab.run(host, ["cat", &format!("/proc/{id}/status")])?;
        Memory::read(&status).map(|memory| memory.resident)
    });
    memory.collect::<Result<Vec<_>>>()?.into_iter().max().with_context(|| format!("no {role} on {host}"))
}

/// The time between two frames to the same host.
fn gaps(frames: &[(SystemTime, Vec<u8>)]) -> Vec<f64> {
    let mut last: BTreeMap<[u8; 4], SystemTime> = BTreeMap::new();
    let gap = |(at, frame): &(SystemTime, Vec<u8>)| {
        // Behind the Ethernet header, the destination of an IPv4 packet.
        let to = frame.get(30..34)?.try_into().ok()?;
        let before = last.insert(to, *at)?;
        Some(at.duration_since(before).unwrap_or_default().as_secs_f64())
    };
    frames.iter().filter_map(gap).collect()
}

/// How often speakers took others for dead, all of them together.
fn deaths(lab: &Lab) -> Result<u64> {
    let lost = |node: NodeId| {
        let url = format!("http://{}:{}/metrics", Ipv4Addr::LOCALHOST, super::PORT);
        let metrics = lab.run(Host::Node(node), ["curl", "-sS", "--retry", "5", "--max-time", "5", &url])?;
        count(&metrics, "ferrolb_gossip_members_lost_total")
            .with_context(|| format!("asking the speaker of {node}"))
    };
    lab.nodes().map(lost).sum()
}

fn count(metrics: &str, name: &str) -> Result<u64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.with_context(|| format!("there is no {name}"))?.trim().parse().context("a counter is a number")
}

/// The Lease as it changes.
struct LeaseWatch {
    log: tempfile::NamedTempFile,
    _kubectl: lab::process::Running,
}

impl LeaseWatch {
    fn start(lab: &Lab, name: &str) -> Result<Self> {
        let log = tempfile::NamedTempFile::new()?;
        let watch = ["kubectl", "get", "lease", name, "-n", chart::NAMESPACE, "-o", "json", "--watch"];
        let kubectl = lab.spawn(Host::Cp, watch, Some(log.path()))?;
        Ok(Self { log, _kubectl: kubectl })
    }

    /// The time between renewals, and how often it changed hands.
    fn seen(&self) -> Result<(Vec<f64>, u64)> {
        let text = fs::read_to_string(self.log.path()).context("reading what kubectl wrote")?;
        // The last one may be half written.
        let leases: Vec<Lease> =
            serde_json::Deserializer::from_str(&text).into_iter().map_while(Result::ok).collect();
        Ok(renewals(&leases))
    }
}

fn renewals(leases: &[Lease]) -> (Vec<f64>, u64) {
    let specs = || leases.iter().filter_map(|lease| lease.spec.as_ref());
    let times: Vec<SystemTime> =
        specs().filter_map(|spec| Some(spec.renew_time.as_ref()?.0.into())).collect();
    let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap_or_default().as_secs_f64());
    let holders: Vec<_> = specs().map(|spec| spec.holder_identity.as_deref()).collect();
    let lost = holders.windows(2).filter(|pair| pair[0] != pair[1]).count();
    (gaps.collect(), lost as u64)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn heartbeats_are_late_when_a_peer_hears_nothing_for_so_long_that_it_asks() {
        let frame = |at: u64, to: u8| {
            let mut frame = vec![0; 60];
            frame[33] = to;
            (UNIX_EPOCH + Duration::from_millis(at), frame)
        };
        let figures = Figures {
            gaps: gaps(&[frame(0, 1), frame(50, 2), frame(100, 1), frame(500, 2), frame(510, 1)]),
            ..Figures::default()
        };
        assert_eq!(figures.gaps, [0.1, 0.45, 0.41]);
        assert_eq!(figures.late(), 2);
    }

    #[test]
    fn a_lease_is_lost_when_somebody_else_holds_it() {
        let lease = |holder: &str, second: u32| -> Lease {
            let time = format!("2026-01-01T00:00:{second:02}.500000Z");
            serde_json::from_value(
                serde_json::json!({"metadata": {}, "spec": {"holderIdentity": holder, "renewTime": time}}),
            )
            .unwrap()
        };
        let (gaps, lost) = renewals(&[lease("a", 0), lease("a", 2), lease("b", 9), lease("b", 11)]);
        assert_eq!((gaps, lost), (vec![2.0, 7.0, 2.0], 1));
    }

    #[test]
    fn a_probe_that_is_not_answered_well_has_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        for (answer, well) in [("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.1 500 Internal\r\n\r\n", false)] {
            thread::scope(|scope| {
                let probe = scope.spawn(|| probe_once(at));
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                assert_eq!(probe.join().unwrap().is_ok(), well, "{answer}");
            });
        }
    }

    #[test]
    fn a_counter_is_found_among_others() {
        let metrics = "# HELP x\nferrolb_gossip_members_lost_total 3\nother 1\n";
        assert_eq!(count(metrics, "ferrolb_gossip_members_lost_total").unwrap(), 3);
        assert!(count(metrics, "ferrolb_gossip_members").is_err());
    }
}
