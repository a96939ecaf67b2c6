//! The figures side by side, as a table.

use bench::table::{self, Row, Unit};

use crate::scenario::{Figures, INTERVALS, Plan};

/// The goals for so many prefixes.
const MEASURE: u32 = 10_000;

/// One line for each figure. Where something was done several times, the cells say median, 95th percentile and worst.
pub(crate) fn table(plan: Plan, ferrolb: &Figures, metallb: &Figures) -> String {
    let both = [ferrolb, metallb];
    let row = |what: String, unit, goal, pick: &dyn Fn(&Figures) -> Vec<f64>| Row {
        what,
        unit,
        figures: both.map(pick),
        goal,
    };
    let goal = |of_measure| if plan.services == MEASURE { of_measure } else { "" };
    let services = plan.services;
    let grown = |figures: &Figures, from: usize, to: usize| {
        let pair = figures.memory.get(from).zip(figures.memory.get(to));
        pair.map(|(before, after)| after - before).into_iter().collect()
    };
    let mut rows = vec![
        row(
            format!("{services} prefixes to 4 routers: until the last UPDATE"),
            Unit::Seconds,
            goal("0.300 s"),
            &|it| it.announced.clone(),
        ),
        row(format!("{services} prefixes: UPDATEs to a router"), Unit::Count, goal("15"), &|it| {
            it.updates.clone()
        }),
        row("an endpoint ready: until the UPDATE".to_owned(), Unit::Seconds, "0.050 s", &|it| {
            it.endpoint.clone()
        }),
        row("the last endpoint gone: until the UPDATE".to_owned(), Unit::Seconds, "0.050 s", &|it| {
            it.endpoint_gone.clone()
        }),
        row(format!("{services} Services, nothing about BGP: memory"), Unit::Megabytes, "", &|it| {
            it.memory.first().copied().into_iter().collect()
        }),
        row(format!("{services} prefixes announced: memory more"), Unit::Megabytes, goal("4 MB"), &|it| {
            grown(it, 0, 1)
        }),
        row(format!("{} changes later: memory more", plan.changes), Unit::Megabytes, "", &|it| {
            grown(it, 1, 2)
        }),
        row(format!("{} changes: sessions lost", plan.changes), Unit::Count, "0", &|it| {
            it.flaps.map(|(lost, _)| lost).into_iter().collect()
        }),
        row(format!("{} changes: prefixes withdrawn", plan.changes), Unit::Count, "0", &|it| {
            it.flaps.map(|(_, withdrawn)| withdrawn).into_iter().collect()
        }),
    ];
    for (i, (interval, goal)) in INTERVALS.into_iter().zip(["0.450 s", "1.100 s"]).enumerate() {
        let what = format!("node silent, BFD 3 x {interval} ms: until the route is gone");
        rows.push(row(what, Unit::Seconds, goal, &|it| it.lost[i].clone()));
    }
    table::render(rows.into_iter().filter(|row| row.figures.iter().any(|figures| !figures.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_has_no_line_and_goals_are_for_many_prefixes() {
        let ours = Figures {
            announced: vec![0.1, 0.2],
            memory: vec![20e6, 23e6],
            lost: [vec![0.25], vec![]],
            ..Figures::default()
        };
        let plan = |services| Plan { services, endpoints: 1, changes: 1, losses: 1 };
        let text = table(plan(10_000), &ours, &Figures::default());
        let line = |what: &str| text.lines().find(|line| line.contains(what));
        assert!(line("until the last UPDATE").unwrap().contains("0.300 s"), "{text}");
        assert!(line("memory more").unwrap().contains("3.0 MB"), "{text}");
        assert!(line("3 x 100 ms").is_some() && line("3 x 300 ms").is_none(), "{text}");
        assert!(line("sessions lost").is_none(), "{text}");
        assert!(!table(plan(10), &ours, &Figures::default()).contains("0.300 s"));
    }
}
