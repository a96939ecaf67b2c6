//! The figures side by side, as a table.

use bench::table::{self, Row, Unit, count, seconds};

use crate::fault::Fault;
use crate::idle::Idle;
use crate::outage::Round;
use crate::product::Failover;
use crate::scenario::{Figures, MANY};

/// One line for each figure. Where something was done several times, the cells say median, 95th percentile and worst.
pub(crate) fn table(ferrolb: &Figures, metallb: Option<&Figures>) -> String {
    let both = [Some(ferrolb), metallb];
    let row = |what: String, unit, goal, figure: &dyn Fn(&Figures) -> Vec<f64>| Row {
        what,
        unit,
        goal,
        figures: both.map(|figures| figures.map(figure).unwrap_or_default()),
    };
    let mut rows = Vec::new();
    for &(failover, fault) in ferrolb.rounds.keys() {
        let name = match failover {
            Failover::Default => fault.name().to_owned(),
            Failover::Fast => format!("{}, failover fast", fault.name()),
        };
        for Line { what, unit, goal, figure } in outage_lines(failover, fault) {
            let figures = [Some((ferrolb, failover)), metallb.map(|figures| (figures, Failover::Default))];
            let figures = figures.map(|of| {
                let rounds = of.and_then(|(figures, failover)| figures.rounds.get(&(failover, fault)));
                rounds.into_iter().flatten().map(figure).collect()
            });
            rows.push(Row { what: format!("{name}: {what}"), unit, goal, figures });
        }
        if fault.is_orderly() {
            let lost = |figures: &Figures| {
                let rounds = figures.rounds.get(&(failover, fault));
                rounds
                    .into_iter()
                    .map(|rounds| count(rounds.iter().map(|round| round.lost as u64).sum()))
                    .collect()
            };
            rows.push(row(format!("{name}: connections lost, in all"), Unit::Count, "0", &lost));
        }
    }
    rows.push(row(
        format!("power-off: {MANY} addresses answered by others"),
        Unit::Seconds,
        "1.5 s",
        &|figures| figures.moves.iter().copied().map(seconds).collect(),
    ));
    rows.push(row("a question answered by the speaker".into(), Unit::Microseconds, "", &|figures| {
        figures.answering.iter().flat_map(|it| it.speaker.clone()).collect()
    }));
    rows.push(row("the same by the kernel".into(), Unit::Microseconds, "", &|figures| {
        figures.answering.iter().flat_map(|it| it.kernel.clone()).collect()
    }));
    rows.push(row("the speaker's median, in the kernel's".into(), Unit::Times, "2 x", &|figures| {
        let medians = figures
            .answering
            .iter()
            .filter_map(|it| Some(table::percentile(&it.speaker, 50)? / table::percentile(&it.kernel, 50)?));
        medians.collect()
    }));
    for (i, &Idle { addresses, .. }) in ferrolb.idle.iter().enumerate() {
        for (what, unit, goal, figure) in idle_lines(i == 0) {
            rows.push(row(format!("{addresses} addresses: {what}"), unit, goal, &|figures| {
                figures.idle.get(i).map(figure).into_iter().collect()
            }));
        }
    }
    table::render(rows)
}

/// A figure of each round.
struct Line {
    what: &'static str,
    unit: Unit,
    goal: &'static str,
    figure: fn(&Round) -> f64,
}

fn outage_lines(failover: Failover, fault: Fault) -> Vec<Line> {
    let goal = match (failover, fault.is_orderly()) {
        (_, true) => "",
        (Failover::Default, false) => "p50 0.7 s, p99 1.0 s",
        (Failover::Fast, false) => "0.35 s",
    };
    let line = |what, unit, goal, figure| Line { what, unit, goal, figure };
    let mut lines = vec![
        line("no answer for", Unit::Seconds, goal, |round| seconds(round.unanswered)),
        line("no new connection for", Unit::Seconds, goal, |round| seconds(round.unreachable)),
        line("undone, no new connection for", Unit::Seconds, "", |round| seconds(round.unreachable_again)),
    ];
    if fault == Fault::Cable {
        lines.push(line("undone, two answer for", Unit::Seconds, "1 s", |round| seconds(round.doubled)));
    }
    if fault.is_orderly() {
        lines.push(line("connections a second", Unit::Count, "1000", |round| round.rate));
    }
    lines
}

/// The first is with few addresses.
#[expect(clippy::type_complexity, reason = "what a figure says, its unit, the goal, and how to get it")]
fn idle_lines(few: bool) -> [(&'static str, Unit, &'static str, fn(&Idle) -> f64); 5] {
    let goal = if few { "9 MB" } else { "" };
    [
        ("memory of a speaker", Unit::Megabytes, goal, |idle| count(idle.memory.resident)),
        ("processor in an idle minute", Unit::Seconds, "", |idle| seconds(idle.processor)),
        ("gossip in it, frames", Unit::Count, "", |idle| count(idle.frames.gossip as u64)),
        ("ARP in it, frames", Unit::Count, "", |idle| count(idle.frames.announcements as u64)),
        ("API writes in it", Unit::Count, "", |idle| count(idle.writes as u64)),
    ]
}
