//! How long an address is gone, seen from the client: one fault, made and undone, at a time.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};
use std::{fmt, thread};

use anyhow::{Context, Result, ensure};
use e2e::arp::Mac;
use lab::wait_until;

use crate::asker::Answer;
use crate::fault::Fault;
use crate::site::{ASKED_EVERY, Site};
use crate::visitor::Visit;
use crate::watch::{Done, Seen, Watch};

/// How often the client asks for the one address that is measured.
const ASKED_OFTEN: Duration = Duration::from_millis(5);
/// How long everything is watched before a fault and after it had its effect.
const SETTLED: Duration = Duration::from_secs(1);
/// Within this a signal has ended a process, and its answers are on their way no more.
const EFFECT: Duration = Duration::from_millis(50);
/// MetalLB takes seven seconds and more.
const MOVED_WITHIN: Duration = Duration::from_mins(1);
/// A node that is switched on gets Ready, and then its speaker.
pub(crate) const BACK_WITHIN: Duration = Duration::from_mins(2);

/// What a fault and its repair have cost.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// The longest time without an answer to the question who has the address, after the fault.
    pub(crate) unanswered: Duration,
    /// The longest time without a new connection that succeeds, after the fault.
    pub(crate) unreachable: Duration,
    /// The same after the repair.
    pub(crate) unreachable_again: Duration,
    /// How long two nodes answered after the repair, if the victim had been silent before it.
    pub(crate) doubled: Option<Duration>,
    /// The longest time from the fault to the end in which the client began no connection: beyond their pace, that is
    /// how long it stood still itself, and what the other times may owe to it.
    pub(crate) client_still: Duration,
    /// Connections from the fault to the end.
    pub(crate) connections: usize,
    /// Those of them that failed: how long after the fault they were begun, and why.
    pub(crate) lost: Vec<(Duration, ErrorKind)>,
    /// Connections a second.
    pub(crate) rate: f64,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unanswered, unreachable, unreachable_again, doubled, .. } = self;
        let Self { client_still, connections, lost, rate, .. } = self;
        write!(f, "no answer for {unanswered:.3?}, no new connection for {unreachable:.3?}; ")?;
        write!(f, "undone: no new connection for {unreachable_again:.3?}")?;
        if let Some(doubled) = doubled {
            write!(f, ", two answer for {doubled:.3?}")?;
        }
        write!(f, "; {} of {connections} connections lost, {rate:.0} a second", lost.len())?;
        write!(f, ", none begun for {client_still:.3?}")?;
        let mut kinds: BTreeMap<ErrorKind, Vec<Duration>> = BTreeMap::new();
        for (after, why) in lost {
            kinds.entry(*why).or_default().push(*after);
        }
        for (why, after) in kinds {
            let (first, last) = (after.iter().min(), after.iter().max());
            let (first, last) = (first.copied().unwrap_or_default(), last.copied().unwrap_or_default());
            write!(f, "; {why}: {}, begun {first:.3?} to {last:.3?} after", after.len())?;
        }
        Ok(())
    }
}

/// When things happened.
#[derive(Debug, Clone, Copy)]
struct Times {
    fault: SystemTime,
    repair: SystemTime,
}

/// Makes a fault and undoes it, and returns when all is as before.
pub(crate) fn round(site: &Site, fault: Fault) -> Result<Round> {
    let victim = site.victim_mac();
    let watch = Watch {
        addresses: &site.addresses()[..1],
        asked_every: ASKED_OFTEN,
        done: Done::By(victim),
        visited_every: Some(fault.visited_every()),
    };
    let (times, seen) = watch.during(&site.lab, |seen| {
        wait_until("the address is where it should be", BACK_WITHIN, || site.is_steady(&seen.answers()))?;
        let begun = SystemTime::now();
        fault.inject(site)?;
        let injected = SystemTime::now();
        wait_until("the address answers again", MOVED_WITHIN, || {
            has_moved(
                seen,
                victim,
                if fault == Fault::Kill { Again::Anybody(injected + EFFECT) } else { Again::Other(begun) },
            )
        })?;
        thread::sleep(SETTLED);
        let repair = SystemTime::now();
        fault.heal(site)?;
        e2e::wait_until_well(&site.lab)?;
        wait_until("the address is back", BACK_WITHIN, || site.is_steady(&seen.answers()))?;
        Ok(Times { fault: begun, repair })
    })?;
    let (answers, visits) = (seen.answers(), seen.visits());
    Ok(judge(&answers, &visits, victim, times))
}

