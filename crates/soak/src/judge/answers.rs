//! Who answers for the addresses: one at a time, and always somebody.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use e2e::arp::Mac;

use super::{ANNOUNCED_WITHIN, Breach, DOUBLED_AT_MOST, Past, SILENT_AT_MOST, Verdict, Violation};
use crate::fault::Withdrawn;
use crate::observation::{Observation, Seen, Subjects};

/// Who has not answered for so long, asked every few hundredths of a second, answers no more.
const GOES_ON_WITHIN: Duration = Duration::from_millis(300);

/// A span of time.
type Span = (Duration, Duration);

/// Somebody who answers, from the first answer to the last without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) by: Mac,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

/// Who has answered when, of answers in the order of their times.
pub(crate) fn runs(answers: impl IntoIterator<Item = (Duration, Mac)>) -> Vec<Run> {
    let mut open: Vec<Run> = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    for (at, by) in answers {
        let (gone, mut now): (Vec<Run>, Vec<Run>) =
            open.into_iter().partition(|run| run.to + GOES_ON_WITHIN < at);
        runs.extend(gone);
        match now.iter_mut().find(|run| run.by == by) {
            Some(run) => run.to = at,
            None => now.push(Run { by, from: at, to: at }),
        }
        open = now;
    }
    runs.extend(open);
    runs
}

pub(super) fn judge(subjects: &Subjects, seen: &[Observation], past: &[Past], verdict: &mut Verdict) {
    let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return };
    let pauses = pauses(seen);
    let unserved = unserved(seen);
    let mut all: BTreeMap<IpAddr, Vec<(Duration, Mac)>> = BTreeMap::new();
    for address in subjects.values().flat_map(|subject| &subject.addresses) {
        all.entry(*address).or_default();
    }
    for Observation { at, what } in seen {
        if let Seen::Answer { address, by } = what
            && let Some(answers) = all.get_mut(address)
        {
            answers.push((*at, *by));
        }
    }
    for (address, answers) in all {
        doubled(address, &answers, verdict);
        let subject = subjects.values().find(|subject| subject.addresses.contains(&address));
        let in_edited_pool = subject.is_some_and(|subject| subject.in_edited_pool);
        let mut excused = pauses.clone();
        for (name, _) in subjects.iter().filter(|(_, subject)| subject.addresses.contains(&address)) {
            excused.extend(unserved.get(name.as_str()).into_iter().flatten());
        }
        for round in past {
            excused.extend(round.withdrawn(Withdrawn::Announcements, ANNOUNCED_WITHIN));
            excused.extend(round.withdrawn(Withdrawn::Pool, ANNOUNCED_WITHIN).filter(|_| in_edited_pool));
        }
        let times = [first.at].into_iter().chain(answers.iter().map(|(at, _)| *at)).chain([last.at]);
        silent(address, &times.collect::<Vec<_>>(), &excused, past, verdict);
    }
}

/// When nobody was asked.
fn pauses(seen: &[Observation]) -> Vec<Span> {
    let pause = |it: &Observation| match it.what {
        Seen::Paused(pause) => Some((it.at.saturating_sub(pause), it.at)),
        _ => None,
    };
    seen.iter().filter_map(pause).collect()
}

/// When each Service may have had no Pod that serves: from the last look that found one to the next that does, and as
/// long as an address takes to be announced again.
fn unserved(seen: &[Observation]) -> BTreeMap<&str, Vec<Span>> {
    let looks = seen.iter().filter_map(|it| match &it.what {
        Seen::Unserved(services) => Some((it.at, services)),
        _ => None,
    });
    let looks: Vec<_> = looks.collect();
    let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for (i, (at, services)) in looks.iter().enumerate() {
        let from =
            i.checked_sub(1).and_then(|before| looks.get(before)).map_or(Duration::ZERO, |(at, _)| *at);
        let to = looks.get(i + 1).map_or(*at, |(at, _)| *at) + ANNOUNCED_WITHIN;
        for name in *services {
            spans.entry(name).or_default().push((from, to));
        }
    }
    spans
}

fn doubled(address: IpAddr, answers: &[(Duration, Mac)], verdict: &mut Verdict) {
    let runs = runs(answers.iter().copied());
    for (i, one) in runs.iter().enumerate() {
        for two in runs[i + 1..].iter().filter(|two| two.by != one.by && two.from < one.to) {
            let began = one.from.max(two.from);
            let lasted = one.to.min(two.to).saturating_sub(began);
            verdict.doubled = verdict.doubled.max(lasted);
            if lasted > DOUBLED_AT_MOST {
                let what = Breach::Doubled { address, by: [one.by, two.by], lasted };
                verdict.violations.push(Violation { at: began, what });
            }
        }
    }
}

fn silent(address: IpAddr, times: &[Duration], excused: &[Span], past: &[Past], verdict: &mut Verdict) {
    for pair in times.windows(2) {
        let [from, to] = pair else { continue };
        let lasted = without(excused, (*from, *to));
        if lasted.is_zero() {
            continue;
        }
        let rounds: Vec<&Past> = past.iter().filter(|round| round.overlaps(*from, *to)).collect();
        if rounds.is_empty() {
            verdict.silent_at_rest = verdict.silent_at_rest.max(lasted);
        }
        for round in &rounds {
            for it in round.faults.iter().filter(|it| it.began < *to) {
                let cost = verdict.costs.entry(it.fault.kind()).or_default();
                let worst =
                    if round.faults.len() == 1 { &mut cost.silent } else { &mut cost.silent_in_company };
                *worst = lasted.max(*worst);
            }
        }
        let allowed = rounds.iter().map(|round| round.silence()).sum::<Duration>().max(SILENT_AT_MOST);
        if lasted > allowed {
            verdict
                .violations
                .push(Violation { at: *from, what: Breach::Silent { address, lasted, allowed } });
        }
    }
}

