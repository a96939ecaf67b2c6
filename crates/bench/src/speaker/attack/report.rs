//! The figures of all runs side by side, each beside the quiet one.

use bench::table::{Unit, count, percentile};
use comfy_table::{CellAlignment, Table, presets};

use super::measure::{Figures, Program};

/// A line for each figure, a column for each run. Where something was seen several times, the cells say median, 95th
/// percentile and worst, and how many times the median of the first run the median is.
pub(super) fn table(runs: &[(String, Figures)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([String::new()].into_iter().chain(runs.iter().map(|(name, _)| name.clone())));
    for (what, unit, pick) in lines() {
        let all: Vec<Vec<f64>> = runs.iter().map(|(_, figures)| pick(figures)).collect();
        let quiet = all.first().and_then(|figures| percentile(figures, 50));
        let cells = all.iter().enumerate().map(|(i, figures)| cell(unit, figures, quiet.filter(|_| i > 0)));
        table.add_row([what].into_iter().chain(cells));
    }
    for column in 1..=runs.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn cell(unit: Unit, figures: &[f64], quiet: Option<f64>) -> String {
    let ratio = percentile(figures, 50).zip(quiet).filter(|(_, quiet)| *quiet > 0.0);
    let ratio = ratio.map_or_else(String::new, |(now, quiet)| format!(" ({:.2} x)", now / quiet));
    format!("{}{ratio}", unit.show_all(figures))
}

type Pick = Box<dyn Fn(&Figures) -> Vec<f64>>;
/// One of the two programs.
type Which = fn(&Figures) -> &Program;

fn speaker(figures: &Figures) -> &Program {
    &figures.speaker
}

fn leader(figures: &Figures) -> &Program {
    &figures.leader
}

fn lines() -> Vec<(String, Unit, Pick)> {
    let line =
        |what: &str, unit, pick: fn(&Figures) -> Vec<f64>| (what.to_owned(), unit, Box::new(pick) as Pick);
    let mut lines = vec![
        line("gossip frames to one peer, apart", Unit::Seconds, |it| it.gaps.clone()),
        line("heartbeats late (others began to ask)", Unit::Count, |it| vec![count(it.late())]),
        line("speakers taken for dead", Unit::Count, |it| vec![count(it.deaths)]),
        line("a question for an address answered after", Unit::Microseconds, |it| it.answers.clone()),
        line("renewals of the Lease, apart", Unit::Seconds, |it| it.renewals.clone()),
        line("Lease lost", Unit::Count, |it| vec![count(it.lost)]),
    ];
    for (name, program) in [("speaker", speaker as Which), ("leader", leader)] {
        let mut line = |what: &str, unit, pick: fn(&Program) -> Vec<f64>| {
            let pick = move |figures: &Figures| pick(program(figures));
            lines.push((format!("{name}: {what}"), unit, Box::new(pick)));
        };
        line("/healthz answered after", Unit::Microseconds, |it| it.probes.clone());
        line("/healthz not answered within 1 s", Unit::Count, |it| vec![count(it.failed)]);
        line("memory at most", Unit::Megabytes, |it| vec![count(it.memory)]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_is_compared_with_the_first() {
        let run = |probes: &[f64], failed| {
            let speaker = Program { probes: probes.to_vec(), failed, memory: 1_000_000 };
            Figures { speaker, ..Figures::default() }
        };
        let text = table(&[
            ("quiet".to_owned(), run(&[0.001, 0.001, 0.002], 0)),
            ("attack".to_owned(), run(&[0.002, 0.003, 0.004], 2)),
        ]);
        let cells = |what: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.contains(what)).unwrap();
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        assert_eq!(
            cells("speaker: /healthz answered")[2..4],
            ["1000 us / 2000 us / 2000 us", "3000 us / 4000 us / 4000 us (3.00 x)"]
        );
        assert_eq!(cells("speaker: /healthz not")[2..4], ["0", "2"]);
        assert_eq!(cells("speaker: memory")[2..4], ["1.0 MB", "1.0 MB (1.00 x)"]);
        assert_eq!(cells("leader: /healthz answered")[2..4], ["-", "-"]);
    }
}
