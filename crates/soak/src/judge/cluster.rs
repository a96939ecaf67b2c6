//! What the API server and the kernel know: addresses of Services, events, restarts, memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Breach, EVENTS_PER_SERVICE, Past, SEEN_WITHIN, Verdict, Violation};
use crate::fault::Withdrawn;
use crate::observation::{Container, Observation, Process, Seen, Subjects};

const MINUTE: Duration = Duration::from_mins(1);
/// A program that starts has not yet all that it needs.
const WARM_AFTER: Duration = Duration::from_secs(30);
/// What a program may have more than at first: half as much again, and at least so many bytes.
const GROWN_BY: u64 = 4 << 20;

pub(super) fn judge(subjects: &Subjects, seen: &[Observation], past: &[Past], verdict: &mut Verdict) {
    services(subjects, seen, past, verdict);
    restarts(seen, past, verdict);
    events(subjects, seen, verdict);
    memory(seen, verdict);
    visits(seen, past, verdict);
}

fn services(subjects: &Subjects, seen: &[Observation], past: &[Past], verdict: &mut Verdict) {
    // Each is told of once, until it is well again.
    let mut changed: BTreeSet<&str> = BTreeSet::new();
    let mut twice: BTreeSet<(IpAddr, &str, &str)> = BTreeSet::new();
    for Observation { at, what } in seen {
        let Seen::Services(services) = what else { continue };
        let is_edited = past.iter().filter_map(|round| round.withdrawn(Withdrawn::Pool, SEEN_WITHIN));
        let is_edited = is_edited.into_iter().any(|(from, to)| (from..=to).contains(at));
        for (name, subject) in subjects {
            let has = services.get(name);
            if has == Some(&subject.addresses) {
                changed.remove(name.as_str());
            } else if !(is_edited && subject.in_edited_pool) && changed.insert(name) {
                let has = has.into_iter().flatten().copied().collect();
                let what = Breach::Changed { service: name.clone(), has };
                verdict.violations.push(Violation { at: *at, what });
            }
        }
        let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for (name, addresses) in services {
            for address in addresses {
                let Some(other) = owners.insert(*address, name) else { continue };
                let sharing = |name: &str| subjects.get(name).and_then(|subject| subject.sharing);
                let share = sharing(other).is_some() && sharing(other) == sharing(name);
                if !share && twice.insert((*address, other, name)) {
                    let services = [other.to_owned(), name.clone()];
                    let what = Breach::GivenTwice { address: *address, services };
                    verdict.violations.push(Violation { at: *at, what });
                }
            }
        }
    }
}

fn restarts(seen: &[Observation], past: &[Past], verdict: &mut Verdict) {
    let mut known: Option<BTreeMap<&Container, u64>> = None;
    for Observation { at, what } in seen {
        let Seen::Restarts(now) = what else { continue };
        let Some(known) = &mut known else {
            known = Some(now.iter().map(|(container, count)| (container, *count)).collect());
            continue;
        };
        for (container, count) in now {
            let before = known.insert(container, *count).unwrap_or(0);
            let caused = |round: &Past| {
                let fault = round.faults.iter().any(|it| it.fault.restarts(container.role, &container.node));
                fault && (round.from..=round.to + SEEN_WITHIN).contains(at)
            };
            if *count > before && !past.iter().any(caused) {
                let what = Breach::Restarted(container.clone());
                verdict.violations.push(Violation { at: *at, what });
            }
        }
    }
}

fn events(subjects: &Subjects, seen: &[Observation], verdict: &mut Verdict) {
    let allowed = EVENTS_PER_SERVICE * subjects.len() as u64;
    let mut minute: VecDeque<(Duration, u64)> = VecDeque::new();
    let mut is_storm = false;
    for Observation { at, what } in seen {
        let Seen::Events(new) = what else { continue };
        verdict.events.0 += new;
        minute.push_back((*at, *new));
        while minute.front().is_some_and(|(then, _)| *then + MINUTE <= *at) {
            minute.pop_front();
        }
        let sum = minute.iter().map(|(_, new)| new).sum();
        verdict.events.1 = verdict.events.1.max(sum);
        if sum > allowed && !is_storm {
            verdict.violations.push(Violation { at: *at, what: Breach::EventStorm(sum) });
        }
        is_storm = sum > allowed;
    }
}

fn memory(seen: &[Observation], verdict: &mut Verdict) {
    let mut first: BTreeMap<Process, Duration> = BTreeMap::new();
    let mut told: BTreeSet<Process> = BTreeSet::new();
    for Observation { at, what } in seen {
        let Seen::Memory(process, bytes) = what else { continue };
        if *at < *first.entry(*process).or_insert(*at) + WARM_AFTER {
            continue;
        }
        let (from, to) = verdict.memory.entry(*process).or_insert((*bytes, *bytes));
        *to = *bytes;
        let grown = *bytes > *from + GROWN_BY.max(*from / 2);
        if grown && told.insert(*process) {
            let what = Breach::Grown { process: *process, from: *from, to: *bytes };
            verdict.violations.push(Violation { at: *at, what });
        }
    }
}