/// Whose answer, from when on, tells that an address is well again.
#[derive(Debug, Clone, Copy)]
enum Again {
    Other(SystemTime),
    /// The victim gets well by itself, maybe before anybody steps in.
    Anybody(SystemTime),
}

/// That there was such an answer, and that a connection which began after it has succeeded.
fn has_moved(seen: &Seen, victim: Mac, again: Again) -> Result<()> {
    let answers = seen.answers();
    let first = answers.iter().find(|answer| match again {
        Again::Other(since) => answer.at > since && answer.by != victim,
        Again::Anybody(since) => answer.at > since,
    });
    let first = first.context("no answer")?.at;
    let reached = |visit: &Visit| visit.began > first && visit.outcome.is_ok();
    ensure!(seen.visits().iter().any(reached), "no new connection succeeds");
    Ok(())
}

fn judge(answers: &[Answer], visits: &[Visit], victim: Mac, times: Times) -> Round {
    let Times { fault, repair } = times;
    let answered = || answers.iter().map(|answer| answer.at);
    let reached = || visits.iter().filter_map(Visit::answered);
    let later: Vec<&Visit> = visits.iter().filter(|visit| visit.began >= fault).collect();
    let after = |at: SystemTime| at.duration_since(fault).unwrap_or_default();
    let began = || later.iter().map(|visit| visit.began);
    let watched = began().min().zip(began().max());
    let watched = watched.and_then(|(first, last)| last.duration_since(first).ok()).unwrap_or_default();
    let by_victim = || answers.iter().filter(|answer| answer.by == victim).map(|answer| answer.at);
    let was_silent = !by_victim().any(|at| at > repair - SETTLED / 2 && at < repair);
    let back = by_victim().find(|at| was_silent && *at >= repair);
    let doubled = back.map(|back| {
        let other = answers.iter().rfind(|answer| answer.at > back && answer.by != victim);
        other.and_then(|last| last.at.duration_since(back).ok()).unwrap_or_default()
    });
    Round {
        unanswered: longest_gap(answered(), fault, repair),
        unreachable: longest_gap(reached(), fault, repair),
        unreachable_again: longest_gap(reached(), repair, SystemTime::now()),
        doubled,
        client_still: longest_gap(began(), fault, SystemTime::now()),
        connections: later.len(),
        lost: later.iter().filter_map(|visit| Some((after(visit.began), visit.outcome.err()?))).collect(),
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        rate: later.len() as f64 / watched.as_secs_f64().max(f64::EPSILON),
    }
}

/// The longest time between two moments in a row of which the second is in this span.
fn longest_gap(moments: impl Iterator<Item = SystemTime>, from: SystemTime, to: SystemTime) -> Duration {
    let mut moments: Vec<SystemTime> = moments.collect();
    moments.sort_unstable();
    let pairs = moments.windows(2).filter(|pair| pair[1] > from && pair[1] <= to);
    pairs.filter_map(|pair| pair[1].duration_since(pair[0]).ok()).max().unwrap_or_default()
}