/// How much of a span is in none of the others.
fn without(others: &[Span], (from, to): Span) -> Duration {
    let mut inside: Vec<Span> =
        others.iter().map(|(a, b)| ((*a).max(from), (*b).min(to))).filter(|(a, b)| a < b).collect();
    inside.sort_unstable();
    let mut left = to.saturating_sub(from);
    let mut counted = from;
    for (a, b) in inside {
        left = left.saturating_sub(b.saturating_sub(a.max(counted)));
        counted = counted.max(b);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ADDRESS, answers, at, judged, mac, millis, power_off};
    use super::*;
    use crate::fault::{ClusterFault, Fault, Kind, NodeFault};

    fn silences(verdict: &Verdict) -> Vec<(Duration, Duration)> {
        let silence = |violation: &Violation| match violation.what {
            Breach::Silent { lasted, .. } => Some((violation.at, lasted)),
            _ => None,
        };
        verdict.violations.iter().filter_map(silence).collect()
    }

    #[test]
    fn an_address_may_move_with_a_short_overlap() {
        let verdict = judged(answers(1, 0, 5000).chain(answers(2, 4200, 9000)));
        assert_eq!(verdict.violations, []);
        assert_eq!(verdict.doubled, millis(800));
    }

    #[test]
    fn two_that_answer_for_longer_than_a_second_are_told_of() {
        let verdict = judged(answers(1, 0, 5000).chain(answers(2, 3500, 9000)));
        let what = Breach::Doubled { address: ADDRESS, by: [mac(1), mac(2)], lasted: millis(1500) };
        assert_eq!(verdict.violations, [Violation { at: millis(3500), what }]);
    }

    #[test]
    fn who_comes_back_after_a_while_has_not_answered_meanwhile() {
        let there_and_back = answers(1, 0, 2000).chain(answers(2, 2050, 6000)).chain(answers(1, 6050, 9000));
        assert_eq!(judged(there_and_back).violations, []);
    }

    #[test]
    fn silence_is_a_violation_where_nothing_happens() {
        let verdict = judged(answers(1, 0, 2000).chain(answers(1, 3600, 5000)));
        assert_eq!(silences(&verdict), [(millis(2000), millis(1600))]);
        assert_eq!(verdict.silent_at_rest, millis(1600));
    }

    #[test]
    fn silence_is_counted_at_both_ends() {
        let verdict =
            judged(answers(1, 2000, 3000).chain([at(0, Seen::Events(0)), at(5000, Seen::Events(0))]));
        assert_eq!(silences(&verdict), [(millis(0), millis(2000)), (millis(3000), millis(2000))]);
    }

    #[test]
    fn a_fault_may_cost_what_its_kind_may_cost_and_no_more() {
        let round = |to| {
            let faults = [at(2000, Seen::Began(power_off(1))), at(9000, Seen::Settled)];
            judged(answers(1, 0, 2000).chain(answers(2, to, 10_000)).chain(faults))
        };
        assert_eq!(silences(&round(3900)), []);
        assert_eq!(round(3900).costs[&Kind::Node(NodeFault::PowerOff)].silent, millis(1900));
        assert_eq!(silences(&round(4100)), [(millis(2000), millis(2100))]);
    }

    #[test]
    fn nobody_is_blamed_for_silence_while_nobody_asked_or_nothing_is_to_be_announced() {
        let gone = Fault::Cluster(ClusterFault::AdvertisementGone);
        let faults = [at(2000, Seen::Began(gone)), at(5000, Seen::Undone(gone)), at(9500, Seen::Settled)];
        let seen = answers(1, 0, 2500).chain(answers(2, 7900, 10_000)).chain(faults);
        assert_eq!(silences(&judged(seen)), []);
        let seen = answers(1, 0, 2000).chain(answers(1, 4000, 5000));
        assert_eq!(silences(&judged(seen.chain([at(3900, Seen::Paused(millis(1000)))]))), []);
    }

    #[test]
    fn nobody_is_to_answer_for_a_service_without_a_pod_that_serves() {
        let look = |time, services: &[&str]| {
            at(time, Seen::Unserved(services.iter().map(|&it| it.to_owned()).collect()))
        };
        let silent = |without: &'static str| {
            let looks = [look(1000, &[]), look(3000, &[without]), look(5000, &[without]), look(7000, &[])];
            silences(&judged(answers(1, 0, 2000).chain(answers(1, 9900, 12_000)).chain(looks)))
        };
        assert_eq!(silent("web"), []);
        assert_eq!(silent("other"), [(millis(2000), millis(7900))]);
    }

    #[test]
    fn what_is_left_of_a_span_is_counted_once() {
        let others = [(millis(50), millis(150)), (millis(100), millis(200)), (millis(400), millis(900))];
        assert_eq!(without(&others, (millis(100), millis(500))), millis(200));
    }
}
