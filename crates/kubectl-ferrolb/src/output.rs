//! How answers are printed: tables as kubectl has them, JSON and YAML.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use clap::ValueEnum;
use objects::text::printable;

use crate::Said;
use crate::answer::{Answer, Exit};

/// `-o`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For people with a wide terminal
    Wide,
    /// For programs
    Json,
    /// For programs, and for people who like it
    Yaml,
}

/// What a piece of text says, which its colour shows. No text says anything by its colour alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Something to look at.
    Warn,
    /// A problem.
    Bad,
    /// Of little interest.
    Dim,
}

/// A piece of text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), tone: Tone::Plain }
    }
}

/// A piece of text with a tone.
pub(crate) fn cell(text: impl ToString, tone: Tone) -> Cell {
    Cell { text: text.to_string(), tone }
}

/// One below the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page(Vec<Block>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Block {
    /// A text after a label; several lines where the text has them.
    Field(Cell, Cell),
    Line(Cell),
    /// A text for programs, whose lines are never broken.
    Raw(String),
    Table(Table),
}

/// Rows under headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    headers: Vec<(&'static str, Shown)>,
    rows: Vec<Vec<Cell>>,
}

/// When a column is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    Wide,
}

impl Table {
    /// A table with these columns. One that begins with `+` is for wide terminals.
    pub(crate) fn new<const N: usize>(headers: [&'static str; N]) -> Self {
        let header = |header: &'static str| match header.strip_prefix('+') {
            Some(wide) => (wide, Shown::Wide),
            None => (header, Shown::Always),
        };
        Self { headers: headers.map(header).to_vec(), rows: vec![] }
    }

    /// Adds a row, with as many cells as there are columns.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(cells.len(), self.headers.len(), "a cell for each column");
        self.rows.push(cells.to_vec());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Page {
    /// Adds `LABEL  text`.
    pub(crate) fn field(&mut self, label: impl Into<Cell>, text: impl Into<Cell>) {
        self.0.push(Block::Field(label.into(), text.into()));
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, text: impl Into<Cell>) {
        self.0.push(Block::Line(text.into()));
    }

    /// Adds a text for programs, whose lines are never broken.
    pub(crate) fn raw(&mut self, text: impl Into<String>) {
        self.0.push(Block::Raw(text.into()));
    }

    /// Adds a table; `none` in the place of one without rows.
    pub(crate) fn table(&mut self, table: Table, none: &str) {
        if table.is_empty() {
            self.line(cell(none, Tone::Dim));
        } else {
            self.0.push(Block::Table(table));
        }
    }

    /// Adds another page below.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// A page of a table.
    pub(crate) fn of(table: Table, none: &str) -> Self {
        let mut page = Self::default();
        page.table(table, none);
        page
    }
}

/// How a page is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) colour: bool,
    /// Lines are broken where they would be longer.
    pub(crate) width: Option<usize>,
    /// Whether all columns are shown.
    pub(crate) wide: bool,
}

/// Space between columns.
const GAP: usize = 2;
/// A last column is not made narrower than that.
const NARROWEST: usize = 20;
/// A text that does not fit into a last column narrower than that is put below its row.
const COMFORTABLE: usize = 40;
/// How far such a text is moved in.
const INDENT: usize = 4;

impl Page {
    /// As text.
    pub(crate) fn render(&self, style: Style) -> String {
        let labels = self.0.iter().filter_map(|block| match block {
            Block::Field(label, _) => Some(label.text.chars().count()),
            Block::Line(_) | Block::Raw(_) | Block::Table(_) => None,
        });
        let label_width = labels.max().unwrap_or(0) + GAP;
        let mut out = String::new();
        for block in &self.0 {
            match block {
                Block::Line(text) => {
                    for line in text.text.split('\n').flat_map(|line| broken(line, style.width)) {
                        push(&mut out, &line, text.tone, style);
                        out.push('\n');
                    }
                }
                Block::Field(label, text) => {
                    let room = style.width.map(|width| width.saturating_sub(label_width).max(NARROWEST));
                    let lines = text.text.split('\n').flat_map(|line| broken(line, room));
                    for (index, line) in lines.enumerate() {
                        let label = if index == 0 { &label.text[..] } else { "" };
                        push(&mut out, &format!("{label:label_width$}"), block_tone(block), style);
                        push(&mut out, &line, text.tone, style);
                        trim(&mut out);
                        out.push('\n');
                    }
                }
                Block::Raw(text) => {
                    out.push_str(text.trim_end_matches('\n'));
                    out.push('\n');
                }
                Block::Table(table) => table.render(&mut out, style),
            }
        }
        out
    }
}

