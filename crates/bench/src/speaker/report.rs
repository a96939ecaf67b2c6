//! The figures side by side, as a table.

use bench::table::{self, Row, Unit, count, percentile, seconds};

use crate::fault::Fault;
use crate::idle::{Answering, Idle};
use crate::outage::Round;
use crate::product::Failover;
use crate::scenario::{Figures, MANY};

/// One line for each figure. Where something was done several times, the cells say median, 95th percentile and worst.
pub(crate) fn table(ferrolb: &Figures, metallb: &Figures) -> String {
    let faults = ferrolb.rounds.keys().flat_map(|&(failover, fault)| {
        fault_lines(failover, fault).into_iter().map(move |line| (failover, line))
    });
    let sizes = (0..ferrolb.idle.len()).flat_map(|i| idle_lines(i, ferrolb.idle[i].addresses));
    let others = answering_lines().into_iter().chain(sizes).map(|line| (Failover::Default, line));
    let rows = faults.chain(others).map(|(failover, Line { what, unit, goal, figures })| Row {
        what,
        unit,
        goal,
        // MetalLB has but one preset to compare with.
        figures: [figures(ferrolb, failover), figures(metallb, Failover::Default)],
    });
    table::render(rows.filter(|row| row.figures.iter().any(|figures| !figures.is_empty())))
}

/// Figures to show.
struct Line {
    what: String,
    unit: Unit,
    goal: &'static str,
    figures: Pick,
}

/// Picks them from those of a contender, for one of its presets.
type Pick = Box<dyn Fn(&Figures, Failover) -> Vec<f64>>;

fn fault_lines(failover: Failover, fault: Fault) -> Vec<Line> {
    let name = match failover {
        Failover::Default => fault.name().to_owned(),
        Failover::Fast => format!("{}, failover fast", fault.name()),
    };
    let line = |what, unit, goal, figures| Line { what: format!("{name}: {what}"), unit, goal, figures };
    let each = |what, unit, goal, figure: fn(&Round) -> f64| {
        let pick = move |figures: &Figures, failover| rounds(figures, failover, fault).map(figure).collect();
        line(what, unit, goal, Box::new(pick) as Pick)
    };
    let total = |what, goal, figure: fn(&Round) -> usize| {
        let pick = move |figures: &Figures, failover| {
            let all: Vec<usize> = rounds(figures, failover, fault).map(figure).collect();
            if all.is_empty() { Vec::new() } else { vec![count(all.iter().sum::<usize>() as u64)] }
        };
        line(what, Unit::Count, goal, Box::new(pick) as Pick)
    };
    let goal = match (failover, fault.is_orderly()) {
        (_, true) => "",
        (Failover::Default, false) => "p50 0.7 s, p99 1.0 s",
        (Failover::Fast, false) => "0.35 s",
    };
    let mut lines = vec![
        each("no answer for", Unit::Seconds, goal, |round| seconds(round.unanswered)),
        each("no new connection for", Unit::Seconds, goal, |round| seconds(round.unreachable)),
        each("undone, no new connection for", Unit::Seconds, "", |round| seconds(round.unreachable_again)),
    ];
    if fault == Fault::Cable {
        lines.push(each("undone, two answer for", Unit::Seconds, "1 s", |round| {
            seconds(round.doubled.unwrap_or_default())
        }));
    }
    lines.push(each("the client began none for", Unit::Seconds, "", |round| seconds(round.client_still)));
    if fault.is_orderly() {
        lines.push(each("connections a second", Unit::Count, "1000", |round| round.rate));
        lines.push(total("connections, in all", "", |round| round.connections));
        lines.push(total("lost of them", "0", |round| round.lost.len()));
    }
    lines
}

fn rounds(figures: &Figures, failover: Failover, fault: Fault) -> impl Iterator<Item = &Round> {
    figures.rounds.get(&(failover, fault)).into_iter().flatten()
}

fn answering_lines() -> Vec<Line> {
    let line = |what: &str, unit, goal, figure: fn(&Answering) -> Vec<f64>| Line {
        what: what.to_owned(),
        unit,
        goal,
        figures: Box::new(move |figures, _| figures.answering.iter().flat_map(figure).collect()),
    };
    let moves = Line {
        what: format!("power-off: {MANY} addresses answered by others after"),
        unit: Unit::Seconds,
        goal: "1.5 s",
        figures: Box::new(|figures, _| figures.moves.iter().copied().map(seconds).collect()),
    };
    let recoveries = Line {
        what: "power-off with an endpoint: requests fail for".to_owned(),
        unit: Unit::Seconds,
        goal: "p99 2 s",
        figures: Box::new(|figures, _| figures.recoveries.iter().copied().map(seconds).collect()),
    };
    vec![
        moves,
        recoveries,
        line("a question answered by the speaker after", Unit::Microseconds, "", |it| it.speaker.clone()),
        line("the same by the kernel after", Unit::Microseconds, "", |it| it.kernel.clone()),
        line("the speaker's median, in the kernel's", Unit::Times, "2 x", |it| {
            let medians = percentile(&it.speaker, 50).zip(percentile(&it.kernel, 50));
            medians.map(|(speaker, kernel)| speaker / kernel).into_iter().collect()
        }),
    ]
}

fn idle_lines(i: usize, addresses: usize) -> Vec<Line> {
    let line = |what, unit, goal, figure: fn(&Idle) -> f64| Line {
        what: format!("{addresses} addresses: {what}"),
        unit,
        goal,
        figures: Box::new(move |figures, _| figures.idle.get(i).map(figure).into_iter().collect()),
    };
    let goal = if i == 0 { "9 MB" } else { "" };
    vec![
        line("memory of a speaker", Unit::Megabytes, goal, |idle| count(idle.memory.resident)),
        line("its processor in an idle minute", Unit::Seconds, "", |idle| seconds(idle.processor)),
        line("gossip frames in it, of all", Unit::Count, "", |idle| count(idle.frames.gossip as u64)),
        line("ARP frames in it, of all", Unit::Count, "", |idle| count(idle.frames.announcements as u64)),
        line("API writes in it, of all speakers", Unit::Count, "", |idle| count(idle.writes as u64)),
    ]
}