fn visits(seen: &[Observation], past: &[Past], verdict: &mut Verdict) {
    for Observation { at, what } in seen {
        let Seen::Visit { answered, .. } = what else { continue };
        verdict.visits.0 += 1;
        if *answered {
            continue;
        }
        verdict.visits.1 += 1;
        let round = past.iter().find(|round| (round.from..=round.to).contains(at));
        if let Some([only]) = round.map(|round| &round.faults[..]) {
            verdict.costs.entry(only.fault.kind()).or_default().unanswered += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use e2e::Role;

    use super::super::tests::{ADDRESS, at, judged, power_off, subjects};
    use super::super::{Breach, judge};
    use super::*;
    use crate::fault::{ClusterFault, Fault};

    fn services(all: &[(&str, &str)]) -> Seen {
        let one = |(name, address): &(&str, &str)| {
            let addresses = address.split_whitespace().map(|text| text.parse().unwrap());
            ((*name).to_owned(), addresses.collect())
        };
        Seen::Services(all.iter().map(one).collect())
    }

    /// Judges these with answers all the while, so that nothing else is wrong.
    fn breaches(seen: Vec<Observation>) -> Vec<Breach> {
        let end = u64::try_from(seen.last().unwrap().at.as_millis()).unwrap();
        let verdict = judged(super::super::tests::answers(1, 0, end).chain(seen));
        verdict.violations.into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn a_service_that_loses_its_address_is_told_of_once() {
        let lost = vec![
            at(1000, services(&[("web", "172.16.211.200")])),
            at(2000, services(&[("web", "")])),
            at(3000, services(&[])),
            at(4000, services(&[("web", "172.16.211.200")])),
            at(5000, services(&[("web", "172.16.211.201")])),
        ];
        let changed = |has: &[&str]| Breach::Changed {
            service: "web".to_owned(),
            has: has.iter().map(|text| text.parse().unwrap()).collect(),
        };
        assert_eq!(breaches(lost), [changed(&[]), changed(&["172.16.211.201"])]);
    }

    #[test]
    fn an_address_is_gone_while_its_pool_is() {
        let gone = Fault::Cluster(ClusterFault::PoolGone);
        let seen = vec![
            at(1000, Seen::Began(gone)),
            at(2000, services(&[("web", "")])),
            at(3000, Seen::Undone(gone)),
            at(4000, services(&[("web", "")])),
            at(5000, services(&[("web", "172.16.211.200")])),
            at(6000, Seen::Settled),
        ];
        assert_eq!(breaches(seen.clone()), []);
        let late = at(20_000, services(&[("web", "")]));
        assert_eq!(breaches([seen, vec![late]].concat()).len(), 1);
    }

    #[test]
    fn an_address_is_of_one_service_unless_they_share_it() {
        let seen = vec![at(
            1000,
            services(&[("other", "172.16.211.200 172.16.211.201"), ("web", "172.16.211.200")]),
        )];
        let twice = Breach::GivenTwice { address: ADDRESS, services: ["other".to_owned(), "web".to_owned()] };
        assert_eq!(breaches(seen.clone()), [twice]);

        let mut sharing = subjects();
        let web = sharing["web"].clone();
        sharing.insert(
            "other".to_owned(),
            super::super::super::observation::Subject { sharing: Some("key"), ..web.clone() },
        );
        sharing.get_mut("web").unwrap().sharing = Some("key");
        let both = vec![at(0, services(&[("other", "172.16.211.200"), ("web", "172.16.211.200")]))];
        assert_eq!(judge(&sharing, &both).violations, []);
    }

    fn container(role: Role, node: &str) -> Container {
        Container { role, node: node.to_owned(), pod: format!("{role}-{node}") }
    }

    #[test]
    fn a_restart_has_a_cause() {
        let seen = |count, what: Role, node: &str| {
            Seen::Restarts(BTreeMap::from([(container(what, node), count), (container(what, "n3"), 3)]))
        };
        let story = |node| {
            vec![
                at(0, seen(0, Role::Speaker, node)),
                at(1000, Seen::Began(power_off(1))),
                at(2000, seen(1, Role::Speaker, node)),
                at(3000, Seen::Settled),
                at(4000, seen(1, Role::Speaker, node)),
            ]
        };
        assert_eq!(breaches(story("n1")), []);
        assert_eq!(breaches(story("n2")), [Breach::Restarted(container(Role::Speaker, "n2"))]);
        let late = at(20_000, seen(2, Role::Speaker, "n1"));
        assert_eq!(breaches([story("n1"), vec![late]].concat()).len(), 1);
    }

    #[test]
    fn events_are_counted_by_the_minute() {
        let allowed = EVENTS_PER_SERVICE;
        let seen = |second: u64, count| at(second * 1000, Seen::Events(count));
        assert_eq!(breaches(vec![seen(1, allowed), seen(61, allowed), seen(130, allowed)]), []);
        let storm = vec![seen(1, allowed), seen(30, 1), seen(40, 1), seen(110, 0), seen(200, allowed + 5)];
        assert_eq!(breaches(storm), [Breach::EventStorm(allowed + 1), Breach::EventStorm(allowed + 5)]);
    }

    #[test]
    fn a_process_is_compared_with_itself_once_it_is_warm() {
        let process = |id| Process { role: Role::Speaker, node: "n1".parse().unwrap(), id, started: 7 };
        let seen =
            |second: u64, id, megabytes: u64| at(second * 1000, Seen::Memory(process(id), megabytes << 20));
        assert_eq!(breaches(vec![seen(0, 1, 2), seen(40, 1, 10), seen(80, 1, 15), seen(90, 2, 40)]), []);
        let grown = Breach::Grown { process: process(1), from: 10 << 20, to: 16 << 20 };
        assert_eq!(breaches(vec![seen(0, 1, 2), seen(40, 1, 10), seen(80, 1, 16), seen(99, 1, 17)]), [grown]);
    }
}