/// Switches the victim off, with all the addresses that there are, and on again. Returns how long it took from its
/// last answer until the last of them was answered for by another node.
pub(crate) fn move_all(site: &Site) -> Result<Duration> {
    let (victim, addresses) = (site.victim_mac(), site.addresses());
    let watch = Watch { addresses, asked_every: ASKED_EVERY, done: Done::NotBy(victim), visited_every: None };
    let ((), seen) = watch.during(&site.lab, |seen| {
        wait_until("the addresses are where they should be", BACK_WITHIN, || {
            site.is_steady(&seen.answers())
        })?;
        Fault::PowerOff.inject(site)?;
        wait_until("all addresses answer again", MOVED_WITHIN, || {
            let moved = first_answers(&seen.answers(), victim).count();
            ensure!(moved == addresses.len(), "{moved} do");
            Ok(())
        })
    })?;
    Fault::PowerOff.heal(site)?;
    e2e::wait_until_well(&site.lab)?;
    site.wait_until_announced()?;
    let answers = seen.answers();
    let silent = answers.iter().rev().find(|answer| answer.by == victim).context("it never answered")?.at;
    let moved = first_answers(&answers, victim).max().context("nothing has moved")?;
    Ok(moved.duration_since(silent).unwrap_or_default())
}

/// When each address was first answered for by anybody else than the victim.
fn first_answers(answers: &[Answer], victim: Mac) -> impl Iterator<Item = SystemTime> {
    let mut firsts = BTreeMap::new();
    for answer in answers.iter().filter(|answer| answer.by != victim) {
        firsts.entry(answer.address).or_insert(answer.at);
    }
    firsts.into_values()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::UNIX_EPOCH;

    use super::*;

    const VICTIM: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn answer(millis: u64, last: u8, by: Mac) -> Answer {
        Answer { at: at(millis), address: Ipv4Addr::new(198, 18, 0, last), by }
    }

    fn visit(millis: u64, took: Option<u64>) -> Visit {
        let outcome = took.map(Duration::from_millis).ok_or(ErrorKind::TimedOut);
        Visit { began: at(millis), outcome }
    }

    #[test]
    fn an_outage_is_the_longest_silence_after_the_fault_and_before_the_repair() {
        let moments = || [0, 500, 505, 1200, 1205, 3000].into_iter().map(at);
        assert_eq!(longest_gap(moments(), at(503), at(2000)), Duration::from_millis(695));
        assert_eq!(longest_gap(moments(), at(1201), at(2000)), Duration::from_millis(5));
        assert_eq!(longest_gap(moments(), at(2000), at(4000)), Duration::from_millis(1795));
        assert_eq!(longest_gap([].into_iter(), at(0), at(1)), Duration::ZERO);
    }

    #[test]
    fn a_round_is_judged_by_what_the_client_saw() {
        let answers = [
            (0, VICTIM),
            (100, VICTIM),
            (800, OTHER),
            (900, OTHER),
            (2000, VICTIM),
            (2005, OTHER),
            (2300, OTHER),
            (2301, VICTIM),
        ];
        let answers = answers.map(|(millis, by)| answer(millis, 1, by));
        // The second is lost; the third came late, after the fourth.
        let visits = [(95, Some(3)), (200, None), (300, Some(1005)), (910, Some(10)), (2100, Some(5))];
        let visits = visits.map(|(millis, took)| visit(millis, took));
        let round = judge(&answers, &visits, VICTIM, Times { fault: at(101), repair: at(1900) });
        let millis = Duration::from_millis;
        assert_eq!(round.unanswered, millis(700));
        assert_eq!(round.unreachable, millis(822));
        assert_eq!(round.unreachable_again, millis(800));
        assert_eq!(round.doubled, Some(millis(300)));
        assert_eq!(round.client_still, millis(1190));
        assert_eq!((round.connections, round.lost), (4, vec![(millis(99), ErrorKind::TimedOut)]));
        assert!((round.rate - 4.0 / 1.9).abs() < 0.01, "{}", round.rate);
    }

    #[test]
    fn an_address_has_moved_with_the_first_answer_of_another_node() {
        let answers = [(0, 1, VICTIM), (10, 2, VICTIM), (500, 1, OTHER), (600, 1, OTHER), (700, 2, OTHER)];
        let answers = answers.map(|(millis, last, by)| answer(millis, last, by));
        assert_eq!(first_answers(&answers, VICTIM).collect::<Vec<_>>(), [at(500), at(700)]);
    }
}
