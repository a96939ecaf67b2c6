//! What must hold while a script runs. Pure: from all that was seen, in order, to what was violated.

pub(crate) mod answers;
mod cluster;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use e2e::arp::Mac;

use crate::fault::{Fault, Kind, Withdrawn};
use crate::observation::{Container, Observation, Process, Seen, Subjects, name_of};

/// Two nodes may answer at the same time while an address moves, and no longer.
pub const DOUBLED_AT_MOST: Duration = Duration::from_secs(1);
/// How long an address may go without an answer where nothing happens. On a machine that starts many programs at once a
/// speaker may stand still for a second; then it says nothing until it has read the news, for 0.3 s.
pub const SILENT_AT_MOST: Duration = Duration::from_millis(1500);
/// Of FerroLB's events, for each Service that is watched, in any minute.
pub const EVENTS_PER_SERVICE: u64 = 20;
/// Restarts and Services are looked at every now and then: what a fault did may be seen so long after all is well.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// How long an address may take to be announced again once it may be.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// What was violated, in order.
    pub violations: Vec<Violation>,
    /// What each kind of fault has cost at the most.
    pub costs: BTreeMap<Kind, Cost>,
    /// The longest that two nodes answered for one address.
    pub doubled: Duration,
    /// The longest that an address had no answer while nothing happened.
    pub silent_at_rest: Duration,
    /// FerroLB's events: all of them, and the most in one minute.
    pub events: (u64, u64),
    /// The memory of each process that was seen more than once: at first, and at last.
    pub memory: BTreeMap<Process, (u64, u64)>,
    /// Requests to the addresses: all of them, and those that were not answered.
    pub visits: (u64, u64),
}

/// What one kind of fault has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// How often it was done.
    pub times: u32,
    /// The longest that an address had no answer, when it was done alone.
    pub silent: Duration,
    /// The same, when something else was done too.
    pub silent_in_company: Duration,
    /// Requests that were not answered, when it was done alone.
    pub unanswered: u64,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When it began.
    pub at: Duration,
    /// What it is.
    pub what: Breach,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// Two answered for an address.
    Doubled {
        /// The address.
        address: IpAddr,
        /// Who answered.
        by: [Mac; 2],
        /// How long.
        lasted: Duration,
    },
    /// Nobody answered for an address.
    Silent {
        /// The address.
        address: IpAddr,
        /// How long.
        lasted: Duration,
        /// How long it may be.
        allowed: Duration,
    },
    /// A Service has other addresses than it had.
    Changed {
        /// The Service.
        service: String,
        /// What it has.
        has: Vec<IpAddr>,
    },
    /// Two Services have an address that they don't share.
    GivenTwice {
        /// The address.
        address: IpAddr,
        /// Who has it.
        services: [String; 2],
    },
    /// A container was started again, and the script did not cause that.
    Restarted(Container),
    /// There were so many events in a minute.
    EventStorm(u64),
    /// A process has grown.
    Grown {
        /// Which.
        process: Process,
        /// Its memory at first.
        from: u64,
        /// Its memory at last.
        to: u64,
    },
    /// The script could not do what it wanted to.
    Failed(Fault, String),
    /// The cluster did not get well after a round.
    Unsettled(String),
}

/// A round of faults that has begun, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Past {
    from: Duration,
    /// When all was well again, or the end of what was seen.
    to: Duration,
    faults: Vec<Happened>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Happened {
    fault: Fault,
    began: Duration,
    /// Or the end of the round.
    undone: Duration,
}

/// Judges what was seen, in the order of the times.
pub fn judge(subjects: &Subjects, seen: &[Observation]) -> Verdict {
    let past = past(seen);
    let mut verdict = Verdict::default();
    for happened in past.iter().flat_map(|round| &round.faults) {
        verdict.costs.entry(happened.fault.kind()).or_default().times += 1;
    }
    answers::judge(subjects, seen, &past, &mut verdict);
    cluster::judge(subjects, seen, &past, &mut verdict);
    for Observation { at, what } in seen {
        let what = match what {
            Seen::Failed(fault, why) => Breach::Failed(*fault, why.clone()),
            Seen::Unsettled(why) => Breach::Unsettled(why.clone()),
            _ => continue,
        };
        verdict.violations.push(Violation { at: *at, what });
    }
    verdict.violations.sort_by_key(|violation| violation.at);
    verdict
}

/// The rounds, in order.
fn past(seen: &[Observation]) -> Vec<Past> {
    let end = seen.last().map(|last| last.at).unwrap_or_default();
    let mut rounds: Vec<Past> = Vec::new();
    let mut is_open = false;
    for Observation { at, what } in seen {
        match what {
            Seen::Began(fault) => {
                if !is_open {
                    rounds.push(Past { from: *at, to: end, faults: Vec::new() });
                    is_open = true;
                }
                if let Some(round) = rounds.last_mut() {
                    round.faults.push(Happened { fault: *fault, began: *at, undone: end });
                }
            }
            Seen::Undone(fault) => {
                let faults = rounds.last_mut().into_iter().flat_map(|round| &mut round.faults);
                faults.filter(|it| it.fault == *fault).for_each(|it| it.undone = *at);
            }
            Seen::Settled | Seen::Unsettled(_) if is_open => {
                is_open = false;
                if let Some(round) = rounds.last_mut() {
                    round.to = *at;
                }
            }
            _ => {}
        }
    }
    rounds
}

