//! Figures of FerroLB and MetalLB side by side.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

/// One line: what was measured, once or several times, of either of them.
#[derive(Debug, Clone)]
pub struct Row {
    /// What the figures say.
    pub what: String,
    /// What they are given in.
    pub unit: Unit,
    /// FerroLB's figures and MetalLB's; none if it was not measured.
    pub figures: [Vec<f64>; 2],
    /// What FerroLB is meant to reach.
    pub goal: &'static str,
}

/// What a figure is given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Millionths of a second; the figure is in seconds.
    Microseconds,
    /// A million bytes; the figure is in bytes.
    Megabytes,
    /// How many times as much as something else.
    Times,
    /// A number of things.
    Count,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.3} s"),
            Self::Microseconds => format!("{:.0} us", value * 1e6),
            Self::Megabytes => format!("{:.1} MB", value / 1e6),
            Self::Times => format!("{value:.2} x"),
            Self::Count => format!("{value:.0}"),
        }
    }

    /// A figure as it is; of several, the median, the 95th percentile and the greatest.
    pub fn show_all(self, figures: &[f64]) -> String {
        match figures {
            [] => "-".to_owned(),
            [one] => self.show(*one),
            _ => [50, 95, 100]
                .map(|percent| percentile(figures, percent).map_or_else(String::new, |it| self.show(it)))
                .join(" / "),
        }
    }
}

/// A duration as a figure.
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// A number of things or bytes as a figure.
#[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
pub fn count(count: u64) -> f64 {
    count as f64
}

/// The smallest figure that `percent` of them don't exceed (nearest rank); none if there are none.
pub fn percentile(figures: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The table, in Markdown. The ratio is FerroLB's share of MetalLB's figure, or of its median.
pub fn render(rows: impl IntoIterator<Item = Row>) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["", "FerroLB", "MetalLB", "ratio", "goal"]);
    for Row { what, unit, figures, goal } in rows {
        let [ours, theirs] = figures.each_ref().map(|figures| percentile(figures, 50));
        let ratio = ours.zip(theirs).filter(|(_, theirs)| *theirs > 0.0).map(|(ours, theirs)| ours / theirs);
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let [ours, theirs] = figures.map(|figures| unit.show_all(&figures));
        table.add_row([what, ours, theirs, ratio, goal.to_owned()]);
    }
    for column in 1..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let figures = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(
            [1, 20, 21, 50, 95, 100].map(|percent| percentile(&figures, percent)),
            [1.0, 1.0, 2.0, 3.0, 5.0, 5.0].map(Some)
        );
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 95].map(|percent| percentile(&hundred, percent)), [Some(50.0), Some(95.0)]);
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn ratios_are_of_medians_and_what_was_not_measured_has_none() {
        let row = |what: &str, ours: &[f64], theirs: &[f64]| Row {
            what: what.into(),
            unit: Unit::Seconds,
            figures: [ours.into(), theirs.into()],
            goal: "",
        };
        let text = render([row("several", &[0.1, 0.5, 0.3], &[1.0, 2.0]), row("one", &[1.0], &[])]);
        assert!(
            text.contains("| 0.300 s / 0.500 s / 0.500 s | 1.000 s / 2.000 s / 2.000 s | 0.300 |"),
            "{text}"
        );
        let line = text.lines().find(|line| line.contains("one")).unwrap();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(cells, ["", "one", "1.000 s", "-", "-", "", ""]);
    }
}