fn block_tone(block: &Block) -> Tone {
    match block {
        Block::Field(label, _) => label.tone,
        Block::Line(_) | Block::Raw(_) | Block::Table(_) => Tone::Plain,
    }
}

impl Table {
    fn render(&self, out: &mut String, style: Style) {
        let shown: Vec<usize> = (0..self.headers.len())
            .filter(|index| style.wide || self.headers[*index].1 == Shown::Always)
            .collect();
        let width_of = |index: usize| {
            let cells = self.rows.iter().map(|row| row[index].text.chars().count());
            cells.chain([self.headers[index].0.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = shown.iter().map(|index| width_of(*index)).collect();
        let before_last: usize = widths.iter().rev().skip(1).map(|width| width + GAP).sum();
        let room = style.width.map(|width| width.saturating_sub(before_last).max(NARROWEST));
        let header = |index: usize| cell(self.headers[index].0, Tone::Plain);
        let headers: Vec<Cell> = (0..self.headers.len()).map(header).collect();
        for row in std::iter::once(&headers).chain(&self.rows) {
            for (position, index) in shown.iter().enumerate() {
                let Cell { text, tone } = &row[*index];
                if position + 1 < shown.len() {
                    push(out, text, *tone, style);
                    let padding = widths[position].saturating_sub(text.chars().count()) + GAP;
                    out.extend(std::iter::repeat_n(' ', padding));
                    continue;
                }
                let fits = room.is_none_or(|room| room >= COMFORTABLE || text.chars().count() <= room);
                let (room, indent) = if fits {
                    (room, before_last)
                } else {
                    (style.width.map(|width| width.saturating_sub(INDENT).max(NARROWEST)), INDENT)
                };
                for (number, line) in broken(text, room).into_iter().enumerate() {
                    if number > 0 || !fits {
                        trim(out);
                        out.push('\n');
                        out.extend(std::iter::repeat_n(' ', indent));
                    }
                    push(out, &line, *tone, style);
                }
            }
            trim(out);
            out.push('\n');
        }
    }
}

/// Takes away blanks at the end.
fn trim(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
}

fn push(out: &mut String, text: &str, tone: Tone, style: Style) {
    let code = match tone {
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31",
        Tone::Dim => "2",
        Tone::Plain => "",
    };
    // What comes from a cluster must not speak to the terminal.
    let text = printable(text);
    if style.colour && !code.is_empty() && !text.trim().is_empty() {
        _ = write!(out, "\x1b[{code}m{text}\x1b[0m");
    } else {
        out.push_str(&text);
    }
}

/// A text in lines of at most `width`, broken between words; a longer word is a line of its own.
fn broken(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

impl Style {
    /// That of the standard output.
    pub(crate) fn of_stdout(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = terminal && !no_colour && std::env::var("TERM").as_deref() != Ok("dumb");
        Self { colour, width: width(terminal), wide: format == Format::Wide }
    }
}

/// The first `most` of some names, and how many more there are.
pub(crate) fn some(names: &[impl AsRef<str>], most: usize) -> String {
    let first = names.iter().take(most).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// An answer as text.
pub(crate) fn text(answer: &Answer, format: Format, style: Style) -> String {
    match format {
        Format::Table | Format::Wide => answer.page.render(style),
        Format::Json => format!("{:#}\n", answer.machine),
        Format::Yaml => serde_saphyr::to_string(&answer.machine).unwrap_or_default(),
    }
}

/// Writes what is said where it belongs.
pub(crate) fn write(said: &Said) -> io::Result<()> {
    eprint!("{}", said.stderr);
    let mut stdout = io::stdout().lock();
    stdout.write_all(said.stdout.as_bytes())?;
    stdout.flush()
}

/// Prints what is said. Returns the exit status.
pub(crate) fn print(said: &Said) -> u8 {
    // Whoever reads may have read enough.
    match write(said) {
        Ok(()) => said.code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => said.code,
        Err(error) => {
            eprintln!("error: {error}");
            Exit::CouldNotLook.code()
        }
    }
}

/// How wide lines may be: what is not a terminal has no width.
fn width(terminal: bool) -> Option<usize> {
    if !terminal {
        return None;
    }
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let found = || {
        let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(usize::from(width.0))
    };
    Some(told.or_else(found).unwrap_or(80))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let mut table = Table::new(["SERVICE", "IP", "+NODE", "REASON"]);
        let reason =
            "no candidate: all 3 nodes are out: no serving endpoint (externalTrafficPolicy is Local)";
        table.row(["prod/api".into(), "192.168.1.243".into(), "n1".into(), cell(reason, Tone::Bad)]);
        table.row(["dev/web".into(), "".into(), "".into(), "".into()]);
        let mut page = Page::default();
        page.field("Pools", "lan 9/11");
        page.field(cell("PROBLEM", Tone::Bad), reason);
        page.table(table, "none");
        page
    }

    #[test]
    fn nothing_is_wider_than_eighty_columns_on_such_a_terminal_and_no_word_is_lost() {
        let text = page().render(Style { width: Some(80), ..Style::default() });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&text), words(&page().render(Style::default())));
        assert!(text.lines().count() > page().render(Style::default()).lines().count());
    }

    #[test]
    fn a_text_for_which_the_last_column_is_too_narrow_is_below_its_row() {
        let mut table = Table::new(["SERVICE", "NODE", "REASON"]);
        let reason = "no candidate: all 3 nodes are out, each for a reason of its own";
        table.row(["a-service-with-a-name/of-some-length".into(), "n1".into(), reason.into()]);
        table.row(["prod/web".into(), "n2".into(), "none".into()]);
        let text = Page::of(table, "").render(Style { width: Some(72), ..Style::default() });
        let expected = "SERVICE                               NODE  REASON\n\
                        a-service-with-a-name/of-some-length  n1\n    \
                        no candidate: all 3 nodes are out, each for a reason of its own\n\
                        prod/web                              n2    none\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn without_colour_there_is_not_an_escape_and_with_it_the_text_is_the_same() {
        let plain = page().render(Style::default());
        assert!(!plain.contains('\x1b'));
        let coloured = page().render(Style { colour: true, ..Style::default() });
        assert!(coloured.contains("\x1b[31mno candidate"));
        let stripped = coloured.replace("\x1b[31m", "").replace("\x1b[0m", "");
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_wide_page_has_more_columns() {
        assert!(!page().render(Style::default()).contains("NODE"));
        let wide = page().render(Style { wide: true, ..Style::default() });
        assert!(wide.contains("SERVICE   IP             NODE  REASON\n"), "{wide}");
    }

    #[test]
    fn what_is_for_programs_is_not_broken_into_lines() {
        let (mut page, long) = (Page::default(), format!("key: {}", "word ".repeat(50)));
        page.raw(format!("{long}\n"));
        assert_eq!(page.render(Style { width: Some(80), ..Style::default() }), format!("{long}\n"));
    }

    #[test]
    fn names_from_the_cluster_cannot_speak_to_the_terminal() {
        let mut page = Page::default();
        page.line("evil\x1b]0;title\x07");
        assert!(!page.render(Style::default()).contains('\x1b'));
    }
}
