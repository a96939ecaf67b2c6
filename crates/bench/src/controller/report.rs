//! The figures side by side, as a table.

use std::time::Duration;

use bench::contender::Memory;
use bench::table::{self, Row, Unit};

use crate::requests::Requests;
use crate::scenario::{Figures, Fill, Usual};
use crate::strain::{Cost, PATIENCE, Strain};

/// One line for each figure.
pub(crate) fn table(ferrolb: &Figures, metallb: Option<&Figures>) -> String {
    let row = |Line { what, goal, unit, figure }: Line| {
        let figures = [Some(ferrolb), metallb].map(|figures| figures.and_then(&figure).into_iter().collect());
        Row { what, unit, figures, goal }
    };
    let usual = ferrolb.usual.iter().flat_map(usual_lines);
    let strains = ferrolb.strains.iter().enumerate();
    let strains = strains.flat_map(|(i, (strain, _))| strain_lines(i, *strain));
    let mut text = table::render(usual.chain(strains).map(row));
    for (name, figures) in [("FerroLB", Some(ferrolb)), ("MetalLB", metallb)] {
        let Some(figures) = figures else { continue };
        if let Some(idle) = figures.usual.as_ref().and_then(|usual| usual.full.idle.as_ref()) {
            text = format!("{text}\n{name}'s idle minute: {idle}");
        }
        for (strain, _) in figures.strains.iter().filter(|(_, cost)| cost.all.is_none()) {
            text =
                format!("{text}\n{name}, {}: not all was as it should be within {PATIENCE:?}", strain.what());
        }
    }
    text
}

/// A figure to show.
struct Line {
    what: String,
    goal: &'static str,
    unit: Unit,
    figure: Figure,
}

/// Picks one figure from those of a contender, if it was measured.
type Figure = Box<dyn Fn(&Figures) -> Option<f64>>;

fn usual_lines(usual: &Usual) -> Vec<Line> {
    let fills = usual.fills.iter().enumerate();
    let fills = fills.flat_map(|(i, &Fill { services, .. })| fill_lines(i, services));
    let most = usual.fills.last().map_or(0, |fill| fill.services);
    fills.chain(full_lines(most)).collect()
}

fn strain_lines(i: usize, strain: Strain) -> Vec<Line> {
    let figure = |what: &str, goal, figure: fn(&Cost) -> Option<Duration>| Line {
        what: format!("{}: {what}", strain.what()),
        goal,
        unit: Unit::Seconds,
        figure: Box::new(move |figures| seconds(figure(&figures.strains.get(i)?.1)?)),
    };
    let processor = match strain {
        Strain::Entries => "1.000 s",
        Strain::Pools | Strain::Sharing | Strain::Deletion => "",
    };
    vec![
        figure("until all is as it should be", "", |cost| cost.all),
        figure("processor until quiet", processor, |cost| Some(cost.cpu)),
        figure("longest turn of the loop", "0.050 s", |cost| cost.longest_turn),
    ]
}

fn fill_lines(i: usize, services: u32) -> Vec<Line> {
    let figure = |what: &str, goal, unit, figure: fn(&Fill) -> Option<f64>| Line {
        what: format!("{services} Services: {what}"),
        goal,
        unit,
        figure: Box::new(move |figures| figure(figures.usual.as_ref()?.fills.get(i)?)),
    };
    vec![
        figure("as many raw status patches", "", Unit::Seconds, |fill| seconds(fill.raw)),
        figure("until it leads", "", Unit::Seconds, |fill| seconds(fill.leading?)),
        figure("until the first has an address", "", Unit::Seconds, |fill| seconds(fill.first)),
        figure("until all have", "", Unit::Seconds, |fill| seconds(fill.all)),
        figure("that, in raw times", "1.1 x", Unit::Times, |fill| {
            Some(fill.all.as_secs_f64() / fill.raw.as_secs_f64())
        }),
        figure("processor until quiet", "", Unit::Seconds, |fill| seconds(fill.cpu)),
        figure("longest turn of the loop", "0.050 s", Unit::Seconds, |fill| seconds(fill.longest_turn?)),
        figure("memory after", "", Unit::Megabytes, |fill| count(fill.memory.resident)),
        figure("memory at most", "", Unit::Megabytes, |fill| count(fill.memory.peak)),
    ]
}

fn full_lines(services: u32) -> Vec<Line> {
    let line = |what: String, goal, unit, figure: fn(&Usual) -> Option<f64>| Line {
        what,
        goal,
        unit,
        figure: Box::new(move |figures| figure(figures.usual.as_ref()?)),
    };
    let goal = |at_5000| if services == 5000 { at_5000 } else { "" };
    vec![
        line("no Services: memory".to_owned(), "10 MB", Unit::Megabytes, |f| count(f.empty.resident)),
        line("at rest: processor in 5 s".to_owned(), "", Unit::Seconds, |f| seconds(f.full.at_rest)),
        line(format!("one of {services} deleted: processor above that"), "0.010 s", Unit::Seconds, |f| {
            seconds(f.full.delete.saturating_sub(f.full.at_rest))
        }),
        line("the pool annotated: processor above that".to_owned(), "", Unit::Seconds, |f| {
            seconds(f.full.edit.saturating_sub(f.full.at_rest))
        }),
        line("restart: processor until quiet".to_owned(), "", Unit::Seconds, |f| seconds(f.full.restart)),
        line("restart: writes of Services".to_owned(), "0", Unit::Count, |f| count(f.full.restart_writes)),
        line("restart: memory after".to_owned(), goal("28 MB"), Unit::Megabytes, |f| {
            memory(f.full.restart_memory)
        }),
        line(format!("{} Services: memory after", 2 * services), goal("45 MB"), Unit::Megabytes, |f| {
            memory(f.doubled?)
        }),
        line("an idle minute: requests".to_owned(), "", Unit::Count, |f| {
            count(f.full.idle.as_ref().map(Requests::total)?)
        }),
    ]
}

#[expect(clippy::unnecessary_wraps, reason = "other figures may be missing")]
fn seconds(duration: Duration) -> Option<f64> {
    Some(table::seconds(duration))
}

fn memory(memory: Memory) -> Option<f64> {
    count(memory.resident)
}

#[expect(clippy::unnecessary_wraps, reason = "other figures may be missing")]
fn count(count: u64) -> Option<f64> {
    Some(table::count(count))
}
