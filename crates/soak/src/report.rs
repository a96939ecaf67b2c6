//! What came of a run, for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use e2e::Role;

use crate::judge::answers::runs;
use crate::judge::{Breach, Verdict, Violation};
use crate::observation::{Observation, Seen, name_of};
use crate::script::Step;

/// How much is told of the time before a violation, and after it.
const AROUND: Duration = Duration::from_secs(12);

/// A step, in a few words.
pub fn step(step: &Step) -> String {
    let Step { after, fault, lasts } = step;
    let after = if after.is_zero() { String::new() } else { format!("{} s later ", after.as_secs()) };
    format!("{after}{fault} for {} s", lasts.as_secs())
}

/// Everything: the faults with what they cost, the figures, and each violation with what happened around it.
pub fn render(verdict: &Verdict, seen: &[Observation]) -> String {
    let mut text = faults(verdict);
    let _ = writeln!(text, "\n\n{}", figures(verdict));
    for violation in &verdict.violations {
        let _ = writeln!(text, "\nVIOLATION at {}: {}", seconds(violation.at), violation.what);
        for line in timeline(violation, seen) {
            let _ = writeln!(text, "  {line}");
        }
    }
    let _ = match verdict.violations.len() {
        0 => writeln!(text, "\nNothing was violated."),
        count => writeln!(text, "\n{count} violations."),
    };
    text
}

fn faults(verdict: &Verdict) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["fault", "done", "no answer for", "with another", "allowed", "requests lost"]);
    for (kind, cost) in &verdict.costs {
        table.add_row([
            kind.name().to_owned(),
            cost.times.to_string(),
            seconds(cost.silent),
            seconds(cost.silent_in_company),
            match kind.withdraws() {
                Some(_) => "while it lasts".to_owned(),
                None => seconds(kind.silence()),
            },
            cost.unanswered.to_string(),
        ]);
    }
    for column in 1..=5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn figures(verdict: &Verdict) -> String {
    let Verdict { doubled, silent_at_rest, events, visits, memory, .. } = verdict;
    let mut text = format!(
        "two answered for one address for {} at the longest\n\
         no answer while nothing happened for {} at the longest\n\
         {} events of FerroLB's, {} in the busiest minute\n\
         {} of {} requests were not answered\n",
        seconds(*doubled),
        seconds(*silent_at_rest),
        events.0,
        events.1,
        visits.1,
        visits.0
    );
    let mut most: BTreeMap<Role, (u64, u64, i64)> = BTreeMap::new();
    for (process, (from, to)) in memory {
        let (least, greatest, growth) = most.entry(process.role).or_insert((*from, *to, i64::MIN));
        *least = (*least).min(*from);
        *greatest = (*greatest).max(*to);
        *growth = (*growth).max(i64::try_from(*to).unwrap_or(i64::MAX) - i64::try_from(*from).unwrap_or(0));
    }
    for (role, (least, greatest, growth)) in most {
        let _ = writeln!(
            text,
            "{role}s: {} to {} kB of memory; the one that grew most has {} kB more",
            least / 1024,
            greatest / 1024,
            growth / 1024
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// What happened around a violation.
fn timeline(violation: &Violation, seen: &[Observation]) -> Vec<String> {
    let (address, lasted) = match violation.what {
        Breach::Doubled { address, lasted, .. } | Breach::Silent { address, lasted, .. } => {
            (Some(address), lasted)
        }
        _ => (None, Duration::ZERO),
    };
    let (from, to) = (violation.at.saturating_sub(AROUND), violation.at + lasted + AROUND);
    let around: Vec<&Observation> = seen.iter().filter(|it| (from..=to).contains(&it.at)).collect();
    let mut lines: Vec<(Duration, String)> =
        around.iter().filter_map(|it| Some((it.at, line(&it.what)?))).collect();
    if let Some(address) = address {
        let answers = around.iter().filter_map(|it| match it.what {
            Seen::Answer { address: of, by } if of == address => Some((it.at, by)),
            _ => None,
        });
        for run in runs(answers) {
            let name = name_of(run.by);
            lines.push((run.from, format!("{name} answers for {address}")));
            lines.push((run.to, format!("{name} has answered for {address} for the last time")));
        }
        lines.extend(lost_requests(address, &around));
    }
    lines.sort();
    lines.into_iter().map(|(at, line)| format!("{} {line}", seconds(at))).collect()
}

fn line(what: &Seen) -> Option<String> {
    match what {
        Seen::Began(fault) => Some(format!("{fault} begins")),
        Seen::Undone(fault) => Some(format!("{fault} is undone")),
        Seen::Failed(fault, why) => Some(format!("{fault} could not be done: {why}")),
        Seen::Settled => Some("all is well".to_owned()),
        Seen::Unsettled(why) => Some(format!("not well: {why}")),
        Seen::Paused(pause) => Some(format!("nobody was asked for {}", seconds(*pause))),
        Seen::Answer { .. }
        | Seen::Services(_)
        | Seen::Unserved(_)
        | Seen::Events(_)
        | Seen::Restarts(_)
        | Seen::Memory(_, _)
        | Seen::Visit { .. } => None,
    }
}

fn lost_requests(address: IpAddr, around: &[&Observation]) -> Vec<(Duration, String)> {
    let lost = around.iter().filter(|it| it.what == Seen::Visit { address, answered: false });
    lost.map(|it| (it.at, format!("a request to {address} was not answered"))).collect()
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use crate::judge::tests::{answers, at, millis, power_off, subjects};

    #[test]
    fn a_violation_is_told_with_what_happened_around_it() {
        let mut seen: Vec<_> = answers(1, 0, 20_000).chain(answers(2, 25_000, 40_000)).collect();
        seen.extend([at(1000, Seen::Began(power_off(3))), at(19_900, Seen::Began(power_off(1)))]);
        seen.extend([at(30_000, Seen::Settled), at(30_100, Seen::Memory(process(), 8 << 20))]);
        seen.sort_by_key(|it| it.at);
        let verdict = judge(&subjects(), &seen);
        let [violation] = &verdict.violations[..] else { panic!("{:?}", verdict.violations) };
        assert_eq!(violation.at, millis(20_000));
        let lines = timeline(violation, &seen);
        assert_eq!(
            lines,
            [
                "8.00 s n1 answers for 172.16.211.200",
                "19.90 s power-off n1 begins",
                "20.00 s n1 has answered for 172.16.211.200 for the last time",
                "25.00 s n2 answers for 172.16.211.200",
                "30.00 s all is well",
                "37.00 s n2 has answered for 172.16.211.200 for the last time",
            ]
        );
        let text = render(&verdict, &seen);
        assert!(
            text.contains("power-off") && text.contains("VIOLATION at 20.00 s: nobody answered"),
            "{text}"
        );
        assert!(text.contains("1 violations."), "{text}");
    }

    #[test]
    fn where_nothing_is_wrong_nothing_is_told_of() {
        let seen: Vec<_> = answers(1, 0, 5000).collect();
        assert!(render(&judge(&subjects(), &seen), &seen).contains("Nothing was violated."));
    }

    fn process() -> crate::observation::Process {
        crate::observation::Process { role: Role::Speaker, node: "n1".parse().unwrap(), id: 7, started: 1 }
    }
}