impl Past {
    /// Whether it happened in the time from `from` to `to`, or a moment before.
    fn overlaps(&self, from: Duration, to: Duration) -> bool {
        self.from < to && from < self.to
    }

    /// The longest silence that its faults may cause together.
    fn silence(&self) -> Duration {
        self.faults.iter().map(|it| it.fault.kind().silence()).sum()
    }

    /// When `withdrawn` was not to be had because of it, if it was.
    fn withdrawn(&self, withdrawn: Withdrawn, again_within: Duration) -> Option<(Duration, Duration)> {
        let it = self.faults.iter().find(|it| it.fault.kind().withdraws() == Some(withdrawn))?;
        Some((it.began, it.undone + again_within))
    }
}

impl Violation {
    /// What tells it from others, however long it lasts in the end.
    pub fn key(&self) -> (Duration, String) {
        let what = match &self.what {
            Breach::Doubled { address, .. } | Breach::Silent { address, .. } => address.to_string(),
            Breach::EventStorm(_) => "events".to_owned(),
            Breach::Grown { process, .. } => process.to_string(),
            other => other.to_string(),
        };
        (self.at, what)
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doubled { address, by: [one, two], lasted } => {
                write!(
                    f,
                    "{} and {} both answered for {address} for {lasted:.2?}",
                    name_of(*one),
                    name_of(*two)
                )
            }
            Self::Silent { address, lasted, allowed } => {
                write!(f, "nobody answered for {address} for {lasted:.2?}; {allowed:.1?} are allowed")
            }
            Self::Changed { service, has } => write!(f, "the Service {service} has the addresses {has:?}"),
            Self::GivenTwice { address, services: [one, two] } => {
                write!(f, "the Services {one} and {two} both have {address}")
            }
            Self::Restarted(Container { role, node, pod }) => {
                write!(f, "the container of the {role} {pod} on {node} was started again")
            }
            Self::EventStorm(events) => write!(f, "{events} events within a minute"),
            Self::Grown { process, from, to } => {
                write!(f, "the {process} has grown from {} to {} kB", from / 1024, to / 1024)
            }
            Self::Failed(fault, why) => write!(f, "{fault} could not be done: {why}"),
            Self::Unsettled(why) => write!(f, "the cluster did not get well: {why}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use lab::Host;

    use super::*;
    use crate::fault::{ClusterFault, NodeFault};
    use crate::observation::Subject;

    pub(crate) const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 16, 211, 200));

    pub(crate) fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// `n1`, `n2` and so on.
    pub(crate) fn mac(node: u8) -> Mac {
        Mac::of(Host::Node(format!("n{node}").parse().unwrap()))
    }

    pub(crate) fn subjects() -> Subjects {
        let subject = Subject { addresses: BTreeSet::from([ADDRESS]), sharing: None, in_edited_pool: true };
        Subjects::from([("web".to_owned(), subject)])
    }

    /// Answers of a node every 50 ms from `from` to `to`.
    pub(crate) fn answers(node: u8, from: u64, to: u64) -> impl Iterator<Item = Observation> {
        let answer = Seen::Answer { address: ADDRESS, by: mac(node) };
        (from..=to).step_by(50).map(move |at| Observation { at: millis(at), what: answer.clone() })
    }

    pub(crate) fn at(at: u64, what: Seen) -> Observation {
        Observation { at: millis(at), what }
    }

    pub(crate) fn power_off(node: u8) -> Fault {
        Fault::Node(NodeFault::PowerOff, format!("n{node}").parse().unwrap())
    }

    /// Judges these, in the order of their times.
    pub(crate) fn judged(seen: impl IntoIterator<Item = Observation>) -> Verdict {
        let mut seen: Vec<_> = seen.into_iter().collect();
        seen.sort_by_key(|it| it.at);
        judge(&subjects(), &seen)
    }

    #[test]
    fn a_round_goes_from_its_first_fault_until_all_is_well() {
        let (one, two) = (power_off(1), Fault::Cluster(ClusterFault::Flood));
        let seen = [
            at(1000, Seen::Began(one)),
            at(2000, Seen::Began(two)),
            at(3000, Seen::Undone(one)),
            at(4000, Seen::Undone(two)),
            at(5000, Seen::Settled),
            at(6000, Seen::Began(two)),
            at(7000, Seen::Events(0)),
        ];
        let rounds = past(&seen);
        let times = rounds.iter().map(|round| (round.from, round.to, round.faults.len()));
        assert_eq!(
            times.collect::<Vec<_>>(),
            [(millis(1000), millis(5000), 2), (millis(6000), millis(7000), 1)]
        );
        assert_eq!(rounds[0].faults[0].undone, millis(3000));
    }

    #[test]
    fn what_could_not_be_done_is_a_violation() {
        let verdict = judged([
            at(0, Seen::Began(power_off(1))),
            at(10, Seen::Failed(power_off(1), "it is off".to_owned())),
            at(20, Seen::Unsettled("a Pod is not ready".to_owned())),
        ]);
        assert_eq!(verdict.violations.len(), 2);
        assert_eq!(verdict.costs[&power_off(1).kind()].times, 1);
    }
}
